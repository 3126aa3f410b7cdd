package stream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
)

const (
	// closeGrace is how long a client has to answer the close of the node.
	closeGrace = time.Second
	// maxExecutions is how many calls of one WebSocket may run at a time. With more the node stops reading from it.
	maxExecutions = 16
	// largeMessage is a size in bytes. Of messages beyond it, maxLarge of all WebSockets together are in memory at a time,
	// and a client has largeTimeout to send the rest of one.
	largeMessage = 1 << 20
	maxLarge     = 16
	largeTimeout = time.Minute
)

// CheckHandshake reports what is wrong with a request for a WebSocket (RFC 6455 section 4.2.1), in the order in which a
// caller would mend it.
func CheckHandshake(r *http.Request) error {
	switch {
	case r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1):
		return fault.New(fault.Invalid, "a WebSocket is opened with GET and HTTP/1.1")
	case !names(r.Header, "Connection", "upgrade") || !names(r.Header, "Upgrade", "websocket"):
		return fault.New(fault.Invalid, "this is a WebSocket: ask for it with Connection: Upgrade and Upgrade: websocket")
	case len(r.Header["Sec-Websocket-Version"]) != 1 || r.Header.Get("Sec-Websocket-Version") != "13":
		return fault.New(fault.Invalid, "want Sec-WebSocket-Version: 13")
	case r.ContentLength != 0:
		return fault.New(fault.Invalid, "a WebSocket handshake has no body")
	}
	keys := r.Header["Sec-Websocket-Key"]
	if len(keys) == 1 {
		if raw, err := base64.StdEncoding.DecodeString(keys[0]); err == nil && len(raw) == 16 {
			return nil
		}
	}
	return fault.New(fault.Invalid, "want one Sec-WebSocket-Key: the base64 form of 16 bytes")
}

// names reports whether a header that is a list has a word.
func names(h http.Header, name, word string) bool {
	for _, line := range h[name] {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), word) {
				return true
			}
		}
	}
	return false
}

// socket is one WebSocket.
type socket struct {
	*life
	conn *websocket.Conn
	sub  *event.Subscriber

	// writing orders what is sent: the answer to a subscription comes before its first event, and none comes after the
	// answer to its end.
	writing sync.Mutex
	running chan struct{} // a place for each call that runs
	pauses  atomic.Uint64 // how often reading was paused or went on: odd during a pause
	work    sync.WaitGroup
}

// ServeWebSocket upgrades a request that [CheckHandshake] found good and serves it until one side ends it. The error
// is that of a request that was not upgraded; an answer was written already if it wraps [ErrAnswered].
func (h *Hub) ServeWebSocket(w http.ResponseWriter, r *http.Request) error {
	l, err := h.admit(r.Context(), WebSocket) // it lasts until the handler returns, also without the server's connection
	if err != nil {
		return err
	}
	defer l.finish()
	taken := &hijacker{ResponseWriter: w}
	conn, err := websocket.Accept(taken, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // whose page it is was checked before
	if err != nil {
		l.end(err)
		return fmt.Errorf("%w: %w", ErrAnswered, err)
	}
	conn.SetReadLimit(h.config.MaxMessage)
	s := &socket{life: l, conn: conn, sub: h.bus.NewSubscriber(), running: make(chan struct{}, maxExecutions)}
	defer s.sub.Close()
	s.work.Go(func() { s.closeAtEnd(taken.conn) })
	s.work.Go(s.endAtStop)
	s.work.Go(s.events)
	if h.config.PingInterval > 0 {
		s.work.Go(s.pings)
	}
	s.end(s.read())
	s.work.Wait()
	return nil
}

// ErrAnswered says that the response was written already.
var ErrAnswered = errors.New("the request was answered")

// hijacker remembers the connection, so that it can be cut whatever state the protocol is in.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return conn, rw, err
}

// read handles what the client sends, until an error.
func (s *socket) read() error {
	for {
		kind, from, err := s.conn.Reader(context.Background()) // closeAtEnd ends it
		if err != nil {
			return errLeft
		}
		if kind != websocket.MessageText {
			if _, err := io.Copy(io.Discard, from); err != nil {
				return readFailed(err)
			}
			continue
		}
		text, done, err := s.message(from)
		switch {
		case err != nil:
			return err
		case !utf8.Valid(text):
			done()
			return errNotText
		case !s.good():
			done()
			return context.Cause(s.ctx)
		}
		s.handle(text, done)
	}
}

