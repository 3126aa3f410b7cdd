package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/freeport"
	"github.com/calimero-network/mero-go/pkg/shortdir"
	"github.com/calimero-network/mero-go/services/auth/internal/cli"
)

// environment is that of a service on ports and in a folder of this test alone. The folder's name is short because
// the control socket lies in it.
func environment(t *testing.T, more ...string) []string {
	t.Helper()
	dir := shortdir.New(t)
	env := []string{"PATH=/bin", "AUTH_STORAGE__PATH=" + filepath.Join(dir, "s"), "AUTH_LISTEN_ADDR=127.0.0.1:0", "AUTH_ADMIN_ADDR=127.0.0.1:0"}
	return with(env, more...)
}

// with returns env with variables set, each once.
func with(env []string, more ...string) []string {
	env = slices.Clone(env)
	for _, variable := range more {
		name, _, _ := strings.Cut(variable, "=")
		env = slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		env = append(env, variable)
	}
	return env
}

func storagePath(env []string) string {
	for _, variable := range env {
		if path, is := strings.CutPrefix(variable, "AUTH_STORAGE__PATH="); is {
			return path
		}
	}
	return ""
}

// command runs a command line to its end.
func command(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // what should be refused and serves instead ends, too
	defer cancel()
	var out, errs bytes.Buffer
	code = cli.Run(ctx, cli.Process{Args: args, Environ: env, Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

// service is a running `mero-auth serve`.
type service struct {
	env             []string // of its start
	data, operators string
	reload          chan os.Signal
	stop            func() int // the exit code

	up  chan [2]string // its addresses, once it says them
	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes what the service says to its standard error; each write is a line. What it has written is in text at once.
func (s *service) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var line struct {
		Message string `json:"msg"`
		Data    string `json:"listen_addr"`
		Admin   string `json:"admin_addr"`
	}
	if json.Unmarshal(p, &line) == nil && line.Message == "mero-auth is up" {
		s.up <- [2]string{line.Data, line.Admin}
	}
	return s.log.Write(p)
}

func (s *service) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// serve starts the service and waits until it says that it is up.
func serve(t *testing.T, env []string, args ...string) *service {
	t.Helper()
	s := &service{env: env, reload: make(chan os.Signal), up: make(chan [2]string, 1)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	code, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		code = cli.Run(ctx, cli.Process{Args: args, Environ: env, Stdout: io.Discard, Stderr: s, Reload: s.reload})
	}()
	s.stop = func() int {
		cancel()
		<-ended
		return code
	}
	t.Cleanup(func() { s.stop() })
	select {
	case addresses := <-s.up:
		s.data, s.operators = addresses[0], addresses[1]
	case <-ended:
		t.Fatalf("the service did not start: %d\n%s", code, s.text())
	}
	return s
}

// post logs in and returns the status.
func (s *service) post(t *testing.T, secret string) int {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"auth_method": "user_password", "public_key": "alice", "client_name": "cli-test", "timestamp": 1,
		"provider_data": map[string]string{"username": "alice", "password": "correct horse", "bootstrap_secret": secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.data+"/auth/token", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := command(t, nil, "version")
	if code != cli.ExitOK || !strings.HasPrefix(stdout, "mero-auth ") || strings.Count(stdout, "\n") != 1 || stderr != "" {
		t.Errorf("version: %d %q %q", code, stdout, stderr)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--nonsense"},
		{"nonsense"},
		{"serve", "extra"},
		{"version", "extra"},
		{"check-config", "extra"},
		{"healthcheck", "extra"},
		{"bootstrap"},
		{"bootstrap", "shwo"},
		{"bootstrap", "show", "extra"},
		{"bootstrap", "show", "--nonsense"},
		{"-c"},
	} {
		if code, stdout, stderr := command(t, environment(t), args...); code != cli.ExitUsage || stdout != "" || !strings.HasPrefix(stderr, "mero-auth: ") {
			t.Errorf("%q: exit code %d, %q, %q; want %d and one line", args, code, stdout, stderr, cli.ExitUsage)
		}
	}
	for _, args := range [][]string{{"--help"}, {"bootstrap", "--help"}, {"bootstrap", "show", "-h"}} {
		if code, stdout, _ := command(t, nil, args...); code != cli.ExitOK || !strings.Contains(stdout, "mero-auth") {
			t.Errorf("%q: exit code %d, %q", args, code, stdout)
		}
	}
}

// contract check 54
func TestConfigurationProblems(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.toml")
	text := "listen_addr = \"nowhere\"\nunknown_key = 1\n[jwt]\naccess_token_expiry = -5\nalgorithm = \"RS256\"\n[storage]\ntype = \"etcd\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--config", file}, {"serve", "-c", file}, {"check-config", "-c", file}, {"healthcheck", "-c", file}, {"bootstrap", "show", "-c", file}} {
		code, stdout, stderr := command(t, environment(t, "AUTH_JWT__LEEWAY=9999"), args...)
		if code != cli.ExitError || stdout != "" {
			t.Errorf("%q: exit code %d, stdout %q, want %d", args, code, stdout, cli.ExitError)
		}
		// The address in the environment wins over the file's; everything else is listed.
		for _, problem := range []string{"unknown_key", "access_token_expiry", "algorithm", "storage.type", "leeway"} {
			if !strings.Contains(stderr, problem) {
				t.Errorf("%q: the problem with %s is not listed:\n%s", args, problem, stderr)
			}
		}
	}
	for name, env := range map[string][]string{
		"half a pair, user":     environment(t, "MERO_AUTH_ADMIN_USER=ops"),
		"half a pair, password": environment(t, "MERO_AUTH_ADMIN_PASSWORD=the-password-itself"),
		"short secret":          environment(t, "AUTH_BOOTSTRAP__SECRET=too-short"),
		"mock tokens":           environment(t, "AUTH_DEVELOPMENT__ENABLE_MOCK_AUTH=true"),
		"first login for all":   environment(t, "AUTH_BOOTSTRAP__MODE=first-login", "AUTH_LISTEN_ADDR=0.0.0.0:0"),
	} {
		code, _, stderr := command(t, env, "serve")
		if code != cli.ExitError || stderr == "" || strings.Contains(stderr, "the-password-itself") || strings.Contains(stderr, "too-short") {
			t.Errorf("%s: exit code %d, %q", name, code, stderr)
		}
		if _, err := os.Stat(storagePath(env)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a refused start made %s", name, storagePath(env))
		}
	}
	if code, _, stderr := command(t, environment(t), "-c", filepath.Join(t.TempDir(), "absent.toml")); code != cli.ExitError || !strings.Contains(stderr, "absent.toml") {
		t.Errorf("a file that is not there: %d %q", code, stderr)
	}
}

func TestCheckConfig(t *testing.T) {
	env := environment(t, "AUTH_JWT__ISSUER=my-issuer", "MERO_AUTH_ADMIN_USER=ops", "MERO_AUTH_ADMIN_PASSWORD=hunter-two-two",
		"AUTH_BOOTSTRAP__SECRET=a-long-enough-bootstrap-secret", "AUTH_SERVICE_HOST=10.0.0.1")
	code, stdout, stderr := command(t, env, "check-config", "--bind", "127.0.0.1:4444")
	if code != cli.ExitOK || !strings.Contains(stdout, "my-issuer") || !strings.Contains(stdout, "127.0.0.1:4444") {
		t.Errorf("check-config: %d %q", code, stdout)
	}
	if !strings.Contains(stderr, "warning") || !strings.Contains(stderr, "AUTH_SERVICE_HOST") {
		t.Errorf("check-config does not warn of a variable that it does not know: %q", stderr)
	}
	for _, secret := range []string{"hunter-two-two", "a-long-enough-bootstrap-secret"} {
		if strings.Contains(stdout+stderr, secret) {
			t.Errorf("check-config prints the secret %q", secret)
		}
	}
	if _, err := os.Stat(storagePath(env)); !errors.Is(err, os.ErrNotExist) {
		t.Error("check-config made the storage directory")
	}
}

func TestHealthcheck(t *testing.T) {
	status := http.StatusOK
	probe := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("the health check asks for %s", r.URL.Path)
		}
		w.WriteHeader(status)
	}))
	defer probe.Close()
	_, port, err := net.SplitHostPort(probe.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"127.0.0.1:" + port, "0.0.0.0:" + port, ":" + port, "[::]:" + port} {
		for want, answer := range map[int]int{cli.ExitOK: http.StatusOK, cli.ExitError: http.StatusServiceUnavailable} {
			status = answer
			if code, _, stderr := command(t, environment(t, "AUTH_ADMIN_ADDR="+address), "healthcheck"); code != want || (want != 0 && !strings.Contains(stderr, "503")) {
				t.Errorf("healthcheck of %s that answers %d: exit code %d, %q", address, answer, code, stderr)
			}
		}
	}
	if code, _, stderr := command(t, environment(t, "AUTH_ADMIN_ADDR="+freeport.Addr()), "healthcheck"); code != cli.ExitError || !strings.Contains(stderr, "not healthy") {
		t.Errorf("healthcheck of nobody: %d %q", code, stderr)
	}
}

