package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
	"github.com/calimero-network/mero-go/services/node/internal/stream"
)

// patience bounds in tests what takes no time but on a busy machine.
const patience = time.Minute

var (
	ctxA = id.ID{1}
	ctxB = id.ID{2}
	grp  = id.ID{0xab}
)

// server is a hub behind a listener. The caller of a request is taken from callers, by the query's "as".
type server struct {
	*stream.Hub
	*httptest.Server
	t     testing.TB
	bus   *event.Bus
	db    *store.Store
	clock atomic.Int64              // seconds that the hub's clock is ahead
	still atomic.Pointer[time.Time] // what it shows when it stands still, else nil

	mu      sync.Mutex
	callers map[string]caller.Caller
	revoke  map[string]context.CancelCauseFunc
	stop    func()
}

type options struct {
	dir     string
	config  func(*stream.Config)
	execute stream.Execute
	limits  store.EventLimits
}

func start(t testing.TB, o options) *server {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if o.limits == (store.EventLimits{}) {
		o.limits = store.EventLimits{Count: 1 << 20, Bytes: 1 << 30}
	}
	config := stream.Config{
		MaxConnections: 5000, MaxPerKey: 5000, MaxTopics: 100, MaxMessage: 1 << 16,
		PingInterval: time.Minute, PongTimeout: time.Minute, KeepAlive: time.Minute, WriteTimeout: time.Minute,
	}
	if o.config != nil {
		o.config(&config)
	}
	log := slog.New(slog.DiscardHandler)
	s := &server{t: t, revoke: map[string]context.CancelCauseFunc{}}
	var err error
	if s.db, err = store.Open(o.dir); err != nil {
		t.Fatal(err)
	}
	if s.bus, err = event.Open(t.Context(), s.db, o.limits, log); err != nil {
		t.Fatal(err)
	}
	if s.Hub, err = stream.New(config, s.bus, s.db, o.execute, s.now, log); err != nil {
		t.Fatal(err)
	}
	s.callers = map[string]caller.Caller{
		"":      {Permissions: permission.NewSet([]string{"admin"}), Local: true},
		"key":   s.key("key", "context:subscribe", "group:list"),
		"bound": s.key("bound", "context:subscribe", "context["+ctxA.String()+"]"),
		"other": s.key("other", "context:subscribe"),
		"none":  s.key("none", "blob"),
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.handle))
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(16 << 10) // so that little is enough to be slow
		return ctx
	}
	s.Start()
	s.stop = sync.OnceFunc(func() {
		s.Hub.Close()
		s.Server.Close()
		s.bus.Close()
		if err := s.db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// narrow opens a connection whose client keeps little of what it does not read, whatever the system would let it.
func narrow(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetReadBuffer(64 << 10)
}

// slowClient is the client of whoever is slow.
var slowClient = &http.Client{Transport: &http.Transport{DialContext: narrow, DisableKeepAlives: true}}

func (s *server) now() time.Time {
	if at := s.still.Load(); at != nil {
		return *at
	}
	return time.Now().Add(time.Duration(s.clock.Load()) * time.Second)
}

// brief returns a caller whose token lives for a moment from when its stream opens, however late that is: the clock stands
// still from now on. It does so ahead of the time, because the deadlines of connections go by it too.
func (s *server) brief(permissions ...string) caller.Caller {
	at := time.Now().Add(30 * time.Minute)
	s.still.Store(&at)
	c := s.key("brief", permissions...)
	c.Expires = at.Add(100 * time.Millisecond)
	return c
}

func (s *server) key(name string, permissions ...string) caller.Caller {
	return caller.Caller{Key: name, Permissions: permission.NewSet(permissions), Expires: s.now().Add(time.Hour)}
}

// as makes a caller known under a name.
func (s *server) as(name string, c caller.Caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.callers[name] = c
}

// handle does what package httpapi does around a hub.
func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("as")
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	s.mu.Lock()
	c := s.callers[name]
	s.revoke[name] = cancel
	s.mu.Unlock()
	r = r.WithContext(caller.With(ctx, c))
	var result any
	var err error
	switch r.URL.Path {
	case "/ws":
		if err = stream.CheckHandshake(r); err == nil {
			err = s.ServeWebSocket(w, r)
		}
	case "/sse":
		err = s.ServeSSE(w, r)
	case "/sse/subscription":
		body, _ := io.ReadAll(r.Body)
		result, err = s.Subscription(r.Context(), body)
	default:
		result, err = s.Session(r.Context(), strings.TrimPrefix(r.URL.Path, "/sse/session/"))
	}
	if err != nil && !errors.Is(err, stream.ErrAnswered) {
		w.WriteHeader(statusOf(err))
		_, _ = fmt.Fprint(w, err)
	} else if result != nil {
		_ = json.NewEncoder(w).Encode(result)
	}
}

func statusOf(err error) int {
	if _, ok := errors.AsType[*stream.ParseError](err); ok {
		return http.StatusBadRequest
	}
	return map[fault.Code]int{
		fault.Invalid: 400, fault.Unauthenticated: 401, fault.Forbidden: 403, fault.NotFound: 404, fault.Gone: 410, fault.RateLimited: 429,
		fault.Unavailable: 503,
	}[fault.CodeOf(err)]
}

func (s *server) publish(events ...event.Event) {
	s.t.Helper()
	if err := s.db.Enqueue(func(tx *store.Tx) error {
		for _, e := range events {
			if err := s.bus.Publish(tx, e); err != nil {
				return err
			}
		}
		return nil
	}).Wait(); err != nil {
		s.t.Fatal(err)
	}
}

func mutation(context id.ID, n byte) event.StateMutation {
	return event.StateMutation{Context: context, NewRoot: id.ID{n}, Emitted: []event.Emitted{{Kind: "Inserted", Data: []byte{n}}}}
}

// shown is the event as clients get it.
func shown(context id.ID, n byte) string {
	return fmt.Sprintf(`{"contextId":"%s","type":"StateMutation","data":{"newRoot":"%s","events":[{"kind":"Inserted","data":[%d],"handler":null}]}}`,
		context, id.ID{n}, n)
}

// ws is a WebSocket client.
type ws struct {
	*websocket.Conn
	t testing.TB
}

func (s *server) dial(as string) *ws {
	s.t.Helper()
	return s.dialWith(as, nil)
}

func (s *server) dialWith(as string, o *websocket.DialOptions) *ws {
	s.t.Helper()
	conn, _, err := websocket.Dial(s.t.Context(), s.URL+"/ws?as="+as, o) //nolint:bodyclose // the library does
	if err != nil {
		s.t.Fatal(err)
	}
	conn.SetReadLimit(1 << 24)
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	return &ws{conn, s.t}
}

// refused returns the status of a handshake that must fail.
func (s *server) refused(as string) int {
	s.t.Helper()
	_, res, err := websocket.Dial(s.t.Context(), s.URL+"/ws?as="+as, nil) //nolint:bodyclose // the library does
	if err == nil || res == nil {
		s.t.Fatalf("the handshake was not refused: %v", err)
	}
	return res.StatusCode
}

func (c *ws) send(text string) {
	c.t.Helper()
	if err := c.Write(c.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *ws) receive() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, text, err := c.Read(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// ask sends a message and expects an answer.
func (c *ws) ask(text, want string) {
	c.t.Helper()
	c.send(text)
	c.expect(want)
}

func (c *ws) expect(want string) {
	c.t.Helper()
	if got := c.receive(); !sameJSON(got, want) {
		c.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// closed reads until the connection ends, and returns how.
func (c *ws) closed() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		_, _, err := c.Read(ctx)
		if e, ok := errors.AsType[websocket.CloseError](err); ok {
			return strings.TrimSpace(fmt.Sprintf("%d %s", e.Code, e.Reason))
		}
		if err != nil {
			return err.Error()
		}
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func subscribe(context id.ID) string {
	return `{"id":1,"method":"subscribe","params":{"contextIds":["` + context.String() + `"]}}`
}

func subscribed(context id.ID) string {
	return `{"id":1,"result":{"contextIds":["` + context.String() + `"]}}`
}

// sse is an SSE client.
type sse struct {
	*http.Response
	t      testing.TB
	lines  *bufio.Reader
	cancel context.CancelFunc
}

// frame is one event of an SSE stream; a comment is its text alone.
type frame struct{ event, id, retry, data, comment string }

func (s *server) get(as, lastEventID string) *sse {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/sse?as="+as, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	res, err := s.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cancel(); _ = res.Body.Close() })
	return &sse{res, s.t, bufio.NewReader(res.Body), cancel}
}

// next reads a frame; the zero frame is the end.
func (c *sse) next() (f frame) {
	c.t.Helper()
	for {
		line, err := c.lines.ReadString('\n')
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case err != nil, line == "":
			return f
		case name == "event":
			f.event = value
		case name == "id":
			f.id = value
		case name == "retry":
			f.retry = value
		case name == "data" && f.data == "":
			f.data = value
		case name == "":
			f.comment = value
		default:
			c.t.Errorf("line %q", line)
		}
	}
}

func (c *sse) leave() {
	c.cancel()
	_ = c.Body.Close()
}

// session opens a stream and returns the id of its session.
func (s *server) session(as string) (*sse, string) {
	s.t.Helper()
	c := s.get(as, "")
	if f := c.next(); f.data == "" {
		s.t.Fatalf("no connect frame: %s %+v", c.Status, f)
	}
	return c, c.Header.Get("X-SSE-Session-ID")
}

// post changes the subscriptions of a session and returns status and body.
func (s *server) post(as, body string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.URL+"/sse/subscription?as="+as, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(r)
}

func (s *server) do(r *http.Request) (int, string) {
	s.t.Helper()
	res, err := s.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(bytes.TrimSpace(text))
}

func (s *server) info(as, session string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.URL+"/sse/session/"+session+"?as="+as, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(r)
}

// listen subscribes a session to contexts, which must be right.
func (s *server) listen(as, session string, contexts ...id.ID) {
	s.t.Helper()
	text, err := json.Marshal(map[string]any{"id": session, "method": "subscribe", "params": map[string]any{"contextIds": contexts}})
	if err != nil {
		s.t.Fatal(err)
	}
	if status, body := s.post(as, string(text)); status != http.StatusOK {
		s.t.Fatalf("subscribe: %d %s", status, body)
	}
}

// ended waits until the hub has counted an ending.
func (s *server) ended(kind stream.Kind, reason string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if s.Hub.Stats().Ended[stream.Ending{Kind: kind, Reason: reason}] > 0 {
			return
		}
	}
	s.t.Errorf("no %s ended as %s: %v", kind, reason, s.Hub.Stats().Ended)
}
