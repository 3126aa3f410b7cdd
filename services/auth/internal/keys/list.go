package keys

import (
	"context"
	"errors"

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

// Listed is a key with what is known of it.
type Listed struct {
	store.Key
	Permissions []string
	Valid       bool  // live, and its root key too
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
		live := map[string]bool{} // root keys seen
		for k, err := range tx.KeysAfter(t, p.Cursor) {
			if err != nil {
				return err
			}
			item, err := s.listed(tx, k, live)
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

// listed completes a key. live remembers the root keys of a list.
func (s *Service) listed(tx *store.Tx, k store.Key, live map[string]bool) (item Listed, err error) {
	now := s.Now()
	item = Listed{Key: k, Valid: k.Live(now)}
	if k.Type == store.Client {
		rootLive, known := live[k.RootKeyID]
		if !known {
			root, err := tx.Key(k.RootKeyID)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return item, err
			}
			rootLive = err == nil && root.Live(now)
			live[k.RootKeyID] = rootLive
		}
		item.Valid = item.Valid && rootLive
	}
	if item.LastUsed, err = tx.KeyUsed(k.ID); err != nil {
		return item, err
	}
	item.Permissions, err = tx.Permissions(k.ID)
	return item, err
}
