package httpapi_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

const contexts = "/admin-api/contexts"

// refused fails the test unless got is the given denial and names nobody.
func refused(t *testing.T, what string, got authtest.Answer, status int, reason string) {
	t.Helper()
	if got.Status != status || got.Reason() != reason {
		t.Errorf("%s: got %v, want %d %s", what, got, status, reason)
		return
	}
	for _, name := range identity.Headers {
		if len(got.Header.Values(name)) > 0 {
			t.Errorf("%s: a refusal carries %s", what, name)
		}
	}
}

// allowed fails the test unless got is a 200 with the token's identity.
func allowed(t *testing.T, what string, got authtest.Answer, token authtest.Token, permissions string) {
	t.Helper()
	if got.Status != http.StatusOK {
		t.Errorf("%s: got %v, want 200", what, got)
		return
	}
	found := got.Identity(t)
	want := map[string]string{
		identity.HeaderKey: token.Key, identity.HeaderUser: token.Key, identity.HeaderPermissions: permissions,
		identity.HeaderExpires: strconv.FormatInt(token.Expires, 10),
	}
	for name, value := range want {
		if found[name] != value {
			t.Errorf("%s: %s is %q, want %q", what, name, found[name], value)
		}
	}
}

// nobody fails the test unless got is a 200 whose identity headers are all there and all empty.
func nobody(t *testing.T, what string, got authtest.Answer) {
	t.Helper()
	if got.Status != http.StatusOK {
		t.Errorf("%s: got %v, want 200", what, got)
		return
	}
	for name, value := range got.Identity(t) {
		if value != "" {
			t.Errorf("%s: %s is %q, want it empty", what, name, value)
		}
	}
}

func TestEveryFormReadsItsOwnFamily(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	client := s.Client(t, root, "context:list")
	for _, form := range []string{"nginx", "traefik", "caddy", "haproxy"} {
		for _, via := range []string{"GET", "HEAD", "POST"} {
			got := s.Ask(t, authtest.Question{Form: form, Via: via, Target: contexts + "?limit=1", Token: client.Access, Host: "node.example.com"})
			allowed(t, form+" "+via, got, client, "context:list")
			if err := s.VerifyAssertion(got, "GET", contexts+"?limit=1"); err != nil {
				t.Errorf("%s %s: %v", form, via, err)
			}
			if got.Body != "" {
				t.Errorf("%s %s: body %q on an answer for a proxy", form, via, got.Body)
			}
			got = s.Ask(t, authtest.Question{Form: form, Via: via, Method: "DELETE", Target: contexts + "/c1", Token: client.Access})
			refused(t, form+" "+via+" without the permission", got, http.StatusForbidden, identity.PermissionDenied)
		}
	}
}

