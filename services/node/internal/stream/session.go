package stream

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

const (
	// sessionLife is how long a session is kept after it was used last.
	sessionLife = 24 * time.Hour
	// The sessions that are kept. When there are more, those that were not used for the longest time go.
	maxSessions      = 16384
	maxSessionsOfKey = 4096
)

// Session ids are numbers that JSON readers with 53 bits of precision read exactly.
const (
	minSessionID = 1 << 52
	endSessionID = 1 << 53
)

// The refusals of requests about sessions.
var (
	errSessionID      = fault.New(fault.Invalid, "Invalid Session Id")
	errNoSession      = fault.New(fault.NotFound, "Session not found. Please reconnect to SSE endpoint first.")
	errSessionExpired = fault.New(fault.Gone, "Session expired")
)

// sessions are the SSE sessions of a hub: records in the store, and the connections of those that have one.
type sessions struct {
	locks [64]sync.Mutex // one session is changed by one at a time

	mu     sync.Mutex
	active map[uint64]*sseStream
	owners map[string]int // records by owner
	total  int
}

func (s *sessions) open(db *store.Store) error {
	s.active, s.owners = map[uint64]*sseStream{}, map[string]int{}
	return db.View(context.Background(), func(tx *store.Tx) error {
		for x, err := range tx.Sessions() {
			if err != nil {
				return err
			}
			s.count(x.Owner, 1)
		}
		return nil
	})
}

// lock makes everything about one session wait until the returned function is called.
func (s *sessions) lock(number uint64) (unlock func()) {
	m := &s.locks[number%uint64(len(s.locks))]
	m.Lock()
	return m.Unlock
}

func (s *sessions) count(owner string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += n
	if s.owners[owner] += n; s.owners[owner] <= 0 {
		delete(s.owners, owner)
	}
}

func (s *sessions) connected(number uint64) *sseStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active[number]
}

// connect makes a stream the connection of its session, and ends the one that was.
func (s *sessions) connect(number uint64, stream *sseStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.active[number]; old != nil {
		old.end(errReplaced)
	}
	s.active[number] = stream
}

// disconnect reports whether the stream still was the connection of its session.
func (s *sessions) disconnect(number uint64, stream *sseStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[number] != stream {
		return false
	}
	delete(s.active, number)
	return true
}

// parseSessionID reads an id as clients write it.
func parseSessionID(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, errSessionID
	}
	return n, nil
}

// parseLastEventID reads the id of an event: that of the session and the number of the event in it. ok is false for
// what no event of this node has.
func parseLastEventID(text string) (number, seq uint64, ok bool) {
	first, second, found := strings.Cut(text, "-")
	number, err := parseSessionID(first)
	if !found || err != nil {
		return 0, 0, false
	}
	seq, err = parseSessionID(second)
	return number, seq, err == nil
}

// find reads a session for its owner.
func (h *Hub) find(tx *store.Tx, number uint64, owner string) (store.Session, error) {
	s, err := tx.Session(number)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return s, errNoSession
	case err != nil:
		return s, err
	case s.Owner != owner:
		return s, caller.Denied()
	case h.now().Sub(s.Used) > sessionLife && h.sessions.connected(number) == nil:
		return s, errSessionExpired
	}
	return s, nil
}

// resume returns the session that a client comes back to, and the number of the newest event. No session says that
// it needs a new one: whoever asks for a session that is gone, or another's, learns nothing about it. The caller
// holds the session's lock.
func (h *Hub) resume(ctx context.Context, number uint64, owner string) (s *store.Session, last uint64, err error) {
	err = h.db.View(ctx, func(tx *store.Tx) error {
		log, err := tx.EventLog()
		if err != nil {
			return err
		}
		found, err := h.find(tx, number, owner)
		s, last = &found, log.Last
		return err
	})
	switch fault.CodeOf(err) {
	case "":
		return s, last, nil
	case fault.NotFound, fault.Forbidden, fault.Gone:
		return nil, 0, nil
	default:
		return nil, 0, err
	}
}

