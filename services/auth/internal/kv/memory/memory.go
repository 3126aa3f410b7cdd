// Package memory is a store without a disk, for tests and development.
//
// It has real transactions: a bucket is an immutable tree, a transaction works on copies of the paths that it
// changes, and a commit swaps one pointer. Snapshots are therefore free and never wait for anybody.
package memory

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// DB is a store in memory. It implements kv.DB; nothing survives Close.
type DB struct {
	current atomic.Pointer[state]
	writer  chan struct{} // holds one token while an update runs

	mu     sync.RWMutex // held for reading by running transactions, for writing by Close
	closed bool
}

// state is one committed version: an immutable tree for each bucket.
type state map[string]*node

// New returns an empty store.
func New() *DB {
	db := &DB{writer: make(chan struct{}, 1)}
	db.current.Store(&state{})
	return db
}

// View implements kv.DB.
func (db *DB) View(ctx context.Context, fn func(kv.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed {
		return kv.ErrClosed
	}
	t := &tx{state: *db.current.Load()}
	defer t.end()
	return fn(t)
}

// Update implements kv.DB; fn runs exactly once.
func (db *DB) Update(ctx context.Context, fn func(kv.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case db.writer <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-db.writer }()
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed {
		return kv.ErrClosed
	}
	t := &tx{state: maps.Clone(*db.current.Load()), writable: true}
	defer t.end()
	if err := fn(t); err != nil {
		return err
	}
	db.current.Store(&t.state)
	return nil
}

// Close implements kv.DB.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return kv.ErrClosed
	}
	db.closed = true
	db.current.Store(&state{})
	return nil
}

type tx struct {
	state    state
	writable bool
	ended    bool
	scanning map[string]int // running loops by bucket
}

func (t *tx) end() { t.ended = true }

func (t *tx) Get(bucket, key string) ([]byte, error) {
	if t.ended {
		return nil, kv.ErrClosed
	}
	n := t.state[bucket].find(key)
	if n == nil {
		return nil, kv.ErrNotFound
	}
	return bytes.Clone(n.value), nil
}

func (t *tx) Put(bucket, key string, value []byte) error {
	switch {
	case t.ended:
		return kv.ErrClosed
	case !t.writable:
		return kv.ErrReadOnly
	case t.scanning[bucket] > 0:
		return kv.ErrScanning
	}
	if err := kv.CheckKey(bucket, key); err != nil {
		return err
	}
	root := t.state[bucket].without(key)
	if value != nil {
		root = root.with(newNode(key, bytes.Clone(value)))
	}
	t.state[bucket] = root
	return nil
}

func (t *tx) Scan(bucket, prefix string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if t.ended {
			return
		}
		if t.scanning == nil {
			t.scanning = make(map[string]int)
		}
		t.scanning[bucket]++
		defer func() { t.scanning[bucket]-- }()
		t.state[bucket].scan(prefix, yield)
	}
}

func (t *tx) Buckets() []string {
	var names []string
	for name, root := range t.state {
		if root != nil && !t.ended {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
