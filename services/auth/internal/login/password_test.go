package login_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

const (
	oldPassword = "correct horse"
	newPassword = "battery staple"
)

func changing(t *testing.T, from, to string) login.Request {
	t.Helper()
	return byPassword(t, "alice", from, map[string]string{"new_password": to})
}

func TestToken_ChangeOfPassword(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		first := f.login(t, byPassword(t, "alice", oldPassword, map[string]string{"bootstrap_secret": f.secret(t)}))
		second := f.login(t, byPassword(t, "alice", oldPassword, nil))
		bob := f.addRoot(t, "bob", nil)
		other := f.login(t, f.byWallet(t, "bob", nil))

		_, err := f.Token(t.Context(), changing(t, "wrong horse", newPassword))
		refusal{fault.Unauthenticated, "", "wrong user name or password"}.check(t, "change with a wrong password", err)
		_, err = f.Token(t.Context(), changing(t, oldPassword, "short"))
		refusal{fault.Invalid, "", "new_password must have at least 8 characters"}.check(t, "change to a short password", err)
		f.wantAccess(t, first.Access, "")

		pair := f.login(t, changing(t, oldPassword, newPassword))
		f.wantAccess(t, pair.Access, "")
		f.wantAccess(t, other.Access, "")
		for _, ended := range []login.Pair{first, second} {
			f.wantAccess(t, ended.Access, "token_revoked")
		}
		_, err = f.Token(t.Context(), byPassword(t, "alice", oldPassword, nil))
		refusal{fault.Unauthenticated, "", "wrong user name or password"}.check(t, "login by the old password", err)
		again := f.login(t, byPassword(t, "alice", newPassword, nil))
		if a, b := read(t, pair.Access), read(t, again.Access); a.Sub != b.Sub || a.Sub == bob || a.Permissions[0] != "admin" {
			t.Errorf("keys %s and %s, permissions %q: want the same key with its rights", a.Sub, b.Sub, a.Permissions)
		}
		page, err := f.Store.Audit.List(t.Context(), audit.Query{Limit: audit.MaxLimit})
		if err != nil {
			t.Fatal(err)
		}
		changes := slices.DeleteFunc(page.Events, func(e audit.Event) bool { return e.Action != audit.PasswordChanged })
		if len(changes) != 1 || changes[0].Subject != read(t, pair.Access).Sub {
			t.Errorf("the audit tells of %+v, want one change of the key's password", changes)
		}
		f.clock.advance(accessLife)
		for _, ended := range []login.Pair{first, second} {
			_, err := f.Refresh(t.Context(), ended.Access, ended.Refresh, "")
			refusal{fault.Unauthenticated, "token_revoked", ""}.check(t, "refresh of a session from before the change", err)
		}
		if _, err := f.Refresh(t.Context(), pair.Access, pair.Refresh, ""); err != nil {
			t.Errorf("refresh of the session that the change began: %v", err)
		}
	})
}

// A key that is revoked or bound elsewhere keeps its password: nobody has logged in.
func TestToken_ChangeOfPasswordNeedsALogin(t *testing.T) {
	f := inMemory(t)
	pair := f.login(t, byPassword(t, "alice", oldPassword, map[string]string{"bootstrap_secret": f.secret(t)}))
	_, before, _, err := f.account(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	f.update(t, func(tx *store.Tx) error {
		_, err := tx.RevokeKey(read(t, pair.Access).Sub, f.clock.now())
		return err
	})
	_, err = f.Token(t.Context(), changing(t, oldPassword, newPassword))
	refusal{fault.Unauthenticated, "", "the key has been revoked"}.check(t, "change with a revoked key", err)
	if _, after, _, err := f.account(t.Context(), "alice"); after != before || err != nil {
		t.Errorf("the stored hash became %s, %v", after, err)
	}
}

// Of several changes that are under way at once, one wins, and of the sessions only the winner's is left, whoever
// logged in with the old password meanwhile.
func TestToken_ParallelChangesOfPassword(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		f.login(t, byPassword(t, "alice", oldPassword, map[string]string{"bootstrap_secret": f.secret(t)}))
		var wg sync.WaitGroup
		var mu sync.Mutex
		var changed, plain []login.Pair
		for i := range 40 {
			wg.Go(func() {
				r := byPassword(t, "alice", oldPassword, nil)
				if i%2 == 0 {
					r = changing(t, oldPassword, newPassword)
				}
				pair, err := f.Token(t.Context(), r)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					refusal{fault.Unauthenticated, "", "authentication failed"}.check(t, "loser", err)
				case i%2 == 0:
					changed = append(changed, pair)
				default:
					plain = append(plain, pair)
				}
			})
		}
		wg.Wait()
		if len(changed) != 1 {
			t.Fatalf("%d changes succeeded, want 1", len(changed))
		}
		f.wantAccess(t, changed[0].Access, "")
		for _, pair := range plain {
			f.wantAccess(t, pair.Access, "token_revoked")
		}
	})
}

// All logins that find the hash outdated succeed, although one of them replaces it under the others.
func TestToken_ParallelRenewalsOfTheHash(t *testing.T) {
	f := inMemory(t)
	f.login(t, byPassword(t, "alice", oldPassword, map[string]string{"bootstrap_secret": f.secret(t)}))
	f.Providers = []provider.Provider{&password.Provider{
		Config: config.UserPassword{MemoryKiB: 16, Iterations: 2, MaxConcurrent: 8}, Accounts: f.account,
	}}
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if _, err := f.Token(t.Context(), byPassword(t, "alice", oldPassword, nil)); err != nil {
				t.Error(err)
				return
			}
			won.Add(1)
		})
	}
	wg.Wait()
	if won.Load() != 30 {
		t.Errorf("%d of 30 logins succeeded", won.Load())
	}
}
