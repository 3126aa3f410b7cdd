package httpapi_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// Checks 25 to 28: who may ask /admin, and what it says of the service.
var adminChecks = slices.Concat([]contractCheck{
	{25, "no token, no bearer, no good token", func(t *testing.T, s *site) {
		expired := s.root(t).Access
		s.Clock.Advance(time.Hour)
		// decided (design 3.7): missing credentials are 401 everywhere, and refusals have the envelope as everything has.
		for what, tt := range map[string]struct{ authorization, reason string }{
			"no header": {"", "missing_token"}, "Basic": {"Basic x", "missing_token"},
			"garbage": {"Bearer garbage", "invalid_token"}, "expired": {"Bearer " + expired, "token_expired"},
		} {
			r := s.call(t, "GET", "/admin/keys", "", nil, "Authorization", tt.authorization)
			wants(t, what, r, 401, tt.reason)
			r.message(t, what)
		}
	}},
	{26, "list of root keys", func(t *testing.T, s *site) {
		access := s.root(t).Access
		r := s.call(t, "GET", "/admin/keys", access, nil)
		var list []map[string]any
		if r.data(t, &list); len(list) != 1 {
			t.Fatalf("root keys: %s", r.body)
		}
		for _, name := range []string{"key_id", "public_key", "auth_method", "created_at", "revoked_at", "permissions"} {
			if _, has := list[0][name]; !has {
				t.Errorf("a root key has no %s: %s", name, r.body)
			}
		}
		if id := parse(t, access).Sub; list[0]["key_id"] != id || r.header.Get("X-Auth-User") != id || r.header.Get("X-Auth-Permissions") != "admin" {
			t.Errorf("root keys of %s: %s, headers %v", id, r.body, r.header)
		}
	}},
	{27, "identity of the service", func(t *testing.T, s *site) {
		// decided (design 3.7): public at /auth/identity, and for every token at /admin/identity.
		for _, path := range []string{"/admin/identity", "/auth/identity"} {
			var got map[string]any
			s.call(t, "GET", path, s.root(t).Access, nil).data(t, &got)
			providers, _ := got["providers"].([]any)
			if got["service"] != "calimero-auth" || got["version"] == "" || got["authentication_mode"] != "forward" || !slices.Equal(providers, []any{"near_wallet", "user_password"}) {
				t.Errorf("%s: %v", path, got)
			}
		}
	}},
	{28, "figures", func(t *testing.T, s *site) {
		access := s.root(t).Access
		wrong := s.loginBody("dev")
		wrong["provider_data"] = map[string]string{"username": "dev", "password": "another password"}
		s.call(t, "POST", "/auth/token", "", wrong)
		r := s.call(t, "GET", "/admin/metrics", access, nil)
		var got map[string]any
		r.data(t, &got)
		for _, name := range []string{
			"auth_attempts", "auth_successes", "auth_failures", "auth_success_rate", "auth_avg_duration_ms", "auth_failures_by_type", "token_refreshes", "token_revocations",
		} {
			if _, has := got[name]; !has {
				t.Errorf("no %s in %s", name, r.body)
			}
		}
		for name, want := range map[string]any{"auth_attempts": 2.0, "auth_successes": 1.0, "auth_failures": 1.0, "auth_success_rate": 50.0, "token_refreshes": 0.0, "token_revocations": 0.0} {
			if got[name] != want {
				t.Errorf("%s = %v, want %v", name, got[name], want)
			}
		}
		pair := s.root(t)
		s.call(t, "POST", "/admin/revoke", pair.Access, nil).data(t, &map[string]any{})
		refreshed := s.root(t)
		s.Clock.Advance(time.Hour)
		s.wantsPair(t, "refresh", s.refresh(t, refreshed))
		s.call(t, "GET", "/admin/metrics", s.root(t).Access, nil).data(t, &got)
		if got["token_refreshes"] != 1.0 || got["token_revocations"] != 1.0 || got["auth_successes"] != 4.0 {
			t.Errorf("after a refresh and a revocation: %v", got)
		}
	}},
}, clientKeyChecks, keyChecks)

