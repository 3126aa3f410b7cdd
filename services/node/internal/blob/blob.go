// Package blob is the node's content-addressed store.
//
// A blob is cut into chunks of 1 MiB. The id of a chunk is the SHA-256 of its bytes; the id of a blob is the SHA-256
// of its chunk ids joined, also when there is only one chunk. The id of the empty blob is the SHA-256 of nothing.
// Chunks are files that blobs share; the index in the database counts who holds them.
//
// # Crash safety
//
// The index decides what exists. A chunk's file is complete and on disk before the index names it, and is removed
// only after the index has forgotten it, so a crash never breaks a blob. What a crash leaves over is found again
// without looking at all files: uploads work in a directory of their own, which lists the chunks before it moves
// them in place, and removals mark the chunks as dead in the transaction that drops them. [Open] clears both.
// [Store.Collect] does the same while the node runs, for removals by transactions that are not this package's, and
// looks at all files for what nobody holds.
package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// ChunkSize is the size of every chunk but the last of a blob, in bytes.
const ChunkSize = 1 << 20

// The errors that callers tell apart. They are wrapped.
var (
	ErrNotFound = errors.New("no such blob")
	ErrMismatch = errors.New("the content does not have the expected hash")
	ErrTooLarge = errors.New("the blob is larger than the limit")
	ErrNoSpace  = errors.New("no space left for blobs")
	ErrContent  = errors.New("the content could not be read to its end")
	ErrInUse    = errors.New("an application needs the blob")
	ErrCorrupt  = errors.New("the stored blob is damaged")
)

// Info describes a blob.
type Info = store.Blob

// Store keeps blobs in a directory and their index in the database. It is safe for concurrent use.
type Store struct {
	db      *store.Store
	dir     string
	maxSize int64
	log     *slog.Logger

	// mu is held while files move in or out of place together with the index, so that no removal can come
	// between an upload's look at a chunk and its entry in the index. Bodies are neither received nor sent under
	// it. It is locked before pins.
	mu   sync.Mutex
	pins pins
	// uncertain says that a transaction failed without telling whether it reached the disk. Until the next start
	// nothing is removed because the index does not name it. Guarded by mu.
	uncertain bool

	buffers sync.Pool
	// writeFile writes and syncs one file; tests make it fail.
	writeFile func(path string, data []byte) error
}

// Open opens the store in dir, which is created if absent, and clears what a crash has left over. maxSize is the
// largest blob in bytes, 0 for no limit.
func Open(ctx context.Context, dir string, db *store.Store, maxSize int64, log *slog.Logger) (*Store, error) {
	s := &Store{
		db: db, dir: dir, maxSize: maxSize, log: log, writeFile: writeSynced,
		buffers: sync.Pool{New: func() any { return new([ChunkSize]byte) }},
	}
	if err := s.makeDirs(); err != nil {
		return nil, fmt.Errorf("blob directory: %w", err)
	}
	if err := s.recoverUploads(ctx); err != nil {
		return nil, fmt.Errorf("clear interrupted uploads: %w", err)
	}
	if err := s.recoverDead(ctx); err != nil {
		return nil, fmt.Errorf("clear removed blobs: %w", err)
	}
	return s, nil
}

func (s *Store) chunkDir() string  { return filepath.Join(s.dir, "chunks") }
func (s *Store) uploadDir() string { return filepath.Join(s.dir, "uploads") }

// chunkPath spreads the chunks over 256 directories.
func (s *Store) chunkPath(chunk id.ID) string {
	name := hex.EncodeToString(chunk[:])
	return filepath.Join(s.chunkDir(), name[:2], name)
}

// makeDirs makes all directories at once, so that placing a chunk never has to.
func (s *Store) makeDirs() error {
	for _, dir := range []string{s.uploadDir(), s.chunkDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	for i := range directories {
		err := os.Mkdir(filepath.Join(s.chunkDir(), fmt.Sprintf("%02x", i)), 0o700)
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return errors.Join(syncDir(s.chunkDir()), syncDir(s.dir))
}

// Info returns the entry of a blob. The error wraps [ErrNotFound] if there is none.
func (s *Store) Info(ctx context.Context, blob id.ID) (info Info, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		info, err = tx.Blob(blob)
		return err
	})
	return info, translate(err)
}

// List returns the entries of all blobs in the order of their ids.
func (s *Store) List(ctx context.Context) ([]Info, error) {
	all := []Info{}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		for info, err := range tx.Blobs() {
			if err != nil {
				return err
			}
			all = append(all, info)
		}
		return nil
	})
	return all, err
}

