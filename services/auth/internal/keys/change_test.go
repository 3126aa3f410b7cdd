package keys_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func attempt(account string) provider.Attempt { return provider.Attempt{PublicKey: account} }

func at(seconds int64) keys.Update { return keys.Update{ExpiresAt: &seconds} }

func TestChange(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		admin := f.root(t, "admin", "admin")
		client := f.mint(t, admin, "context:list")
		name := "the build server"
		item, err := f.Change(t.Context(), admin, client.KeyID, keys.Update{Name: &name})
		if err != nil || item.Name != name || item.ExpiresAt != 0 || item.State != keys.Live || !slices.Equal(item.Permissions, []string{"context:list"}) {
			t.Errorf("Change = %+v, %v", item, err)
		}
		end := start.Unix() + 600
		if item, err = f.Change(t.Context(), admin, client.KeyID, at(end)); err != nil || item.ExpiresAt != end || item.Name != name {
			t.Errorf("Change = %+v, %v", item, err)
		}
		if got := f.key(t, client.KeyID); got.Name != name || got.ExpiresAt != end {
			t.Errorf("stored: %+v", got)
		}
		if item, err = f.Change(t.Context(), admin, client.KeyID, at(end+600)); err != nil || item.ExpiresAt != end+600 {
			t.Errorf("later: %+v, %v", item, err)
		}
		if item, err = f.Change(t.Context(), admin, client.KeyID, at(0)); err != nil || item.ExpiresAt != 0 {
			t.Errorf("never: %+v, %v", item, err)
		}
		if _, err = f.Change(t.Context(), admin, client.KeyID, keys.Update{}); err != nil {
			t.Errorf("nothing: %v", err)
		}
	})
}

