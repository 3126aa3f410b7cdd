package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// head is an answer without its body.
type head struct {
	StatusCode int
	Header     http.Header
}

// get asks the data plane.
func (i *instance) get(t *testing.T, path string, headers ...string) head {
	t.Helper()
	return get(t, i.url+path, headers...)
}

func get(t *testing.T, url string, headers ...string) head {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n+1 < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return head{res.StatusCode, res.Header}
}

// scrape returns the metrics of the operators' listener.
func (i *instance) scrape(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.operators+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// A new assertion key is taken over when the file has changed; a broken file changes nothing.
func TestReload_AssertionKeys(t *testing.T) {
	c := settings(t)
	i := run(t, c)
	raw, err := os.ReadFile(c.Assertion.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Assertion.KeyFile, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := c
	changed.CORS.AllowAllOrigins = true
	if err := i.Reload(t.Context(), again(changed)); err == nil || !strings.Contains(err.Error(), "assertion.key_file") {
		t.Errorf("a broken key file: %v", err)
	}
	if got := i.get(t, "/auth/health", "Origin", "https://any.example").Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a reload that failed changed the CORS policy: %q", got)
	}
	if err := os.WriteFile(c.Assertion.KeyFile, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.Reload(t.Context(), again(changed)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(i.log.String(), "were read again") {
		t.Errorf("the log does not tell of the reload: %s", i.log)
	}
	for _, line := range strings.Fields(string(raw)) {
		if len(line) > 20 && strings.Contains(i.log.String(), line) {
			t.Error("the log holds an assertion key")
		}
	}
}

func TestReload_TakesSafeSettingsOver(t *testing.T) {
	c := settings(t)
	i := run(t, c)
	i.first(t)
	if code := i.get(t, "/auth/validate?proxy=nginx", "X-Original-URI", "/admin-api/health", "X-Original-Method", "GET").StatusCode; code != 200 {
		t.Fatalf("the gate before the reload: %d", code)
	}
	next := c
	next.CORS.AllowedOrigins = []string{"https://app.example"}
	next.Security.Headers.FrameOptions = "SAMEORIGIN"
	next.Security.RateLimit = config.RateLimit{RPM: 60, Burst: 2}
	next.Security.MaxBodySize = 2048
	next.Forward.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
	next.ListenAddr, next.JWT.Issuer = "127.0.0.1:1", "another"
	if err := i.Reload(t.Context(), again(next)); err != nil {
		t.Fatal(err)
	}
	res := i.get(t, "/auth/challenge", "Origin", "https://app.example")
	if res.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || res.Header.Get("X-Frame-Options") != "SAMEORIGIN" {
		t.Errorf("CORS and headers after the reload: %v", res.Header)
	}
	i.get(t, "/auth/challenge")
	if res := i.get(t, "/auth/challenge"); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" {
		t.Errorf("the third challenge at once: %d %v", res.StatusCode, res.Header)
	}
	if code := i.get(t, "/auth/validate?proxy=nginx", "X-Original-URI", "/admin-api/health", "X-Original-Method", "GET").StatusCode; code != 403 {
		t.Errorf("the gate still trusts a proxy that is none any more: %d", code)
	}
	if status, _ := i.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": strings.Repeat("x", 4096), "refresh_token": "x"}, nil); status != 413 {
		t.Errorf("a body above the new limit: %d", status)
	}
	log := i.log.String()
	if !strings.Contains(log, "need a restart") || !strings.Contains(log, `"listen_addr","jwt.issuer"`) {
		t.Errorf("the log does not name what needs a restart: %s", log)
	}
	if !strings.Contains(log, "security.rate_limit.rate_limit_rpm") {
		t.Errorf("the log does not name what changed: %s", log)
	}
	if text := i.scrape(t); !strings.Contains(text, `mero_auth_config_reloads_total{result="applied"} 1`) {
		t.Error("the reload is not counted")
	}
	if err := i.Reload(t.Context(), again(c)); err != nil { // and back
		t.Fatal(err)
	}
	if code := i.get(t, "/auth/validate?proxy=nginx", "X-Original-URI", "/admin-api/health", "X-Original-Method", "GET").StatusCode; code != 200 {
		t.Errorf("the gate after the way back: %d", code)
	}
}

// What a provider publishes follows the configuration, and its connections and bounds stay.
func TestReload_PublicSettingsOfProviders(t *testing.T) {
	c := settings(t, func(c *config.Config) { c.Providers.EthWallet, c.PublicURL = true, "https://node.example" })
	i := run(t, c)
	published := func() string {
		t.Helper()
		var answer struct {
			Providers []struct {
				Name   string
				Config struct{ Statement, Domain string }
			}
		}
		i.call(t, "GET", "/auth/providers", "", nil, &answer)
		for _, p := range answer.Providers {
			if p.Name == "eth_wallet" {
				return p.Config.Statement + " at " + p.Config.Domain
			}
		}
		return ""
	}
	if got := published(); got != " at node.example" {
		t.Errorf("published before: %q", got)
	}
	next := c
	next.Eth.Statement, next.Eth.Domain = "Log in to my node", "login.example"
	if err := i.Reload(t.Context(), again(next)); err != nil {
		t.Fatal(err)
	}
	if got := published(); got != "Log in to my node at login.example" {
		t.Errorf("published after: %q", got)
	}
	next.PublicURL = "https://other.example" // needs a restart, and what follows from it waits with it
	next.Eth.Domain, next.Eth.URI = "", ""
	if err := i.Reload(t.Context(), again(next.Resolve())); err != nil {
		t.Fatal(err)
	}
	if got := published(); got != "Log in to my node at login.example" {
		t.Errorf("published while a restart is due: %q", got)
	}
}

// Whatever of a new configuration is wrong, nothing of it is taken over.
func TestReload_AllOrNothing(t *testing.T) {
	c := settings(t)
	i := run(t, c)
	level := "info"
	for name, tt := range map[string]struct {
		change func(*config.Config)
		load   error
		text   string
	}{
		"a file that does not load": {func(*config.Config) {}, config.Problems{{Key: "jwt.issuer", Message: "is bad"}}, "jwt.issuer"},
		"an origin that is none":    {func(c *config.Config) { c.CORS.AllowedOrigins = []string{"nonsense"} }, nil, "cors.allowed_origins"},
		"an audit file in no place": {func(c *config.Config) { c.Audit.File = filepath.Join(c.Storage.Path, "..", "absent", "audit") }, nil, "audit.file"},
		"an audit file in the store": {
			func(c *config.Config) { c.Audit.File = filepath.Join(c.Storage.Path, "auth.db") }, nil, "audit.file",
		},
	} {
		next := c
		next.Security.Headers.FrameOptions, next.Log.Level = "SAMEORIGIN", "error"
		tt.change(&next)
		err := i.Reload(t.Context(), func() (config.Config, []config.Warning, error) { return next, nil, tt.load })
		if err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want an error about %s", name, err, tt.text)
		}
		if got := i.get(t, "/auth/health").Header.Get("X-Frame-Options"); got != "DENY" {
			t.Errorf("%s: X-Frame-Options is %q", name, got)
		}
	}
	if c.Log.Level != level {
		t.Errorf("log level %s", c.Log.Level)
	}
	if text := i.scrape(t); !strings.Contains(text, `mero_auth_config_reloads_total{result="refused"} 4`) {
		t.Error("the refused reloads are not counted")
	}
}

