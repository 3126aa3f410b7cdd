package keys_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestCreateClient_PermissionsVerbatimAndInOrder(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "root", "admin")
	for _, tt := range []struct {
		request keys.ClientRequest
		want    []string
	}{
		{keys.ClientRequest{}, []string{}},
		{keys.ClientRequest{Permissions: []string{"context:create", "context:list", "context:execute"}}, []string{"context:create", "context:list", "context:execute"}},
		{keys.ClientRequest{Permissions: []string{"context:list", "blob", "context:list", "blob"}}, []string{"context:list", "blob"}},
		{keys.ClientRequest{Permissions: []string{"admin"}}, []string{"admin"}},
		{
			keys.ClientRequest{Permissions: []string{"context:execute:global", "context:read:specific:ctx-1", "blob:add[*]", "context:execute[,me]"}},
			[]string{"context:execute:global", "context:read:specific:ctx-1", "blob:add[*]", "context:execute[,me]"},
		},
		{
			keys.ClientRequest{ContextID: "ctx-1", ContextIdentity: "member-pk-1", Permissions: []string{"context:create", "context:list"}},
			[]string{"context[ctx-1,member-pk-1]", "context:create", "context:list"},
		},
		{
			keys.ClientRequest{ContextID: "ctx-1", ContextIdentity: "me", Permissions: []string{"context:list", "context[ctx-1,me]"}},
			[]string{"context[ctx-1,me]", "context:list"},
		},
		{keys.ClientRequest{ContextID: "ctx-1"}, []string{"context[ctx-1]"}},
	} {
		pair, err := f.CreateClient(t.Context(), admin, tt.request)
		if err != nil {
			t.Errorf("CreateClient(%+v): %v", tt.request, err)
			continue
		}
		access, refresh := read(t, pair.Access), read(t, pair.Refresh)
		if !slices.Equal(access.Permissions, tt.want) || !slices.Equal(refresh.Permissions, tt.want) || access.NodeURL != "" {
			t.Errorf("CreateClient(%+v): tokens %+v and %+v, want %q and no node_url", tt.request, access, refresh, tt.want)
		}
		list, _, err := f.List(t.Context(), store.Client, keys.Page{})
		i := slices.IndexFunc(list, func(k keys.Listed) bool { return k.ID == access.Sub })
		if err != nil || i < 0 || !slices.Equal(list[i].Permissions, tt.want) || list[i].Permissions == nil {
			t.Errorf("CreateClient(%+v): not listed with %q: %+v, %v", tt.request, tt.want, list, err)
		}
	}
}

