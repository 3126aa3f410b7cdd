package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/limit"
)

// loginWith is a login with this password.
func (a *api) loginWith(t *testing.T, user, password string) answer {
	t.Helper()
	body := a.loginBody(user)
	body["provider_data"] = map[string]string{"username": user, "password": password}
	return a.call(t, "POST", "/auth/token", "", body)
}

// An administrator sets a forgotten password: the old one and every session of it are worth nothing from then on.
func TestKeyEndpoint_Password(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice").Access
	path := "/admin/keys/" + a.addAccount(t, "bob", "admin")
	bob := a.logIn(t, "bob")
	client := a.mint(t, bob.Access, "context:list")
	machine := a.mint(t, admin, "keys", "blob", "context").Access
	wallet := map[string]any{
		"public_key": "w", "auth_method": "eth_wallet", "provider_data": map[string]string{"account_id": "0x8A0B243A0d4Fd01E7d4EF4B65A709Ea01469DCb9"},
	}
	a.call(t, "POST", "/admin/keys", admin, wallet).data(t, &map[string]any{})
	var roots []map[string]any
	a.call(t, "GET", "/admin/keys", admin, nil).data(t, &roots)
	walletPath := ""
	for _, root := range roots {
		if root["auth_method"] == "eth_wallet" {
			walletPath = fmt.Sprintf("/admin/keys/%s", root["key_id"])
		}
	}
	gone := "/admin/keys/" + a.addAccount(t, "carol", "admin")
	a.call(t, "DELETE", gone, admin, nil).data(t, &map[string]any{})

	const forgotten, chosen = "correct horse", "chosen \u00a0 by the administrator"
	for what, tt := range map[string]struct {
		path, token, body, message string
		status                     int
	}{
		"too short":           {path, admin, `{"password":"short"}`, "at least 8 characters", 400},
		"too long":            {path, admin, `{"password":"` + strings.Repeat("x", 129) + `"}`, "at most 128 bytes", 400},
		"empty":               {path, admin, `{"password":""}`, "required", 400},
		"null":                {path, admin, `{"password":null}`, "must be a text", 400},
		"a number":            {path, admin, `{"password":12345678}`, "must be a text", 400},
		"beside a bad expiry": {path, admin, `{"password":"long enough","expires_at":1}`, "in the future", 400},
		"a wallet's key":      {walletPath, admin, `{"password":"long enough"}`, "has no password", 400},
		"a client key":        {"/admin/keys/" + parse(t, client.Access).Sub, admin, `{"password":"long enough"}`, "has no password", 400},
		"a revoked key":       {gone, admin, `{"password":"long enough"}`, "Key not found", 404},
		"no key":              {"/admin/keys/nobody", admin, `{"password":"long enough"}`, "Key not found", 404},
		"without admin":       {path, machine, `{"password":"long enough"}`, "permission denied", 403},
		"another spelling":    {path, admin, `{"Password":"long enough"}`, "", 400},
	} {
		before := a.digest(t)
		r := a.call(t, "PATCH", tt.path, tt.token, tt.body)
		if got := r.message(t, what); r.status != tt.status || !strings.Contains(got, tt.message) {
			t.Errorf("%s: %d %q, want %d %q", what, r.status, got, tt.status, tt.message)
		}
		if a.digest(t) != before {
			t.Errorf("%s: the store changed", what)
		}
	}
	if r := a.loginWith(t, "bob", forgotten); r.status != 200 {
		t.Fatalf("after refusals: %d %s", r.status, r.body)
	}

	var got map[string]any
	r := a.call(t, "PATCH", path, admin, map[string]any{"password": chosen, "name": "Bob"})
	if r.data(t, &got); got["name"] != "Bob" || got["public_key"] != "bob" {
		t.Errorf("PATCH: %s", r.body)
	}
	if r := a.call(t, "GET", "/admin/keys", bob.Access, nil); r.status != 403 || r.header.Get("X-Auth-Error") != "token_revoked" {
		t.Errorf("bob's session goes on: %d %s", r.status, r.body)
	}
	refresh := map[string]string{"access_token": bob.Access, "refresh_token": bob.Refresh}
	if r := a.call(t, "POST", "/auth/refresh", "", refresh); r.status != 401 {
		t.Errorf("bob's session is refreshed: %d %s", r.status, r.body)
	}
	for what, token := range map[string]string{"the administrator's session": admin, "a client key that bob made": client.Access} {
		if r := a.call(t, "GET", "/admin/identity", token, nil); r.status != 200 {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	if r := a.loginWith(t, "bob", forgotten); r.status != 401 {
		t.Errorf("the forgotten password: %d %s", r.status, r.body)
	}
	if r := a.loginWith(t, "bob", chosen); r.status != 200 {
		t.Errorf("the new password: %d %s", r.status, r.body)
	}
	record := a.call(t, "GET", "/admin/audit", admin, nil).body
	if !strings.Contains(record, `"account.password_changed"`) || !strings.Contains(record, "set by an administrator; 2 sessions ended") {
		t.Errorf("the audit: %s", record)
	}
	for _, secret := range []string{"chosen", "long enough"} {
		if strings.Contains(record+a.log.String()+r.body, secret) {
			t.Errorf("a password is left: %q", secret)
		}
	}

	// The own password, too; the session that did it ends with the others.
	a.call(t, "PATCH", "/admin/keys/"+parse(t, admin).Sub, admin, map[string]string{"password": chosen}).data(t, &got)
	if r := a.call(t, "GET", "/admin/keys", admin, nil); r.status != 403 || r.header.Get("X-Auth-Error") != "token_revoked" {
		t.Errorf("the own session goes on: %d", r.status)
	}
}

// Setting a password costs a hash as a login does, and counts as one.
func TestKeyEndpoint_PasswordIsLimited(t *testing.T) {
	a := startAPI(t, func(o *apiOptions) { o.limits = limit.Rules{PerMinute: 1, Burst: 3} })
	admin := a.logIn(t, "alice").Access
	path := "/admin/keys/" + a.addAccount(t, "bob", "admin")
	for range 2 {
		a.call(t, "PATCH", path, admin, map[string]string{"password": "a new password"}).data(t, &map[string]any{})
	}
	if r := a.call(t, "PATCH", path, admin, map[string]string{"password": "a new password"}); r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("the fourth hash: %d %s, want 429", r.status, r.body)
	}
	a.call(t, "PATCH", path, admin, map[string]string{"name": "Bob"}).data(t, &map[string]any{})
}
