package httpapi_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// lifeOf are the cases of jwt_attacks.json that a single token does not decide: what became of its key, its session or
// its secret does. Package token plays all others.
var lifeOf = map[string]func(t *testing.T, s *site){
	"permissions-stale": func(t *testing.T, s *site) {
		root := s.root(t)
		token := s.mint(t, root.Access, "admin").Access
		s.call(t, "PUT", "/admin/keys/"+parse(t, token).Sub+"/permissions", root.Access, map[string][]string{"add": {"application:list"}, "remove": {"admin"}}).data(t, &map[string]any{})
		for _, target := range []string{"/admin-api/contexts", "/metrics"} {
			if status, reason := s.gate(t, "GET", target, token); status != 403 || reason != "permission_denied" {
				t.Errorf("%s: %d %s", target, status, reason)
			}
		}
		wants(t, "an admin route", s.call(t, "GET", "/admin/keys", token, nil), 403, "permission_denied")
	},
	"node-url-mismatch": func(t *testing.T, s *site) {
		token := s.Mint(t, authtest.Mint{Permissions: []string{"admin"}, NodeURL: "https://other.example.com"}).Access
		if status, reason := s.gate(t, "GET", "/admin-api/contexts", token); status != 403 || reason != "invalid_node" {
			t.Errorf("gate: %d %s", status, reason)
		}
		wants(t, "probe", s.validate(t, token), 403, "invalid_node")
	},
	"node-url-unparsable": func(t *testing.T, s *site) {
		// decided (design 3.7): a claim without an http(s) host binds nothing, and no login or key ever yields one, so
		// that only the service itself could have signed it.
		token := s.Mint(t, authtest.Mint{Permissions: []string{"admin"}, NodeURL: "::::"}).Access
		wants(t, "probe", s.validate(t, token), 200, "")
		body := s.loginBody("dev")
		body["client_name"] = "::::"
		if got := parse(t, s.wantsPair(t, "login", s.call(t, "POST", "/auth/token", "", body)).Access).NodeURL; got != "" {
			t.Errorf("a login yields node_url %q", got)
		}
		wants(t, "client key", s.clientKey(t, s.root(t).Access, map[string]any{"target_node_url": "::::"}), 400, "")
	},
	"refresh-reuse": func(t *testing.T, s *site) {
		first := s.root(t)
		s.Clock.Advance(time.Hour)
		second := s.wantsPair(t, "refresh", s.refresh(t, first))
		s.Clock.Advance(time.Hour)
		third := s.wantsPair(t, "refresh", s.refresh(t, second))
		wants(t, "reuse", s.refresh(t, first), 401, "token_reuse")
		wants(t, "the family's access token", s.validate(t, third.Access), 401, "token_revoked")
		wants(t, "the family's refresh token", s.refresh(t, third), 401, "token_revoked")
	},
	"access-after-revoke": func(t *testing.T, s *site) {
		pair := s.root(t)
		wants(t, "before", s.validate(t, pair.Access), 200, "")
		s.call(t, "POST", "/admin/revoke", pair.Access, nil).data(t, &map[string]any{})
		wants(t, "after", s.validate(t, pair.Access), 401, "token_revoked")
	},
	"access-after-root-delete": func(t *testing.T, s *site) {
		admin := s.root(t).Access
		bob := s.addRoot(t, admin, "bob")
		client := s.mint(t, bob.Access, "context:list")
		wants(t, "before", s.validate(t, client.Access), 200, "")
		s.call(t, "DELETE", "/admin/keys/"+parse(t, bob.Access).Sub, admin, nil).data(t, &map[string]any{})
		wants(t, "the client of the deleted root", s.validate(t, client.Access), 401, "token_revoked")
	},
	"access-after-client-delete": func(t *testing.T, s *site) {
		admin := s.root(t).Access
		client := s.mint(t, admin, "context:list").Access
		wants(t, "before", s.validate(t, client), 200, "")
		s.call(t, "DELETE", "/admin/keys/"+parse(t, admin).Sub+"/clients/"+parse(t, client).Sub, admin, nil).data(t, &map[string]any{})
		wants(t, "after", s.validate(t, client), 401, "token_revoked")
	},
	"refresh-after-perm-reduction": func(t *testing.T, s *site) {
		root := s.root(t)
		client := s.mint(t, root.Access, "context:list", "blob")
		s.call(t, "PUT", "/admin/keys/"+parse(t, client.Access).Sub+"/permissions", root.Access, map[string][]string{"remove": {"blob"}}).data(t, &map[string]any{})
		s.Clock.Advance(time.Hour)
		if got := parse(t, s.wantsPair(t, "refresh", s.refresh(t, client)).Access).Permissions; !slices.Equal(got, []string{"context:list"}) {
			t.Errorf("permissions %q", got)
		}
	},
	"refresh-with-forged-expired-access": func(t *testing.T, s *site) {
		pair := s.root(t)
		s.Clock.Advance(time.Hour)
		for _, access := range []string{"expired", "Token has expired", realgorithm(t, pair.Access, "none", nil), strings.Join(strings.Split(pair.Access, ".")[:2], ".") + "."} {
			wants(t, access, s.refresh(t, tokens{Access: access, Refresh: pair.Refresh}), 401, "")
		}
		s.wantsPair(t, "the real pair", s.refresh(t, pair))
	},
	"rotated-secret-grace": func(t *testing.T, s *site) {
		pair := s.root(t)
		s.rotate(t)
		wants(t, "in the grace", s.validate(t, pair.Access), 200, "")
	},
	"rotated-secret-after-grace": func(t *testing.T, s *site) {
		// The access token is long dead by then; what must die with the secret is a machine token's like, made at once.
		pair := s.root(t)
		for _, kind := range []secret.Kind{secret.Access, secret.Refresh} {
			if err := s.Issuer.Secrets.Rotate(t.Context(), kind, true); err != nil {
				t.Fatal(err)
			}
		}
		wants(t, "after the secret's end", s.validate(t, pair.Access), 401, "invalid_token")
		wants(t, "its refresh", s.refresh(t, pair), 401, "")
	},
	"two-rotations-in-grace": func(t *testing.T, s *site) {
		first := s.root(t)
		s.rotate(t)
		second := s.root(t)
		s.rotate(t)
		third := s.root(t)
		kids := map[any]bool{}
		for _, pair := range []tokens{first, second, third} {
			kids[part(t, pair.Access, 0)["kid"]] = true
			wants(t, "a token of one of three secrets", s.validate(t, pair.Access), 200, "")
		}
		if len(kids) != 3 {
			t.Errorf("%d secrets signed, want 3", len(kids))
		}
	},
	"restart-keeps-tokens": func(t *testing.T, _ *site) {
		s := startSite(t, authtest.OnDisk) // kill -9 is package cli's TestKill9_AcknowledgedOperationsHold
		kept, ended := s.root(t), s.root(t)
		s.call(t, "POST", "/admin/revoke", ended.Access, nil).data(t, &map[string]any{})
		s.Stop(t)
		was := s.Config
		s = startSite(t, func(c *config.Config) { *c = was })
		wants(t, "kept", s.validate(t, kept.Access), 200, "")
		wants(t, "revoked", s.validate(t, ended.Access), 401, "token_revoked")
	},
}