func readFailed(err error) error {
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return fmt.Errorf("%w: %w", errMessage, err) // the library has said so to the client
	}
	return errLeft
}

// message reads one message. done is to be called when it is no longer needed.
func (s *socket) message(from io.Reader) (text []byte, done func(), err error) {
	text, err = io.ReadAll(io.LimitReader(from, largeMessage))
	if err != nil {
		return nil, nil, readFailed(err)
	}
	if len(text) < largeMessage {
		return text, func() {}, nil
	}
	if !s.enter(s.hub.large, nil) {
		return nil, nil, context.Cause(s.ctx)
	}
	done = func() { <-s.hub.large }
	late := time.AfterFunc(largeTimeout, func() { s.end(errSlow) })
	defer late.Stop()
	rest := bytes.NewBuffer(text)
	if _, err := rest.ReadFrom(from); err != nil {
		done()
		return nil, nil, readFailed(err)
	}
	return rest.Bytes(), done, nil
}

// enter waits for a place, without reading: whoever sends more than the node takes is held up by the connection itself.
// It reports whether it got one before the stream ended or, if that is not nil, stop was closed.
func (s *socket) enter(places chan<- struct{}, stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	default:
	}
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	s.pauses.Add(1)
	defer s.pauses.Add(1)
	select {
	case places <- struct{}{}:
		return true
	case <-stop:
	case <-s.ctx.Done():
	}
	return false
}

var errNotText = fmt.Errorf("%w: text that is not UTF-8", errMessage)

// events sends events, until an error.
func (s *socket) events() {
	for {
		m, err := s.sub.Next(s.ctx)
		if lost, ok := errors.AsType[*event.LostError](err); ok {
			s.writing.Lock()
			s.send(answer{ID: null, Error: failure{"EventsLost", lost}})
			s.writing.Unlock()
			continue
		}
		if err != nil {
			s.end(err)
			return
		}
		s.writing.Lock()
		if s.sub.Has(m.Topic) && s.good() {
			s.write(m.Response)
		}
		s.writing.Unlock()
	}
}

// pings ends a socket whose client is gone without a word.
func (s *socket) pings() {
	ticker := time.NewTicker(s.hub.config.PingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		before := s.pauses.Load()
		if before%2 == 1 {
			continue // the answer would not be read either
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.hub.config.PongTimeout)
		err := s.conn.Ping(ctx)
		cancel()
		if err != nil && s.pauses.Load() == before {
			s.end(errPing)
			return
		}
	}
}

// endAtStop ends the socket when the node stops and its client waits for no call any more. It takes all places for calls,
// so that no other begins.
func (s *socket) endAtStop() {
	select {
	case <-s.ctx.Done():
		return
	case <-s.hub.stopping:
	}
	for range maxExecutions {
		select {
		case s.running <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
	}
	s.end(errShutdown)
}

// closeAtEnd closes the connection when the socket ends, with a code that says why.
func (s *socket) closeAtEnd(conn net.Conn) {
	<-s.ctx.Done()
	// Neither a full connection nor a client that is silent holds up the end.
	cut := time.AfterFunc(closeGrace, func() { _ = conn.Close() })
	defer cut.Stop()
	code, reason := closing(context.Cause(s.ctx))
	_ = s.conn.Close(code, reason) // the client may be gone
}

func closing(cause error) (websocket.StatusCode, string) {
	switch {
	case errors.Is(cause, caller.ErrExpired), errors.Is(cause, caller.ErrRevoked), errors.Is(cause, caller.ErrChanged), errors.Is(cause, errSlow):
		return websocket.StatusPolicyViolation, reasonOf(cause)
	case errors.Is(cause, errShutdown):
		return websocket.StatusGoingAway, reasonOf(cause)
	case errors.Is(cause, errPing):
		return websocket.StatusProtocolError, "Ping timeout"
	case errors.Is(cause, errNotText):
		return websocket.StatusInvalidFramePayloadData, "text that is not UTF-8"
	case errors.Is(cause, errLeft):
		return websocket.StatusProtocolError, "" // a client that has closed properly got its answer already
	default:
		return websocket.StatusInternalError, reasonOf(cause)
	}
}

// answer is a frame to the client.
type answer struct {
	ID     json.RawMessage `json:"id"`
	Result any             `json:"result,omitempty"`
	Error  any             `json:"error,omitempty"`
}

// send writes a frame. The caller holds writing.
func (s *socket) send(a answer) {
	text, err := json.Marshal(a)
	if err != nil {
		s.end(err)
		return
	}
	s.write(text)
}

// write writes a text message; a failure ends the socket. The caller holds writing.
func (s *socket) write(text []byte) {
	slow := time.AfterFunc(s.hub.config.WriteTimeout, func() { s.end(errSlow) })
	defer slow.Stop()
	// Not s.ctx: when that ends, what is being written is finished and the close follows it.
	if err := s.conn.Write(context.Background(), websocket.MessageText, text); err != nil {
		s.end(errLeft)
	}
}

func (s *socket) reply(a answer) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.send(a)
}