// Checks 29 to 35: client keys.
var clientKeyChecks = []contractCheck{
	{29, "the body that the login page sends", func(t *testing.T, s *site) {
		wanted := []string{"context:create", "context:list", "context:execute"}
		pair := s.wantsPair(t, "client key", s.clientKey(t, s.root(t).Access, map[string]any{"context_id": "", "context_identity": "", "permissions": wanted}))
		if c := parse(t, pair.Access); !slices.Equal(c.Permissions, wanted) || c.NodeURL != "" {
			t.Errorf("token: %+v, want %q in order and no node_url", c, wanted)
		}
	}},
	{30, "two in the same second", func(t *testing.T, s *site) {
		access := s.root(t).Access
		first, second := s.mint(t, access, "context:list"), s.mint(t, access, "context:list")
		if parse(t, first.Access).Sub == parse(t, second.Access).Sub {
			t.Error("two client keys have one id")
		}
		listed := s.listClients(t, access)
		for _, pair := range []tokens{first, second} {
			wants(t, "client", s.validate(t, pair.Access), 200, "")
			if listed[parse(t, pair.Access).Sub] == nil {
				t.Errorf("a client key is not listed: %v", listed)
			}
		}
	}},
	{31, "bound to a context", func(t *testing.T, s *site) {
		pair := s.wantsPair(t, "client key", s.clientKey(t, s.root(t).Access, map[string]any{
			"context_id": "ctx-1", "context_identity": "member-pk-1", "permissions": []string{"context:execute"},
		}))
		if got := parse(t, pair.Access).Permissions; !slices.Equal(got, []string{"context[ctx-1,member-pk-1]", "context:execute"}) {
			t.Errorf("permissions %q", got)
		}
	}},
	{32, "permissions that nobody holds", func(t *testing.T, s *site) {
		access := s.root(t).Access
		for permission, shown := range map[string]string{"nonsense": "nonsense", `<img src="x">`: "&lt;img src=&#34;x&#34;&gt;"} {
			r := s.clientKey(t, access, map[string]any{"permissions": []string{permission}})
			if wants(t, permission, r, 400, ""); r.message(t, permission) != "Root key does not have permission: "+shown {
				t.Errorf("%s: %s", permission, r.body)
			}
		}
	}},
	{33, "made by a client without admin, or by nobody", func(t *testing.T, s *site) {
		body := map[string]any{"permissions": []string{"context:list"}}
		wants(t, "client", s.clientKey(t, s.mint(t, s.root(t).Access, "context:list").Access, body), 403, "permission_denied")
		wants(t, "nobody", s.clientKey(t, "", body), 401, "missing_token") // decided (design 3.7): as everywhere
	}},
	{34, "bound to a node", func(t *testing.T, s *site) {
		pair := s.wantsPair(t, "client key", s.clientKey(t, s.root(t).Access, map[string]any{
			"permissions": []string{"context:list"}, "target_node_url": "http://node1.test/admin-dashboard",
		}))
		wants(t, "its node", s.validate(t, pair.Access, "X-Forwarded-Host", "node1.test"), 200, "")
		wants(t, "another node", s.validate(t, pair.Access, "X-Forwarded-Host", "node2.test"), 403, "invalid_node")
	}},
	{35, "list of client keys", func(t *testing.T, s *site) {
		access := s.root(t).Access
		client := s.mint(t, access, "context:list")
		got := s.listClients(t, access)[parse(t, client.Access).Sub]
		permissions, _ := got["permissions"].([]any)
		if got["root_key_id"] != parse(t, access).Sub || got["name"] != "Context Client -  ()" || !slices.Equal(permissions, []any{"context:list"}) ||
			got["created_at"] != float64(s.Clock.Now().Unix()) || got["revoked_at"] != nil || got["is_valid"] != true {
			t.Errorf("client key: %v", got)
		}
	}},
}

func (s *site) clientKey(t *testing.T, token string, body map[string]any) answer {
	t.Helper()
	return s.call(t, "POST", "/admin/client-key", token, body)
}

// listClients returns the listed client keys by id.
func (s *site) listClients(t *testing.T, token string) map[string]map[string]any {
	t.Helper()
	var list []map[string]any
	s.call(t, "GET", "/admin/keys/clients", token, nil).data(t, &list)
	byID := map[string]map[string]any{}
	for _, k := range list {
		id, _ := k["client_id"].(string)
		byID[id] = k
	}
	return byID
}

// addRoot adds a second administrator by password and returns its session.
func (s *site) addRoot(t *testing.T, token, name string) tokens {
	t.Helper()
	s.call(t, "POST", "/admin/keys", token, map[string]any{
		"public_key": name, "auth_method": "user_password", "provider_data": map[string]string{"username": name, "password": s.password},
	}).data(t, &map[string]any{})
	return s.logIn(t, name)
}

