package store

import (
	"runtime"
	"sync"
	"sync/atomic"
	"weak"
)

// Cell counts the changes of one record that take rights away. A cached decision remembers the epoch that it
// read before it read the record, and holds only while the epoch is the same.
type Cell struct {
	epoch atomic.Uint64

	// The runtime packs pointer-free objects under 16 bytes into shared blocks. A cell in one would live as long
	// as its neighbours, and runtime.AddCleanup panics when the text of its own name is among them.
	_ [8]byte
}

// Epoch returns the current count.
func (c *Cell) Epoch() uint64 { return c.epoch.Load() }

// cells hands out the shared cell of a record. It holds cells weakly: they live as long as a cached decision
// or a running look-up refers to them, so the table is bounded by the cache and not by the number of keys.
//
// The order of events makes the missing cell safe. A look-up takes the cell before it reads the record. If a
// change finds no cell to bump after its commit, no look-up held one, and a later look-up reads the new record.
type cells struct{ m sync.Map } // string → weak.Pointer[Cell]

func (c *cells) get(id string) *Cell {
	for {
		if v, ok := c.m.Load(id); ok {
			if cell := v.(weak.Pointer[Cell]).Value(); cell != nil {
				return cell
			}
			c.m.CompareAndDelete(id, v)
		}
		cell := new(Cell)
		p := weak.Make(cell)
		if _, loaded := c.m.LoadOrStore(id, p); loaded {
			continue
		}
		runtime.AddCleanup(cell, func(p weak.Pointer[Cell]) { c.m.CompareAndDelete(id, p) }, p)
		return cell
	}
}

func (c *cells) bump(id string) {
	if v, ok := c.m.Load(id); ok {
		if cell := v.(weak.Pointer[Cell]).Value(); cell != nil {
			cell.epoch.Add(1)
		}
	}
}

func cellOfKey(id string) string    { return "key:" + id }
func cellOfFamily(id string) string { return "family:" + id }

// KeyCell returns the cell of a key: revocation, expiry, node binding and permissions bump it.
func (s *Store) KeyCell(id string) *Cell { return s.cells.get(cellOfKey(id)) }

// FamilyCell returns the cell of a session family: revocation bumps it.
func (s *Store) FamilyCell(id string) *Cell { return s.cells.get(cellOfFamily(id)) }
