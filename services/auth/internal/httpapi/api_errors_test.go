package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

// troubled is a provider that fails as its data says.
type troubled struct {
	waiting chan struct{} // closed when a request waits for its client to leave
}

func (troubled) Name() string        { return "troubled" }
func (troubled) Aliases() []string   { return nil }
func (troubled) Info() provider.Info { return provider.Info{Type: "credentials", Configured: true} }

func (p troubled) Authenticate(ctx context.Context, a provider.Attempt) (provider.Proof, error) {
	switch {
	case strings.Contains(string(a.Data), "panic"):
		panic("a bug in " + a.PublicKey)
	case strings.Contains(string(a.Data), "down"):
		return provider.Proof{}, fmt.Errorf("%w: rpc.internal:8545 refused", provider.ErrUnavailable)
	case strings.Contains(string(a.Data), "wait"):
		close(p.waiting)
		<-ctx.Done()
		return provider.Proof{}, ctx.Err()
	}
	return provider.Proof{}, errors.New("the secret path /var/lib/x is gone")
}

func (troubled) Enroll(context.Context, provider.Attempt) (provider.Proof, error) {
	return provider.Proof{}, provider.ErrMalformed
}

func withTrouble(o *apiOptions) { o.providers = []provider.Provider{troubled{}} }

func troubledBody(kind string) map[string]any {
	return map[string]any{
		"auth_method": "troubled", "public_key": "pk-of-a-client", "client_name": "c", "timestamp": 1, "provider_data": map[string]string{"do": kind},
	}
}

// failure is one way to be refused.
type failure struct {
	name, method, path, token string
	body                      any
	headers                   []string
	status                    int
	reason                    string // X-Auth-Error
}

func (a *api) failures(t *testing.T) []failure {
	t.Helper()
	pair := a.logIn(t, "alice")
	client := a.mint(t, pair.Access, "context:list")
	long := strings.Repeat("x", 1<<20)
	return []failure{
		{"unknown path", "GET", "/nothing", "", nil, nil, 404, ""},
		{"unknown path below /auth", "GET", "/auth/nothing", "", nil, nil, 404, ""},
		{"unknown path below /admin", "GET", "/admin/nothing", pair.Access, nil, nil, 404, ""},
		{"a trailing slash", "GET", "/auth/health/", "", nil, nil, 404, ""},
		{"encoded slash", "GET", "/auth%2fhealth", "", nil, nil, 404, ""},
		{"dot segment", "GET", "/admin/../auth/health", "", nil, nil, 404, ""},
		{"another case", "GET", "/AUTH/health", "", nil, nil, 404, ""},
		{"key id that is none", "DELETE", "/admin/keys/a:b", pair.Access, nil, nil, 404, ""},
		{"wrong method", "DELETE", "/auth/token", "", nil, nil, 405, ""},
		{"wrong method of a guarded path", "PUT", "/admin/keys", "", nil, nil, 405, ""},
		{"a method of nobody", "BREW", "/auth/health", "", nil, nil, 405, ""},
		{"OPTIONS without an origin", "OPTIONS", "/auth/health", "", nil, nil, 405, ""},
		{"no content type", "POST", "/auth/token", "", "{}", []string{"Content-Type", ""}, 415, ""},
		{"a form", "POST", "/auth/token", "", "a=b", []string{"Content-Type", "", "Content-Type", "application/x-www-form-urlencoded"}, 415, ""},
		{"compressed", "POST", "/auth/token", "", "{}", []string{"Content-Encoding", "gzip"}, 415, ""},
		{"no JSON", "POST", "/auth/token", "", "{", nil, 400, ""},
		{"missing member", "POST", "/auth/refresh", "", "{}", nil, 400, ""},
		{"empty member", "POST", "/auth/refresh", "", `{"access_token":"","refresh_token":"x"}`, nil, 422, ""},
		{"too large", "POST", "/auth/token", "", `"` + long + `"`, nil, 413, ""},
		{"bad credentials", "POST", "/auth/token", "", a.loginBody("nobody"), nil, 401, ""},
		{"bad refresh token", "POST", "/auth/refresh", "", `{"access_token":"x","refresh_token":"x"}`, nil, 401, ""},
		{"no token", "GET", "/admin/keys", "", nil, nil, 401, "missing_token"},
		{"another scheme", "GET", "/admin/keys", "", nil, []string{"Authorization", "Basic YTpi"}, 401, "missing_token"},
		{"garbage token", "GET", "/admin/keys", "garbage", nil, nil, 401, "invalid_token"},
		{"two tokens", "GET", "/admin/keys", pair.Access, nil, []string{"Authorization", "Bearer " + pair.Access}, 401, "invalid_token"},
		{"refresh token as access token", "GET", "/admin/keys", pair.Refresh, nil, nil, 401, "invalid_token"},
		{"not allowed", "GET", "/admin/keys", client.Access, nil, nil, 403, "permission_denied"},
		{"unknown key", "DELETE", "/admin/keys/nobody", pair.Access, nil, nil, 404, ""},
		{"mock tokens", "POST", "/auth/mock-token", "", `{"client_name":"ci"}`, nil, 404, ""},
		{"no such file", "GET", "/auth/favicon.ico", "", nil, nil, 404, ""},
		{"provider is down", "POST", "/auth/token", "", troubledBody("down"), nil, 503, ""},
		{"provider is broken", "POST", "/auth/token", "", troubledBody("break"), nil, 500, ""},
		{"panic", "POST", "/auth/token", "", troubledBody("panic"), nil, 500, ""},
	}
}

