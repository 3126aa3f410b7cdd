//go:build !noembed

package main_test

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestEmbedded_NoTokenNoEntry: without a token only the public routes answer, and nothing but GET and HEAD there.
func TestEmbedded_NoTokenNoEntry(t *testing.T) { // node check G64
	s := newSite(t)
	for _, target := range []string{
		"/admin-api/blobs", "/admin-api/contexts", "/admin-api/peers", "/ws", "/sse", "/sse/session/1", "/metrics", "/unknown", "/admin-api/", "/admin-api/health/",
		"/admin/keys", "/admin/metrics", "/jsonrpc",
	} {
		s.call(t, "GET", target, "", nil).refused(t, http.StatusUnauthorized, "missing_token")
	}
	for _, target := range []string{"/jsonrpc", "/admin-api/blobs", "/admin-api/contexts", "/admin-api/health", "/admin/client-key", "/admin/revoke"} {
		s.call(t, "POST", target, "", map[string]any{}).refused(t, http.StatusUnauthorized, "missing_token")
	}
	s.call(t, "HEAD", "/admin-api/blobs", "", nil).refused(t, http.StatusUnauthorized, "missing_token")
	s.call(t, "OPTIONS", "/admin-api/blobs", "", nil).refused(t, http.StatusUnauthorized, "missing_token")
	for _, target := range []string{"/admin-api/health", "/admin-api/ready", "/admin-api/is-authed", "/auth/health", "/auth/challenge", "/auth/providers", "/auth/login"} {
		if r := s.call(t, "GET", target, "not a token", nil); r.StatusCode != http.StatusOK { // a bad one does no harm there
			t.Errorf("%s: %s", target, r.Status)
		}
	}
	if r := s.call(t, "HEAD", "/admin-api/health", "", nil); r.StatusCode != http.StatusOK || r.body != "" {
		t.Errorf("HEAD: %s %q", r.Status, r.body)
	}
	for _, target := range []string{"/admin-api/blobs", "/auth/token", "/admin/keys"} {
		r := s.call(t, "OPTIONS", target, "", nil, "Origin", "https://a.example", "Access-Control-Request-Method", "DELETE")
		if r.StatusCode != http.StatusNoContent || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("preflight of %s: %s %v", target, r.Status, r.Header)
		}
	}
}

// TestEmbedded_IdentityHeadersOfTheClient: what speaks for a caller behind a proxy is nothing here, alone or beside a token.
func TestEmbedded_IdentityHeadersOfTheClient(t *testing.T) {
	s := newSite(t)
	admin := s.admin(t)
	_, limited := s.key(t, admin.Access, "blob:list")
	forged := []string{
		"X-Auth-Key", "root", "X-Auth-User", "root", "X-Auth-Permissions", "admin", "X-Auth-Expires", "4102444800", "X-Auth-Assertion", "v1.aa.4102444800.AAAA",
		"X_Auth_Permissions", "admin", "x-auth-key", "root", "X.Auth.Key", "root", "X-Original-Method", "GET", "X-Original-URI", "/admin-api/health",
		"X-Forwarded-Uri", "/admin-api/health", "X-Forwarded-Method", "GET", "X-Http-Method-Override", "GET",
	}
	s.call(t, "GET", "/admin-api/contexts", "", nil, forged...).refused(t, http.StatusUnauthorized, "missing_token")
	s.call(t, "GET", "/admin-api/contexts", limited.Access, nil, forged...).refused(t, http.StatusForbidden, "permission_denied")
	s.call(t, "DELETE", "/admin-api/blobs/x", limited.Access, nil, forged...).refused(t, http.StatusForbidden, "permission_denied")
	s.call(t, "GET", "/admin/keys", limited.Access, nil, forged...).refused(t, http.StatusForbidden, "permission_denied")
	if r := s.call(t, "GET", "/admin-api/blobs", limited.Access, nil, forged...); r.StatusCode != http.StatusOK {
		t.Errorf("what the token allows: %s", r.Status)
	}
}

