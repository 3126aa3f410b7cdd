package blob

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// listName is the file in an upload's directory with the chunks that it is about to put in place.
const listName = "chunks"

// Put reads a blob to its end and stores it. When it returns nil, the blob is on disk. want, if not nil, is the
// SHA-256 that the content must have. The error wraps [ErrMismatch], [ErrTooLarge], [ErrNoSpace], or [ErrContent] and
// what r returned; then nothing is kept. permit, if not nil, is asked when the content is complete; its error ends it too
// and is returned as it is. Memory does not grow with the size but for 32 bytes a chunk.
func (s *Store) Put(ctx context.Context, r io.Reader, want *id.ID, permit func() error) (Info, error) {
	staged, err := s.Stage(ctx, r, want)
	if err != nil {
		return Info{}, err
	}
	defer staged.Discard(ctx)
	if permit != nil {
		if err := permit(); err != nil {
			return Info{}, err
		}
	}
	return staged.Info, translate(s.Commit(ctx, nil, staged))
}

// Commit makes blobs of staged contents, all or none, in the transaction of fn, which runs after their entry and may
// be nil. When it returns nil, blobs and changes are on disk; otherwise neither is there, and an error of fn is
// returned as it is, wrapped. The staged contents are still to be discarded.
func (s *Store) Commit(ctx context.Context, fn func(*store.Tx) error, contents ...*Staged) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	absent, err := s.absent(ctx, contents)
	if err != nil {
		return err
	}
	// From here on the client's leaving does not matter: half a commit is worse than one that nobody waits for.
	ctx = context.WithoutCancel(ctx)
	err = s.place(absent)
	settled := true
	if err == nil {
		var before error // of what ran inside the transaction, which then did not reach the disk
		err = s.db.Update(ctx, func(tx *store.Tx) error {
			before = enter(tx, fn, contents)
			return before
		})
		// A full disk is met before the database writes the page that makes a transaction count. After another
		// failure that page may be on disk or not, so the chunks must wait for the next start's verdict.
		settled = err == nil || before != nil || noSpace(err)
	}
	if err == nil {
		return nil
	}
	if settled {
		return errors.Join(err, s.discard(ctx, chunksOf(absent)))
	}
	s.uncertain = true
	for _, c := range contents {
		c.unsettled = true
	}
	return err
}

// enter writes the index.
func enter(tx *store.Tx, fn func(*store.Tx) error, contents []*Staged) error {
	for _, c := range contents {
		if _, err := tx.AddBlob(c.Info, c.chunks); err != nil {
			return err
		}
	}
	if fn == nil {
		return nil
	}
	return fn(tx)
}

// placement is a chunk that is to be moved from the directory of a staged content to where blobs expect it.
type placement struct {
	from  *Staged
	chunk id.ID
}

func chunksOf(list []placement) []id.ID {
	chunks := make([]id.ID, len(list))
	for i, p := range list {
		chunks[i] = p.chunk
	}
	return chunks
}

// absent returns each chunk once whose file is not in place: no blob holds it, or its file got lost.
func (s *Store) absent(ctx context.Context, contents []*Staged) ([]placement, error) {
	var absent []placement
	seen := map[id.ID]bool{}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		for _, from := range contents {
			for _, chunk := range from.chunks {
				if seen[chunk] {
					continue
				}
				seen[chunk] = true
				refs, err := tx.ChunkRefs(chunk)
				if err != nil {
					return err
				}
				if _, err := os.Stat(s.chunkPath(chunk)); refs == 0 || err != nil {
					absent = append(absent, placement{from, chunk})
				}
			}
		}
		return nil
	})
	return absent, err
}

// place lists the chunks in the directory that they come from and moves them to where blobs expect them.
func (s *Store) place(absent []placement) error {
	if len(absent) == 0 {
		return nil
	}
	lists := map[*Staged][]byte{}
	for _, p := range absent {
		lists[p.from] = append(lists[p.from], p.chunk[:]...)
	}
	for from, list := range lists {
		err := s.writeFile(filepath.Join(from.dir, listName), list)
		if err := errors.Join(err, syncDir(from.dir)); err != nil {
			return err
		}
	}
	if err := syncDir(s.uploadDir()); err != nil {
		return err
	}
	dirs := map[string]bool{}
	for _, p := range absent {
		to := s.chunkPath(p.chunk)
		if err := os.Rename(p.from.path(p.chunk), to); err != nil {
			return err
		}
		dirs[filepath.Dir(to)] = true
	}
	return syncDirs(dirs)
}