// rotate gives the access tokens another secret, as every 24 hours.
func (s *site) rotate(t *testing.T) {
	t.Helper()
	if err := s.Issuer.Secrets.Rotate(t.Context(), secret.Access, false); err != nil {
		t.Fatal(err)
	}
}

func TestAttackCorpus_LifeCycle(t *testing.T) {
	raw, err := os.ReadFile("../token/testdata/jwt_attacks.json")
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct {
		Attacks []struct {
			ID, Group string
			Expect    json.RawMessage `json:"expect_status"`
		}
	}
	if err := json.Unmarshal(raw, &corpus); err != nil {
		t.Fatal(err)
	}
	if len(corpus.Attacks) != 79 {
		t.Fatalf("%d cases, want 79", len(corpus.Attacks))
	}
	left := maps.Clone(lifeOf)
	for _, c := range corpus.Attacks {
		play := left[c.ID]
		if delete(left, c.ID); play == nil {
			if c.Group == "lifecycle" || string(c.Expect) == "403" {
				t.Errorf("nothing plays %s", c.ID)
			}
			continue
		}
		t.Run(c.ID, func(t *testing.T) { play(t, startSite(t)) })
	}
	for id := range left {
		t.Errorf("case %q is not in the corpus", id)
	}
}

// delegations play the delegation cases of permission_cases.json over HTTP.
var delegations = map[string]func(t *testing.T, s *site, c delegation){
	"del-subset":              mintsWithin,
	"del-widen-scope":         mintsWithin,
	"del-other-id":            mintsWithin,
	"del-admin-from-nonadmin": mintsWithin,
	"del-keys-create": func(t *testing.T, s *site, c delegation) {
		// Policy: an administrator may hand out the right; it alone makes no key, POST /admin/keys asks for admin.
		pair := s.mint(t, s.root(t).Access, c.Requested...)
		wants(t, "POST /admin/keys", s.call(t, "POST", "/admin/keys", pair.Access, map[string]any{}), 403, "permission_denied")
	},
	"del-10k": func(t *testing.T, s *site, c delegation) {
		r := s.clientKey(t, s.root(t).Access, map[string]any{"permissions": c.Requested})
		if len(c.Requested) != 10_000 || r.status != 400 {
			t.Errorf("%d permissions: %d %.200s", len(c.Requested), r.status, r.body)
		}
	},
	"del-context-injection": func(t *testing.T, s *site, c delegation) {
		access := s.root(t).Access
		for _, id := range []string{c.ContextID, "a:b", "*"} {
			body := map[string]any{"permissions": c.Requested, "context_id": id, "context_identity": c.ContextIdentity}
			wants(t, id, s.clientKey(t, access, body), 400, "")
		}
		if listed := s.listClients(t, access); len(listed) != 0 {
			t.Errorf("stored: %v", listed)
		}
	},
	"del-stale-root": func(t *testing.T, s *site, _ delegation) {
		admin := s.root(t).Access
		bob := s.addRoot(t, admin, "bob")
		client := s.mint(t, bob.Access, "admin").Access
		if status, _ := s.gate(t, "GET", "/metrics", client); status != 200 {
			t.Fatalf("before: %d", status)
		}
		s.call(t, "PUT", "/admin/keys/"+parse(t, bob.Access).Sub+"/permissions", admin, map[string][]string{"add": {"context:list"}, "remove": {"admin"}}).data(t, &map[string]any{})
		if status, reason := s.gate(t, "GET", "/metrics", client); status != 403 || reason != "permission_denied" {
			t.Errorf("the client of a reduced root: %d %s", status, reason)
		}
		r := s.call(t, "GET", "/auth/validate?proxy=traefik", client, nil, "X-Forwarded-Uri", "/admin-api/contexts", "X-Forwarded-Method", "GET", "X-Forwarded-Host", "h")
		if wants(t, "what is left", r, 200, ""); r.header.Get("X-Auth-Permissions") != "context:list" {
			t.Errorf("the node is told %q", r.header.Get("X-Auth-Permissions"))
		}
	},
	"del-same-second": func(t *testing.T, s *site, c delegation) {
		access := s.root(t).Access
		if first, second := s.mint(t, access, c.Requested...), s.mint(t, access, c.Requested...); parse(t, first.Access).Sub == parse(t, second.Access).Sub {
			t.Error("two keys of one second have one id")
		}
	},
	"put-self-escalate": func(t *testing.T, s *site, c delegation) {
		token := s.mint(t, s.root(t).Access, c.Root...).Access
		wants(t, "PUT", s.change(t, token, parse(t, token).Sub, c.Requested, nil), 403, "permission_denied")
		wants(t, "an admin route", s.call(t, "GET", "/admin/keys", token, nil), 403, "permission_denied")
	},
	"put-other-escalate": func(t *testing.T, s *site, c delegation) {
		root := s.root(t).Access
		token, other := s.mint(t, root, c.Root...).Access, s.mint(t, root, "context:list").Access
		wants(t, "PUT", s.change(t, token, parse(t, other).Sub, []string{"admin"}, nil), 403, "permission_denied")
		wants(t, "an admin route", s.call(t, "GET", "/admin/keys", other, nil), 403, "permission_denied")
	},
	"put-last-admin": func(t *testing.T, s *site, _ delegation) {
		root := s.root(t).Access
		wants(t, "PUT", s.change(t, root, parse(t, root).Sub, []string{"context:list"}, []string{"admin"}), 409, "")
		wants(t, "an admin route", s.call(t, "GET", "/admin/keys", root, nil), 200, "")
	},
	"put-add-and-remove-same": func(t *testing.T, s *site, _ delegation) {
		// Policy: what is removed goes first, then what is added comes, as the reference does.
		root := s.root(t).Access
		id := parse(t, s.mint(t, root, "context:list").Access).Sub
		var got struct{ Permissions []string }
		if s.change(t, root, id, []string{"blob"}, []string{"blob"}).data(t, &got); !slices.Equal(got.Permissions, []string{"context:list", "blob"}) {
			t.Errorf("permissions %q", got.Permissions)
		}
	},
	"create-root-needs-proof": func(t *testing.T, s *site, c delegation) {
		token := s.mint(t, s.root(t).Access, c.Root...).Access
		wants(t, "POST /admin/keys", s.call(t, "POST", "/admin/keys", token, map[string]any{
			"public_key": s.wallet.PublicKey, "auth_method": "near_wallet", "provider_data": map[string]string{"account_id": "alice.testnet"},
		}), 403, "permission_denied")
		wants(t, "her login", s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, nil)), 401, "")
	},
	"create-root-overwrites-revoked": func(t *testing.T, s *site, _ delegation) {
		admin := s.root(t).Access
		bob := s.addRoot(t, admin, "bob")
		s.call(t, "DELETE", "/admin/keys/"+parse(t, bob.Access).Sub, admin, nil).data(t, &map[string]any{})
		for _, token := range []string{admin, s.mint(t, admin, "admin").Access} {
			wants(t, "POST /admin/keys", s.call(t, "POST", "/admin/keys", token, map[string]any{
				"public_key": "bob", "auth_method": "user_password", "provider_data": map[string]string{"username": "bob", "password": s.password},
			}), 409, "")
		}
		wants(t, "his login", s.call(t, "POST", "/auth/token", "", s.loginBody("bob")), 401, "")
		wants(t, "his token", s.validate(t, bob.Access), 401, "token_revoked")
	},
}