// TestEmbedded_ModesWithoutLogin: a node that does not authenticate itself has no /auth.
func TestEmbedded_ModesWithoutLogin(t *testing.T) {
	s := newSite(t, "MEROD_SERVER__AUTH_MODE=none") // the later variable counts
	for _, target := range []string{"/auth/health", "/auth/token", "/admin/keys"} {
		if r := s.call(t, "GET", target, "", nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", target, r.Status)
		}
	}
	if code, _, errs := s.merod(t, "auth", "bootstrap", "show"); code != 1 || !strings.Contains(errs, "auth mode") {
		t.Errorf("auth bootstrap show: exit code %d, %s", code, errs)
	}
}

func TestEmbedded_LimitedKey(t *testing.T) { // node check G67
	s := newSite(t)
	admin := s.admin(t)
	_, limited := s.key(t, admin.Access, "blob:list", "context:read[one]")
	for _, tt := range []struct {
		method, target string
		want           int
	}{
		{"GET", "/admin-api/blobs", 200},
		{"HEAD", "/admin-api/blobs", 200},
		{"GET", "/admin-api/contexts/one", 400}, // let through: the node's ids look different
		{"GET", "/admin-api/contexts/two", 403},
		{"GET", "/admin-api/contexts", 403},
		{"PUT", "/admin-api/blobs", 403},
		{"POST", "/jsonrpc", 403},
		{"GET", "/metrics", 403},
		{"GET", "/unknown", 403}, // what has no row is for admin
		{"GET", "/admin-api/blobs/", 403},
		{"GET", "/admin/keys", 403},
		{"GET", "/admin/identity", 200},
	} {
		if r := s.call(t, tt.method, tt.target, limited.Access, nil); r.StatusCode != tt.want {
			t.Errorf("%s %s: %s, want %d", tt.method, tt.target, r.Status, tt.want)
		}
	}
	if r := s.call(t, "GET", "/unknown", admin.Access, nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("admin asks for an unknown route: %s", r.Status)
	}
	if r := s.call(t, "PATCH", "/admin-api/blobs", admin.Access, nil); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") == "" {
		t.Errorf("admin uses a wrong method: %s", r.Status)
	}
	// A body names what it likes: the node checks it again.
	const one, two = "4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi", "8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR"
	_, bound := s.key(t, admin.Access, "context:execute["+one+"]")
	execute := func(context string) string {
		return s.call(t, "POST", "/jsonrpc", bound.Access, map[string]any{
			"jsonrpc": "2.0", "id": 1, "method": "execute", "params": map[string]any{"contextId": context, "method": "get", "argsJson": map[string]any{}},
		}).body
	}
	if own, other := execute(one), execute(two); !strings.Contains(own, "ContextNotFound") || !strings.Contains(other, "Unauthorized") {
		t.Errorf("execute in the own context: %s\nin another one: %s", own, other)
	}
}

// TestEmbedded_RevocationIsSeenAtOnce: whatever ends a token ends it for the next request, on the node and on /admin.
func TestEmbedded_RevocationIsSeenAtOnce(t *testing.T) { // node check G65
	s := newSite(t)
	admin := s.admin(t)
	for name, revoke := range map[string]func(id string, p pair){
		"by the administrator": func(id string, _ pair) {
			s.call(t, "POST", "/admin/revoke", admin.Access, map[string]any{"client_id": id}).data(t, &struct{}{})
		},
		"by its holder": func(_ string, p pair) {
			s.call(t, "POST", "/admin/revoke", p.Access, map[string]any{}).data(t, &struct{}{})
		},
	} {
		id, p := s.key(t, admin.Access, "blob:list")
		if r := s.call(t, "GET", "/admin-api/blobs", p.Access, nil); r.StatusCode != http.StatusOK {
			t.Fatalf("before: %s", r.Status)
		}
		revoke(id, p)
		r := s.call(t, "GET", "/admin-api/blobs", p.Access, nil)
		r.refused(t, http.StatusUnauthorized, "token_revoked")
		if name == "" || r.Header.Get("Www-Authenticate") == "" {
			t.Errorf("%s: %v", name, r.Header)
		}
		s.call(t, "GET", "/admin/identity", p.Access, nil).refused(t, http.StatusForbidden, "token_revoked")
	}
	id, p := s.key(t, admin.Access, "blob:list", "context:list")
	if r := s.call(t, "PUT", "/admin/keys/"+id+"/permissions", admin.Access, map[string]any{"remove": []string{"context:list"}}); r.StatusCode != http.StatusOK {
		t.Fatalf("narrow: %s %s", r.Status, r.body)
	}
	s.call(t, "GET", "/admin-api/contexts", p.Access, nil).refused(t, http.StatusForbidden, "permission_denied")
	if r := s.call(t, "GET", "/admin-api/blobs", p.Access, nil); r.StatusCode != http.StatusOK {
		t.Errorf("what is left: %s", r.Status)
	}
}

