package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near/neartest"
)

// Security tests by their number in the list of docs/testing.md, against the whole service. The list names the others.

// 13: a grant for one context opens no other, nothing global and, while the node does not enforce permissions itself,
// no JSON-RPC, whose context is in the body.
func TestScopedGrantOpensNothingElse(t *testing.T) {
	for _, enforced := range []bool{false, true} {
		s := startSite(t, func(c *config.Config) { c.Node.EnforcesPermissions = enforced })
		token := s.mint(t, s.root(t).Access, "context:execute:specific:A").Access
		inBody := map[bool]int{false: 403, true: 200} // a node that enforces permissions judges the body
		for request, want := range map[string]int{
			"POST /admin-api/contexts/A/join": 200, "POST /admin-api/contexts/sync/A": 200,
			"POST /admin-api/contexts/B/join": 403, "POST /admin-api/contexts/sync/B": 403,
			"GET /admin-api/contexts": 403, "GET /admin-api/contexts/A": 403, "DELETE /admin-api/contexts/A": 403, "GET /metrics": 403,
			"POST /jsonrpc": inBody[enforced], "POST /admin-api/contexts/sync": inBody[enforced],
		} {
			method, target, _ := strings.Cut(request, " ")
			if got, _ := s.gate(t, method, target, token); got != want {
				t.Errorf("enforced by the node: %t, %s: %d, want %d", enforced, request, got, want)
			}
		}
	}
}

// 14: spellings that a lenient reader takes for admin are refused wherever a permission is written.
func TestSpellingsOfAdmin(t *testing.T) {
	s := startSite(t)
	root := s.root(t).Access
	path := "/admin/keys/" + parse(t, s.mint(t, root, "context:list").Access).Sub + "/permissions"
	before := s.call(t, "GET", path, root, nil).body
	for _, spelling := range []string{
		"admin:read", "ad\u200bmin", "admin[x]", "a,admin", "admin ", " admin", "ADMIN", "Admin", "admin\n", "admin\x00", "admin[]", "admin:*",
		"\uff41dmin", "context:list,admin", "context[a],admin", "context:list\radmin", "*", "admin:global",
	} {
		wants(t, fmt.Sprintf("client-key with %q", spelling), s.clientKey(t, root, map[string]any{"permissions": []string{spelling}}), 400, "")
		wants(t, fmt.Sprintf("PUT of %q", spelling), s.call(t, "PUT", path, root, map[string][]string{"add": {spelling}}), 400, "")
	}
	if after := s.call(t, "GET", path, root, nil).body; after != before {
		t.Errorf("permissions %s, before %s", after, before)
	}
	if listed := s.listClients(t, root); len(listed) != 1 {
		t.Errorf("%d client keys, want the first alone", len(listed))
	}
}

// 17: what a deleted root key gave away ends with it, for good.
func TestDeletedRoot(t *testing.T) {
	s := startSite(t, authtest.OnDisk)
	admin := s.root(t).Access
	for _, end := range []string{"delete", "revoke"} {
		bob := s.addRoot(t, admin, "bob-"+end)
		client := s.mint(t, bob.Access, "context:list")
		minted := s.mint(t, s.mint(t, bob.Access, "admin").Access, "context:list") // by a client key of his
		id := parse(t, bob.Access).Sub
		if end == "delete" {
			s.call(t, "DELETE", "/admin/keys/"+id, admin, nil).data(t, &map[string]any{})
		} else {
			s.call(t, "POST", "/admin/revoke", admin, map[string]string{"client_id": id}).data(t, &map[string]any{})
		}
		dead := func(when string) {
			t.Helper()
			for what, pair := range map[string]tokens{"root": bob, "client": client, "client of a client": minted} {
				wants(t, end+", "+when+": access of the "+what, s.validate(t, pair.Access), 401, "token_revoked")
			}
		}
		dead("at once")
		s.Stop(t)
		was := s.Config
		s = startSiteAt(t, s.Clock.Now(), func(c *config.Config) { *c = was })
		dead("after a restart")
		s.Clock.Advance(time.Hour)
		for what, pair := range map[string]tokens{"root": bob, "client": client, "client of a client": minted} {
			wants(t, end+": refresh of the "+what, s.refresh(t, pair), 401, "token_revoked")
		}
		admin = s.root(t).Access
	}
}