// Delete removes a blob. Chunks that other blobs hold stay; downloads that run go on to their end. The error wraps
// [ErrNotFound] or [ErrInUse].
func (s *Store) Delete(ctx context.Context, blob id.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var dead []id.ID
	err := s.db.Update(ctx, func(tx *store.Tx) (err error) {
		dead, err = tx.RemoveBlob(blob)
		return err
	})
	if err != nil {
		return translate(err)
	}
	// The blob is gone. What now fails is done at the next start, so it is not the caller's.
	if err := s.bury(context.WithoutCancel(ctx), dead); err != nil {
		s.log.WarnContext(ctx, "files of a removed blob stay until the next start", "error", err)
	}
	return nil
}

// bury removes the files of dead chunks that nobody reads, and then the marks. The caller holds mu, or is alone.
func (s *Store) bury(ctx context.Context, dead []id.ID) error {
	gone, err := s.removeFiles(dead) // a pinned one is left to its last reader
	if err != nil || len(gone) == 0 {
		return err
	}
	return s.db.Update(ctx, func(tx *store.Tx) error {
		for _, chunk := range gone {
			if err := tx.ForgetChunk(chunk); err != nil {
				return err
			}
		}
		return nil
	})
}

// removeFiles removes the files of those chunks that nobody reads and returns them once they are gone for good.
func (s *Store) removeFiles(chunks []id.ID) (gone []id.ID, err error) {
	dirs := map[string]bool{}
	err = s.pins.unlessPinned(chunks, func(chunk id.ID) error {
		path := s.chunkPath(chunk)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		dirs[filepath.Dir(path)] = true
		gone = append(gone, chunk)
		return nil
	})
	return gone, errors.Join(err, syncDirs(dirs))
}

// translate turns the errors of database and file system into those of this package.
func translate(err error) error {
	switch {
	case errors.Is(err, ErrContent):
		return err // whatever the reader's own trouble was
	case errors.Is(err, store.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, store.ErrInUse):
		return ErrInUse
	case noSpace(err):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// rootID returns the id of a blob with the given chunks.
func rootID(chunks []id.ID) id.ID {
	h := sha256.New()
	for i := range chunks {
		h.Write(chunks[i][:])
	}
	return id.ID(h.Sum(nil))
}

// recoverDead finishes removals.
func (s *Store) recoverDead(ctx context.Context) error {
	var dead []id.ID
	err := s.db.View(ctx, func(tx *store.Tx) error {
		dead = tx.DeadChunks()
		return nil
	})
	if err != nil || len(dead) == 0 {
		return err
	}
	s.log.InfoContext(ctx, "finishing removals of blobs", "chunks", len(dead))
	return s.bury(ctx, dead)
}

// recoverUploads removes the directories of uploads that did not end, and the chunks that they put in place
// without the index having heard of it.
func (s *Store) recoverUploads(ctx context.Context) error {
	entries, err := os.ReadDir(s.uploadDir())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		dir := filepath.Join(s.uploadDir(), entry.Name())
		// The list is complete before the first chunk moves; a torn list names no file or a stray one.
		list, err := os.ReadFile(filepath.Join(dir, listName)) //nolint:gosec // a name that ReadDir returned
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
		s.log.InfoContext(ctx, "clearing an interrupted upload", "upload", entry.Name())
		if err := s.discard(ctx, listed(list)); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return syncDir(s.uploadDir())
}

func listed(list []byte) []id.ID {
	var chunks []id.ID
	for ; len(list) >= id.Size; list = list[id.Size:] {
		chunks = append(chunks, id.ID(list))
	}
	return chunks
}

// discard removes the files of those chunks that no blob holds. The caller holds mu, or is alone.
func (s *Store) discard(ctx context.Context, chunks []id.ID) error {
	unheld, err := s.unheld(ctx, chunks)
	if err != nil {
		return err
	}
	_, err = s.removeFiles(unheld)
	return err
}

// unheld returns those chunks that no blob holds.
func (s *Store) unheld(ctx context.Context, chunks []id.ID) (unheld []id.ID, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		for _, chunk := range chunks {
			refs, err := tx.ChunkRefs(chunk)
			if err != nil {
				return err
			}
			if refs == 0 {
				unheld = append(unheld, chunk)
			}
		}
		return nil
	})
	return unheld, err
}

func syncDirs(dirs map[string]bool) error {
	for dir := range dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // the path is made from hexadecimal digits and the store's directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeSynced writes a file and waits until it is on disk. It leaves an existing one alone, which has the same
// content because its name is its hash.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // as in syncDir
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = bytes.NewReader(data).WriteTo(f)
	return errors.Join(err, f.Sync(), f.Close())
}