// TestEmbedded_TokenForAnotherHost: a token that was made for one node is none for this one.
func TestEmbedded_TokenForAnotherHost(t *testing.T) {
	s := newSite(t)
	admin := s.admin(t)
	var p pair
	s.call(t, "POST", "/admin/client-key", admin.Access, map[string]any{"permissions": []string{"blob:list"}, "target_node_url": "https://other.example"}).data(t, &p)
	s.call(t, "GET", "/admin-api/blobs", p.Access, nil).refused(t, http.StatusForbidden, "invalid_node")
	if r := s.call(t, "GET", "/admin-api/blobs", p.Access, nil, "Host", "other.example"); r.StatusCode != http.StatusOK {
		t.Errorf("at its host: %s", r.Status)
	}
}

// TestEmbedded_TokenInTheQuery: only the two streams take one, and no header beside it is overlooked.
func TestEmbedded_TokenInTheQuery(t *testing.T) { // node check G66
	s := newSite(t)
	admin := s.admin(t)
	for _, target := range []string{"/admin-api/blobs", "/jsonrpc", "/metrics", "/sse/session/1", "/ws/", "/admin-api/contexts"} {
		s.call(t, "GET", target+"?token="+admin.Access, "", nil).refused(t, http.StatusUnauthorized, "missing_token")
	}
	for _, target := range []string{"/admin/keys", "/admin/identity"} {
		s.call(t, "GET", target+"?token="+admin.Access, "", nil).refused(t, http.StatusUnauthorized, "missing_token")
	}
	for _, target := range []string{"/sse", "/ws"} {
		s.call(t, "GET", target+"?token="+admin.Access, "not.a.token", nil).refused(t, http.StatusUnauthorized, "invalid_token")
		s.call(t, "GET", target+"?token="+admin.Access+"&token="+admin.Access, "", nil).refused(t, http.StatusUnauthorized, "invalid_token")
		s.call(t, "GET", target+"?token=", "", nil).refused(t, http.StatusUnauthorized, "invalid_token")
		s.call(t, "GET", target+"?%74oken="+admin.Access, "", nil).refused(t, http.StatusUnauthorized, "missing_token")
	}
	// A real upgrade and a real stream, as browsers open them.
	ws, events := s.streams(t, admin.Access)
	ws.ask(`{"id":1,"method":"subscribe","params":{"contextIds":[]}}`, `{"id":1,"result":{"contextIds":[]}}`)
	if _, text := events.next(); !strings.Contains(text, `"type":"connect"`) {
		t.Errorf("the first frame: %s", text)
	}
	_ = ws.Close()
	events.leave()
	s.end(t, syscall.SIGTERM)
	if strings.Contains(s.log.String(), admin.Access) || strings.Contains(s.log.String(), "token=") {
		t.Error("the log holds a query")
	}
}

// streams opens both kinds of streams with a token in the query.
func (s *site) streams(t *testing.T, token string) (*socket, *sse) {
	t.Helper()
	ws, upgrade, events := s.askStreams(t, token)
	if upgrade.StatusCode != http.StatusSwitchingProtocols || events.StatusCode != http.StatusOK {
		t.Fatalf("upgrade: %s, GET /sse: %s", upgrade.Status, events.Status)
	}
	return ws, events
}

// askStreams is streams for a token that may be refused.
func (s *site) askStreams(t *testing.T, token string) (ws *socket, upgrade answer, events *sse) {
	t.Helper()
	ws, upgrade = handshake(t, s.url, "/ws?token="+token, func(*http.Request) {})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/sse?token="+token, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws, upgrade, askEvents(t, client, r)
}

