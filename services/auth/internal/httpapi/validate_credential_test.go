package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

func TestAuthorizationHeader(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	other := s.Client(t, root, "context:list")
	ask := func(lines ...string) authtest.Answer {
		return s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Headers: lines})
	}
	bearer := "Bearer " + root.Access
	for _, value := range []string{bearer, "bearer " + root.Access, "BEARER " + root.Access, "Bearer   " + root.Access, "  " + bearer + "  ", "\t" + bearer + "\t"} {
		allowed(t, "Authorization: "+strings.ReplaceAll(value, root.Access, "T"), ask("Authorization: "+value), root, "admin")
	}
	for what, want := range map[string]struct {
		lines  []string
		reason string
	}{
		"none":                     {nil, identity.MissingToken},
		"empty":                    {[]string{"Authorization:"}, identity.MissingToken},
		"scheme alone":             {[]string{"Authorization: Bearer"}, identity.InvalidToken},
		"scheme and blanks":        {[]string{"Authorization: Bearer   "}, identity.InvalidToken},
		"token alone":              {[]string{"Authorization: " + root.Access}, identity.MissingToken},
		"other scheme":             {[]string{"Authorization: Basic dTpw"}, identity.MissingToken},
		"other scheme with token":  {[]string{"Authorization: Token " + root.Access}, identity.MissingToken},
		"Bearer as a prefix":       {[]string{"Authorization: BearerX " + root.Access}, identity.MissingToken},
		"tab for the blank":        {[]string{"Authorization: Bearer\t" + root.Access}, identity.MissingToken},
		"two headers":              {[]string{"Authorization: " + bearer, "Authorization: Bearer " + other.Access}, identity.InvalidToken},
		"the same header twice":    {[]string{"Authorization: " + bearer, "Authorization: " + bearer}, identity.InvalidToken},
		"another and a good one":   {[]string{"Authorization: Basic dTpw", "Authorization: " + bearer}, identity.InvalidToken},
		"two tokens in one":        {[]string{"Authorization: " + bearer + ", " + bearer}, identity.InvalidToken},
		"two tokens and a blank":   {[]string{"Authorization: " + bearer + " " + other.Access}, identity.InvalidToken},
		"quoted":                   {[]string{`Authorization: Bearer "` + root.Access + `"`}, identity.InvalidToken},
		"refresh token":            {[]string{"Authorization: Bearer " + root.Refresh}, identity.InvalidToken},
		"garbage":                  {[]string{"Authorization: Bearer a.b.c"}, identity.InvalidToken},
		"broken signature":         {[]string{"Authorization: " + tampered(bearer)}, identity.InvalidToken},
		"Proxy-Authorization":      {[]string{"Proxy-Authorization: " + bearer}, identity.MissingToken},
		"cookie":                   {[]string{"Cookie: token=" + root.Access + "; Authorization=" + root.Access}, identity.MissingToken},
		"X-Forwarded-Access-Token": {[]string{"X-Forwarded-Access-Token: " + root.Access}, identity.MissingToken},
		"identity headers":         {[]string{"X-Auth-Key: " + root.Key, "X-Auth-User: " + root.Key, "X-Auth-Permissions: admin"}, identity.MissingToken},
	} {
		refused(t, what, ask(want.lines...), http.StatusUnauthorized, want.reason)
	}
}

func TestTokenInTheQuery(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	client := s.Client(t, root, "context:subscribe")
	ask := func(target string, lines ...string) authtest.Answer {
		return s.Ask(t, authtest.Question{Form: "traefik", Target: target, Headers: lines})
	}
	for _, target := range []string{"/ws?token={T}", "/sse?token={T}", "/ws?x=1&token={T}", "/ws?token={T}&x=1", "/ws?&token={T}&", "/ws?token[]=a&Token=b&token={T}"} {
		target = strings.ReplaceAll(target, "{T}", client.Access)
		got := ask(target)
		allowed(t, strings.ReplaceAll(target, client.Access, "{T}"), got, client, "context:subscribe")
		if err := s.VerifyAssertion(got, "GET", target); err != nil {
			t.Error(err)
		}
		allowed(t, "with a foreign scheme", ask(target, "Authorization: Basic dTpw"), client, "context:subscribe")
	}
	for target, reason := range map[string]string{
		"/ws":                                  identity.MissingToken,
		"/ws?":                                 identity.MissingToken,
		"/ws?x=token={T}":                      identity.MissingToken,
		"/ws?Token={T}":                        identity.MissingToken,
		"/ws?%74oken={T}":                      identity.MissingToken,
		"/ws?token%5B%5D={T}":                  identity.MissingToken,
		"/ws?access_token={T}":                 identity.MissingToken,
		"/ws?x;token={T}":                      identity.MissingToken,
		"/ws?token":                            identity.InvalidToken,
		"/ws?token=":                           identity.InvalidToken,
		"/ws?token={T}&token={T}":              identity.InvalidToken,
		"/ws?token={T}&token=":                 identity.InvalidToken,
		"/ws?token=&token={T}":                 identity.InvalidToken,
		"/ws?token&token={T}":                  identity.InvalidToken,
		"/ws?token={T};token={T}":              identity.InvalidToken,
		"/ws?token=Bearer%20{T}":               identity.InvalidToken,
		"/ws?token={T}%20":                     identity.InvalidToken,
		"/ws?token={T}+":                       identity.InvalidToken,
		"/ws?token={R}":                        identity.InvalidToken,
		"/ws/?token={T}":                       identity.MissingToken,
		"/ws/x?token={T}":                      identity.MissingToken,
		"/WS?token={T}":                        identity.MissingToken,
		"/sse/x?token={T}":                     identity.MissingToken,
		"/wss?token={T}":                       identity.MissingToken,
		"/admin-api/contexts?token={T}":        identity.MissingToken,
		"/jsonrpc?token={T}":                   identity.MissingToken,
		"//ws?token={T}":                       identity.MissingToken, // not canonical: its query is not read
		"/%77s?token={T}":                      identity.MissingToken,
		"/x/../ws?token={T}":                   identity.MissingToken,
		"/ws;x?token={T}":                      identity.MissingToken,
		"/ws#?token={T}":                       identity.MissingToken,
		"/ws?token={T}#x":                      identity.MissingToken,
		"http://node.example.com/ws?token={T}": identity.MissingToken,
	} {
		got := ask(strings.NewReplacer("{T}", client.Access, "{R}", client.Refresh).Replace(target))
		refused(t, target, got, http.StatusUnauthorized, reason)
	}
	// The header goes first: a query token beside it is neither read nor able to widen it.
	got := ask("/ws?token="+root.Access, "Authorization: Bearer "+client.Access)
	allowed(t, "header and query", got, client, "context:subscribe")
	refused(t, "bad header and good query", ask("/ws?token="+client.Access, "Authorization: Bearer x"), http.StatusUnauthorized, identity.InvalidToken)
	refused(t, "a token of the question itself", s.Ask(t, authtest.Question{Address: "/auth/validate?token=" + root.Access}), http.StatusUnauthorized, identity.MissingToken)
}

