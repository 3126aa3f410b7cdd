package httpapi_test

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// Checks 1 to 5: what everybody may ask.
var publicChecks = []contractCheck{
	{1, "health", func(t *testing.T, s *site) {
		s.Clock.Advance(90 * time.Second)
		var got map[string]any
		s.call(t, "GET", "/auth/health", "", nil).data(t, &got)
		if !maps.Equal(got, map[string]any{"status": "alive", "storage": true, "uptime_seconds": 90.0}) {
			t.Errorf("health: %v", got)
		}
	}},
	{2, "providers", func(t *testing.T, s *site) {
		got := s.listProviders(t)
		// decided (design 3.4): providers have a fixed order, "configured" says that one can be used now, and whether a
		// first login is still to come is said once for all of them.
		if got.Count != 2 || len(got.Providers) != 2 || got.Bootstrap {
			t.Fatalf("providers: %+v, want two and a closed bootstrap", got)
		}
		for i, want := range []string{"near_wallet wallet", "user_password credentials"} {
			p := got.Providers[i]
			if p.Name+" "+p.Type != want || p.Description == "" || p.Configured == nil || !*p.Configured || p.Config == nil {
				t.Errorf("provider %d: %+v, want %s, configured", i, p, want)
			}
		}
	}},
	{3, "configuration of near_wallet", func(t *testing.T, s *site) {
		near := s.listProviders(t).Providers[0].Config
		for name, want := range map[string]string{"network": "testnet", "rpc_url": s.rpc.URL, "wallet_url": "https://wallet.testnet.near.org"} {
			if near[name] != want {
				t.Errorf("config.%s = %v, want %s", name, near[name], want)
			}
		}
	}},
	{4, "login page", func(t *testing.T, s *site) {
		r := s.call(t, "GET", "/auth/login", "", nil)
		if r.status != 200 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("login page: %d %v", r.status, r.header)
		}
		// decided (design 3.7): a plain page until the login application comes, so that no asset exists; what does not
		// exist is 404 in JSON, not the page under another name.
		for _, path := range []string{"/auth/assets/index-unknown.js", "/auth/favicon.ico"} {
			wants(t, path, s.call(t, "GET", path, "", nil), 404, "")
		}
	}},
	{5, "challenge", func(t *testing.T, s *site) {
		var first, second struct {
			Challenge, Nonce string
			MessageNonce     string `json:"message_nonce"`
		}
		s.call(t, "GET", "/auth/challenge", "", nil).data(t, &first)
		s.call(t, "GET", "/auth/challenge", "", nil).data(t, &second)
		header, claims := part(t, first.Challenge, 0), part(t, first.Challenge, 1)
		iat, exp := number(t, claims, "iat"), number(t, claims, "exp")
		if header["alg"] != "HS256" || exp-iat != 300 || iat != s.Clock.Now().Unix() {
			t.Errorf("challenge: header %v, iat %d, exp %d", header, iat, exp)
		}
		nonce, err := base64.StdEncoding.DecodeString(first.Nonce)
		if err != nil || len(nonce) != 32 || claims["nonce"] != first.Nonce || claims["jti"] != first.MessageNonce {
			t.Errorf("nonce %q (%d bytes, %v), message nonce %q, claims %v", first.Nonce, len(nonce), err, first.MessageNonce, claims)
		}
		if first.Challenge == second.Challenge || first.Nonce == second.Nonce || first.MessageNonce == second.MessageNonce {
			t.Error("two calls give the same challenge")
		}
	}},
}

type providerList struct {
	Count     int
	Bootstrap bool `json:"bootstrap_required"`
	Providers []struct {
		Name, Type, Description string
		Configured              *bool
		Config                  map[string]any
	}
}

func (s *site) listProviders(t *testing.T) (list providerList) {
	t.Helper()
	s.call(t, "GET", "/auth/providers", "", nil).data(t, &list)
	return list
}

