package store

import "github.com/calimero-network/mero-go/services/auth/internal/kv"

// Queued returns how many uses wait to be saved.
func Queued(s *Store) int64 { return s.uses.length.Load() }

// New returns a store over db without opening it.
func New(db kv.DB) *Store { return &Store{db: db} }

// Held returns how many families are in memory.
func Held(s *Store) (n int) {
	for i := range s.held.shards {
		n += len(s.held.shards[i].m)
	}
	return n
}
