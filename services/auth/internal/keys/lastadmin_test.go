package keys_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// removals are all the ways to take admin rights away from a root key, at once or at a time.
var removals = map[string]func(t *testing.T, f *fixture, caller *gate.Session, id string) error{
	"DELETE /admin/keys/{id}": func(t *testing.T, f *fixture, caller *gate.Session, id string) error {
		_, err := f.RevokeRoot(t.Context(), caller, id)
		return err
	},
	"POST /admin/revoke": func(t *testing.T, f *fixture, caller *gate.Session, id string) error {
		return f.Revoke(t.Context(), caller, id)
	},
	"PUT /admin/keys/{id}/permissions": func(t *testing.T, f *fixture, caller *gate.Session, id string) error {
		_, err := f.ChangePermissions(t.Context(), caller, id, keys.Change{Add: []string{"context:list"}, Remove: []string{"admin"}})
		return err
	},
	"PATCH /admin/keys/{id}": func(t *testing.T, f *fixture, caller *gate.Session, id string) error {
		at := f.clock.now().Add(time.Hour).Unix()
		_, err := f.Change(t.Context(), caller, id, keys.Update{ExpiresAt: &at})
		return err
	},
}

// lasting reports whether a key is an administrator without end.
func (f *fixture) lasting(t *testing.T, id string) bool {
	t.Helper()
	k := f.key(t, id)
	return k.RevokedAt == 0 && k.ExpiresAt == 0 && slices.Contains(f.permissions(t, id), "admin")
}

func TestLastAdminStays_EveryPath(t *testing.T) {
	for path, remove := range removals {
		f := inMemory(t)
		admin := f.root(t, "admin", "admin")
		client := f.mint(t, admin, "admin")
		f.root(t, "no-admin", "keys", "context")
		f.root(t, "second", "admin")
		f.update(t, func(tx *store.Tx) error {
			return errors.Join(
				tx.CreateKey(store.Key{ID: "ends-soon", Type: store.Root, ExpiresAt: start.Unix() + 100}, []string{"admin"}),
				tx.CreateKey(store.Key{ID: "a-client", Type: store.Client, RootKeyID: "admin"}, []string{"admin"}),
				tx.CreateKey(store.Key{ID: "bound", Type: store.Root}, []string{"context[c1]", "context"}))
		})
		if err := remove(t, f, client, "second"); err != nil {
			t.Errorf("%s: one of two administrators: %v", path, err)
		}
		err := remove(t, f, client, "admin")
		if fault.CodeOf(err) != fault.Conflict || !errors.Is(err, keys.ErrLastAdmin) || !f.lasting(t, "admin") {
			t.Errorf("%s: %v; the last administrator must stay one", path, err)
		}
		if name := path; name != "PATCH /admin/keys/{id}" { // which would extend it
			if err := remove(t, f, client, "ends-soon"); err != nil {
				t.Errorf("%s: an administrator that expires: %v", path, err)
			}
		}
		f.root(t, "third", "admin")
		if err := remove(t, f, client, "admin"); err != nil {
			t.Errorf("%s: with another one: %v", path, err)
		}
	}
}

// Without any lasting administrator the last one that is left stays for as long as it lives.
func TestLastAdminStays_AllExpire(t *testing.T) {
	for path, remove := range removals {
		f := inMemory(t)
		caller := f.mint(t, f.root(t, "caller", "admin"), "admin")
		f.update(t, func(tx *store.Tx) error {
			k, err := tx.Key("caller")
			k.ExpiresAt = start.Unix() + 7200
			return errors.Join(err, tx.ChangeKey(k), tx.CreateKey(store.Key{ID: "other", Type: store.Root, ExpiresAt: start.Unix() + 7200}, []string{"admin"}))
		})
		if err := remove(t, f, caller, "other"); err != nil {
			t.Errorf("%s: one of two that expire: %v", path, err)
		}
		if path == "PATCH /admin/keys/{id}" {
			continue // the other one is an administrator until then
		}
		if err := remove(t, f, caller, "caller"); !errors.Is(err, keys.ErrLastAdmin) {
			t.Errorf("%s: the only one: %v, want ErrLastAdmin", path, err)
		}
	}
}

// Two administrators who take each other's rights by different paths at the same time: one is left.
func TestLastAdminStays_ParallelRemoval(t *testing.T) {
	for range 5 {
		for first, a := range removals {
			for second, b := range removals {
				f := inMemory(t)
				one, two := f.root(t, "one", "admin"), f.root(t, "two", "admin")
				var wg sync.WaitGroup
				var errs [2]error
				wg.Go(func() { errs[0] = a(t, f, one, "two") })
				wg.Go(func() { errs[1] = b(t, f, two, "one") })
				wg.Wait()
				left := 0
				for _, id := range []string{"one", "two"} {
					if f.key(t, id).RevokedAt == 0 && f.lasting(t, id) {
						left++
					}
				}
				if left != 1 {
					t.Errorf("%s against %s: %d administrators are left, want 1 (%v, %v)", first, second, left, errs[0], errs[1])
				}
			}
		}
	}
}
