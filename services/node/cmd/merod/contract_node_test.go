package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// group is the node of a group of checks, and what they made on it.
type group struct {
	*process
	bin, home string
	environ   []string
	keys      *assertion.File
	owner     testing.TB // whose end is the node's
	client    *http.Client

	app       string // the sample application
	namespace string
	made      created // a context of it
}

// created is the answer to the creation of a context.
type created struct {
	ContextID, MemberPublicKey, GroupID string
	GroupCreated                        bool
}

// newGroup starts a node that shares a key with the tests, as it would with the gate.
func newGroup(t *testing.T, bin string, environ ...string) *group {
	t.Helper()
	g := &group{bin: bin, home: t.TempDir(), owner: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	file := filepath.Join(g.home, "assertion.keys")
	if _, err := assertion.Create(file); err != nil {
		t.Fatal(err)
	}
	var err error
	if g.keys, err = assertion.Open(file, time.Now); err != nil {
		t.Fatal(err)
	}
	g.environ = append([]string{"MEROD_SERVER__AUTH_MODE=proxy", "MEROD_SERVER__PROXY__ASSERTION_KEY_FILE=" + file}, environ...)
	g.process = startWith(t, bin, g.home, g.environ...)
	t.Cleanup(func() {
		_ = g.cmd.Process.Kill() // it may have ended
		_ = g.cmd.Wait()
	})
	return g
}

// restart ends the node as an operator does and starts it again.
func (g *group) restart(t *testing.T) {
	t.Helper()
	if err := g.end(syscall.SIGTERM); err != nil {
		t.Fatalf("SIGTERM: %v", err)
	}
	owner, ok := g.owner.(*testing.T)
	if !ok {
		t.Fatal("the group has no test")
	}
	g.process = startWith(owner, g.bin, g.home, g.environ...)
}

// patience bounds what takes no time but on a busy machine.
const patience = time.Minute

// attempts are how often a check is made that a machine which stands still for seconds leaves undecided.
const attempts = 5

// asItIs follows no redirect.
func asItIs(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// never is the end of a token that outlives the test.
var never = time.Unix(4102444800, 0)

// grant signs a request as the gate does.
func (g *group) grant(r *http.Request, key, permissions string, end time.Time) {
	c := assertion.Claim{Key: key, Permissions: permissions, Expires: strconv.FormatInt(end.Unix(), 10), Method: r.Method, Target: r.URL.RequestURI()}
	for name, value := range map[string]string{
		identity.HeaderKey: key, identity.HeaderUser: key, identity.HeaderPermissions: permissions, identity.HeaderExpires: c.Expires,
		identity.HeaderAssertion: g.keys.Sign(c, time.Now().Add(time.Minute)),
	} {
		r.Header.Set(name, value)
	}
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body string
}

func (g *group) request(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil && !strings.Contains(path, "/blobs") {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (g *group) do(t *testing.T, r *http.Request) answer {
	t.Helper()
	a, err := g.try(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// try is do for goroutines that are not the test's.
func (g *group) try(r *http.Request) (answer, error) {
	res, err := g.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return answer{res, string(body)}, err
}

// as sends a request of a key with these permissions.
func (g *group) as(t *testing.T, permissions, method, path, body string) answer {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r := g.request(t, method, path, content)
	g.grant(r, "k1", permissions, never)
	return g.do(t, r)
}

func (g *group) get(t *testing.T, path string) answer {
	t.Helper()
	return g.as(t, "admin", http.MethodGet, "/admin-api"+path, "")
}

func (g *group) send(t *testing.T, path, body string) answer {
	t.Helper()
	return g.as(t, "admin", http.MethodPost, "/admin-api"+path, body)
}

func (g *group) remove(t *testing.T, path string) answer {
	t.Helper()
	return g.as(t, "admin", http.MethodDelete, "/admin-api"+path, "")
}

func (g *group) put(t *testing.T, query string, content []byte) answer {
	t.Helper()
	r := g.request(t, http.MethodPut, "/admin-api/blobs"+query, bytes.NewReader(content))
	g.grant(r, "k1", "admin", never)
	return g.do(t, r)
}

// anyone sends a request without credentials.
func (g *group) anyone(t *testing.T, method, path string) answer {
	t.Helper()
	return g.do(t, g.request(t, method, path, nil))
}

func equalJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// expect compares an answer. What begins with a brace or bracket is JSON.
func expect(t *testing.T, got answer, status int, body string) {
	t.Helper()
	same := got.body == body
	if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
		same = equalJSON(got.body, body)
	}
	if got.StatusCode != status || !same {
		t.Errorf("%s %s: %s %q, want %d %q", got.Request.Method, got.Request.URL.Path, got.Status, got.body, status, body)
	}
	if status >= 400 && got.body != "" && got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: an error of type %q", got.Request.Method, got.Request.URL.Path, got.Header.Get("Content-Type"))
	}
}

// refused expects an error in JSON: a status of the client's fault whose text holds a part.
func refused(t *testing.T, got answer, part string) {
	t.Helper()
	var body struct{ Error string }
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.StatusCode < 400 || got.StatusCode >= 500 || part == "" || !strings.Contains(body.Error, part) {
		t.Errorf("%s %s: %s %q, want a refusal with %q", got.Request.Method, got.Request.URL.Path, got.Status, got.body, part)
	}
}

// decoded returns what the envelope of a successful answer holds.
func decoded[T any](t *testing.T, got answer) T {
	t.Helper()
	var body struct{ Data T }
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %q %v", got.Request.Method, got.Request.URL.Path, got.Status, got.body, err)
	}
	return body.Data
}

// install installs a file by its path, which it returns too.
func (g *group) install(t *testing.T, name string, content []byte) (app, path string) {
	t.Helper()
	path = g.file(t, name, content)
	made := decoded[struct{ ApplicationID string }](t, g.send(t, "/install-dev-application", fmt.Sprintf(`{"path":%q,"metadata":[1,2],"package":null,"version":null}`, path)))
	return made.ApplicationID, path
}

func (g *group) file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(g.home, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// context makes a context of an application in a namespace of its own.
func (g *group) context(t *testing.T, app string) created {
	t.Helper()
	return decoded[created](t, g.send(t, "/contexts", fmt.Sprintf(`{"applicationId":%q,"initializationParams":[]}`, app)))
}

func (g *group) rpc(t *testing.T, body string) string {
	t.Helper()
	a := g.as(t, "admin", http.MethodPost, "/jsonrpc", body)
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: %s %s", body, a.Status, a.body)
	}
	return a.body
}

func call(context, method, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":%q,"argsJson":%s}}`, context, method, args)
}

// outcome is a JSON-RPC answer.
type outcome struct {
	ID     any
	Result *struct {
		Output json.RawMessage
		Logs   []string
	}
	Error *struct {
		Type string
		Data json.RawMessage
		Logs []string
	}
}

// readable reports whether the clients of the contract can read what an error says: a text that is not empty, or an object.
func (o outcome) readable() bool {
	if o.Error == nil {
		return false
	}
	var text string
	var object map[string]any
	return json.Unmarshal(o.Error.Data, &text) == nil && text != "" || json.Unmarshal(o.Error.Data, &object) == nil && object != nil
}

func (g *group) execute(t *testing.T, context, method, args string) outcome {
	t.Helper()
	var o outcome
	if text := g.rpc(t, call(context, method, args)); json.Unmarshal([]byte(text), &o) != nil || (o.Result == nil) == (o.Error == nil) {
		t.Errorf("%s(%s): %s", method, args, text)
	}
	return o
}

// output executes a method that succeeds and compares what it returns.
func (g *group) output(t *testing.T, context, method, args, want string) {
	t.Helper()
	if o := g.execute(t, context, method, args); o.Result == nil || string(o.Result.Output) != want {
		t.Errorf("%s(%s): %+v, want %s", method, args, o, want)
	}
}

// fails executes a method that fails with a FunctionCallError that says so in words that hold text, and leaves no trace.
func (g *group) fails(t *testing.T, context, method, args, text string) {
	t.Helper()
	before := g.state(t, context)
	o := g.execute(t, context, method, args)
	var said string
	if o.Error == nil || o.Error.Type != "FunctionCallError" || json.Unmarshal(o.Error.Data, &said) != nil || text == "" || !strings.Contains(said, text) {
		t.Errorf("%s(%s): %+v, want a FunctionCallError with %q", method, args, o, text)
	}
	if after := g.state(t, context); after != before {
		t.Errorf("%s(%s) failed and changed\n%s to\n%s", method, args, before, after)
	}
}

// state is what a client can see of a context: its hash, heads, size and entries.
func (g *group) state(t *testing.T, context string) string {
	t.Helper()
	return g.get(t, "/contexts/"+context).body + g.get(t, "/contexts/"+context+"/storage?entries=true").body
}

func (g *group) hash(t *testing.T, context string) string {
	t.Helper()
	return decoded[struct{ ContextStateHash string }](t, g.get(t, "/contexts/"+context)).ContextStateHash
}

func zero() string { return id.ID{}.String() }

// socket is a WebSocket client of few words: it sends and reads short frames (RFC 6455 section 5).
type socket struct {
	net.Conn
	t     *testing.T
	lines *bufio.Reader
}

// upgrade asks for a WebSocket and returns the answer to that. change may change the request.
func (g *group) upgrade(t *testing.T, permissions string, change func(*http.Request)) (*socket, answer) {
	t.Helper()
	return handshake(t, g.base, "/ws", func(r *http.Request) {
		g.grant(r, "k1", permissions, never)
		if change != nil {
			change(r)
		}
	})
}

// handshake asks a node for a WebSocket. prepare makes the request one that may.
func handshake(t *testing.T, base, target string, prepare func(*http.Request)) (*socket, answer) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	} {
		r.Header.Set(name, value)
	}
	prepare(r)
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	s := &socket{conn, t, bufio.NewReader(conn)}
	res, err := http.ReadResponse(s.lines, r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // of a refusal nobody looks at it; an upgrade has none
	return s, answer{res, ""}
}

func (g *group) socket(t *testing.T, permissions string) *socket {
	t.Helper()
	s, res := g.upgrade(t, permissions, nil)
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %s", res.Status)
	}
	return s
}

// frame sends a frame of an opcode, masked with zeros.
func (s *socket) frame(opcode byte, text string) {
	s.t.Helper()
	head := []byte{0x80 | opcode, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}
	if opcode >= 8 { // control frames have short lengths
		head = []byte{0x80 | opcode, 0x80 | byte(len(text)), 0, 0, 0, 0}
	}
	if _, err := s.Write(append(head, text...)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) send(text string) {
	s.t.Helper()
	s.frame(1, text)
}

// next reads a message; of a close frame it returns code and reason, of a ping or pong its name and payload.
func (s *socket) next() string {
	s.t.Helper()
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(s.lines, b); err != nil {
			s.t.Fatal(err)
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
		return "ping " + string(payload)
	case 0x8a:
		return "pong " + string(payload)
	default:
		return string(payload)
	}
}

func (s *socket) ask(text, want string) {
	s.t.Helper()
	s.send(text)
	if got := s.next(); !equalJSON(got, want) {
		s.t.Errorf("the answer to %s is\n%s, want\n%s", text, got, want)
	}
}

// event is an event of a context, as both kinds of streams bring it.
type event struct {
	Result struct {
		ContextID, Type string
		Data            struct {
			NewRoot string
			Events  []struct {
				Kind string
				Data []int
			}
		}
	}
}

// told checks that a message is the one about the latest state of a context.
func (g *group) told(t *testing.T, text, context string) {
	t.Helper()
	var e event
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	r := e.Result
	if r.ContextID != context || r.Type != "StateMutation" || r.Data.NewRoot != g.hash(t, context) || len(r.Data.Events) != 1 || r.Data.Events[0].Kind != "Inserted" {
		t.Errorf("the event %s, want one insertion into %s", text, context)
	}
}

// sse is an open stream of server-sent events.
type sse struct {
	answer
	t     *testing.T
	lines *bufio.Scanner
	leave func()
}

// sse opens a stream of a key, which resumes behind an event if last is not empty.
func (g *group) sse(t *testing.T, key, last string) *sse {
	t.Helper()
	r := g.request(t, http.MethodGet, "/sse", nil)
	g.grant(r, key, "context:subscribe", never)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	return openEvents(t, g.client, r)
}

// openEvents sends a request that is answered with a stream.
func openEvents(t *testing.T, client *http.Client, r *http.Request) *sse {
	t.Helper()
	s := askEvents(t, client, r)
	if s.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", r.URL.Path, s.Status)
	}
	return s
}

// askEvents is openEvents for a request that may be refused.
func askEvents(t *testing.T, client *http.Client, r *http.Request) *sse {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	res, err := client.Do(r.WithContext(ctx))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	leave := func() { cancel(); _ = res.Body.Close() }
	t.Cleanup(leave)
	return &sse{answer: answer{res, ""}, t: t, lines: bufio.NewScanner(res.Body), leave: leave}
}

// next reads a frame. id is that of the frame, text its data.
func (s *sse) next() (id, text string) {
	s.t.Helper()
	id, text, err := s.read()
	if err != nil {
		s.t.Fatal(err)
	}
	return id, text
}

// read is next for a stream that may be cut.
func (s *sse) read() (id, text string, err error) {
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "data":
			return id, value, nil
		}
	}
	if err := s.lines.Err(); err != nil && !errors.Is(err, context.Canceled) {
		return "", "", err
	}
	return id, "", nil
}

// session is the id of the stream's session.
func (s *sse) session() string { return s.Header.Get("X-SSE-Session-ID") }

// number is the sequence number in the id of a frame of the session.
func (s *sse) number(id string) int {
	s.t.Helper()
	n, err := strconv.Atoi(strings.TrimPrefix(id, s.session()+"-"))
	if err != nil {
		s.t.Fatalf("the id of a frame: %q", id)
	}
	return n
}
