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
	"sync"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// sniffLength is how many bytes decide the content type.
const sniffLength = 512

// writers is how many chunks of one content are hashed and written at the same time as the next one is received.
// Each holds a buffer of [ChunkSize] while it is at work.
const writers = 3

// Staged is content that is complete on disk and not a blob yet.
type Staged struct {
	Info Info

	store  *Store
	dir    string
	chunks []id.ID
	// unsettled says that only the next start can tell whether the index has the blob.
	unsettled bool
}

// Stage reads content to its end and keeps it aside, until it becomes a blob in [Store.Commit] or [Staged.Discard] is
// called, which the caller must do in any case. want and the errors are those of [Store.Put].
func (s *Store) Stage(ctx context.Context, r io.Reader, want *id.ID) (*Staged, error) {
	dir, err := os.MkdirTemp(s.uploadDir(), "put-")
	if err != nil {
		return nil, translate(err)
	}
	u := &upload{Staged: &Staged{store: s, dir: dir}, content: sha256.New()}
	err = u.receive(ctx, r)
	if err == nil {
		u.Info.ID, u.Info.Hash = rootID(u.chunks), id.ID(u.content.Sum(nil))
		if want != nil && *want != u.Info.Hash {
			err = ErrMismatch
		}
	}
	if err != nil {
		u.Discard(ctx)
		return nil, translate(err)
	}
	return u.Staged, nil
}

// Discard removes what is left of a staged content, whether it became a blob or not.
func (g *Staged) Discard(ctx context.Context) {
	if g.unsettled {
		g.store.log.ErrorContext(ctx, "the index did not take a blob; its files stay until the next start", "upload", filepath.Base(g.dir))
	} else if err := os.RemoveAll(g.dir); err != nil {
		g.store.log.WarnContext(ctx, "files of an upload stay until the next start", "error", err)
	}
}

// Open reads the content from its start. It must happen before Commit. The caller must close the Reader.
func (g *Staged) Open() *Reader {
	return &Reader{Info: g.Info, store: g.store, chunks: g.chunks, path: g.path, loaded: -1}
}

func (g *Staged) path(chunk id.ID) string { return filepath.Join(g.dir, hex.EncodeToString(chunk[:])) }

// upload is one content on its way in.
type upload struct {
	*Staged
	content hash.Hash

	mu  sync.Mutex // guards chunks and err while writers run
	err error      // of the first writer that failed
}

// receive reads the content chunk by chunk into the upload's directory. The writers have ended when it returns.
func (u *upload) receive(ctx context.Context, r io.Reader) error {
	var wg sync.WaitGroup
	turns := make(chan struct{}, writers)
	err := func() error {
		for {
			turns <- struct{}{}
			last, err := u.step(ctx, r, func(write func()) { wg.Go(func() { write(); <-turns }) })
			if last || err != nil {
				return err
			}
		}
	}()
	wg.Wait()
	return errors.Join(err, u.err)
}

// step reads one chunk and has it written beside, which happens unless there is an error or nothing left to read.
func (u *upload) step(ctx context.Context, r io.Reader, beside func(func())) (last bool, err error) {
	if err := errors.Join(ctx.Err(), u.failure()); err != nil {
		return false, err
	}
	// A buffer is held only while something is in it, so that a client that is silent between two chunks costs one.
	buf, _ := u.store.buffers.Get().(*[ChunkSize]byte)
	n, err := fill(r, buf[:])
	last = errors.Is(err, io.EOF)
	switch {
	case err != nil && !last:
		err = fmt.Errorf("%w: %w", ErrContent, err)
	case u.store.maxSize > 0 && u.Info.Size+int64(n) > u.store.maxSize:
		err = ErrTooLarge
	default:
		err = nil
	}
	if u.Info.Size == 0 {
		u.Info.MIME = http.DetectContentType(buf[:min(n, sniffLength)])
	}
	if err != nil || n == 0 {
		u.store.buffers.Put(buf)
		return last, err
	}
	u.Info.Size += int64(n)
	place := u.reserve()
	// The writer reads the buffer too; both are done with it when both have read it.
	var read sync.WaitGroup
	read.Add(1)
	beside(func() {
		u.keep(place, buf[:n])
		read.Wait()
		u.store.buffers.Put(buf)
	})
	u.content.Write(buf[:n])
	read.Done()
	return last, nil
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

// reserve makes room for the next chunk's id and returns its place.
func (u *upload) reserve() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.chunks = append(u.chunks, id.ID{})
	return len(u.chunks) - 1
}

func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// keep writes one chunk.
func (u *upload) keep(place int, data []byte) {
	chunk := id.ID(sha256.Sum256(data))
	err := u.store.writeFile(u.path(chunk), data)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.chunks[place] = chunk
	if u.err == nil {
		u.err = err
	}
}
