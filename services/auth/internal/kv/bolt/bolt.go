// Package bolt is the store on disk: kv over one bbolt file.
//
// Updates that wait at the same time share one commit, and so one flush to disk (commit.go). Damage to the file is
// reported as ErrCorrupt wherever this package, bbolt or the memory map trip over it (verify.go, tx.go); it never
// takes the process down.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// What can be wrong with a file beside kv.ErrLocked. Trouble of the operating system (permission, read-only or full
// file system, too many files, ...) is none of these and keeps its identity: match fs.ErrPermission,
// syscall.ENOSPC and so on.
var (
	ErrNotDatabase = errors.New("not a database of this service")
	ErrCorrupt     = errors.New("database is damaged")
	ErrUnsafe      = errors.New("database can be changed by other users")

	// ErrInDoubt answers every update until the store is opened again: a commit failed so late that the disk may
	// or may not hold it, or left bbolt in an unknown state. Views go on.
	ErrInDoubt = errors.New("an earlier commit failed with unknown outcome, no more writes before a restart")
)

// Options configure Open.
type Options struct {
	// Timeout is how long to wait for another process to release the file; 0 means 3 s, and 5 s is the limit.
	Timeout time.Duration

	// Log receives what an operator should know about the file; nil discards it.
	Log *slog.Logger
}

const (
	defaultTimeout = 3 * time.Second
	maxTimeout     = 5 * time.Second

	// mapSize is address space, not memory. Growing past it makes bbolt wait for all readers, and new readers for
	// bbolt, so it lies far above what this service stores.
	mapSize = 1 << 30

	// growStep is the granularity in which the file grows, in bytes.
	growStep = 4 << 20
)

// DB is an open store. It implements kv.DB.
type DB struct {
	path string
	file *os.File // the handle that bbolt uses
	bolt *bbolt.DB

	queue   chan *write   // unbuffered: an update that was received has its turn
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the committer has ended
	closed  atomic.Bool

	stuck    atomic.Bool           // bbolt panicked with its locks held and cannot be called any more
	poisoned error                 // ErrInDoubt with its cause; of the committer
	commit   func(*bbolt.Tx) error // (*bbolt.Tx).Commit, but for tests of a failing disk
}

// Open opens the store in the file path, making the file (0600) and its directory (0700) when they are absent. The
// caller owns the store and must Close it.
//
// A file that others may use is closed to them again, with a warning; one that cannot be closed, or a directory in
// which others can replace it, is ErrUnsafe. A file held by another process is kv.ErrLocked after the timeout.
// Every error names the file, and nothing is written to a file that is refused.
func Open(path string, opts Options) (*DB, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	opts.Timeout = min(opts.Timeout, maxTimeout)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	db := &DB{
		path:    path,
		queue:   make(chan *write),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
		commit:  (*bbolt.Tx).Commit,
	}
	if err := db.open(opts); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	go db.commitLoop()
	return db, nil
}

// View implements kv.DB.
func (db *DB) View(ctx context.Context, fn func(kv.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	btx, err := db.begin(false)
	if err != nil {
		return err
	}
	t := &tx{db: db, bolt: btx}
	defer func() {
		t.ended = true
		_ = btx.Rollback() // its one error says that the transaction has ended
	}()
	if err := fn(t); err != nil {
		return err
	}
	return t.fault
}

// Close implements kv.DB. Updates that still wait for their turn get ErrClosed.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return kv.ErrClosed
	}
	close(db.closing)
	<-db.stopped
	if db.stuck.Load() {
		return db.file.Close() // bbolt would wait for its own lock for ever; this at least releases the file
	}
	return db.bolt.Close()
}

// begin starts a bbolt transaction. Writable ones are for the committer and Check.
func (db *DB) begin(writable bool) (btx *bbolt.Tx, err error) {
	if db.stuck.Load() {
		return nil, fmt.Errorf("store %s: %w", db.path, ErrCorrupt)
	}
	err = db.guard(func() (err error) {
		btx, err = db.bolt.Begin(writable)
		return err
	})
	if errors.Is(err, ErrCorrupt) {
		db.stuck.Store(true)
	}
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return nil, kv.ErrClosed
	}
	return btx, err
}

// guard runs one call into bbolt and turns a panic or a memory fault, which is how bbolt and the memory map answer
// to a damaged or truncated file, into ErrCorrupt. No function of a caller may run inside.
func (db *DB) guard(call func() error) error {
	if err := guard(call); err != nil {
		return fmt.Errorf("store %s: %w", db.path, err)
	}
	return nil
}

func guard(call func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, reason)
		}
	}()
	return call()
}
