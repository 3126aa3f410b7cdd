package keys

import (
	"context"
	"errors"
	"strings"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// RevokeRoot revokes a root key, and with it its clients, and returns the time of revocation.
func (s *Service) RevokeRoot(ctx context.Context, caller *gate.Session, id string) (revokedAt int64, err error) {
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := s.admitted(tx, caller, deleteKeys); err != nil {
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
		if _, err := s.admitted(tx, caller, deleteClients); err != nil {
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
		return errDenied
	}
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := s.admitted(tx, caller, deleteKeys); err != nil {
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

// revoke is the one way to revoke a key.
func (s *Service) revoke(tx *store.Tx, caller *gate.Session, k store.Key) (int64, error) {
	if err := s.keepAdmin(tx, k); err != nil {
		return 0, err
	}
	at, err := tx.RevokeKey(k.ID, s.Now())
	if err != nil || k.RevokedAt != 0 {
		return at, err
	}
	return at, tx.Audit(audit.Event{
		Time: s.Now(), Action: audit.KeyRevoked, Actor: caller.KeyID, Subject: k.ID, Detail: strings.ToLower(string(k.Type)) + " key",
	})
}

func (s *Service) logRevoked(ctx context.Context, caller *gate.Session, id string, err error) {
	if err == nil {
		s.Log.InfoContext(ctx, "key revoked", "key_id", id, "by", caller.KeyID)
	}
}