// TestEmbedded_ExpiredTokenEndsEverything: a token whose time is over opens nothing any more, and ends what it opened.
func TestEmbedded_ExpiredTokenEndsEverything(t *testing.T) { // node check G65
	const life = 10 * time.Second // the shortest that can be set
	s := newSite(t, fmt.Sprintf("AUTH_JWT__ACCESS_TOKEN_EXPIRY=%d", int(life.Seconds())))
	began, admin := time.Now(), s.admin(t)
	ws, upgrade, events := s.askStreams(t, admin.Access)
	before := s.call(t, "GET", "/admin-api/blobs", admin.Access, nil)
	for range attempts { // a machine that stands still may let the token end before anything was opened with it
		if time.Since(began) < life-time.Second { // it counts whole seconds
			break
		}
		began = time.Now()
		s.call(t, "POST", "/auth/token", "", login("root", "")).data(t, &admin)
		ws, upgrade, events = s.askStreams(t, admin.Access)
		before = s.call(t, "GET", "/admin-api/blobs", admin.Access, nil)
	}
	if upgrade.StatusCode != http.StatusSwitchingProtocols || events.StatusCode != http.StatusOK || before.StatusCode != http.StatusOK {
		t.Fatalf("before: upgrade %s, GET /sse %s, GET /admin-api/blobs %s", upgrade.Status, events.Status, before.Status)
	}
	events.next()
	if got := ws.next(); got != "1008 token_expired" {
		t.Errorf("WebSocket: %q", got)
	}
	if _, text := events.next(); text != `{"type":"close","reason":"token_expired"}` {
		t.Errorf("SSE: %s", text)
	}
	for target, method := range map[string]string{
		"/admin-api/blobs": "GET", "/admin-api/contexts": "POST", "/jsonrpc": "POST", "/ws": "GET", "/sse": "GET", "/sse/subscription": "POST", "/metrics": "GET",
	} {
		s.call(t, method, target, admin.Access, nil, "Origin", "https://app.example").refused(t, http.StatusUnauthorized, "token_expired")
	}
	for _, target := range []string{"/ws", "/sse"} {
		s.call(t, "GET", target+"?token="+admin.Access, "", nil, "Origin", "https://app.example").refused(t, http.StatusUnauthorized, "token_expired")
	}
	if _, res := handshake(t, s.url, "/ws?token="+admin.Access, func(*http.Request) {}); res.StatusCode != http.StatusUnauthorized || res.Header.Get("X-Auth-Error") != "token_expired" {
		t.Errorf("upgrade: %s %v", res.Status, res.Header)
	}
	if r := s.call(t, "GET", "/admin-api/health", admin.Access, nil); r.StatusCode != http.StatusOK {
		t.Errorf("a public route: %s", r.Status)
	}
}

// TestEmbedded_OversizedHeads: too long is a refusal with a reason, not a broken connection.
func TestEmbedded_OversizedHeads(t *testing.T) {
	s := newSite(t)
	s.call(t, "GET", "/admin-api/blobs", strings.Repeat("a", 100<<10), nil).refused(t, http.StatusUnauthorized, "invalid_token")
	admin := s.admin(t)
	s.call(t, "GET", "/admin-api/blobs?"+strings.Repeat("a", 9<<10), admin.Access, nil).refused(t, http.StatusForbidden, "invalid_target")
}

