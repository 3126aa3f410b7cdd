package contexts

import (
	"context"
	"errors"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

var (
	toRead = permission.MustParse("context:read")
	toSync = permission.MustParse("context:sync")
)

// Get returns a context, if the caller may do what action stands for in it.
func (m *Manager) Get(ctx context.Context, action permission.Permission, c id.ID) (store.Context, error) {
	var x store.Context
	err := m.Store.View(ctx, func(tx *store.Tx) (err error) {
		x, err = m.get(ctx, tx, action, c)
		return err
	})
	return x, err
}

func (m *Manager) get(ctx context.Context, tx *store.Tx, action permission.Permission, c id.ID) (store.Context, error) {
	who := caller.From(ctx)
	if !who.MayOn(action, c.String()) {
		return store.Context{}, caller.Denied()
	}
	x, err := tx.Context(c)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return x, notFound()
	case err != nil:
		return x, err
	case !who.MayUse(x.Application):
		return store.Context{}, caller.Denied()
	}
	return x, nil
}

// List returns the contexts that the caller may see and for which keep is true, in the order of their ids. A binding
// thus shortens the list, as it keeps everything else about other contexts from the caller.
func (m *Manager) List(ctx context.Context, keep func(store.Context) bool) ([]store.Context, error) {
	who := caller.From(ctx)
	var list []store.Context
	err := m.Store.View(ctx, func(tx *store.Tx) error {
		for x, err := range tx.Contexts() {
			if err != nil {
				return err
			}
			if keep(x) && who.MayIn(toRead, x.ID, x.Application) {
				list = append(list, x)
			}
		}
		return nil
	})
	return list, err
}

// Executors is a context with the identities that this node can act as there.
type Executors struct {
	store.Context
	Identities []id.ID
}

// ListExecutors is [Manager.List] with the identities that this node can act as, and that the caller may.
func (m *Manager) ListExecutors(ctx context.Context, keep func(store.Context) bool) ([]Executors, error) {
	contexts, err := m.List(ctx, keep)
	if err != nil {
		return nil, err
	}
	list := make([]Executors, len(contexts))
	err = m.Store.View(ctx, func(tx *store.Tx) error {
		for i, x := range contexts {
			members, err := tx.Identities(x.ID)
			if err != nil {
				return err
			}
			list[i] = Executors{x, visible(ctx, members, true)}
		}
		return nil
	})
	return list, err
}

// Identities returns the members of a context, or only those that this node can act as. Of those, the caller sees the
// ones that its bindings leave in reach.
func (m *Manager) Identities(ctx context.Context, action permission.Permission, c id.ID, owned bool) ([]id.ID, error) {
	var list []id.ID
	err := m.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := m.get(ctx, tx, action, c); err != nil {
			return err
		}
		members, err := tx.Identities(c)
		list = visible(ctx, members, owned)
		return err
	})
	return list, err
}

func visible(ctx context.Context, members []store.Identity, owned bool) []id.ID {
	who, list := caller.From(ctx), []id.ID{}
	for _, i := range members {
		if !owned || i.Owned() && who.MayBe(i.Context, i.PublicKey) {
			list = append(list, i.PublicKey)
		}
	}
	return list
}

// MaxEntries is how many entries [Manager.Entries] returns at most.
const MaxEntries = 1000

// Entries returns up to limit entries of a context's storage in the order of their keys, from a key on, and the key to
// go on with, nil at the end. It is for administrators: it shows what applications keep to themselves.
func (m *Manager) Entries(ctx context.Context, c id.ID, space store.Space, from []byte, limit int) (list []store.Entry, next []byte, err error) {
	if !caller.From(ctx).Permissions.Admin() {
		return nil, nil, caller.Denied()
	}
	list = []store.Entry{}
	err = m.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := m.get(ctx, tx, toRead, c); err != nil {
			return err
		}
		size := 0
		for e := range tx.Entries(space, c, from) {
			if len(list) == min(limit, MaxEntries) || size > maxEntriesBytes {
				next = e.Key
				return nil
			}
			size += len(e.Key) + len(e.Value)
			list = append(list, e)
		}
		return nil
	})
	return list, next, err
}

// maxEntriesBytes bounds one answer, up to one value.
const maxEntriesBytes = 8 << 20

// Sync brings a context up to date with its other nodes, of which there are none.
func (m *Manager) Sync(ctx context.Context, c id.ID) error {
	_, err := m.Get(ctx, toSync, c)
	return err
}

// SyncStatus is how far a context is behind other nodes.
type SyncStatus struct {
	Initialized bool
}

// SyncStatus tells whether a context has a state. A node without others is never behind.
func (m *Manager) SyncStatus(ctx context.Context, c id.ID) (SyncStatus, error) {
	x, err := m.Get(ctx, toSync, c)
	return SyncStatus{Initialized: x.StateHash != id.ID{}}, err
}

// Grant is a change of the capabilities of members of a context.
type Grant struct {
	Context id.ID
	Signer  id.ID // the identity to act as; zero for the first that may
	Members map[id.ID]Capability
	Revoke  bool
}

// Grant gives capabilities to members of a context, or takes them. All of it happens, or nothing.
func (m *Manager) Grant(ctx context.Context, g Grant) error {
	s, err := m.take(ctx, g.Context)
	if err != nil {
		return err
	}
	defer s.leave()
	if err := s.drain(ctx); err != nil {
		return err
	}
	if !s.exists {
		return notFound()
	}
	if _, err := s.actor(ctx, g.Signer, ManageMembers); err != nil {
		return err
	}
	var changed []store.Identity
	for key, c := range g.Members {
		member, ok := s.member(key)
		if !ok {
			return fault.New(fault.Invalid, "no such member of the context: "+key.String())
		}
		if g.Revoke {
			member.Capabilities &^= uint32(c)
		} else {
			member.Capabilities |= uint32(c)
		}
		changed = append(changed, member)
	}
	change := m.Store.Enqueue(func(tx *store.Tx) error {
		for _, i := range changed {
			if err := tx.PutIdentity(i); err != nil {
				return err
			}
		}
		return nil
	})
	s.loaded = false
	return commitFailed(change.Wait())
}

// NewIdentity makes a key pair that belongs to no context yet, and returns its public key.
func (m *Manager) NewIdentity(ctx context.Context) (id.ID, error) {
	if err := ctx.Err(); err != nil {
		return id.ID{}, err
	}
	i, err := m.newIdentity(id.ID{}, nil)
	if err != nil {
		return id.ID{}, err
	}
	return i.PublicKey, commitFailed(m.Store.Enqueue(func(tx *store.Tx) error { return tx.PutIdentity(i) }).Wait())
}
