package e2e

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// unavailable checks an answer that nginx gives itself when a service does not.
func unavailable(t *testing.T, a answer, status int, text string) {
	t.Helper()
	if a.status != status || errorText(a.body) != text {
		t.Errorf("%s: status %d, %s; want %d, %q", a.what, a.status, errorText(a.body), status, text)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: Content-Type %q", a.what, got)
	}
	if got := a.header.Values("Retry-After"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("%s: Retry-After %q, want 1", a.what, got)
	}
}

func TestGateDownOpensNothing(t *testing.T) {
	t.Parallel()
	s := recording(t)
	if err := s.local.Auth.Stop(); err != nil {
		t.Fatal(err)
	}
	before := len(s.local.NodeLink.Requests())
	for _, target := range []string{"/admin-api/blobs", "/admin-api/health", "/", "/unknown"} {
		for _, token := range []string{"", s.admin} {
			unavailable(t, s.call(t, "GET", target, token, nil, "X-Auth-Key", "root"), http.StatusServiceUnavailable, "The auth service cannot decide about the request")
		}
	}
	unavailable(t, s.call(t, "POST", "/auth/token", "", map[string]any{}), http.StatusBadGateway, "The auth service cannot be reached")
	if got := s.local.NodeLink.Requests()[before:]; len(got) != 0 {
		t.Errorf("%d requests reached the node, the first:\n%s", len(got), got[0].Head())
	}
	if err := s.local.Auth.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.call(t, "GET", "/admin-api/blobs", s.admin, nil).want(t, http.StatusOK)
}

func TestNodeDownIsSaidInJSON(t *testing.T) {
	t.Parallel()
	s := loggedIn(t, start(t, stack.Settings{}))
	if err := s.local.Node.Stop(); err != nil {
		t.Fatal(err)
	}
	unavailable(t, s.call(t, "GET", "/admin-api/blobs", s.admin, nil), http.StatusBadGateway, "The node cannot be reached")
	refused(t, s.call(t, "GET", "/admin-api/blobs", "", nil), missingToken)
	s.call(t, "GET", "/auth/health", "", nil).want(t, http.StatusOK)
	if err := s.local.Node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.call(t, "GET", "/admin-api/blobs", s.admin, nil).want(t, http.StatusOK)
}

func TestGateThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // accepts by the backlog, answers never
	s := siteOf(start(t, stack.Settings{Record: true, AuthAddr: silent.Addr().String()}))
	unavailable(t, s.call(t, "GET", "/admin-api/blobs", "", nil), http.StatusServiceUnavailable, "The auth service cannot decide about the request")
	if n := len(s.local.NodeLink.Requests()); n != 0 {
		t.Errorf("%d requests reached the node", n)
	}
}

// TestBrokenGateOpensNothing has a gate that answers whatever the request asks for. Only 2xx passes nginx, and without an
// identity that the real gate signed the node refuses.
func TestBrokenGateOpensNothing(t *testing.T) {
	t.Parallel()
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, err := url.Parse(r.Header.Get("X-Original-URI"))
		if err != nil {
			t.Error(err)
			return
		}
		for name, values := range target.Query() {
			if name != "status" {
				w.Header()[name] = values
			}
		}
		status, err := strconv.Atoi(target.Query().Get("status"))
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
	}))
	defer gate.Close()
	s := siteOf(start(t, stack.Settings{Record: true, AuthAddr: gate.Listener.Addr().String()}))
	invented := "&X-Auth-Key=root&X-Auth-User=root&X-Auth-Permissions=admin&X-Auth-Expires=9999999999"
	signed := invented + "&X-Auth-Assertion=v1.00000000.9999999999." + strings.Repeat("A", 43)
	for query, want := range map[string]int{
		"status=200": 401, "status=201": 401, "status=204": 401, "status=206": 401,
		"status=200" + invented: 401, "status=200" + signed: 401, "status=204&X_Auth_Key=root": 401,
		"status=401": 401, "status=403": 403, "status=403" + invented: 403,
		"status=301&Location=/": 503, "status=302&Location=/": 503, "status=304": 503, "status=400": 503, "status=404": 503,
		"status=418": 503, "status=429": 503, "status=500": 503, "status=502": 503, "status=503": 503,
	} {
		a := s.call(t, "GET", "/admin-api/blobs?"+query, "", nil, "X-Auth-Key", "evil", "X-Auth-Permissions", "admin")
		if a.status != want {
			t.Errorf("the gate answers %s: status %d, want %d: %s", query, a.status, want, a.body)
		}
	}
	for _, r := range s.local.NodeLink.Requests() {
		if strings.Contains(r.Head(), "evil") {
			t.Errorf("the node got what the client sent:\n%s", r.Head())
		}
	}
}

