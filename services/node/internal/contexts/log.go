package contexts

import (
	"context"
	"strings"
)

// maxLogged bounds what the node's log takes of the lines of one call, in bytes; its caller gets all of them.
const maxLogged = 16 << 10

// log writes what an application logged during a call to the node's log.
func (m *Manager) log(ctx context.Context, c Call, lines []string) {
	if len(lines) == 0 {
		return
	}
	shown, left, cut := make([]string, 0, len(lines)), maxLogged, 0
	for _, line := range lines {
		text := line
		if len(text) > left {
			text = strings.ToValidUTF8(text[:left], "") // not half a character
		}
		cut += len(line) - len(text)
		if left -= len(text); text != "" || line == "" {
			shown = append(shown, text)
		}
	}
	attrs := []any{"context", c.Context, "method", c.Method, "lines", shown}
	if cut > 0 {
		attrs = append(attrs, "cut_bytes", cut)
	}
	m.Log.InfoContext(ctx, "an application logged", attrs...)
}