// Checks 6 to 12: logins, and what an access token says.
var tokenChecks = []contractCheck{
	{6, "the body that mero-js sends", func(t *testing.T, s *site) {
		body := s.loginBody("dev")
		body["permissions"] = []string{"admin"}
		s.wantsPair(t, "mero-js", s.call(t, "POST", "/auth/token", "", body))
	}},
	{7, "milliseconds, no permissions, a bootstrap secret that nobody asked for", func(t *testing.T, s *site) {
		body := s.loginBody("dev")
		delete(body, "permissions")
		body["timestamp"] = 1_760_000_000_000
		s.wantsPair(t, "an older client", s.call(t, "POST", "/auth/token", "", body))
		// merobox goes on sending it where the contract's section 4.2 has it; here the bootstrap is closed.
		body["provider_data"] = map[string]string{"username": "dev", "password": s.password, "bootstrap_secret": "of the first start"}
		s.wantsPair(t, "merobox", s.call(t, "POST", "/auth/token", "", body))
		body["bootstrap_secret"] = "where nobody reads it"
		s.wantsPair(t, "beside provider_data", s.call(t, "POST", "/auth/token", "", body))
	}},
	{8, "a stale token on public routes", func(t *testing.T, s *site) {
		s.wantsPair(t, "/auth/token", s.call(t, "POST", "/auth/token", "junk", s.loginBody("dev")))
		wants(t, "/auth/providers", s.call(t, "GET", "/auth/providers", "junk", nil), 200, "")
		pair := s.root(t)
		s.Clock.Advance(time.Hour)
		s.wantsPair(t, "/auth/refresh", s.call(t, "POST", "/auth/refresh", "junk", map[string]string{"access_token": pair.Access, "refresh_token": pair.Refresh}))
	}},
	{9, "wrong password", func(t *testing.T, s *site) {
		body := s.loginBody("dev")
		body["provider_data"] = map[string]string{"username": "dev", "password": "another password"}
		r := s.call(t, "POST", "/auth/token", "", body)
		wants(t, "wrong password", r, 401, "")
		r.message(t, "wrong password")
	}},
	{10, "malformed bodies", func(t *testing.T, s *site) {
		for what, tt := range map[string]struct {
			member  string
			value   any
			status  int
			content string
		}{
			"missing field":      {"client_name", nil, 400, "application/json"},
			"empty method":       {"auth_method", "", 422, "application/json"},
			"negative timestamp": {"timestamp", -1, 400, "application/json"},
			// decided (docs/decisions.md, "A body that is not JSON"): 415, as RFC 9110 section 15.5.16 has it.
			"wrong content type": {"timestamp", 1, 415, "text/plain"},
		} {
			body := s.loginBody("dev")
			if body[tt.member] = tt.value; tt.value == nil {
				delete(body, tt.member)
			}
			r := s.call(t, "POST", "/auth/token", "", body, "Content-Type", "", "Content-Type", tt.content)
			wants(t, what, r, tt.status, "")
			r.message(t, what) // decided (design 3.7): one envelope everywhere, {"data":null,"error":"text"}
		}
	}},
	{11, "methods that are none", func(t *testing.T, s *site) {
		body := s.loginBody("dev")
		body["auth_method"] = "!!!"
		r := s.call(t, "POST", "/auth/token", "", body)
		if wants(t, "!!!", r, 400, ""); r.message(t, "!!!") != "Authentication method must contain valid characters" {
			t.Errorf("!!!: %s", r.body)
		}
		body["auth_method"] = "foo"
		wants(t, "foo", s.call(t, "POST", "/auth/token", "", body), 401, "")
	}},
	{12, "the access token", func(t *testing.T, s *site) {
		access := s.root(t).Access
		header, claims := part(t, access, 0), part(t, access, 1)
		// decided (design 3.3): typ names the kind, and kid the secret.
		if header["alg"] != "HS256" || header["typ"] != "at+jwt" || header["kid"] == "" || len(header) != 3 {
			t.Errorf("header %v", header)
		}
		names := slices.Sorted(maps.Keys(claims))
		if want := []string{"aud", "exp", "fam", "iat", "iss", "jti", "nbf", "permissions", "sub", "token_type"}; !slices.Equal(names, want) {
			t.Errorf("claims %q, want %q", names, want)
		}
		if claims["iss"] != "calimero-auth" || claims["aud"] != "calimero-auth" || claims["token_type"] != "access" {
			t.Errorf("claims %v", claims)
		}
		permissions, _ := claims["permissions"].([]any)
		if !slices.Equal(permissions, []any{"admin"}) || number(t, claims, "exp")-number(t, claims, "iat") != 3600 {
			t.Errorf("claims %v, want admin for an hour", claims)
		}
	}},
}

// wantsPair fails the test unless r is a token pair in the envelope that clients read.
func (s *site) wantsPair(t *testing.T, what string, r answer) (pair tokens) {
	t.Helper()
	if r.status != 200 {
		t.Errorf("%s: %d %s, want a token pair", what, r.status, r.body)
		return pair
	}
	var body map[string]any
	r.data(t, &body)
	names := slices.Sorted(maps.Keys(body))
	if r.data(t, &pair); !slices.Equal(names, []string{"access_token", "error", "refresh_token"}) || pair.Access == "" || pair.Refresh == "" || pair.Error != nil {
		t.Errorf("%s: %s, want access_token, refresh_token and a null error", what, r.body)
	}
	return pair
}
