package store

// Writes returns how many write transactions the database has seen.
func (s *Store) Writes() int {
	tx, err := s.db.Begin(false)
	if err != nil {
		panic(err)
	}
	defer func() { _ = tx.Rollback() }()
	return tx.ID()
}
