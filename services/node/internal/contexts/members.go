package contexts

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// membership is what a call does to the members of its context.
type membership struct {
	members []store.Identity // afterwards
	changed []id.ID
	adopted []id.ID // new ones whose keys the node holds under the zero context, which they leave
}

// membership works out what changes of members come to. A member whose keys the node made beforehand brings them along:
// it is one of the node's own in this context then, and in no other.
func (s *seat) membership(ctx context.Context, changes []runtime.ContextChange) (membership, error) {
	m := membership{members: s.members}
	for _, c := range changes {
		i := indexOf(m.members, c.Member)
		switch {
		case c.Kind == runtime.AddMember && i < 0:
			joined, err := s.newcomer(ctx, c.Member)
			if err != nil {
				return m, err
			}
			m.members = append(slices.Clone(m.members), joined)
		case c.Kind == runtime.RemoveMember && i >= 0:
			m.members = slices.Delete(slices.Clone(m.members), i, i+1)
		default:
			continue
		}
		if !slices.Contains(m.changed, c.Member) {
			m.changed = append(m.changed, c.Member)
		}
	}
	for _, key := range m.changed {
		if i := indexOf(m.members, key); i >= 0 && m.members[i].Owned() {
			m.adopted = append(m.adopted, key)
		}
	}
	return m, nil
}

func indexOf(members []store.Identity, key id.ID) int {
	return slices.IndexFunc(members, func(m store.Identity) bool { return m.PublicKey == key })
}

// newcomer returns a new member of the context, with its keys if they are under the zero context.
func (s *seat) newcomer(ctx context.Context, key id.ID) (store.Identity, error) {
	var i store.Identity
	err := s.m.Store.View(ctx, func(tx *store.Tx) (err error) {
		i, err = tx.Identity(id.ID{}, key)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	i.Context, i.PublicKey = s.id, key
	return i, err
}

// write does it in the database. The error wraps [errStale] if another context has taken keys meanwhile.
func (m membership) write(tx *store.Tx, c id.ID) error {
	for _, key := range m.adopted {
		if _, err := tx.Identity(id.ID{}, key); err != nil {
			return fmt.Errorf("identity %s: %w", key, errors.Join(errStale, err))
		}
		if err := tx.RemoveIdentity(id.ID{}, key); err != nil {
			return err
		}
	}
	var errs []error
	for _, key := range m.changed {
		if i := indexOf(m.members, key); i >= 0 {
			errs = append(errs, tx.PutIdentity(m.members[i]))
		} else {
			errs = append(errs, tx.RemoveIdentity(c, key))
		}
	}
	return errors.Join(errs...)
}
