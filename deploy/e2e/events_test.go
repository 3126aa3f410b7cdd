package e2e

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Streams open through the proxy at once, with the token in the query as browsers send it, and end with that token.
func TestScenarioStreamsEndWithTheirToken(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	var p pair
	if err := s.call(t, "POST", "/auth/token", "", passwordLogin(adminName, adminPassword, "")).data(&p); err != nil {
		t.Fatal(err)
	}
	end := time.Unix(claims(t, p.Access).Expires, 0)
	short := time.Until(end) < time.Minute         // a stack of our own
	_, _, res := s.dial(t, "/sse?token="+p.Access) //nolint:bodyclose // dial does
	frames := bufio.NewScanner(res.Body)
	next := func() string {
		for frames.Scan() {
			if data, ok := strings.CutPrefix(frames.Text(), "data: "); ok {
				return data
			}
		}
		return ""
	}
	if first := next(); res.StatusCode != http.StatusOK || !strings.Contains(first, `"type":"connect"`) || !time.Now().Before(end) {
		t.Fatalf("SSE: %s, first frame %q at %s of %s", res.Status, first, time.Now(), end)
	}

	ws := s.socket(t, p.Access)
	if !short {
		return
	}
	if last := next(); last != `{"type":"close","reason":"token_expired"}` {
		t.Errorf("SSE ends with %q", last)
	}
	if rest := next(); rest != "" {
		t.Errorf("SSE goes on with %q", rest)
	}
	if reason := ws.closed(t); reason != "token_expired" {
		t.Errorf("WebSocket ends with %q", reason)
	}
	if now := time.Now(); now.Before(end) || now.After(end.Add(30*time.Second)) {
		t.Errorf("the streams ended at %s, the token at %s", now, end)
	}
}
