package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// The headers of an SSE answer that scripts of other origins may read.
const (
	HeaderSession   = "X-SSE-Session-ID"
	HeaderReconnect = "X-SSE-Reconnect"
)

const (
	// retry is how long a client waits before it comes back, in milliseconds.
	retry = 3000
	// touchEvery is how often the record of a session in use says so.
	touchEvery = time.Hour
)

// sseStream is one connection of a session.
type sseStream struct {
	*life
	number uint64
	sub    *event.Subscriber
	sent   atomic.Uint64 // number of the last event that was sent

	writing sync.Mutex // as for a socket
	w       io.Writer
	control *http.ResponseController
}

// ServeSSE answers a request with the events of its session until one side ends it. The session is the one that
// Last-Event-ID names, if it is there and the caller's, else a new one. The error is that of a request that got no
// stream.
func (h *Hub) ServeSSE(w http.ResponseWriter, r *http.Request) error {
	l, err := h.admit(r.Context(), SSE)
	if err != nil {
		return err
	}
	defer l.finish()
	s := &sseStream{life: l, w: w, control: http.NewResponseController(w)}
	reconnect, err := s.open(r)
	if err != nil {
		l.end(err)
		return err
	}
	defer s.sub.Close()
	// Nobody waits for a client that does not read what it is told last.
	hurried := make(chan struct{})
	stop := context.AfterFunc(s.ctx, func() { s.hurry(); close(hurried) })
	defer func() {
		if !stop() {
			<-hurried // the writer is the server's again when this returns
		}
	}()
	s.connect(w.Header(), reconnect)
	var alive sync.WaitGroup
	alive.Go(s.keepAlive)
	s.events()
	alive.Wait()
	s.farewell()
	return s.leave()
}

// open finds or makes the session and becomes its connection.
func (s *sseStream) open(r *http.Request) (reconnect bool, err error) {
	h := s.hub
	if lines := r.Header["Last-Event-Id"]; len(lines) == 1 {
		if number, seq, ok := parseLastEventID(lines[0]); ok {
			if reconnect, err = s.resume(number, seq); reconnect || err != nil {
				return reconnect, err
			}
		}
	}
	record, err := h.create(s.caller.Key)
	if err != nil {
		return false, err
	}
	s.number, s.sub = record.ID, h.bus.NewSubscriber()
	unlock := h.sessions.lock(s.number)
	defer unlock()
	h.sessions.connect(s.number, s)
	return false, nil
}

// resume continues a session after an event, with those of its topics that the caller may still receive.
func (s *sseStream) resume(number, seq uint64) (bool, error) {
	h := s.hub
	unlock := h.sessions.lock(number)
	defer unlock()
	record, last, err := h.resume(s.ctx, number, s.caller.Key)
	if record == nil || err != nil {
		return false, err
	}
	topics := topicsOf(*record)
	for t := range topics {
		if h.permitted(s.ctx, s.caller, []event.Topic{t}) != nil {
			delete(topics, t)
		}
	}
	seq = min(seq, last)
	s.number, s.sub = number, h.bus.Resume(seq, topics)
	s.sent.Store(seq)
	h.sessions.connect(number, s)
	return true, nil
}

// connect sends the head of the answer and the frame that names the session.
func (s *sseStream) connect(header http.Header, reconnect bool) {
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // or nginx keeps events to itself
	header.Set(HeaderSession, strconv.FormatUint(s.number, 10))
	header.Set(HeaderReconnect, strconv.FormatBool(reconnect))
	s.writing.Lock()
	defer s.writing.Unlock()
	defer s.watch()()
	s.print("event: message\nid: %d-%d\nretry: %d\ndata: {\"type\":\"connect\",\"session_id\":\"%d\",\"reconnect\":%t}\n\n",
		s.number, s.sent.Load(), retry, s.number, reconnect)
	s.flush()
}

