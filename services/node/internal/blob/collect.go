package blob

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// directories is how many directories the chunks are spread over.
const directories = 256

// Run collects what nobody holds until ctx ends: everything at once, then removed blobs' chunks and one of the 256
// directories at every tick, so that the cost of a tick does not grow with the store. Failures are logged; the next
// round tries again.
func (s *Store) Run(ctx context.Context, every time.Duration) {
	for i := range directories {
		s.round(ctx, i)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := 0; ; i = (i + 1) % directories {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.round(ctx, i)
		}
	}
}

func (s *Store) round(ctx context.Context, directory int) {
	if ctx.Err() != nil {
		return
	}
	if err := s.Collect(ctx, directory); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "files of removed blobs stay for now", "error", err)
	}
}

// Collect removes the files of removed blobs, and those in one of the 256 directories of chunks that no blob holds.
// What is being read stays until the next time.
func (s *Store) Collect(ctx context.Context, directory int) error {
	s.mu.Lock() // no chunk is between its place and the index while it is held
	defer s.mu.Unlock()
	if s.uncertain {
		return nil
	}
	if err := s.buryAll(ctx); err != nil {
		return err
	}
	return s.sweep(ctx, directory)
}

// Reclaim removes the files of removed blobs after a transaction that was not this package's. What fails is logged and
// left to [Store.Run].
func (s *Store) Reclaim(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uncertain {
		return
	}
	if err := s.buryAll(context.WithoutCancel(ctx)); err != nil {
		s.log.WarnContext(ctx, "files of removed blobs stay for now", "error", err)
	}
}

func (s *Store) buryAll(ctx context.Context) error {
	var dead []id.ID
	err := s.db.View(ctx, func(tx *store.Tx) error {
		dead = tx.DeadChunks()
		return nil
	})
	if err != nil || len(dead) == 0 {
		return err
	}
	return s.bury(ctx, dead)
}

// sweep removes the unheld chunks of one directory. Files that are no chunks are not this store's, and stay.
func (s *Store) sweep(ctx context.Context, directory int) error {
	dir := filepath.Join(s.chunkDir(), fmt.Sprintf("%02x", directory))
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	var chunks []id.ID
	for _, name := range names {
		if b, err := hex.DecodeString(name); err == nil && len(b) == id.Size && hex.EncodeToString(b) == name && int(b[0]) == directory {
			chunks = append(chunks, id.ID(b))
		}
	}
	unheld, err := s.unheld(ctx, chunks)
	if err != nil || len(unheld) == 0 {
		return err
	}
	gone, err := s.removeFiles(unheld)
	if len(gone) > 0 {
		s.log.InfoContext(ctx, "removed chunks that no blob holds", "chunks", len(gone))
	}
	return err
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir) //nolint:gosec // made of the store's directory and two hexadecimal digits
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}
