package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
	"github.com/calimero-network/mero-go/services/node/internal/stream"
)

func TestWebSocket_EventsOfSubscribedContexts(t *testing.T) { // node checks F54, F55
	s := start(t, options{})
	c := s.dial("key")
	c.ask(subscribe(ctxA), subscribed(ctxA))
	s.publish(mutation(ctxB, 1))
	s.publish(mutation(ctxA, 2))
	c.expect(`{"id":null,"result":` + shown(ctxA, 2) + `}`)
	c.ask(`{"id":2,"method":"unsubscribe","params":{"contextIds":["`+ctxA.String()+`"]}}`, `{"id":2,"result":{"contextIds":["`+ctxA.String()+`"]}}`)
	s.publish(mutation(ctxA, 3))
	c.ask(subscribe(ctxB), subscribed(ctxB))
	s.publish(mutation(ctxB, 4))
	c.expect(`{"id":null,"result":` + shown(ctxB, 4) + `}`)
}

func TestWebSocket_Groups(t *testing.T) {
	s := start(t, options{})
	c := s.dial("key")
	hex := event.OfGroup(grp).String()
	c.ask(`{"id":1,"method":"subscribe","params":{"groupIds":["`+strings.ToUpper(hex)+`"]}}`, `{"id":1,"result":{"contextIds":[],"groupIds":["`+hex+`"]}}`)
	s.publish(event.Membership{Group: grp, Change: event.MemberAdded, Account: "00", Role: "Admin"})
	c.expect(`{"id":null,"result":{"groupId":"` + hex + `","type":"MemberAdded","data":{"memberAccount":"00","role":"Admin"}}}`)
}

