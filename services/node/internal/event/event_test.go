package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

var (
	ctxA = id.ID{1}
	ctxB = id.ID{2}
	a, b = event.OfContext(ctxA), event.OfContext(ctxB)
)

var roomy = store.EventLimits{Count: 1 << 20, Bytes: 1 << 30}

type fixture struct {
	*event.Bus
	t   testing.TB
	dir string
	db  *store.Store
}

func open(t testing.TB, dir string, limits store.EventLimits) *fixture {
	t.Helper()
	db, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := event.Open(t.Context(), db, limits, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{bus, t, dir, db}
	t.Cleanup(f.close)
	return f
}

func (f *fixture) close() {
	f.Close()
	if err := f.db.Close(); err != nil {
		f.t.Error(err)
	}
}

// mutation is an event that says n.
func mutation(context id.ID, n int) event.StateMutation {
	return event.StateMutation{
		Context: context, NewRoot: id.ID{31: byte(n)}, Emitted: []event.Emitted{{Kind: "N", Data: []byte(strconv.Itoa(n))}},
	}
}

// publish commits one transaction with events.
func (f *fixture) publish(events ...event.Event) {
	f.t.Helper()
	if err := f.commit(events...); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) commit(events ...event.Event) error {
	return f.db.Update(context.Background(), func(tx *store.Tx) error {
		for _, e := range events {
			if err := f.Publish(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// saidBy reads the number that a mutation says.
func saidBy(t testing.TB, m *event.Message) int {
	t.Helper()
	var v struct {
		Data struct {
			Events []struct {
				Kind string
				Data []int
			}
		}
	}
	if err := json.Unmarshal(m.JSON, &v); err != nil || len(v.Data.Events) != 1 {
		t.Fatalf("%s: %v", m.JSON, err)
	}
	var text []byte
	for _, n := range v.Data.Events[0].Data {
		text = append(text, byte(n))
	}
	var n int
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		t.Fatalf("%s: %v", m.JSON, err)
	}
	return n
}

// next reads an event that must come.
func next(t testing.TB, s *event.Subscriber) *event.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := s.Next(ctx)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return m
}

func said(t testing.TB, s *event.Subscriber, count int) (got []int) {
	t.Helper()
	for range count {
		got = append(got, saidBy(t, next(t, s)))
	}
	return got
}

func numbers(from, to int) (out []int) {
	for n := from; n <= to; n++ {
		out = append(out, n)
	}
	return out
}

func TestMessage_HasTheFormThatClientsRead(t *testing.T) {
	f := open(t, t.TempDir(), roomy)
	group := id.ID{0xab}
	s := f.NewSubscriber()
	s.Subscribe(a, event.OfGroup(group))
	for _, c := range []struct {
		e    event.Event
		want string
	}{
		{
			event.StateMutation{Context: ctxA, NewRoot: ctxB, Emitted: []event.Emitted{
				{Kind: "Inserted", Data: []byte{123, 0, 255}}, {Kind: `q"`, Data: nil, Handler: "on_insert"},
			}},
			`{"contextId":"` + ctxA.String() + `","type":"StateMutation","data":{"newRoot":"` + ctxB.String() +
				`","events":[{"kind":"Inserted","data":[123,0,255],"handler":null},{"kind":"q\"","data":[],"handler":"on_insert"}]}}`,
		},
		{
			event.StateMutation{Context: ctxA, NewRoot: ctxB},
			`{"contextId":"` + ctxA.String() + `","type":"StateMutation","data":{"newRoot":"` + ctxB.String() + `","events":[]}}`,
		},
		{
			event.AppVersionChanged{Context: ctxA, To: "1.0.0"},
			`{"contextId":"` + ctxA.String() + `","type":"AppVersionChanged","data":{"toVersion":"1.0.0"}}`,
		},
		{
			event.Membership{Group: group, Change: event.MemberJoined, Account: "00ff", Role: "Member"},
			`{"groupId":"ab` + strings.Repeat("0", 62) + `","type":"MemberJoined","data":{"memberAccount":"00ff","role":"Member"}}`,
		},
	} {
		f.publish(c.e)
		if got := string(next(t, s).JSON); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestSubscriber_GetsItsTopicsInOrderOnce(t *testing.T) {
	f := open(t, t.TempDir(), roomy)
	s := f.NewSubscriber()
	f.publish(mutation(ctxA, 1))
	barrier := f.NewSubscriber() // hears that the bus has handed out 1
	barrier.Subscribe(b)
	f.publish(mutation(ctxB, 2))
	next(t, barrier)
	s.Subscribe(a, a)
	f.publish(mutation(ctxA, 3), mutation(ctxB, 4), mutation(ctxA, 5))
	f.publish(mutation(ctxA, 6))
	if got := said(t, s, 3); !reflect.DeepEqual(got, []int{3, 5, 6}) {
		t.Errorf("got %v", got)
	}
	f.publish(mutation(ctxA, 7))
	s.Unsubscribe(a)
	s.Subscribe(b)
	f.publish(mutation(ctxB, 8))
	if got := said(t, s, 1); got[0] != 8 {
		t.Errorf("after Unsubscribe: %v, want 8", got)
	}
}

func TestPublish_NothingLeavesWithoutACommit(t *testing.T) {
	f := open(t, t.TempDir(), roomy)
	s := f.NewSubscriber()
	s.Subscribe(a)
	gone := errors.New("rolled back")
	err := f.db.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(f.Publish(tx, mutation(ctxA, 1)), gone)
	})
	if !errors.Is(err, gone) {
		t.Fatal(err)
	}
	f.publish(mutation(ctxA, 2))
	m := next(t, s)
	if saidBy(t, m) != 2 || m.Seq != 1 {
		t.Errorf("got %d with number %d, want 2 with number 1", saidBy(t, m), m.Seq)
	}
}

func TestSubscriber_SlowReaderMissesNothingWhileTheLogHoldsIt(t *testing.T) {
	f := open(t, t.TempDir(), roomy)
	slow := f.NewSubscriber()
	slow.Subscribe(a)
	const events = 3000 // more than its queue, a page and the cache
	for from := 0; from < events; from += 500 {
		var batch []event.Event
		for n := range 500 {
			batch = append(batch, mutation(ctxA, from+n), mutation(ctxB, -1))
		}
		f.publish(batch...)
	}
	if got := said(t, slow, events); !reflect.DeepEqual(got, numbers(0, events-1)) {
		t.Errorf("got %d events, from %v to %v, not every one once and in order", len(got), got[0], got[len(got)-1])
	}
	f.publish(mutation(ctxA, events))
	if got := said(t, slow, 1); got[0] != events {
		t.Errorf("after catching up: %v, want %d", got, events)
	}
}

func TestSubscriber_IsToldWhatTheLogNoLongerHolds(t *testing.T) {
	f := open(t, t.TempDir(), store.EventLimits{Count: 100, Bytes: 1 << 20})
	old := f.NewSubscriber()
	old.Subscribe(a)
	pos := uint64(0)
	for n := range 500 {
		f.publish(mutation(ctxA, n))
	}
	s := f.Resume(pos, old.Topics())
	_, err := s.Next(t.Context())
	lost, ok := errors.AsType[*event.LostError](err)
	if !ok || lost.From != 1 || lost.To != 400 {
		t.Fatalf("got %v, want the loss of 1 to 400", err)
	}
	if got := said(t, s, 100); !reflect.DeepEqual(got, numbers(400, 499)) {
		t.Errorf("after the loss: %v", got)
	}
	late := f.Resume(pos, map[event.Topic]uint64{a: 450, b: 400})
	if got := said(t, late, 50); !reflect.DeepEqual(got, numbers(450, 499)) {
		t.Errorf("a reader whose topics are younger than the loss: %v", got)
	}
	if err := readToLoss(old); err != nil {
		t.Error(err)
	}
}

// readToLoss reads a subscriber that was too slow: its numbers ascend over a loss to the newest event.
func readToLoss(s *event.Subscriber) error {
	var last, losses uint64
	for last < 500 {
		m, err := s.Next(context.Background())
		if lost, ok := errors.AsType[*event.LostError](err); ok {
			if lost.From <= last || lost.To < lost.From {
				return fmt.Errorf("loss %d to %d after %d", lost.From, lost.To, last)
			}
			last = lost.To
			losses++
			continue
		}
		if err != nil || m.Seq != last+1 {
			return fmt.Errorf("after %d: %+v, %w", last, m, err)
		}
		last = m.Seq
	}
	if losses == 0 {
		return errors.New("read 500 events of a log of 100 without a loss")
	}
	return nil
}

func TestResume_ContinuesAfterARestart(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, roomy)
	s := f.NewSubscriber()
	s.Subscribe(a)
	f.publish(mutation(ctxA, 1), mutation(ctxB, 0))
	f.publish(mutation(ctxA, 2))
	first := next(t, s)
	topics := s.Topics()
	f.close()

	f = open(t, dir, roomy)
	f.publish(mutation(ctxA, 3))
	s = f.Resume(first.Seq, topics)
	f.publish(mutation(ctxA, 4))
	if got := said(t, s, 3); !reflect.DeepEqual(got, []int{2, 3, 4}) {
		t.Errorf("got %v, want what was missed and nothing twice", got)
	}
	// What s has read from the log the bus may still have to hand out.
	ahead := f.Resume(5, topics)
	f.publish(mutation(ctxA, 5))
	if got := said(t, ahead, 1); got[0] != 5 {
		t.Errorf("a reader that was ahead of the bus: %v, want 5", got)
	}
}

func TestForget_RemovesTheEventsOfADeletedContext(t *testing.T) {
	f := open(t, t.TempDir(), roomy)
	f.publish(mutation(ctxA, 1), mutation(ctxB, 2), mutation(ctxA, 3))
	if err := f.db.Update(t.Context(), func(tx *store.Tx) error { return f.Forget(tx, a) }); err != nil {
		t.Fatal(err)
	}
	f.publish(mutation(ctxA, 4))
	s := f.Resume(0, map[event.Topic]uint64{a: 0, b: 0})
	if got := said(t, s, 2); !reflect.DeepEqual(got, []int{2, 4}) {
		t.Errorf("got %v, want 2 and 4", got)
	}
}

func TestLimits_BoundTheLog(t *testing.T) {
	f := open(t, t.TempDir(), store.EventLimits{Count: 10, Bytes: 4000})
	big := event.StateMutation{Context: ctxA, Emitted: []event.Emitted{{Kind: "N", Data: make([]byte, 1500)}}}
	for _, c := range []struct {
		e     event.Event
		times int
		count int64
	}{{mutation(ctxA, 1), 50, 10}, {big, 1, 10}, {big, 3, 1}, {mutation(ctxA, 1), 20, 10}} {
		for range c.times {
			f.publish(c.e)
		}
		err := f.db.View(t.Context(), func(tx *store.Tx) error {
			log, err := tx.EventLog()
			if err != nil {
				return err
			}
			var count, bytes int64
			for e, err := range tx.Events(0) {
				if err != nil {
					return err
				}
				if e.Seq <= log.Trimmed || e.Seq > log.Last {
					t.Errorf("record %d outside (%d, %d]", e.Seq, log.Trimmed, log.Last)
				}
				count++
				bytes += int64(len(e.Body))
			}
			if count != log.Count || bytes != log.Bytes || count > c.count || bytes > 4000 && count > 1 {
				t.Errorf("the log holds %d events with %d bytes and says %+v, want at most %d", count, bytes, log, c.count)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestClose_EndsWaitingReaders(t *testing.T) {
	f := open(t, t.TempDir(), roomy)
	one, two := f.NewSubscriber(), f.NewSubscriber()
	results := make(chan error, 2)
	for _, s := range []*event.Subscriber{one, two} {
		go func() { _, err := s.Next(context.Background()); results <- err }()
	}
	one.Close()
	one.Close()
	f.Close()
	for range 2 {
		if err := <-results; !errors.Is(err, event.ErrClosed) {
			t.Errorf("Next: %v, want ErrClosed", err)
		}
	}
	gone := errors.New("left")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(gone)
	if _, err := two.Next(ctx); !errors.Is(err, gone) && !errors.Is(err, event.ErrClosed) {
		t.Errorf("Next with a context that ended: %v", err)
	}
}

// Writers, readers that come and go, and readers that are slow, all at once: each reader sees every event of its
// topic after its subscription once and in order, over any number of resumptions.
func TestBus_NoGapAndNoRepetitionUnderLoad(t *testing.T) {
	f := open(t, t.TempDir(), roomy)
	const writers, each, readers = 4, 150, 12
	var wg sync.WaitGroup
	fail := make(chan error, readers+writers)
	start := f.NewSubscriber()
	start.Subscribe(a, b)
	topics := start.Topics()
	start.Close()
	for r := range readers {
		wg.Go(func() {
			if err := readAll(f.Bus, topics, writers*each, r); err != nil {
				fail <- fmt.Errorf("reader %d: %w", r, err)
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			context := []id.ID{ctxA, ctxB}[w%2]
			for n := range each {
				if err := f.commit(mutation(context, w*each+n)); err != nil {
					fail <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(fail)
	for err := range fail {
		t.Error(err)
	}
}

// readAll reads count events, with a new subscriber after every few.
func readAll(bus *event.Bus, topics map[event.Topic]uint64, count, r int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // the writers' flushes may be slow
	defer cancel()
	s := bus.Resume(0, topics)
	last := uint64(0)
	for n := range count {
		if n%(7*r+5) == 0 {
			s.Close()
			s = bus.Resume(last, topics)
		}
		m, err := s.Next(ctx)
		if err != nil {
			return err
		}
		if m.Seq != last+1 {
			return fmt.Errorf("event %d after %d", m.Seq, last)
		}
		last = m.Seq
	}
	s.Close()
	return nil
}
