package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

func subscribe(method, context string) string {
	return fmt.Sprintf(`{"id":1,"method":%q,"params":{"contextIds":[%q]}}`, method, context)
}

// insert makes a context tell of an insertion.
func (g *group) insert(t *testing.T, context, key string) {
	t.Helper()
	g.output(t, context, "set", fmt.Sprintf(`{"key":%q,"value":"1"}`, key), "null")
}

var streams = []check{
	{"F54", func(t *testing.T, g *group) {
		g.app, _ = g.install(t, "kv-store.wasm", testapp.KVStore)
		g.made = g.context(t, g.app)
		c := g.made.ContextID
		s := g.socket(t, "context:subscribe")
		s.ask(subscribe("subscribe", c), fmt.Sprintf(`{"id":1,"result":{"contextIds":[%q]}}`, c))
		g.insert(t, c, "F54")
		g.told(t, s.next(), c)
		s.ask(`{"id":2,"method":"unsubscribe","params":{}}`, `{"id":2,"result":{"contextIds":[]}}`) // it was told once
	}},
	{"F55", func(t *testing.T, g *group) {
		one, two := g.made.ContextID, g.context(t, g.app).ContextID
		s := g.socket(t, "context:subscribe")
		s.ask(subscribe("subscribe", one), fmt.Sprintf(`{"id":1,"result":{"contextIds":[%q]}}`, one))
		g.insert(t, two, "F55 other")
		g.insert(t, one, "F55")
		g.told(t, s.next(), one)
		s.ask(subscribe("unsubscribe", one), fmt.Sprintf(`{"id":1,"result":{"contextIds":[%q]}}`, one))
		g.insert(t, one, "F55 unsubscribed")
		s.ask(subscribe("subscribe", two), fmt.Sprintf(`{"id":1,"result":{"contextIds":[%q]}}`, two))
		g.insert(t, two, "F55 last")
		g.told(t, s.next(), two)
	}},
	{"F56", func(t *testing.T, g *group) {
		s := g.socket(t, "context:subscribe")
		s.send("{garbage")
		s.send("")
		s.frame(2, subscribe("subscribe", g.made.ContextID)) // binary
		s.ask(strings.Replace(subscribe("subscribe", g.made.ContextID), `"id":1`, `"id":null`, 1), fmt.Sprintf(`{"id":null,"result":{"contextIds":[%q]}}`, g.made.ContextID))
		s.ask(`{"id":7,"method":"nope"}`, `{"id":7,"error":{"type":"ParseError","data":"unknown method \"nope\""}}`)
	}},
	{"F57", func(t *testing.T, g *group) {
		quick := newGroup(t, g.bin, "MEROD_SERVER__WEBSOCKET__PING_INTERVAL_SECS=1")
		s := quick.socket(t, "context:subscribe")
		s.frame(9, "echo")
		began := time.Now()
		for pings, ponged := 0, false; pings < 2 || !ponged; { // in any order
			got := s.next()
			payload, isPing := strings.CutPrefix(got, "ping ")
			switch {
			case isPing:
				pings++
				s.frame(10, payload)
			case got == "pong echo" && !ponged:
				ponged = true
			default:
				t.Fatalf("%q, want pings and the answer to one", got)
			}
		}
		if took := time.Since(began); took > 20*time.Second { // the default is one in thirty seconds
			t.Errorf("two pings took %s", took)
		}
	}},
	{"F58", func(t *testing.T, g *group) {
		quick := newGroup(t, g.bin, "MEROD_SERVER__WEBSOCKET__PING_INTERVAL_SECS=1", "MEROD_SERVER__WEBSOCKET__PONG_TIMEOUT_SECS=1")
		s := quick.socket(t, "context:subscribe")
		got := s.next()
		for strings.HasPrefix(got, "ping ") { // it answers none
			got = s.next()
		}
		if got != "1002 Ping timeout" {
			t.Errorf("closed with %q", got)
		}
	}},
	{"F59", func(t *testing.T, g *group) {
		c := g.made.ContextID
		s := g.sse(t, "k1", "")
		for name, want := range map[string]string{"X-SSE-Reconnect": "false", "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"} {
			if got := s.Header.Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		if first, text := s.next(); first != s.session()+"-0" || !equalJSON(text, fmt.Sprintf(`{"type":"connect","session_id":%q,"reconnect":false}`, s.session())) {
			t.Errorf("first frame: %s %s", first, text)
		}
		g.subscribed(t, s, c)
		g.insert(t, c, "F59")
		event, text := s.next()
		g.told(t, text, c)
		if s.number(event) < 1 {
			t.Errorf("the event has number %s", event)
		}
	}},
	{"F60", func(t *testing.T, g *group) { g.resume(t, func() {}) }},
	{"F61", func(t *testing.T, g *group) { g.resume(t, func() { g.restart(t) }) }},
	{"F62", func(t *testing.T, g *group) {
		subscription := func(session string) answer {
			return g.as(t, "context:subscribe", "POST", "/sse/subscription", fmt.Sprintf(`{"id":%q,"method":"subscribe","params":{"contextIds":[]}}`, session))
		}
		expect(t, subscription("x"), 400, `{"error":"Invalid Session Id"}`)
		expect(t, subscription("1"), 404, `{"error":"Session not found. Please reconnect to SSE endpoint first."}`)
		expect(t, g.as(t, "context:subscribe", "GET", "/sse/session/x", ""), 400, `{"error":"Invalid Session Id"}`)
		if a := g.as(t, "context:subscribe", "GET", "/sse/session/1", ""); a.StatusCode != 404 {
			t.Errorf("an unknown session: %s %s", a.Status, a.body)
		}
		expect(t, g.as(t, "context:subscribe", "POST", "/sse/subscription", `{"id":"1"}`), 400, `{"error":{"type":"ParseError","data":"missing method"}}`)
	}},
	{"F63", slowReader},
}

// slowReader executes while one of the subscribers does not read: it is told more than the kernel keeps for it, so the node
// cannot send it all. Every call is answered before that reader reads its first event; then it gets them all, in order.
func slowReader(t *testing.T, g *group) {
	for range 200 { // they never read either, but nothing is sent to them
		g.sse(t, "idle", "")
	}
	for range attempts {
		if g.readSlowly(t) {
			return
		}
	}
	t.Error("calls wait for a client that does not read")
}

// readSlowly does so with one reader. It reports whether that read everything; it returns false when the node may have cut it
// because all of it took longer than the node waits for a client.
func (g *group) readSlowly(t *testing.T) bool {
	t.Helper()
	c := g.context(t, g.app).ContextID
	// What its end of the connection keeps is small and known; what the node's end keeps has a limit of the system's.
	const readBuffer = 64 << 10
	r := g.request(t, http.MethodGet, "/sse", nil)
	g.grant(r, "k1", "context:subscribe", never)
	slow := openEvents(t, &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(readBuffer)
		}
		return conn, err
	}}}, r)
	slow.lines.Buffer(nil, 1<<20)
	slow.next()
	g.subscribed(t, slow, c)
	buffers := largestSendBuffer(t) + 2*readBuffer // the kernel doubles what is asked for
	// The application puts key and value into the event, which may have 16 KiB; clients get each byte as a number.
	value := strings.Repeat("v", 15<<10)
	// A client that takes nothing for 30 s is cut. A disk so slow that the calls take half of that has shown as much as it can.
	const cut, enough = 30 * time.Second, 15 * time.Second
	calls := 2*buffers/(4*len(value)) + 10
	began, made := time.Now(), 0
	for ; made < calls && time.Since(began) < enough; made++ {
		g.output(t, c, "set", fmt.Sprintf(`{"key":"%d","value":%q}`, made, value), "null")
	}
	g.output(t, c, "len", "{}", strconv.Itoa(made))
	var told []string // looked at later: it takes longer than the reading
	for range made {
		_, text, err := slow.read()
		if (err != nil || !json.Valid([]byte(text))) && time.Since(began) > cut {
			slow.leave()
			return false
		}
		if err != nil {
			t.Fatalf("after event %d of %d: %v", len(told), made, err)
		}
		told = append(told, text)
	}
	for i, text := range told {
		var e event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatalf("event %d of %d: %v: %.200q", i, made, err, text)
		}
		data := make([]byte, 0, 16<<10)
		for _, n := range e.Result.Data.Events[0].Data {
			data = append(data, byte(n))
		}
		if want := fmt.Sprintf(`{"key":"%d","value":%q}`, i, value); !equalJSON(string(data), want) {
			t.Fatalf("event %d: %.100q", i, data)
		}
	}
	return true
}

