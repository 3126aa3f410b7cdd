package app_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/freeport"
	"github.com/calimero-network/mero-go/services/node/internal/app"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/health"
	"github.com/calimero-network/mero-go/services/node/internal/home"
	"github.com/calimero-network/mero-go/services/node/internal/multiaddr"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// fail makes a node that cannot start and returns why; nothing of it may stay open.
func fail(t *testing.T, dir string, change func(*config.Config)) error {
	t.Helper()
	cfg := settings(t, home.Dir(dir))
	change(&cfg)
	a, err := app.New(t.Context(), app.Options{Config: cfg, Home: home.Dir(dir), Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Fatalf("started on %v", a.Addrs())
	}
	return err
}

func TestTwoNodesInOneProcess(t *testing.T) {
	a, b := start(t, t.TempDir(), nil), start(t, t.TempDir(), nil)
	for _, n := range []*node{a, b} {
		if res := n.as(t, "blob", http.MethodPut, "/admin-api/blobs", strings.NewReader(n.addr.String())); res.StatusCode != 200 {
			t.Errorf("%s %s", res.Status, res.body)
		}
	}
	// Each has its own key: what one gate signed is nothing to the other node.
	r := request(t, http.MethodGet, b.url("/admin-api/blobs"), nil)
	a.grant(r, "k1", "blob")
	if res := do(t, r); res.StatusCode != 401 {
		t.Errorf("the other node's key: %s", res.Status)
	}
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	if res := b.as(t, "blob", http.MethodGet, "/admin-api/blobs", nil); res.StatusCode != 200 || strings.Count(res.body, "blob_id") != 1 {
		t.Errorf("the other node after one stopped: %s %s", res.Status, res.body)
	}
}

func TestRestart_KeepsBlobsAndFreesEverything(t *testing.T) {
	dir := t.TempDir()
	port := freeport.Port() // one that nobody takes between the two
	at := func(c *config.Config) { c.Server.Listen = []string{"/ip4/127.0.0.1/tcp/" + port} }
	n := start(t, dir, at)
	put := n.as(t, "blob", http.MethodPut, "/admin-api/blobs", strings.NewReader("kept"))
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir, at)
	list := again.as(t, "blob", http.MethodGet, "/admin-api/blobs", nil)
	if _, entry, _ := strings.Cut(put.body, `{"data":`); !strings.Contains(list.body, strings.TrimSuffix(strings.TrimSpace(entry), "}")) {
		t.Errorf("after the restart: %s, stored was %s", list.body, put.body)
	}
}

func TestStop_LetsARunningUploadEnd(t *testing.T) {
	t.Parallel()
	for range 5 {
		if uploadsDuringStop(t) {
			return
		}
	}
	t.Errorf("no upload ended within the %s of a stop", app.Drain)
}

