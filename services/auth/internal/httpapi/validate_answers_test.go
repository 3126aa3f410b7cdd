package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

var allForms = []string{"nginx", "traefik", "caddy", "haproxy"}

// denials are questions that are refused, by the reason.
func denials(t *testing.T, s *authtest.Service) map[string]authtest.Question {
	t.Helper()
	root := s.Root(t, "admin")
	client := s.Client(t, root, "blob:list")
	gone := s.Client(t, root, "admin")
	s.RevokeKey(t, gone.Key)
	bound := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"admin"}, NodeURL: "https://node.example.com"})
	return map[string]authtest.Question{
		identity.MissingToken:     {Target: contexts},
		identity.InvalidToken:     {Target: contexts, Token: "x"},
		identity.TokenRevoked:     {Target: contexts, Token: gone.Access},
		identity.PermissionDenied: {Target: contexts, Token: client.Access},
		identity.InvalidNode:      {Target: contexts, Token: bound.Access, Host: "evil.example"},
		identity.InvalidTarget:    {Target: "//x", Token: root.Access},
	}
}

// TestBodiesOfDenials: none for nginx, which would give up the connection; the JSON envelope for the others; none to
// a HEAD.
func TestBodiesOfDenials(t *testing.T) {
	s := authtest.Start(t)
	for reason, q := range denials(t, s) {
		for _, form := range allForms {
			for _, via := range []string{"GET", "POST", "HEAD"} {
				q.Form, q.Via = form, via
				got := s.Ask(t, q)
				what := form + " " + via + " " + reason
				if got.Reason() != reason {
					t.Errorf("%s: %v", what, got)
				}
				if form == "nginx" || via == "HEAD" {
					if got.Body != "" || form == "nginx" && got.Header.Get("Content-Length") != "0" {
						t.Errorf("%s: body %q, Content-Length %q, want none", what, got.Body, got.Header.Get("Content-Length"))
					}
					continue
				}
				var envelope map[string]any
				if err := json.Unmarshal([]byte(got.Body), &envelope); err != nil {
					t.Errorf("%s: body %q: %v", what, got.Body, err)
				}
				if text, isText := envelope["error"].(string); !isText || text == "" || envelope["data"] != nil || len(envelope) != 2 {
					t.Errorf("%s: body %q is not the envelope", what, got.Body)
				}
				if got.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s: Content-Type %q", what, got.Header.Get("Content-Type"))
				}
			}
		}
	}
}

func TestHeadersOfDenials(t *testing.T) {
	s := authtest.Start(t)
	for reason, q := range denials(t, s) {
		for _, form := range allForms {
			q.Form = form
			got := s.Ask(t, q)
			if got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s: %v", form, reason, got)
			}
			challenge := got.Header.Values("WWW-Authenticate")
			want := []string{`Bearer realm="mero", error="invalid_token", error_description="` + reason + `"`}
			switch {
			case got.Status == http.StatusForbidden:
				want = nil
			case reason == identity.MissingToken:
				want = []string{`Bearer realm="mero"`} // RFC 6750 section 3.1: no error code without a credential
			}
			if !slices.Equal(challenge, want) {
				t.Errorf("%s %s: WWW-Authenticate %q, want %q", form, reason, challenge, want)
			}
			if got.Header.Get("Location") != "" {
				t.Errorf("%s %s: Location %q", form, reason, got.Header.Get("Location"))
			}
		}
	}
}

