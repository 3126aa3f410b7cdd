package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// shortLived returns a token of a client key that expires as soon as the scenarios' stack lets it.
func (a *administered) shortLived(t *testing.T, permissions ...string) string {
	t.Helper()
	var p pair
	if err := a.call(t, "POST", "/admin/client-key", a.admin, map[string]any{"permissions": permissions}).data(&p); err != nil {
		t.Fatal(err)
	}
	return p.Access
}

func TestApplicationRunsAndItsEventsArrive(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	app := s.installSample(t)
	one, two := s.room(t, app), s.room(t, app)
	key := s.token(t, "context:execute["+one.ID+"]")

	one.execute(t, "get", `{"key":"a"}`, "null")
	one.execute(t, "set", `{"key":"a","value":"1"}`, "null")
	if got := one.as(t, key, "", "get", `{"key":"a"}`); got != `"1"` {
		t.Errorf("get with a key of the context: %s", got)
	}
	two.execute(t, "get", `{"key":"a"}`, "null")
	one.execute(t, "set_then_trap", `{"key":"a","value":"2"}`, "error FunctionCallError")
	one.execute(t, "get", `{"key":"a"}`, `"1"`)

	ws, sse := s.socket(t, key), s.events(t, key, "")
	if got := ws.ask(t, subscription("", one.ID)); got.Error != nil {
		t.Fatalf("subscribe: %+v", got.Error)
	}
	s.call(t, "POST", "/sse/subscription", key, subscription(sse.session, one.ID)).want(t, http.StatusOK)
	two.execute(t, "set", `{"key":"elsewhere","value":"x"}`, "null")
	one.execute(t, "set", `{"key":"b","value":"2"}`, "null")
	told := func(kind, key string) string {
		return fmt.Sprintf(`%s %s {"key":"%s","value":"2"}`, one.ID, kind, key)
	}
	var viaSocket, viaStream mutation
	ws.next(t, &viaSocket)
	last := sse.next(t, &viaStream)
	for kind, got := range map[string]string{"WebSocket": viaSocket.text(), "SSE": viaStream.text()} {
		if want := told("Inserted", "b"); got != want {
			t.Errorf("%s: got %s, want %s", kind, got, want)
		}
	}

	// What happened after the last event that a client has seen comes once and in order, then what happens.
	one.execute(t, "set", `{"key":"a","value":"2"}`, "null")
	two.execute(t, "set", `{"key":"elsewhere","value":"y"}`, "null")
	one.execute(t, "set", `{"key":"c","value":"2"}`, "null")
	again := s.events(t, key, last)
	if again.session != sse.session {
		t.Errorf("session %s after %s", again.session, sse.session)
	}
	one.execute(t, "set", `{"key":"d","value":"2"}`, "null")
	for _, want := range []string{told("Updated", "a"), told("Inserted", "c"), told("Inserted", "d")} {
		var m mutation
		if again.next(t, &m); m.text() != want {
			t.Errorf("resumed: got %s, want %s", m.text(), want)
		}
	}
}

func TestStreamsThroughTheProxyEndWithTheToken(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.shortLived(t, "context:subscribe")
	ws, sse := s.socket(t, key), s.events(t, key, "")
	opened := time.Now()
	if got := ws.closed(t); got != "token_expired" {
		t.Errorf("WebSocket closed with %q", got)
	}
	var end struct{ Type, Reason string }
	if sse.next(t, &end); end.Type != "close" || end.Reason != "token_expired" {
		t.Errorf("SSE ends with %+v", end)
	}
	for sse.lines.Scan() {
		if line := sse.lines.Text(); line != "" {
			t.Errorf("SSE goes on: %q", line)
		}
	}
	if early := time.Until(time.Unix(claims(t, key).Expires, 0)); early > 0 || time.Since(opened) > 2*shortExpiry {
		t.Errorf("the streams ended %s before their token, %s after they were opened", early, time.Since(opened))
	}
	if _, status := s.handshake(t, key); status != http.StatusUnauthorized {
		t.Errorf("an expired token opens a WebSocket: %d", status)
	}
}

