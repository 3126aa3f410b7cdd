package event

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// queueLen is how many events may wait for a subscriber before it has to catch up from the log.
const queueLen = 256

// ErrClosed reports a bus or a subscriber that was closed.
var ErrClosed = errors.New("the event bus is closed")

// LostError reports that the log no longer holds a part of what the subscriber had yet to read. There may have been
// events for it in that part; the next event that it reads comes after it.
type LostError struct {
	From, To uint64 // sequence numbers, both included
}

// Error implements error.
func (e *LostError) Error() string {
	return fmt.Sprintf("the log no longer holds the events %d to %d", e.From, e.To)
}

// Subscriber reads the events of its topics in the order of their sequence numbers, each once. Subscribe,
// Unsubscribe and Topics may be called while another goroutine is in Next; Next is for one goroutine at a time.
type Subscriber struct {
	bus   *Bus
	ready chan struct{} // holds one element when there may be something to read

	mu     sync.Mutex
	topics map[Topic]uint64 // and the number after which the events of the topic count
	added  int              // how often topics grew
	pos    uint64           // everything up to here was read, or was not for this subscriber
	live   bool             // everything after pos is in queue or will be offered; else it is to be read from the log
	queue  []uint64         // what to read before anything else
	closed bool
}

// NewSubscriber returns a subscriber that has no topics yet.
func (b *Bus) NewSubscriber() *Subscriber {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.Subscribers++
	return &Subscriber{bus: b, ready: make(chan struct{}, 1), topics: map[Topic]uint64{}, pos: b.last, live: true}
}

// Resume returns a subscriber that continues after the event with number pos. topics holds for each topic the number
// after which its events count, as [Subscriber.Topics] returned it. pos must be that of an event of the log.
func (b *Bus) Resume(pos uint64, topics map[Topic]uint64) *Subscriber {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.Subscribers++
	s := &Subscriber{bus: b, ready: make(chan struct{}, 1), topics: maps.Clone(topics), pos: pos}
	if s.topics == nil {
		s.topics = map[Topic]uint64{}
	}
	for t := range topics {
		b.join(t, s)
	}
	s.signal() // there may be something in the log
	return s
}

// join enters a subscriber for a topic. The caller holds b.mu.
func (b *Bus) join(t Topic, s *Subscriber) {
	if b.topics[t] == nil {
		b.topics[t] = map[*Subscriber]struct{}{}
	}
	b.topics[t][s] = struct{}{}
}

func (b *Bus) leave(t Topic, s *Subscriber) {
	delete(b.topics[t], s)
	if len(b.topics[t]) == 0 {
		delete(b.topics, t)
	}
}

// Subscribe adds topics. Their events count from now on; what was committed before may be among them if it was not
// yet handed out. A topic that the subscriber has already stays as it is.
func (s *Subscriber) Subscribe(topics ...Topic) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, t := range topics {
		if _, ok := s.topics[t]; !ok {
			s.topics[t] = s.bus.last
			s.added++
			s.bus.join(t, s)
		}
	}
}

// Unsubscribe removes topics. No event of them is returned any more, not even one that was waiting.
func (s *Subscriber) Unsubscribe(topics ...Topic) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range topics {
		delete(s.topics, t)
		s.bus.leave(t, s)
	}
}

// Has reports whether the subscriber has a topic.
func (s *Subscriber) Has(t Topic) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.topics[t]
	return ok
}

// Topics returns the topics with the number after which the events of each count.
func (s *Subscriber) Topics() map[Topic]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.topics)
}

// Close ends the subscriber; a Next that waits returns [ErrClosed]. It may be called again.
func (s *Subscriber) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.bus.stats.Subscribers--
	for t := range s.topics {
		s.bus.leave(t, s)
	}
	s.signal()
}

// offer tells the subscriber about an event of one of its topics. The caller holds the mutex of the bus.
func (s *Subscriber) offer(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.live || seq <= s.pos:
		return // it reads, or has read, this one from the log
	case len(s.queue) == queueLen:
		s.live = false
		return
	}
	s.queue = append(s.queue, seq)
	s.signal()
}

// interrupt has the subscriber read on from the log, after what is in its queue. Everything up to last was offered.
// The caller holds the mutex of the bus.
func (s *Subscriber) interrupt(last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live && len(s.queue) == 0 {
		s.pos = max(s.pos, last)
	}
	s.live = false
	s.signal()
}