func TestWebSocket_Requests(t *testing.T) { // node check F56
	s := start(t, options{config: func(c *stream.Config) { c.MaxTopics = 2 }})
	c := s.dial("")
	parse := func(data string) string { return `{"type":"ParseError","data":` + data + `}` }
	one := `{"contextIds":["` + ctxA.String() + `"]}`
	many, err := json.Marshal([]id.ID{{5}, {6}, {7}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", "null", "[]", "7", `"x"`, "\x00", `[{"id":1,"method":"subscribe"}]`} {
		c.send(text) // ignored
	}
	if err := c.Write(t.Context(), websocket.MessageBinary, []byte(subscribe(ctxA))); err != nil { // ignored too
		t.Fatal(err)
	}
	for _, x := range []struct{ message, want string }{
		{`{"id":null,"method":"subscribe","params":` + one + `}`, `{"id":null,"result":` + one + `}`},
		{`{"method":"subscribe","params":` + one + `}`, `{"id":null,"result":` + one + `}`},
		{`{"id":"a\"b","method":"subscribe","params":` + one + `}`, `{"id":"a\"b","result":` + one + `}`},
		{`{"id":18446744073709551615,"method":"unsubscribe","params":{}}`, `{"id":18446744073709551615,"result":{"contextIds":[]}}`},
		{`{"id":7,"method":"subscribe","params":{"contextIds":null}}`, `{"id":7,"result":{"contextIds":[]}}`},
		{`{"id":7,"method":"nope"}`, `{"id":7,"error":` + parse(`"unknown method \"nope\""`) + `}`},
		{`{"id":7}`, `{"id":7,"error":` + parse(`"missing method"`) + `}`},
		{`{"id":7,"method":3}`, `{"id":7,"error":` + parse(`"missing method"`) + `}`},
		{`{"id":[1],"method":"subscribe"}`, `{"id":null,"error":` + parse(`"invalid id: want a whole number, a string or null"`) + `}`},
		{`{"id":1.5,"method":"subscribe"}`, `{"id":null,"error":` + parse(`"invalid id: want a whole number, a string or null"`) + `}`},
		{`{"id":-1,"method":"subscribe"}`, `{"id":null,"error":` + parse(`"invalid id: want a whole number, a string or null"`) + `}`},
		{`{"id":true,"method":"subscribe"}`, `{"id":null,"error":` + parse(`"invalid id: want a whole number, a string or null"`) + `}`},
		{`{"id":"` + strings.Repeat("x", 300) + `","method":"subscribe"}`, `{"id":null,"error":` + parse(`"invalid id: want a whole number, a string or null"`) + `}`},
		{`{"id":7,"method":"subscribe"}`, `{"id":7,"error":` + parse(`"missing params: want contextIds or groupIds"`) + `}`},
		{`{"id":7,"method":"subscribe","params":["x"]}`, `{"id":7,"error":` + parse(`"missing params: want contextIds or groupIds"`) + `}`},
		{`{"id":7,"method":"subscribe","params":{"contextIds":["x"]}}`, `{"id":7,"error":` + parse(`"invalid context id: want the base58 form of 32 bytes"`) + `}`},
		{`{"id":7,"method":"subscribe","params":{"groupIds":["ab"]}}`, `{"id":7,"error":` + parse(`"invalid group id: want 64 hexadecimal digits"`) + `}`},
		{`{"id":7,"method":"subscribe","params":{"contextIds":` + string(many) + `}}`, `{"id":7,"error":` + parse(`"too many subscriptions: at most 2"`) + `}`},
		{`{"id":7,"method":"execute","params":{}}`, `{"id":7,"error":` + parse(`"method execute is not available"`) + `}`},
	} {
		c.ask(x.message, x.want)
	}
}

func TestWebSocket_SubscriptionNeedsThePermission(t *testing.T) {
	s := start(t, options{})
	s.as("of app", s.key("app", "context:subscribe", "application-binding["+id.ID{9}.String()+"]"))
	if err := s.db.Enqueue(func(tx *store.Tx) error {
		return tx.PutContext(store.Context{ID: ctxA, Application: id.ID{9}})
	}).Wait(); err != nil {
		t.Fatal(err)
	}
	group := `{"id":1,"method":"subscribe","params":{"groupIds":["` + event.OfGroup(grp).String() + `"]}}`
	both := `{"id":1,"method":"subscribe","params":{"contextIds":["` + ctxA.String() + `","` + ctxB.String() + `"]}}`
	for _, x := range []struct {
		as, message string
		allowed     bool
	}{
		{"key", subscribe(ctxB), true},
		{"key", group, true},
		{"other", group, false},
		{"none", subscribe(ctxA), false},
		{"bound", subscribe(ctxA), true},
		{"bound", subscribe(ctxB), false},
		{"bound", both, false},
		{"of%20app", subscribe(ctxA), true},
		{"of%20app", subscribe(ctxB), false}, // nobody knows whose application it will be
	} {
		c := s.dial(x.as)
		c.send(x.message)
		got := c.receive()
		refused := sameJSON(got, `{"id":1,"error":{"type":"Unauthorized","data":"permission denied"}}`)
		if refused == x.allowed {
			t.Errorf("%s: %s: %s", x.as, x.message, got)
		}
		s.publish(mutation(ctxA, 1), mutation(ctxB, 1))
		if !x.allowed { // not even in part
			c.ask(`{"id":2,"method":"unsubscribe","params":{}}`, `{"id":2,"result":{"contextIds":[]}}`)
		}
	}
}

func TestWebSocket_Execute(t *testing.T) {
	entered, release := make(chan string, 100), make(chan struct{})
	s := start(t, options{execute: func(ctx context.Context, params json.RawMessage) (any, any) {
		key := caller.From(ctx).Key
		switch string(params) {
		case `{"m":"get"}`:
			return map[string]any{"output": key}, nil
		case `{"m":"fail"}`:
			return nil, map[string]any{"type": "FunctionCallError", "data": "no"}
		case `{"m":"panic"}`:
			panic("boom")
		default:
			entered <- key
			select {
			case <-release:
			case <-ctx.Done():
			}
			return map[string]any{"output": nil}, nil
		}
	}})
	c := s.dial("key")
	call := func(id, m string) string {
		return `{"id":` + id + `,"method":"execute","params":{"m":"` + m + `"}}`
	}
	c.ask(call("1", "get"), `{"id":1,"result":{"output":"key"}}`)
	c.ask(call("2", "fail"), `{"id":2,"error":{"type":"FunctionCallError","data":"no"}}`)
	c.ask(call("3", "panic"), `{"id":3,"error":{"type":"InternalError","data":{}}}`)
	for range 16 {
		c.send(call("4", "wait"))
		<-entered
	}
	c.ask(subscribe(ctxA), subscribed(ctxA)) // calls hold nothing else up
	close(release)
	for range 16 {
		c.expect(`{"id":4,"result":{"output":null}}`)
	}
}

// A client that sends more calls than run at a time is held up, not refused: the node reads on when there is a place. Its
// own pings end nobody meanwhile, whose answers it does not read.
func TestWebSocket_ManyCallsAtOnce(t *testing.T) {
	const calls = 100
	var running, most atomic.Int64
	release, pinged := make(chan struct{}), make(chan struct{}, 1)
	s := start(t, options{
		config: func(c *stream.Config) { c.PingInterval, c.PongTimeout = 20*time.Millisecond, 4*time.Second },
		execute: func(_ context.Context, params json.RawMessage) (any, any) {
			now := running.Add(1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			<-release
			running.Add(-1)
			return params, nil
		},
	})
	c := s.dialWith("key", &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool {
		select {
		case pinged <- struct{}{}:
		default:
		}
		return true
	}})
	answers := make(chan string, calls)
	go func() { // reads all the time, so that pings are answered
		for {
			_, text, err := c.Read(t.Context())
			if err != nil {
				close(answers)
				return
			}
			answers <- string(text)
		}
	}()
	<-pinged
	for n := range calls {
		c.send(fmt.Sprintf(`{"id":%d,"method":"execute","params":{"n":%d}}`, n, n))
	}
	for deadline := time.Now().Add(patience); running.Load() < 16 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	silent := s.dialWith("", &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { return false }})
	if got := silent.closed(); got != "1002 Ping timeout" { // as long as that takes, the other one is not read from
		t.Errorf("a client that answers no pings: closed with %q", got)
	}
	close(release)
	seen := map[string]bool{}
	for range calls {
		seen[<-answers] = true
	}
	for n := range calls {
		if want := fmt.Sprintf(`{"id":%d,"result":{"n":%d}}`, n, n); !seen[want] {
			t.Errorf("no answer %s", want)
		}
	}
	if n := most.Load(); n != 16 {
		t.Errorf("%d calls of one connection ran at a time, want 16", n)
	}
}

