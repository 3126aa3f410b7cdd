package control_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/pkg/shortdir"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

var quiet = slog.New(slog.DiscardHandler)

// start serves the commands for a store in dir and returns its bootstrap use case and the store.
func start(t *testing.T, dir string) (*bootstrap.Service, kv.DB) {
	t.Helper()
	db := memory.New()
	records, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	b := &bootstrap.Service{Store: records, Dir: dir, Mode: bootstrap.ModeSecret, Now: time.Now, Log: quiet}
	l, err := control.Listen(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error)
	go func() {
		done <- serve.Run(ctx, time.Minute, nil, control.Server(l, &operate.Service{Bootstrap: b, Now: time.Now, Log: quiet}, quiet))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b, db
}

func TestShowBootstrap(t *testing.T) {
	dir := shortdir.New(t)
	b, _ := start(t, dir)
	want, err := b.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := control.Client{Dir: dir}.ShowBootstrap(t.Context(), false)
	if err != nil || got.Secret != want.Secret || got.State != bootstrap.Open || !got.Expires.Equal(want.Expires) {
		t.Errorf("ShowBootstrap = %+v, %v, want %+v", got, err, want)
	}
	renewed, err := control.Client{Dir: dir}.ShowBootstrap(t.Context(), true)
	if err != nil || renewed.Secret == want.Secret || renewed.State != bootstrap.Open {
		t.Errorf("ShowBootstrap with renew = %+v, %v, want another secret", renewed, err)
	}
	err = b.Store.Update(t.Context(), func(tx *store.Tx) error { return b.Close(tx) })
	if err != nil {
		t.Fatal(err)
	}
	for _, renew := range []bool{false, true} {
		if got, err := (control.Client{Dir: dir}).ShowBootstrap(t.Context(), renew); err != nil || got != (bootstrap.Shown{State: bootstrap.Closed}) {
			t.Errorf("ShowBootstrap of a closed bootstrap = %+v, %v", got, err)
		}
	}
}

func TestListen_OnlyTheOwnerCanOpenIt(t *testing.T) {
	dir := shortdir.New(t)
	start(t, dir)
	info, err := os.Stat(control.Path(dir))
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode of the socket: %v, %v, want 0600", info.Mode(), err)
	}
	if want := filepath.Join(dir, "control.sock"); control.Path(dir) != want {
		t.Errorf("Path = %s, want %s", control.Path(dir), want)
	}
}

// A process that was killed leaves its socket behind. The next one, which holds the store, takes its place.
func TestListen_ReplacesADeadSocket(t *testing.T) {
	dir := shortdir.New(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: control.Path(dir), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := (control.Client{Dir: dir}).ShowBootstrap(t.Context(), false); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("ShowBootstrap on a dead socket: %v, want ErrNotRunning", err)
	}
	b, _ := start(t, dir)
	want, err := b.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (control.Client{Dir: dir}).ShowBootstrap(t.Context(), false); err != nil || got.Secret != want.Secret {
		t.Errorf("ShowBootstrap = %+v, %v", got, err)
	}
}

func TestListen_Refusals(t *testing.T) {
	long := filepath.Join(shortdir.New(t), strings.Repeat("x", 100))
	if l, err := control.Listen(t.Context(), long); err == nil || !strings.Contains(err.Error(), "choose a shorter storage.path") {
		t.Errorf("Listen on a path that is too long = %v, %v", l, err)
	}
	if l, err := control.Listen(t.Context(), filepath.Join(shortdir.New(t), "absent")); err == nil {
		t.Errorf("Listen in a directory that does not exist = %v", l)
	}
	dir := shortdir.New(t)
	if err := os.MkdirAll(filepath.Join(control.Path(dir), "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if l, err := control.Listen(t.Context(), dir); err == nil {
		t.Errorf("Listen where a directory stands = %v", l)
	}
}

func TestShowBootstrap_NotRunning(t *testing.T) {
	for name, dir := range map[string]string{"no socket": shortdir.New(t), "no directory": filepath.Join(shortdir.New(t), "absent")} {
		if _, err := (control.Client{Dir: dir}).ShowBootstrap(t.Context(), false); !errors.Is(err, control.ErrNotRunning) {
			t.Errorf("%s: %v, want ErrNotRunning", name, err)
		}
	}
}

// What went wrong in the service is told to the operator on the host.
func TestShowBootstrap_ServiceFails(t *testing.T) {
	dir := shortdir.New(t)
	_, db := start(t, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := (control.Client{Dir: dir}).ShowBootstrap(t.Context(), false); err == nil || errors.Is(err, control.ErrNotRunning) || !strings.Contains(err.Error(), "store is closed") {
		t.Errorf("ShowBootstrap on a broken store: %v", err)
	}
}

// Somebody else's server in the place of ours must not be taken for an answer.
func TestShowBootstrap_StrangeAnswers(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"no JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"not found": http.NotFound,
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 64<<10)); err != nil {
					return
				}
			}
		},
		"cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		dir := shortdir.New(t)
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", control.Path(dir))
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
		var running sync.WaitGroup
		running.Go(func() { _ = server.Serve(l) }) // it ends with Close
		if got, err := (control.Client{Dir: dir}).ShowBootstrap(t.Context(), false); err == nil || errors.Is(err, control.ErrNotRunning) || got != (bootstrap.Shown{}) {
			t.Errorf("%s: ShowBootstrap = %+v, %v, want an error of its own", name, got, err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	}
}

func TestHandler_MethodsAndPaths(t *testing.T) {
	dir := shortdir.New(t)
	start(t, dir)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", control.Path(dir))
	}}}
	defer client.CloseIdleConnections()
	for request, want := range map[[2]string]int{
		{"GET", "/bootstrap/show"}: 405, {"POST", "/bootstrap/show"}: 200, {"GET", "/backup"}: 405, {"PUT", "/secrets/rotate"}: 405, {"POST", "/bootstrap"}: 404, {"POST", "/auth/token"}: 404,
	} {
		req, err := http.NewRequestWithContext(t.Context(), request[0], "http://control"+request[1], strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != want {
			t.Errorf("%s %s: %d, %v, want %d", request[0], request[1], res.StatusCode, err, want)
		}
	}
}
