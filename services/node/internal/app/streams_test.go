package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/jsonrpc"
)

// grantUntil is grant with an end of the token.
func (n *node) grantUntil(r *http.Request, key, permissions string, end time.Time) {
	if n.token != "" {
		n.grant(r, key, permissions)
		return
	}
	c := assertion.Claim{Key: key, Permissions: permissions, Method: r.Method, Target: r.URL.RequestURI()}
	if !end.IsZero() {
		c.Expires = strconv.FormatInt(end.Unix(), 10)
	}
	for name, value := range map[string]string{
		identity.HeaderKey: key, identity.HeaderUser: key, identity.HeaderPermissions: permissions, identity.HeaderExpires: c.Expires,
		identity.HeaderAssertion: n.keys.Sign(c, time.Now().Add(time.Minute)),
	} {
		r.Header.Set(name, value)
	}
}

var never = time.Unix(4102444800, 0)

// What can be called over HTTP fits into a message of a WebSocket too, unless an operator says otherwise.
func TestWebSocket_TakesTheLargestCall(t *testing.T) {
	if got, want := config.Defaults().Server.WebSocket.MaxMessageBytes, int64(httpapi.MaxRPCBody); got != want || want <= jsonrpc.MaxArgs {
		t.Errorf("server.websocket.max_message_bytes is %d by default, a body of /jsonrpc may have %d", got, want)
	}
}

// socket is a WebSocket client of few words: it sends and reads short text frames (RFC 6455 section 5).
type socket struct {
	net.Conn
	t     *testing.T
	lines *bufio.Reader
}

// upgrade opens a WebSocket through the gate. change may change the request.
func (n *node) upgrade(t *testing.T, permissions string, end time.Time, change func(*http.Request)) (*socket, answer) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	r := request(t, http.MethodGet, n.url("/ws"), nil)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	} {
		r.Header.Set(name, value)
	}
	n.grantUntil(r, "k1", permissions, end)
	if change != nil {
		change(r)
	}
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	s := &socket{conn, t, bufio.NewReader(conn)}
	res, err := http.ReadResponse(s.lines, r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // a refusal's text is not looked at; an upgraded answer has none
	return s, answer{res, ""}
}

// socket opens a WebSocket that must open.
func (n *node) socket(t *testing.T, permissions string) *socket {
	t.Helper()
	s, res := n.upgrade(t, permissions, never, nil)
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %s", res.Status)
	}
	return s
}

func (s *socket) send(text string) {
	s.t.Helper()
	head := []byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0} // masked with zeros
	if _, err := s.Write(append(head, text...)); err != nil {
		s.t.Fatal(err)
	}
}

// next reads a message; of a close frame it returns code and reason.
func (s *socket) next() string {
	s.t.Helper()
	read := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			c, err := s.lines.ReadByte()
			if err != nil {
				s.t.Fatal(err)
			}
			b[i] = c
		}
		return b
	}
	head := read(2)
	length := int(head[1])
	if length == 126 {
		b := read(2)
		length = int(b[0])<<8 | int(b[1])
	}
	payload := read(length)
	switch head[0] {
	case 0x88:
		return fmt.Sprintf("%d %s", int(payload[0])<<8|int(payload[1]), payload[2:])
	case 0x89:
		return "ping"
	default:
		return string(payload)
	}
}

func (s *socket) ask(text, want string) {
	s.t.Helper()
	s.send(text)
	if got := s.next(); !equalJSON(got, want) {
		s.t.Errorf("got  %s\nwant %s", got, want)
	}
}

func equalJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

// event is an event of a context as both kinds of streams bring it.
type event struct {
	Result struct {
		ContextID, Type string
		Data            struct {
			NewRoot string
			Events  []struct {
				Kind    string
				Data    []int
				Handler *string
			}
		}
	}
}

func (n *node) told(t *testing.T, text, context string) {
	t.Helper()
	var e event
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	r := e.Result
	if r.ContextID != context || r.Type != "StateMutation" || r.Data.NewRoot != n.stateHash(t, context) || len(r.Data.Events) != 1 || r.Data.Events[0].Kind != "Added" {
		t.Errorf("event %s of context %s, whose state is %s", text, context, n.stateHash(t, context))
	}
}