// uploadsDuringStop stops a node in the middle of an upload and then sends the rest. It reports whether that took less time
// than the node gives it, which a machine that stands still may not manage.
func uploadsDuringStop(t *testing.T) bool {
	t.Helper()
	n := start(t, t.TempDir(), open)
	body, feed := io.Pipe()
	r := request(t, http.MethodPut, n.url("/admin-api/blobs"), body)
	// The transport asks for the body only once the handler reads it, so that the first write below returns when the
	// upload is running: a connection that the server has not accepted yet ends with its listener.
	r.Header.Set("Expect", "100-continue")
	patient := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	t.Cleanup(patient.CloseIdleConnections)
	type outcome struct {
		answer
		err error
	}
	result := make(chan outcome, 1)
	go func() {
		res, err := patient.Do(r)
		if err != nil {
			_ = body.CloseWithError(err)
			result <- outcome{err: err}
			return
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		result <- outcome{answer{res, string(text)}, err}
	}()
	if _, err := feed.Write([]byte("first half, ")); err != nil {
		t.Fatal(err)
	}
	if got := n.Health().Status(t.Context()); got != health.Ready {
		t.Errorf("before the stop: %s", got)
	}
	began, stopped := time.Now(), make(chan error, 1)
	go func() { stopped <- n.stop() }()
	n.log.await(`"stopping"`)
	if got := n.Health().Status(t.Context()); got != health.ShuttingDown {
		t.Errorf("while requests drain: %s, want shutting_down", got)
	}
	_, err := feed.Write([]byte("second half"))
	err = errors.Join(err, feed.Close())
	got := <-result
	if time.Since(began) >= app.Drain {
		return false // the cleanup waits for the end of the node
	}
	if err = errors.Join(err, got.err); err != nil {
		t.Fatal(err)
	}
	if got.StatusCode != 200 || !strings.Contains(got.body, `"size":23`) {
		t.Errorf("the upload: %s %s", got.Status, got.body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
	return true
}

func TestStop_CutsAStuckUploadWithinTenSeconds(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), open)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "PUT /admin-api/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 64)); err != nil { // the handler reads the body now
		t.Fatal(err)
	}
	before := time.Now()
	if err := n.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(before); app.Drain >= 10*time.Second || took >= patience {
		t.Errorf("the stop took %s, drains %s", took, app.Drain)
	}
	if n.files(t) != 0 {
		t.Error("the cut upload left files")
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), nil)
	dir := t.TempDir()
	err := fail(t, dir, func(c *config.Config) { c.Server.Listen = []string{multiaddr.FromTCP(n.addr).String()} })
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "server.listen") || !strings.Contains(err.Error(), n.addr.String()) {
		t.Errorf("got %v, want the setting, the address and the reason", err)
	}
	err = fail(t, t.TempDir(), func(c *config.Config) { c.Server.MetricsAddr = n.addr.String() })
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "server.metrics_addr") {
		t.Errorf("got %v, want the setting and the reason", err)
	}
	// The failed start let go of the database.
	db, err := store.Open(home.Dir(dir).Path("data"))
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
}

func TestDatabaseHeldByAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, dir, nil)
	before := time.Now()
	err := fail(t, dir, func(*config.Config) {})
	if !errors.Is(err, store.ErrLocked) || store.LockTimeout > 5*time.Second || time.Since(before) > patience {
		t.Errorf("got %v after %s, waits %s, want ErrLocked within 5 s", err, time.Since(before), store.LockTimeout)
	}
}

func TestListen_SkipsAddressesThatTheMachineLacks(t *testing.T) {
	const foreign = "/ip4/192.0.2.1/tcp/0" // TEST-NET-1 is nobody's
	n := start(t, t.TempDir(), func(c *config.Config) { c.Server.Listen = []string{foreign, "/ip4/127.0.0.1/tcp/0", foreign} })
	if len(n.Addrs()) != 1 || !n.log.contains("192.0.2.1") {
		t.Errorf("listens on %v; the skipped address must be in the log", n.Addrs())
	}
	err := fail(t, t.TempDir(), func(c *config.Config) { c.Server.Listen = []string{foreign} })
	if !strings.Contains(err.Error(), "none of the addresses can be used") || !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("got %v", err)
	}
}

func TestStart_RefusesWhatTheModeForbids(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"proxy without key file": {func(c *config.Config) { c.Server.Proxy.AssertionKeyFile = "" }, "server.proxy.assertion_key_file"},
		"key file missing":       {func(c *config.Config) { c.Server.Proxy.AssertionKeyFile = "none" }, "server.proxy.assertion_key_file"},
		"none on all addresses":  {func(c *config.Config) { open(c); c.Server.Listen = []string{"/ip4/0.0.0.0/tcp/0"} }, "loopback addresses only"},
		"bad origin":             {func(c *config.Config) { c.CORS = config.CORS{AllowedOrigins: []string{"*"}} }, "cors.allowed_origins"},
	} {
		if err := fail(t, t.TempDir(), tt.change); !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestInsecureSettingsAreLoudAtEveryStart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"none": {open, "nobody authenticates"},
		"none for other machines": {func(c *config.Config) {
			open(c)
			c.Server.None.AllowNonLoopback = true
			c.Server.Listen = []string{"/ip4/0.0.0.0/tcp/0"}
		}, "INSECURE"},
		"no assertions": {func(c *config.Config) { c.Server.Proxy.RequireAssertion = false }, "INSECURE"},
	} {
		n := start(t, t.TempDir(), tt.change)
		if err := n.stop(); err != nil {
			t.Error(err)
		}
		if !n.log.contains(tt.want) {
			t.Errorf("%s: the log lacks %q", name, tt.want)
		}
	}
}

