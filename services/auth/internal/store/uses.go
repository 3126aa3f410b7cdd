package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// When sessions and keys were last used.
//
//	decision ──► LiveFamily (one a session, in memory) ──► queue ──► SaveUses, once a minute ──► session_used:, key_used:
//
// A decision writes one atomic number and, for the first use after a save, pushes the family onto the queue: no lock, no
// disk. A crash forgets what was not saved yet, a stop saves it.

// LastUse returns the time of the last use in Unix seconds.
func (f *LiveFamily) LastUse() int64 { return f.used.Load() }

// raise makes the last use at least at.
func (f *LiveFamily) raise(at int64) {
	for old := f.used.Load(); old < at; old = f.used.Load() {
		if f.used.CompareAndSwap(old, at) {
			return
		}
	}
}

const (
	// SaveUsesEvery is how often the owner of a Store calls [Store.SaveUses].
	SaveUsesEvery = time.Minute

	// maxQueue bounds the uses that wait to be saved. A use that finds the queue full is noted with the next one of its
	// session. Where an unsaved use could end a session too early, a save is asked for at half of it.
	maxQueue = 1 << 14

	// maxAhead is how far in the future, in seconds, a last use may lie before it counts as a clock that was wrong.
	maxAhead = 60

	// useBatch bounds a transaction of a save, so that a login never waits for all of it.
	useBatch = 256
)

// uses are the families that were used since the last save.
type uses struct {
	head   atomic.Pointer[LiveFamily] // a stack
	length atomic.Int64
	due    chan struct{}
}

// push queues f, whose queued the caller has set, and returns how many wait.
func (q *uses) push(f *LiveFamily) int64 {
	n := q.length.Add(1)
	if n > maxQueue {
		q.length.Add(-1)
		f.queued.Store(false)
		return n
	}
	for {
		f.next = q.head.Load()
		if q.head.CompareAndSwap(f.next, f) {
			return n
		}
	}
}

// take empties the queue.
func (q *uses) take() []*LiveFamily {
	var all []*LiveFamily
	for f := q.head.Swap(nil); f != nil; {
		next := f.next
		f.next = nil
		all = append(all, f)
		f = next
	}
	q.length.Add(-int64(len(all)))
	return all
}

// Touch notes that a session is used at now, in Unix seconds. It takes no lock.
func (s *Store) Touch(f *LiveFamily, now int64) {
	ahead := f.used.Load() - now
	if ahead >= 0 && ahead <= maxAhead {
		return
	}
	if ahead > 0 {
		f.used.Store(now) // the clock was wrong then; a session must not stay awake until it is right again
	} else {
		f.raise(now)
	}
	if f.queued.Load() || !f.queued.CompareAndSwap(false, true) {
		return
	}
	if s.uses.push(f) == maxQueue/2 && s.Limits.Idle > 0 {
		select {
		case s.uses.due <- struct{}{}:
		default: // asked for already
		}
	}
}

// Used is [Store.Touch] for who has only the record: after a login or a refresh.
func (s *Store) Used(f Family, now time.Time) {
	live := s.Hold(&LiveFamily{ID: f.ID, Key: f.Key, Created: f.Created, Machine: f.Machine})
	s.Touch(live, now.Unix())
	s.Release(live)
}

// SaveDue tells the owner of the store that so many uses wait that [Store.SaveUses] should not wait for its time.
func (s *Store) SaveDue() <-chan struct{} { return s.uses.due }

// SaveUses stores the uses since the last save. What cannot be stored stays for the next save.
func (s *Store) SaveUses(ctx context.Context) error {
	for waiting := s.uses.take(); len(waiting) > 0; {
		batch := waiting[:min(useBatch, len(waiting))]
		waiting = waiting[len(batch):]
		for i, f := range batch {
			f.queued.Store(false) // before the time is read: a later use queues it again
			batch[i] = s.Hold(f)  // whoever looks must find it until the time is stored
		}
		err := s.Update(ctx, func(tx *Tx) error { return tx.saveUses(batch) })
		for _, f := range batch {
			if err != nil && f.queued.CompareAndSwap(false, true) {
				s.uses.push(f)
			}
			s.Release(f)
		}
		if err == nil {
			continue
		}
		for _, f := range waiting {
			s.uses.push(f)
		}
		return fmt.Errorf("save when sessions were used: %w", err)
	}
	return nil
}

func (tx *Tx) saveUses(batch []*LiveFamily) error {
	for _, f := range batch {
		at := f.LastUse()
		if err := tx.raise(bucketKeyUsed, f.Key, at); err != nil {
			return err
		}
		_, err := tx.Get(bucketKeyFamilies, f.Key+":"+f.ID)
		if errors.Is(err, kv.ErrNotFound) {
			continue // the session was swept; nobody would delete the record
		}
		if err != nil {
			return fmt.Errorf("read %s:%s: %w", bucketKeyFamilies, f.Key, err)
		}
		if err := tx.raise(bucketFamilyUsed, f.ID, at); err != nil {
			return err
		}
	}
	return nil
}

// raise makes a stored time at least at, and mends one that a wrong clock has left in the future.
func (tx *Tx) raise(bucket, id string, at int64) error {
	stored, err := tx.seconds(bucket, id)
	if err != nil || (stored >= at && stored <= at+maxAhead) {
		return err
	}
	return put(tx.Tx, bucket, id, at)
}

// seconds returns a stored time in Unix seconds, 0 if there is none.
func (tx *Tx) seconds(bucket, id string) (int64, error) {
	raw, err := tx.Get(bucket, id)
	if errors.Is(err, kv.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read %s:%s: %w", bucket, id, err)
	}
	at, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("decode %s:%s: %w", bucket, id, err)
	}
	return at, nil
}

// KeyUsed returns when a key was last used, as far as it is saved, in Unix seconds; 0 if never.
func (tx *Tx) KeyUsed(id string) (int64, error) { return tx.seconds(bucketKeyUsed, id) }

// LastUse returns when a session was last used, in Unix seconds: when it began if not since.
func (s *Store) LastUse(tx *Tx, f Family) (int64, error) {
	saved, err := tx.seconds(bucketFamilyUsed, f.ID)
	if err != nil {
		return 0, err
	}
	last := max(saved, f.Created, f.LastRefresh)
	if live := s.held.find(f.ID); live != nil {
		last = max(last, live.LastUse())
	}
	return last, nil
}

// Limits bound the life of sessions. Zero bounds nothing. Machine tokens have the life that they were made with.
type Limits struct {
	Idle time.Duration // since the session was last used
	Age  time.Duration // since it began
}

// Never is later than any time and longer than any span, in seconds.
const Never = 1<<63 - 1

// End returns when a session that began at created, in Unix seconds, is over however much it is used.
func (l Limits) End(created int64, machine bool) int64 {
	if l.Age <= 0 || machine {
		return Never
	}
	return created + int64(l.Age/time.Second)
}

// Span returns after how many seconds without use a session is over.
func (l Limits) Span(machine bool) int64 {
	if l.Idle <= 0 || machine {
		return Never
	}
	return int64(l.Idle / time.Second)
}