func TestContract_WebSocket(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	app := n.installed(t, "probe.wasm", probe(t))
	one, two := n.context(t, app).ContextID, n.context(t, app).ContextID
	subscribe := func(context string) string {
		return fmt.Sprintf(`{"id":1,"method":"subscribe","params":{"contextIds":[%q]}}`, context)
	}
	subscribed := func(context string) string {
		return fmt.Sprintf(`{"id":1,"result":{"contextIds":[%q]}}`, context)
	}
	call := func(context, method string) string {
		return fmt.Sprintf(`{"id":2,"method":"execute","params":{"contextId":%q,"method":%q,"argsJson":{}}}`, context, method)
	}
	s := n.socket(t, "context:execute")
	s.ask(subscribe(one), subscribed(one)) // node check F54
	n.execute(t, "admin", two, "add_and_tell", `{}`)
	n.execute(t, "admin", one, "add_and_tell", `{}`)
	n.told(t, s.next(), one) // node check F55: nothing of the other context

	s.ask(call(two, "n"), `{"id":2,"result":{"output":2}}`)
	s.ask(call(two, "say"), `{"id":2,"result":{"output":1,"logs":["{}","and more"]}}`)
	s.ask(call(two, "say_and_trap"), `{"id":2,"error":{"code":-32000,"message":"the guest trapped: unreachable","type":"FunctionCallError","data":"the guest trapped: unreachable","logs":["{}"]}}`)
	s.ask(call(two, "unknown"), `{"id":2,"error":{"code":-32000,"message":"method \"unknown\" not found","type":"FunctionCallError","data":"method \"unknown\" not found"}}`)

	// The permissions hold on a WebSocket as they do over HTTP, and a binding narrows both.
	bound := n.socket(t, "context:execute,context["+one+"]")
	bound.ask(call(one, "n"), `{"id":2,"result":{"output":2}}`)
	bound.ask(subscribe(two), `{"id":1,"error":{"type":"Unauthorized","data":"permission denied"}}`)
	bound.send(call(two, "add"))
	if got := bound.next(); !strings.Contains(got, `"error"`) || strings.Contains(got, `"result"`) {
		t.Errorf("a call outside of the binding: %s", got)
	}
	s.ask(call(two, "n"), `{"id":2,"result":{"output":2}}`)
	_, res := n.upgrade(t, "blob", never, nil)
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("without a permission to subscribe: %s", res.Status)
	}
}

func TestWebSocket_RefusedHandshakesAreJSON(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) {
		c.CORS.AllowAllOrigins, c.CORS.AllowedOrigins = false, []string{"https://app.example.com"}
	})
	for name, x := range map[string]struct {
		change func(*http.Request)
		end    time.Time
		want   int
		reason string
	}{
		"a page of the list":             {func(r *http.Request) { r.Header.Set("Origin", "https://app.example.com") }, never, 101, ""},
		"no page":                        {nil, never, 101, ""},
		"cross-site WebSocket hijacking": {func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, never, 403, ""},
		"no upgrade":                     {func(r *http.Request) { r.Header.Del("Upgrade") }, never, 400, ""},
		"no identity":                    {func(r *http.Request) { r.Header.Del(identity.HeaderKey) }, never, 401, identity.InvalidToken},
		"no X-Auth-Expires":              {nil, time.Time{}, 403, identity.PermissionDenied},
		"a token that has ended":         {nil, time.Now().Add(-time.Minute), 401, identity.TokenExpired},
	} {
		_, res := n.upgrade(t, "context:subscribe", x.end, x.change)
		if res.StatusCode != x.want || res.Header.Get(identity.HeaderError) != x.reason {
			t.Errorf("%s: %s, %s %q, want %d %q", name, res.Status, identity.HeaderError, res.Header.Get(identity.HeaderError), x.want, x.reason)
		}
		if x.want >= 400 && res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: content type %q", name, res.Header.Get("Content-Type"))
		}
	}
}

// stream opens an SSE stream and returns its lines; leave ends it.
func (n *node) stream(t *testing.T, permissions, lastEventID string, end time.Time) (head answer, data func() (id, text string), leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := request(t, http.MethodGet, n.url("/sse"), nil).WithContext(ctx)
	n.grantUntil(r, "k1", permissions, end)
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	leave = func() { cancel(); _ = res.Body.Close() }
	t.Cleanup(leave)
	lines := bufio.NewScanner(res.Body)
	data = func() (id, text string) {
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				id = value
			case "data":
				return id, value
			}
		}
		return id, ""
	}
	return answer{res, ""}, data, leave
}