func (s *Subscriber) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Next waits for the next event. The error is ctx's cause when ctx ends, [ErrClosed], or a [*LostError], after which
// Next may be called again.
func (s *Subscriber) Next(ctx context.Context) (*Message, error) {
	for {
		m, wait, err := s.step(ctx)
		if m != nil || err != nil {
			return m, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !wait {
			continue
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.bus.stop:
			return nil, ErrClosed
		}
	}
}

// step looks once for an event, and reports whether there is nothing to do but wait.
func (s *Subscriber) step(ctx context.Context) (m *Message, wait bool, err error) {
	seq, closed, live := s.pop()
	switch {
	case closed:
		return nil, false, ErrClosed
	case seq != 0:
		m, err = s.fetch(ctx, seq)
		return m, false, err
	case live:
		return nil, true, nil
	default:
		m, err = s.catchUp(ctx)
		return m, false, err
	}
}

// pop takes the first number of the queue, 0 if it is empty.
func (s *Subscriber) pop() (seq uint64, closed, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.queue) == 0 {
		return 0, s.closed, s.live
	}
	seq = s.queue[0]
	s.queue = s.queue[1:]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	s.pos = seq
	return seq, false, s.live
}

func (s *Subscriber) wants(t Topic, seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, ok := s.topics[t]
	return ok && seq > since
}

// skipTrimmed is for a queue whose first event the log no longer holds: it moves behind what is gone.
func (s *Subscriber) skipTrimmed(ctx context.Context) error {
	state, err := s.bus.state(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := &LostError{s.pos, state.Trimmed}
	s.queue = slices.DeleteFunc(s.queue, func(seq uint64) bool { return seq <= state.Trimmed })
	s.pos = max(s.pos, state.Trimmed)
	return lost
}

func (b *Bus) state(ctx context.Context) (state store.EventLog, err error) {
	err = b.db.View(ctx, func(tx *store.Tx) error {
		state, err = tx.EventLog()
		return err
	})
	return state, err
}

// catchUp reads a page of the log and returns the first event of the subscriber's topics in it. At the end of the
// log the subscriber is live again.
func (s *Subscriber) catchUp(ctx context.Context) (*Message, error) {
	s.mu.Lock()
	p := page{pos: s.pos, topics: maps.Clone(s.topics), added: s.added}
	s.mu.Unlock()
	if err := s.bus.db.View(ctx, p.read); err != nil {
		return nil, err
	}
	if lost := p.lost(); lost != nil {
		if p.end = p.trimmed; s.advance(p) {
			return nil, lost
		}
		return nil, nil
	}
	if p.atEnd {
		s.goLive(p)
		return nil, nil
	}
	if !s.advance(p) || p.found == 0 {
		return nil, nil
	}
	return s.fetch(ctx, p.found)
}

// fetch returns the event with a number that the subscriber has advanced to.
func (s *Subscriber) fetch(ctx context.Context, seq uint64) (*Message, error) {
	m, err := s.bus.message(ctx, seq)
	if errors.Is(err, store.ErrNotFound) {
		return nil, s.skipTrimmed(ctx)
	}
	if m != nil && !s.wants(m.Topic, m.Seq) {
		m = nil
	}
	return m, err
}

// page is one look at the log after pos for some topics.
type page struct {
	pos    uint64
	topics map[Topic]uint64
	added  int

	found   uint64 // the first event of the topics, 0 if there is none in the page
	end     uint64 // the last number that was looked at
	atEnd   bool   // the log ends there
	trimmed uint64 // the log begins after this number
}

func (p *page) read(tx *store.Tx) error {
	log, err := tx.EventLog()
	if err != nil {
		return err
	}
	p.trimmed = log.Trimmed
	p.end = p.pos
	seen := 0
	for e, err := range tx.Events(max(p.pos, p.trimmed)) {
		p.end = e.Seq
		since, ok := p.topics[Topic{e.Group, e.Subject}]
		if err == nil && ok && e.Seq > since {
			p.found = e.Seq
			return nil
		}
		if seen++; seen == pageEvents {
			return nil
		}
	}
	p.end, p.atEnd = max(p.end, log.Last), true
	return nil
}

// lost reports what the reader missed because the log was trimmed. Nothing was lost where no topic was subscribed to.
func (p *page) lost() *LostError {
	if p.pos >= p.trimmed {
		return nil
	}
	from := p.trimmed
	for _, since := range p.topics {
		from = min(from, max(p.pos, since))
	}
	if from == p.trimmed {
		return nil
	}
	return &LostError{from + 1, p.trimmed}
}

// advance moves behind a page, unless topics were added since the page was begun: it did not look for them.
func (s *Subscriber) advance(p page) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.added != p.added {
		return false
	}
	s.pos = p.end
	return true
}

// goLive ends the catching up at the end of the log, unless events were handed out or topics added meanwhile.
func (s *Subscriber) goLive(p page) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.added == p.added {
		s.pos = p.end
		s.live = s.bus.last <= s.pos
	}
}
