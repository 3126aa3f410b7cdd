package keys_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestRevokeRoot(t *testing.T) {
	f := inMemory(t)
	admin, other := f.root(t, "admin", "admin"), f.root(t, "other", "admin")
	client := f.mint(t, other, "admin")
	f.clock.advance(time.Minute)
	at, err := f.RevokeRoot(t.Context(), admin, "other")
	if err != nil || at != start.Unix()+60 || f.key(t, "other").RevokedAt != at {
		t.Errorf("RevokeRoot = %d, %v, want the present time", at, err)
	}
	for name, s := range map[string]*gate.Session{"the key's session": other, "its client's session": client} {
		if _, err := f.CreateClient(t.Context(), s, keys.ClientRequest{}); fault.ReasonOf(err) != identity.TokenRevoked {
			t.Errorf("%s still mints: %v", name, err)
		}
	}
	for id, message := range map[string]string{"other": "Root key not found", "nobody": "Root key not found", "": "Root key not found"} {
		_, err := f.RevokeRoot(t.Context(), admin, id)
		want(t, "RevokeRoot of "+id, err, fault.NotFound, "", message)
	}
	mine := f.mint(t, admin, "blob")
	_, err = f.RevokeRoot(t.Context(), admin, mine.KeyID)
	want(t, "RevokeRoot of a client key", err, fault.Invalid, "", "Not a root key")
	if len(f.live(t, mine.KeyID)) != 1 {
		t.Error("the client key was revoked")
	}
}

func TestRevokeClient(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	f.root(t, "other", "admin")
	client := f.mint(t, admin, "blob")
	_, err := f.RevokeClient(t.Context(), admin, "other", client.KeyID)
	want(t, "under another root", err, fault.Invalid, "", "Client key does not belong to specified root key")
	_, err = f.RevokeClient(t.Context(), admin, "nobody", client.KeyID)
	want(t, "under an unknown root", err, fault.Invalid, "", "Client key does not belong to specified root key")
	for _, id := range []string{"nobody", "", "other", strings.Repeat("x", 40_000), "a:b", "\x00"} {
		_, err = f.RevokeClient(t.Context(), admin, "admin", id)
		want(t, fmt.Sprintf("unknown client %.20q", id), err, fault.NotFound, "", "Client key not found")
	}
	if at, err := f.RevokeClient(t.Context(), admin, "admin", client.KeyID); err != nil || at != start.Unix() {
		t.Errorf("RevokeClient = %d, %v", at, err)
	}
	_, err = f.RevokeClient(t.Context(), admin, "admin", client.KeyID)
	want(t, "revoked already", err, fault.NotFound, "", "Client key not found")
	if len(f.live(t, "other")) != 1 {
		t.Error("a root key was revoked as a client")
	}
}