func TestChange_Refusals(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	f.root(t, "spare", "admin")
	client := f.mint(t, admin, "context:list")
	minter := f.mint(t, admin, "admin")
	minted := f.mint(t, minter, "context:list")
	pair, err := f.CreateClient(t.Context(), admin, keys.ClientRequest{ExpiresIn: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	machine := read(t, pair.Access).Sub
	gone := f.mint(t, admin, "blob")
	if err := f.Revoke(t.Context(), admin, gone.KeyID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Change(t.Context(), admin, minter.KeyID, at(start.Unix()+1000)); err != nil {
		t.Fatal(err)
	}
	if got := f.key(t, minted.KeyID).ExpiresAt; got != start.Unix()+1000 {
		t.Fatalf("the minted key expires at %d", got)
	}
	long := strings.Repeat("n", keys.MaxName+1)
	for name, tt := range map[string]struct {
		id     string
		update keys.Update
		code   fault.Code
		text   string
	}{
		"unknown":                  {"nobody", at(0), fault.NotFound, "Key not found"},
		"revoked":                  {gone.KeyID, at(0), fault.NotFound, "Key not found"},
		"long name":                {client.KeyID, keys.Update{Name: &long}, fault.Invalid, "name"},
		"now":                      {client.KeyID, at(start.Unix()), fault.Invalid, "in the future"},
		"before the epoch":         {client.KeyID, at(-1), fault.Invalid, "in the future"},
		"a machine token, later":   {machine, at(start.Unix() + 7200), fault.Invalid, "machine token"},
		"a machine token, never":   {machine, at(0), fault.Invalid, "machine token"},
		"later than its minter":    {minted.KeyID, at(start.Unix() + 1001), fault.Invalid, "outlive"},
		"never, unlike its minter": {minted.KeyID, at(0), fault.Invalid, "outlive"},
	} {
		_, err := f.Change(t.Context(), admin, tt.id, tt.update)
		want(t, name, err, tt.code, "", tt.text)
	}
	_, err = f.Change(t.Context(), client, client.KeyID, at(0))
	want(t, "without admin", err, fault.Forbidden, "permission_denied", "permission denied")
	if _, err := f.Change(t.Context(), admin, machine, at(start.Unix()+60)); err != nil {
		t.Errorf("a machine token, earlier: %v", err)
	}
}

// An expiry that is set holds from the next request on.
func TestChange_ExpiryHoldsForCachedSessions(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	pair, err := f.CreateClient(t.Context(), admin, keys.ClientRequest{Permissions: []string{"blob"}})
	if err != nil {
		t.Fatal(err)
	}
	id := f.session(t, pair).KeyID
	if _, err := f.Change(t.Context(), admin, id, at(start.Unix()+60)); err != nil {
		t.Fatal(err)
	}
	if got := f.session(t, pair).Expires; got != start.Unix()+60 {
		t.Errorf("the session ends at %d, want %d", got, start.Unix()+60)
	}
	f.clock.advance(time.Minute)
	if _, err := f.sessions.Authenticate(t.Context(), pair.Access); fault.ReasonOf(err) != "token_expired" {
		t.Errorf("after the expiry: %v", err)
	}
}

// signing is a provider whose owners sign: data names the account and, if it has one, the signature.
type signing struct{ enroller }

func (signing) Authenticate(_ context.Context, a provider.Attempt) (provider.Proof, error) {
	var data struct{ Account, Signature, Challenge, Method string }
	if err := json.Unmarshal(a.Data, &data); err != nil {
		return provider.Proof{}, fmt.Errorf("%w: %w", provider.ErrMalformed, err)
	}
	if data.Signature != "good" {
		return provider.Proof{}, fmt.Errorf("%w: bad signature", provider.ErrRejected)
	}
	return provider.Proof{
		KeyID: "wallet-" + data.Account, PublicKey: data.Account, Account: data.Account,
		Challenge: &challenge.Claims{ID: data.Challenge, Expires: start.Add(time.Minute), Method: data.Method},
	}, nil
}

// A proof that comes along is checked, and used up with the key: whoever sends a signature wants it verified.
func TestCreateRoot_ProofOfPossession(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	create := func(data string) (bool, error) {
		return f.CreateRoot(t.Context(), admin, keys.RootRequest{
			Provider: signing{}, Attempt: provider.Attempt{PublicKey: "named", Data: json.RawMessage(data)},
		})
	}
	for name, data := range map[string]string{
		"bad signature":     `{"account":"bob","signature":"bad","challenge":"c0"}`,
		"empty signature":   `{"account":"bob","signature":"","challenge":"c0"}`,
		"another spelling":  `{"account":"bob","SIGNATURE":"bad","challenge":"c0"}`,
		"of the wrong type": `{"account":"bob","signature":7}`,
		"no object":         `["bob"]`,
	} {
		created, err := create(data)
		want(t, name, err, fault.Invalid, "", "")
		if created || f.count(t, "root") != 1 {
			t.Errorf("%s: a key was created", name)
		}
	}
	if created, err := create(`{"account":"bob","signature":"good","challenge":"c1"}`); !created || err != nil {
		t.Fatalf("with a proof: %t, %v", created, err)
	}
	if f.key(t, "wallet-bob").PublicKey != "bob" {
		t.Error("the key is not that of who signed")
	}
	_, err := create(`{"account":"carol","signature":"good","challenge":"c1"}`)
	want(t, "a challenge twice", err, fault.Invalid, "", "used already")
	_, err = create(`{"account":"carol","signature":"good","challenge":"c2","method":"eth_wallet"}`)
	want(t, "a challenge of another method", err, fault.Invalid, "", "issued for another auth_method")
	if created, err := create(`{"account":"carol","signature":"good","challenge":"c2","method":"test_wallet"}`); !created || err != nil {
		t.Errorf("with a challenge of the method: %t, %v", created, err)
	}
	if created, err := create(`{"account":"x","signature":null}`); !created || err != nil || f.key(t, "wallet-named").ID == "" {
		t.Errorf("by account: %t, %v", created, err)
	}
}

func TestCreateRoot_NameExpiryPermissions(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	request := keys.RootRequest{
		Provider: enroller{}, Attempt: attempt("bob"), Name: "Bob", ExpiresIn: time.Hour, Permissions: []string{"context:list", "blob", "blob"},
	}
	if created, err := f.CreateRoot(t.Context(), admin, request); !created || err != nil {
		t.Fatal(err)
	}
	if k := f.key(t, "wallet-bob"); k.Name != "Bob" || k.ExpiresAt != start.Unix()+3600 {
		t.Errorf("key %+v", k)
	}
	if got := f.permissions(t, "wallet-bob"); !slices.Equal(got, []string{"context:list", "blob"}) {
		t.Errorf("permissions %q", got)
	}
	for name, change := range map[string]func(*keys.RootRequest){
		"name":               func(r *keys.RootRequest) { r.Name = strings.Repeat("n", keys.MaxName+1) },
		"expires_in":         func(r *keys.RootRequest) { r.ExpiresIn = time.Second },
		"permission format":  func(r *keys.RootRequest) { r.Permissions = []string{"nonsense"} },
		"at least one":       func(r *keys.RootRequest) { r.Permissions = []string{} },
		"target_node_url":    func(r *keys.RootRequest) { r.TargetURL = "x" },
		"more than 64 permi": func(r *keys.RootRequest) { r.Permissions = make([]string, 65) },
	} {
		r := keys.RootRequest{Provider: enroller{}, Attempt: attempt("carol")}
		change(&r)
		_, err := f.CreateRoot(t.Context(), admin, r)
		want(t, name, err, fault.Invalid, "", name)
	}
	if n := f.count(t, "root"); n != 2 {
		t.Errorf("%d root keys", n)
	}
}

// The pages of a list hold each key once, whatever comes and goes between them.
func TestList_Pages(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		admin := f.root(t, "admin", "admin")
		var all []string
		for range 25 {
			all = append(all, f.mint(t, admin, "blob").KeyID)
		}
		slices.Sort(all)
		var got []string
		page := keys.Page{Limit: 6}
		for i := 0; ; i++ {
			list, next, err := f.List(t.Context(), store.Client, page)
			if err != nil || len(list) > 6 {
				t.Fatalf("page %d: %d keys, %v", i, len(list), err)
			}
			for _, k := range list {
				if slices.Contains(all, k.ID) {
					got = append(got, k.ID)
				}
			}
			f.mint(t, admin, "blob")
			if err := f.Revoke(t.Context(), admin, list[0].ID); err != nil {
				t.Fatal(err)
			}
			if page.Cursor = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, all) {
			t.Errorf("the pages hold %q, want %q", got, all)
		}
		list, next, err := f.List(t.Context(), store.Root, keys.Page{Limit: 1})
		if err != nil || len(list) != 1 || next != "" {
			t.Errorf("the only page: %d keys, next %q, %v", len(list), next, err)
		}
		for _, cursor := range []string{"a b", "a:b", "\x00", strings.Repeat("x", 129)} {
			_, _, err := f.List(t.Context(), store.Client, keys.Page{Cursor: cursor})
			want(t, "cursor", err, fault.Invalid, "", "cursor")
		}
	})
}

// The hash takes its time: what happens to the key or the account meanwhile counts.
func TestChange_PasswordOfWhatHasChangedMeanwhile(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	if created, err := f.CreateRoot(t.Context(), admin, keys.RootRequest{Provider: enroller{"$first"}, Attempt: attempt("bob")}); !created || err != nil {
		t.Fatal(err)
	}
	account := func() (a store.Account) {
		t.Helper()
		f.update(t, func(tx *store.Tx) (err error) {
			a, err = tx.Account("test_wallet", "bob")
			return err
		})
		return a
	}
	id := account().Key
	text := "a new password"
	set := func(meanwhile func()) error {
		f.NewAccount = func(_ context.Context, name, password string) (provider.Proof, error) {
			if name != "bob" || password != text {
				t.Errorf("NewAccount(%q, %q)", name, password)
			}
			meanwhile()
			return provider.Proof{Account: name, PasswordHash: "$second"}, nil
		}
		_, err := f.Change(t.Context(), admin, id, keys.Update{Password: &text})
		return err
	}
	_, err := f.Change(t.Context(), admin, id, keys.Update{Password: &text})
	want(t, "without passwords", err, fault.Invalid, "", "switched off")
	err = set(func() {
		f.update(t, func(tx *store.Tx) error {
			return tx.PutAccount("test_wallet", store.Account{Name: "bob", Key: "another", PHC: "$another"})
		})
	})
	want(t, "the account of another key", err, fault.Invalid, "", "has no password")
	if got := account(); got.PHC != "$another" {
		t.Errorf("the account holds %q", got.PHC)
	}
	f.update(t, func(tx *store.Tx) error {
		return tx.PutAccount("test_wallet", store.Account{Name: "bob", Key: id, PHC: "$first"})
	})
	if err := set(func() {}); err != nil || account().PHC != "$second" {
		t.Errorf("set: %v, the account holds %q", err, account().PHC)
	}
	err = set(func() {
		if _, err := f.RevokeRoot(t.Context(), admin, id); err != nil {
			t.Error(err)
		}
	})
	want(t, "a revoked key", err, fault.NotFound, "", "Key not found")
}
