package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// When sessions and keys were last used.
//
//	decision ──► Use (one a session, in memory) ──► queue ──► SaveUses, once a minute ──► session_used:, key_used:
//
// A decision writes one atomic number and, for the first use after a save, pushes the Use onto the queue: no lock, no
// disk. A crash forgets what was not saved yet, a stop saves it.

// Use tells when a session was last used. All decisions about the session share it.
type Use struct {
	family, key string
	at          atomic.Int64 // Unix seconds
	queued      atomic.Bool
	next        *Use // in the queue; of whoever set queued
}

// Last returns the time of the last use in Unix seconds.
func (u *Use) Last() int64 { return u.at.Load() }

// raise makes the last use at least at.
func (u *Use) raise(at int64) {
	for old := u.at.Load(); old < at; old = u.at.Load() {
		if u.at.CompareAndSwap(old, at) {
			return
		}
	}
}

const (
	// SaveUsesEvery is how often the owner of a Store calls [Store.SaveUses].
	SaveUsesEvery = time.Minute

	// maxQueue bounds the uses that wait to be saved. A use that finds the queue full is noted with the next one of its
	// session. Where an unsaved use could end a session too early, a save is asked for at half of it.
	maxQueue = 1 << 15

	// maxAhead is how far in the future, in seconds, a last use may lie before it counts as a clock that was wrong.
	maxAhead = 60

	// useBatch bounds a transaction of a save, so that a login never waits for all of it.
	useBatch = 256
)

// uses holds the Use of each session that a cached decision or the queue refers to.
type uses struct {
	useTable
	head   atomic.Pointer[Use] // a stack
	length atomic.Int64
	due    chan struct{}
}

// push queues u, whose queued the caller has set, and returns how many wait.
func (q *uses) push(u *Use) int64 {
	n := q.length.Add(1)
	if n > maxQueue {
		q.length.Add(-1)
		u.queued.Store(false)
		return n
	}
	for {
		u.next = q.head.Load()
		if q.head.CompareAndSwap(u.next, u) {
			return n
		}
	}
}

// take empties the queue.
func (q *uses) take() []*Use {
	var all []*Use
	for u := q.head.Swap(nil); u != nil; {
		next := u.next
		u.next = nil
		all = append(all, u)
		u = next
	}
	q.length.Add(-int64(len(all)))
	return all
}

// Touch notes that a session is used at now, in Unix seconds. It takes no lock.
func (s *Store) Touch(u *Use, now int64) {
	ahead := u.at.Load() - now
	if ahead >= 0 && ahead <= maxAhead {
		return
	}
	if ahead > 0 {
		u.at.Store(now) // the clock was wrong then; a session must not stay awake until it is right again
	} else {
		u.raise(now)
	}
	if u.queued.Load() || !u.queued.CompareAndSwap(false, true) {
		return
	}
	if s.uses.push(u) == maxQueue/2 && s.Limits.Idle > 0 {
		select {
		case s.uses.due <- struct{}{}:
		default: // asked for already
		}
	}
}

// Used is [Store.Touch] for who has no Use at hand: after a login or a refresh.
func (s *Store) Used(f Family, now time.Time) {
	s.Touch(s.uses.get(f.ID, f.Key), now.Unix())
}

// SaveDue tells the owner of the store that so many uses wait that [Store.SaveUses] should not wait for its time.
func (s *Store) SaveDue() <-chan struct{} { return s.uses.due }

// SaveUses stores the uses since the last save. What cannot be stored stays for the next save.
func (s *Store) SaveUses(ctx context.Context) error {
	for waiting := s.uses.take(); len(waiting) > 0; {
		batch := waiting[:min(useBatch, len(waiting))]
		waiting = waiting[len(batch):]
		for _, u := range batch {
			u.queued.Store(false) // before at is read: a later use queues it again
		}
		err := s.Update(ctx, func(tx *Tx) error { return tx.saveUses(batch) })
		if err == nil {
			continue
		}
		for _, u := range batch {
			if u.queued.CompareAndSwap(false, true) {
				s.uses.push(u)
			}
		}
		for _, u := range waiting {
			s.uses.push(u)
		}
		return fmt.Errorf("save when sessions were used: %w", err)
	}
	return nil
}

func (tx *Tx) saveUses(batch []*Use) error {
	for _, u := range batch {
		at := u.Last()
		if err := tx.raise(bucketKeyUsed, u.key, at); err != nil {
			return err
		}
		_, err := tx.Get(bucketKeyFamilies, u.key+":"+u.family)
		if errors.Is(err, kv.ErrNotFound) {
			continue // the session was swept; nobody would delete the record
		}
		if err != nil {
			return fmt.Errorf("read %s:%s: %w", bucketKeyFamilies, u.key, err)
		}
		if err := tx.raise(bucketFamilyUsed, u.family, at); err != nil {
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
	if u := s.uses.find(f.ID); u != nil {
		last = max(last, u.Last())
	}
	return last, nil
}

// use returns the Use of a session.
func (s *Store) use(tx *Tx, f *LiveFamily) (*Use, error) {
	last := max(f.Created, f.Refreshed)
	if s.Limits.Idle > 0 {
		saved, err := tx.seconds(bucketFamilyUsed, f.ID)
		if err != nil {
			return nil, err
		}
		last = max(last, saved)
	}
	u := s.uses.get(f.ID, f.Key)
	u.raise(last)
	return u, nil
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

// useTable shares one Use of each session between all who ask for it, and holds it weakly: a Use lives as long as a
// cached decision or the queue refers to it, so the table is bounded by those and not by the number of sessions.
type useTable struct {
	seed   maphash.Seed
	shards [64]useShard
}

// useShard is a part of the table with a lock of its own. Only look-ups that missed the cache take it.
type useShard struct {
	mu    sync.Mutex
	m     map[string]weak.Pointer[Use]
	limit int // at this size the dead are swept out
}

// minShard is the size up to which a shard is not worth sweeping.
const minShard = 64

func (t *useTable) shard(id string) *useShard {
	return &t.shards[maphash.String(t.seed, id)%uint64(len(t.shards))]
}

// get returns the Use of a session. If there is none it is made.
func (t *useTable) get(family, key string) *Use {
	shard := t.shard(family)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if u := shard.m[family].Value(); u != nil {
		return u
	}
	if len(shard.m) >= shard.limit {
		shard.sweep()
	}
	u := &Use{family: family, key: key}
	shard.m[family] = weak.Make(u)
	return u
}

// find returns the Use of a session, nil if nobody holds one.
func (t *useTable) find(family string) *Use {
	shard := t.shard(family)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.m[family].Value()
}

// sweep forgets the dead. As it waits until the shard has doubled, it costs each new value two looks on average.
func (s *useShard) sweep() {
	if s.m == nil {
		s.m = make(map[string]weak.Pointer[Use])
	}
	maps.DeleteFunc(s.m, func(_ string, p weak.Pointer[Use]) bool { return p.Value() == nil })
	s.limit = max(minShard, 2*len(s.m))
}
