package stream_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/stream"
)

func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		subscribe(ctxA), `{"id":null,"method":"unsubscribe","params":{"groupIds":["` + strings.Repeat("ab", 32) + `"]}}`, `{"id":"a","method":"execute","params":{}}`,
		`{"id":1e400,"method":"x"}`, `{"id":{},"method":"x"}`, `{"ID":1,"Method":"subscribe"}`, `{"id":1,"id":[],"method":"x"}`, `{"params":{"contextIds":[null]}}`, "{", "[]", "",
		" \t\r\n{}", "{}\v", "\u00a0{}", "\x85{}", // around JSON there are four kinds of space, and Unicode knows more
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		id, method, _, ok, err := stream.ParseRequest(text)
		if ok && !json.Valid(text) {
			t.Error("what is no JSON was not ignored")
		}
		if ok && len(id) > 0 {
			// Whatever is echoed must be JSON that can stand in an answer.
			if _, err := json.Marshal(struct{ ID json.RawMessage }{id}); err != nil {
				t.Errorf("the id %q cannot be echoed: %v", id, err)
			}
			var v any
			d := json.NewDecoder(bytes.NewReader(id))
			d.UseNumber()
			if err := d.Decode(&v); err != nil {
				t.Errorf("the id %q: %v", id, err)
			}
			switch v.(type) {
			case []any, map[string]any, bool:
				t.Errorf("the id %q is neither number, string nor null", id)
			}
		}
		if ok && err == nil && method == "" {
			t.Error("a request without a method was accepted")
		}
		if number, err := stream.ParseSubscription(text); err == nil && number == 0 && !bytes.Contains(text, []byte("0")) {
			t.Error("a session was made up")
		}
	})
}

func FuzzLastEventID(f *testing.F) {
	for _, seed := range []string{"", "-", "1-2", "01-2", "1-02", "+1-2", "1--2", "18446744073709551615-18446744073709551616", "4503599627370497-0", " 1-1", "1-1 ", "1-1-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		number, seq, ok := stream.ParseLastEventID(text)
		if ok && fmt.Sprintf("%d-%d", number, seq) != text {
			t.Errorf("%q reads as %d-%d, which is written otherwise", text, number, seq)
		}
	})
}

// FuzzFrames sends bytes to a WebSocket. Whatever they are, the connection ends and the node goes on.
func FuzzFrames(f *testing.F) {
	s := start(f, options{config: func(c *stream.Config) { c.MaxMessage = 1 << 10 }})
	const head = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	text := subscribe(ctxA)
	for _, seed := range [][]byte{
		append([]byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}, text...),
		{0x88, 0x80, 0, 0, 0, 0},                                     // close
		{0x88, 0x82, 0, 0, 0, 0, 3, 232},                             // close 1000
		{0x88, 0x81, 0, 0, 0, 0, 3},                                  // half a code
		{0x89, 0x80, 0, 0, 0, 0},                                     // ping
		{0x8a, 0x80, 0, 0, 0, 0},                                     // pong that nobody asked for
		{0x81, 0x02, '{', '}'},                                       // not masked
		{0x01, 0x81, 0, 0, 0, 0, '{'},                                // the first of two fragments
		{0x80, 0x81, 0, 0, 0, 0, '}'},                                // the second without the first
		{0xc1, 0x80, 0, 0, 0, 0},                                     // compressed
		{0x83, 0x80, 0, 0, 0, 0},                                     // an opcode that is not used
		{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, // 2^63 bytes are coming
		{0x09, 0xfe, 0xff, 0xff, 0, 0, 0, 0},                         // a ping in fragments, too long
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frames []byte) {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(append([]byte(head), frames...)) // the node may close while it reads
		_ = conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(conn)
		if err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatal("the connection does not end")
		}
		if len(got) > 0 && !bytes.HasPrefix(got, []byte("HTTP/1.1 101 ")) {
			t.Errorf("answer %.100q", got)
		}
	})
}