// What can be called over HTTP can be called here: arguments of 10 MiB. Few such messages are in memory at a time, and the
// others wait in their connections.
func TestWebSocket_LargeCalls(t *testing.T) {
	const clients = 20
	var inside, most atomic.Int64
	entered, release := make(chan struct{}, clients), make(chan struct{})
	s := start(t, options{
		config: func(c *stream.Config) { c.MaxMessage = 15 << 20 },
		execute: func(_ context.Context, params json.RawMessage) (any, any) {
			now := inside.Add(1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			entered <- struct{}{}
			<-release
			inside.Add(-1)
			return len(params), nil
		},
	})
	size, text := len(`{"x":""}`)+10<<20, `{"id":1,"method":"execute","params":{"x":"`+strings.Repeat("x", 10<<20)+`"}}`
	one := s.dial("key")
	one.send(text)
	<-entered
	small := s.dial("key")
	small.ask(subscribe(ctxA), subscribed(ctxA)) // nobody else waits
	var sent sync.WaitGroup
	medium := `{"id":1,"method":"execute","params":{"x":"` + strings.Repeat("x", 1<<20) + `"}}`
	var others []*ws
	for i := range clients - 1 {
		name := fmt.Sprint("key", i/4) // one key may have four
		s.as(name, s.key(name, "context:subscribe"))
		c := s.dial(name)
		others = append(others, c)
		sent.Go(func() {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(medium)); err != nil {
				t.Error(err)
			}
		})
	}
	for range 15 {
		<-entered
	}
	close(release)
	sent.Wait()
	one.expect(fmt.Sprintf(`{"id":1,"result":%d}`, size))
	for _, c := range others {
		c.expect(fmt.Sprintf(`{"id":1,"result":%d}`, len(`{"x":""}`)+1<<20))
	}
	if n := most.Load(); n != 16 {
		t.Errorf("%d large messages were in memory at a time, want 16", n)
	}
}

