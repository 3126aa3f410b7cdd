package store

import (
	"hash/maphash"
	"sync"
)

// held shares one LiveFamily of each session between all decisions about it, so that a use of one token keeps them all
// awake. A family is in here while somebody holds it or its last use waits to be saved, so the table is bounded by the
// cache of decisions and the queue of uses.
type held struct {
	seed   maphash.Seed
	shards [64]heldShard
}

// heldShard is a part of the table with a lock of its own. Only look-ups that missed the cache take it.
type heldShard struct {
	mu sync.Mutex
	m  map[string]*LiveFamily
}

func (h *held) shard(id string) *heldShard {
	return &h.shards[maphash.String(h.seed, id)%uint64(len(h.shards))]
}

// find returns the family of this id, nil if it is not in the table.
func (h *held) find(id string) *LiveFamily {
	shard := h.shard(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.m[id]
}

// hold returns the family of the table with f's id, f itself if there is none, and keeps it in the table until it is
// released as often as it was held. What f knows that it does not is noted in it.
func (h *held) hold(f *LiveFamily) *LiveFamily {
	shard := h.shard(f.ID)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shared := shard.m[f.ID]
	if shared == nil {
		if shard.m == nil {
			shard.m = make(map[string]*LiveFamily)
		}
		shared = f
		shard.m[f.ID] = f
	}
	shared.holders++
	shared.raise(f.LastUse())
	if read := f.epoch.Load(); read > shared.epoch.Load() {
		shared.epoch.Store(read)
	}
	return shared
}

func (h *held) release(f *LiveFamily) {
	shard := h.shard(f.ID)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	f.holders--
	if f.holders == 0 && !f.queued.Load() {
		delete(shard.m, f.ID)
	}
}

// Hold keeps the family of a decision that is cached. The decision uses what Hold returns, and whoever forgets the
// decision calls [Store.Release] with it.
func (s *Store) Hold(f *LiveFamily) *LiveFamily { return s.held.hold(f) }

// Release undoes one [Store.Hold].
func (s *Store) Release(f *LiveFamily) { s.held.release(f) }