// largestSendBuffer is how many bytes the kernel keeps at most for a connection whose other end takes nothing.
func largestSendBuffer(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_wmem")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text)) // smallest, first, largest
	n, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// subscribed subscribes a session to a context.
func (g *group) subscribed(t *testing.T, s *sse, context string) {
	t.Helper()
	a := g.as(t, "context:subscribe", "POST", "/sse/subscription", fmt.Sprintf(`{"id":%q,"method":"subscribe","params":{"contextIds":[%q]}}`, s.session(), context))
	expect(t, a, 200, fmt.Sprintf(`{"result":{"status":"subscribed","contexts":[%q],"groups":[]}}`, context))
}

// resume leaves a stream and comes back: the session and its subscriptions are there, and what happened meanwhile comes
// once, in order.
func (g *group) resume(t *testing.T, meanwhile func()) {
	t.Helper()
	c := g.context(t, g.app).ContextID
	s := g.sse(t, "k1", "")
	s.next()
	g.subscribed(t, s, c)
	g.insert(t, c, "seen")
	last, text := s.next()
	g.told(t, text, c)
	s.leave()
	g.insert(t, c, "missed")
	meanwhile()
	g.insert(t, c, "missed too")
	again := g.sse(t, "k1", last)
	if again.session() != s.session() || again.Header.Get("X-SSE-Reconnect") != "true" {
		t.Errorf("session %s resumed as %s, %s", s.session(), again.session(), again.Header.Get("X-SSE-Reconnect"))
	}
	if _, text := again.next(); !strings.Contains(text, `"reconnect":true`) {
		t.Errorf("first frame: %s", text)
	}
	before := again.number(last)
	told := func(final bool) {
		id, text := again.next()
		if n := again.number(id); n <= before {
			t.Errorf("frame %d after %d", n, before)
		} else {
			before = n
		}
		if final {
			g.told(t, text, c)
		} else if !strings.Contains(text, "StateMutation") {
			t.Errorf("a missed event: %s", text)
		}
	}
	told(false)
	told(true) // the second one is of the latest state
	g.insert(t, c, "live")
	told(true)
}

// Here the gate authenticates, and the node holds to what it signs; the same checks of auth mode embedded are those of
// embedded_attack_test.go.
var authentication = []check{
	{"G64", func(t *testing.T, g *group) {
		for path, method := range map[string]string{"/jsonrpc": "POST", "/admin-api/contexts": "GET", "/ws": "GET", "/sse": "GET", "/sse/subscription": "POST", "/metrics": "GET"} {
			expect(t, g.anyone(t, method, path), 401, `{"error":"authentication required"}`)
		}
		for _, path := range []string{"/admin-api/health", "/admin-api/ready", "/admin-api/is-authed"} {
			if a := g.anyone(t, "GET", path); a.StatusCode != 200 {
				t.Errorf("%s: %s", path, a.Status)
			}
		}
	}},
	// The gate lets neither an expired nor a revoked token through, and what it signs for a request is short-lived; only
	// streams outlive that, and end with the token.
	{"G65", func(t *testing.T, g *group) {
		for _, path := range []string{"/sse", "/ws"} {
			r := g.request(t, "GET", path, nil)
			for name, value := range map[string]string{
				"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
				"Origin": "https://app.example.com",
			} {
				r.Header.Set(name, value)
			}
			g.grant(r, "k1", "admin", time.Now().Add(-time.Hour))
			a := g.do(t, r)
			if a.StatusCode != 401 || a.Header.Get(identity.HeaderError) != identity.TokenExpired || !strings.Contains(strings.ToLower(a.Header.Get("Access-Control-Expose-Headers")), "x-auth-error") {
				t.Errorf("%s with an expired token: %s %v", path, a.Status, a.Header)
			}
		}
	}},
	{"G66", func(t *testing.T, g *group) { // the gate takes it from the query; to the node it means nothing
		for _, path := range []string{"/ws?token=x", "/sse?token=x"} {
			expect(t, g.anyone(t, "GET", path), 401, `{"error":"authentication required"}`)
			r := g.request(t, "GET", path, nil)
			g.grant(r, "k1", "admin", never)
			r.Header.Set(identity.HeaderAssertion, "bad")
			expect(t, g.do(t, r), 401, `{"error":"authentication required"}`)
		}
	}},
	{"G67", func(t *testing.T, g *group) {
		for path, method := range map[string]string{"/jsonrpc": "POST", "/admin-api/contexts": "GET", "/ws": "GET", "/sse": "GET", "/admin-api/usage": "GET"} {
			a := g.as(t, "blob:list", method, path, "")
			expect(t, a, 403, `{"error":"permission denied"}`)
			if got := a.Header.Get(identity.HeaderError); got != identity.PermissionDenied {
				t.Errorf("%s: %s %q", path, identity.HeaderError, got)
			}
		}
		g.app, _ = g.install(t, "kv-store.wasm", testapp.KVStore)
		g.made = g.context(t, g.app)
		other := g.context(t, g.app)
		only := fmt.Sprintf("context:execute[%s,%s,get]", g.made.ContextID, g.made.MemberPublicKey)
		for body, allowed := range map[string]bool{
			call(g.made.ContextID, "get", `{"key":"a"}`):             true,
			call(g.made.ContextID, "set", `{"key":"a","value":"1"}`): false,
			call(other.ContextID, "get", `{"key":"a"}`):              false,
		} {
			a := g.as(t, only, "POST", "/jsonrpc", body)
			if got := equalJSON(a.body, `{"jsonrpc":"2.0","id":1,"result":{"output":null}}`); got != allowed {
				t.Errorf("%s: %s %s", body, a.Status, a.body)
			}
		}
		g.output(t, g.made.ContextID, "len", "{}", "0")
	}},
	{"G68", func(t *testing.T, g *group) {
		signed := func(n *group) *http.Request {
			r := n.request(t, "GET", "/admin-api/contexts", nil)
			n.grant(r, "k1", "context:list", never)
			return r
		}
		if a := g.do(t, signed(g)); a.StatusCode != 200 {
			t.Errorf("signed: %s %s", a.Status, a.body)
		}
		for name, change := range map[string]func(*http.Request){
			"no header":        func(r *http.Request) { r.Header = http.Header{} },
			"no assertion":     func(r *http.Request) { r.Header.Del(identity.HeaderAssertion) },
			"more permissions": func(r *http.Request) { r.Header.Set(identity.HeaderPermissions, "admin") },
			"another key": func(r *http.Request) {
				r.Header.Set(identity.HeaderKey, "root")
				r.Header.Set(identity.HeaderUser, "root")
			},
			"two keys":              func(r *http.Request) { r.Header.Add(identity.HeaderKey, "root") },
			"another spelling":      func(r *http.Request) { r.Header["X_Auth_Key"] = []string{"root"} },
			"another route's":       func(r *http.Request) { r.URL.Path = "/admin-api/blobs" },
			"another method's":      func(r *http.Request) { r.Method = http.MethodPost },
			"user is not the key's": func(r *http.Request) { r.Header.Set(identity.HeaderUser, "root") },
		} {
			r := signed(g)
			change(r)
			if a := g.do(t, r); a.StatusCode != 401 || !strings.HasPrefix(a.body, `{"error":"`) {
				t.Errorf("%s: %s %s", name, a.Status, a.body)
			}
		}
		far := newGroup(t, g.bin, "MEROD_SERVER__PROXY__TRUSTED_PEERS=192.0.2.0/24")
		expect(t, far.do(t, signed(far)), 401, `{"error":"authentication required"}`)
	}},
}
