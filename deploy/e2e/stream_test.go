package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// A phone on a bad line: a blob of this size takes this long.
const (
	trickleSize = 20 << 20
	trickleTime = 70 * time.Second
	trickleStep = 32 << 10
)

// trickle is content that comes in small steps, each at its time; half is called when half of it has gone.
type trickle struct {
	content []byte
	started time.Time
	sent    int
	half    func()
}

func (r *trickle) Read(p []byte) (int, error) {
	if r.sent == len(r.content) {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), trickleStep)], r.content[r.sent:])
	r.sent += n
	<-time.After(time.Until(r.started.Add(trickleTime * time.Duration(r.sent) / trickleSize)))
	if r.half != nil && r.sent > len(r.content)/2 {
		r.half()
		r.half = nil
	}
	return n, nil
}

func TestScenarioBlobThatTricklesForSeventySecondsArrivesWhole(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob")
	slow := &http.Client{Transport: &http.Transport{}}
	for _, framing := range []string{"with a length", "in chunks"} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			content := random(trickleSize)
			agent := "trickle " + framing
			started := time.Now()
			body := &trickle{content: content, started: started, half: func() {
				if s.local != nil && len(s.sentBy(agent)) != 1 {
					t.Error("half of the blob is sent and nothing has reached the node: the proxy collects it")
				}
			}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/admin-api/blobs", body)
			if err != nil {
				t.Fatal(err)
			}
			if framing == "with a length" {
				req.ContentLength = trickleSize
			}
			req.Header.Set("Authorization", "Bearer "+key)
			req.Header.Set("User-Agent", agent)
			res, err := slow.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			answer, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("status %d after %s, %v: %s", res.StatusCode, time.Since(started), err, answer)
			}
			if took := time.Since(started); took < trickleTime-time.Second {
				t.Errorf("the upload took only %s", took)
			}
			id := blobID(content)
			got := s.call(t, "GET", "/admin-api/blobs/"+id, key, nil).want(t, http.StatusOK)
			if !bytes.Equal(got.body, content) {
				t.Error("the blob is not what was sent")
			}
		})
	}
}

// say writes to a client that may be gone; the test sees that at the other end.
func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

// backend is a stack whose node is a handler of the test's.
func backend(t *testing.T, handler http.HandlerFunc) *administered {
	t.Helper()
	node := httptest.NewServer(handler)
	t.Cleanup(node.Close)
	return loggedIn(t, start(t, stack.Settings{NodeAddr: node.Listener.Addr().String()}))
}