func TestReload_TakesNewKeysAndKeepsOldOnesOnError(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	path := n.dir.Path("assertion.keys")
	old := n.keys.Ring().Keys()
	fresh := assertion.GenerateKey()
	call := func() int { return n.as(t, "blob", http.MethodGet, "/admin-api/blobs", nil).StatusCode }
	write := func(text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte("nonsense"))
	if err := n.Reload(t.Context()); err == nil {
		t.Error("Reload accepts a broken file")
	}
	if got := call(); got != 200 {
		t.Errorf("after a failed reload: %d, want the old key to be in force", got)
	}
	write(assertion.FormatKeys(fresh))
	if err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := call(); got != 401 {
		t.Errorf("signed with the dropped key: %d", got)
	}
	if err := n.keys.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := call(); got != 200 {
		t.Errorf("signed with the new key: %d", got)
	}
	write(assertion.FormatKeys(append(old, fresh)...))
	if err := n.keys.Reload(); err != nil { // the gate reads first; the node finds the unknown key itself
		t.Fatal(err)
	}
	if err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := call(); got != 200 {
		t.Errorf("signed with the restored key: %d", got)
	}
}

func TestReload_WithoutKeysIsNothing(t *testing.T) {
	n := start(t, t.TempDir(), open)
	if err := n.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNone_RebindingAndForeignPages(t *testing.T) {
	n := start(t, t.TempDir(), open)
	r := request(t, http.MethodGet, n.url("/admin-api/contexts"), nil)
	r.Host = "rebound.evil.example"
	expect(t, do(t, r), 403, `{"error":"the Host header is not an allowed name"}`)
	r = request(t, http.MethodPost, n.url("/admin-api/identity/context"), nil)
	r.Header.Set("Origin", "https://evil.example")
	expect(t, do(t, r), 403, `{"error":"the request comes from a page of another host"}`)
	r.Header.Set("Access-Control-Request-Method", "POST")
	r.Method = http.MethodOptions
	if a := do(t, r); a.StatusCode != 403 || a.Header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("preflight of a foreign page: %s %v", a.Status, a.Header)
	}
	// On a loopback listener no other name is right, whatever is allowed elsewhere.
	named := start(t, t.TempDir(), func(c *config.Config) { open(c); c.Server.AllowedHosts = []string{"node.example.com"} })
	r = request(t, http.MethodGet, named.url("/admin-api/contexts"), nil)
	r.Host = "node.example.com"
	expect(t, do(t, r), 403, `{"error":"the Host header is not an allowed name"}`)
	// X-Auth headers mean nothing here.
	r = request(t, http.MethodGet, n.url("/admin-api/contexts"), nil)
	r.Header.Set("X-Auth-Key", "root")
	if a := do(t, r); a.StatusCode != 200 || n.log.line(a)["key"].String() != "" {
		t.Errorf("%s, key %v", a.Status, n.log.line(a)["key"])
	}
}