// delegation is a case of who may give what to whom.
type delegation struct {
	ID, Expect      string
	Root            []string `json:"root_permissions"`
	Requested       []string
	ContextID       string `json:"context_id"`
	ContextIdentity string `json:"context_identity"`
}

// mintsWithin asks for a client key with the token of somebody who holds the case's permissions: without admin nobody
// mints at all (design 3.6), whatever the list.
func mintsWithin(t *testing.T, s *site, c delegation) {
	t.Helper()
	admin := s.root(t).Access
	wants(t, "without admin", s.clientKey(t, s.mint(t, admin, c.Root...).Access, map[string]any{"permissions": c.Requested}), 403, "permission_denied")
	// An administrator whose root key was since reduced to the case's list is held to it at once.
	root := s.Root(t, "admin")
	key := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: append([]string{"admin"}, c.Root...)})
	s.SetPermissions(t, root.Key, c.Root...)
	wants(t, "below a reduced root", s.clientKey(t, key.Access, map[string]any{"permissions": c.Requested}), 403, "permission_denied")
	if c.Expect == "ok" {
		wants(t, "with admin", s.validate(t, s.mint(t, admin, c.Requested...).Access), 200, "")
	}
}

func (s *site) change(t *testing.T, token, id string, add, remove []string) answer {
	t.Helper()
	return s.call(t, "PUT", "/admin/keys/"+id+"/permissions", token, map[string][]string{"add": add, "remove": remove})
}

func TestPermissionCorpus_Delegation(t *testing.T) {
	raw, err := os.ReadFile(permissionCorpus)
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct {
		Cases []delegation `json:"delegation_cases"`
	}
	if err := json.Unmarshal(raw, &corpus); err != nil {
		t.Fatal(err)
	}
	if len(corpus.Cases) != 15 || len(delegations) != 15 {
		t.Fatalf("%d cases, %d of them played, want 15", len(corpus.Cases), len(delegations))
	}
	for i, c := range corpus.Cases {
		play := delegations[c.ID]
		if play == nil {
			t.Errorf("nothing plays %s", c.ID)
			continue
		}
		t.Run(strconv.Itoa(i)+" "+c.ID, func(t *testing.T) { play(t, startSite(t), c) })
	}
}