// A revoked token opens and asks for nothing more. The node behind a proxy hears of no revocation, so that a stream that is
// open then ends with the life of its token, at the latest.
func TestRevokedTokenOpensNoStreamAndKeepsNoneBeyondItsLife(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	r := s.room(t, s.installSample(t))
	key := s.shortLived(t, "context:execute["+r.ID+"]")
	ws, sse := s.socket(t, key), s.events(t, key, "")
	s.call(t, "POST", "/admin/revoke", s.admin, map[string]string{"client_id": claims(t, key).Subject}).want(t, http.StatusOK)

	refused(t, s.call(t, "POST", "/jsonrpc", key, r.execution("", "get", `{"key":"a"}`)), revokedToken)
	refused(t, s.call(t, "POST", "/sse/subscription", key, subscription(sse.session, r.ID)), revokedToken)
	refused(t, s.call(t, "GET", "/sse?token="+key, "", nil), revokedToken)
	if _, status := s.handshake(t, key); status != http.StatusUnauthorized {
		t.Errorf("a revoked token opens a WebSocket: %d", status)
	}
	if got := ws.closed(t); got != "token_expired" && got != "token_revoked" {
		t.Errorf("WebSocket closed with %q", got)
	}
	var end struct{ Type, Reason string }
	if sse.next(t, &end); end.Type != "close" {
		t.Errorf("SSE ends with %+v", end)
	}
	if late := time.Since(time.Unix(claims(t, key).Expires, 0)); late > shortExpiry {
		t.Errorf("the streams ended %s after their token", late)
	}
}

func TestBlobInRangesThroughTheProxy(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob")
	content := random(2<<20 + 77) // over the edges of its pieces
	s.call(t, "PUT", "/admin-api/blobs", key, content).want(t, http.StatusOK)
	target, n := "/admin-api/blobs/"+blobID(content), len(content)
	for _, r := range []struct {
		header     string
		start, end int // end exclusive
	}{
		{"bytes=0-0", 0, 1},
		{"bytes=1048570-1048600", 1048570, 1048601},
		{"bytes=2097152-", 2097152, n},
		{"bytes=-10", n - 10, n},
		{"bytes=100-99999999", 100, n},
	} {
		got := s.call(t, "GET", target, key, nil, "Range", r.header).want(t, http.StatusPartialContent)
		if want := fmt.Sprintf("bytes %d-%d/%d", r.start, r.end-1, n); got.header.Get("Content-Range") != want {
			t.Errorf("%s: Content-Range %q, want %q", r.header, got.header.Get("Content-Range"), want)
		}
		if !bytes.Equal(got.body, content[r.start:r.end]) {
			t.Errorf("%s: %d bytes that are not those", r.header, len(got.body))
		}
	}
	beyond := s.call(t, "GET", target, key, nil, "Range", fmt.Sprintf("bytes=%d-", n)).want(t, http.StatusRequestedRangeNotSatisfiable)
	if want := fmt.Sprintf("bytes */%d", n); beyond.header.Get("Content-Range") != want {
		t.Errorf("beyond the end: Content-Range %q, want %q", beyond.header.Get("Content-Range"), want)
	}
}

func TestKillOfMerodBetweenExecutionsKeepsTheAcknowledged(t *testing.T) {
	t.Parallel()
	s := loggedIn(t, start(t, stack.Settings{}))
	r := s.room(t, s.installSample(t))
	sse := s.events(t, s.admin, "")
	s.call(t, "POST", "/sse/subscription", s.admin, subscription(sse.session, r.ID)).want(t, http.StatusOK)
	var last string
	for i := range 4 {
		r.execute(t, "set", fmt.Sprintf(`{"key":"k%d","value":"%d"}`, i, i), "null")
		if i == 0 {
			var m mutation
			last = sse.next(t, &m)
		}
		s.local.Node.Kill() // right after the answer
		if err := s.local.Node.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.execute(t, "len", `{}`, strconv.Itoa(i+1))
		r.execute(t, "get", fmt.Sprintf(`{"key":"k%d"}`, i), fmt.Sprintf(`"%d"`, i))
	}
	again := s.events(t, s.admin, last)
	for i := 1; i < 4; i++ {
		var m mutation
		again.next(t, &m)
		if want := fmt.Sprintf(`%s Inserted {"key":"k%d","value":"%d"}`, r.ID, i, i); m.text() != want {
			t.Errorf("after the kills: event %s, want %s", m.text(), want)
		}
	}
}
