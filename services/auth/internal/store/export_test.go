package store

// CellCount returns how many cells the store's table refers to.
func (s *Store) CellCount() int {
	n := 0
	for range s.cells.m.Range {
		n++
	}
	return n
}
