// Package highwater notices that an old copy of the store was put back.
//
// Whoever copies the file of the store, and puts the copy back later, brings back what was revoked in between: nothing inside
// the file can tell. So a counter rises in the store, and after it in a file outside of the store, with each start and stop
// and soon after each revocation. A store that is behind its file is an old one.
package highwater

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/owner"
)

// FileName is the name of the file, in a directory that is not copied together with the store.
const FileName = "store.mark"

const (
	bucket = "system"
	key    = "mark" // system:mark
	format = 1
)

// Interval is the shortest time between two revocations that are counted on their own; a copy of the store that was made
// less than this before a crash may go unnoticed.
const Interval = 10 * time.Second

// Mark is the counter of one store. Set the fields before use; its methods are safe for concurrent use.
type Mark struct {
	DB   kv.DB
	File string
	Log  *slog.Logger

	raising sync.Mutex
	once    sync.Once
	due     chan struct{}
}

// record is what the store keeps.
type record struct {
	V     int    `json:"v"`
	Count uint64 `json:"count"`
}

// Kept is what the file keeps.
type Kept struct {
	V       int       `json:"v"`
	Count   uint64    `json:"count"`
	PutBack time.Time `json:"put_back,omitzero"` // when an old copy of the store was last noticed
}

// maxFile bounds the file, in bytes.
const maxFile = 4 << 10

// Read returns what a file keeps, the zero value if there is none.
func Read(path string) (Kept, error) {
	text, err := os.ReadFile(path) //nolint:gosec // a file of ours
	if errors.Is(err, fs.ErrNotExist) {
		return Kept{}, nil
	}
	var k Kept
	if err == nil && (len(text) > maxFile || json.Unmarshal(text, &k) != nil || k.V != format) {
		err = errors.New("it is damaged")
	}
	if err != nil {
		return Kept{}, fmt.Errorf("the mark of the store in %s: %w", path, err)
	}
	return k, nil
}

// Counts are those of a store and of its file.
type Counts struct{ Store, File uint64 }

// Behind returns by how much the store is behind, 0 if it is not.
func (c Counts) Behind() uint64 { return c.File - min(c.Store, c.File) }

// Counts returns the counts; that of a store or file that has none is 0.
func (m *Mark) Counts(ctx context.Context) (Counts, error) {
	kept, err := Read(m.File)
	if err != nil {
		return Counts{}, err
	}
	var found record
	if err := m.DB.View(ctx, func(tx kv.Tx) error { return found.read(tx) }); err != nil {
		return Counts{}, err
	}
	return Counts{found.Count, kept.Count}, nil
}

func (r *record) read(tx kv.Tx) error {
	*r = record{V: format}
	raw, err := tx.Get(bucket, key)
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(raw, r)
	}
	if err != nil {
		return fmt.Errorf("read %s:%s: %w", bucket, key, err)
	}
	return nil
}

// Raise counts: first in the store and then in the file, so that only a store that went back can be behind. With putBack
// set, the file says from now on when that was noticed.
func (m *Mark) Raise(ctx context.Context, putBack time.Time) error {
	m.raising.Lock()
	defer m.raising.Unlock()
	kept, err := Read(m.File)
	if err != nil {
		m.Log.WarnContext(ctx, "the mark beside the master key is made anew", "error", err)
	}
	if kept.Count, err = lift(ctx, m.DB, kept.Count); err != nil {
		return err
	}
	if !putBack.IsZero() {
		kept.PutBack = putBack.UTC().Truncate(time.Second)
	}
	kept.V = format
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return owner.Replace(m.File, append(text, '\n'), 0o600)
}

// Settle lifts a store over its file: it went back on purpose.
func Settle(ctx context.Context, db kv.DB, file string) error {
	kept, err := Read(file)
	if err == nil && kept.Count > 0 {
		_, err = lift(ctx, db, kept.Count)
	}
	return err
}

// lift stores a count above the one in the store and above another, and returns it.
func lift(ctx context.Context, db kv.DB, over uint64) (uint64, error) {
	var r record
	err := db.Update(ctx, func(tx kv.Tx) error {
		if err := r.read(tx); err != nil {
			return err
		}
		r.Count = max(r.Count, over) + 1
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return tx.Put(bucket, key, raw)
	})
	return r.Count, err
}

// Revoked says that rights were taken away. It never waits; [Mark.Run] counts.
func (m *Mark) Revoked() {
	select {
	case m.wake() <- struct{}{}:
	default: // it is due already
	}
}

func (m *Mark) wake() chan struct{} {
	m.once.Do(func() { m.due = make(chan struct{}, 1) })
	return m.due
}

// Run counts revocations, all of an [Interval] as one, until ctx ends, and then the end.
func (m *Mark) Run(ctx context.Context) {
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-m.wake():
		}
		if err := m.Raise(context.WithoutCancel(ctx), time.Time{}); err != nil {
			m.Log.WarnContext(ctx, "the mark of the store could not be raised: an old copy put back may go unnoticed", "error", err)
		}
		if running {
			rest := time.NewTimer(Interval)
			select {
			case <-ctx.Done():
			case <-rest.C:
			}
			rest.Stop()
		}
	}
}