// 19: of any number of first logins at the same time one gets in, and none without the secret; it never opens again.
func TestParallelBootstraps(t *testing.T) {
	const parallel = 24
	s := startSite(t, authtest.OnDisk, func(c *config.Config) { c.Admin, c.Bootstrap.Secret = config.Admin{}, firstSecret })
	w := newWire(t, s.Service, parallel)
	first := func(name, secret string) (int, string) {
		body, err := json.Marshal(map[string]any{
			"auth_method": "user_password", "public_key": name, "client_name": "test", "timestamp": 0,
			"provider_data": map[string]string{"username": name, "password": s.password, "bootstrap_secret": secret},
		})
		if err != nil {
			t.Error(err)
		}
		status, _, text, err := w.send("POST", "/auth/token", "", string(body))
		if err != nil {
			t.Error(err)
		}
		return status, string(text)
	}
	if status, _ := first("anonymous", ""); status != 401 {
		t.Errorf("without the secret: %d", status)
	}
	var winners atomic.Int64
	var winner atomic.Value
	var all sync.WaitGroup
	for i := range parallel {
		all.Go(func() {
			name := fmt.Sprint("admin-", i)
			switch status, text := first(name, firstSecret); status {
			case 200:
				winners.Add(1)
				winner.Store(name)
			case 401:
			default:
				t.Errorf("%s: %d %s", name, status, text)
			}
		})
	}
	all.Wait()
	if winners.Load() != 1 {
		t.Fatalf("%d of %d first logins got in, want 1", winners.Load(), parallel)
	}
	root := s.logIn(t, winner.Load().(string))
	var keys []map[string]any
	if s.call(t, "GET", "/admin/keys", root.Access, nil).data(t, &keys); len(keys) != 1 {
		t.Errorf("%d root keys, want 1", len(keys))
	}
	wants(t, "the last root key", s.call(t, "DELETE", "/admin/keys/"+parse(t, root.Access).Sub, root.Access, nil), 409, "")
	if status, _ := first("late", firstSecret); status != 401 {
		t.Errorf("the secret once more: %d", status)
	}
}

// 25: a wrong password is answered with the same words whoever is meant: nobody, somebody, somebody who was revoked.
// That they cost the same work is package password's TestAuthenticate_EnumerationByTextOrWork.
func TestEnumerationOfAccounts(t *testing.T) {
	s := startSite(t)
	admin := s.root(t).Access
	bob := s.addRoot(t, admin, "bob")
	s.call(t, "DELETE", "/admin/keys/"+parse(t, bob.Access).Sub, admin, nil).data(t, &map[string]any{})
	answers := map[string]answer{}
	for _, name := range []string{"nobody", "dev", "bob"} {
		body := s.loginBody(name)
		body["provider_data"] = map[string]string{"username": name, "password": "another password"}
		r := s.call(t, "POST", "/auth/token", "", body)
		r.header.Del("Date")
		r.header.Del("X-Request-Id")
		answers[name] = r
	}
	for name, r := range answers {
		if want := answers["nobody"]; r.status != 401 || r.body != want.body || !maps.EqualFunc(r.header, want.header, slices.Equal) {
			t.Errorf("%s: %d %v %s, for nobody %v %s", name, r.status, r.header, r.body, want.header, want.body)
		}
	}
}

// 26: no address that a client sends is ever fetched, and the RPC client follows no redirect.
func TestServerSideRequests(t *testing.T) {
	var hits atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(canary.Close)
	s := startSite(t, func(c *config.Config) { c.PublicURL = "https://node1.test" })
	s.addAlice(t)
	root := s.root(t).Access
	for _, url := range []string{canary.URL, canary.URL + "/latest/meta-data/", strings.Replace(canary.URL, "http://", "http://user@", 1), "//" + strings.TrimPrefix(canary.URL, "http://")} {
		body := s.loginBody("dev")
		body["client_name"] = url
		s.call(t, "POST", "/auth/token", "", body)
		s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, map[string]any{"callback_url": url, "recipient": url}))
		s.call(t, "POST", "/auth/token", "", s.signedLogin(t, func(m *neartest.Message) { m.Callback = &url }, map[string]any{"callback_url": url, "rpc_url": url}))
		s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, map[string]any{"wallet_address": url}))
		s.clientKey(t, root, map[string]any{"target_node_url": url, "permissions": []string{"context:list"}})
		s.call(t, "POST", "/admin/keys", root, map[string]any{
			"public_key": "x", "auth_method": "user_password", "target_node_url": url, "provider_data": map[string]string{"username": "u", "password": "a long password"},
		})
		s.call(t, "GET", "/auth/login?callback-url="+url+"&app-url="+url, "", nil)
		s.call(t, "GET", "/auth/callback?callback-url="+url, "", nil)
		s.call(t, "GET", "/auth/validate?proxy=traefik", root, nil, "X-Forwarded-Uri", url+"/admin-api/contexts", "X-Forwarded-Method", "GET", "X-Forwarded-Host", strings.TrimPrefix(url, "http://"))
		s.call(t, "GET", "/admin/identity", root, nil, "Origin", url, "Referer", url, "X-Original-URL", url, "Forwarded", "host="+url)
	}
	for _, code := range []int{301, 302, 303, 307, 308} {
		s.rpc.Set(jsonrpctest.Redirect(code, canary.URL))
		wants(t, fmt.Sprint("redirect ", code), s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, nil)), 503, "")
		s.Clock.Advance(time.Minute) // the breaker lets the next one through
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the canary was asked %d times", n)
	}
}

