package keys

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Update of a key; nil leaves things as they are.
type Update struct {
	Name      *string
	ExpiresAt *int64  // Unix seconds, 0 = never
	Password  *string // of the key's account; every session of the key ends
}

// Change renames a key, sets its expiry or the password of its account, and returns the key as it is then. An earlier
// expiry holds from the next request on. What the key's tokens minted does not outlive it, nor does the key what minted
// it; the life of a machine token can only be shortened, and one administrator stays without expiry. With a new password
// all sessions of the key have ended, the caller's too if it is theirs; the client keys that it made live on.
func (s *Service) Change(ctx context.Context, caller *gate.Session, id string, u Update) (item Listed, err error) {
	switch {
	case u.Name != nil && len(*u.Name) > MaxName:
		return item, errLongName
	case u.ExpiresAt != nil && *u.ExpiresAt != 0 && *u.ExpiresAt <= s.Now().Unix():
		return item, fault.New(fault.Invalid, "expires_at must be in the future; delete the key to end it now")
	}
	var account store.Account
	if u.Password != nil {
		if account, err = s.newPassword(ctx, caller, id, *u.Password); err != nil {
			return item, err
		}
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
		if u.Password != nil {
			if err := s.setPassword(tx, caller, k, account); err != nil {
				return err
			}
		}
		item, err = s.listed(tx, k, map[string]State{})
		return err
	})
	if err == nil && u.Password != nil {
		s.Log.InfoContext(ctx, "a password was set; the user's sessions are ended", "key_id", id, "by", caller.KeyID)
	}
	return item, err
}

var errNoPassword = fault.New(fault.Invalid, "this key has no password")

// accountOf returns the password account of a key.
func accountOf(tx *store.Tx, k store.Key) (store.Account, error) {
	account, err := tx.Account(k.AuthMethod, k.PublicKey)
	if errors.Is(err, store.ErrNotFound) || (err == nil && account.Key != k.ID) {
		return account, errNoPassword
	}
	return account, err
}

// newPassword returns the account of a key with another password. The hash takes its time, so it is made before the
// transaction that stores it.
func (s *Service) newPassword(ctx context.Context, caller *gate.Session, id, password string) (account store.Account, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := s.admitted(tx, caller, adminOnly); err != nil {
			return err
		}
		k, err := liveKey(tx, id)
		if err != nil {
			return err
		}
		account, err = accountOf(tx, k)
		return err
	})
	if err != nil {
		return account, err
	}
	if s.NewAccount == nil {
		return account, fault.New(fault.Invalid, "passwords are switched off (providers.user_password)")
	}
	proof, err := s.NewAccount(ctx, account.Name, password)
	account.PHC = proof.PasswordHash
	return account, login.Classify(err)
}

func (s *Service) setPassword(tx *store.Tx, caller *gate.Session, k store.Key, account store.Account) error {
	if _, err := accountOf(tx, k); err != nil {
		return err
	}
	if err := tx.PutAccount(k.AuthMethod, account); err != nil {
		return err
	}
	ended, err := tx.RevokeFamilies(k.ID, s.Now())
	if err != nil {
		return err
	}
	return tx.Audit(audit.Event{
		Time: s.Now(), Action: audit.PasswordChanged, Actor: caller.KeyID, Subject: k.ID,
		Detail: fmt.Sprintf("set by an administrator; %d sessions ended", ended),
	})
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
