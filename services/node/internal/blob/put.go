package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// listName is the file in an upload's directory with the chunks that it is about to put in place.
const listName = "chunks"

// sniffLength is how many bytes decide the content type.
const sniffLength = 512

// Put reads a blob to its end and stores it. When it returns nil, the blob is on disk. want, if not nil, is the
// SHA-256 that the content must have. The error wraps [ErrMismatch], [ErrTooLarge], [ErrNoSpace], or [ErrContent] and
// what r returned; then nothing is kept. Memory does not grow with the size but for 32 bytes a chunk.
func (s *Store) Put(ctx context.Context, r io.Reader, want *id.ID) (Info, error) {
	dir, err := os.MkdirTemp(s.uploadDir(), "put-")
	if err != nil {
		return Info{}, translate(err)
	}
	u := &upload{store: s, dir: dir, content: sha256.New()}
	info, err := u.run(ctx, r, want)
	if u.unsettled {
		s.log.ErrorContext(ctx, "the index did not take a blob; its files stay until the next start", "upload", filepath.Base(dir))
	} else if rmErr := os.RemoveAll(dir); rmErr != nil {
		s.log.WarnContext(ctx, "files of an upload stay until the next start", "error", rmErr)
	}
	return info, translate(err)
}

// upload is one blob on its way in.
type upload struct {
	store   *Store
	dir     string
	content hash.Hash
	chunks  []id.ID
	size    int64
	mime    string
	// unsettled says that only the next start can tell whether the index has the blob.
	unsettled bool
}

func (u *upload) run(ctx context.Context, r io.Reader, want *id.ID) (Info, error) {
	if err := u.receive(ctx, r); err != nil {
		return Info{}, err
	}
	info := Info{ID: rootID(u.chunks), Size: u.size, Hash: id.ID(u.content.Sum(nil)), MIME: u.mime}
	if want != nil && *want != info.Hash {
		return Info{}, ErrMismatch
	}
	return info, u.commit(ctx, info)
}

// receive reads the body chunk by chunk into the upload's directory.
func (u *upload) receive(ctx context.Context, r io.Reader) error {
	buf, _ := u.store.buffers.Get().(*[ChunkSize]byte)
	defer u.store.buffers.Put(buf)
	for {
		n, err := fill(r, buf[:])
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return fmt.Errorf("%w: %w", ErrContent, err)
		}
		if len(u.chunks) == 0 {
			u.mime = http.DetectContentType(buf[:min(n, sniffLength)])
		}
		if u.size += int64(n); u.store.maxSize > 0 && u.size > u.store.maxSize {
			return ErrTooLarge
		}
		if n > 0 {
			if err := u.keep(buf[:n]); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// fill reads until buf is full or r ends. It is not io.ReadFull, whose ErrUnexpectedEOF at the end of the content
// is also what an HTTP body reports when the client leaves in the middle.
func fill(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// keep writes one chunk.
func (u *upload) keep(data []byte) error {
	u.content.Write(data)
	chunk := id.ID(sha256.Sum256(data))
	u.chunks = append(u.chunks, chunk)
	return u.store.writeFile(u.path(chunk), data)
}

func (u *upload) path(chunk id.ID) string { return filepath.Join(u.dir, hex.EncodeToString(chunk[:])) }

// commit puts the chunks in place and the blob into the index.
func (u *upload) commit(ctx context.Context, info Info) error {
	s := u.store
	s.mu.Lock()
	defer s.mu.Unlock()
	absent, err := u.absent(ctx)
	if err != nil {
		return err
	}
	// From here on the client's leaving does not matter: half a commit is worse than one that nobody waits for.
	ctx = context.WithoutCancel(ctx)
	err = u.place(absent)
	if err == nil {
		err = s.db.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.AddBlob(info, u.chunks)
			return err
		})
		// A full disk is met before the database writes the page that makes a transaction count. After another
		// failure that page may be on disk or not, so the chunks must wait for the next start's verdict.
		u.unsettled = err != nil && !noSpace(err)
	}
	if err != nil && !u.unsettled {
		return errors.Join(err, s.discard(ctx, absent))
	}
	return err
}

// absent returns each chunk once whose file is not in place: no blob holds it, or its file got lost.
func (u *upload) absent(ctx context.Context) ([]id.ID, error) {
	var absent []id.ID
	seen := make(map[id.ID]bool, len(u.chunks))
	err := u.store.db.View(ctx, func(tx *store.Tx) error {
		for _, chunk := range u.chunks {
			if seen[chunk] {
				continue
			}
			seen[chunk] = true
			refs, err := tx.ChunkRefs(chunk)
			if err != nil {
				return err
			}
			if _, err := os.Stat(u.store.chunkPath(chunk)); refs == 0 || err != nil {
				absent = append(absent, chunk)
			}
		}
		return nil
	})
	return absent, err
}

// place lists the chunks in the upload's directory and moves them to where blobs expect them.
func (u *upload) place(chunks []id.ID) error {
	if len(chunks) == 0 {
		return nil
	}
	list := make([]byte, 0, len(chunks)*id.Size)
	for _, chunk := range chunks {
		list = append(list, chunk[:]...)
	}
	if err := u.store.writeFile(filepath.Join(u.dir, listName), list); err != nil {
		return err
	}
	if err := errors.Join(syncDir(u.dir), syncDir(u.store.uploadDir())); err != nil {
		return err
	}
	dirs := map[string]bool{}
	for _, chunk := range chunks {
		to := u.store.chunkPath(chunk)
		if err := os.Rename(u.path(chunk), to); err != nil {
			return err
		}
		dirs[filepath.Dir(to)] = true
	}
	return syncDirs(dirs)
}