func TestServe(t *testing.T) {
	env := environment(t)
	s := serve(t, env)
	s.reload <- syscall.SIGHUP
	s.reload <- syscall.SIGHUP // the second is taken when the first is done
	if !strings.Contains(s.text(), "the assertion keys were read again") {
		t.Errorf("SIGHUP changed nothing: %s", s.text())
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(must(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.operators+"/readyz", http.NoBody)))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %d, %v", res.StatusCode, err)
	}
	started := time.Now()
	if code := s.stop(); code != cli.ExitOK {
		t.Errorf("exit code %d after a clean stop", code)
	}
	if took := time.Since(started); took > 30*time.Second {
		t.Errorf("the stop took %v", took)
	}
	for line := range strings.Lines(s.text()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("log line %q is no JSON", line)
		}
	}
	// A port that is taken and a store that is held end with exit code 1 and say why.
	again := serve(t, env)
	for name, tt := range map[string]struct {
		env  []string
		text string
	}{
		"port":  {environment(t, "AUTH_LISTEN_ADDR="+again.data), "address already in use"},
		"store": {env, "in use by another process"},
	} {
		started := time.Now()
		if code, _, stderr := command(t, tt.env, "serve"); code != cli.ExitError || !strings.Contains(stderr, tt.text) || time.Since(started) > 30*time.Second {
			t.Errorf("%s: exit code %d after %v, %q", name, code, time.Since(started), stderr)
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// The log on a pipe never holds the secret; only a terminal is shown it.
func TestServe_SecretStaysOutOfThePipe(t *testing.T) {
	env := environment(t)
	s := serve(t, env, "-v")
	code, secret, _ := command(t, env, "bootstrap", "show")
	if code != cli.ExitOK || len(secret) != 30 {
		t.Fatalf("bootstrap show: %d %q", code, secret)
	}
	if status := s.post(t, strings.TrimSpace(secret)); status != http.StatusOK {
		t.Errorf("first login: %d", status)
	}
	s.stop()
	if strings.Contains(s.text(), strings.TrimSpace(secret)) {
		t.Errorf("the log holds the secret: %s", s.text())
	}
}