// TestEnvoyForm puts the question as Envoy's ext_authz does: the original method, with the original target behind
// the prefix.
func TestEnvoyForm(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	ask := func(method, target string, headers ...string) authtest.Answer {
		return s.Ask(t, authtest.Question{Via: method, Address: "/auth/validate/envoy" + target, Token: root.Access, Headers: headers})
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "FOO"} {
		got := ask(method, "/admin-api/contexts/c1?x=1&proxy=nginx")
		allowed(t, method, got, root, "admin")
		if err := s.VerifyAssertion(got, method, "/admin-api/contexts/c1?x=1&proxy=nginx"); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	for _, target := range []string{
		"", "contexts", "*", "node.example.com:443", "//admin-api/contexts", "/admin-api/../x", "/admin-api/%63ontexts",
		"/a;b", "/a\\b", "?x", "/envoy//x",
	} {
		refused(t, "target "+target, ask("GET", target), http.StatusForbidden, identity.InvalidTarget)
	}
	// The forwarding headers of the other forms are the client's on this one, and not asked.
	got := ask("GET", contexts, "X-Original-URI: /admin-api/health", "X-Forwarded-Uri: /admin-api/health", "X-Forwarded-Method: GET")
	allowed(t, "forwarding headers", got, root, "admin")
	if err := s.VerifyAssertion(got, "GET", contexts); err != nil {
		t.Error(err)
	}
	refused(t, "method override", ask("GET", contexts, "X-HTTP-Method-Override: DELETE"), http.StatusForbidden, identity.InvalidTarget)
	refused(t, "empty Host", ask("GET", contexts, "Host:"), http.StatusForbidden, identity.InvalidTarget)
}

func TestConnectAndAbsoluteFormNeverBecomeARoute(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	for _, form := range []string{"nginx", "traefik", "caddy", "haproxy"} {
		for _, target := range []string{
			"http://node.example.com/admin-api/contexts", "https://node.example.com/", "node.example.com:443", "*",
			"//node.example.com/admin-api/contexts", "admin-api/contexts",
		} {
			for _, method := range []string{"GET", "CONNECT", "OPTIONS"} {
				got := s.Ask(t, authtest.Question{Form: form, Method: method, Target: target, Token: root.Access})
				refused(t, form+" "+method+" "+target, got, http.StatusForbidden, identity.InvalidTarget)
			}
		}
		// A proxy that loses the target of a CONNECT (Caddy names "/") gets an assertion for what it named, which the
		// node does not accept for what it receives.
		got := s.Ask(t, authtest.Question{Form: form, Method: "CONNECT", Target: "/", Token: root.Access})
		allowed(t, form+" CONNECT /", got, root, "admin")
		if err := s.VerifyAssertion(got, "CONNECT", "node.example.com:443"); err == nil {
			t.Errorf("%s: the assertion holds for another target", form)
		}
	}
}

// TestMalformedMethod asks about methods that no HTTP message can have (RFC 9110 section 5.6.2), as Traefik and
// Caddy do for an HTTP/2 client that puts blanks into :method.
func TestMalformedMethod(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	for _, method := range []string{"GET /admin-api/health HTTP/1.1", "G ET", "GET\tPOST", "GET,POST", "GET, POST", "GÉT", "ＧET", "GET/x", "(GET)", `"GET"`} {
		got := s.Ask(t, authtest.Question{Form: "traefik", Method: method, Target: contexts, Token: root.Access})
		refused(t, method, got, http.StatusForbidden, identity.InvalidTarget)
	}
	for _, method := range []string{"get", "FOO", "M-SEARCH", "X!#$%&'*+-.^_`|~9"} {
		got := s.Ask(t, authtest.Question{Form: "traefik", Method: method, Target: contexts, Token: root.Access})
		allowed(t, method, got, root, "admin")
		if err := s.VerifyAssertion(got, method, contexts); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// TestProxyParameterInOddSpellings asks with addresses that somebody could read as another form.
func TestProxyParameterInOddSpellings(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	target := []string{"X-Original-URI: " + contexts, "X-Original-Method: GET"}
	for _, query := range []string{
		"?proxy=nginx&proxy=caddy", "?proxy=nginx&proxy=nginx", "?proxy=caddy&proxy=nginx", "?%70roxy=nginx", "?proxy=%6eginx",
		"?proxy=NGINX", "?proxy=", "?proxy", "?proxy=nginx ", "?proxy=nginx&", "?&proxy=nginx", "?proxy=nginx&x=1", "?x=1&proxy=nginx",
		"?proxy=nginx;proxy=caddy", "?proxy=envoy", "?proxy=apache", "?proxy=nginx%00", "?proxy=nginx#", "?proxy=nginx?proxy=caddy", "?%zz=1",
	} {
		address := "/auth/validate" + strings.ReplaceAll(query, " ", "%20")
		got := s.Ask(t, authtest.Question{Address: address, Token: root.Access, Headers: target})
		refused(t, query+" with a target", got, http.StatusForbidden, identity.InvalidTarget)
		got = s.Ask(t, authtest.Question{Address: address, Token: root.Access})
		refused(t, query, got, http.StatusForbidden, identity.InvalidTarget)
	}
	// Names are case-sensitive: these are no proxy parameter, so the question is a probe, on which a target is refused.
	for _, query := range []string{"?Proxy=nginx", "?PROXY=nginx", "?proxy[]=nginx", "?proxy+=nginx", "?x=proxy=nginx"} {
		got := s.Ask(t, authtest.Question{Address: "/auth/validate" + query, Token: root.Access, Headers: target})
		refused(t, query+" with a target", got, http.StatusForbidden, identity.InvalidTarget)
	}
}

func TestGateAddressHasOneSpelling(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	for _, address := range []string{
		"/auth/%76alidate", "/auth//validate", "//auth/validate", "/auth/./validate", "/auth/x/../validate", "/auth/validate/",
		"/Auth/validate", "/auth/validate;x", "/auth/validatex", "/auth/validate%2f", "/auth\\validate", "/auth/%76alidate/envoy/admin-api/health",
	} {
		for _, query := range []string{"", "?proxy=traefik"} {
			got := s.Ask(t, authtest.Question{
				Address: address + query, Token: root.Access, Headers: []string{"X-Forwarded-Uri: " + contexts, "X-Forwarded-Method: GET"},
			})
			if got.Status < 400 || got.Status >= 500 {
				t.Errorf("%s%s: got %v, want a refusal", address, query, got)
			}
		}
	}
}

func TestStrangerCannotPoseAsAProxy(t *testing.T) {
	s := authtest.Start(t, authtest.Trusting("127.0.0.9/32", "10.0.0.0/16"))
	root := s.Root(t, "admin")
	for _, form := range []string{"nginx", "traefik", "caddy", "haproxy"} {
		q := authtest.Question{Form: form, Target: contexts, Token: root.Access, From: "127.0.0.9"}
		allowed(t, form+" from the proxy", s.Ask(t, q), root, "admin")
		q.From = "127.0.0.10"
		refused(t, form+" from a stranger", s.Ask(t, q), http.StatusForbidden, identity.InvalidTarget)
		q.Headers = []string{"X-Forwarded-For: 127.0.0.9", "X-Real-IP: 127.0.0.9", "Forwarded: for=127.0.0.9"}
		refused(t, form+" from a stranger who names the proxy", s.Ask(t, q), http.StatusForbidden, identity.InvalidTarget)
		q.Headers, q.Target = nil, "/admin-api/health"
		refused(t, form+" public route from a stranger", s.Ask(t, q), http.StatusForbidden, identity.InvalidTarget)
	}
	envoy := authtest.Question{Address: "/auth/validate/envoy" + contexts, Token: root.Access, From: "127.0.0.10"}
	refused(t, "envoy from a stranger", s.Ask(t, envoy), http.StatusForbidden, identity.InvalidTarget)
	envoy.From = "127.0.0.9"
	allowed(t, "envoy from the proxy", s.Ask(t, envoy), root, "admin")
	probe := authtest.Question{Token: root.Access, From: "127.0.0.10"}
	if got := s.Ask(t, probe); got.Status != http.StatusOK {
		t.Errorf("a probe from a client: got %v, want 200", got)
	}
}

func TestTargetMustBeCompleteAndSingle(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	for _, form := range []string{"nginx", "traefik", "caddy", "haproxy"} {
		own, other := "X-Forwarded-", "X-Original-"
		if form == "nginx" {
			own, other = other, own
		}
		uri, method := own+"Uri: "+contexts, own+"Method: GET"
		for what, lines := range map[string][]string{
			"nothing":                 nil,
			"no method":               {uri},
			"no URI":                  {method},
			"empty method":            {uri, own + "Method:"},
			"empty URI":               {own + "Uri:", method},
			"two URIs":                {uri, own + "Uri: /admin-api/health", method},
			"the same URI twice":      {uri, uri, method},
			"two methods":             {uri, method, own + "Method: DELETE"},
			"the same method twice":   {uri, method, method},
			"two hosts":               {uri, method, own + "Host: a.example", own + "Host: b.example"},
			"the same host twice":     {uri, method, own + "Host: a.example", own + "Host: a.example"},
			"empty host":              {uri, method, own + "Host:"},
			"the other family's URI":  {uri, method, other + "Uri: /admin-api/health"},
			"the other's empty URI":   {uri, method, other + "Uri:"},
			"the other's method":      {uri, method, other + "Method: GET"},
			"only the other family":   {other + "Uri: " + contexts, other + "Method: GET"},
			"X-HTTP-Method-Override":  {uri, method, "X-HTTP-Method-Override: DELETE"},
			"X-HTTP-Method":           {uri, method, "X-HTTP-Method: DELETE"},
			"X-Method-Override":       {uri, method, "X-Method-Override: DELETE"},
			"empty X-Method-Override": {uri, method, "X-Method-Override:"},
			"lower-case override":     {uri, method, "x-http-method-override: delete"},
		} {
			got := s.Ask(t, authtest.Question{Form: form, Token: root.Access, Headers: lines})
			refused(t, form+" "+what, got, http.StatusForbidden, identity.InvalidTarget)
		}
		got := s.Ask(t, authtest.Question{Form: form, Token: root.Access, Headers: []string{
			uri, method, other + "Host: evil.example", other + "Proto: http", other + "For: 1.2.3.4", other + "Port: 1",
			"X-Rewrite-Url: /admin-api/health", "X-Forwarded-Prefix: /x", "Forwarded: host=evil", "X_Original_URI: /x", "X.Forwarded.Uri: /x",
		}})
		allowed(t, form+" with harmless headers of others", got, root, "admin")
		if err := s.VerifyAssertion(got, "GET", contexts); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}

// TestProbeCannotBeUsedAsAGate asks at the plain address as a proxy that was configured without ?proxy=. Whatever it
// copies from the answer, the node must refuse: no key, no assertion.
func TestProbeCannotBeUsedAsAGate(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	for _, via := range []string{"GET", "HEAD", "POST"} {
		got := s.Ask(t, authtest.Question{Via: via, Token: root.Access})
		if got.Status != http.StatusOK {
			t.Fatalf("%s: %v", via, got)
		}
		found := got.Identity(t)
		if found[identity.HeaderKey] != "" || found[identity.HeaderAssertion] != "" {
			t.Errorf("%s: a probe names a key or carries an assertion: %v", via, got)
		}
		if found[identity.HeaderUser] != root.Key || found[identity.HeaderPermissions] != "admin" ||
			found[identity.HeaderExpires] != strconv.FormatInt(root.Expires, 10) {
			t.Errorf("%s: a probe must name user, permissions and expiry: %v", via, got)
		}
	}
	for what, lines := range map[string][]string{
		"X-Original-URI":     {"X-Original-URI: " + contexts},
		"X-Original-Method":  {"X-Original-Method: GET"},
		"X-Forwarded-Uri":    {"X-Forwarded-Uri: " + contexts},
		"X-Forwarded-Method": {"X-Forwarded-Method: GET"},
		"both of Traefik":    {"X-Forwarded-Uri: /admin-api/health", "X-Forwarded-Method: GET"},
		"an empty one":       {"X-Original-URI:"},
		"method override":    {"X-HTTP-Method-Override: DELETE"},
	} {
		for _, from := range []string{"127.0.0.1", "127.3.2.1"} {
			got := s.Ask(t, authtest.Question{Token: root.Access, Headers: lines, From: from})
			refused(t, what, got, http.StatusForbidden, identity.InvalidTarget)
		}
	}
	got := s.Ask(t, authtest.Question{Token: root.Access, Headers: []string{
		"X-Original-Host: a", "X-Forwarded-Host: b", "X-Forwarded-Proto: https", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Port: 1",
	}})
	if got.Status != http.StatusOK {
		t.Errorf("headers that name no target: got %v, want 200", got)
	}
}

func TestMisconfiguredProxyIsWarnedAboutOnceAMinute(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	const warning = "without saying which one"
	ask := func() {
		for range 20 {
			s.Ask(t, authtest.Question{Token: root.Access, Headers: []string{"X-Original-URI: /a?token=secret-in-query", "X-Original-Method: GET"}})
		}
	}
	ask()
	if n := len(s.Log.Lines(`"level":"WARN"`, warning, "?proxy=")); n != 1 {
		t.Errorf("%d warnings after twenty questions, want 1", n)
	}
	s.Clock.Advance(59 * time.Second)
	ask()
	if n := len(s.Log.Lines(warning)); n != 1 {
		t.Errorf("%d warnings within a minute, want 1", n)
	}
	s.Clock.Advance(time.Second)
	ask()
	if n := len(s.Log.Lines(warning)); n != 2 {
		t.Errorf("%d warnings after a minute, want 2", n)
	}
	if lines := s.Log.Lines("secret-in-query"); len(lines) > 0 {
		t.Errorf("a query string was logged: %q", lines)
	}
}

// TestPlainProxy gives the plain address the meaning of ?proxy=traefik, as merobox's labels need it.
func TestPlainProxy(t *testing.T) {
	s := authtest.Start(t, authtest.Trusting("127.0.0.9/32"), func(c *config.Config) { c.Forward.PlainProxy = "traefik" })
	root := s.Root(t, "admin")
	traefik := []string{"X-Forwarded-Uri: " + contexts, "X-Forwarded-Method: GET"}
	ask := func(from string, lines ...string) authtest.Answer {
		return s.Ask(t, authtest.Question{Token: root.Access, From: from, Headers: lines})
	}
	got := ask("127.0.0.9", traefik...)
	allowed(t, "as Traefik", got, root, "admin")
	if err := s.VerifyAssertion(got, "GET", contexts); err != nil {
		t.Error(err)
	}
	refused(t, "from a stranger", ask("127.0.0.10", traefik...), http.StatusForbidden, identity.InvalidTarget)
	refused(t, "nginx's family", ask("127.0.0.9", "X-Original-URI: "+contexts, "X-Original-Method: GET"), http.StatusForbidden, identity.InvalidTarget)
	refused(t, "both families", ask("127.0.0.9", append(traefik, "X-Original-URI: "+contexts)...), http.StatusForbidden, identity.InvalidTarget)
	refused(t, "without a method", ask("127.0.0.9", traefik[0]), http.StatusForbidden, identity.InvalidTarget)
	nobody(t, "without a target", ask("127.0.0.9"))
	nobody(t, "a client's probe", ask("127.0.0.10"))
	refused(t, "a probe without a token", s.Ask(t, authtest.Question{}), http.StatusUnauthorized, identity.MissingToken)
	// ?proxy= still says what it says.
	q := authtest.Question{Form: "nginx", Target: contexts, Token: root.Access, From: "127.0.0.9"}
	allowed(t, "nginx by name", s.Ask(t, q), root, "admin")
	if lines := s.Log.Lines("without saying which one"); len(lines) > 0 {
		t.Errorf("a warning about the configured form: %q", lines)
	}
}
