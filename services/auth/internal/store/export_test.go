package store

// Cells returns how many names the table of cells holds.
func Cells(s *Store) int {
	n := 0
	s.cells.m.Range(func(_, _ any) bool { n++; return true })
	return n
}
