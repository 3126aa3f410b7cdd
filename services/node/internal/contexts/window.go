package contexts

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// maxWindow bounds the blobs that one call makes, in bytes together.
const maxWindow = 1 << 30

var errWindow = fmt.Errorf("a call may make blobs of %d bytes in all", maxWindow)

// window is one call's view of the node's blobs. What the call makes lies in files without a name until the call is
// accepted, so that a call that fails leaves nothing, not even after a crash.
type window struct {
	blobs *blob.Store
	made  []*madeBlob
	size  int64
}

// madeBlob is a blob on its way, or made.
type madeBlob struct {
	window *window
	file   *os.File
	size   int64
	chunk  hash.Hash // of the chunk that is being written
	chunks hash.Hash // of the ids of the chunks that are full
	filled int
	id     id.ID // when it is finished
	done   bool
}

// Open implements [runtime.Blobs].
func (w *window) Open(ctx context.Context, want id.ID) (io.ReadCloser, bool, error) {
	for _, b := range w.made {
		if b.done && b.id == want {
			return io.NopCloser(io.NewSectionReader(b.file, 0, b.size)), true, nil
		}
	}
	r, err := w.blobs.Open(ctx, want)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return r, true, nil
}

// Create implements [runtime.Blobs].
func (w *window) Create(context.Context) (runtime.BlobWriter, error) {
	f, err := os.CreateTemp("", "merod-blob-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := &madeBlob{window: w, file: f, chunk: sha256.New(), chunks: sha256.New()}
	w.made = append(w.made, b)
	return b, nil
}

// Announce implements [runtime.Blobs]. There are no peers to tell.
func (w *window) Announce(ctx context.Context, want, _ id.ID) (bool, error) {
	r, ok, err := w.Open(ctx, want)
	if !ok || err != nil {
		return false, err
	}
	return true, r.Close()
}

// Write implements [io.Writer].
func (b *madeBlob) Write(p []byte) (int, error) {
	if b.window.size += int64(len(p)); b.window.size > maxWindow {
		return 0, errWindow
	}
	n, err := b.file.Write(p)
	b.size += int64(n)
	for rest := p[:n]; len(rest) > 0; {
		part := rest[:min(len(rest), blob.ChunkSize-b.filled)]
		b.chunk.Write(part)
		rest = rest[len(part):]
		if b.filled += len(part); b.filled == blob.ChunkSize {
			b.endChunk()
		}
	}
	return n, err
}

func (b *madeBlob) endChunk() {
	b.chunks.Write(b.chunk.Sum(nil))
	b.chunk.Reset()
	b.filled = 0
}

// Finish implements [runtime.BlobWriter].
func (b *madeBlob) Finish(context.Context) (id.ID, error) {
	if b.filled > 0 {
		b.endChunk()
	}
	b.id, b.done = id.ID(b.chunks.Sum(nil)), true
	return b.id, nil
}

// Discard implements [runtime.BlobWriter]. The file goes with the window.
func (b *madeBlob) Discard() {}

// keep stores the blobs that were finished.
func (w *window) keep(ctx context.Context) error {
	for _, b := range w.made {
		if !b.done {
			continue
		}
		_, err := w.blobs.Put(ctx, io.NewSectionReader(b.file, 0, b.size), nil)
		if errors.Is(err, blob.ErrTooLarge) {
			return callFailed(err.Error(), nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close frees the files. It may be called again.
func (w *window) close() {
	for _, b := range w.made {
		_ = b.file.Close() // nothing of it was to stay
	}
	w.made = nil
}

// directory answers an application's questions about its context.
type directory struct{ seat *seat }

// Members implements [runtime.Directory].
func (d directory) Members(context.Context) ([]id.ID, error) {
	list := make([]id.ID, len(d.seat.members))
	for i, m := range d.seat.members {
		list[i] = m.PublicKey
	}
	return list, nil
}

// IsMember implements [runtime.Directory].
func (d directory) IsMember(_ context.Context, member id.ID) (bool, error) {
	_, ok := d.seat.member(member)
	return ok, nil
}

// ResolveAlias implements [runtime.Directory].
func (d directory) ResolveAlias(ctx context.Context, name string) (target id.ID, found bool, err error) {
	err = d.seat.m.Store.View(ctx, func(tx *store.Tx) error {
		target, err = tx.Alias(store.IdentityAlias, d.seat.id, name)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return id.ID{}, false, nil
	}
	return target, err == nil, err
}

// member returns a member of the context.
func (s *seat) member(key id.ID) (store.Identity, bool) {
	for _, m := range s.members {
		if m.PublicKey == key {
			return m, true
		}
	}
	return store.Identity{}, false
}

// Capability is what a member may do in a context beside calling methods. They are bits.
type Capability uint32

// The capabilities.
const (
	ManageApplication Capability = 1 << iota
	ManageMembers
	Proxy
)

var capabilityNames = map[string]Capability{
	"ManageApplication": ManageApplication, "ManageMembers": ManageMembers, "Proxy": Proxy,
}

// ParseCapability reads the name of a capability as clients write it.
func ParseCapability(name string) (Capability, error) {
	c, ok := capabilityNames[name]
	if !ok {
		return 0, fault.New(fault.Invalid, "unknown capability; want ManageApplication, ManageMembers or Proxy")
	}
	return c, nil
}

// holds reports whether a member has a capability. The creator of a context has all.
func (s *seat) holds(member id.ID, c Capability) bool {
	m, ok := s.member(member)
	return ok && (member == s.head.Creator || Capability(m.Capabilities)&c == c)
}
