package bolt

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// Group commit.
//
//	Update ──► queue ──► committer: begin ─ turn ─ turn ─ turn ─ commit ─► outcome to each
//	                                          │
//	                                     fn runs in the goroutine of its caller
//
// A flush to disk costs far more than the functions do, so the committer gives a turn to every update that has
// arrived before it commits. Nobody waits for company: an update that is alone commits at once, and those that
// arrive during its flush form the next batch. Running fn in its caller's goroutine leaves panics, runtime.Goexit
// and stack traces where they belong.
//
// A function that fails is undone on the spot and the batch goes on. All learn their outcome after the commit,
// also those that failed or wrote nothing: what they read may be a write of the batch that is not yet on disk.

// maxBatch bounds how long the first of a batch can be kept waiting by others.
const maxBatch = 256

// write is one update in the hands of the committer.
type write struct {
	turn    chan *tx   // sent once: the transaction to run with, or nil when there is none
	ran     chan bool  // sent once by the caller: whether to keep what fn wrote
	outcome chan error // sent once: nil when the transaction holds
}

// Update implements kv.DB; fn runs exactly once.
func (db *DB) Update(ctx context.Context, fn func(kv.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{turn: make(chan *tx, 1), ran: make(chan bool, 1), outcome: make(chan error, 1)}
	select {
	case db.queue <- w:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closing:
		return kv.ErrClosed
	}
	var err error
	if t := <-w.turn; t != nil {
		err = w.run(t, fn)
	}
	if failed := <-w.outcome; failed != nil {
		return failed
	}
	return err
}

// run is the caller's turn. The committer is told also when fn panics or ends its goroutine.
func (w *write) run(t *tx, fn func(kv.Tx) error) error {
	keep := false
	defer func() {
		t.ended = true
		w.ran <- keep
	}()
	err := fn(t)
	if err == nil {
		err = t.fault
	}
	keep = err == nil
	return err
}

func (db *DB) commitLoop() {
	defer close(db.stopped)
	for {
		select {
		case w := <-db.queue:
			db.commitBatch(w)
		case <-db.closing:
			return
		}
	}
}

// commitBatch runs first and everything that is waiting behind it in one bbolt transaction.
func (db *DB) commitBatch(first *write) {
	btx, err := db.beginBatch()
	if err != nil {
		first.turn <- nil
		first.outcome <- err
		return
	}
	var batch []*write
	wrote := false
	for w := first; w != nil && err == nil; w = db.waiting(len(batch)) {
		batch = append(batch, w)
		t := &tx{db: db, bolt: btx}
		w.turn <- t
		if keep := <-w.ran; !keep {
			t.rollback()
		}
		wrote = wrote || len(t.undo) > 0
		if t.broken {
			err = t.fault
			break
		}
	}
	if err == nil && wrote {
		err = db.finish(btx)
	} else {
		db.discard(btx)
	}
	for _, w := range batch {
		w.outcome <- err
	}
}

func (db *DB) beginBatch() (*bbolt.Tx, error) {
	if db.poisoned != nil {
		return nil, db.poisoned
	}
	return db.begin(true)
}

// waiting returns the next update that has arrived, nil when there is none or the batch is full.
func (db *DB) waiting(batched int) *write {
	if batched >= maxBatch {
		return nil
	}
	select {
	case w := <-db.queue:
		return w
	default:
		return nil
	}
}

// finish commits. A failure that certainly left the old state, like a full disk, leaves the store usable.
func (db *DB) finish(btx *bbolt.Tx) error {
	id := btx.ID()
	err := db.guard(func() error { return db.commit(btx) })
	if err == nil {
		return nil
	}
	db.discard(btx) // bbolt has done so, unless it panicked
	switch {
	case errors.Is(err, ErrCorrupt):
		db.poisoned = fmt.Errorf("%w: %w", ErrInDoubt, err)
	case db.visible(id):
		db.poisoned = fmt.Errorf("%w: %w", ErrInDoubt, err)
		return db.poisoned
	}
	return fmt.Errorf("commit: %w", err)
}

// visible reports whether the transaction id is what readers see (or will, as far as can be told).
func (db *DB) visible(id int) bool {
	btx, err := db.begin(false)
	if err != nil {
		return true
	}
	defer db.discard(btx)
	return btx.ID() >= id
}

// discard ends a transaction without keeping it.
func (db *DB) discard(btx *bbolt.Tx) {
	err := db.guard(btx.Rollback)
	if errors.Is(err, ErrCorrupt) {
		db.stuck.Store(true)
	}
}
