package httpapi_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func decode64(t *testing.T, text string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Every row of the route table times every kind of token: who gets to the handler, and what the others are told.
func TestEveryRouteTimesEveryKindOfToken(t *testing.T) {
	a := startAPI(t)
	first := a.logIn(t, "alice")
	a.advance(2 * time.Hour)
	admin := a.logIn(t, "alice")
	revoked, dead := a.mint(t, admin.Access, "admin"), a.mint(t, admin.Access, "admin")
	a.call(t, "POST", "/admin/revoke", revoked.Access, nil)
	a.call(t, "POST", "/admin/revoke", admin.Access, map[string]string{"client_id": parse(t, dead.Access).Sub})
	var bound tokens
	a.call(t, "POST", "/admin/client-key", admin.Access, map[string]any{"permissions": []string{"admin"}, "target_node_url": "https://node.example"}).data(t, &bound)
	challenge := struct{ Challenge string }{}
	a.call(t, "GET", "/auth/challenge", "", nil).data(t, &challenge)
	bare := a.mint(t, admin.Access).Access
	everythingElse := a.mint(t, admin.Access, "context", "application", "package", "blob", "alias", "namespace", "group").Access

	refusals := map[string]struct {
		token  string
		status int
		reason string
	}{
		"none":                     {"", 401, "missing_token"},
		"garbage":                  {"garbage", 401, "invalid_token"},
		"a refresh token":          {admin.Refresh, 401, "invalid_token"},
		"a challenge":              {challenge.Challenge, 401, "invalid_token"},
		"an expired token":         {first.Access, 401, "token_expired"},
		"a tampered token":         {admin.Access[:len(admin.Access)-6] + "AAAAAA", 401, "invalid_token"},
		"a token of a session":     {revoked.Access, 403, "token_revoked"},
		"a token of a revoked key": {dead.Access, 403, "token_revoked"},
		"a token of another host":  {bound.Access, 403, "invalid_node"},
	}
	rows := 0
	for row := range route.Auth.All() {
		if row.Op == "gate.validate" {
			continue
		}
		rows++
		path := strings.NewReplacer("{key_id}", "some-key", "{client_id}", "some-client", "{family}", "some-family", "{path...}", "some/file.js").Replace(row.Pattern)
		ask := func(token string) answer { return a.call(t, row.Method, path, token, nil) }
		for kind, refusal := range refusals {
			r := ask(refusal.token)
			switch {
			case row.Guard == route.Public:
				if r.status == 403 || r.header.Get("X-Auth-Error") != "" || (r.status == 401 && !strings.HasPrefix(path, "/auth/")) {
					t.Errorf("%s %s with %s: %d %q, but it is public", row.Method, path, kind, r.status, r.header.Get("X-Auth-Error"))
				}
			case r.status != refusal.status || r.header.Get("X-Auth-Error") != refusal.reason:
				t.Errorf("%s %s with %s: %d %q, want %d %q", row.Method, path, kind, r.status, r.header.Get("X-Auth-Error"), refusal.status, refusal.reason)
			}
		}
		if row.Guard == route.Public {
			continue
		}
		reached := func(r answer) bool {
			return r.header.Get("X-Auth-Error") == "" && r.status != http.StatusUnauthorized && r.header.Get("X-Auth-User") != ""
		}
		for kind, token := range map[string]string{"no permission": bare, "every permission of the node": everythingElse} {
			r := ask(token)
			if row.Guard == route.ByPermission || strings.HasPrefix(row.Op, "sessions.") { // whose path names another key
				if r.status != 403 || r.header.Get("X-Auth-Error") != "permission_denied" {
					t.Errorf("%s %s with %s: %d %q, want 403", row.Method, path, kind, r.status, r.header.Get("X-Auth-Error"))
				}
			} else if !reached(r) {
				t.Errorf("%s %s with %s: %d %q, but any token may", row.Method, path, kind, r.status, r.header.Get("X-Auth-Error"))
			}
			// The session of the token may have been revoked by its own request.
			if row.Op == "token.revoke" {
				bare, everythingElse = a.mint(t, admin.Access).Access, a.mint(t, admin.Access, "context", "application", "blob").Access
			}
		}
		for _, need := range row.Needs {
			permission := strings.NewReplacer("[key_id]", "[some-key]").Replace(need.Permission)
			if r := ask(a.mint(t, admin.Access, permission).Access); !reached(r) {
				t.Errorf("%s %s with %s: %d %q", row.Method, path, permission, r.status, r.header.Get("X-Auth-Error"))
			}
			if strings.Contains(need.Permission, "[key_id]") {
				other := strings.NewReplacer("[key_id]", "[other-key]").Replace(need.Permission)
				if r := ask(a.mint(t, admin.Access, other).Access); r.status != 403 {
					t.Errorf("%s %s with %s: %d", row.Method, path, other, r.status)
				}
			}
		}
		if r := ask(a.mint(t, admin.Access, "admin").Access); !reached(r) {
			t.Errorf("%s %s with admin: %d %q", row.Method, path, r.status, r.header.Get("X-Auth-Error"))
		}
	}
	if rows < 25 {
		t.Errorf("only %d rows were asked", rows)
	}
	a.update(t, func(tx *store.Tx) error {
		if k, err := tx.Key(parse(t, admin.Access).Sub); err != nil || k.RevokedAt != 0 {
			t.Errorf("the administrator: %+v, %v", k, err)
		}
		return nil
	})
}
