package app_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/freeport"
	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Nothing in an App is shared with another: two of them run in one process.
func TestTwoInstances(t *testing.T) {
	one, two := run(t, settings(t)), run(t, settings(t))
	a, b := one.first(t), two.first(t)
	for name, tt := range map[string]struct {
		at     *instance
		token  string
		status int
	}{
		"own":    {one, a.Access, 200},
		"own, 2": {two, b.Access, 200},
		"other":  {one, b.Access, 401},
		"other2": {two, a.Access, 401},
	} {
		if status, _ := tt.at.call(t, "GET", "/admin/keys", tt.token, nil, nil); status != tt.status {
			t.Errorf("%s: %d, want %d", name, status, tt.status)
		}
	}
	if err := one.stop(); err != nil {
		t.Error(err)
	}
	if status, _ := two.call(t, "GET", "/admin/keys", b.Access, nil, nil); status != 200 {
		t.Errorf("after the other has stopped: %d", status)
	}
}

// goroutines returns the stacks of all goroutines but the test's own and the runtime's.
func goroutines() (n int, stacks string) {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	all := strings.Split(string(buf), "\n\n")
	return len(all), string(buf)
}

// After Run nothing is left: no goroutine, no listener, no lock, no socket; and it returns at once, whatever clients
// keep open.
func TestRun_StopsWithinBoundsAndLeavesNothing(t *testing.T) {
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	before, _ := goroutines()
	// Nobody else may listen there afterwards.
	c := settings(t, func(c *config.Config) { c.ListenAddr, c.AdminAddr = freeport.Addr(), freeport.Addr() })
	i := run(t, c)
	i.first(t)
	var kept []net.Conn
	for _, address := range []string{i.url, i.url, i.operators} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, conn)
		if _, err := io.WriteString(conn, "GET /auth/health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil { // answered, and now idle
			t.Fatal(err)
		}
	}
	started := time.Now()
	if err := i.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(started); took > patience {
		t.Errorf("Run returned %v after the cancel, want at once", took)
	}
	for _, conn := range kept {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("a kept connection: %v, want its end", err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(c.Storage.Path, "control.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the control socket is left: %v", err)
	}
	for _, address := range []string{i.url, i.operators} {
		if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "http://")); err == nil {
			t.Errorf("%s still listens", address)
			_ = conn.Close()
		}
	}
	again := run(t, c) // the store is free
	if err := again.stop(); err != nil {
		t.Error(err)
	}
	// Goroutines end shortly after what they served; the count must come down to what it was.
	deadline := time.Now().Add(patience)
	for {
		n, stacks := goroutines()
		if n <= before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before the start:\n%s", n, before, stacks)
		}
		runtime.Gosched()
	}
}

// A client that never ends its request is cut; it keeps neither the process nor the store.
func TestRun_ClientThatNeverEndsItsRequest(t *testing.T) {
	c := settings(t)
	a, err := app.New(t.Context(), c, app.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	data, _ := a.Addr()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", data.String())
	if err != nil {
		t.Fatal(err)
	}
	request := "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // 100 Continue: the handler waits for the body
		t.Fatal(err)
	}
	started := time.Now()
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "drain data plane") {
		t.Errorf("Run = %v, want that a request was cut", err)
	}
	if took := time.Since(started); app.DrainTimeout >= 5*time.Second || took > patience {
		t.Errorf("Run returned %v after the cancel, drains %v, want within 5 s", took, app.DrainTimeout)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := run(t, c).stop(); err != nil { // the store is free
		t.Error(err)
	}
}