// events sends events until the stream ends.
func (s *sseStream) events() {
	for {
		m, err := s.sub.Next(s.ctx)
		if lost, ok := errors.AsType[*event.LostError](err); ok {
			s.writing.Lock()
			s.frame(lost.To, fmt.Appendf(nil, `{"type":"lost","from":%d,"to":%d`, lost.From, lost.To))
			s.writing.Unlock()
			continue
		}
		if err != nil {
			s.end(err)
			return
		}
		s.writing.Lock()
		if s.sub.Has(m.Topic) && s.good() {
			s.frame(m.Seq, []byte(`{"result":`), m.JSON)
		}
		s.writing.Unlock()
	}
}

// frame sends an event: its number, and the parts of a JSON object without the brace at the end. The caller holds
// writing.
func (s *sseStream) frame(seq uint64, parts ...[]byte) {
	defer s.watch()()
	s.sent.Store(seq)
	s.print("event: message\nid: %d-%d\ndata: ", s.number, seq)
	for _, p := range parts {
		s.write(p)
	}
	s.print("}\n\n")
	s.flush()
}

// keepAlive lets proxies and clients see that the stream lives, and the session's record that it is used.
func (s *sseStream) keepAlive() {
	ticker := time.NewTicker(s.hub.config.KeepAlive)
	defer ticker.Stop()
	touched := s.hub.now()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		s.writing.Lock()
		stop := s.watch()
		s.print(": keep-alive\n\n")
		s.flush()
		stop()
		s.writing.Unlock()
		if now := s.hub.now(); now.Sub(touched) >= touchEvery {
			touched = now
			if err := s.save(); err != nil {
				s.hub.log.ErrorContext(s.ctx, "saving a session", "error", err)
			}
		}
	}
}

// farewell tells the client why the stream ends, if it is still there.
func (s *sseStream) farewell() {
	switch cause := context.Cause(s.ctx); {
	case errors.Is(cause, errLeft), errors.Is(cause, errSlow), errors.Is(cause, context.Canceled):
	default:
		s.hurry()
		s.print("event: message\ndata: {\"type\":\"close\",\"reason\":%q}\n\n", reasonOf(cause))
		s.flush()
	}
}

// leave ends the connection of the session, whose record then says how far it came.
func (s *sseStream) leave() error {
	unlock := s.hub.sessions.lock(s.number)
	defer unlock()
	if !s.hub.sessions.disconnect(s.number, s) {
		return nil // another connection has taken over
	}
	return s.save()
}

// save writes how far the session came.
func (s *sseStream) save() error {
	err := s.hub.change(s.number, s.caller.Key, func(_ *store.Tx, x *store.Session) error {
		x.Sent = max(x.Sent, s.sent.Load())
		return nil
	})
	if errors.Is(err, errNoSession) {
		return nil // the sessions were too many
	}
	return err
}

// unsubscribe removes topics. After it returned nothing of them is sent.
func (s *sseStream) unsubscribe(topics []event.Topic) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.sub.Unsubscribe(topics...)
}

// watch ends the stream if the client has not taken what comes next in time; the function it returns ends the watch.
// A deadline of the connection would do the same, but the server answers it by cancelling the request, as if the
// client had left.
func (s *sseStream) watch() (stop func() bool) {
	return time.AfterFunc(s.hub.config.WriteTimeout, func() { s.end(errSlow) }).Stop
}

// hurry lets nobody wait long for a client that does not take what it is told last.
func (s *sseStream) hurry() {
	_ = s.control.SetWriteDeadline(s.hub.now().Add(closeGrace)) // a writer without deadlines does not block
}

func (s *sseStream) print(format string, args ...any) { s.write(fmt.Appendf(nil, format, args...)) }

// write sends text; a failure ends the stream.
func (s *sseStream) write(text []byte) {
	_, err := s.w.Write(text)
	s.check(err)
}

func (s *sseStream) flush() { s.check(s.control.Flush()) }

func (s *sseStream) check(err error) {
	if err != nil {
		s.end(errLeft)
	}
}
