// Package stream speaks WebSocket and SSE with the subscribers of events.
//
// Every stream ends when the token that opened it does: its context carries that deadline, and whoever learns of a
// revocation ends it with [caller.ErrRevoked]. A stream has no queue of its own: it is an [event.Subscriber], a position
// in the event log, so that a client that reads slowly holds nobody up. When the connection takes nothing for
// [Config.WriteTimeout] it is cut.
package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// Config bounds and times the streams of a node.
type Config struct {
	MaxConnections int           // streams of both kinds at a time
	MaxPerKey      int           // of them for one key
	MaxTopics      int           // contexts and groups that one stream or session may subscribe to
	MaxMessage     int64         // largest WebSocket message of a client in bytes
	PingInterval   time.Duration // between two pings on a WebSocket; 0: none
	PongTimeout    time.Duration // how long the client has for the answer to one
	KeepAlive      time.Duration // between two comments on an SSE stream
	WriteTimeout   time.Duration // how long a client has to take what is sent
}

// Execute calls a method of a context, with the params that JSON-RPC has too, as the caller of ctx. Exactly one of
// what it returns is not nil: what becomes the result of the answer, or its error.
type Execute func(ctx context.Context, params json.RawMessage) (result, failure any)

// Hub holds the streams of one node. Make it with [New]. It is safe for concurrent use.
type Hub struct {
	config  Config
	bus     *event.Bus
	db      *store.Store
	execute Execute // nil: none
	now     func() time.Time
	log     *slog.Logger

	sessions sessions

	stopping chan struct{} // closed when the node begins to stop
	large    chan struct{} // a place for each large message that is in memory

	mu      sync.Mutex
	closing bool
	streams map[*life]struct{}
	keys    map[string]int // streams by key
	count   [kinds]int
	ended   map[Ending]uint64
	wg      sync.WaitGroup
}

// Kind is a kind of stream.
type Kind uint8

// The kinds of streams.
const (
	WebSocket Kind = iota
	SSE
	kinds
)

// String returns the name of the kind.
func (k Kind) String() string { return [...]string{"websocket", "sse"}[k] }

// Ending is why streams of a kind ended; Reason is one of a small fixed set of words.
type Ending struct {
	Kind   Kind
	Reason string
}

// Stats are figures of a hub.
type Stats struct {
	Connections map[Kind]int      // now
	Ended       map[Ending]uint64 // since the start
}

// New returns a hub without streams. execute may be nil; then WebSockets offer only events.
func New(c Config, bus *event.Bus, db *store.Store, execute Execute, now func() time.Time, log *slog.Logger) (*Hub, error) {
	h := &Hub{
		config: c, bus: bus, db: db, execute: execute, now: now, log: log,
		streams: map[*life]struct{}{}, keys: map[string]int{}, ended: map[Ending]uint64{},
		stopping: make(chan struct{}), large: make(chan struct{}, maxLarge),
	}
	return h, h.sessions.open(db)
}

// Stop begins to end all streams with a word to their clients: at once, but a WebSocket whose client waits for calls when
// these are answered. It takes no new ones. Streams that come later are refused.
func (h *Hub) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closing {
		h.closing = true
		close(h.stopping)
	}
	for l := range h.streams {
		if l.kind == SSE {
			l.end(errShutdown)
		}
	}
}

// Drain is Stop, and waits until the streams are gone. It reports whether they were when ctx ended.
func (h *Hub) Drain(ctx context.Context) bool {
	h.Stop()
	gone := make(chan struct{})
	go func() { // Close waits for the same
		h.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return true
	case <-ctx.Done():
		return false
	}
}

// Close ends all streams, the calls of WebSockets included, and waits until they are gone.
func (h *Hub) Close() {
	h.Stop()
	h.mu.Lock()
	for l := range h.streams {
		l.end(errShutdown)
	}
	h.mu.Unlock()
	h.wg.Wait()
}

// Stats returns the figures of the hub.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{Connections: map[Kind]int{}, Ended: map[Ending]uint64{}}
	for kind, n := range h.count {
		s.Connections[Kind(kind)] = n
	}
	for e, n := range h.ended {
		s.Ended[e] = n
	}
	return s
}

// The causes with which a stream ends, besides those of package caller.
var (
	errShutdown = errors.New("the node stops")
	errReplaced = errors.New("the session was resumed by another connection")
	errLeft     = errors.New("the client left")
	errSlow     = errors.New("the client does not read")
	errPing     = errors.New("the client does not answer pings")
	errMessage  = errors.New("the client sent what it may not")
)