func TestCreateClient_Refusals(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "root", "admin")
	narrow := f.root(t, "narrow", "keys:create", "context:list")
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("context:read[c%d]", i)
	}
	long := make([]string, 0, 30)
	for i := range 30 {
		long = append(long, fmt.Sprintf("context:read[%s%d]", strings.Repeat("x", 60), i))
	}
	client := func(permissions ...string) keys.ClientRequest { return keys.ClientRequest{Permissions: permissions} }
	for name, tt := range map[string]struct {
		caller  *gate.Session
		request keys.ClientRequest
		code    fault.Code
		message string
	}{
		"caller without admin":         {narrow, client("context:list"), fault.Forbidden, "Token does not have admin permissions"},
		"unparseable permission":       {admin, client("nonsense"), fault.Invalid, "Root key does not have permission: nonsense"},
		"markup in a permission":       {admin, client(`<b a="c">'&`), fault.Invalid, "Root key does not have permission: &lt;b a=&#34;c&#34;&gt;&#39;&amp;"},
		"empty permission":             {admin, client(""), fault.Invalid, "Root key does not have permission"},
		"two permissions in one":       {admin, client("context:list,admin"), fault.Invalid, "Root key does not have permission"},
		"text after a bracket":         {admin, client("context:list[c]x"), fault.Invalid, "Root key does not have permission"},
		"empty brackets":               {admin, client("context:list[]"), fault.Invalid, "Root key does not have permission"},
		"specific without an id":       {admin, client("context:execute:specific:"), fault.Invalid, "Root key does not have permission"},
		"header injection":             {admin, client("context:list\r\nX-Auth-User: root"), fault.Invalid, "Root key does not have permission"},
		"a space":                      {admin, client(" admin"), fault.Invalid, "Root key does not have permission"},
		"a zero-width space":           {admin, client("ad\u200bmin"), fault.Invalid, "Root key does not have permission"},
		"binding without a context":    {admin, client("context[*]"), fault.Invalid, "Root key does not have permission"},
		"admin of the reference":       {admin, client("admin:*"), fault.Invalid, "Root key does not have permission"},
		"one good and one bad":         {admin, client("context:list", "bad"), fault.Invalid, "Root key does not have permission: bad"},
		"65 permissions":               {admin, client(many...), fault.Invalid, ""},
		"over 2 KiB":                   {admin, client(long...), fault.Invalid, ""},
		"permission smuggled by id":    {admin, keys.ClientRequest{ContextID: "x],admin[", ContextIdentity: "me"}, fault.Invalid, "must be identifiers"},
		"permission smuggled by user":  {admin, keys.ClientRequest{ContextID: "x", ContextIdentity: "],admin"}, fault.Invalid, "must be identifiers"},
		"any context":                  {admin, keys.ClientRequest{ContextID: "*", ContextIdentity: "me"}, fault.Invalid, "must be identifiers"},
		"any identity":                 {admin, keys.ClientRequest{ContextID: "x", ContextIdentity: "*"}, fault.Invalid, "must be identifiers"},
		"two contexts":                 {admin, keys.ClientRequest{ContextID: "a,b"}, fault.Invalid, "must be identifiers"},
		"identity without a context":   {admin, keys.ClientRequest{ContextIdentity: "me"}, fault.Invalid, "must be identifiers"},
		"blank ids":                    {admin, keys.ClientRequest{ContextID: " ", ContextIdentity: " "}, fault.Invalid, "must be identifiers"},
		"NUL in an id":                 {admin, keys.ClientRequest{ContextID: "a\x00"}, fault.Invalid, "must be identifiers"},
		"long id":                      {admin, keys.ClientRequest{ContextID: strings.Repeat("a", 129)}, fault.Invalid, "must be identifiers"},
		"target is a name":             {admin, keys.ClientRequest{TargetURL: "node"}, fault.Invalid, "target_node_url"},
		"target is a file":             {admin, keys.ClientRequest{TargetURL: "file:///etc/passwd"}, fault.Invalid, "target_node_url"},
		"target without a scheme":      {admin, keys.ClientRequest{TargetURL: "//evil.example"}, fault.Invalid, "target_node_url"},
		"target with a password":       {admin, keys.ClientRequest{TargetURL: "https://user:pass@node.example/"}, fault.Invalid, "target_node_url"},
		"target with a backslash":      {admin, keys.ClientRequest{TargetURL: `https://node.example\@evil.example`}, fault.Invalid, "target_node_url"},
		"target beyond a token's size": {admin, keys.ClientRequest{TargetURL: "http://" + strings.Repeat("x", 600)}, fault.Invalid, "target_node_url"},
		"name too long":                {admin, keys.ClientRequest{Name: strings.Repeat("n", 129)}, fault.Invalid, "name"},
		"life too short":               {admin, keys.ClientRequest{ExpiresIn: time.Minute - time.Second}, fault.Invalid, "expires_in must be between 60 and"},
		"life too long":                {admin, keys.ClientRequest{ExpiresIn: year + time.Second}, fault.Invalid, "expires_in must be between 60 and"},
		"life below zero":              {admin, keys.ClientRequest{ExpiresIn: -time.Hour}, fault.Invalid, "expires_in"},
	} {
		pair, err := f.CreateClient(t.Context(), tt.caller, tt.request)
		want(t, name, err, tt.code, "", tt.message)
		if pair != (login.Pair{}) {
			t.Errorf("%s: a pair came with the refusal", name)
		}
	}
	if n := f.count(t, "client") + f.count(t, "root_clients"); n != 0 {
		t.Errorf("refused requests left %d records of client keys", n)
	}
	if _, err := f.CreateClient(t.Context(), admin, client(many[:64]...)); err != nil {
		t.Errorf("64 permissions: %v", err)
	}
}

