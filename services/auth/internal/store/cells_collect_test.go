package store_test

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// collect collects garbage until the store's table has shrunk to want cells, and returns how many are left. Clean-ups
// run some time after the collection that found the garbage, hence the further rounds.
func collect(s *store.Store, want int) int {
	for range 200 {
		runtime.GC()
		if store.Cells(s) <= want {
			break
		}
		runtime.Gosched()
	}
	return store.Cells(s)
}

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
	if n := collect(s, len(held)); n != len(held) {
		t.Errorf("%d cells are left, %d are held", n, len(held))
	}
	for i, cell := range held {
		if got := s.KeyCell(strconv.Itoa(2 * i)); got != cell {
			t.Fatalf("cell %d was replaced although it is held", 2*i)
		}
	}
	runtime.KeepAlive(held)
	clear(held)
	if n := collect(s, 0); n != 0 {
		t.Errorf("%d cells are left, none is held", n)
	}
}
