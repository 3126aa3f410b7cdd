package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// refusal is how the proxy says no.
type refusal struct {
	status int
	reason string // X-Auth-Error
	text   string // error member of the body
}

// Every refusal of the gate, as nginx words it.
var (
	missingToken     = refusal{http.StatusUnauthorized, "missing_token", "No token provided"}
	invalidToken     = refusal{http.StatusUnauthorized, "invalid_token", "Invalid token"}
	expiredToken     = refusal{http.StatusUnauthorized, "token_expired", "Invalid token: Token has expired"}
	revokedToken     = refusal{http.StatusUnauthorized, "token_revoked", "Token has been revoked"}
	permissionDenied = refusal{http.StatusForbidden, "permission_denied", "Permission denied"}
	invalidNode      = refusal{http.StatusForbidden, "invalid_node", "Token is not valid for this host"}
	invalidTarget    = refusal{http.StatusForbidden, "invalid_target", "The request target is not acceptable"}
)

// refused checks the whole form of a refusal: status, body, and the headers that clients and browsers act on.
func refused(t *testing.T, a answer, want refusal) {
	t.Helper()
	if got := (refusal{a.status, a.header.Get("X-Auth-Error"), errorText(a.body)}); got != want {
		t.Errorf("%s: got %+v, want %+v; body %.200q", a.what, got, want, a.body)
	}
	challenges := a.header.Values("WWW-Authenticate")
	switch {
	case want.status == http.StatusForbidden && len(challenges) != 0:
		t.Errorf("%s: WWW-Authenticate %q on a 403", a.what, challenges)
	case want.status == http.StatusUnauthorized && (len(challenges) != 1 || !strings.HasPrefix(challenges[0], "Bearer ")):
		t.Errorf("%s: WWW-Authenticate %q, want exactly one Bearer", a.what, challenges)
	}
	if n := len(a.header.Values("X-Auth-Error")); n != 1 {
		t.Errorf("%s: X-Auth-Error occurs %d times", a.what, n)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "X-Request-Id": a.id} {
		if got := a.header.Values(name); !slices.Equal(got, []string{value}) {
			t.Errorf("%s: %s %q, want %q", a.what, name, got, value)
		}
	}
}

// errorText returns the error of {"data":null,"error":"..."}; anything else is shown as it is.
func errorText(body []byte) string {
	var envelope map[string]any
	err := json.Unmarshal(body, &envelope)
	text, isText := envelope["error"].(string)
	data, hasData := envelope["data"]
	if err != nil || !isText || !hasData || data != nil || len(envelope) != 2 {
		return fmt.Sprintf("not the error envelope: %.100q", body)
	}
	return text
}

// waitExpired returns when a token's time is over.
func waitExpired(t *testing.T, token string) {
	t.Helper()
	select {
	case <-time.After(time.Until(time.Unix(claims(t, token).Expires, 0)) + 100*time.Millisecond):
	case <-t.Context().Done():
	}
}

// expired returns a token of an administrator whose time is over.
func (a *administered) expired(t *testing.T) string {
	t.Helper()
	a.expiring.Do(func() {
		a.shortest = a.first.Access
		if a.local == nil {
			// Elsewhere an access token lives too long; no token lives shorter than a minute.
			a.shortest, a.shortestErr = a.mint(t.Context(), a.admin, time.Minute, "admin")
		}
	})
	if a.shortestErr != nil {
		t.Fatal(a.shortestErr)
	}
	waitExpired(t, a.shortest)
	return a.shortest
}

