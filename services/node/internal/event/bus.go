package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// A page is what the bus or a subscriber that catches up reads in one look at the log.
const (
	pageEvents = 256
	pageBytes  = 4 << 20
)

// Bus brings the events of one node to its subscribers. Make it with [Open]. It is safe for concurrent use.
type Bus struct {
	db     *store.Store
	limits store.EventLimits
	log    *slog.Logger
	cache  cache
	wake   chan struct{} // holds one element when the log has news
	stop   chan struct{}
	done   chan struct{}

	mu     sync.Mutex // before the mutex of a subscriber
	last   uint64     // every event up to here was handed to the subscribers
	topics map[Topic]map[*Subscriber]struct{}
	stats  Stats
}

// Stats are figures of a bus since it was opened.
type Stats struct {
	Events      uint64 // events that were handed out
	Deliveries  uint64 // events times subscribers
	Subscribers int    // now
}

// Message is an event as subscribers get it.
type Message struct {
	Seq   uint64
	Topic Topic
	// JSON is {"contextId":…,"type":…,"data":…}, or "groupId" for a group, on one line. Response is the same as
	// the result of a response that answers no request: {"id":null,"result":…}. Both are shared between
	// subscribers and must not be changed.
	JSON, Response []byte
}

const responseHead, responseTail = `{"id":null,"result":`, `}`

// Open starts a bus over the event log of db. [Bus.Close] must be called before db is closed.
func Open(ctx context.Context, db *store.Store, limits store.EventLimits, log *slog.Logger) (*Bus, error) {
	b := &Bus{
		db: db, limits: limits, log: log, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		topics: map[Topic]map[*Subscriber]struct{}{},
	}
	if err := db.View(ctx, func(tx *store.Tx) error {
		state, err := tx.EventLog()
		b.last = state.Last
		return err
	}); err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	go b.run(context.WithoutCancel(ctx))
	return b, nil
}

// Close stops the bus and waits until it no longer uses the database. Subscribers get [ErrClosed]. It may be called
// again.
func (b *Bus) Close() {
	b.mu.Lock()
	select {
	case <-b.stop:
	default:
		close(b.stop)
	}
	b.mu.Unlock()
	<-b.done
}

// Publish records an event in a transaction; subscribers get it after the commit. Nothing waits for them.
func (b *Bus) Publish(tx *store.Tx, e Event) error {
	text, err := encode(e)
	if err != nil {
		return fmt.Errorf("event %s: %w", e.kind(), err)
	}
	t := e.topic()
	if _, err := tx.AppendEvent(t.Group, t.ID, text, b.limits); err != nil {
		return fmt.Errorf("event %s: %w", e.kind(), err)
	}
	tx.OnCommit(b.notify)
	return nil
}

// Forget removes the events of a context or group from the log, in the transaction that deletes it.
func (*Bus) Forget(tx *store.Tx, t Topic) error { return tx.RemoveEvents(t.Group, t.ID) }

// Stats returns the figures of the bus.
func (b *Bus) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

func (b *Bus) notify() {
	select {
	case b.wake <- struct{}{}:
	default: // the bus will look anyway
	}
}

func (b *Bus) run(ctx context.Context) {
	defer close(b.done)
	for {
		select {
		case <-b.stop:
			return
		case <-b.wake:
		}
		for more := true; more; {
			select {
			case <-b.stop:
				return
			default:
			}
			var err error
			if more, err = b.drain(ctx); err != nil {
				b.log.ErrorContext(ctx, "events are held up", "error", err)
			}
		}
	}
}

// drain hands out one page of the log and reports whether there may be more. Only run calls it.
func (b *Bus) drain(ctx context.Context) (more bool, err error) {
	type item struct {
		seq   uint64
		topic Topic
		msg   *Message
	}
	var page []item
	size, last := 0, b.lastSeq()
	err = b.db.View(ctx, func(tx *store.Tx) error {
		state, err := tx.EventLog()
		if err != nil {
			return err
		}
		if state.Trimmed > last {
			b.skip(state.Trimmed)
			last = state.Trimmed
		}
		for e, err := range tx.Events(last) {
			i := item{seq: e.Seq, topic: Topic{e.Group, e.Subject}}
			if err == nil && b.wanted(i.topic) {
				i.msg, err = newMessage(e)
			}
			if err != nil {
				// One event that nobody can read must not hold up the others.
				b.log.ErrorContext(ctx, "skipping an event", "seq", e.Seq, "error", err)
			}
			if i.msg != nil {
				size += len(i.msg.JSON)
			}
			page = append(page, i)
			if more = len(page) == pageEvents || size >= pageBytes; more {
				break
			}
		}
		return nil
	})
	for _, i := range page {
		if i.msg != nil {
			b.cache.add(i.msg)
		}
		b.deliver(i.seq, i.topic)
	}
	return more && err == nil, err
}

func (b *Bus) lastSeq() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func (b *Bus) wanted(t Topic) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.topics[t]) > 0
}

// skip is for a log that was trimmed faster than the bus read it: the subscribers look for themselves what they lost.
func (b *Bus) skip(trimmed uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, subscribers := range b.topics {
		for s := range subscribers {
			s.interrupt(b.last)
		}
	}
	b.last = trimmed
}

// deliver tells the subscribers of a topic about an event.
func (b *Bus) deliver(seq uint64, t Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = seq
	b.stats.Events++
	b.stats.Deliveries += uint64(len(b.topics[t]))
	for s := range b.topics[t] {
		s.offer(seq)
	}
}

// message returns an event from memory or from the log, and nil if it was removed with its context or is damaged. The error wraps
// [store.ErrNotFound] if the log has moved past it.
func (b *Bus) message(ctx context.Context, seq uint64) (*Message, error) {
	return b.cache.get(seq, func() (m *Message, err error) {
		err = b.db.View(ctx, func(tx *store.Tx) error {
			e, err := tx.Event(seq)
			if errors.Is(err, store.ErrNotFound) {
				state, stateErr := tx.EventLog()
				if stateErr != nil || seq <= state.Trimmed {
					return errors.Join(err, stateErr)
				}
				return nil
			}
			if err == nil {
				m, err = newMessage(e)
			}
			if err != nil {
				b.log.ErrorContext(ctx, "skipping an event", "seq", seq, "error", err)
			}
			return nil
		})
		return m, err
	})
}

func newMessage(e store.Event) (*Message, error) {
	t := Topic{e.Group, e.Subject}
	text, err := render([]byte(responseHead), t, e.Body)
	if err != nil {
		return nil, fmt.Errorf("damaged event %d: %w", e.Seq, err)
	}
	text = append(text, responseTail...)
	return &Message{e.Seq, t, text[len(responseHead) : len(text)-len(responseTail)], text}, nil
}