// TestForeignPageMayReadWhyItWasRefused: without these headers a browser hides X-Auth-Error, and the app on another
// origin cannot know that it should refresh.
func TestForeignPageMayReadWhyItWasRefused(t *testing.T) {
	const origin = "https://app.example"
	for name, c := range map[string]struct {
		change      func(*config.Config)
		origin      string
		allowOrigin string
		credentials string
		vary        bool
	}{
		"every origin":       {func(c *config.Config) { c.CORS.AllowAllOrigins = true }, origin, "*", "", false},
		"no Origin, every":   {func(c *config.Config) { c.CORS.AllowAllOrigins = true }, "", "*", "", false},
		"listed":             {func(c *config.Config) { c.CORS.AllowedOrigins = []string{origin} }, origin, origin, "true", true},
		"not listed":         {func(c *config.Config) { c.CORS.AllowedOrigins = []string{origin} }, "https://evil.example", "", "", true},
		"suffix of a listed": {func(c *config.Config) { c.CORS.AllowedOrigins = []string{origin} }, origin + ".evil.example", "", "", true},
		"null":               {func(c *config.Config) { c.CORS.AllowedOrigins = []string{origin} }, "null", "", "", true},
		"own origin alone":   {func(*config.Config) {}, origin, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := authtest.Start(t, c.change)
			questions := denials(t, s)
			good := s.Root(t, "admin")
			for reason, q := range questions {
				for _, form := range append(allForms, "") {
					q := q
					if q.Form = form; form == "" {
						q = authtest.Question{Token: q.Token, Headers: []string{"X-Original-URI: /x"}}
					}
					if c.origin != "" {
						q.Headers = append(q.Headers, "Origin: "+c.origin)
					}
					checkCORS(t, form+" "+reason, s.Ask(t, q), c.allowOrigin, c.credentials, c.vary)
				}
			}
			probe := authtest.Question{Token: good.Access}
			if c.origin != "" {
				probe.Headers = []string{"Origin: " + c.origin}
			}
			got := s.Ask(t, probe)
			if got.Status != http.StatusOK {
				t.Fatal(got)
			}
			checkCORS(t, "probe", got, c.allowOrigin, c.credentials, c.vary)
		})
	}
}

func checkCORS(t *testing.T, what string, got authtest.Answer, allowOrigin, credentials string, vary bool) {
	t.Helper()
	if v := got.Header.Get("Access-Control-Allow-Origin"); v != allowOrigin {
		t.Errorf("%s: Access-Control-Allow-Origin %q, want %q", what, v, allowOrigin)
	}
	if v := got.Header.Get("Access-Control-Allow-Credentials"); v != credentials {
		t.Errorf("%s: Access-Control-Allow-Credentials %q, want %q", what, v, credentials)
	}
	if v := got.Header.Get("Access-Control-Expose-Headers"); (allowOrigin != "") != strings.Contains(v, "X-Auth-Error") {
		t.Errorf("%s: Access-Control-Expose-Headers %q", what, v)
	}
	if v := slices.Contains(got.Header.Values("Vary"), "Origin"); v != vary {
		t.Errorf("%s: Vary %q, want Origin: %v", what, got.Header.Values("Vary"), vary)
	}
}

