package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// Reader reads a blob. Every chunk is checked against its id before a byte of it is handed out. The blob may be
// deleted meanwhile: its files stay until Close. A Reader is for one goroutine.
type Reader struct {
	Info Info

	store  *Store
	chunks []id.ID
	path   func(chunk id.ID) string
	pinned bool
	offset int64
	buf    *[ChunkSize]byte
	loaded int // index of the chunk in buf, -1 if none
	length int // of that chunk
	err    error
	closed bool
}

// Open opens a blob for reading. The caller must close it. The error wraps [ErrNotFound] if there is none.
func (s *Store) Open(ctx context.Context, blob id.ID) (*Reader, error) {
	r := &Reader{store: s, path: s.chunkPath, pinned: true, loaded: -1}
	err := s.pins.addFrom(func() ([]id.ID, error) {
		err := s.db.View(ctx, func(tx *store.Tx) (err error) {
			if r.Info, err = tx.Blob(blob); err != nil {
				return err
			}
			r.chunks, err = tx.BlobChunks(blob)
			return err
		})
		return r.chunks, err
	})
	if err != nil {
		return nil, translate(err)
	}
	return r, nil
}

// Read reads on from the current offset. The error wraps [ErrCorrupt] when a chunk is missing or damaged.
func (r *Reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, os.ErrClosed
	}
	if r.err != nil {
		return 0, r.err
	}
	if r.offset >= r.Info.Size {
		return 0, io.EOF
	}
	if r.err = r.load(int(r.offset / ChunkSize)); r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.buf[r.offset%ChunkSize:r.length])
	r.offset += int64(n)
	return n, nil
}

// load brings a chunk into the buffer and checks it.
func (r *Reader) load(i int) error {
	if i == r.loaded {
		return nil
	}
	r.loaded = -1
	if r.buf == nil {
		r.buf, _ = r.store.buffers.Get().(*[ChunkSize]byte)
	}
	want := min(ChunkSize, r.Info.Size-int64(i)*ChunkSize)
	f, err := os.Open(r.path(r.chunks[i]))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, r.Info.ID, err)
	}
	n, err := io.ReadFull(f, r.buf[:want])
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%w: %s: chunk %d: %w", ErrCorrupt, r.Info.ID, i, err)
	}
	if id.ID(sha256.Sum256(r.buf[:n])) != r.chunks[i] {
		return fmt.Errorf("%w: %s: chunk %d has another hash", ErrCorrupt, r.Info.ID, i)
	}
	r.loaded, r.length = i, n
	return nil
}

// Seek sets the offset of the next Read.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.Info.Size
	}
	if offset < 0 {
		return r.offset, errors.New("blob: seek before the start")
	}
	r.offset = offset
	return offset, nil
}

// Err returns the error that ended reading, nil if none did. It is for callers that hand the Reader on.
func (r *Reader) Err() error { return r.err }

// Close lets go of the blob and removes files that were kept only for this Reader. It always returns nil.
func (r *Reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if r.buf != nil {
		r.store.buffers.Put(r.buf)
		r.buf = nil
	}
	if r.pinned {
		r.store.unpin(r.chunks)
	}
	return nil
}

// unpin lets go of chunks and removes those that died while they were read.
func (s *Store) unpin(chunks []id.ID) {
	ctx := context.Background() // the reader's request may be over; the files must go all the same
	free := s.pins.remove(chunks)
	dead, err := s.dead(ctx, free)
	if err == nil && len(dead) > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		// An upload may have brought one back before the lock was ours.
		if dead, err = s.dead(ctx, dead); err == nil {
			err = s.bury(ctx, dead)
		}
	}
	if err != nil {
		s.log.WarnContext(ctx, "files of a removed blob stay until the next start", "error", err)
	}
}

// dead returns those chunks that are marked dead.
func (s *Store) dead(ctx context.Context, chunks []id.ID) (dead []id.ID, err error) {
	if len(chunks) == 0 {
		return nil, nil
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		for _, chunk := range chunks {
			if tx.IsDeadChunk(chunk) {
				dead = append(dead, chunk)
			}
		}
		return nil
	})
	return dead, err
}