// Every refusal of every class has the envelope, the security headers, the CORS headers, a request id, and nothing
// that may be cached.
//
// contract check 47, 48, and 49: the body of 1 MiB and a byte.
func TestErrors_EnvelopeAndHeaders(t *testing.T) {
	a := startAPI(t, withTrouble, func(o *apiOptions) { o.policy = cors.Policy{Origins: []string{"https://app.example"}} })
	for _, f := range a.failures(t) {
		r := a.call(t, f.method, f.path, f.token, f.body, append([]string{"Origin", "https://app.example"}, f.headers...)...)
		if r.status != f.status || r.header.Get("X-Auth-Error") != f.reason {
			t.Errorf("%s: %d %q, want %d %q (%s)", f.name, r.status, r.header.Get("X-Auth-Error"), f.status, f.reason, r.body)
		}
		r.message(t, f.name)
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":      "https://app.example",
			"Access-Control-Allow-Credentials": "true",
			"Vary":                             "Origin",
			"Cache-Control":                    "no-store",
			"X-Frame-Options":                  "DENY",
			"X-Content-Type-Options":           "nosniff",
			"Referrer-Policy":                  "no-referrer",
		} {
			if got := r.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", f.name, name, got, want)
			}
		}
		if !strings.Contains(r.header.Get("Access-Control-Expose-Headers"), "X-Auth-Error") {
			t.Errorf("%s: X-Auth-Error is not exposed: %v", f.name, r.header)
		}
		if r.header.Get("X-Request-Id") == "" || !strings.Contains(r.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: headers %v", f.name, r.header)
		}
		if got := r.header.Get("Strict-Transport-Security"); got != "" {
			t.Errorf("%s: HSTS %q without an https address", f.name, got)
		}
		if got := r.header.Get("WWW-Authenticate"); (got != "") != (f.status == 401) || (got != "" && !strings.HasPrefix(got, "Bearer ")) {
			t.Errorf("%s: WWW-Authenticate %q with %d", f.name, got, f.status)
		}
		if got := r.header.Get("Retry-After"); (got != "") != (f.status == 503) {
			t.Errorf("%s: Retry-After %q with %d", f.name, got, f.status)
		}
	}
}