// Large messages that drip in over many connections of one key leave room for those of others.
func TestWebSocket_OneKeyCannotHoldAllLargeMessages(t *testing.T) {
	called := make(chan struct{}, 1)
	s := start(t, options{
		config:  func(c *stream.Config) { c.MaxMessage = 15 << 20 },
		execute: func(context.Context, json.RawMessage) (any, any) { called <- struct{}{}; return 1, nil },
	})
	large := `{"id":1,"method":"execute","params":{"x":"` + strings.Repeat("x", 1<<20) + `"}}`
	for range 16 {
		w, err := s.dial("bound").Writer(t.Context(), websocket.MessageText)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, large); err != nil { // without its end
			t.Fatal(err)
		}
	}
	other := s.dial("other")
	other.send(large)
	<-called
	other.expect(`{"id":1,"result":1}`)
}

// At a stop a client gets the answers to the calls that run, then the close. What it sends after the stop began is not done.
func TestWebSocket_AStopWaitsForTheCallsThatRun(t *testing.T) {
	entered, release := make(chan struct{}, 10), make(chan struct{})
	s := start(t, options{execute: func(ctx context.Context, params json.RawMessage) (any, any) {
		entered <- struct{}{}
		select {
		case <-release:
			return params, nil
		case <-ctx.Done():
			return nil, "cut"
		}
	}})
	c, idle := s.dial("key"), s.dial("key")
	c.ask(subscribe(ctxA), subscribed(ctxA))
	for n := range 2 {
		c.send(fmt.Sprintf(`{"id":9,"method":"execute","params":{"n":%d}}`, n))
		<-entered
	}
	s.Stop()
	if got := idle.closed(); got != "1001 shutting_down" { // nobody waits for calls there
		t.Errorf("closed with %q", got)
	}
	c.send(`{"id":9,"method":"execute","params":{"n":2}}`)
	s.publish(mutation(ctxA, 1)) // and the changes that the calls make are still told
	c.expect(`{"id":null,"result":` + shown(ctxA, 1) + `}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.Drain(ctx) {
		t.Error("drained while calls run")
	}
	close(release)
	got := map[string]bool{c.receive(): true, c.receive(): true}
	if !got[`{"id":9,"result":{"n":0}}`] || !got[`{"id":9,"result":{"n":1}}`] {
		t.Errorf("answers: %v", got)
	}
	if got := c.closed(); got != "1001 shutting_down" {
		t.Errorf("closed with %q", got)
	}
	if !s.Drain(t.Context()) || len(entered) != 0 {
		t.Errorf("drained, and %d calls were begun after the stop", len(entered))
	}
}

// The end of the drain cuts the calls that still run.
func TestWebSocket_ACloseEndsTheCallsThatRun(t *testing.T) {
	entered := make(chan struct{})
	s := start(t, options{execute: func(ctx context.Context, _ json.RawMessage) (any, any) {
		close(entered)
		<-ctx.Done()
		return nil, "cut"
	}})
	c := s.dial("key")
	c.send(`{"id":9,"method":"execute","params":{}}`)
	<-entered
	s.Stop()
	go s.Hub.Close()
	if got := c.closed(); got != "1001 shutting_down" {
		t.Errorf("closed with %q", got)
	}
}

func TestWebSocket_EndsACallWithItsConnection(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	s := start(t, options{execute: func(ctx context.Context, _ json.RawMessage) (any, any) {
		close(entered)
		<-ctx.Done()
		close(left)
		return nil, "gone"
	}})
	c := s.dial("")
	c.send(`{"id":1,"method":"execute","params":{}}`)
	<-entered
	_ = c.CloseNow()
	<-left
}

func TestWebSocket_EndsWithItsToken(t *testing.T) {
	s := start(t, options{})
	s.as("brief", s.brief("context:subscribe"))
	if got := s.dial("brief").closed(); got != "1008 token_expired" {
		t.Errorf("expired: closed with %q", got)
	}
	c := s.dial("key")
	c.ask(subscribe(ctxA), subscribed(ctxA))
	s.mu.Lock()
	s.revoke["key"](caller.ErrRevoked)
	s.mu.Unlock()
	if got := c.closed(); got != "1008 token_revoked" {
		t.Errorf("revoked: closed with %q", got)
	}
}

func TestWebSocket_NoStreamForATokenThatDoesNotLast(t *testing.T) {
	s := start(t, options{})
	for name, x := range map[string]struct {
		c    caller.Caller
		want int
	}{
		"without X-Auth-Expires": {caller.Caller{Key: "k", Permissions: permission.NewSet([]string{"admin"})}, 403},
		"expired":                {caller.Caller{Key: "k", Permissions: permission.NewSet([]string{"admin"}), Expires: s.now().Add(-time.Second)}, 401},
	} {
		s.as("x", x.c)
		if got := s.refused("x"); got != x.want {
			t.Errorf("%s: WebSocket: %d, want %d", name, got, x.want)
		}
		if c := s.get("x", ""); c.StatusCode != x.want {
			t.Errorf("%s: SSE: %s, want %d", name, c.Status, x.want)
		}
	}
}

func TestWebSocket_SaysGoodbyeAtAStop(t *testing.T) {
	s := start(t, options{})
	c := s.dial("key")
	go s.Hub.Close()
	if got := c.closed(); got != "1001 shutting_down" {
		t.Errorf("closed with %q", got)
	}
	s.Hub.Close()
	if got := s.refused(""); got != 503 {
		t.Errorf("a WebSocket after the stop: %d, want 503", got)
	}
}

func TestWebSocket_PingAndPong(t *testing.T) { // node checks F57, F58
	s := start(t, options{config: func(c *stream.Config) { c.PingInterval, c.PongTimeout = 20*time.Millisecond, time.Minute }})
	pings := make(chan struct{}, 3)
	conn := s.dialWith("", &websocket.DialOptions{
		OnPingReceived: func(context.Context, []byte) bool {
			select {
			case pings <- struct{}{}:
			default: // enough
			}
			return true
		},
	})
	ctx := conn.CloseRead(t.Context())
	for range 3 {
		<-pings
	}
	if err := conn.Ping(ctx); err != nil {
		t.Errorf("a ping of the client: %v", err)
	}
}

func TestWebSocket_SilentClientIsClosed(t *testing.T) { // node check F58
	s := start(t, options{config: func(c *stream.Config) { c.PingInterval, c.PongTimeout = 20*time.Millisecond, 50*time.Millisecond }})
	conn := s.dialWith("", &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { return false }})
	if got := conn.closed(); got != "1002 Ping timeout" {
		t.Errorf("closed with %q", got)
	}
	s.ended(stream.WebSocket, "ping_timeout")
}

func TestWebSocket_BadMessages(t *testing.T) {
	s := start(t, options{config: func(c *stream.Config) { c.MaxMessage = 1000 }})
	big := s.dial("")
	big.send(`{"id":"` + strings.Repeat("x", 2000))
	if got := big.closed(); !strings.HasPrefix(got, "1009") {
		t.Errorf("a message that is too big: closed with %q", got)
	}
	odd := s.dial("")
	odd.send("{\xff}")
	if got := odd.closed(); got != "1007 text that is not UTF-8" {
		t.Errorf("a message that is no text: closed with %q", got)
	}
	s.ended(stream.WebSocket, "bad_message")
}

func TestWebSocket_Handshake(t *testing.T) {
	s := start(t, options{})
	const key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
	good := []string{"Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key}
	for name, x := range map[string]struct {
		lines []string
		want  int
		body  string
	}{
		"good":             {good, 101, ""},
		"no upgrade":       {nil, 400, ""},
		"only Connection":  {good[:1], 400, ""},
		"another protocol": {append([]string{"Upgrade: h2c"}, good[0], good[2], good[3]), 400, ""},
		"another version":  {append([]string{"Sec-WebSocket-Version: 12"}, good[0], good[1], good[3]), 400, ""},
		"no version":       {[]string{good[0], good[1], good[3]}, 400, ""},
		"no key":           {good[:3], 400, ""},
		"two keys":         {append([]string{key}, good...), 400, ""},
		"a short key":      {append([]string{"Sec-WebSocket-Key: AAAA"}, good[:3]...), 400, ""},
		"a body":           {append([]string{"Content-Length: 3"}, good...), 400, "abc"},
		"a body in chunks": {append([]string{"Transfer-Encoding: chunked"}, good...), 400, "0\r\n\r\n"},
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s", strings.Join(x.lines, "\r\n"), x.body); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 12)
		if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != fmt.Sprintf("HTTP/1.1 %d", x.want) {
			t.Errorf("%s: %q %v, want %d", name, buf, err, x.want)
		}
		_ = conn.Close()
	}
}

func TestLimits_OfConnections(t *testing.T) {
	s := start(t, options{config: func(c *stream.Config) { c.MaxConnections, c.MaxPerKey = 3, 2 }})
	first := s.dial("key")
	s.session("key")
	if c := s.get("key", ""); c.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a third stream of the key: %s", c.Status)
	}
	s.dial("other")
	if c := s.get("bound", ""); c.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a fourth stream: %s", c.Status)
	}
	_ = first.Close(websocket.StatusNormalClosure, "")
	s.ended(stream.WebSocket, "client_left")
	s.session("key") // there is a place again
	if got := s.Hub.Stats().Connections; got[stream.WebSocket] != 1 || got[stream.SSE] != 2 {
		t.Errorf("connections: %v", got)
	}
}

func TestWebSocket_SlowClientHoldsNobodyUp(t *testing.T) {
	s := start(t, options{})
	slow, quick := s.dialWith("key", &websocket.DialOptions{HTTPClient: slowClient}), s.dial("key")
	slow.ask(subscribe(ctxA), subscribed(ctxA))
	quick.ask(subscribe(ctxA), subscribed(ctxA))
	for range 8 { // more than the kernel buffers, while slow reads nothing
		s.publish(big)
		quick.receive()
	}
}

// big is an event of half a megabyte, as clients get it.
var big = event.StateMutation{Context: ctxA, Emitted: []event.Emitted{{Kind: "Big", Data: make([]byte, 1<<18)}}}

func TestWebSocket_SlowClientIsCut(t *testing.T) {
	s := start(t, options{config: func(c *stream.Config) { c.WriteTimeout = time.Second }})
	slow, quick := s.dialWith("key", &websocket.DialOptions{HTTPClient: slowClient}), s.dial("key")
	slow.ask(subscribe(ctxA), subscribed(ctxA))
	quick.ask(subscribe(ctxB), subscribed(ctxB)) // what it is told never fills its connection
	for range 8 {
		s.publish(big)
	}
	s.ended(stream.WebSocket, "slow_client")
	s.publish(mutation(ctxB, 7))
	quick.expect(`{"id":null,"result":` + shown(ctxB, 7) + `}`)
}

func TestWebSocket_IsToldOfLostEvents(t *testing.T) {
	s := start(t, options{limits: store.EventLimits{Count: 5, Bytes: 1 << 20}})
	c := s.dial("key")
	c.ask(subscribe(ctxA), subscribed(ctxA))
	var batch []event.Event
	for n := range 1000 { // in one transaction, so that all but the last five are gone before anybody reads
		batch = append(batch, mutation(ctxA, byte(n)))
	}
	s.publish(batch...)
	s.publish(mutation(ctxA, 9))
	got, last := "", `{"id":null,"result":`+shown(ctxA, 9)+`}`
	var lost bool
	for n := 0; got != last && n < 20; n++ {
		got = c.receive()
		lost = lost || strings.Contains(got, `"type":"EventsLost"`)
	}
	if !lost {
		t.Error("995 events were lost without a word")
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close: %v", err)
	}
}