// create makes a session and makes room for it.
func (h *Hub) create(owner string) (store.Session, error) {
	s := store.Session{ID: minSessionID + rand.Uint64N(endSessionID-minSessionID), Owner: owner, Used: h.now()} //nolint:gosec // no secret: what it names is its owner's
	h.sessions.mu.Lock()
	full, crowded := h.sessions.total >= maxSessions, h.sessions.owners[owner] >= maxSessionsOfKey
	h.sessions.mu.Unlock()
	var gone []store.Session
	err := h.db.Enqueue(func(tx *store.Tx) (err error) {
		gone = nil
		if full || crowded {
			if gone, err = h.evict(tx, owner, crowded); err != nil {
				return err
			}
		}
		if _, err := tx.Session(s.ID); !errors.Is(err, store.ErrNotFound) {
			return errors.Join(errors.New("the random session id is taken"), err)
		}
		return tx.PutSession(s)
	}).Wait()
	if err != nil {
		return s, err
	}
	for _, x := range gone {
		h.sessions.count(x.Owner, -1)
	}
	h.sessions.count(owner, 1)
	return s, nil
}

// evict removes the sessions that expired and, of all or of one owner's, an eighth that was not used for the longest
// time. Sessions that are connected stay.
func (h *Hub) evict(tx *store.Tx, owner string, ofOwner bool) ([]store.Session, error) {
	var gone, idle []store.Session
	for s, err := range tx.Sessions() {
		switch {
		case err != nil:
			return nil, err
		case h.sessions.connected(s.ID) != nil:
		case h.now().Sub(s.Used) > sessionLife:
			gone = append(gone, s)
		case !ofOwner || s.Owner == owner:
			idle = append(idle, s)
		}
	}
	slices.SortFunc(idle, func(a, b store.Session) int { return a.Used.Compare(b.Used) })
	gone = append(gone, idle[:(len(idle)+7)/8]...)
	for _, s := range gone {
		if err := tx.DeleteSession(s.ID); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// change changes a session of an owner.
func (h *Hub) change(number uint64, owner string, fn func(*store.Tx, *store.Session) error) error {
	return h.db.Enqueue(func(tx *store.Tx) error {
		s, err := h.find(tx, number, owner)
		if err != nil {
			return err
		}
		if err := fn(tx, &s); err != nil {
			return err
		}
		s.Used = h.now()
		return tx.PutSession(s)
	}).Wait()
}

func topicsOf(s store.Session) map[event.Topic]uint64 {
	out := make(map[event.Topic]uint64, len(s.Subscriptions))
	for _, x := range s.Subscriptions {
		out[topicOf(x)] = x.Since
	}
	return out
}

func topicOf(s store.Subscription) event.Topic { return event.Topic{Group: s.Group, ID: s.Subject} }

// SessionInfo is the state of a session.
type SessionInfo struct {
	ID            uint64   `json:"session_id"`
	Subscriptions []string `json:"subscriptions"`
	EventCounter  uint64   `json:"event_counter"` // number of the last event that was sent
	Status        string   `json:"status"`        // "active" if it is connected, else "persisted"
}

// Session returns the state of a session of the caller.
func (h *Hub) Session(ctx context.Context, text string) (SessionInfo, error) {
	number, err := parseSessionID(text)
	if err != nil {
		return SessionInfo{}, err
	}
	var s store.Session
	if err := h.db.View(ctx, func(tx *store.Tx) (err error) {
		s, err = h.find(tx, number, caller.From(ctx).Key)
		return err
	}); err != nil {
		return SessionInfo{}, err
	}
	info := SessionInfo{ID: number, Subscriptions: []string{}, EventCounter: s.Sent, Status: "persisted"}
	for _, x := range s.Subscriptions {
		info.Subscriptions = append(info.Subscriptions, topicOf(x).String())
	}
	if stream := h.sessions.connected(number); stream != nil {
		info.Status, info.EventCounter = "active", stream.sent.Load()
	}
	return info, nil
}
