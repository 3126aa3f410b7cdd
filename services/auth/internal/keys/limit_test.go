package keys_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// A root key cannot fill the store with client keys, and what is revoked or has expired makes room.
func TestCreateClient_TooMany(t *testing.T) {
	f := inMemory(t)
	f.MaxClients = 3
	admin, other := f.root(t, "root", "admin"), f.root(t, "other", "admin")
	mint := func(r keys.ClientRequest) (string, error) {
		pair, err := f.CreateClient(t.Context(), admin, r)
		if err != nil {
			return "", err
		}
		return read(t, pair.Access).Sub, nil
	}
	full := func(when string) {
		t.Helper()
		before, _, err := f.List(t.Context(), store.Client, keys.Page{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mint(keys.ClientRequest{}); fault.CodeOf(err) != fault.Conflict || !strings.Contains(fault.MessageOf(err), "max_clients_per_root") {
			t.Errorf("%s: %v, want a conflict that names the setting", when, err)
		}
		if after, _, err := f.List(t.Context(), store.Client, keys.Page{}); err != nil || len(after) != len(before) {
			t.Errorf("%s: the refusal left a key behind: %d, then %d", when, len(before), len(after))
		}
	}
	one, err := mint(keys.ClientRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mint(keys.ClientRequest{ExpiresIn: time.Hour}); err != nil {
		t.Fatal(err)
	}
	three, err := mint(keys.ClientRequest{})
	if err != nil {
		t.Fatal(err)
	}
	full("three keys")
	if _, err := f.CreateClient(t.Context(), other, keys.ClientRequest{}); err != nil {
		t.Errorf("another root key: %v", err)
	}
	if _, err := f.RevokeClient(t.Context(), admin, "root", one); err != nil {
		t.Fatal(err)
	}
	if _, err := mint(keys.ClientRequest{}); err != nil {
		t.Errorf("after a revocation: %v", err)
	}
	full("three again")
	f.clock.advance(time.Hour)
	if _, err := mint(keys.ClientRequest{}); err != nil {
		t.Errorf("after an expiry: %v", err)
	}
	full("and again")
	soon := f.clock.now().Add(time.Minute).Unix()
	if _, err := f.Change(t.Context(), admin, three, keys.Update{ExpiresAt: &soon}); err != nil {
		t.Fatal(err)
	}
	f.clock.advance(time.Minute)
	if _, err := mint(keys.ClientRequest{}); err != nil {
		t.Errorf("after an expiry that was set later: %v", err)
	}
}

func TestCreateClient_TooManyInParallel(t *testing.T) {
	f := inMemory(t)
	f.MaxClients = 5
	admin := f.root(t, "root", "admin")
	var made atomic.Int64
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			_, err := f.CreateClient(t.Context(), admin, keys.ClientRequest{})
			switch {
			case err == nil:
				made.Add(1)
			case fault.CodeOf(err) != fault.Conflict:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if made.Load() != 5 {
		t.Errorf("%d keys were made, want 5", made.Load())
	}
}
