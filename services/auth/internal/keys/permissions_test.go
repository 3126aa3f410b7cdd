package keys_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func (f *fixture) permissions(t *testing.T, id string) []string {
	t.Helper()
	list, err := f.Permissions(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func add(list ...string) keys.Change    { return keys.Change{Add: list} }
func remove(list ...string) keys.Change { return keys.Change{Remove: list} }

func TestChangePermissions(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		admin := f.root(t, "admin", "admin")
		key := f.mint(t, admin, "context:list", "blob", "context[c1]")
		for _, tt := range []struct {
			name   string
			change keys.Change
			want   []string
		}{
			{"nothing", keys.Change{}, []string{"context:list", "blob", "context[c1]"}},
			{"add, at the end", add("application"), []string{"context:list", "blob", "context[c1]", "application"}},
			{"add what is there", add("blob"), []string{"context:list", "blob", "context[c1]", "application"}},
			{"remove what is not there", remove("package", "nonsense", ""), []string{"context:list", "blob", "context[c1]", "application"}},
			{"remove, then add the same", keys.Change{Add: []string{"blob"}, Remove: []string{"blob"}}, []string{"context:list", "context[c1]", "application", "blob"}},
			{"remove by the other spelling", remove("context:list:global"), []string{"context[c1]", "application", "blob"}},
			{"replace all", keys.Change{Add: []string{"keys:list"}, Remove: []string{"context[c1]", "application", "blob"}}, []string{"keys:list"}},
			{"twice the same", add("blob", "blob"), []string{"keys:list", "blob"}},
		} {
			got, err := f.ChangePermissions(t.Context(), admin, key.KeyID, tt.change)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
			}
			if stored := f.permissions(t, key.KeyID); !slices.Equal(stored, tt.want) {
				t.Errorf("%s: %q is stored, want %q", tt.name, stored, tt.want)
			}
		}
	})
}

func TestChangePermissions_Refusals(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	narrowRoot := f.root(t, "narrow-root", "context", "keys:permissions:update")
	key := f.mint(t, admin, "context:list")
	gone := f.mint(t, admin, "blob")
	if _, err := f.RevokeClient(t.Context(), admin, "admin", gone.KeyID); err != nil {
		t.Fatal(err)
	}
	ofNarrow := store.Key{ID: "of-narrow", Type: store.Client, RootKeyID: "narrow-root"}
	minter := f.mint(t, admin, "admin")
	minted := f.mint(t, minter, "context:list")
	f.update(t, func(tx *store.Tx) error {
		return errors.Join(tx.CreateKey(ofNarrow, []string{"context:list"}), tx.SetPermissions(minter.KeyID, []string{"context[c1]", "context", "blob:list"}))
	})
	if got := f.permissions(t, minted.KeyID); !slices.Equal(got, []string{"context[c1]", "context:list"}) {
		t.Fatalf("the minted key holds %q", got)
	}
	many := make([]string, 64)
	for i := range many {
		many[i] = fmt.Sprintf("context:read[c%d]", i)
	}
	var long []string
	for i := range 30 {
		long = append(long, fmt.Sprintf("context:read[%s%d]", strings.Repeat("x", 60), i))
	}
	for name, tt := range map[string]struct {
		caller  *gate.Session
		id      string
		change  keys.Change
		code    fault.Code
		message string
	}{
		"unknown key":            {admin, "nobody", add("blob"), fault.NotFound, "Key not found"},
		"revoked key":            {admin, gone.KeyID, add("context:list"), fault.NotFound, "Key not found"},
		"nothing left":           {admin, key.KeyID, remove("context:list"), fault.Invalid, "Key must have at least one permission"},
		"unknown word":           {admin, key.KeyID, add("nonsense"), fault.Invalid, "Invalid permission format: nonsense"},
		"markup":                 {admin, key.KeyID, add("<b>"), fault.Invalid, "Invalid permission format: &lt;b&gt;"},
		"empty":                  {admin, key.KeyID, add(""), fault.Invalid, "Invalid permission format"},
		"admin of the reference": {admin, key.KeyID, add("admin:read"), fault.Invalid, "Invalid permission format"},
		"admin with a zero width space": {
			admin, key.KeyID, add("ad\u200bmin"), fault.Invalid, "Invalid permission format",
		},
		"admin of one object":       {admin, key.KeyID, add("admin[x]"), fault.Invalid, "Invalid permission format"},
		"two in one":                {admin, key.KeyID, add("blob,admin"), fault.Invalid, "Invalid permission format"},
		"header injection":          {admin, key.KeyID, add("context:list\r\nX-Auth-User: root"), fault.Invalid, "Invalid permission format"},
		"any object as one":         {admin, key.KeyID, add("context:execute:specific:*"), fault.Invalid, "Invalid permission format"},
		"one good, one bad":         {admin, key.KeyID, add("blob", "bad"), fault.Invalid, "Invalid permission format: bad"},
		"65 with what is there":     {admin, key.KeyID, add(many...), fault.Invalid, "too many"},
		"65 at once":                {admin, key.KeyID, add(append(many, "blob")...), fault.Invalid, "more than 64"},
		"over 2 KiB":                {admin, key.KeyID, add(long...), fault.Invalid, "too long"},
		"more than its root":        {admin, "of-narrow", add("blob"), fault.Invalid, "Root key does not have permission: blob"},
		"admin under a narrow root": {admin, "of-narrow", add("admin"), fault.Invalid, "Root key does not have permission: admin"},
		"more than its minter":      {admin, minted.KeyID, add("blob"), fault.Invalid, "The key that minted this one does not have permission: blob"},
		"out of its minter's binding": {
			admin, minted.KeyID, remove("context[c1]"), fault.Invalid, "never holds more than the key that minted it",
		},
		"caller without admin": {narrowRoot, key.KeyID, add("context:create"), fault.Forbidden, "permission denied"},
		"to oneself":           {narrowRoot, "narrow-root", add("admin"), fault.Forbidden, "permission denied"},
		"a client to itself":   {key, key.KeyID, add("admin"), fault.Forbidden, "permission denied"},
	} {
		before := f.permissions(t, key.KeyID)
		list, err := f.ChangePermissions(t.Context(), tt.caller, tt.id, tt.change)
		if fault.CodeOf(err) != tt.code || !strings.Contains(fault.MessageOf(err), tt.message) || list != nil {
			t.Errorf("%s: %q, %s %q (%v), want %s %q", name, list, fault.CodeOf(err), fault.MessageOf(err), err, tt.code, tt.message)
		}
		if after := f.permissions(t, key.KeyID); !slices.Equal(after, before) {
			t.Errorf("%s: the list went from %q to %q", name, before, after)
		}
	}
	if _, err := f.ChangePermissions(t.Context(), admin, minted.KeyID, add("context:create")); err != nil {
		t.Errorf("within root and minter: %v", err)
	}
	if _, err := f.ChangePermissions(t.Context(), admin, key.KeyID, add(many[:63]...)); err != nil {
		t.Errorf("64 in all: %v", err)
	}
	for name, id := range map[string]string{"unknown": "nobody", "revoked": gone.KeyID} {
		_, err := f.Permissions(t.Context(), id)
		want(t, name+" key", err, fault.NotFound, "", "Key not found")
	}
}