// reasonOf returns the word for the cause of an end.
func reasonOf(cause error) string {
	for _, known := range []struct {
		cause error
		word  string
	}{
		{caller.ErrExpired, identity.TokenExpired},
		{caller.ErrRevoked, identity.TokenRevoked},
		{caller.ErrChanged, "permissions_changed"},
		{errShutdown, "shutting_down"},
		{errReplaced, "replaced"},
		{errSlow, "slow_client"},
		{errPing, "ping_timeout"},
		{errMessage, "bad_message"},
		{errLeft, "client_left"},
		{context.Canceled, "client_left"},
	} {
		if errors.Is(cause, known.cause) {
			return known.word
		}
	}
	return "internal_error"
}

// life is one stream from its admission to its end.
type life struct {
	hub    *Hub
	kind   Kind
	caller caller.Caller
	ctx    context.Context // ends with the stream; its cause says why
	end    context.CancelCauseFunc
	stop   context.CancelFunc
}

// admit opens a stream for the caller of ctx, or says why not. The stream's context ends no later than the caller's
// token; finish must be called.
func (h *Hub) admit(ctx context.Context, kind Kind) (*life, error) {
	c := caller.From(ctx)
	left := c.Expires.Sub(h.now())
	switch {
	case c.Local:
	case c.Expires.IsZero():
		return nil, fault.New(fault.Forbidden, "no stream opens without "+identity.HeaderExpires).Because(identity.PermissionDenied)
	case left <= 0:
		return nil, fault.New(fault.Unauthenticated, "the token has expired").Because(identity.TokenExpired)
	}
	l := &life{hub: h, kind: kind, caller: c}
	if err := h.enter(l); err != nil {
		return nil, err
	}
	l.ctx, l.stop = ctx, func() {}
	if !c.Local {
		l.ctx, l.stop = context.WithTimeoutCause(l.ctx, left, caller.ErrExpired)
	}
	l.ctx, l.end = context.WithCancelCause(l.ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streams[l] = struct{}{}
	if h.closing {
		l.end(errShutdown)
	}
	if c.Token != nil {
		h.wg.Go(l.keepAsking)
	}
	return l, nil
}

// askEvery is how often a stream on which nothing happens asks whether its token is still good.
const askEvery = time.Second

// keepAsking ends the stream soon after its token, also when nothing happens on it.
func (l *life) keepAsking() {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for l.good() {
		select {
		case <-l.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// good asks whether the caller's token is still good, before anything is sent to it or done for it. If it is not, or if
// that cannot be found out, the stream ends.
func (l *life) good() bool {
	err := l.caller.Check(l.ctx)
	if err != nil {
		l.end(err)
	}
	return err == nil
}

// enter counts a stream against the limits.
func (h *Hub) enter(l *life) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closing:
		return &fault.Error{Code: fault.Unavailable, Message: "the node stops", RetryAfter: 5 * time.Second}
	case h.count[WebSocket]+h.count[SSE] >= h.config.MaxConnections:
		return &fault.Error{Code: fault.Unavailable, Message: "too many streams are open", RetryAfter: 5 * time.Second}
	case h.keys[l.caller.Key] >= h.config.MaxPerKey:
		return &fault.Error{Code: fault.RateLimited, Message: "too many streams of this key are open", RetryAfter: 5 * time.Second}
	}
	h.count[l.kind]++
	h.keys[l.caller.Key]++
	h.wg.Add(1)
	return nil
}

// finish ends the stream, if nothing else did, and gives its place away.
func (l *life) finish() {
	l.end(errLeft)
	l.stop()
	h := l.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, l)
	h.count[l.kind]--
	if h.keys[l.caller.Key]--; h.keys[l.caller.Key] == 0 {
		delete(h.keys, l.caller.Key)
	}
	h.ended[Ending{l.kind, reasonOf(context.Cause(l.ctx))}]++
	h.wg.Done()
}

// permitted reports whether a caller may receive the events of all the topics. What no longer or not yet exists is
// judged by its id alone; a caller bound to applications cannot subscribe to it.
func (h *Hub) permitted(ctx context.Context, c caller.Caller, topics []event.Topic) error {
	if c.Permissions.Admin() {
		return nil
	}
	return h.db.View(ctx, func(tx *store.Tx) error {
		for _, t := range topics {
			ok, err := allowed(tx, c, t)
			if err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("%s: %w", t, caller.Denied())
			}
		}
		return nil
	})
}

func allowed(tx *store.Tx, c caller.Caller, t event.Topic) (bool, error) {
	if t.Group {
		return c.MaySubscribeGroup(t.String()), nil
	}
	x, err := tx.Context(t.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	return c.MaySubscribe(t.ID, x.Application), nil
}