func TestScenarioRequestsWithoutAGoodTokenAreRefused(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	var challenge struct {
		Challenge string `json:"challenge"`
	}
	if err := s.call(t, "GET", "/auth/challenge", "", nil).data(&challenge); err != nil {
		t.Fatal(err)
	}
	header, rest, _ := strings.Cut(s.admin, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	cases := []struct {
		name, token string
		want        refusal
	}{
		{"no token", "", missingToken},
		{"garbage", "garbage", invalidToken},
		{"dots", "..", invalidToken},
		{"refresh token as access token", s.first.Refresh, invalidToken},
		{"challenge as access token", challenge.Challenge, invalidToken},
		{"without signature", header + "." + payload + ".", invalidToken},
		{"unsigned", "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + payload + ".", invalidToken},
		{"changed signature", header + "." + payload + "." + flip(signature), invalidToken},
		{"changed claims", header + "." + flip(payload) + "." + signature, invalidToken},
		{"longer than 8 KiB", strings.Repeat("A", 9<<10), invalidToken},
		{"expired", s.expired(t), expiredToken},
	}
	for _, c := range cases {
		for _, request := range []string{"GET /admin-api/blobs", "DELETE /admin-api/blobs/x", "POST /jsonrpc", "GET /unknown/route"} {
			method, target, _ := strings.Cut(request, " ")
			t.Run(c.name+"/"+method+target, func(t *testing.T) {
				a := s.call(t, method, target, c.token, nil)
				refused(t, a, c.want)
				s.notAtTheNode(t, a)
			})
		}
	}
	s.atTheNode(t, s.call(t, "GET", "/admin-api/blobs", s.admin, nil).want(t, http.StatusOK))
}

// flip changes the first character.
func flip(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

func TestScenarioClientKeyThatMayOnlyListBlobs(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob:list")
	s.atTheNode(t, s.call(t, "GET", "/admin-api/blobs", key, nil).want(t, http.StatusOK))
	s.atTheNode(t, s.call(t, "HEAD", "/admin-api/blobs", key, nil).want(t, http.StatusOK))
	for _, request := range []string{
		"DELETE /admin-api/blobs/x", "GET /admin-api/blobs/x", "PUT /admin-api/blobs", "POST /admin-api/blobs",
		"GET /admin-api/contexts", "POST /admin-api/contexts", "GET /metrics", "GET /unknown/route", "POST /jsonrpc",
		"GET /ws", "GET /sse",
	} {
		t.Run(strings.Replace(request, " ", "", 1), func(t *testing.T) {
			method, target, _ := strings.Cut(request, " ")
			a := s.call(t, method, target, key, nil)
			refused(t, a, permissionDenied)
			s.notAtTheNode(t, a)
		})
	}
	// Nor does the auth service let it grant or read anything.
	for _, request := range []string{"POST /admin/client-key", "GET /admin/keys", "POST /admin/keys", "GET /admin/keys/clients"} {
		method, target, _ := strings.Cut(request, " ")
		a := s.call(t, method, target, key, map[string]any{"permissions": []string{"admin"}})
		if a.status != http.StatusForbidden {
			t.Errorf("%s: status %d, want 403", request, a.status)
		}
	}
}

func TestScenarioAttackClientSendsIdentityWithoutToken(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	for _, name := range []string{"X-Auth-Key", "X-Auth-User", "x-auth-key", "X_Auth_Key", "X.Auth.Key", "Remote-User", "X-Authorization"} {
		a := s.call(t, "GET", "/admin-api/blobs", "", nil, name, "root", "X-Auth-Permissions", "admin", "X-Auth-Expires", "9999999999")
		refused(t, a, missingToken)
		s.notAtTheNode(t, a)
	}
}

func TestScenarioRevocationIsVisibleToTheNextRequest(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	working := func(token string) { s.call(t, "GET", "/admin-api/blobs", token, nil).want(t, http.StatusOK) }
	gone := func(token string) {
		t.Helper()
		a := s.call(t, "GET", "/admin-api/blobs", token, nil)
		refused(t, a, revokedToken)
		s.notAtTheNode(t, a)
	}
	t.Run("session", func(t *testing.T) {
		token := s.token(t, "blob:list")
		working(token)
		s.call(t, "POST", "/admin/revoke", token, map[string]any{}).want(t, http.StatusOK)
		gone(token)
	})
	t.Run("client key", func(t *testing.T) {
		token := s.token(t, "blob:list")
		working(token)
		root := claims(t, s.first.Access).Subject
		s.call(t, "DELETE", "/admin/keys/"+root+"/clients/"+claims(t, token).Subject, s.admin, nil).want(t, http.StatusOK)
		gone(token)
	})
	t.Run("root key and what it granted", func(t *testing.T) {
		const name, password = "second", "another horse battery staple"
		s.secrets.Add("password", password)
		s.call(t, "POST", "/admin/keys", s.admin, map[string]any{
			"public_key": name, "auth_method": "user_password", "provider_data": map[string]string{"username": name, "password": password},
		}).want(t, http.StatusOK)
		root := tokens(t, s.call(t, "POST", "/auth/token", "", passwordLogin(name, password, ""))).Access
		client, err := s.mint(t.Context(), root, time.Hour, "blob:list")
		if err != nil {
			t.Fatal(err)
		}
		working(root)
		working(client)
		s.call(t, "DELETE", "/admin/keys/"+claims(t, root).Subject, s.admin, nil).want(t, http.StatusOK)
		gone(root)
		gone(client)
		s.call(t, "POST", "/auth/token", "", passwordLogin(name, password, "")).want(t, http.StatusUnauthorized)
	})
}

func TestScenarioAttackTokenOfAnotherHost(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	var p pair
	if err := s.call(t, "POST", "/admin/client-key", s.admin, map[string]any{
		"permissions": []string{"blob:list"}, "target_node_url": "https://node.example.com", "expires_in": 3600,
	}).data(&p); err != nil {
		t.Fatal(err)
	}
	a := s.call(t, "GET", "/admin-api/blobs", p.Access, nil, "X-Forwarded-Host", "node.example.com", "X-Original-Host", "node.example.com")
	refused(t, a, invalidNode)
	s.notAtTheNode(t, a)
}

// nodeLog returns what merod has logged; ok is false when the stack is somebody else's.
func (s *site) nodeLog(t *testing.T) (log string, ok bool) {
	t.Helper()
	if s.local == nil {
		return "", false
	}
	log, err := s.local.Node.Log()
	if err != nil {
		t.Fatal(err)
	}
	return log, true
}

// atTheNode fails the test unless the node logs the request.
func (s *site) atTheNode(t *testing.T, a answer) {
	t.Helper()
	for range 1000 {
		log, ok := s.nodeLog(t)
		if !ok || strings.Contains(log, `"`+a.id+`"`) {
			return
		}
		time.Sleep(20 * time.Millisecond) // the line is written after the answer
	}
	t.Errorf("%s: the node has not logged request %s", a.what, a.id)
}

// notAtTheNode fails the test when the request has left a trace at the node: on the wire or in its log. The log is
// looked at again at the end of the test, when the line of a request that did arrive is there.
func (s *site) notAtTheNode(t *testing.T, a answer) {
	t.Helper()
	look := func() {
		t.Helper()
		if log, _ := s.nodeLog(t); strings.Contains(log, `"`+a.id+`"`) {
			t.Errorf("%s: the node has logged the refused request %s", a.what, a.id)
		}
	}
	look()
	t.Cleanup(look)
	if s.local == nil || s.local.NodeLink == nil {
		return
	}
	for _, r := range s.local.NodeLink.Requests() {
		if slices.Contains(r.Values("X-Request-Id"), a.id) {
			t.Errorf("%s: the refused request reached the node:\n%s", a.what, r.Head())
		}
	}
}