func TestQueryTokenPathsAreConfigured(t *testing.T) {
	s := authtest.Start(t, func(c *config.Config) { c.Forward.QueryTokenPaths = []string{contexts} })
	root := s.Root(t, "admin")
	allowed(t, "configured", s.Ask(t, authtest.Question{Form: "nginx", Target: contexts + "?token=" + root.Access}), root, "admin")
	got := s.Ask(t, authtest.Question{Form: "nginx", Target: "/ws?token=" + root.Access})
	refused(t, "not configured", got, http.StatusUnauthorized, identity.MissingToken)
}

// TestOversizeIsRefusedByTheGate: over 8 KiB the gate says so itself. An HTTP library's 431 would reach clients of
// nginx as a 500.
func TestOversizeIsRefusedByTheGate(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	for _, n := range []int{8<<10 + 1, 16 << 10, 60 << 10, 100 << 10} {
		long := strings.Repeat("a", n)
		got := s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: long})
		refused(t, "token", got, http.StatusUnauthorized, identity.InvalidToken)
		got = s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: strings.Repeat(".", n)})
		refused(t, "dots", got, http.StatusUnauthorized, identity.InvalidToken)
		got = s.Ask(t, authtest.Question{Form: "nginx", Target: "/" + long, Token: root.Access})
		refused(t, "path", got, http.StatusForbidden, identity.InvalidTarget)
		got = s.Ask(t, authtest.Question{Form: "nginx", Target: contexts + "?" + long, Token: root.Access})
		refused(t, "query", got, http.StatusForbidden, identity.InvalidTarget)
		got = s.Ask(t, authtest.Question{Form: "nginx", Target: "/ws?token=" + long})
		refused(t, "token in the query", got, http.StatusUnauthorized, identity.MissingToken)
		got = s.Ask(t, authtest.Question{Address: "/auth/validate/envoy/" + long, Token: root.Access})
		refused(t, "envoy", got, http.StatusForbidden, identity.InvalidTarget)
	}
	edge := contexts + "?" + strings.Repeat("a", 8<<10-len(contexts)-1)
	got := s.Ask(t, authtest.Question{Form: "nginx", Target: edge, Token: root.Access})
	allowed(t, "a target of 8 KiB", got, root, "admin")
	if err := s.VerifyAssertion(got, "GET", edge); err != nil {
		t.Error(err)
	}
}

// TestExpiredTokenSaysSo: clients refresh on token_expired and on nothing else.
func TestExpiredTokenSaysSo(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	short := s.Mint(t, authtest.Mint{Key: root.Key, Permissions: []string{"admin"}, Machine: time.Minute})
	q := authtest.Question{Form: "nginx", Target: contexts, Token: short.Access}
	s.Clock.Advance(time.Minute - time.Second)
	allowed(t, "in its last second, not seen before", s.Ask(t, q), short, "admin")
	s.Clock.Advance(time.Second)
	refused(t, "from the cache", s.Ask(t, q), http.StatusUnauthorized, identity.TokenExpired)
	fresh := s.Mint(t, authtest.Mint{Key: root.Key, Permissions: []string{"admin"}, Machine: time.Minute})
	s.Clock.Advance(time.Minute)
	q.Token = fresh.Access
	refused(t, "never seen before", s.Ask(t, q), http.StatusUnauthorized, identity.TokenExpired)
}

func TestLeewayIsForTheTokenAlone(t *testing.T) {
	s := authtest.Start(t, func(c *config.Config) { c.JWT.Leeway = 30 * time.Second })
	root := s.Root(t, "admin")
	token := s.Mint(t, authtest.Mint{Key: root.Key, Permissions: []string{"admin"}, Machine: time.Minute})
	key := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"admin"}, KeyLife: time.Minute})
	ask := func(token authtest.Token) authtest.Answer {
		return s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: token.Access})
	}
	s.Clock.Advance(time.Minute + 29*time.Second)
	allowed(t, "token within the leeway", ask(token), token, "admin")
	refused(t, "key past its expiry", ask(key), http.StatusUnauthorized, identity.TokenExpired)
	s.Clock.Advance(time.Second)
	refused(t, "token past the leeway", ask(token), http.StatusUnauthorized, identity.TokenExpired)
}