func TestEventStreamIsNotBuffered(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		var stream io.Writer = w
		flush := func() { _ = http.NewResponseController(w).Flush() }
		if r.URL.Query().Has("until-close") { // the form in which proxies like to collect
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			stream, flush = conn, func() {}
			say(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
		}
		say(stream, "data: first\n\n")
		flush()
		<-arrived // the second event is not sent before the first was seen
		say(stream, "data: second\n\n")
	})
	key := s.token(t, "context:subscribe")
	for _, target := range []string{"/sse", "/sse?until-close", "/sse?token=" + key} {
		var header []string
		if !strings.Contains(target, "token=") {
			header = []string{"Authorization: Bearer " + key}
		}
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.hostOf(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(request("GET "+target+" HTTP/1.1", append(header, "Host: "+s.hostOf(t), "Connection: close")...)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		lines := bufio.NewScanner(res.Body)
		first := lines.Scan() && lines.Text() == "data: first"
		arrived <- struct{}{}
		if !first {
			t.Fatalf("%s: status %d, the first event does not come before the second is sent: %q, %v", target, res.StatusCode, lines.Text(), lines.Err())
		}
		var rest []string
		for lines.Scan() {
			rest = append(rest, lines.Text())
		}
		if !slices.Equal(rest, []string{"", "data: second", ""}) {
			t.Errorf("%s: the stream goes on with %q", target, rest)
		}
		res.Body.Close()
		conn.Close()
	}
}

func TestWebSocketPassesWithTheCallersIdentity(t *testing.T) {
	t.Parallel()
	handshakes := make(chan http.Header, 1)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		handshakes <- r.Header.Clone()
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		say(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(conn, buffered) // an echo of whatever comes
	})
	key := s.token(t, "context:subscribe")
	who := s.identityOf(t, key)
	open := func(t *testing.T, target string, headers ...string) (net.Conn, *bufio.Reader, int) {
		t.Helper()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.hostOf(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		headers = append(headers, "Host: "+s.hostOf(t), "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "X-Auth-Key: root")
		if _, err := conn.Write(request("GET "+target+" HTTP/1.1", headers...)); err != nil {
			t.Fatal(err)
		}
		from := bufio.NewReader(conn)
		res, err := http.ReadResponse(from, nil) //nolint:bodyclose // of a 101 there is none; the connection is closed
		if err != nil {
			t.Fatal(err)
		}
		return conn, from, res.StatusCode
	}
	for name, target := range map[string]string{"header": "/ws", "query": "/ws?token=" + key} {
		t.Run("token in the "+name, func(t *testing.T) {
			var headers []string
			if name == "header" {
				headers = []string{"Authorization: Bearer " + key}
			}
			conn, from, status := open(t, target, headers...)
			if status != http.StatusSwitchingProtocols {
				t.Fatalf("status %d, want 101", status)
			}
			for _, message := range []string{"hello", "again"} {
				if _, err := conn.Write([]byte(message)); err != nil {
					t.Fatal(err)
				}
				echo := make([]byte, len(message))
				if _, err := io.ReadFull(from, echo); err != nil || string(echo) != message {
					t.Fatalf("echo of %q: %q, %v", message, echo, err)
				}
			}
			h := <-handshakes
			if got := (identity{h.Get("X-Auth-Key"), h.Get("X-Auth-Permissions"), h.Get("X-Auth-Expires")}); got != who {
				t.Errorf("the node sees %+v, want %+v", got, who)
			}
			if h.Get("Upgrade") != "websocket" || !slices.Equal(h.Values("Connection"), []string{"upgrade"}) {
				t.Errorf("the node sees Upgrade %q, Connection %q", h.Values("Upgrade"), h.Values("Connection"))
			}
		})
	}
	for name, target := range map[string]string{
		"no token": "/ws", "bad token": "/ws?token=bad", "two tokens": "/ws?token=" + key + "&token=" + key,
		"token on another route": "/admin-api/blobs?token=" + key,
	} {
		if _, _, status := open(t, target); status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, want 401", name, status)
		}
	}
	if len(handshakes) > 0 {
		t.Errorf("%d refused handshakes reached the node", len(handshakes))
	}
}

func TestScenarioLongHeadersAndTargets(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob:list")
	many := []string{"Cookie", "a=" + strings.Repeat("c", 30<<10)}
	for i := range 90 {
		many = append(many, fmt.Sprintf("X-Custom-%d", i), strings.Repeat("v", 100))
	}
	s.call(t, "GET", "/admin-api/blobs", key, nil, many...).want(t, http.StatusOK)

	refused(t, s.call(t, "GET", "/admin-api/blobs?x="+strings.Repeat("y", 9<<10), key, nil), invalidTarget)
	refused(t, s.call(t, "GET", "/admin-api/"+strings.Repeat("y", 9<<10), key, nil), invalidTarget)
	// nginx answers and closes before it has read the end, so that the client's next write may fail before it sees the answer.
	tooLong := exchange(t, s.hostOf(t), request("GET /admin-api/blobs?x="+strings.Repeat("y", 40<<10)+" HTTP/1.1", "Host: x", "Authorization: Bearer "+key))
	if len(tooLong) != 1 || tooLong[0].status != http.StatusRequestURITooLong || errorText(tooLong[0].body) != "The request target is too long" {
		t.Errorf("a target of 40 KiB: %v, want one 414", tooLong)
	}
	tooLarge := s.call(t, "GET", "/admin-api/blobs", key, nil, "Cookie", strings.Repeat("c", 40<<10)).want(t, http.StatusBadRequest)
	if got := errorText(tooLarge.body); got != "Malformed request" {
		t.Errorf("400 with %s", got)
	}
}

// What the gate could not even read must not look like a broken gate.
func TestScenarioMalformedHeadersAreTheClientsMistake(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob:list")
	for _, lines := range [][]string{
		{"Host: a@b", "Authorization: Bearer " + key},
		{"Host: \xff", "Authorization: Bearer " + key},
		{"Host: x", "Authorization: Bearer a\x01b"},
		{"Host: x", "Authorization: Bearer " + key, "Origin: \x01"},
		{"Host: x", "Authorization: Bearer " + key, "Accept: \x7f"},
		{"Host: x", "Authorization: Bearer " + key, "Sec-Fetch-Mode: \x1b[31m"},
	} {
		for _, target := range []string{"/admin-api/blobs", "/auth/providers"} {
			answers := exchange(t, s.hostOf(t), request("GET "+target+" HTTP/1.1", append(lines, "Connection: close")...))
			if len(answers) != 1 || answers[0].status != http.StatusBadRequest || errorText(answers[0].body) != "Malformed request" {
				t.Errorf("%s with %q: %v", target, lines, answers)
			}
		}
	}
	// A request without Host, which HTTP/1.0 allows, is a request.
	answers := exchange(t, s.hostOf(t), request("GET /admin-api/blobs HTTP/1.0", "Authorization: Bearer "+key))
	if len(answers) != 1 || answers[0].status != http.StatusOK {
		t.Errorf("HTTP/1.0 without Host: %v", statuses(answers))
	}
}
