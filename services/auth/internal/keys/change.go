package keys

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Update of a key; nil leaves things as they are.
type Update struct {
	Name      *string
	ExpiresAt *int64 // Unix seconds, 0 = never
}

// Change renames a key or sets its expiry and returns the key as it is then. An earlier expiry holds from the next
// request on. What the key's tokens minted does not outlive it, nor does the key what minted it; the life of a machine
// token can only be shortened, and one administrator stays without expiry.
func (s *Service) Change(ctx context.Context, caller *gate.Session, id string, u Update) (item Listed, err error) {
	switch {
	case u.Name != nil && len(*u.Name) > MaxName:
		return item, errLongName
	case u.ExpiresAt != nil && *u.ExpiresAt != 0 && *u.ExpiresAt <= s.Now().Unix():
		return item, fault.New(fault.Invalid, "expires_at must be in the future; delete the key to end it now")
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := s.admitted(tx, caller, adminOnly); err != nil {
			return err
		}
		k, err := liveKey(tx, id)
		if err != nil {
			return err
		}
		if k, err = s.change(tx, caller, k, u); err != nil {
			return err
		}
		item, err = s.listed(tx, k, map[string]bool{})
		return err
	})
	return item, err
}

func (s *Service) change(tx *store.Tx, caller *gate.Session, k store.Key, u Update) (store.Key, error) {
	before := k
	if u.Name != nil {
		k.Name = *u.Name
	}
	if u.ExpiresAt != nil {
		k.ExpiresAt = *u.ExpiresAt
	}
	if k == before {
		return k, nil
	}
	if err := s.mayExpire(tx, before, k.ExpiresAt); err != nil {
		return k, err
	}
	detail := "name " + strconv.Quote(k.Name)
	if k.ExpiresAt != 0 {
		detail += "; expires " + time.Unix(k.ExpiresAt, 0).UTC().Format(time.RFC3339)
	}
	return k, errors.Join(tx.ChangeKey(k), tx.Audit(audit.Event{
		Time: s.Now(), Action: audit.KeyChanged, Actor: caller.KeyID, Subject: k.ID, Detail: detail,
	}))
}

// mayExpire checks a new expiry of k.
func (s *Service) mayExpire(tx *store.Tx, k store.Key, at int64) error {
	later := at == 0 || (k.ExpiresAt != 0 && at > k.ExpiresAt)
	switch {
	case at == k.ExpiresAt:
		return nil
	case !later:
		if err := s.keepAdmin(tx, k); errors.Is(err, ErrLastAdmin) {
			return fault.Wrap(err, fault.Conflict, "The last active root key cannot expire")
		} else if err != nil {
			return err
		}
	case k.Machine:
		return fault.New(fault.Invalid, "the life of a machine token cannot be extended: make a new one")
	case k.MintedBy != "":
		minter, err := tx.Key(k.MintedBy)
		if err != nil {
			return err
		}
		if end := minter.ExpiresAt; end != 0 && (at == 0 || at > end) {
			return fault.New(fault.Invalid, "a key cannot outlive the key that minted it")
		}
	}
	return nil
}
