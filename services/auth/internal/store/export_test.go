package store

// Cells returns how many names the table of cells holds.
func Cells(s *Store) int {
	n := 0
	for i := range s.cells.shards {
		shard := &s.cells.shards[i]
		shard.mu.Lock()
		n += len(shard.m)
		shard.mu.Unlock()
	}
	return n
}

// SweepCells forgets the cells that nobody holds, as a growing table does by itself.
func SweepCells(s *Store) {
	for i := range s.cells.shards {
		shard := &s.cells.shards[i]
		shard.mu.Lock()
		shard.sweep()
		shard.mu.Unlock()
	}
}