// A binding that is added narrows a key, whoever may grant it.
func TestChangePermissions_Binding(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "admin", "admin")
	key := f.mint(t, admin, "context")
	if _, err := f.ChangePermissions(t.Context(), admin, key.KeyID, add("context[c1,me]")); err != nil {
		t.Fatal(err)
	}
	pair, err := f.CreateClient(t.Context(), admin, keys.ClientRequest{Permissions: []string{"context"}})
	if err != nil {
		t.Fatal(err)
	}
	fresh := f.session(t, pair)
	elsewhere := permission.MustParse("context:read[c2]")
	if !fresh.Rights.Allows(elsewhere) {
		t.Fatal("the unbound key reaches nothing")
	}
	if _, err := f.ChangePermissions(t.Context(), admin, fresh.KeyID, add("context[c1]")); err != nil {
		t.Fatal(err)
	}
	if f.session(t, pair).Rights.Allows(elsewhere) {
		t.Error("a token from before the binding still reaches another context")
	}
}

// Between the admission of a request and its transaction the caller may be narrowed. What it may no longer do must not
// happen: each change, each of the lists that bound the caller.
func TestNarrowedBetweenAdmissionAndTransaction(t *testing.T) {
	for what, narrow := range map[string]func(caller *gate.Session) string{
		"key":  func(caller *gate.Session) string { return caller.KeyID },
		"root": func(caller *gate.Session) string { return caller.RootID },
	} {
		f := inMemory(t)
		f.root(t, "spare", "admin")
		caller := f.mint(t, f.root(t, "root", "admin"), "admin")
		victimRoot := f.root(t, "victim", "admin")
		victim := f.mint(t, victimRoot, "blob")
		f.update(t, func(tx *store.Tx) error { return tx.SetPermissions(narrow(caller), []string{"context", "keys:list"}) })
		counts := func() [5]int {
			return [5]int{f.count(t, "root"), f.count(t, "client"), f.count(t, "family"), f.count(t, "account"), f.count(t, "permissions")}
		}
		before := counts()
		for name, try := range map[string]func() error{
			"CreateClient": func() error {
				_, err := f.CreateClient(t.Context(), caller, keys.ClientRequest{Permissions: []string{"context"}})
				return err
			},
			"CreateRoot": func() error {
				_, err := f.CreateRoot(t.Context(), caller, keys.RootRequest{Provider: enroller{}, Attempt: attempt("x")})
				return err
			},
			"RevokeRoot":   func() error { _, err := f.RevokeRoot(t.Context(), caller, "victim"); return err },
			"RevokeClient": func() error { _, err := f.RevokeClient(t.Context(), caller, "victim", victim.KeyID); return err },
			"Revoke":       func() error { return f.Revoke(t.Context(), caller, victim.KeyID) },
			"ChangePermissions": func() error {
				_, err := f.ChangePermissions(t.Context(), caller, victim.KeyID, add("context"))
				return err
			},
			"Change": func() error {
				name := "stolen"
				_, err := f.Change(t.Context(), caller, victim.KeyID, keys.Update{Name: &name})
				return err
			},
			"EndSession": func() error { _, err := f.EndSession(t.Context(), caller, victim.KeyID, victim.Family); return err },
		} {
			want(t, what+" narrowed: "+name, try(), fault.Forbidden, identity.PermissionDenied, "permission denied")
		}
		if after := counts(); after != before {
			t.Errorf("%s narrowed: records went from %v to %v", what, before, after)
		}
		if got := f.live(t, "victim", victim.KeyID); len(got) != 2 || f.key(t, victim.KeyID).Name == "stolen" {
			t.Errorf("%s narrowed: only %q are left of the victim's keys", what, got)
		}
		if got := f.permissions(t, victim.KeyID); !slices.Equal(got, []string{"blob"}) {
			t.Errorf("%s narrowed: the victim holds %q", what, got)
		}
		// The own session may always be ended.
		if _, err := f.EndSession(t.Context(), caller, caller.KeyID, caller.Family); err != nil {
			t.Errorf("%s narrowed: the own session: %v", what, err)
		}
	}
}
