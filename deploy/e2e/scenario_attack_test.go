package e2e

import (
	"net/http"
	"strings"
	"testing"
)

func TestScenarioAttackRefreshTokenOrChallengeAsAccessToken(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	var challenge struct {
		Challenge string `json:"challenge"`
	}
	if err := s.call(t, "GET", "/auth/challenge", "", nil).data(&challenge); err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{
		"GET /auth/validate", "POST /auth/validate", "GET /admin/identity", "GET /admin/keys", "POST /admin/keys", "GET /admin/keys/clients",
		"POST /admin/client-key", "POST /admin/revoke", "DELETE /admin/keys/x", "DELETE /admin/keys/x/clients/y",
		"GET /admin/keys/x/permissions", "PUT /admin/keys/x/permissions", "GET /admin/metrics", "GET /admin/audit",
	} {
		method, target, _ := strings.Cut(request, " ")
		for name, token := range map[string]string{"refresh token": s.first.Refresh, "challenge": challenge.Challenge} {
			a := s.call(t, method, target, token, nil)
			if a.status != http.StatusUnauthorized || a.header.Get("X-Auth-Error") != "invalid_token" || len(a.header.Values("WWW-Authenticate")) != 1 {
				t.Errorf("%s with a %s: status %d, X-Auth-Error %q, WWW-Authenticate %q", request, name, a.status,
					a.header.Get("X-Auth-Error"), a.header.Values("WWW-Authenticate"))
			}
		}
	}
}

func TestScenarioAttackClientPretendsAnotherMethod(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob:list")
	for _, request := range []string{"DELETE /admin-api/blobs/x", "POST /admin-api/blobs", "PUT /admin-api/blobs"} {
		method, target, _ := strings.Cut(request, " ")
		for _, name := range []string{"X-Original-Method", "X-Forwarded-Method", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
			a := s.call(t, method, target, key, nil, name, "GET", "X-Original-URI", "/admin-api/blobs", "X-Forwarded-Uri", "/admin-api/blobs")
			refused(t, a, permissionDenied)
			s.notAtTheNode(t, a)
		}
		refused(t, s.call(t, method, target+"?_method=GET&method=GET", key, nil), permissionDenied)
	}
}

// Through the proxy everybody can reach /auth/validate, from an address that the gate trusts. It must not tell them what it
// tells the proxy: an assertion in the wrong hands opens the node to whoever gets at it.
func TestScenarioAttackClientAsksTheGateItself(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	family := []string{
		"X-Original-URI", "/admin-api/blobs", "X-Original-Method", "GET", "X-Original-Host", "localhost",
		"X-Forwarded-Uri", "/admin-api/blobs", "X-Forwarded-Method", "GET", "X-Forwarded-Host", "localhost",
	}
	for _, query := range []string{"?proxy=nginx", "?proxy=traefik", "?proxy=caddy", "?proxy=haproxy", "?proxy=envoy", "?proxy=nginx&proxy=nginx", "?%70roxy=nginx"} {
		for _, headers := range [][]string{nil, family, family[:6], family[6:]} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				a := s.call(t, method, "/auth/validate"+query, s.admin, nil, headers...)
				if a.status < 400 && query != "?proxy=envoy" || a.header.Get("X-Auth-Assertion") != "" || a.header.Get("X-Auth-Key") != "" {
					t.Errorf("%s with %q: status %d, headers %v", a.what, headers, a.status, a.header)
				}
			}
		}
	}
	for _, target := range []string{
		"/auth/validate/envoy/admin-api/blobs", "/auth/validate/envoy", "/auth/validate/", "/auth/./validate/envoy/admin-api/blobs",
		"/auth/%76alidate/envoy/admin-api/blobs", "/auth/validate%2fenvoy/admin-api/blobs", "//auth//validate/envoy/admin-api/blobs",
	} {
		for _, method := range []string{"GET", "DELETE"} {
			a := s.call(t, method, target, s.admin, nil, family...)
			if a.status != http.StatusNotFound || a.header.Get("X-Auth-Assertion") != "" {
				t.Errorf("%s: status %d, headers %v", a.what, a.status, a.header)
			}
		}
	}
	probe := s.call(t, "GET", "/auth/validate", s.admin, nil).want(t, http.StatusOK)
	if probe.header.Get("X-Auth-User") == "" || probe.header.Get("X-Auth-Key") != "" || probe.header.Get("X-Auth-Assertion") != "" {
		t.Errorf("the probe tells %v", probe.header)
	}
	refused(t, s.call(t, "GET", "/admin-api/blobs", "", nil, "X-Auth-User", probe.header.Get("X-Auth-User")), missingToken)
}
