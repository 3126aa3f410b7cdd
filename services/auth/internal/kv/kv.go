// Package kv is the storage contract: a small transactional key-value store with named buckets.
//
// Backends live in sub-packages and are pinned by the suite in kvtest; typed records live in package store.
package kv

import (
	"context"
	"errors"
	"iter"
)

// The errors of the contract; match them with errors.Is.
var (
	ErrNotFound = errors.New("kv: not found")
	ErrClosed   = errors.New("kv: store is closed")
	ErrLocked   = errors.New("kv: store is in use by another process")
	ErrReadOnly = errors.New("kv: write in a read-only transaction")
	ErrKey      = errors.New("kv: bucket and key must have 1 to 32768 bytes")
	ErrScanning = errors.New("kv: bucket is written while it is scanned")
)

// MaxKeySize is the limit of a bucket's name and of a key, in bytes.
const MaxKeySize = 32 << 10

// DB is a store. All methods are safe for concurrent use.
//
// A function handed to View or Update must not open another transaction and must not close the store: either can
// wait for ever. A context that has already ended is reported without running the function; one that ends later
// only withdraws an Update that is still waiting for its turn.
type DB interface {
	// View runs fn on a stable snapshot and returns what fn returned. It never waits for writers.
	View(ctx context.Context, fn func(Tx) error) error

	// Update runs fn serialisably with all other updates and commits what it wrote, all or nothing: when fn
	// returns an error or panics nothing of it is kept, and neither reaches anybody but the caller. A nil return
	// means that the writes survive kill -9. fn may run more than once, so it must have no side effects besides
	// those on its Tx (assigning results to captured variables is fine when each run assigns all of them).
	Update(ctx context.Context, fn func(Tx) error) error

	// Close waits for running transactions and releases the store; every later call, also of Close, returns
	// ErrClosed.
	Close() error
}

// Tx is a transaction, valid only inside the function that it was handed to and in that goroutine. Used later it
// answers ErrClosed and an empty Scan.
type Tx interface {
	// Get returns a copy of the value, or ErrNotFound. A stored empty value is empty, not nil.
	Get(bucket, key string) ([]byte, error)

	// Put stores a copy of value; a nil value deletes the key (deleting an absent key is no error). Buckets come
	// into being with their first key. The errors are ErrReadOnly, ErrKey and ErrScanning.
	Put(bucket, key string, value []byte) error

	// Scan yields the pairs of the bucket whose key starts with prefix, in byte order of the keys. Values are
	// copies. The bucket must not be written while the loop runs (collect first, then write). A store that fails
	// under the loop ends it, and the transaction fails with that error.
	Scan(bucket, prefix string) iter.Seq2[string, []byte]

	// Buckets returns the names of the buckets that hold a key, in byte order. A store that fails meanwhile returns
	// fewer, and the transaction fails with that error.
	Buckets() []string
}

// CheckKey returns ErrKey unless bucket and key have a permitted length.
func CheckKey(bucket, key string) error {
	if bucket == "" || key == "" || len(bucket) > MaxKeySize || len(key) > MaxKeySize {
		return ErrKey
	}
	return nil
}
