package e2e

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// socket is a WebSocket client of few words: it sends and reads unfragmented text frames (RFC 6455 section 5).
type socket struct {
	net.Conn
	from *bufio.Reader
}

// dial sends a request over a connection of its own and returns the head of the answer.
func (s *site) dial(t *testing.T, target string, headers ...string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	for giveUp := time.Now().Add(patient); ; {
		conn, from, res := s.dialOnce(t, target, headers...)
		if !gateIsLate(res.StatusCode, res.Header) || time.Now().After(giveUp) {
			return conn, from, res
		}
	}
}

func (s *site) dialOnce(t *testing.T, target string, headers ...string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.hostOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(request("GET "+target+" HTTP/1.1", append(headers, "Host: "+s.hostOf(t))...)); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(conn)
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		conn.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { // the connection first: to close the body of a stream is to wait for its end
		conn.Close()
		res.Body.Close()
	})
	return conn, from, res
}

// handshake asks for a WebSocket with the token in the query, as browsers must, and returns the status too.
func (s *site) handshake(t *testing.T, token string) (socket, int) {
	t.Helper()
	conn, from, res := s.dial(t, "/ws?token="+url.QueryEscape(token), "Connection: Upgrade", "Upgrade: websocket", //nolint:bodyclose // dial does
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	return socket{conn, from}, res.StatusCode
}

// socket is a handshake that must succeed.
func (s *site) socket(t *testing.T, token string) socket {
	t.Helper()
	ws, status := s.handshake(t, token)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("WebSocket: status %d, want 101", status)
	}
	return ws
}

// frame reads a frame that is no ping and returns its first byte and its payload. Pings, of which a slow test gets some, are
// answered: the node leaves those that do not answer.
func (s socket) frame(t *testing.T) (byte, []byte) {
	t.Helper()
	const ping, pong = 0x89, 0x8a
	for {
		kind, payload := s.anyFrame(t)
		if kind != ping {
			return kind, payload
		}
		answer := append([]byte{pong, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...) // masked with zeros
		// Whether the node has gone, the next frame tells.
		_, _ = s.Write(answer)
	}
}

func (s socket) anyFrame(t *testing.T) (byte, []byte) {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(s.from, head); err != nil {
		t.Fatalf("WebSocket: %v", err)
	}
	length := int(head[1])
	if length == 126 {
		extended := make([]byte, 2)
		if _, err := io.ReadFull(s.from, extended); err != nil {
			t.Fatalf("WebSocket: %v", err)
		}
		length = int(binary.BigEndian.Uint16(extended))
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(s.from, payload); err != nil {
		t.Fatalf("WebSocket: %v", err)
	}
	return head[0], payload
}

// next reads a text message into a value.
func (s socket) next(t *testing.T, into any) {
	t.Helper()
	if text := s.text(t); json.Unmarshal([]byte(text), into) != nil {
		t.Fatalf("WebSocket: not JSON: %q", text)
	}
}

// text reads a text message.
func (s socket) text(t *testing.T) string {
	t.Helper()
	const text = 0x81
	kind, payload := s.frame(t)
	if kind != text {
		t.Fatalf("WebSocket: frame %#x %q, want a text", kind, payload)
	}
	return string(payload)
}

// ask sends a message and reads the answer.
func (s socket) ask(t *testing.T, message any) reply {
	t.Helper()
	var got reply
	if text := s.askText(t, message); json.Unmarshal([]byte(text), &got) != nil {
		t.Fatalf("WebSocket: not JSON: %q", text)
	}
	return got
}

// askText is ask for the text of the answer.
func (s socket) askText(t *testing.T, message any) string {
	t.Helper()
	text, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	frame := []byte{0x81, 0x80 | 126, 0, 0, 0, 0, 0, 0} // masked with zeros
	binary.BigEndian.PutUint16(frame[2:], uint16(len(text)))
	if _, err := s.Write(append(frame, text...)); err != nil {
		t.Fatal(err)
	}
	return s.text(t)
}

// closed reads the close frame and returns its reason; the code is that of a policy (RFC 6455 section 7.4.1).
func (s socket) closed(t *testing.T) string {
	t.Helper()
	const closing, policy = 0x88, 1008
	kind, payload := s.frame(t)
	if kind != closing || len(payload) < 2 || binary.BigEndian.Uint16(payload) != policy {
		t.Fatalf("WebSocket: frame %#x %q, want a close with 1008", kind, payload)
	}
	return string(payload[2:])
}

// subscription is a message that subscribes to contexts; session is empty on a WebSocket.
func subscription(session string, contexts ...string) map[string]any {
	m := map[string]any{"id": 1, "method": "subscribe", "params": map[string]any{"contextIds": contexts}}
	if session != "" {
		m["id"] = session
	}
	return m
}

// events is an SSE stream.
type events struct {
	session string // from the first frame
	lines   *bufio.Scanner
}

// events opens an SSE stream with the token in the query, as a browser's EventSource must, or comes back to one.
func (s *site) events(t *testing.T, token, last string) *events {
	t.Helper()
	var headers []string
	if last != "" {
		headers = []string{"Last-Event-ID: " + last}
	}
	_, _, res := s.dial(t, "/sse?token="+url.QueryEscape(token), headers...) //nolint:bodyclose // dial does
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("SSE: status %d, %v", res.StatusCode, res.Header)
	}
	e := &events{lines: bufio.NewScanner(res.Body)}
	var first struct {
		Type      string `json:"type"`
		Session   string `json:"session_id"`
		Reconnect bool   `json:"reconnect"`
	}
	e.next(t, &first)
	if first.Type != "connect" || first.Session == "" || first.Reconnect != (last != "") {
		t.Fatalf("SSE: first frame %+v", first)
	}
	e.session = first.Session
	return e
}

// next reads an event into a value and returns its id.
func (e *events) next(t *testing.T, into any) string {
	t.Helper()
	var id string
	for e.lines.Scan() {
		switch name, value, _ := strings.Cut(e.lines.Text(), ": "); name {
		case "id":
			id = value
		case "data":
			if err := json.Unmarshal([]byte(value), into); err != nil {
				t.Fatalf("SSE: %q: %v", value, err)
			}
			return id
		}
	}
	t.Fatalf("SSE: the stream has ended: %v", e.lines.Err())
	return ""
}

// mutation is an event of a context, as both kinds of stream bring it.
type mutation struct {
	Result struct {
		Context string `json:"contextId"`
		Type    string `json:"type"`
		Data    struct {
			Events []struct {
				Kind string `json:"kind"`
				Data []int  `json:"data"`
			} `json:"events"`
		} `json:"data"`
	} `json:"result"`
}

// text is the event in short: context, kind and data of the one event of the sample application.
func (m mutation) text() string {
	if m.Result.Type != "StateMutation" || len(m.Result.Data.Events) != 1 {
		return "not one event of the application"
	}
	event := m.Result.Data.Events[0]
	data := make([]byte, len(event.Data))
	for i, b := range event.Data {
		data[i] = byte(b)
	}
	return m.Result.Context + " " + event.Kind + " " + string(data)
}