// Keys are told apart within one second, all of them work, and all are listed.
func TestCreateClient_SameSecond(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "root", "admin")
	subs := map[string]bool{}
	for range 50 {
		pair, err := f.CreateClient(t.Context(), admin, keys.ClientRequest{Permissions: []string{"context:list"}})
		if err != nil {
			t.Fatal(err)
		}
		subs[f.session(t, pair).KeyID] = true
	}
	list, _, err := f.List(t.Context(), store.Client, keys.Page{})
	if err != nil || len(list) != 50 || len(subs) != 50 {
		t.Errorf("50 mints gave %d ids and %d listed keys, %v", len(subs), len(list), err)
	}
}

func TestCreateClient_TargetURL(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "root", "admin")
	for target, node := range map[string]string{
		"":                                "",
		"https://Node.example/path?q=1#f": "https://node.example",
		"http://node.example:2528":        "http://node.example:2528",
	} {
		pair, err := f.CreateClient(t.Context(), admin, keys.ClientRequest{TargetURL: target})
		if err != nil {
			t.Fatal(err)
		}
		c := read(t, pair.Access)
		if c.NodeURL != node || f.key(t, c.Sub).NodeURL != node {
			t.Errorf("target %q: node_url %q in the token and %q in the key, want %q", target, c.NodeURL, f.key(t, c.Sub).NodeURL, node)
		}
	}
}

func TestCreateClient_MachineToken(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "root", "admin")
	for _, life := range []time.Duration{time.Minute, 90 * 24 * time.Hour, year} {
		pair, err := f.CreateClient(t.Context(), admin, keys.ClientRequest{Permissions: []string{"blob"}, ExpiresIn: life, Name: "backup job"})
		if err != nil {
			t.Fatal(err)
		}
		c := read(t, pair.Access)
		end := f.clock.now().Add(life).Unix()
		k := f.key(t, c.Sub)
		if pair.Refresh != "" || c.Exp != end || k.ExpiresAt != end || !k.Machine || k.Name != "backup job" {
			t.Errorf("life %v: refresh token %q, exp %d, key %+v; want no refresh token and the end at %d", life, pair.Refresh, c.Exp, k, end)
		}
		f.session(t, pair)
	}
	// It is revoked like any other key.
	pair, err := f.CreateClient(t.Context(), admin, keys.ClientRequest{ExpiresIn: year})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.RevokeClient(t.Context(), admin, "root", read(t, pair.Access).Sub); err != nil {
		t.Fatal(err)
	}
	_, err = f.sessions.Authenticate(t.Context(), pair.Access)
	want(t, "a revoked machine token", err, fault.Unauthenticated, identity.TokenRevoked, "")
}

// What a client key mints belongs to the root, dies with either, and does not outlive its minter.
func TestCreateClient_ByAClientKey(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		admin := f.root(t, "root", "admin")
		other := f.root(t, "other", "admin")
		parent := f.mint(t, admin, "admin")
		child := f.mint(t, parent, "admin", "context:list")
		grandchild := f.mint(t, child, "context:list")
		for _, tt := range []struct {
			session *gate.Session
			minter  string
		}{{parent, ""}, {child, parent.KeyID}, {grandchild, child.KeyID}} {
			k := f.key(t, tt.session.KeyID)
			if k.RootKeyID != "root" || tt.session.RootID != "root" || k.MintedBy != tt.minter {
				t.Errorf("key %+v: want root \"root\" and minter %q", k, tt.minter)
			}
		}
		if k := f.key(t, grandchild.KeyID); k.CreatedBy != child.KeyID {
			t.Errorf("created_by = %q, want %q", k.CreatedBy, child.KeyID)
		}
		sibling := f.mint(t, parent, "blob")
		if _, err := f.RevokeClient(t.Context(), other, "root", child.KeyID); err != nil {
			t.Fatal(err)
		}
		if got, want := f.live(t, parent.KeyID, child.KeyID, grandchild.KeyID, sibling.KeyID), []string{parent.KeyID, sibling.KeyID}; !slices.Equal(got, want) {
			t.Errorf("live after the revocation of one: %q, want %q", got, want)
		}
		if _, err := f.RevokeRoot(t.Context(), other, "root"); err != nil {
			t.Fatal(err)
		}
		list, _, err := f.List(t.Context(), store.Client, keys.Page{})
		if err != nil || len(list) != 4 {
			t.Fatalf("List = %+v, %v", list, err)
		}
		for _, k := range list {
			if k.State == keys.Live {
				t.Errorf("client key %s is valid under a revoked root", k.ID)
			}
		}
	})
}

