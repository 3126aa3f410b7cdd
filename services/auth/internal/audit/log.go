package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// The bounds of a Log that is not told otherwise.
const (
	DefaultMaxAge   = 90 * 24 * time.Hour
	DefaultMaxBytes = 256 << 20
)

// Where the records are: audit:{id as 16 hex digits} and system:audit.
const (
	bucket       = "audit"
	systemBucket = "system"
	stateKey     = "audit"
	format       = 1
)

// Why records were cut.
const (
	byAge   = "max_age"
	byBytes = "max_bytes"
)

// maxCut bounds how many records one transaction deletes.
const maxCut = 512

// state says which records there are: those with ids from First to before Next.
type state struct {
	V     int    `json:"v"`
	First uint64 `json:"first"`
	Next  uint64 `json:"next"`
	Bytes int64  `json:"bytes"`
}

// Log is the audit of one store. Its methods are safe for concurrent use. A nil Log records nothing, for tests of
// what stands above it.
type Log struct {
	db       kv.DB
	maxAge   atomic.Int64
	maxBytes atomic.Int64
	sink     atomic.Pointer[func(Event)]
}

// New returns the audit in db with the default bounds.
func New(db kv.DB) *Log {
	l := &Log{db: db}
	l.Bound(DefaultMaxAge, DefaultMaxBytes)
	return l
}

// Bound sets how old records get and how many bytes they may take.
func (l *Log) Bound(maxAge time.Duration, maxBytes int64) {
	l.maxAge.Store(int64(maxAge))
	l.maxBytes.Store(maxBytes)
}

// CopyTo makes every committed event go to sink, too. It is called in the goroutine that made the change and must
// not wait.
func (l *Log) CopyTo(sink func(Event)) { l.sink.Store(&sink) }

// Append writes e in the transaction of the change that it tells of and returns it as it is stored. When the
// records outgrow their bound the oldest go, and a record of that comes. After the commit the caller passes what
// Append returned to [Log.Committed]; [store.Tx] does so itself.
func (l *Log) Append(tx kv.Tx, events ...Event) ([]Event, error) {
	if l == nil || len(events) == 0 {
		return nil, nil
	}
	s, err := read(tx)
	if err != nil {
		return nil, err
	}
	written := make([]Event, 0, len(events)+1)
	for _, e := range events {
		if e, err = s.add(tx, e); err != nil {
			return nil, err
		}
		written = append(written, e)
	}
	if limit := l.maxBytes.Load(); s.Bytes > limit {
		room := roomOf(limit)
		cut, err := s.cut(tx, func(Event) bool { return s.Bytes > room })
		if err != nil {
			return nil, err
		}
		if cut.Count > 0 {
			cut.Time, cut.Reason = events[len(events)-1].Time, byBytes
			if cut, err = s.add(tx, cut); err != nil {
				return nil, err
			}
			written = append(written, cut)
		}
	}
	return written, s.write(tx)
}

// roomOf returns to how many bytes a cut goes down, so that there is not one for every record from then on.
func roomOf(limit int64) int64 { return limit - limit/16 }

// Committed takes the events of a transaction after its commit.
func (l *Log) Committed(events ...Event) {
	if l == nil {
		return
	}
	if sink := l.sink.Load(); sink != nil {
		for _, e := range events {
			(*sink)(e)
		}
	}
}

// Record writes events in a transaction of their own, for what changes nothing else.
func (l *Log) Record(ctx context.Context, events ...Event) error {
	if l == nil || len(events) == 0 {
		return nil
	}
	var written []Event
	err := l.db.Update(ctx, func(tx kv.Tx) (err error) {
		written, err = l.Append(tx, events...)
		return err
	})
	if err != nil {
		return fmt.Errorf("write the audit: %w", err)
	}
	l.Committed(written...)
	return nil
}

// Trim deletes what is beyond the bounds and reports how many records. It deletes a bounded number in each transaction
// and so never holds up a login.
func (l *Log) Trim(ctx context.Context, now time.Time) (int, error) {
	total := 0
	for {
		n, err := l.trim(ctx, now)
		total += n
		if err != nil || n < maxCut {
			return total, err
		}
	}
}

