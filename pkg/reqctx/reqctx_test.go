package reqctx_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/reqctx"
)

func TestLogLinesCarryTheRequestID(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(reqctx.LogHandler{Handler: slog.NewJSONHandler(&out, nil)}).With("component", "test")
	log.InfoContext(reqctx.WithRequestID(t.Context(), "abc-1"), "hello")
	if !strings.Contains(out.String(), `"request_id":"abc-1"`) || !strings.Contains(out.String(), `"component":"test"`) {
		t.Errorf("log line %s lacks the request id or the attribute", out.String())
	}
}

func TestRequestID_LogInjectionRefused(t *testing.T) {
	for _, id := range []string{"", "a b", "a\nlevel=ERROR", "\x1b[2J", strings.Repeat("a", 65), "é"} {
		if got := reqctx.NewRequestID(id); got == id || len(got) != 16 {
			t.Errorf("NewRequestID(%q) = %q, want a fresh id", id, got)
		}
	}
	if got := reqctx.NewRequestID("client-7.a_B"); got != "client-7.a_B" {
		t.Errorf("a plain id was replaced by %q", got)
	}
}
