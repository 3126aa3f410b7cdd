package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

var preflightLines = []string{"Origin: https://app.example", "Access-Control-Request-Method: PUT"}

func TestPublicRoutesNeedNoCredential(t *testing.T) {
	s := authtest.Start(t)
	for _, target := range []string{
		"/", "/?x=1", "/favicon.ico", "/admin-dashboard", "/admin-dashboard/", "/admin-dashboard/assets/app.js", "/admin-api/health",
		"/admin-api/health?token=x", "/admin-api/ready", "/admin-api/is-authed", "/admin-api/certificate",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, form := range []string{"nginx", "traefik", "caddy", "haproxy"} {
				nobody(t, form+" "+method+" "+target, s.Ask(t, authtest.Question{Form: form, Method: method, Target: target}))
			}
			nobody(t, "envoy "+method+" "+target, s.Ask(t, authtest.Question{Via: method, Address: "/auth/validate/envoy" + target}))
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "FOO"} {
			got := s.Ask(t, authtest.Question{Form: "nginx", Method: method, Target: target})
			refused(t, method+" "+target, got, http.StatusUnauthorized, identity.MissingToken)
		}
	}
}

func TestNothingElseIsPublic(t *testing.T) {
	s := authtest.Start(t)
	for _, target := range []string{
		"/admin-api/health/", "/admin-api/healthz", "/admin-api/health/x", "/admin-api/HEALTH", "/admin-api%2fhealth", "//admin-api/health",
		"/admin-api/./health", "/admin-api/health;x", "/admin-api/health%00", "/admin-api/health#", "/admin-dashboard/../admin-api/contexts",
		"/admin-dashboard/%2e%2e/admin-api/contexts", "/admin-dashboard//x", "/admin-dashboardx", "/auth/login", "/auth/validate", "/metrics",
		"/index.html", "/public/x", "", "*",
	} {
		if target == "" {
			continue
		}
		got := s.Ask(t, authtest.Question{Form: "nginx", Target: target})
		refused(t, target, got, http.StatusUnauthorized, identity.MissingToken)
	}
}

// TestCredentialOnPublicRoute: a good one names the caller, a bad one never turns a public route into a 401, and the
// node, which checks nothing there, gets no assertion.
func TestCredentialOnPublicRoute(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	expired := s.Mint(t, authtest.Mint{Key: root.Key, Permissions: []string{"admin"}, Machine: time.Minute})
	bound := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"context:list"}, NodeURL: "https://node.example.com"})
	s.Clock.Advance(time.Minute)
	revoked := s.Client(t, root, "context:list")
	s.RevokeKey(t, revoked.Key)

	ask := func(lines ...string) authtest.Answer {
		return s.Ask(t, authtest.Question{Form: "nginx", Target: "/admin-api/health", Host: "other.example.com", Headers: lines})
	}
	got := ask("Authorization: Bearer " + root.Access)
	allowed(t, "good", got, root, "admin")
	if proof := got.Header.Get(identity.HeaderAssertion); proof != "" {
		t.Errorf("assertion %q on a public route", proof)
	}
	for what, lines := range map[string][]string{
		"none":                 nil,
		"empty":                {"Authorization:"},
		"garbage":              {"Authorization: Bearer garbage"},
		"expired":              {"Authorization: Bearer " + expired.Access},
		"revoked":              {"Authorization: Bearer " + revoked.Access},
		"refresh token":        {"Authorization: Bearer " + root.Refresh},
		"of another host":      {"Authorization: Bearer " + bound.Access},
		"two headers":          {"Authorization: Bearer " + root.Access, "Authorization: Bearer " + root.Access},
		"basic":                {"Authorization: Basic dTpw"},
		"the client's own key": {"X-Auth-Key: root", "X-Auth-User: root", "X-Auth-Permissions: admin", "X-Auth-Expires: 9999999999", "X-Auth-Assertion: v1.x"},
	} {
		nobody(t, what, ask(lines...))
	}
	nobody(t, "token in the query", s.Ask(t, authtest.Question{Form: "nginx", Target: "/admin-api/health?token=" + root.Access}))
}

func TestRealPreflightPassesWithoutIdentity(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	for _, target := range []string{contexts, "/jsonrpc", "/admin-api/blobs/x", "/no-such-route", "/admin-api/health"} {
		for _, form := range []string{"nginx", "traefik", "caddy", "haproxy"} {
			q := authtest.Question{Form: form, Method: "OPTIONS", Target: target, Headers: preflightLines}
			nobody(t, form+" "+target, s.Ask(t, q))
			q.Token = root.Access // browsers send none; whoever does is not named either
			nobody(t, form+" with a token "+target, s.Ask(t, q))
		}
		nobody(t, "envoy "+target, s.Ask(t, authtest.Question{Via: "OPTIONS", Address: "/auth/validate/envoy" + target, Headers: preflightLines}))
	}
}

// TestFakePreflightIsNoWayIn sends what looks like a preflight to a careless reader.
func TestFakePreflightIsNoWayIn(t *testing.T) {
	s := authtest.Start(t)
	origin, wanted := preflightLines[0], preflightLines[1]
	for what, q := range map[string]authtest.Question{
		"no Origin":             {Method: "OPTIONS", Headers: []string{wanted}},
		"no request method":     {Method: "OPTIONS", Headers: []string{origin}},
		"neither":               {Method: "OPTIONS"},
		"empty Origin":          {Method: "OPTIONS", Headers: []string{"Origin:", wanted}},
		"empty request method":  {Method: "OPTIONS", Headers: []string{origin, "Access-Control-Request-Method:"}},
		"two Origins":           {Method: "OPTIONS", Headers: []string{origin, "Origin: https://b.example", wanted}},
		"two request methods":   {Method: "OPTIONS", Headers: []string{origin, wanted, wanted}},
		"GET":                   {Method: "GET", Headers: preflightLines},
		"DELETE":                {Method: "DELETE", Headers: preflightLines},
		"options in lower case": {Method: "options", Headers: preflightLines},
	} {
		q.Form, q.Target = "traefik", contexts
		refused(t, what, s.Ask(t, q), http.StatusUnauthorized, identity.MissingToken)
	}
	for _, target := range []string{"//admin-api/contexts", "/a/../b", "/admin-api/%63ontexts", "*", "http://x/"} {
		q := authtest.Question{Form: "traefik", Method: "OPTIONS", Target: target, Headers: preflightLines}
		refused(t, target, s.Ask(t, q), http.StatusUnauthorized, identity.MissingToken)
	}
	overridden := append([]string{"X-HTTP-Method-Override: DELETE"}, preflightLines...)
	q := authtest.Question{Form: "traefik", Method: "OPTIONS", Target: contexts, Headers: overridden}
	refused(t, "method override", s.Ask(t, q), http.StatusForbidden, identity.InvalidTarget)
}

func TestPreflightNeedsACredentialWhenSwitchedOff(t *testing.T) {
	s := authtest.Start(t, func(c *config.Config) { c.Forward.AllowPreflight = false })
	root := s.Root(t, "admin")
	q := authtest.Question{Form: "traefik", Method: "OPTIONS", Target: contexts, Headers: preflightLines}
	refused(t, "preflight", s.Ask(t, q), http.StatusUnauthorized, identity.MissingToken)
	q.Token = root.Access
	allowed(t, "preflight of an administrator", s.Ask(t, q), root, "admin")
}