func (l *Log) trim(ctx context.Context, now time.Time) (int, error) {
	oldest, limit := now.Add(-time.Duration(l.maxAge.Load())), l.maxBytes.Load()
	due := false
	err := l.db.View(ctx, func(tx kv.Tx) error {
		s, err := read(tx)
		if err != nil {
			return err
		}
		n, err := s.older(tx, oldest)
		due = n > 0 || s.Bytes > limit
		return err
	})
	if err != nil || !due {
		return 0, err
	}
	var cut Event
	var written Event
	err = l.db.Update(ctx, func(tx kv.Tx) error {
		s, err := read(tx)
		if err != nil {
			return err
		}
		n, err := s.older(tx, oldest)
		if err != nil {
			return err
		}
		end := s.First + n
		reason, room := byAge, limit
		if s.Bytes > limit { // the bound was lowered
			reason, room = byBytes, roomOf(limit)
		}
		if cut, err = s.cut(tx, func(e Event) bool { return e.ID < end || s.Bytes > room }); err != nil || cut.Count == 0 {
			return err
		}
		cut.Time, cut.Reason = now, reason
		if written, err = s.add(tx, cut); err != nil {
			return err
		}
		return s.write(tx)
	})
	if err != nil {
		return 0, fmt.Errorf("cut the audit: %w", err)
	}
	if cut.Count > 0 {
		l.Committed(written)
	}
	return int(cut.Count), nil //nolint:gosec // at most maxCut
}

func read(tx kv.Tx) (*state, error) {
	s := &state{V: format, First: 1, Next: 1}
	raw, err := tx.Get(systemBucket, stateKey)
	if errors.Is(err, kv.ErrNotFound) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of the audit: %w", err)
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("decode the state of the audit: %w", err)
	}
	return s, nil
}

func (s *state) write(tx kv.Tx) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the state of the audit: %w", err)
	}
	if err := tx.Put(systemBucket, stateKey, raw); err != nil {
		return fmt.Errorf("write the state of the audit: %w", err)
	}
	return nil
}

func keyOf(id uint64) string { return fmt.Sprintf("%016x", id) }

// add writes e as the newest record.
func (s *state) add(tx kv.Tx, e Event) (Event, error) {
	e = e.normalised()
	e.ID = s.Next
	raw, err := json.Marshal(e)
	if err != nil {
		return e, fmt.Errorf("encode an audit record: %w", err)
	}
	key := keyOf(e.ID)
	if err := tx.Put(bucket, key, raw); err != nil {
		return e, fmt.Errorf("write an audit record: %w", err)
	}
	s.Next++
	s.Bytes += int64(len(key) + len(raw))
	return e, nil
}

// event reads a record and its size. One that does not decode is an event without time: the audit must stay
// readable and cuttable when a single record is damaged.
func (s *state) event(tx kv.Tx, id uint64) (e Event, size int64, err error) {
	key := keyOf(id)
	raw, err := tx.Get(bucket, key)
	if errors.Is(err, kv.ErrNotFound) {
		return Event{ID: id, Action: unreadable}, 0, nil
	}
	if err != nil {
		return e, 0, fmt.Errorf("read audit:%s: %w", key, err)
	}
	if err := json.Unmarshal(raw, &e); err != nil || e.ID != id {
		e = Event{ID: id, Action: unreadable}
	}
	return e, int64(len(key) + len(raw)), nil
}

// unreadable stands in a listing for a record that is damaged.
const unreadable Action = "audit.unreadable"

// cut deletes the oldest records while more says so, at most maxCut, never the newest one, and returns the event
// that tells of it.
func (s *state) cut(tx kv.Tx, more func(Event) bool) (Event, error) {
	cut := Event{Action: Cut, Actor: BySystem}
	for s.First+1 < s.Next && cut.Count < maxCut {
		e, size, err := s.event(tx, s.First)
		if err != nil {
			return cut, err
		}
		if !more(e) {
			break
		}
		if err := tx.Put(bucket, keyOf(s.First), nil); err != nil {
			return cut, fmt.Errorf("delete audit:%s: %w", keyOf(s.First), err)
		}
		s.First++
		s.Bytes -= size
		cut.Count++
		if !e.Time.IsZero() {
			if cut.First.IsZero() {
				cut.First = e.Time
			}
			cut.Last = e.Time
		}
	}
	return cut, nil
}

// older returns how many of the oldest maxCut records go when everything before oldest goes. Records are in the order
// of writing: what stands before an old one is as old, though a clock that was wrong may have dated it later.
func (s *state) older(tx kv.Tx, oldest time.Time) (uint64, error) {
	n := uint64(0)
	for id := s.First; id+1 < s.Next && id-s.First < maxCut; id++ {
		e, _, err := s.event(tx, id)
		if err != nil {
			return 0, err
		}
		if e.Time.Before(oldest) {
			n = id - s.First + 1
		}
		if n == 0 && id-s.First >= 64 {
			break // nothing is due; a few wrong dates at the front do not hide what is
		}
	}
	return n, nil
}
