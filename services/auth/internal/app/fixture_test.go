package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/shortdir"
	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// patience bounds in tests what takes no time but on a busy machine.
const patience = 30 * time.Second

// settings are the defaults on ports and in a folder of this test alone, over bbolt. The folder's name is short
// because the control socket lies in it.
func settings(t *testing.T, changes ...func(*config.Config)) config.Config {
	t.Helper()
	dir := shortdir.New(t)
	c := config.Defaults()
	c.ListenAddr, c.AdminAddr = "127.0.0.1:0", "127.0.0.1:0"
	c.Storage.Path = filepath.Join(dir, "s")
	c.UserPassword.MemoryKiB, c.UserPassword.Iterations = 8, 1
	c.Security.RateLimit.RPM = 0 // everything comes from one address at one time
	for _, change := range changes {
		change(&c)
	}
	return c.Resolve()
}

// logBuffer is a log that several goroutines write.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// instance is a running App.
type instance struct {
	*app.App
	url, operators string
	log            *logBuffer
	clock          *authtest.Clock
	stop           func() error
}

func run(t *testing.T, c config.Config) *instance {
	t.Helper()
	i := &instance{log: new(logBuffer), clock: authtest.NewClock(authtest.Epoch)}
	a, err := app.New(t.Context(), c, app.Options{
		Now: i.clock.Now, Log: slog.New(slog.NewJSONHandler(i.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	i.App = a
	data, operators := a.Addr()
	i.url, i.operators = "http://"+data.String(), "http://"+operators.String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	i.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := i.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return i
}

// again loads a configuration for a reload.
func again(c config.Config) func() (config.Config, []config.Warning, error) {
	return func() (config.Config, []config.Warning, error) { return c, nil, nil }
}

// refusedStart checks that the configuration does not start, that the error is target (if any) and that it names what
// it should and no password.
func refusedStart(t *testing.T, what string, c config.Config, target error, texts ...string) {
	t.Helper()
	started := time.Now()
	a, err := app.New(t.Context(), c, app.Options{Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Errorf("%s: it starts", what)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	if target != nil && !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
	if password := c.Admin.Password.Reveal(); password != "" && strings.Contains(err.Error(), password) {
		t.Errorf("%s: the error holds the password: %v", what, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q in it", what, err, text)
		}
	}
	if took := time.Since(started); took > patience { // who holds the store is waited for as package bolt says
		t.Errorf("%s: refused after %v", what, took)
	}
}

// call posts JSON and decodes data; it returns the status and X-Auth-Error.
func (i *instance) call(t *testing.T, method, path, token string, body, data any) (status int, reason string) {
	t.Helper()
	var reader io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, i.url+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	var envelope struct{ Data json.RawMessage }
	if data != nil && res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(raw, &envelope); err != nil {
			t.Fatalf("%s %s: %s: %v", method, path, raw, err)
		}
		if err := json.Unmarshal(envelope.Data, data); err != nil {
			t.Fatalf("%s %s: %s: %v", method, path, raw, err)
		}
	}
	return res.StatusCode, res.Header.Get("X-Auth-Error")
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func loginBody(user, password, bootstrap string) map[string]any {
	data := map[string]string{"username": user, "password": password}
	if bootstrap != "" {
		data["bootstrap_secret"] = bootstrap
	}
	return map[string]any{"auth_method": "user_password", "public_key": user, "client_name": "test", "timestamp": 1, "provider_data": data}
}

func (i *instance) login(t *testing.T, user, password, bootstrap string) (pair tokens, status int) {
	t.Helper()
	status, reason := i.call(t, "POST", "/auth/token", "", loginBody(user, password, bootstrap), &pair)
	if reason != "" {
		t.Errorf("login of %s: X-Auth-Error %s", user, reason)
	}
	return pair, status
}

// secret reads the bootstrap secret as an operator on the host would.
func (i *instance) secret(t *testing.T) string {
	t.Helper()
	shown, err := i.Bootstrap().Show(t.Context(), false)
	if err != nil || shown.Secret == "" {
		t.Fatalf("Show = %+v, %v", shown, err)
	}
	return shown.Secret
}

// first logs the first administrator in.
func (i *instance) first(t *testing.T) tokens {
	t.Helper()
	pair, status := i.login(t, "alice", "correct horse", i.secret(t))
	if status != http.StatusOK {
		t.Fatalf("first login: %d", status)
	}
	return pair
}
