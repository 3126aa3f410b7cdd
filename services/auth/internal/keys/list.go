package keys

import (
	"context"
	"errors"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Page selects a part of a list: at most Limit entries (0 for all), those after the entry that Cursor stands for ("" for
// the first). Entries that come or go meanwhile neither repeat nor hide others.
type Page struct {
	Limit  int
	Cursor string
}

var errCursor = fault.New(fault.Invalid, "cursor must be the next_cursor of an earlier page")

// cut returns the page's entries of a list that starts at its cursor and may hold one more than its limit, and
// whether more follow.
func cut[T any](p Page, list []T) (page []T, more bool) {
	if p.Limit > 0 && len(list) > p.Limit {
		return list[:p.Limit], true
	}
	return list, false
}

// State says whether a key can be used and, if not, why: first what is wrong with the key itself.
type State string

// The states of a key.
const (
	Live        State = "live"
	Revoked     State = "revoked"
	Expired     State = "expired"
	RootRevoked State = "root_revoked" // a client key's root
	RootExpired State = "root_expired"
)

// stateOf is the state of a key by itself.
func stateOf(k store.Key, now time.Time) State {
	switch {
	case k.RevokedAt != 0:
		return Revoked
	case !k.Live(now):
		return Expired
	}
	return Live
}

// Listed is a key with what is known of it.
type Listed struct {
	store.Key
	Permissions []string
	State       State
	LastUsed    int64 // Unix seconds, up to a minute behind; 0 = never
}

// List returns keys of a type, revoked ones included, in the order of their ids, and the cursor of the next page.
func (s *Service) List(ctx context.Context, t store.KeyType, p Page) (list []Listed, next string, err error) {
	if p.Cursor != "" && !identity.ValidKeyID(p.Cursor) {
		return nil, "", errCursor
	}
	more := false
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		list = nil
		roots := map[string]State{} // seen
		for k, err := range tx.KeysAfter(t, p.Cursor) {
			if err != nil {
				return err
			}
			item, err := s.listed(tx, k, roots)
			if err != nil {
				return err
			}
			if list, more = cut(p, append(list, item)); more {
				break
			}
		}
		return nil
	})
	if err == nil && more {
		next = list[len(list)-1].ID
	}
	return list, next, err
}

// listed completes a key. roots remembers the root keys of a list.
func (s *Service) listed(tx *store.Tx, k store.Key, roots map[string]State) (item Listed, err error) {
	item = Listed{Key: k, State: stateOf(k, s.Now())}
	if k.Type == store.Client && item.State == Live {
		root, known := roots[k.RootKeyID]
		if !known {
			if root, err = s.rootState(tx, k.RootKeyID); err != nil {
				return item, err
			}
			roots[k.RootKeyID] = root
		}
		item.State = root
	}
	if item.LastUsed, err = tx.KeyUsed(k.ID); err != nil {
		return item, err
	}
	item.Permissions, err = tx.Permissions(k.ID)
	return item, err
}

// rootState is what the state of a root key makes of the client keys under it.
func (s *Service) rootState(tx *store.Tx, id string) (State, error) {
	root, err := tx.Key(id)
	if errors.Is(err, store.ErrNotFound) {
		return RootRevoked, nil
	}
	switch stateOf(root, s.Now()) {
	case Revoked:
		return RootRevoked, err
	case Expired:
		return RootExpired, err
	}
	return Live, err
}
