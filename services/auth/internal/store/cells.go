package store

import (
	"hash/maphash"
	"sync/atomic"
)

// Cell counts the changes that take rights away from the records that share it. A cached decision remembers the epoch
// that it read before it read the record, and holds only while the epoch is the same.
type Cell struct{ epoch atomic.Uint64 }

// Epoch returns the current count.
func (c *Cell) Epoch() uint64 { return c.epoch.Load() }

// cellCount is a power of two. Two records that share a cell cost each other one needless look-up when one of them
// changes, and nothing else: with so many cells a change outdates one of 16384 decisions besides its own.
const cellCount = 1 << 14

// cells holds the cells of all records. A record's cell is found by a hash of its name, so there is nothing to make,
// to look up under a lock or to forget.
type cells struct {
	seed maphash.Seed
	all  [cellCount]Cell
}

func (c *cells) of(kind byte, id string) *Cell {
	var h maphash.Hash
	h.SetSeed(c.seed)
	_ = h.WriteByte(kind) // never fails
	_, _ = h.WriteString(id)
	return &c.all[h.Sum64()%cellCount]
}

// Kinds of records that have cells.
const (
	ofKey    = 'k'
	ofFamily = 'f'
)

// KeyCell returns the cell of a key: revocation, expiry, node binding and permissions bump it.
func (s *Store) KeyCell(id string) *Cell { return s.cells.of(ofKey, id) }

// FamilyCell returns the cell of a session family: revocation bumps it.
func (s *Store) FamilyCell(id string) *Cell { return s.cells.of(ofFamily, id) }

// seen is a cell with the epoch that it had before its record was read.
//
// A change commits, then bumps. A look-up takes the epoch, then reads: if it read the old record, the bump is still to
// come and outdates it.
type seen struct {
	cell  *Cell
	epoch uint64
}

func (c *Cell) see() seen { return seen{c, c.epoch.Load()} }

func (s seen) current() bool { return s.cell.epoch.Load() == s.epoch }
