package store_test

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// TestCellsDoNotOutliveTheirSessions holds every second cell, as a cache does whose other entries were evicted.
func TestCellsDoNotOutliveTheirSessions(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	const all = 2000
	held := make([]*store.Cell, 0, all/2)
	for i := range all {
		cell := s.KeyCell(strconv.Itoa(i))
		if i%2 == 0 {
			held = append(held, cell)
		}
	}
	if n := store.Cells(s); n != all {
		t.Fatalf("%d cells after %d look-ups", n, all)
	}
	runtime.GC()
	store.SweepCells(s)
	if n := store.Cells(s); n != len(held) {
		t.Errorf("%d cells are left, %d are held", n, len(held))
	}
	for i, cell := range held {
		if got := s.KeyCell(strconv.Itoa(2 * i)); got != cell {
			t.Fatalf("cell %d was replaced although it is held", 2*i)
		}
	}
	runtime.KeepAlive(held)
	clear(held)
	runtime.GC()
	store.SweepCells(s)
	if n := store.Cells(s); n != 0 {
		t.Errorf("%d cells are left, none is held", n)
	}
}

// TestTableOfCellsIsBounded looks up many more keys than are ever held at a time. Nobody calls for a sweep.
func TestTableOfCellsIsBounded(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	const rounds, each = 20, 5000
	for round := range rounds {
		for i := range each {
			s.KeyCell(strconv.Itoa(round*each + i))
		}
		runtime.GC()
	}
	// What one round leaves behind is found dead when the table has doubled.
	if n, limit := store.Cells(s), 3*each+64*64; n > limit {
		t.Errorf("%d cells in the table after %d look-ups, of which none is held; want at most %d", n, rounds*each, limit)
	}
}