// TestBrowserIsSentToTheLoginPage pins who is redirected, and that nobody is led elsewhere.
func TestBrowserIsSentToTheLoginPage(t *testing.T) {
	s := authtest.Start(t, func(c *config.Config) { c.PublicURL = "https://node.example.com" })
	revoked := s.Root(t, "admin")
	s.RevokeKey(t, revoked.Key)
	powerless := s.Client(t, s.Root(t, "admin"), "blob:list")
	browser := []string{"Sec-Fetch-Mode: navigate", "Accept: text/html,application/xhtml+xml,*/*;q=0.8"}
	good := authtest.Question{Form: "traefik", Target: "/admin-api/contexts?x=1&y=%20", Host: "node.example.com", Headers: browser}
	change := func(f func(*authtest.Question)) authtest.Question {
		q := good
		f(&q)
		return q
	}
	for what, q := range map[string]authtest.Question{
		"traefik":           good,
		"caddy":             change(func(q *authtest.Question) { q.Form = "caddy" }),
		"host in capitals":  change(func(q *authtest.Question) { q.Host = "NODE.example.com" }),
		"host with port":    change(func(q *authtest.Question) { q.Host = "node.example.com:443" }),
		"revoked token":     change(func(q *authtest.Question) { q.Token = revoked.Access }),
		"garbage for token": change(func(q *authtest.Question) { q.Token = "x" }),
	} {
		got := s.Ask(t, q)
		location, err := url.Parse(got.Header.Get("Location"))
		if err != nil || got.Status != http.StatusFound {
			t.Errorf("%s: %v %v, want 302", what, got, err)
			continue
		}
		if location.Scheme != "https" || location.Host != "node.example.com" || location.Path != "/auth/login" {
			t.Errorf("%s: Location %q", what, location)
		}
		if back := location.Query().Get("callback-url"); back != "https://node.example.com/admin-api/contexts?x=1&y=%20" {
			t.Errorf("%s: callback-url %q", what, back)
		}
		for _, name := range identity.Headers {
			if got.Header.Get(name) != "" {
				t.Errorf("%s: a redirect carries %s", what, name)
			}
		}
	}
	for what, q := range map[string]authtest.Question{
		"nginx, which makes a 500 of it": change(func(q *authtest.Question) { q.Form = "nginx" }),
		"haproxy":                        change(func(q *authtest.Question) { q.Form = "haproxy" }),
		"another host":                   change(func(q *authtest.Question) { q.Host = "evil.example" }),
		"another port":                   change(func(q *authtest.Question) { q.Host = "node.example.com:8443" }),
		"host that only contains it":     change(func(q *authtest.Question) { q.Host = "node.example.com.evil.example" }),
		"no host":                        change(func(q *authtest.Question) { q.Host = "" }),
		"a target with an authority":     change(func(q *authtest.Question) { q.Target = "//evil.example/x" }),
		"a target with a scheme":         change(func(q *authtest.Question) { q.Target = "https://evil.example/x" }),
		"a target without a slash":       change(func(q *authtest.Question) { q.Target = "@evil.example/x" }),
		"POST":                           change(func(q *authtest.Question) { q.Method = "POST" }),
		"HEAD":                           change(func(q *authtest.Question) { q.Method = "HEAD" }),
		"fetch":                          change(func(q *authtest.Question) { q.Headers = []string{"Sec-Fetch-Mode: cors", browser[1]} }),
		"no Sec-Fetch-Mode":              change(func(q *authtest.Question) { q.Headers = browser[1:] }),
		"no Accept":                      change(func(q *authtest.Question) { q.Headers = browser[:1] }),
		"wants JSON":                     change(func(q *authtest.Question) { q.Headers = []string{browser[0], "Accept: application/json"} }),
		"envoy": change(func(q *authtest.Question) {
			q.Form, q.Address, q.Target, q.Headers = "", "/auth/validate/envoy/x", "", append([]string{"Host: node.example.com"}, browser...)
		}),
		"probe": change(func(q *authtest.Question) { q.Form, q.Target = "", "" }),
	} {
		got := s.Ask(t, q)
		if got.Status != http.StatusUnauthorized || got.Header.Get("Location") != "" {
			t.Errorf("%s: %v, want 401 without a Location", what, got)
		}
	}
	forbidden := change(func(q *authtest.Question) { q.Token = powerless.Access })
	refused(t, "somebody logged in is not sent to log in again", s.Ask(t, forbidden), http.StatusForbidden, identity.PermissionDenied)
}

func TestNoRedirectWithoutAPublicAddress(t *testing.T) {
	s := authtest.Start(t)
	got := s.Ask(t, authtest.Question{
		Form: "traefik", Target: "/x", Host: "evil.example", Headers: []string{"Sec-Fetch-Mode: navigate", "Accept: text/html"},
	})
	refused(t, "browser", got, http.StatusUnauthorized, identity.MissingToken)
	if got.Header.Get("Location") != "" {
		t.Errorf("Location %q made from a request header", got.Header.Get("Location"))
	}
}

func TestOtherMethodsAreNoQuestion(t *testing.T) {
	s := authtest.Start(t, func(c *config.Config) { c.CORS.AllowAllOrigins = true })
	root := s.Root(t, "admin")
	for _, via := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "FOO"} {
		for _, q := range []authtest.Question{{}, {Form: "nginx", Target: contexts}, {Form: "traefik", Target: contexts, Headers: preflightLines}} {
			q.Via, q.Token = via, root.Access
			got := s.Ask(t, q)
			if got.Status != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("%s %s: %v, want 405", via, q.Form, got)
			}
			for _, name := range identity.Headers {
				if got.Header.Get(name) != "" {
					t.Errorf("%s: a 405 carries %s", via, name)
				}
			}
		}
	}
	got := s.Ask(t, authtest.Question{Via: "OPTIONS", Headers: preflightLines})
	if got.Status != http.StatusNoContent || got.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a page's preflight for a probe: %v, want 204", got)
	}
}

func TestProbeAnswer(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	got := s.Ask(t, authtest.Question{Token: root.Access})
	if got.Body != `{"data":"","error":null}`+"\n" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("GET: %v", got)
	}
	if got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("GET: %v", got)
	}
	if got := s.Ask(t, authtest.Question{Via: "HEAD", Token: root.Access}); got.Body != "" || got.Header.Get("Content-Length") != "25" {
		t.Errorf("HEAD: %v", got)
	}
}