// What a client must not learn: internals, stacks, other people's data, its own input as markup.
func TestErrors_TellNothingInternal(t *testing.T) {
	a := startAPI(t, withTrouble)
	for _, kind := range []string{"break", "panic", "down"} {
		r := a.call(t, http.MethodPost, "/auth/token", "", troubledBody(kind))
		for _, internal := range []string{"/var/lib", "goroutine", "a bug", "rpc.internal", "pk-of-a-client", "runtime"} {
			if strings.Contains(r.body, internal) {
				t.Errorf("%s: the answer tells %q: %s", kind, internal, r.body)
			}
		}
	}
	refused := a.log.lines(t, "request refused")
	var all []string
	for _, line := range refused {
		all = append(all, fmt.Sprint(line["level"], " ", line["error"]))
	}
	logged := strings.Join(all, "\n")
	for _, want := range []string{"ERROR the secret path /var/lib/x is gone", "ERROR panic: string\ngoroutine", "rpc.internal:8545"} {
		if !strings.Contains(logged, want) {
			t.Errorf("the log does not hold %q:\n%s", want, logged)
		}
	}
	if strings.Contains(logged, "pk-of-a-client") {
		t.Errorf("the log holds what the client sent: %s", logged)
	}
	a.logIn(t, "alice") // the service goes on
}

func TestMethodNotAllowed_Allow(t *testing.T) {
	a := startAPI(t)
	for path, want := range map[string]string{
		"/auth/token": "POST", "/auth/challenge": "GET, HEAD", "/admin/keys": "GET, HEAD, POST", "/admin/keys/x/permissions": "GET, HEAD, PUT",
		"/admin/keys/x/clients/y": "DELETE", "/auth/login": "GET, HEAD",
	} {
		r := a.call(t, http.MethodPatch, path, "", nil)
		got := strings.Split(r.header.Get("Allow"), ", ")
		for _, method := range strings.Split(want, ", ") {
			if !slices.Contains(got, method) {
				t.Errorf("PATCH %s: Allow %q, want %s", path, got, want)
			}
		}
		if r.status != 405 || slices.Contains(got, "PATCH") {
			t.Errorf("PATCH %s: %d, Allow %q", path, r.status, got)
		}
	}
}

// A body over the limit is refused, however its length is announced, and the connection with it.
func TestTooLarge(t *testing.T) {
	a := startAPI(t, func(o *apiOptions) { o.maxBody = 1000 })
	body := strings.Repeat(" ", 998) + "{}"
	if r := a.call(t, http.MethodPost, "/auth/refresh", "", body); r.status != 400 {
		t.Errorf("1000 bytes: %d %s, want 400 for what they say", r.status, r.body)
	}
	if r := a.call(t, http.MethodPost, "/auth/refresh", "", body+" "); r.status != 413 {
		t.Errorf("1001 bytes: %d %s", r.status, r.body)
	}
	head := "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	chunk := func(n int) string { return fmt.Sprintf("%x\r\n%s\r\n", n, strings.Repeat(" ", n)) }
	r, _ := a.raw(t, "POST", []byte(head+"Transfer-Encoding: chunked\r\n\r\n"+chunk(500)+chunk(500)+"0\r\n\r\n"))
	if r.status != 400 {
		t.Errorf("1000 bytes in chunks: %d %s", r.status, r.body)
	}
	r, closed := a.raw(t, "POST", []byte(head+"Transfer-Encoding: chunked\r\n\r\n"+chunk(500)+chunk(501)))
	if r.status != 413 || !closed {
		t.Errorf("1001 bytes in chunks: %d, connection closed: %t", r.status, closed)
	}
	r.message(t, "1001 bytes in chunks")
	r, closed = a.raw(t, "POST", []byte(head+"Content-Length: 99999999999\r\n\r\n"), []byte(body+body))
	if r.status != 413 || !closed {
		t.Errorf("announced 99999999999 bytes: %d, connection closed: %t", r.status, closed)
	}
}

func TestHEAD(t *testing.T) {
	a := startAPI(t)
	pair := a.logIn(t, "alice")
	for _, path := range []string{
		"/auth/health", "/auth/identity", "/auth/providers", "/auth/challenge", "/auth/login", "/admin", "/admin/keys", "/admin/identity",
		"/auth/nothing", "/auth/openapi.json",
	} {
		for _, token := range []string{pair.Access, ""} {
			get, head := a.call(t, "GET", path, token, nil), a.call(t, "HEAD", path, token, nil)
			if head.status != get.status || head.body != "" {
				t.Errorf("HEAD %s: %d with %d bytes, GET: %d", path, head.status, len(head.body), get.status)
			}
			for _, name := range []string{"Content-Type", "Content-Security-Policy", "X-Auth-Error", "X-Auth-User", "WWW-Authenticate", "Cache-Control", "Location"} {
				if head.header.Get(name) != get.header.Get(name) {
					t.Errorf("HEAD %s: %s is %q, GET: %q", path, name, head.header.Get(name), get.header.Get(name))
				}
			}
		}
	}
	if r := a.call(t, "HEAD", "/auth/token", "", nil); r.status != 405 {
		t.Errorf("HEAD /auth/token: %d, want 405", r.status)
	}
}

