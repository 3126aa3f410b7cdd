package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/app"
)

// drip sends a request up to the middle of its body, waits until a handler reads that, and sends the rest after between.
func (n *node) drip(t *testing.T, r *http.Request, body string, between func()) answer {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	r.Header.Set("Expect", "100-continue")
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.Method, r.URL.RequestURI(), n.addr, len(body))
	_ = r.Header.Write(&head)
	if _, err := io.WriteString(conn, head.String()+"\r\n"+body[:len(body)/2]); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	// The guard has let the request through when the node asks for the body.
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("instead of 100: %q, %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	between()
	if _, err := io.WriteString(conn, body[len(body)/2:]); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(in, r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res, string(text)}
}

// A call that the gate let through does not keep its rights for as long as its body takes: the assertion has a life, which
// is the most that a node behind a proxy knows.
func TestProxy_AssertionEndsWhileTheBodyDripsIn(t *testing.T) {
	var ahead atomic.Int64
	n := startWith(t, t.TempDir(), nil, app.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	made := n.context(t, n.installed(t, "probe.wasm", probe(t))).ContextID
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":"add","argsJson":{}}}`, made)
	for _, tt := range []struct {
		passes time.Duration
		status int
	}{{time.Second, 200}, {2 * time.Minute, 401}} {
		ahead.Store(0)
		r := request(t, http.MethodPost, n.url("/jsonrpc"), nil)
		r.Header.Set("Content-Type", "application/json")
		n.grant(r, "k1", "context:execute")
		res := n.drip(t, r, body, func() { ahead.Store(int64(tt.passes)) })
		if res.StatusCode != tt.status {
			t.Errorf("after %s: %s %s, want %d", tt.passes, res.Status, res.body, tt.status)
		}
	}
	ahead.Store(0)
	if got := n.execute(t, "admin", made, "n", "{}"); got != result("2") {
		t.Errorf("%s: the late call was executed", got)
	}
	// An upload may last longer than the assertion, as its token still lives.
	r := request(t, http.MethodPut, n.url("/admin-api/blobs"), nil)
	n.grant(r, "k1", "blob")
	if res := n.drip(t, r, "content", func() { ahead.Store(int64(time.Hour)) }); res.StatusCode != 200 {
		t.Errorf("an upload of an hour: %s %s", res.Status, res.body)
	}
}
