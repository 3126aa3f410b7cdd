package store

import "github.com/calimero-network/mero-go/services/auth/internal/kv"

// Cells returns how many names the table of cells holds.
func Cells(s *Store) int {
	n := 0
	for i := range s.cells.shards {
		shard := &s.cells.shards[i]
		shard.mu.Lock()
		n += len(shard.m)
		shard.mu.Unlock()
	}
	return n
}

// SweepCells forgets the cells that nobody holds, as a growing table does by itself.
func SweepCells(s *Store) {
	for i := range s.cells.shards {
		shard := &s.cells.shards[i]
		shard.mu.Lock()
		shard.sweep()
		shard.mu.Unlock()
	}
}

// Queued returns how many uses wait to be saved.
func Queued(s *Store) int64 { return s.uses.length.Load() }

// New returns a store over db without opening it.
func New(db kv.DB) *Store { return &Store{db: db} }