// handle answers one message, or starts what does. It calls done when the text is no longer needed.
func (s *socket) handle(text []byte, done func()) {
	r, ok, err := parseRequest(text)
	if ok && err == nil && r.method == methodExecute && s.hub.execute != nil {
		s.call(r, done)
		return
	}
	defer done()
	switch {
	case !ok:
	case err != nil:
		s.reply(answer{ID: r.id, Error: parseError("%s", err)})
	case r.method == methodSubscribe || r.method == methodUnsubscribe:
		s.subscription(r)
	case r.method == methodExecute:
		s.reply(answer{ID: r.id, Error: parseError("method execute is not available")})
	default:
		s.reply(answer{ID: r.id, Error: parseError("unknown method %.64q", r.method)})
	}
}

func (s *socket) subscription(r request) {
	selected, err := parseSelection(r.params)
	if err != nil {
		s.reply(answer{ID: r.id, Error: parseError("%s", err)})
		return
	}
	topics := selected.topics()
	if r.method == methodSubscribe {
		if f := s.refused(topics); f != nil {
			s.reply(answer{ID: r.id, Error: f})
			return
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if r.method == methodSubscribe {
		s.sub.Subscribe(topics...)
	} else {
		s.sub.Unsubscribe(topics...)
	}
	result := map[string]any{"contextIds": selected.Contexts}
	if len(selected.Groups) > 0 {
		result["groupIds"] = selected.Groups
	}
	s.send(answer{ID: r.id, Result: result})
}

// refused returns why the socket may not have topics, nil if it may.
func (s *socket) refused(topics []event.Topic) *failure {
	have := s.sub.Topics()
	for _, t := range topics {
		have[t] = 0
	}
	if len(have) > s.hub.config.MaxTopics {
		f := parseError("too many subscriptions: at most %d", s.hub.config.MaxTopics)
		return &f
	}
	switch err := s.hub.permitted(s.ctx, s.caller, topics); {
	case err == nil:
		return nil
	case fault.CodeOf(err) == fault.Forbidden:
		return &failure{"Unauthorized", fault.MessageOf(err)}
	default:
		s.hub.log.ErrorContext(s.ctx, "subscription failed", "error", err)
		return &failure{"InternalError", struct{}{}}
	}
}

// call starts an execution when there is a place for it. Others of the same socket may run beside it. When the node stops
// it starts none: the close of the connection tells the client that this one was not made.
func (s *socket) call(r request, done func()) {
	if !s.enter(s.running, s.hub.stopping) {
		done()
		return
	}
	s.work.Go(func() {
		defer done()
		defer func() { <-s.running }()
		result, failed := s.protected(r.params)
		s.reply(answer{ID: r.id, Result: result, Error: failed})
	})
}

// protected makes a panic of an execution its failure: it must not take the node with it.
func (s *socket) protected(params json.RawMessage) (result, failed any) {
	defer func() {
		if v := recover(); v != nil {
			s.hub.log.ErrorContext(s.ctx, "panic in a call", "error", fmt.Sprint(v), "stack", string(debug.Stack()))
			result, failed = nil, failure{"InternalError", struct{}{}}
		}
	}()
	return s.hub.execute(s.ctx, params)
}
