package keys

import (
	"context"
	"errors"
	"strings"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// ErrLastAdmin refuses to remove the last live root key with admin rights: nobody could undo it.
var ErrLastAdmin = fault.New(fault.Conflict, "Cannot delete the last active root key")

// RevokeRoot revokes a root key, and with it its clients, and returns the time of revocation.
func (s *Service) RevokeRoot(ctx context.Context, caller *gate.Session, id string) (revokedAt int64, err error) {
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := s.admitted(tx, caller); err != nil {
			return err
		}
		k, err := tx.Key(id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return fault.New(fault.NotFound, "Root key not found")
		case err != nil:
			return err
		case k.Type != store.Root:
			return fault.New(fault.Invalid, "Not a root key")
		case k.RevokedAt != 0:
			return fault.New(fault.NotFound, "Root key not found")
		}
		revokedAt, err = s.revoke(tx, caller, k)
		return err
	})
	s.logRevoked(ctx, caller, id, err)
	return revokedAt, err
}

// RevokeClient revokes a client key of the given root key and returns the time of revocation.
func (s *Service) RevokeClient(ctx context.Context, caller *gate.Session, rootID, id string) (revokedAt int64, err error) {
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := s.admitted(tx, caller); err != nil {
			return err
		}
		k, err := tx.Key(id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return fault.New(fault.NotFound, "Client key not found")
		case err != nil:
			return err
		case k.Type != store.Client || k.RevokedAt != 0:
			return fault.New(fault.NotFound, "Client key not found")
		case k.RootKeyID != rootID:
			return fault.New(fault.Invalid, "Client key does not belong to specified root key")
		}
		revokedAt, err = s.revoke(tx, caller, k)
		return err
	})
	s.logRevoked(ctx, caller, id, err)
	return revokedAt, err
}

// Revoke ends the caller's own session when id is empty or the caller's key, and revokes the key id otherwise,
// which needs the permission keys:delete.
func (s *Service) Revoke(ctx context.Context, caller *gate.Session, id string) error {
	if id == "" || id == caller.KeyID {
		err := s.Store.Update(ctx, func(tx *store.Tx) error {
			if err := tx.RevokeFamily(caller.Family, s.Now()); err != nil {
				return err
			}
			return tx.Audit(audit.Event{Time: s.Now(), Action: audit.SessionRevoked, Actor: caller.KeyID, Subject: caller.Family})
		})
		if errors.Is(err, store.ErrNotFound) {
			return nil // swept after its last token expired
		}
		return err
	}
	if !caller.Rights.Allows(deleteKeys) {
		return fault.New(fault.Forbidden, "permission denied").Because(identity.PermissionDenied)
	}
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := s.admitted(tx, caller); err != nil {
			return err
		}
		k, err := tx.Key(id)
		if errors.Is(err, store.ErrNotFound) {
			return fault.New(fault.NotFound, "Key not found")
		}
		if err != nil {
			return err
		}
		_, err = s.revoke(tx, caller, k)
		return err
	})
	s.logRevoked(ctx, caller, id, err)
	return err
}

var deleteKeys = permission.MustParse("keys:delete")

// revoke is the one way to revoke a key: it holds the last-administrator guard.
func (s *Service) revoke(tx *store.Tx, caller *gate.Session, k store.Key) (int64, error) {
	if k.Type == store.Root && k.Live(s.Now()) {
		last, err := s.lastAdmin(tx, k.ID)
		if err != nil {
			return 0, err
		}
		if last {
			return 0, ErrLastAdmin
		}
	}
	at, err := tx.RevokeKey(k.ID, s.Now())
	if err != nil || k.RevokedAt != 0 {
		return at, err
	}
	return at, tx.Audit(audit.Event{
		Time: s.Now(), Action: audit.KeyRevoked, Actor: caller.KeyID, Subject: k.ID, Detail: strings.ToLower(string(k.Type)) + " key",
	})
}

// lastAdmin reports whether id holds admin rights and no other live root key does.
func (s *Service) lastAdmin(tx *store.Tx, id string) (bool, error) {
	own, err := tx.Permissions(id)
	if err != nil {
		return false, err
	}
	if !permission.NewSet(own).Admin() {
		return false, nil
	}
	now := s.Now()
	for k, err := range tx.Keys(store.Root) {
		if err != nil {
			return false, err
		}
		if k.ID == id || !k.Live(now) {
			continue
		}
		held, err := tx.Permissions(k.ID)
		if err != nil {
			return false, err
		}
		if permission.NewSet(held).Admin() {
			return false, nil
		}
	}
	return true, nil
}

func (s *Service) logRevoked(ctx context.Context, caller *gate.Session, id string, err error) {
	if err == nil {
		s.Log.InfoContext(ctx, "key revoked", "key_id", id, "by", caller.KeyID)
	}
}
