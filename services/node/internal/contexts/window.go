package contexts

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// maxWindow bounds the blobs that one call makes, in bytes together.
const maxWindow = 1 << 30

var errWindow = fmt.Errorf("a call may make blobs of %d bytes in all", maxWindow)

// window is one call's view of the node's blobs. What the call makes is kept aside until the call is accepted, so that
// a call that fails leaves nothing, not even after a crash.
type window struct {
	blobs *blob.Store
	made  []*blob.Staged
	size  int64
}

// Open implements [runtime.Blobs].
func (w *window) Open(ctx context.Context, want id.ID) (io.ReadCloser, bool, error) {
	for _, b := range w.made {
		if b.Info.ID == want {
			return b.Open(), true, nil
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
func (w *window) Create(ctx context.Context) (runtime.BlobWriter, error) {
	r, into := io.Pipe()
	b := &madeBlob{window: w, into: into, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.staged, b.err = w.blobs.Stage(ctx, r, nil)
		_ = r.CloseWithError(errors.Join(b.err, io.ErrClosedPipe)) // whoever writes on learns why
	}()
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

// keep makes blobs of what was finished.
func (w *window) keep(ctx context.Context) error {
	if len(w.made) == 0 {
		return nil
	}
	return w.blobs.Commit(ctx, nil, w.made...)
}

// close removes what is kept aside. It may be called again.
func (w *window) close() {
	for _, b := range w.made {
		b.Discard(context.Background()) // only for its log lines
	}
	w.made = nil
}

// madeBlob is a blob that a call writes. A goroutine takes what is written, until Finish or Discard.
type madeBlob struct {
	window *window
	into   *io.PipeWriter
	done   chan struct{}
	staged *blob.Staged
	err    error
}

// Write implements [io.Writer].
func (b *madeBlob) Write(p []byte) (int, error) {
	if b.window.size += int64(len(p)); b.window.size > maxWindow {
		return 0, errWindow
	}
	return b.into.Write(p)
}

// Finish implements [runtime.BlobWriter].
func (b *madeBlob) Finish(context.Context) (id.ID, error) {
	_ = b.into.Close() // never fails
	<-b.done
	if b.err != nil {
		return id.ID{}, b.err
	}
	b.window.made = append(b.window.made, b.staged)
	return b.staged.Info.ID, nil
}

// Discard implements [runtime.BlobWriter].
func (b *madeBlob) Discard() {
	_ = b.into.CloseWithError(errDiscarded) // never fails
	<-b.done
}

var errDiscarded = errors.New("the application gave the blob up")

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
	if i := indexOf(s.members, key); i >= 0 {
		return s.members[i], true
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