// 28: what a foreign page can make a browser send (a form, text, no preflight) does nothing, with cookies or without;
// and it reads nothing.
func TestCrossSiteRequests(t *testing.T) {
	s := startSite(t)
	root := s.root(t).Access
	login, err := json.Marshal(s.loginBody("dev"))
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/plain; charset=application/json", "application/jsonx"} {
		for path, body := range map[string]string{"/auth/token": string(login), "/auth/refresh": `{"access_token":"a","refresh_token":"b"}`, "/admin/client-key": `{}`, "/admin/keys": `{}`} {
			r := s.call(t, "POST", path, root, body, "Content-Type", "", "Content-Type", content, "Origin", "https://evil.test", "Cookie", "access_token="+root, "Sec-Fetch-Site", "cross-site")
			if r.status != 415 {
				t.Errorf("POST %s as %q: %d %s, want 415", path, content, r.status, r.body)
			}
		}
	}
	wants(t, "a token in a cookie", s.call(t, "GET", "/admin/keys", "", nil, "Cookie", "access_token="+root+"; token="+root), 401, "missing_token")
	for _, origin := range []string{"https://evil.test", "null", "http://app.test.evil.test", "http://app.test:81", "https://app.test", "http://APP.test@evil.test"} {
		for _, r := range []answer{
			s.call(t, "GET", "/admin/keys", root, nil, "Origin", origin),
			s.call(t, "OPTIONS", "/admin/keys", "", nil, "Origin", origin, "Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization"),
			s.call(t, "GET", "/auth/validate?proxy=traefik", root, nil, "Origin", origin, "X-Forwarded-Uri", "/admin-api/contexts", "X-Forwarded-Method", "GET"),
		} {
			if r.header.Get("Access-Control-Allow-Origin") != "" || r.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("origin %s is answered %v", origin, r.header)
			}
		}
	}
	if listed := s.listClients(t, root); len(listed) != 0 {
		t.Errorf("a foreign page made %v", listed)
	}
}

// 30: nothing secret in the log at its most talkative, in the metrics or in the store's files; and nothing that a
// client sends breaks a line of the log or reaches a terminal as an escape. The end-to-end tests look at the processes.
func TestNothingSecretIsKept(t *testing.T) {
	s := startSite(t, authtest.OnDisk)
	root := s.root(t)
	client := s.mint(t, root.Access, "context:list")
	s.Clock.Advance(time.Hour)
	next := s.wantsPair(t, "refresh", s.refresh(t, client))
	machine := s.clientKey(t, s.root(t).Access, map[string]any{"permissions": []string{"blob"}, "expires_in": 3600})
	var pair tokens
	machine.data(t, &pair)
	hostile := "x\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\r\n\x1b[31mred\x1b[0m\x00\u202e"
	body := s.loginBody("dev")
	body["public_key"], body["client_name"] = hostile, hostile
	body["provider_data"] = map[string]string{"username": hostile, "password": "the-secret-password"}
	s.call(t, "POST", "/auth/token", "", body)
	body["auth_method"] = hostile
	s.call(t, "POST", "/auth/token", "", body)
	s.clientKey(t, next.Access, map[string]any{"permissions": []string{hostile}, "name": hostile})
	s.call(t, "GET", "/auth/validate?token="+next.Access, "", nil)
	s.call(t, "GET", "/auth/validate?proxy=traefik", "", nil, "X-Forwarded-Uri", "/sse?token="+next.Access+"%0d%0a%1b[2J", "X-Forwarded-Method", "GET")
	s.call(t, "DELETE", "/admin/keys/%0d%0a%1b[31m", root.Access, nil)
	s.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": next.Refresh, "refresh_token": next.Access})

	secrets := map[string]string{"a password": s.password, "a guessed password": "the-secret-password"}
	for what, p := range map[string]tokens{"root": root, "client": client, "refreshed": next, "machine": pair} {
		for part, token := range map[string]string{"access": p.Access, "refresh": p.Refresh} {
			if token != "" {
				secrets["the signature of the "+part+" token, "+what] = token[strings.LastIndexByte(token, '.')+1:]
			}
		}
	}
	for _, kind := range s.Issuer.Secrets.Export() {
		secrets["the "+string(kind.Kind)+" secret"] = string(kind.Secret)
	}
	var metrics strings.Builder
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		res, err := http.Get("http://" + s.Operators + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := readAll(res)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		metrics.WriteString(text)
	}
	log := strings.Join(s.Log.Lines(), "")
	places := map[string]string{"the log": log, "the metrics": metrics.String()}
	for _, dir := range []string{s.Config.Storage.Path, filepath.Dir(s.Config.Assertion.KeyFile)} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(filepath.Base(path), "master.key") {
				return err
			}
			raw, err := os.ReadFile(path)
			places["the file "+filepath.Base(path)] = string(raw)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(places) < 4 || len(secrets) < 12 {
		t.Fatalf("%d secrets sought in %d places: too few to show anything", len(secrets), len(places))
	}
	for where, text := range places {
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s", where, what)
			}
		}
	}
	for line := range strings.Lines(log) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["msg"] == "forged" || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\r\n\x1b\x00") {
			t.Errorf("log line %q: %v", line, err)
		}
	}
	if strings.Contains(metrics.String(), "forged") || strings.ContainsAny(metrics.String(), "\x1b\x00\r") {
		t.Error("the metrics repeat what a client sent")
	}
}
