package httpapi_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Checks 13 to 19: the question of a forward proxy.
var gateChecks = []contractCheck{
	{13, "a good token", func(t *testing.T, s *site) {
		access := s.root(t).Access
		r := s.validate(t, access)
		if r.status != 200 || strings.TrimSpace(r.body) != `{"data":"","error":null}` {
			t.Errorf("validate: %d %s", r.status, r.body)
		}
		if r.header.Get("X-Auth-User") != parse(t, access).Sub || r.header.Get("X-Auth-Permissions") != "admin" {
			t.Errorf("validate: headers %v", r.header)
		}
	}},
	{14, "HEAD and POST", func(t *testing.T, s *site) {
		for _, token := range []string{s.root(t).Access, "", "junk"} {
			get := s.validate(t, token)
			for _, method := range []string{"HEAD", "POST"} {
				r := s.call(t, method, "/auth/validate", token, nil)
				if r.status != get.status || (method == "HEAD") != (r.body == "") {
					t.Errorf("%s: %d %q, GET %d", method, r.status, r.body, get.status)
				}
				for _, name := range []string{"X-Auth-User", "X-Auth-Permissions", "X-Auth-Expires", "X-Auth-Error", "Content-Type"} {
					if r.header.Get(name) != get.header.Get(name) {
						t.Errorf("%s: %s is %q, GET %q", method, name, r.header.Get(name), get.header.Get(name))
					}
				}
			}
		}
	}},
	{15, "tokens that are none", func(t *testing.T, s *site) {
		access := s.root(t).Access
		wants(t, "no token", s.validate(t, ""), 401, "missing_token")
		wants(t, "garbage", s.validate(t, "garbage"), 401, "invalid_token")
		wants(t, "tampered", s.validate(t, tampered(access)), 401, "invalid_token")
		s.Clock.Advance(time.Hour - time.Second)
		wants(t, "one second left", s.validate(t, access), 200, "")
		// decided (design 3.3): exp is exact; the reference allowed a minute more.
		s.Clock.Advance(time.Second)
		wants(t, "expired", s.validate(t, access), 401, "token_expired")
		wants(t, "expired and tampered", s.validate(t, tampered(access)), 401, "invalid_token")
	}},
	{16, "token in the query", func(t *testing.T, s *site) {
		access := s.root(t).Access
		// decided (design 3.6): the proxy's form is named in the address that it calls; without it forwarded targets are
		// refused. Only /ws and /sse may carry a token in the query.
		ask := func(address, target, token string) answer {
			return s.call(t, "GET", address, token, nil, "X-Forwarded-Uri", target, "X-Forwarded-Method", "GET")
		}
		target := "/ws?x=1&token=" + access
		wants(t, "token in the query", ask("/auth/validate?proxy=traefik", target, ""), 200, "")
		wants(t, "an invalid header wins", ask("/auth/validate?proxy=traefik", target, "junk"), 401, "invalid_token")
		wants(t, "another path", ask("/auth/validate?proxy=traefik", "/admin-api/contexts?token="+access, ""), 401, "missing_token")
		wants(t, "an unnamed proxy", ask("/auth/validate", target, ""), 403, "invalid_target")
		wants(t, "the query of the question itself", s.call(t, "GET", "/auth/validate?token="+access, "", nil), 401, "missing_token")
	}},
	{17, "other algorithms and other kinds of token", func(t *testing.T, s *site) {
		pair := s.root(t)
		for what, token := range map[string]string{
			"alg none": realgorithm(t, pair.Access, "none", nil), "HS384": realgorithm(t, pair.Access, "HS384", []byte("guess")),
			"RS256 with the public key as secret": realgorithm(t, pair.Access, "RS256", []byte("-----BEGIN PUBLIC KEY-----")),
			"refresh token":                       pair.Refresh, "challenge": s.challenge(t),
		} {
			wants(t, what, s.validate(t, token), 401, "invalid_token")
		}
	}},
	{18, "a token that is bound to a host", func(t *testing.T, s *site) {
		body := s.loginBody("dev")
		body["client_name"] = "http://node1.test/x"
		pair := s.wantsPair(t, "login", s.call(t, "POST", "/auth/token", "", body))
		for host, status := range map[string]int{"node1.test": 200, "node1.test:80": 200, "NODE1.test": 200, "node2.test": 403, "node1.test:81": 403, "auth": 403} {
			reason := map[int]string{403: "invalid_node"}[status]
			wants(t, host, s.validate(t, pair.Access, "X-Forwarded-Host", host), status, reason)
		}
	}},
	{19, "client names that are no address", func(t *testing.T, s *site) {
		for _, name := range []string{"mero-js-sdk", "localhost:4001"} {
			body := s.loginBody("dev")
			body["client_name"] = name
			pair := s.wantsPair(t, name, s.call(t, "POST", "/auth/token", "", body))
			wants(t, name, s.validate(t, pair.Access, "X-Forwarded-Host", "anything.test"), 200, "")
		}
	}},
}

// tampered returns the token with another signature of the same form.
func tampered(token string) string {
	flipped := "A"
	if token[len(token)-2] == 'A' {
		flipped = "B"
	}
	return token[:len(token)-2] + flipped + token[len(token)-1:]
}