// contract check 47
func TestCORS(t *testing.T) {
	a := startAPI(t, func(o *apiOptions) { o.policy = cors.Policy{Origins: []string{"https://app.example"}} })
	for _, path := range []string{"/auth/token", "/admin/keys", "/admin/client-key", "/nothing"} {
		r := a.call(t, "OPTIONS", path, "", nil, "Origin", "https://app.example", "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "authorization, content-type", "Access-Control-Request-Private-Network", "true")
		if r.status/100 != 2 || r.body != "" {
			t.Errorf("preflight of %s: %d %q", path, r.status, r.body)
		}
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Max-Age": "600", "Access-Control-Allow-Private-Network": "true",
			"Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID, X-Request-Id", "X-Frame-Options": "DENY",
		} {
			if got := r.header.Get(name); got != want {
				t.Errorf("preflight of %s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	for _, origin := range []string{"https://evil.example", "https://app.example.evil", "null", "https://app.example:444"} {
		for _, path := range []string{"/auth/health", "/nothing", "/admin/keys"} {
			if got := a.call(t, "GET", path, "", nil, "Origin", origin).header; got.Get("Access-Control-Allow-Origin") != "" || got.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("origin %s may read %s: %v", origin, path, got)
			}
		}
	}
	open := startAPI(t, func(o *apiOptions) { o.policy = cors.Policy{AllowAll: true} })
	for _, path := range []string{"/auth/health", "/nothing", "/admin/keys"} {
		r := open.call(t, "GET", path, "", nil, "Origin", "https://any.example")
		if r.header.Get("Access-Control-Allow-Origin") != "*" || r.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("open policy, %s: %v, want * without credentials", path, r.header)
		}
	}
}

// contract check 48
func TestSecurityHeaders_OnEverything(t *testing.T) {
	a := startAPI(t, func(o *apiOptions) {
		o.publicURL = "https://node.example"
		o.headers.HSTSSubdomains = true
		o.headers.ConnectSrc = []string{"https://apps.example"}
	})
	pair := a.logIn(t, "alice")
	for _, path := range []string{"/auth/health", "/auth/login", "/admin", "/admin/keys", "/nothing", "/auth/providers"} {
		h := a.call(t, "GET", path, pair.Access, nil).header
		policy := h.Get("Content-Security-Policy")
		if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "connect-src 'self' https://apps.example;") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: Content-Security-Policy %q", path, policy)
		}
		if got := h.Get("Strict-Transport-Security"); got != "max-age=600; includeSubDomains" {
			t.Errorf("%s: Strict-Transport-Security %q", path, got)
		}
		if h.Get("X-Frame-Options") != "DENY" || h.Get("Server") != "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	off := startAPI(t, func(o *apiOptions) { o.headers.Enabled = false })
	if got := off.call(t, "GET", "/auth/health", "", nil).header.Get("Content-Security-Policy"); got != "" {
		t.Errorf("headers that are switched off: %q", got)
	}
}

func TestRequestID(t *testing.T) {
	a := startAPI(t)
	if got := a.call(t, "GET", "/auth/health", "", nil, "X-Request-Id", "trace-42.a_B").header.Get("X-Request-Id"); got != "trace-42.a_B" {
		t.Errorf("X-Request-Id = %q, want the client's", got)
	}
	seen := map[string]bool{}
	for _, hostile := range []string{"", "a b", `"`, "<script>", strings.Repeat("x", 65), "ünïcode", "a;b=c", "{\"level\":\"x\"}"} {
		got := a.call(t, "GET", "/nothing", "", nil, "X-Request-Id", hostile).header.Get("X-Request-Id")
		if len(got) != 16 || got == hostile || seen[got] {
			t.Errorf("X-Request-Id of %q = %q, want a fresh one", hostile, got)
		}
		seen[got] = true
	}
	if lines := a.log.lines(t, "request"); len(lines) != 9 || lines[0]["request_id"] != "trace-42.a_B" {
		t.Errorf("%d access lines, the first %v; want 9 with their ids", len(lines), lines[0])
	}
}