func TestProxy_DirectCallsOverTheWire(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	for name, text := range map[string]string{
		"no headers":              "GET /admin-api/contexts HTTP/1.1\r\nHost: h\r\n\r\n",
		"spoofed key":             "GET /admin-api/contexts HTTP/1.1\r\nHost: h\r\nX-Auth-Key: root\r\nX-Auth-Permissions: admin\r\n\r\n",
		"bearer token":            "GET /admin-api/contexts HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x.y.z\r\n\r\n",
		"h2c upgrade":             "GET /admin-api/contexts HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
		"trailer":                 "POST /jsonrpc HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-Key\r\n\r\n0\r\nX-Auth-Key: root\r\n\r\n",
		"unannounced trailer":     "POST /jsonrpc HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Auth-Key: root\r\n\r\n",
		"forwarded from loopback": "GET /admin-api/contexts HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Uri: /admin-api/health\r\nX-Original-URI: /admin-api/health\r\nX-Rewrite-Url: /admin-api/health\r\n\r\n",
	} {
		method, _, _ := strings.Cut(text, " ")
		a := raw(t, n.addr, method, []byte(text))
		if a.StatusCode != 401 || a.body != `{"error":"authentication required"}`+"\n" {
			t.Errorf("%s: %s %q, want 401", name, a.Status, a.body)
		}
	}
	for name, text := range map[string]string{
		"encoded public path": "GET /admin-api%2fhealth HTTP/1.1\r\nHost: h\r\n\r\n",
		"doubled slashes":     "GET //admin-api//health HTTP/1.1\r\nHost: h\r\n\r\n",
		"dot segment":         "GET /admin-api/./health HTTP/1.1\r\nHost: h\r\n\r\n",
		"OPTIONS *":           "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		"CONNECT":             "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n",
		"absolute form":       "GET http://h/admin-api/health HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		method, _, _ := strings.Cut(text, " ")
		if a := raw(t, n.addr, method, []byte(text)); a.StatusCode != 404 || a.Header.Get("Location") != "" {
			t.Errorf("%s: %s %v, want 404 and no redirect", name, a.Status, a.Header)
		}
	}
}

func TestProxy_NoHTTP2WithoutTLS(t *testing.T) {
	// A connection that turns into HTTP/2 behind a proxy carries requests that the gate never saw.
	n := start(t, t.TempDir(), nil)
	a := raw(t, n.addr, "PRI", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	if a.ProtoMajor != 1 || a.StatusCode < 400 {
		t.Errorf("the preface of HTTP/2: %s %s", a.Proto, a.Status)
	}
}

func TestProxy_UntrustedPeerWithTheRightAssertion(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Server.Proxy.TrustedPeers = nil })
	a := n.as(t, "admin", http.MethodGet, "/admin-api/contexts", nil)
	expect(t, a, 401, `{"error":"authentication required"}`)
	if a := do(t, request(t, http.MethodGet, n.url("/admin-api/health"), nil)); a.StatusCode != 200 {
		t.Errorf("public route: %s", a.Status)
	}
}

func TestProxy_PreflightReachesNoHandler(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) {
		c.CORS = config.CORS{AllowedOrigins: []string{"https://app.example.com"}}
	})
	r := request(t, http.MethodOptions, n.url("/admin-api/blobs/x"), nil)
	r.Header.Set("Access-Control-Request-Method", "DELETE")
	for origin, want := range map[string]string{"https://app.example.com": "https://app.example.com", "https://evil.example": ""} {
		r.Header.Set("Origin", origin)
		a := do(t, r)
		if a.StatusCode != 204 || a.body != "" || a.Header.Get("Access-Control-Allow-Origin") != want {
			t.Errorf("%s: %s %v", origin, a.Status, a.Header)
		}
	}
	get := request(t, http.MethodGet, n.url("/admin-api/blobs"), nil)
	get.Header.Set("Origin", "https://app.example.com")
	a := do(t, get)
	if a.StatusCode != 401 || a.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "X-Auth-Error") {
		t.Errorf("a refusal that the page can read: %s %v", a.Status, a.Header)
	}
}

func TestNew_CancelledContextLeavesNothingOpen(t *testing.T) {
	dir := home.Dir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := app.New(ctx, app.Options{Config: settings(t, dir), Home: dir, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("started under a context that is over")
	}
	db, err := store.Open(dir.Path("data"))
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
}