// realgorithm returns the token under another algorithm, signed with a secret of the attacker's (nil: not at all).
func realgorithm(t *testing.T, token, alg string, secret []byte) string {
	t.Helper()
	header := part(t, token, 0)
	header["alg"] = alg
	encoded, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString(encoded) + "." + strings.Split(token, ".")[1]
	mac := hmac.New(sha256.New, secret)
	if alg == "HS384" {
		mac = hmac.New(sha512.New384, secret)
	}
	var signature []byte
	if secret != nil {
		_, _ = mac.Write([]byte(input)) // never fails
		signature = mac.Sum(nil)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (s *site) challenge(t *testing.T) string {
	t.Helper()
	var issued struct{ Challenge string }
	s.call(t, "GET", "/auth/challenge", "", nil).data(t, &issued)
	return issued.Challenge
}

// number returns a whole number among the claims.
func number(t *testing.T, claims map[string]any, name string) int64 {
	t.Helper()
	n, err := json.Number(fmt.Sprint(claims[name])).Int64()
	if err != nil {
		t.Fatalf("claim %s: %v", name, err)
	}
	return n
}

// Checks 20 to 24: refresh.
var refreshChecks = []contractCheck{
	{20, "an access token that is still valid", func(t *testing.T, s *site) {
		r := s.refresh(t, s.root(t))
		if wants(t, "refresh", r, 401, ""); !strings.Contains(r.message(t, "refresh"), "Access token still valid") {
			t.Errorf("refresh: %s", r.body)
		}
	}},
	{21, "after the access token's end", func(t *testing.T, s *site) {
		root := s.root(t)
		client := s.mint(t, root.Access, "context:list")
		s.Clock.Advance(time.Hour)
		for what, pair := range map[string]tokens{"root": root, "client": client} {
			next := s.wantsPair(t, what, s.refresh(t, pair))
			// decided (design 3.3): key ids do not change on refresh, for clients either; the session's family ties the
			// generations together.
			if was, is := parse(t, pair.Access), parse(t, next.Access); is.Sub != was.Sub || is.Fam != was.Fam || next.Refresh == pair.Refresh {
				t.Errorf("%s: %+v became %+v", what, was, is)
			}
			wants(t, what, s.validate(t, next.Access), 200, "")
			wants(t, what+", the old access token", s.validate(t, pair.Access), 401, "token_expired")
		}
	}},
	{22, "a refresh token used twice", func(t *testing.T, s *site) {
		root := s.root(t)
		client := s.mint(t, root.Access, "context:list")
		other := s.root(t) // another session of the same root key
		s.Clock.Advance(time.Hour)
		for what, pair := range map[string]tokens{"root": root, "client": client} {
			next := s.wantsPair(t, what, s.refresh(t, pair))
			// decided (design 3.3): a repeat within jwt.refresh_grace is the same answer once more (the first was lost).
			if again := s.wantsPair(t, what, s.refresh(t, pair)); again != next {
				t.Errorf("%s: a repeat at once gets another pair", what)
			}
			s.Clock.Advance(11 * time.Second)
			wants(t, what+", replayed", s.refresh(t, pair), 401, "token_reuse")
			// decided (design 3.3): reuse ends the session, of a root key too; the key itself and its other sessions stay.
			wants(t, what+", the successor", s.validate(t, next.Access), 401, "token_revoked")
			wants(t, what+", the successor's refresh", s.refresh(t, next), 401, "token_revoked")
		}
		s.wantsPair(t, "another session of the root key", s.refresh(t, other))
	}},
	{23, "tokens that do not belong together", func(t *testing.T, s *site) {
		root := s.root(t)
		client, other := s.mint(t, root.Access, "context:list"), s.mint(t, root.Access, "blob")
		s.Clock.Advance(time.Hour)
		for what, pair := range map[string]tokens{
			"of two keys":                   {Access: client.Access, Refresh: other.Refresh},
			"access token in both places":   {Access: client.Access, Refresh: client.Access},
			"refresh token in both places":  {Access: client.Refresh, Refresh: client.Refresh},
			"tampered refresh token":        {Access: client.Access, Refresh: tampered(client.Refresh)},
			"tampered access token":         {Access: tampered(client.Access), Refresh: client.Refresh},
			"challenge in place of refresh": {Access: client.Access, Refresh: s.challenge(t)},
		} {
			wants(t, what, s.refresh(t, pair), 401, "") // never token_expired or invalid_token here: clients dead-lock on them
		}
		s.Clock.Advance(31 * 24 * time.Hour)
		wants(t, "expired refresh token", s.refresh(t, client), 401, "")
	}},
	{24, "permissions that changed meanwhile", func(t *testing.T, s *site) {
		root := s.root(t)
		client := s.mint(t, root.Access, "context:list")
		path := "/admin/keys/" + parse(t, client.Access).Sub + "/permissions"
		s.call(t, "PUT", path, root.Access, map[string][]string{"add": {"blob"}, "remove": {"context:list"}}).data(t, &map[string]any{})
		s.Clock.Advance(time.Hour)
		next := s.wantsPair(t, "refresh", s.refresh(t, client))
		if got := parse(t, next.Access).Permissions; len(got) != 1 || got[0] != "blob" {
			t.Errorf("permissions after the refresh: %q, want blob", got)
		}
	}},
}
