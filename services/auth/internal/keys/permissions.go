package keys

import (
	"context"
	"errors"
	"html"
	"slices"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

var errNoKey = fault.New(fault.NotFound, "Key not found")

// liveKey returns a key that was not revoked.
func liveKey(tx *store.Tx, id string) (store.Key, error) {
	k, err := tx.Key(id)
	if errors.Is(err, store.ErrNotFound) || (err == nil && k.RevokedAt != 0) {
		return k, errNoKey
	}
	return k, err
}

// Permissions returns the permissions of a key, verbatim and in order.
func (s *Service) Permissions(ctx context.Context, id string) (list []string, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := liveKey(tx, id); err != nil {
			return err
		}
		list, err = tx.Permissions(id)
		return err
	})
	return list, err
}

// Change of a list of permissions: what to remove, then what to add.
type Change struct{ Add, Remove []string }

// apply returns the list after the change. Both spellings of a permission are removed, whichever is named; what is
// there already is not added again.
func (c Change) apply(held []string) []string {
	same := func(p, q string) bool {
		a, errA := permission.Parse(p)
		b, errB := permission.Parse(q)
		return p == q || (errA == nil && errB == nil && a == b)
	}
	list := slices.DeleteFunc(slices.Clone(held), func(p string) bool {
		return slices.ContainsFunc(c.Remove, func(q string) bool { return same(p, q) })
	})
	for _, p := range c.Add {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

// ChangePermissions changes what a key may do and returns the new list. Less holds for every token of the key from the
// next request on, more for those that the next refresh brings. Nobody grants what they do not hold, a client key never
// gets more than its root and than the key that minted it, and the last administrator stays one.
func (s *Service) ChangePermissions(ctx context.Context, caller *gate.Session, id string, c Change) (list []string, err error) {
	if _, err := written(c.Add); err != nil {
		return nil, err
	}
	changed := false
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		list, changed, err = s.changePermissions(tx, caller, id, c)
		return err
	})
	if err == nil && changed {
		s.Log.InfoContext(ctx, "permissions changed", "key_id", id, "by", caller.KeyID)
	}
	return list, err
}

func (s *Service) changePermissions(
	tx *store.Tx, caller *gate.Session, id string, c Change,
) (list []string, changed bool, err error) {
	by, err := s.admitted(tx, caller, adminOnly)
	if err != nil {
		return nil, false, err
	}
	return s.changePermissionsBy(tx, by, id, c)
}

// changePermissionsBy is changePermissions for a caller who was admitted.
func (s *Service) changePermissionsBy(tx *store.Tx, by standing, id string, c Change) (list []string, changed bool, err error) {
	k, err := liveKey(tx, id)
	if err != nil {
		return nil, false, err
	}
	held, err := tx.Permissions(id)
	if err != nil {
		return nil, false, err
	}
	list = c.apply(held)
	switch {
	case slices.Equal(list, held):
		return held, false, nil
	case len(list) == 0:
		return nil, false, errNoPermission
	}
	if size := permission.Validate(list); errors.Is(size, permission.ErrTooMany) || errors.Is(size, permission.ErrTooLong) {
		return nil, false, fault.Wrap(size, fault.Invalid, size.Error())
	}
	if err := by.mayGrant(c.Add); err != nil {
		return nil, false, err
	}
	if err := within(tx, k, list, c.Add); err != nil {
		return nil, false, err
	}
	if !permission.NewSet(list).Admin() {
		if err := s.keepAdmin(tx, k); errors.Is(err, ErrLastAdmin) {
			return nil, false, fault.Wrap(err, fault.Conflict, "Cannot take admin from the last active root key")
		} else if err != nil {
			return nil, false, err
		}
	}
	if err := tx.SetPermissions(id, list); err != nil {
		return nil, false, err
	}
	return list, true, tx.Audit(audit.Event{
		Time: s.Now(), Action: audit.PermissionsChanged, Actor: by.key.ID, Subject: id,
		Detail: "from " + permission.Join(held) + " to " + permission.Join(list),
	})
}

// within refuses what the keys above a client key do not hold.
func within(tx *store.Tx, k store.Key, list, added []string) error {
	if k.Type != store.Client {
		return nil
	}
	for _, above := range []struct{ id, name string }{{k.RootKeyID, "Root key"}, {k.MintedBy, "The key that minted this one"}} {
		if above.id == "" {
			continue
		}
		held, err := tx.Permissions(above.id)
		if err != nil {
			return err
		}
		set := permission.NewSet(held)
		for _, text := range added {
			if p, err := permission.Parse(text); err != nil || !set.MayGrant(p) {
				return fault.Wrap(err, fault.Invalid, above.name+" does not have permission: "+html.EscapeString(text))
			}
		}
		// Nothing above a key judges its tokens but the root: what narrows the minter must be in the key's own list.
		if above.id == k.MintedBy && !slices.Equal(permission.Effective(list, held), permission.Effective(list)) {
			return fault.New(fault.Invalid, "a key never holds more than the key that minted it")
		}
	}
	return nil
}