func TestRevoke(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	deleter := f.mint(t, admin, "keys:delete")
	narrow := f.mint(t, admin, "keys:list", "context", "keys:clients:delete")

	for name, id := range map[string]string{"no id": "", "own id": narrow.KeyID} {
		s := f.mint(t, admin, "context:list")
		if id != "" {
			id = s.KeyID
		}
		if err := f.Revoke(t.Context(), s, id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(f.live(t, s.KeyID)) != 1 {
			t.Errorf("%s: the key was revoked, not the session", name)
		}
		if _, err := f.CreateClient(t.Context(), s, keys.ClientRequest{}); err == nil {
			t.Errorf("%s: the session still works", name)
		}
		if err := f.Revoke(t.Context(), s, id); err != nil {
			t.Errorf("%s, again: %v", name, err)
		}
	}
	victim := f.mint(t, admin, "blob")
	err := f.Revoke(t.Context(), narrow, victim.KeyID)
	want(t, "without keys:delete", err, fault.Forbidden, identity.PermissionDenied, "permission denied")
	err = f.Revoke(t.Context(), narrow, "nobody")
	want(t, "unknown id without keys:delete", err, fault.Forbidden, identity.PermissionDenied, "permission denied") // no oracle
	if len(f.live(t, victim.KeyID)) != 1 {
		t.Error("the victim was revoked")
	}
	err = f.Revoke(t.Context(), deleter, "nobody")
	want(t, "unknown id", err, fault.NotFound, "", "Key not found")
	for range 2 { // idempotent
		if err := f.Revoke(t.Context(), deleter, victim.KeyID); err != nil {
			t.Errorf("with keys:delete: %v", err)
		}
	}
	if len(f.live(t, victim.KeyID)) != 0 {
		t.Error("the victim lives")
	}
	// A session that was swept after its last token expired is over anyway.
	f.update(t, func(tx *store.Tx) error { return tx.Put("family", narrow.Family, nil) })
	if err := f.Revoke(t.Context(), narrow, ""); err != nil {
		t.Errorf("a swept session: %v", err)
	}
}

// Nobody could add an administrator any more.
func TestLastAdminStays(t *testing.T) {
	paths := map[string]func(f *fixture, caller *gate.Session, id string) error{
		"DELETE /admin/keys/{id}": func(f *fixture, caller *gate.Session, id string) error {
			_, err := f.RevokeRoot(t.Context(), caller, id)
			return err
		},
		"POST /admin/revoke": func(f *fixture, caller *gate.Session, id string) error { return f.Revoke(t.Context(), caller, id) },
	}
	for path, revoke := range paths {
		f := inMemory(t)
		admin := f.root(t, "admin", "admin")
		f.root(t, "no-admin", "keys", "context", "application")
		client := f.mint(t, admin, "admin")
		f.root(t, "second", "admin")
		f.update(t, func(tx *store.Tx) error { // no administrators: a dead one and one that has expired
			if err := tx.CreateKey(store.Key{ID: "lapsed", Type: store.Root, ExpiresAt: start.Unix()}, []string{"admin"}); err != nil {
				return err
			}
			return tx.CreateKey(store.Key{ID: "narrowed", Type: store.Root}, []string{"admin"})
		})
		f.update(t, func(tx *store.Tx) error { return tx.SetPermissions("narrowed", []string{"context:list"}) })
		if err := revoke(f, client, "second"); err != nil {
			t.Errorf("%s: one of two administrators: %v", path, err)
		}
		err := revoke(f, client, "admin")
		want(t, path, err, fault.Conflict, "", "Cannot delete the last active root key")
		if !errors.Is(err, keys.ErrLastAdmin) || len(f.live(t, "admin")) != 1 {
			t.Errorf("%s: %v; the last administrator must live", path, err)
		}
		if err := revoke(f, client, "no-admin"); err != nil {
			t.Errorf("%s: a root key without admin: %v", path, err)
		}
		if err := revoke(f, client, "lapsed"); err != nil {
			t.Errorf("%s: an expired root key: %v", path, err)
		}
	}
}

// Administrators who delete each other at the same time: one is left, whoever it is.
func TestLastAdminStays_ParallelDeletion(t *testing.T) {
	for range 10 {
		onEachBackend(t, func(t *testing.T, f *fixture) {
			names := []string{"a", "b", "c"}
			sessions := make([]*gate.Session, 0, len(names))
			for _, name := range names {
				sessions = append(sessions, f.root(t, name, "admin"))
			}
			var wg sync.WaitGroup
			for i, s := range sessions {
				for _, id := range names {
					wg.Go(func() {
						var err error
						if i%2 == 0 {
							_, err = f.RevokeRoot(t.Context(), s, id)
						} else if id != s.KeyID {
							err = f.Revoke(t.Context(), s, id)
						}
						if fault.CodeOf(err) == fault.Internal {
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
			if live := f.live(t, names...); len(live) != 1 {
				t.Errorf("%q are left of three administrators, want one", live)
			}
		})
	}
}