// One line a request, with the pattern and not the path, and nothing of what was sent.
func TestAccessLog(t *testing.T) {
	a := startAPI(t)
	pair := a.logIn(t, "alice")
	client := a.mint(t, pair.Access, "context:list")
	before := len(a.log.lines(t, "request"))
	secrets := []string{pair.Access, pair.Refresh, client.Access, client.Refresh, a.password, "query-secret", "path-secret", "header-secret", "body-secret"}
	id := parse(t, client.Access).Sub
	wrong := a.loginBody("alice")
	wrong["provider_data"] = map[string]string{"username": "alice", "password": "body-secret"}
	causes := map[int]string{6: "authentication failed: wrong user name or password", 7: "Access token still valid"} // by request
	requests := []struct {
		method, path, token string
		body                any
		route               string
		status              float64
		reason, key         string
	}{
		{"GET", "/auth/health?token=query-secret", "", nil, "/auth/health", 200, "", ""},
		{"GET", "/path-secret/x", "", nil, "none", 404, "not_found", ""},
		{"DELETE", "/admin/keys/path-secret", pair.Access, nil, "/admin/keys/{key_id}", 404, "not_found", parse(t, pair.Access).Sub},
		{"GET", "/admin/keys?x=query-secret", client.Access, nil, "/admin/keys", 403, "permission_denied", id},
		{"GET", "/admin/keys", "header-secret", nil, "/admin/keys", 401, "invalid_token", ""},
		{"POST", "/auth/token", "", `{"auth_method":"body-secret","x":`, "/auth/token", 400, "invalid", ""},
		{"POST", "/auth/token", "", wrong, "/auth/token", 401, "unauthenticated", ""},
		{"POST", "/auth/refresh", "", map[string]string{"access_token": pair.Access, "refresh_token": pair.Refresh}, "/auth/refresh", 401, "unauthenticated", ""},
		{"PATCH", "/auth/token", "", nil, "none", 405, "method_not_allowed", ""},
		{"OPTIONS", "/auth/token", "", nil, "none", 405, "method_not_allowed", ""},
	}
	for _, r := range requests {
		a.call(t, r.method, r.path, r.token, r.body)
	}
	lines := a.log.lines(t, "request")[before:]
	if len(lines) != len(requests) {
		t.Fatalf("%d lines for %d requests", len(lines), len(requests))
	}
	for i, r := range requests {
		line := lines[i]
		key, _ := line["key_id"].(string)
		if line["method"] != r.method || line["route"] != r.route || line["status"] != r.status || line["reason"] != r.reason || key != r.key {
			t.Errorf("%s %s: %v", r.method, r.path, line)
		}
		if want := causes[i]; want != "" && line["cause"] != want {
			t.Errorf("%s %s: the log does not say why: %v, want %q", r.method, r.path, line, want)
		}
		if line["cause"] != nil && r.status == 400 {
			t.Errorf("%s %s: a text that may quote the request: %v", r.method, r.path, line)
		}
		if line["request_id"] == "" || line["duration"] == nil {
			t.Errorf("%s %s: %v", r.method, r.path, line)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(a.log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, a.log.String())
		}
	}
}

// A client that leaves is no failure of ours.
func TestClientThatLeaves(t *testing.T) {
	waiting := make(chan struct{})
	a := startAPI(t, func(o *apiOptions) { o.providers = []provider.Provider{troubled{waiting}} })
	raw, err := json.Marshal(troubledBody("wait"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-waiting
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.addr+"/auth/token", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		err = res.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("RoundTrip = %v, %v, want no answer", res, err)
	}
	a.stop() // when it returns, the request has been logged
	if lines := a.log.lines(t, "request"); len(lines) != 1 || lines[0]["status"] != 499.0 {
		t.Errorf("access log %v, want one line with 499", lines)
	}
	for _, line := range a.log.lines(t, "request refused") {
		t.Errorf("logged as a refusal: %v", line)
	}
}