func TestContract_SSE(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	app := n.installed(t, "probe.wasm", probe(t))
	made := n.context(t, app).ContextID
	res, next, leave := n.stream(t, "context:subscribe", "", never) // node check F59
	session := res.Header.Get("X-SSE-Session-ID")
	if id, text := next(); id != session+"-0" || text != fmt.Sprintf(`{"type":"connect","session_id":%q,"reconnect":false}`, session) || res.Header.Get("X-SSE-Reconnect") != "false" ||
		!strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") || res.Header.Get("X-Accel-Buffering") != "no" {
		t.Errorf("first frame: %s %s %v", id, text, res.Header)
	}
	if exposed := res.Header.Get("Access-Control-Expose-Headers"); !strings.Contains(exposed, "X-SSE-Session-ID") {
		t.Errorf("pages cannot read the session: %s", exposed)
	}
	post := func(permissions, body string) answer {
		return n.as(t, permissions, http.MethodPost, "/sse/subscription", strings.NewReader(body))
	}
	expect(t, post("context:subscribe", fmt.Sprintf(`{"id":%q,"method":"subscribe","params":{"contextIds":[%q]}}`, session, made)), 200,
		fmt.Sprintf(`{"result":{"status":"subscribed","contexts":[%q],"groups":[]}}`, made))
	n.execute(t, "admin", made, "add_and_tell", `{}`)
	first, text := next()
	n.told(t, text, made)

	// node check F62
	expect(t, post("context:subscribe", `{"id":"x","method":"subscribe","params":{}}`), 400, `{"error":"Invalid Session Id"}`)
	expect(t, post("context:subscribe", `{"id":"1","method":"subscribe","params":{}}`), 404, `{"error":"Session not found. Please reconnect to SSE endpoint first."}`)
	expect(t, post("context:subscribe", `{"id":"1"}`), 400, `{"error":{"type":"ParseError","data":"missing method"}}`)
	expect(t, post("context:subscribe,context[x]", fmt.Sprintf(`{"id":%q,"method":"subscribe","params":{"contextIds":[%q]}}`, session, made)), 403, `{"error":"permission denied"}`)
	expect(t, n.as(t, "context:subscribe", http.MethodGet, "/sse/session/x", nil), 400, `{"error":"Invalid Session Id"}`)
	number := strings.TrimPrefix(first, session+"-")
	expect(t, n.as(t, "context:subscribe", http.MethodGet, "/sse/session/"+session, nil), 200,
		fmt.Sprintf(`{"result":{"session_id":%s,"subscriptions":[%q],"event_counter":%s,"status":"active"}}`, session, made, number))

	// node checks F60, F61: what happened while the client was away, or the node down, comes once and in order.
	leave()
	n.execute(t, "admin", made, "add_and_tell", `{}`)
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = start(t, dir, nil)
	n.execute(t, "admin", made, "add_and_tell", `{}`)
	res, next, _ = n.stream(t, "context:subscribe", first, never)
	if id, text := next(); id != first || !strings.Contains(text, `"reconnect":true`) || res.Header.Get("X-SSE-Session-ID") != session {
		t.Errorf("after the restart: %s %s", id, text)
	}
	before, _ := strconv.Atoi(number)
	for range 2 {
		id, text := next()
		seq, err := strconv.Atoi(strings.TrimPrefix(id, session+"-"))
		if err != nil || seq <= before || !strings.Contains(text, "StateMutation") {
			t.Errorf("event %s after %d: %s", id, before, text)
		}
		before = seq
	}
	n.execute(t, "admin", made, "add_and_tell", `{}`)
	_, text = next()
	n.told(t, text, made)
}

func TestStreams_EndWithTheTokenThatOpenedThem(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	open := func(end time.Time) (s *socket, upgrade, head answer, next func() (string, string)) {
		s, upgrade = n.upgrade(t, "context:subscribe", end, nil)
		head, next, _ = n.stream(t, "context:subscribe", "", end)
		return s, upgrade, head, next
	}
	soon := time.Now().Truncate(time.Second).Add(4 * time.Second) // X-Auth-Expires counts seconds
	s, upgrade, head, next := open(soon)
	for range 5 { // a machine that stands still may let the token end before anything was opened with it
		if time.Now().Before(soon) {
			break
		}
		soon = time.Now().Truncate(time.Second).Add(4 * time.Second)
		s, upgrade, head, next = open(soon)
	}
	if upgrade.StatusCode != http.StatusSwitchingProtocols || head.StatusCode != http.StatusOK {
		t.Fatalf("upgrade: %s, GET /sse: %s", upgrade.Status, head.Status)
	}
	next()
	if got := s.next(); got != "1008 token_expired" {
		t.Errorf("WebSocket: %q", got)
	}
	if _, text := next(); text != `{"type":"close","reason":"token_expired"}` {
		t.Errorf("SSE: %s", text)
	}
	if _, text := next(); text != "" {
		t.Errorf("SSE goes on: %s", text)
	}
}

func TestStreams_MaxAgeWhereNobodyVouchesForTheExpiry(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Server.Proxy.RequireAssertion, c.Server.StreamMaxAge = false, time.Second })
	s, res := n.upgrade(t, "context:subscribe", never, nil)
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	if got := s.next(); got != "1008 token_expired" { // whatever X-Auth-Expires says
		t.Errorf("closed with %q", got)
	}
}

func TestStreams_StopWithinTheDrain(t *testing.T) { // node check J84
	n := start(t, t.TempDir(), nil)
	s := n.socket(t, "context:subscribe")
	_, next, _ := n.stream(t, "context:subscribe", "", never)
	next()
	silent := n.socket(t, "context:subscribe") // answers nothing, not even the close
	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- n.stop() }()
	if got := s.next(); got != "1001 shutting_down" {
		t.Errorf("WebSocket: %q", got)
	}
	if _, text := next(); text != `{"type":"close","reason":"shutting_down"}` {
		t.Errorf("SSE: %s", text)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > patience || n.log.contains("cut off requests") {
		t.Errorf("the stop took %s, or ended with the drain", took)
	}
	_ = silent.Close()
}

func TestReadOnlyNode_ExecutesNothing(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Mode = config.ModeReadOnly })
	expect(t, n.rpc(t, "admin", `{"jsonrpc":"2.0","id":1,"method":"execute","params":{}}`), 404, `{"error":"no such route"}`)
	n.socket(t, "admin").ask(`{"id":1,"method":"execute","params":{}}`, `{"id":1,"error":{"type":"ParseError","data":"method execute is not available"}}`)
}