// What was acknowledged is there after a restart: keys, sessions, the use of a challenge, the signing secrets.
func TestRestart(t *testing.T) {
	c := settings(t)
	i := run(t, c)
	pair := i.first(t)
	var client tokens
	if status, _ := i.call(t, "POST", "/admin/client-key", pair.Access, map[string]any{"permissions": []string{"keys:list"}}, &client); status != 200 {
		t.Fatalf("client key: %d", status)
	}
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	i = run(t, c)
	for name, token := range map[string]string{"root": pair.Access, "client": client.Access} {
		if status, reason := i.call(t, "GET", "/admin/keys", token, nil, nil); status != 200 {
			t.Errorf("%s token after the restart: %d %s", name, status, reason)
		}
	}
	if _, status := i.login(t, "alice", "correct horse", ""); status != 200 {
		t.Errorf("login after the restart: %d", status)
	}
	i.clock.Advance(time.Hour)
	var next tokens
	if status, reason := i.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": client.Access, "refresh_token": client.Refresh}, &next); status != 200 {
		t.Errorf("refresh after the restart: %d %s", status, reason)
	}
	if shown, err := i.Bootstrap().Show(t.Context(), true); err != nil || shown.State != "closed" {
		t.Errorf("bootstrap after the restart: %+v, %v", shown, err)
	}
}

// The time-outs bound what a slow or hostile client can hold.
func TestServers_Limits(t *testing.T) {
	i := run(t, settings(t))
	servers := app.Servers(i.App)
	names := make([]string, 0, len(servers))
	for _, s := range servers {
		names = append(names, s.Name)
		if s.HTTP.ReadHeaderTimeout <= 0 || s.HTTP.ReadHeaderTimeout > 10*time.Second || s.HTTP.IdleTimeout <= 0 || s.HTTP.MaxHeaderBytes > 128<<10 {
			t.Errorf("%s: %v, %v, %d", s.Name, s.HTTP.ReadHeaderTimeout, s.HTTP.IdleTimeout, s.HTTP.MaxHeaderBytes)
		}
	}
	if want := []string{"data plane", "operators", "control"}; !slices.Equal(names, want) {
		t.Fatalf("servers %q, want %q", names, want)
	}
	for _, s := range servers[:2] {
		if s.HTTP.ReadTimeout != 15*time.Second || s.HTTP.WriteTimeout != 30*time.Second {
			t.Errorf("%s: read %v, write %v", s.Name, s.HTTP.ReadTimeout, s.HTTP.WriteTimeout)
		}
	}
	// Behind nginx the proxy must be the one that closes idle connections: its keepalive_timeout is 60 s.
	if servers[0].HTTP.IdleTimeout <= 60*time.Second {
		t.Errorf("the data plane closes idle connections after %v, before nginx does", servers[0].HTTP.IdleTimeout)
	}
}

func TestOperatorsListener(t *testing.T) {
	i := run(t, settings(t))
	get := func(path string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.operators+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/auth/health": 404, "/admin/keys": 404} {
		if got := get(path); got != want {
			t.Errorf("operators' %s: %d, want %d", path, got, want)
		}
	}
	for path, want := range map[string]int{"/metrics": 404, "/healthz": 404, "/readyz": 404} { // not on the data plane
		if status, _ := i.call(t, "GET", path, "", nil, nil); status != want {
			t.Errorf("data plane's %s: %d, want %d", path, status, want)
		}
	}
}

// The sweep takes what is over and nothing that still works, also not in the leeway after exp.
func TestSweep(t *testing.T) {
	i := run(t, settings(t, func(c *config.Config) {
		c.JWT.Leeway = 5 * time.Minute
		c.JWT.AccessExpiry, c.JWT.RefreshExpiry = time.Minute, time.Minute
	}))
	admin := i.first(t)
	families := func() (n int) {
		err := i.Parts().Store.View(t.Context(), func(tx *store.Tx) error {
			for range tx.Scan("family", "") {
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	i.clock.Advance(time.Minute + 5*time.Minute - time.Second)
	if err := app.Sweep(t.Context(), i.App); err != nil {
		t.Fatal(err)
	}
	if status, reason := i.call(t, "GET", "/admin/keys", admin.Access, nil, nil); status != 200 || families() != 1 {
		t.Errorf("in the last second of the leeway: %d %s, %d families", status, reason, families())
	}
	i.clock.Advance(2 * time.Second)
	if err := app.Sweep(t.Context(), i.App); err != nil {
		t.Fatal(err)
	}
	if families() != 0 {
		t.Errorf("%d families are left of one that is over", families())
	}
}