func TestCreateClient_DoesNotOutliveItsMinter(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "root", "admin")
	pair, err := f.CreateClient(t.Context(), admin, keys.ClientRequest{Permissions: []string{"admin"}, ExpiresIn: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	machine := f.session(t, pair)
	end := start.Add(time.Hour).Unix()
	f.clock.advance(30 * time.Minute)
	for name, r := range map[string]keys.ClientRequest{
		"a session":             {Permissions: []string{"admin"}},
		"a longer machine life": {Permissions: []string{"admin"}, ExpiresIn: year},
	} {
		pair, err := f.CreateClient(t.Context(), machine, r)
		if err != nil {
			t.Fatal(err)
		}
		c := read(t, pair.Access)
		if k := f.key(t, c.Sub); k.ExpiresAt != end {
			t.Errorf("%s: the minted key expires at %d, want %d as its minter", name, k.ExpiresAt, end)
		}
		if r.ExpiresIn > 0 && c.Exp != end {
			t.Errorf("%s: exp = %d, want %d", name, c.Exp, end)
		}
	}
	pair, err = f.CreateClient(t.Context(), machine, keys.ClientRequest{ExpiresIn: time.Minute})
	if err != nil || f.key(t, read(t, pair.Access).Sub).ExpiresAt != f.clock.now().Add(time.Minute).Unix() {
		t.Errorf("a shorter machine life: %v, want it kept", err)
	}
}

// Between the admission of a request and its transaction the caller's key, root or session can be revoked. Nothing
// of the request may happen then.
func TestRevokedBetweenAdmissionAndTransaction(t *testing.T) {
	for name, revoke := range map[string]func(tx *store.Tx, caller *gate.Session) error{
		"key": func(tx *store.Tx, caller *gate.Session) error {
			_, err := tx.RevokeKey(caller.KeyID, start)
			return err
		},
		"root": func(tx *store.Tx, caller *gate.Session) error {
			_, err := tx.RevokeKey(caller.RootID, start)
			return err
		},
		"session":      func(tx *store.Tx, caller *gate.Session) error { return tx.RevokeFamily(caller.Family, start) },
		"swept family": func(tx *store.Tx, caller *gate.Session) error { return tx.Put("family", caller.Family, nil) },
	} {
		f := inMemory(t)
		f.root(t, "spare", "admin")
		caller := f.mint(t, f.root(t, "root", "admin"), "admin")
		victim := f.mint(t, f.root(t, "victim", "admin"), "blob")
		f.update(t, func(tx *store.Tx) error { return revoke(tx, caller) })
		counts := func() [4]int {
			return [4]int{f.count(t, "root"), f.count(t, "client"), f.count(t, "family"), f.count(t, "account")}
		}
		before := counts()
		_, err := f.CreateClient(t.Context(), caller, keys.ClientRequest{Permissions: []string{"admin"}})
		want(t, name+": CreateClient", err, fault.Forbidden, identity.TokenRevoked, "revoked")
		_, err = f.CreateRoot(t.Context(), caller, keys.RootRequest{Provider: enroller{}, Attempt: provider.Attempt{PublicKey: "x"}})
		want(t, name+": CreateRoot", err, fault.Forbidden, identity.TokenRevoked, "revoked")
		_, err = f.RevokeRoot(t.Context(), caller, "victim")
		want(t, name+": RevokeRoot", err, fault.Forbidden, identity.TokenRevoked, "revoked")
		_, err = f.RevokeClient(t.Context(), caller, "victim", victim.KeyID)
		want(t, name+": RevokeClient", err, fault.Forbidden, identity.TokenRevoked, "revoked")
		err = f.Revoke(t.Context(), caller, victim.KeyID)
		want(t, name+": Revoke", err, fault.Forbidden, identity.TokenRevoked, "revoked")
		if after := counts(); after != before {
			t.Errorf("%s: records went from %v to %v", name, before, after)
		}
		if got := f.live(t, "victim", victim.KeyID); len(got) != 2 {
			t.Errorf("%s: only %q are left of the victim's keys", name, got)
		}
	}
}

// enroller is a provider whose accounts are their public keys.
type enroller struct{ hash string }

func (enroller) Name() string        { return "test_wallet" }
func (enroller) Aliases() []string   { return nil }
func (enroller) Info() provider.Info { return provider.Info{} }

func (enroller) Authenticate(context.Context, provider.Attempt) (provider.Proof, error) {
	return provider.Proof{}, provider.ErrRejected
}

func (e enroller) Enroll(_ context.Context, a provider.Attempt) (provider.Proof, error) {
	if a.PublicKey == "" {
		return provider.Proof{}, provider.ErrMalformed
	}
	if e.hash != "" {
		return provider.Proof{PublicKey: a.PublicKey, Account: a.PublicKey, PasswordHash: e.hash}, nil
	}
	return provider.Proof{KeyID: "wallet-" + a.PublicKey, PublicKey: a.PublicKey, Account: a.PublicKey}, nil
}

func TestCreateRoot(t *testing.T) {
	f := inMemory(t)
	admin := f.root(t, "root", "admin")
	create := func(caller *gate.Session, p provider.Provider, name, target string) (bool, error) {
		return f.CreateRoot(t.Context(), caller, keys.RootRequest{
			Provider: p, Attempt: provider.Attempt{PublicKey: name}, TargetURL: target,
		})
	}
	created, err := create(admin, enroller{}, "bob", "https://node.example/x")
	if !created || err != nil {
		t.Fatalf("CreateRoot = %t, %v", created, err)
	}
	wantKey := store.Key{
		V: 1, ID: "wallet-bob", Type: store.Root, CreatedAt: start.Unix(), CreatedBy: "root", PublicKey: "bob", AuthMethod: "test_wallet",
		NodeURL: "https://node.example",
	}
	if got := f.key(t, "wallet-bob"); got != wantKey {
		t.Errorf("key %+v, want %+v", got, wantKey)
	}
	list, _, err := f.List(t.Context(), store.Root, keys.Page{})
	if err != nil || len(list) != 2 || !slices.Equal(list[1].Permissions, []string{"admin"}) {
		t.Errorf("List = %+v, %v, want both keys with admin", list, err)
	}
	if created, err = create(admin, enroller{}, "bob", "https://elsewhere.example"); created || err != nil {
		t.Errorf("CreateRoot of a live key = %t, %v, want nothing done", created, err)
	}
	if got := f.key(t, "wallet-bob"); got != wantKey {
		t.Errorf("the second request changed the key: %+v", got)
	}
	if _, err := f.RevokeRoot(t.Context(), admin, "wallet-bob"); err != nil {
		t.Fatal(err)
	}
	_, err = create(admin, enroller{}, "bob", "")
	want(t, "a revoked key", err, fault.Conflict, "", "not replaced")
	if f.key(t, "wallet-bob").RevokedAt == 0 {
		t.Error("a revoked key came back")
	}

	if created, err = create(admin, enroller{"$argon2id$1"}, "carol", ""); !created || err != nil {
		t.Errorf("CreateRoot of an account = %t, %v", created, err)
	}
	if created, err = create(admin, enroller{"$argon2id$2"}, "carol", ""); created || err != nil {
		t.Errorf("CreateRoot of a live account = %t, %v, want nothing done", created, err)
	}
	var account store.Account
	f.update(t, func(tx *store.Tx) (err error) {
		account, err = tx.Account("test_wallet", "carol")
		return err
	})
	if account.PHC != "$argon2id$1" {
		t.Errorf("the account holds %q: a request to create it changed its password", account.PHC)
	}
	// What has expired can be prolonged, so it is neither made anew nor taken for revoked.
	f.update(t, func(tx *store.Tx) error {
		expired := store.Key{ID: "wallet-erin", Type: store.Root, ExpiresAt: start.Unix()}
		carol := f.key(t, account.Key)
		carol.ExpiresAt = start.Unix()
		return errors.Join(tx.CreateKey(expired, []string{"admin"}), tx.ChangeKey(carol))
	})
	_, err = create(admin, enroller{}, "erin", "")
	want(t, "an expired key", err, fault.Conflict, "", "has expired; it is not replaced, set its expires_at")
	_, err = create(admin, enroller{"$argon2id$3"}, "carol", "")
	want(t, "an expired account", err, fault.Conflict, "", "has expired; it is not replaced, set its expires_at")
	_, err = create(admin, enroller{}, "", "")
	want(t, "no account", err, fault.Invalid, "", "")
	_, err = create(admin, enroller{}, "dave", "ftp://x")
	want(t, "bad target", err, fault.Invalid, "", "target_node_url")
	_, err = create(f.root(t, "narrow", "keys", "context"), enroller{}, "eve", "")
	want(t, "caller with every keys permission but not admin", err, fault.Forbidden, "", "administrator")
	if roots := f.count(t, "root"); roots != 5 || f.count(t, "account") != 1 {
		t.Errorf("%d root keys and %d accounts, want 5 and 1", roots, f.count(t, "account"))
	}
}

func TestList(t *testing.T) {
	f := inMemory(t)
	if list, _, err := f.List(t.Context(), store.Root, keys.Page{}); err != nil || len(list) != 0 {
		t.Errorf("List of an empty store = %+v, %v", list, err)
	}
	admin := f.root(t, "b-root", "admin")
	f.root(t, "a-root", "context:list")
	f.update(t, func(tx *store.Tx) error {
		for id, k := range map[string]store.Key{
			"live": {}, "revoked": {RevokedAt: 5}, "expired": {ExpiresAt: start.Unix()}, "orphan": {RootKeyID: "nobody"},
			"of-revoked": {RootKeyID: "c-root"}, "of-expired": {RootKeyID: "d-root"},
			"revoked-of-expired": {RevokedAt: 5, RootKeyID: "d-root"},
		} {
			k.ID, k.Type = id, store.Client
			if k.RootKeyID == "" {
				k.RootKeyID = admin.KeyID
			}
			if err := tx.CreateKey(k, []string{"blob"}); err != nil {
				return err
			}
		}
		return errors.Join(
			tx.CreateKey(store.Key{ID: "c-root", Type: store.Root, RevokedAt: 5}, nil),
			tx.CreateKey(store.Key{ID: "d-root", Type: store.Root, ExpiresAt: start.Unix()}, nil),
		)
	})
	var roots []string
	list, _, err := f.List(t.Context(), store.Root, keys.Page{})
	for _, k := range list {
		roots = append(roots, k.ID)
	}
	if wantRoots := []string{"a-root", "b-root", "c-root", "d-root"}; err != nil || !slices.Equal(roots, wantRoots) {
		t.Errorf("root keys %q, %v, want %q", roots, err, wantRoots)
	}
	states := map[string]keys.State{}
	list, _, err = f.List(t.Context(), store.Client, keys.Page{})
	for _, k := range list {
		states[k.ID] = k.State
	}
	wantStates := map[string]keys.State{
		"live": "live", "revoked": "revoked", "expired": "expired", "orphan": "root_revoked",
		"of-revoked": "root_revoked", "of-expired": "root_expired", "revoked-of-expired": "revoked",
	}
	if err != nil || !reflect.DeepEqual(states, wantStates) {
		t.Errorf("client keys %v, %v, want %v", states, err, wantStates)
	}
}
