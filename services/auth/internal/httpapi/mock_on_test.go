//go:build mock

package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// contract check 46, in a build that has mock tokens.
func TestMockTokens(t *testing.T) {
	body := map[string]any{"client_name": "ci run 7"}
	off := startSite(t)
	wants(t, "not enabled", off.call(t, "POST", "/auth/mock-token", "", body), 404, "")
	wants(t, "not enabled, without a name", off.call(t, "POST", "/auth/mock-token", "", "{}"), 400, "")

	s := startSite(t, func(c *config.Config) {
		c.Development = config.Development{EnableMockAuth: true, MockAuthRequireHeader: true, MockAuthHeaderValue: "Bearer t"}
	})
	for what, header := range map[string]string{"no header": "", "wrong header": "Bearer u", "part of the header": "Bearer "} {
		r := s.call(t, "POST", "/auth/mock-token", "", body, "Authorization", header)
		wants(t, what, r, 401, "")
		r.message(t, what)
	}
	mock := func(body map[string]any) answer { return s.call(t, "POST", "/auth/mock-token", "t", body) }
	r := mock(body)
	pair := s.wantsPair(t, "mock token", r)
	id := parse(t, pair.Access).Sub
	if r.header.Get("X-Mock-Token") != "true" || r.header.Get("X-Key-Id") != id || !strings.HasPrefix(id, "mock_cirun7_") || !strings.Contains(r.header.Get("X-Warning"), "testing only") {
		t.Errorf("headers %v of key %s", r.header, id)
	}
	wants(t, "validate", s.validate(t, pair.Access), 200, "")
	if got := s.validate(t, pair.Access).header.Get("X-Auth-Permissions"); got != "admin" {
		t.Errorf("permissions %q, want admin", got)
	}
	if again := parse(t, s.wantsPair(t, "the same second", mock(body)).Access).Sub; again == id {
		t.Error("two mock keys of one second have one id")
	}
	narrow := s.wantsPair(t, "with everything", mock(map[string]any{
		"client_name": "ci", "permissions": []string{"context:list"}, "node_url": "http://node1.test", "access_token_expiry": 60, "refresh_token_expiry": 600,
	}))
	if c := parse(t, narrow.Access); len(c.Permissions) != 1 || c.Permissions[0] != "context:list" || c.NodeURL != "http://node1.test" || c.Exp-c.Iat != 60 {
		t.Errorf("claims %+v", c)
	}
	s.Clock.Advance(time.Minute)
	wants(t, "refresh", s.refresh(t, narrow, "X-Forwarded-Host", "node1.test"), 200, "")
	for what, refused := range map[string]map[string]any{
		"a permission that is none": {"client_name": "ci", "permissions": []string{"admin\n"}},
		"a life that is too long":   {"client_name": "ci", "access_token_expiry": 3601},
		"a life below zero":         {"client_name": "ci", "access_token_expiry": -1},
	} {
		wants(t, what, mock(refused), 400, "")
	}
}
