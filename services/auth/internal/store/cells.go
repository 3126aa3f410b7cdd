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

// cells hands out the shared cell of a record. It holds cells weakly: they live as long as a cached decision
// or a running look-up refers to them, so the table is bounded by the cache and not by the number of keys.
//
// The order of events makes the missing cell safe. A look-up takes the cell before it reads the record. If a
// change finds no cell to bump after its commit, no look-up held one, and a later look-up reads the new record.
type cells struct{ shards [64]cellShard }

// cellShard is a part of the table with a lock of its own. Only look-ups that missed the cache and changes take it.
type cellShard struct {
	mu    sync.Mutex
	m     map[string]weak.Pointer[Cell]
	limit int // at this size the dead are swept out
}

// minShard is the size up to which a shard is not worth sweeping.
const minShard = 64

var cellSeed = maphash.MakeSeed()

func (c *cells) shard(id string) *cellShard {
	return &c.shards[maphash.String(cellSeed, id)%uint64(len(c.shards))]
}

func (c *cells) get(id string) *Cell {
	shard := c.shard(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if cell := shard.m[id].Value(); cell != nil {
		return cell
	}
	if len(shard.m) >= shard.limit {
		shard.sweep()
	}
	cell := new(Cell)
	shard.m[id] = weak.Make(cell)
	return cell
}

// sweep forgets the dead. As it waits until the shard has doubled, it costs each new cell two looks on average.
func (s *cellShard) sweep() {
	if s.m == nil {
		s.m = make(map[string]weak.Pointer[Cell])
	}
	maps.DeleteFunc(s.m, func(_ string, p weak.Pointer[Cell]) bool { return p.Value() == nil })
	s.limit = max(minShard, 2*len(s.m))
}

func (c *cells) bump(id string) {
	shard := c.shard(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if cell := shard.m[id].Value(); cell != nil {
		cell.epoch.Add(1)
	}
}

func cellOfKey(id string) string    { return "key:" + id }
func cellOfFamily(id string) string { return "family:" + id }

// KeyCell returns the cell of a key: revocation, expiry, node binding and permissions bump it.
func (s *Store) KeyCell(id string) *Cell { return s.cells.get(cellOfKey(id)) }

// FamilyCell returns the cell of a session family: revocation bumps it.
func (s *Store) FamilyCell(id string) *Cell { return s.cells.get(cellOfFamily(id)) }
