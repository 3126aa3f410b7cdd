package login_test

import (
	"slices"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// recoverable is a service with an administrator of old and a recovery under way.
func recoverable(t *testing.T) (f *fixture, secret string) {
	t.Helper()
	f = inMemory(t)
	f.addRoot(t, "old-admin", nil)
	f.update(t, func(tx *store.Tx) error { return f.Bootstrap.Close(tx) })
	shown, err := f.Bootstrap.Recover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f, shown.Secret
}

func (f *fixture) permissions(t *testing.T, keyID string) (list []string) {
	t.Helper()
	f.view(t, func(tx *store.Tx) (err error) {
		list, err = tx.Permissions(keyID)
		return err
	})
	return list
}

func TestToken_RecoveryByANewIdentity(t *testing.T) {
	f, secret := recoverable(t)
	pair := f.login(t, f.byWallet(t, "new-admin", map[string]string{"bootstrap_secret": secret}))
	if got := read(t, pair.Access); got.Sub != "wallet-new-admin" || !slices.Equal(got.Permissions, []string{"admin"}) {
		t.Errorf("token %+v", got)
	}
	_, err := f.Token(t.Context(), f.byWallet(t, "third", map[string]string{"bootstrap_secret": secret}))
	if fault.CodeOf(err) != fault.Unauthenticated {
		t.Errorf("the secret used again: %v", err)
	}
	f.login(t, f.byWallet(t, "old-admin", nil))
}

func TestToken_RecoveryByAKnownIdentity(t *testing.T) {
	f, secret := recoverable(t)
	id := f.addRoot(t, "bob", func(g *login.RootGrant) { g.Permissions = []string{"context:list"} })
	before := f.login(t, f.byWallet(t, "bob", nil))
	f.wantAccess(t, before.Access, "")
	pair := f.login(t, f.byWallet(t, "bob", map[string]string{"bootstrap_secret": secret}))
	if got := read(t, pair.Access); got.Sub != id || !slices.Equal(got.Permissions, []string{"admin"}) {
		t.Errorf("token %+v", got)
	}
	if got := f.permissions(t, id); !slices.Equal(got, []string{"admin"}) {
		t.Errorf("permissions %q", got)
	}
	// A token from before is not widened.
	if got := read(t, before.Access).Permissions; !slices.Equal(got, []string{"context:list"}) {
		t.Errorf("the token of old has %q", got)
	}
}

func TestToken_RecoveryDoesNotDisturbOthers(t *testing.T) {
	f, _ := recoverable(t)
	id := f.addRoot(t, "bob", func(g *login.RootGrant) { g.Permissions = []string{"context:list"} })
	f.login(t, f.byWallet(t, "bob", nil))
	f.login(t, f.byWallet(t, "old-admin", map[string]string{"bootstrap_secret": ""}))
	if got := f.permissions(t, id); !slices.Equal(got, []string{"context:list"}) {
		t.Errorf("permissions %q after a login without the secret", got)
	}
	for what, r := range map[string]login.Request{
		"an unknown identity without the secret":   f.byWallet(t, "stranger", nil),
		"an unknown identity with a wrong secret":  f.byWallet(t, "stranger", map[string]string{"bootstrap_secret": "0000-0000-0000-0000-0000-0000"}),
		"a known identity with a wrong secret":     f.byWallet(t, "bob", map[string]string{"bootstrap_secret": "0000-0000-0000-0000-0000-0000"}),
		"an unknown password without the secret":   byPassword(t, "stranger", "correct horse", nil),
		"a known identity with a wrong signature":  f.byWallet(t, "bob", map[string]string{"proof": "no"}),
		"another identity's key is not taken over": f.byWallet(t, "", nil),
	} {
		if _, err := f.Token(t.Context(), r); fault.CodeOf(err) != fault.Unauthenticated && fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := f.permissions(t, id); !slices.Equal(got, []string{"context:list"}) {
		t.Errorf("permissions %q after the attacks", got)
	}
}

// TestToken_RecoveryRevivesNoRevokedKey: a revoked key stays revoked, and the secret is not used up.
func TestToken_RecoveryRevivesNoRevokedKey(t *testing.T) {
	f, secret := recoverable(t)
	id := f.addRoot(t, "gone", nil)
	f.update(t, func(tx *store.Tx) error {
		_, err := tx.RevokeKey(id, start)
		return err
	})
	if _, err := f.Token(t.Context(), f.byWallet(t, "gone", map[string]string{"bootstrap_secret": secret})); fault.CodeOf(err) != fault.Unauthenticated {
		t.Errorf("a revoked key: %v", err)
	}
	if got := read(t, f.login(t, f.byWallet(t, "new", map[string]string{"bootstrap_secret": secret})).Access).Permissions; !slices.Equal(got, []string{"admin"}) {
		t.Errorf("the next login has %q", got)
	}
}