// mistake is a change of the shipped configuration that an operator could make; it must hit something.
func mistake(t *testing.T, replace ...string) func(string) string {
	t.Helper()
	return func(conf string) string {
		changed := strings.NewReplacer(replace...).Replace(conf)
		if changed == conf {
			t.Error("the mistake is not one any more: nginx/mero.conf does not hold what it changes")
		}
		return changed
	}
}

// TestAttackThroughAProxyThatAsksTheProbe: whoever configures the plain /auth/validate as the gate must find out, rather
// than have an open node.
func TestAttackThroughAProxyThatAsksTheProbe(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(string) string{
		"with the target": mistake(t, "/auth/validate?proxy=nginx", "/auth/validate"),
		"without the target": mistake(t, "/auth/validate?proxy=nginx", "/auth/validate",
			"proxy_set_header X-Original-URI $request_uri;", "", "proxy_set_header X-Original-Method $request_method;", ""),
		"another proxy's form": mistake(t, "/auth/validate?proxy=nginx", "/auth/validate?proxy=traefik"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := loggedIn(t, start(t, stack.Settings{Nginx: change}))
			for _, token := range []string{"", "garbage", s.token(t, "blob:list"), s.admin} {
				for _, header := range [][]string{nil, {"X-Auth-Key", "root", "X-Auth-Permissions", "admin"}} {
					a := s.call(t, "GET", "/admin-api/blobs", token, nil, header...)
					if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
						t.Errorf("status %d: %s", a.status, a.body)
					}
				}
			}
		})
	}
}

func TestNodeWithAnotherKeyRefusesEverybody(t *testing.T) {
	t.Parallel()
	elsewhere := start(t, stack.Settings{NodeAddr: "127.0.0.1:9"}) // another gate, for its key
	s := loggedIn(t, start(t, stack.Settings{Node: map[string]string{"MEROD_SERVER__PROXY__ASSERTION_KEY_FILE": elsewhere.KeyFile()}}))
	for _, target := range []string{"/admin-api/blobs", "/admin-api/contexts"} {
		a := s.call(t, "GET", target, s.admin, nil).want(t, http.StatusUnauthorized)
		s.atTheNode(t, a)
	}
	s.call(t, "GET", "/admin-api/health", "", nil).want(t, http.StatusOK)
}

func TestNodeWithoutAKeyDoesNotStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, file := range map[string]string{"no setting": "", "no file": filepath.Join(dir, "none", "assertion.keys"), "a directory": dir} {
		home := t.TempDir()
		node := stack.NodeProcess(programs, home, "unused", map[string]string{"MEROD_SERVER__PROXY__ASSERTION_KEY_FILE": file})
		code, err := node.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		log, err := node.Log()
		if err != nil {
			t.Fatal(err)
		}
		if code != 1 || !strings.Contains(log, "server.proxy.assertion_key_file") {
			t.Errorf("%s: exit code %d, want 1 and the name of the setting; it says:\n%s", name, code, log)
		}
	}
}

func TestConnectionsToTheServicesAreKept(t *testing.T) {
	t.Parallel()
	s := recording(t)
	key := s.token(t, "blob:list")
	questions, connections := len(s.local.AuthLink.Requests()), s.local.AuthLink.Connections()
	node := s.local.NodeLink.Connections()
	const rounds = 25
	for range rounds {
		s.call(t, "GET", "/admin-api/blobs", key, nil).want(t, http.StatusOK)
		s.call(t, "GET", "/admin-api/blobs", "", nil).want(t, http.StatusUnauthorized)
		s.call(t, "DELETE", "/admin-api/blobs/x", key, nil).want(t, http.StatusForbidden)
	}
	if got := len(s.local.AuthLink.Requests()) - questions; got != 3*rounds {
		t.Errorf("%d questions for %d requests", got, 3*rounds)
	}
	// One for each worker process that took a client's connection; nginx starts one for each processor.
	most := max(4, 2*runtime.NumCPU())
	if got := s.local.AuthLink.Connections() - connections; got > most {
		t.Errorf("%d requests opened %d connections to the gate", 3*rounds, got)
	}
	if got := s.local.NodeLink.Connections() - node; got > most {
		t.Errorf("%d requests opened %d connections to the node", rounds, got)
	}
}