// TestEmbedded_Figures: /metrics shows what both parts count, each process figure once.
func TestEmbedded_Figures(t *testing.T) {
	s := newSite(t)
	admin := s.admin(t)
	s.call(t, "GET", "/admin-api/blobs", "", nil)
	text := s.call(t, "GET", "/metrics", admin.Access, nil).body
	for _, want := range []string{
		`mero_auth_validate_total{proxy="embedded",result="missing_token"} 1`, `mero_auth_logins_total{outcome="success",provider="user_password"} 1`,
		"\nhttp_denials_total", "\nmero_auth_http_requests_total",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if n := strings.Count(text, "\ngo_goroutines "); n != 1 {
		t.Errorf("go_goroutines occurs %d times", n)
	}
}

// uriCase is a case of the corpus of attacks with targets. It was written as a question of a proxy; here it is the
// request that would make one ask it.
type uriCase struct {
	ID      string       `json:"id"`
	Headers [][2]uriText `json:"headers"`
	Token   string       `json:"token"`
	Extra   string       `json:"token_extra"`
	Expect  string       `json:"expect"`
	Why     string       `json:"why"`
}

// uriText is a string or {"zlib_b64": ...}.
type uriText string

func (x *uriText) UnmarshalJSON(data []byte) error {
	var packed struct {
		Zlib []byte `json:"zlib_b64"`
	}
	if data[0] != '{' {
		return json.Unmarshal(data, (*string)(x))
	}
	if err := json.Unmarshal(data, &packed); err != nil {
		return err
	}
	reader, err := zlib.NewReader(bytes.NewReader(packed.Zlib))
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(reader)
	*x = uriText(plain)
	return err
}

// request writes the request of a case.
func (c uriCase) request(token string, fill *strings.Replacer) []byte {
	target, method, host := "", "", "node.example.com"
	var lines []string
	for _, h := range c.Headers {
		name, value := string(h[0]), fill.Replace(string(h[1]))
		switch {
		case target == "" && (name == "X-Original-URI" || name == "X-Forwarded-Uri"):
			target = value
		case method == "" && (name == "X-Original-Method" || name == "X-Forwarded-Method"):
			method = value
		case name == "X-Original-Host" || name == "X-Forwarded-Host":
			host = value
		default:
			lines = append(lines, name+": "+value)
		}
	}
	if token != "" {
		lines = append(lines, "Authorization: Bearer "+token)
	}
	return []byte(method + " " + target + " HTTP/1.1\r\nConnection: close\r\nHost: " + host + "\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n")
}

// TestEmbedded_TargetsOfTheCorpus plays the corpus of targets with two readings against the node itself: what the gate
// refuses behind a proxy is refused here.
func TestEmbedded_TargetsOfTheCorpus(t *testing.T) {
	data, err := os.ReadFile("../../../../pkg/route/testdata/uri_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct {
		Cases []uriCase `json:"cases"`
	}
	if err := json.Unmarshal(data, &corpus); err != nil || len(corpus.Cases) != 169 {
		t.Fatalf("%d cases, want 169; %v", len(corpus.Cases), err)
	}
	s := newSite(t)
	admin := s.admin(t)
	tokens := map[string]string{"T_admin": admin.Access, "T_refresh": admin.Refresh, "none": ""}
	for name, permission := range map[string]string{"T_app": "application:list", "T_ctx1": "context:read:specific:ctx-1", "T_ctxlist": "context:list"} {
		_, p := s.key(t, admin.Access, permission)
		tokens[name] = p.Access
	}
	// An expired one is as good as none here, and making it takes time that no test has.
	tokens["T_expired"] = ""
	fill := strings.NewReplacer("{T_app}", tokens["T_app"], "{T_admin}", tokens["T_admin"], "{T_refresh}", tokens["T_refresh"])
	// What contradicts the target from outside is not heard, so the request is judged as it stands, and it is a good one.
	good := []string{"override-x-http-method-override", "override-x-http-method", "method-conflict"}
	for _, c := range corpus.Cases {
		if c.ID == "method-dup" {
			continue // a request line has one method
		}
		token := tokens[c.Token]
		if address, bound := strings.CutPrefix(c.Extra, "node_url="); bound {
			var p pair
			s.call(t, "POST", "/admin/client-key", admin.Access, map[string]any{"permissions": []string{"context:list"}, "target_node_url": address}).data(t, &p)
			token = p.Access
		}
		status := exchange(t, s, c.request(token, fill))
		var want int
		_, _ = fmt.Sscanf(c.Expect, "deny-%d", &want) // stays 0 for the others
		switch {
		case c.Expect == "allow" || slices.Contains(good, c.ID):
			if status == 401 || status == 403 || status >= 500 && status != 501 || status == 0 {
				t.Errorf("%s: %d, want the node's answer; %s", c.ID, status, c.Why)
			}
		case status < 400 || status >= 500:
			t.Errorf("%s: %d, want a refusal; %s", c.ID, status, c.Why)
		case want != 0 && status != want && status != 400 && status != 404:
			t.Errorf("%s: %d, want %d; %s", c.ID, status, want, c.Why)
		}
	}
}

// exchange sends bytes and returns the status of the answer, 0 without one.
func exchange(t *testing.T, s *site, text []byte) int {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(text); err != nil {
		t.Logf("write: %v", err) // the node may have refused before the end
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_ = res.Body.Close() // only the status is looked at
	return res.StatusCode
}
