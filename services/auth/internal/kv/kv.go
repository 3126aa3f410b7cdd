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
)

// DB is a store. All methods are safe for concurrent use.
type DB interface {
	// View runs fn on a stable snapshot. It never waits for writers.
	View(ctx context.Context, fn func(Tx) error) error

	// Update runs fn serialisably with all other updates and commits what it wrote, all or nothing: when fn
	// returns an error or panics nothing of it is kept. A nil return means that the writes survive kill -9.
	// fn may run more than once, so it must have no side effects, and it must not open another transaction.
	Update(ctx context.Context, fn func(Tx) error) error

	// Close waits for running transactions and releases the store; every later call returns ErrClosed.
	Close() error
}

// Tx is a transaction, valid only inside the function that it was handed to and in that goroutine.
type Tx interface {
	// Get returns a copy of the value, or ErrNotFound.
	Get(bucket, key string) ([]byte, error)

	// Put stores a copy of value; a nil value deletes the key (deleting an absent key is no error).
	// The key must not be empty.
	Put(bucket, key string, value []byte) error

	// Scan yields the pairs of the bucket whose key starts with prefix, in byte order of the keys. Values are
	// copies. The bucket must not be written while the loop runs.
	Scan(bucket, prefix string) iter.Seq2[string, []byte]
}
