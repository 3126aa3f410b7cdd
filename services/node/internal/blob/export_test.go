package blob

import "github.com/calimero-network/mero-go/services/node/internal/id"

// OnWrite calls fn before every write of a file; an error of fn replaces the write.
func (s *Store) OnWrite(fn func(path string) error) {
	write := s.writeFile
	s.writeFile = func(path string, data []byte) error {
		if err := fn(path); err != nil {
			return err
		}
		return write(path, data)
	}
}

// ChunkPath returns the file of a chunk.
func (s *Store) ChunkPath(chunk id.ID) string { return s.chunkPath(chunk) }
