package store

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"weak"
)

// Cell counts the changes of one record that take rights away. A cached decision remembers the epoch that it
// read before it read the record, and holds only while the epoch is the same.
//
// A cell holds a pointer, and so does not share its memory: the runtime packs pointer-free objects under 16 bytes into
// blocks in which a cell would live as long as its neighbours.
type Cell struct {
	epoch atomic.Uint64
	known atomic.Pointer[known]
}

// known is what was read of a record while its cell had an epoch.
type known struct {
	epoch  uint64
	record any // *LiveFamily or *LiveKey
}

// Epoch returns the current count.
func (c *Cell) Epoch() uint64 { return c.epoch.Load() }

// cells hands out the shared cell of a record.
//
// The order of events makes the missing cell safe. A look-up takes the cell before it reads the record. If a
// change finds no cell to bump after its commit, no look-up held one, and a later look-up reads the new record.
type cells struct{ table[Cell] }

func (c *cells) get(id string) *Cell { return c.table.get(id, nil) }

func (c *cells) bump(id string) {
	if cell := c.find(id); cell != nil {
		cell.epoch.Add(1)
	}
}

func cellOfKey(id string) string    { return "key:" + id }
func cellOfFamily(id string) string { return "family:" + id }

// KeyCell returns the cell of a key: revocation, expiry, node binding and permissions bump it.
func (s *Store) KeyCell(id string) *Cell { return s.cells.get(cellOfKey(id)) }

// FamilyCell returns the cell of a session family: revocation bumps it.
func (s *Store) FamilyCell(id string) *Cell { return s.cells.get(cellOfFamily(id)) }

// table shares one value for each id between all who ask for it, and holds it weakly: a value lives as long as a
// cached decision or a running look-up refers to it, so the table is bounded by the cache and not by the number of
// keys.
type table[T any] struct{ shards [64]shard[T] }

// shard is a part of the table with a lock of its own. Only look-ups that missed the cache and changes take it.
type shard[T any] struct {
	mu    sync.Mutex
	m     map[string]weak.Pointer[T]
	limit int // at this size the dead are swept out
}

// minShard is the size up to which a shard is not worth sweeping.
const minShard = 64

var tableSeed = maphash.MakeSeed()

func (t *table[T]) shard(id string) *shard[T] {
	return &t.shards[maphash.String(tableSeed, id)%uint64(len(t.shards))]
}

// get returns the value of id. If there is none it becomes fresh, or a zero value when fresh is nil.
func (t *table[T]) get(id string, fresh *T) *T {
	shard := t.shard(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if value := shard.m[id].Value(); value != nil {
		return value
	}
	if len(shard.m) >= shard.limit {
		shard.sweep()
	}
	if fresh == nil {
		fresh = new(T)
	}
	shard.m[id] = weak.Make(fresh)
	return fresh
}

// find returns the value of id, nil if nobody holds one.
func (t *table[T]) find(id string) *T {
	shard := t.shard(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.m[id].Value()
}

// sweep forgets the dead. As it waits until the shard has doubled, it costs each new value two looks on average.
func (s *shard[T]) sweep() {
	if s.m == nil {
		s.m = make(map[string]weak.Pointer[T])
	}
	maps.DeleteFunc(s.m, func(_ string, p weak.Pointer[T]) bool { return p.Value() == nil })
	s.limit = max(minShard, 2*len(s.m))
}