// Checks 36 to 41: permissions, root keys, and the end of keys.
var keyChecks = []contractCheck{
	{36, "change of permissions", func(t *testing.T, s *site) {
		access := s.root(t).Access
		client := parse(t, s.mint(t, access, "admin").Access).Sub
		change := func(id string, add, remove []string) answer {
			return s.call(t, "PUT", "/admin/keys/"+id+"/permissions", access, map[string][]string{"add": add, "remove": remove})
		}
		var got struct{ Permissions []string }
		if change(client, []string{"context:list"}, []string{"admin"}).data(t, &got); !slices.Equal(got.Permissions, []string{"context:list"}) {
			t.Errorf("permissions %q, want context:list", got.Permissions)
		}
		wants(t, "removing all", change(client, nil, []string{"context:list"}), 400, "")
		wants(t, "nonsense", change(client, []string{"context:read:everything"}, nil), 400, "")
		wants(t, "unknown key", change("nobody", []string{"blob"}, nil), 404, "")
		if s.call(t, "GET", "/admin/keys/"+client+"/permissions", access, nil).data(t, &got); !slices.Equal(got.Permissions, []string{"context:list"}) {
			t.Errorf("after refused changes: %q", got.Permissions)
		}
	}},
	{37, "a client that helps itself", func(t *testing.T, s *site) {
		root := s.root(t).Access
		client := s.mint(t, root, "context:list").Access
		id := parse(t, client).Sub
		for what, r := range map[string]answer{
			"PUT permissions": s.call(t, "PUT", "/admin/keys/"+id+"/permissions", client, map[string][]string{"add": {"admin"}}),
			"revoke the root": s.call(t, "POST", "/admin/revoke", client, map[string]string{"client_id": parse(t, root).Sub}),
			"POST keys": s.call(t, "POST", "/admin/keys", client, map[string]any{
				"public_key": "eve", "auth_method": "user_password", "provider_data": map[string]string{"username": "eve", "password": "a long password"},
			}),
		} {
			wants(t, what, r, 403, "permission_denied")
		}
		wants(t, "the root", s.validate(t, root), 200, "")
	}},
	{38, "the bodies that the dashboard sends", func(t *testing.T, s *site) {
		access := s.root(t).Access
		for method, data := range map[string]map[string]string{
			"user_password": {"username": "bob", "password": "a long password"}, "near_wallet": {"account_id": "bob.testnet"},
		} {
			body := map[string]any{"public_key": s.wallet.PublicKey, "auth_method": method, "provider_data": data}
			var got map[string]any
			s.call(t, "POST", "/admin/keys", access, body).data(t, &got)
			if message, _ := got["message"].(string); got["status"] != true || message == "" {
				t.Errorf("%s: %v", method, got)
			}
			for name := range data {
				short := maps.Clone(data)
				delete(short, name)
				body["provider_data"] = short
				r := s.call(t, "POST", "/admin/keys", access, body)
				if r.status/100 != 4 {
					t.Errorf("%s without %s: %d", method, name, r.status)
				}
				r.message(t, method+" without "+name)
			}
		}
	}},
	{39, "deletion of a client key", func(t *testing.T, s *site) {
		access := s.root(t).Access
		other := parse(t, s.addRoot(t, access, "bob").Access).Sub
		client, root := s.mint(t, access, "context:list"), parse(t, access).Sub
		id := parse(t, client.Access).Sub
		wants(t, "wrong root", s.call(t, "DELETE", "/admin/keys/"+other+"/clients/"+id, access, nil), 400, "")
		wants(t, "unknown", s.call(t, "DELETE", "/admin/keys/"+root+"/clients/nobody", access, nil), 404, "")
		wants(t, "before", s.validate(t, client.Access), 200, "")
		var got map[string]any
		if s.call(t, "DELETE", "/admin/keys/"+root+"/clients/"+id, access, nil).data(t, &got); got["revoked_at"] != float64(s.Clock.Now().Unix()) {
			t.Errorf("deletion: %v", got)
		}
		wants(t, "its token", s.validate(t, client.Access), 401, "token_revoked") // decided (design 3.3)
	}},
	{40, "deletion of root keys", func(t *testing.T, s *site) {
		access := s.root(t).Access
		bob := s.addRoot(t, access, "bob")
		id := parse(t, bob.Access).Sub
		var got map[string]any
		s.call(t, "DELETE", "/admin/keys/"+id, access, nil).data(t, &got)
		if got["key_id"] != id || got["revoked_at"] == nil || got["status"] != true || got["success"] != true {
			t.Errorf("deletion: %v", got)
		}
		wants(t, "its token", s.validate(t, bob.Access), 401, "token_revoked")
		// decided (design 3.3): the last administrator is a conflict, with the data that clients read.
		r := s.call(t, "DELETE", "/admin/keys/"+parse(t, access).Sub, access, nil)
		if r.status != 409 || !strings.Contains(r.body, `"status":false`) || !strings.Contains(r.body, "Cannot delete the last active root key") {
			t.Errorf("the last root key: %d %s", r.status, r.body)
		}
		wants(t, "the last root key", s.validate(t, access), 200, "")
	}},
	{41, "revocation by id", func(t *testing.T, s *site) {
		access := s.root(t).Access
		client := s.mint(t, access, "context:list")
		var got map[string]any
		if s.call(t, "POST", "/admin/revoke", access, map[string]string{"client_id": parse(t, client.Access).Sub}).data(t, &got); got["success"] != true {
			t.Errorf("revoke: %v", got)
		}
		wants(t, "the client", s.validate(t, client.Access), 401, "token_revoked")
		s.Clock.Advance(time.Hour)
		wants(t, "its refresh", s.refresh(t, client), 401, "token_revoked")
	}},
}