func TestReload_LogLevel(t *testing.T) {
	c := settings(t)
	var level slog.LevelVar
	var log logBuffer
	a, err := app.New(t.Context(), c, app.Options{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: &level})), Level: &level})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	next := c
	for _, name := range []string{"debug", "error", "info"} {
		next.Log.Level = name
		if err := a.Reload(t.Context(), again(next)); err != nil {
			t.Error(err)
		}
		if want := map[string]slog.Level{"debug": slog.LevelDebug, "error": slog.LevelError, "info": slog.LevelInfo}[name]; level.Level() != want {
			t.Errorf("level %v, want %s", level.Level(), name)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A request is answered with one configuration from its beginning to its end, whatever is reloaded meanwhile.
func TestReload_AtomicForRequests(t *testing.T) {
	c := settings(t)
	i := run(t, c)
	one, two := c, c
	one.CORS.AllowedOrigins, one.Security.Headers.FrameOptions, one.Security.Headers.ReferrerPolicy = []string{"https://one.example"}, "DENY", "no-referrer"
	two.CORS.AllowAllOrigins, two.Security.Headers.FrameOptions, two.Security.Headers.ReferrerPolicy = true, "SAMEORIGIN", "origin"
	if err := i.Reload(t.Context(), again(one)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for n := range 40 {
			if err := i.Reload(t.Context(), again([]config.Config{two, one}[n%2])); err != nil {
				t.Error(err)
			}
		}
	})
	seen := map[string]int{}
	for running := true; running; {
		select {
		case <-stop:
			running = false
		default:
		}
		h := i.get(t, "/auth/health", "Origin", "https://one.example").Header
		seen[fmt.Sprint(h.Get("Access-Control-Allow-Origin"), " ", h.Get("X-Frame-Options"), " ", h.Get("Referrer-Policy"))]++
	}
	wg.Wait()
	for got := range seen {
		if got != "https://one.example DENY no-referrer" && got != "* SAMEORIGIN origin" {
			t.Errorf("an answer of two configurations: %s", got)
		}
	}
}
