//go:build !noembed

package main_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/shortdir"
)

// site is a merod in auth mode embedded, as its clients and its operator see it.
type site struct {
	bin, home string
	env       []string
	url       string
	cmd       *exec.Cmd
	log       *logText
	ended     chan struct{} // when the log ends
}

// logText is what a process has written to stderr so far.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(line + "\n")
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newSite starts a new node. Logins are not limited unless env says so.
func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	s := &site{bin: build(t), home: shortdir.New(t), env: append([]string{
		"PATH=" + os.Getenv("PATH"), "MEROD_SERVER__AUTH_MODE=embedded", "MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/0",
		"AUTH_SECURITY__RATE_LIMIT__RATE_LIMIT_RPM=0",
	}, env...)}
	s.run(t)
	t.Cleanup(func() { s.end(t, syscall.SIGTERM) })
	return s
}

// run starts the node and waits until it is up.
func (s *site) run(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(s.bin, "--home", s.home, "-n", "n", "run", "--init")
	s.cmd.Env, s.log, s.ended = s.env, &logText{}, make(chan struct{})
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up := make(chan string, 1)
	go func(log *logText, ended chan struct{}) {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			log.add(lines.Text())
			var line struct {
				Msg    string
				Listen []string
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "node is up" {
				up <- line.Listen[0]
			}
		}
	}(s.log, s.ended)
	select {
	case address := <-up:
		s.url = "http://" + address
	case <-s.ended:
		t.Fatalf("merod did not start: %v\n%s", s.cmd.Wait(), s.log)
	}
}

// end sends a signal and waits. It may be called again.
func (s *site) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	if err := s.cmd.Wait(); err != nil && sig != syscall.SIGKILL {
		t.Errorf("merod ended with %v\n%s", err, s.log)
	}
}

// await waits until the log holds text.
func (s *site) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(s.log.String(), text); time.Sleep(5 * time.Millisecond) { // a poll
		if time.Now().After(deadline) {
			t.Fatalf("the log lacks %q:\n%s", text, s.log)
		}
	}
}

// merod runs a command on the node's home.
func (s *site) merod(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), s.bin, append([]string{"--home", s.home, "-n", "n"}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// reply is an answer with its body.
type reply struct {
	*http.Response
	body string
}

// data decodes what the envelope of mero-auth holds.
func (r reply) data(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &struct {
		Data any `json:"data"`
	}{v}); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s", r.Request.Method, r.Request.URL.Path, r.Status, r.body)
	}
}

var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// call sends a request with a token, unless that is "", and a JSON body, unless that is nil. headers are names and values.
func (s *site) call(t *testing.T, method, target, token string, body any, headers ...string) reply {
	t.Helper()
	var text io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+target, text)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1]) // as it is written, canonical or not
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res, string(raw)}
}

// refused checks status and machine code of an answer, and that a page of another origin may read both.
func (r reply) refused(t *testing.T, status int, reason string) {
	t.Helper()
	if r.StatusCode != status || r.Header.Get("X-Auth-Error") != reason {
		t.Errorf("%s %s: %d %q, want %d %q", r.Request.Method, r.Request.URL, r.StatusCode, r.Header.Get("X-Auth-Error"), status, reason)
	}
	if r.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "X-Auth-Error") {
		t.Errorf("%s %s: a page cannot read the refusal: %v", r.Request.Method, r.Request.URL, r.Header)
	}
	var fields map[string]any
	if r.Request.Method != http.MethodHead && json.Unmarshal([]byte(r.body), &fields) != nil {
		t.Errorf("%s %s: the body is no JSON: %q", r.Request.Method, r.Request.URL, r.body)
	}
}

// pair is what a login and a refresh answer.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// login is the body of a login by password.
func login(name, secret string) map[string]any {
	data := map[string]any{"username": name, "password": "correct horse"}
	if secret != "" {
		data["bootstrap_secret"] = secret
	}
	return map[string]any{
		"auth_method": "user_password", "public_key": name, "client_name": "test", "timestamp": 1, "permissions": []string{"admin"}, "provider_data": data,
	}
}

// secret asks for the one-time secret as an operator does.
func (s *site) secret(t *testing.T) string {
	t.Helper()
	code, out, errs := s.merod(t, "auth", "bootstrap", "show")
	if code != 0 {
		t.Fatalf("bootstrap show: exit code %d, %s", code, errs)
	}
	return strings.TrimSpace(out)
}

// admin makes the first login.
func (s *site) admin(t *testing.T) (p pair) {
	t.Helper()
	s.call(t, "POST", "/auth/token", "", login("root", s.secret(t))).data(t, &p)
	return p
}

// key makes a client key and returns its id and tokens.
func (s *site) key(t *testing.T, admin string, permissions ...string) (id string, p pair) {
	t.Helper()
	s.call(t, "POST", "/admin/client-key", admin, map[string]any{"permissions": permissions}).data(t, &p)
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(p.Access, ".")[1])
	var claims struct {
		Subject string `json:"sub"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims.Subject, p
}

func TestEmbedded_FirstLoginNeedsTheOneTimeSecret(t *testing.T) {
	s := newSite(t)
	s.await(t, "--node n auth bootstrap show")
	for _, wrong := range []string{"", "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA"} {
		if r := s.call(t, "POST", "/auth/token", "", login("root", wrong)); r.StatusCode != http.StatusUnauthorized && r.StatusCode != http.StatusForbidden {
			t.Errorf("with %q: %s %s", wrong, r.Status, r.body)
		}
	}
	secret := s.secret(t)
	var p pair
	s.call(t, "POST", "/auth/token", "", login("root", secret)).data(t, &p)
	if r := s.call(t, "GET", "/admin-api/blobs", p.Access, nil); r.StatusCode != http.StatusOK {
		t.Errorf("as the administrator: %s %s", r.Status, r.body)
	}
	if r := s.call(t, "POST", "/auth/token", "", login("second", secret)); r.StatusCode < 400 {
		t.Errorf("the secret works twice: %s", r.Status)
	}
	if code, _, _ := s.merod(t, "auth", "bootstrap", "show"); code != 3 {
		t.Errorf("bootstrap show afterwards: exit code %d, want 3", code)
	}
	if strings.Contains(s.log.String(), secret) || strings.Contains(s.log.String(), p.Access) || strings.Contains(s.log.String(), "correct horse") {
		t.Error("the log holds a secret")
	}
	for _, name := range []string{"auth", "auth.key"} {
		if info, err := os.Stat(filepath.Join(s.home, "n", name)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v, want mode 0700", name, info, err)
		}
	}
}

func TestEmbedded_AdministratorOfTheEnvironment(t *testing.T) {
	s := newSite(t, "MERO_AUTH_ADMIN_USER=boss", "MERO_AUTH_ADMIN_PASSWORD=correct horse")
	var p pair
	s.call(t, "POST", "/auth/token", "", login("boss", "")).data(t, &p)
	if r := s.call(t, "GET", "/admin/keys", p.Access, nil); r.StatusCode != http.StatusOK {
		t.Errorf("the administrator lists keys: %s", r.Status)
	}
}

func TestEmbedded_RestartKeepsSessions(t *testing.T) {
	s := newSite(t)
	admin := s.admin(t)
	_, limited := s.key(t, admin.Access, "blob:list")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		s.end(t, sig)
		s.run(t)
		if r := s.call(t, "GET", "/admin-api/blobs", limited.Access, nil); r.StatusCode != http.StatusOK {
			t.Errorf("after %s: %s %s", sig, r.Status, r.body)
		}
		s.call(t, "GET", "/admin-api/contexts", limited.Access, nil).refused(t, http.StatusForbidden, "permission_denied")
	}
	// What was revoked stays revoked, however suddenly the node ends.
	s.call(t, "POST", "/admin/revoke", limited.Access, map[string]any{}).data(t, &struct{}{})
	s.end(t, syscall.SIGKILL)
	s.run(t)
	s.call(t, "GET", "/admin-api/blobs", limited.Access, nil).refused(t, http.StatusUnauthorized, "token_revoked")
}

func TestEmbedded_MemoryForgets(t *testing.T) {
	s := newSite(t, "MEROD_SERVER__EMBEDDED__STORAGE=memory")
	admin := s.admin(t)
	s.end(t, syscall.SIGTERM)
	s.run(t)
	s.call(t, "GET", "/admin-api/blobs", admin.Access, nil).refused(t, http.StatusUnauthorized, "invalid_token")
	if s.secret(t) == "" {
		t.Error("no new one-time secret")
	}
}

// TestEmbedded_RefreshAfterTheSecretIsWithdrawn: secrets rotate --now, by the node's own command, ends every access token
// at once, and sessions go on.
func TestEmbedded_RefreshAfterTheSecretIsWithdrawn(t *testing.T) {
	s := newSite(t)
	old := s.admin(t)
	if r := s.call(t, "POST", "/auth/refresh", "", map[string]any{"access_token": old.Access, "refresh_token": old.Refresh}); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("refresh of a good token: %s %s", r.Status, r.body)
	}
	if code, _, errs := s.merod(t, "auth", "secrets", "rotate", "--kind", "access", "--now"); code != 0 {
		t.Fatalf("rotate: exit code %d, %s", code, errs)
	}
	s.call(t, "GET", "/admin-api/blobs", old.Access, nil).refused(t, http.StatusUnauthorized, "invalid_token")
	var fresh pair
	s.call(t, "POST", "/auth/refresh", "", map[string]any{"access_token": old.Access, "refresh_token": old.Refresh}).data(t, &fresh)
	if r := s.call(t, "GET", "/admin-api/blobs", fresh.Access, nil); r.StatusCode != http.StatusOK {
		t.Errorf("after the refresh: %s %s", r.Status, r.body)
	}
	// A refresh token is no access token.
	s.call(t, "GET", "/admin-api/blobs", fresh.Refresh, nil).refused(t, http.StatusUnauthorized, "invalid_token")
}

func TestEmbedded_Hangup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[providers]\nuser_password = true\n")
	s := newSite(t, "MEROD_SERVER__EMBEDDED__CONFIG_FILE="+file)
	methods := func() string { return s.call(t, "GET", "/auth/providers", "", nil).body }
	if strings.Contains(methods(), "eth_wallet") {
		t.Fatal("eth_wallet is there before")
	}
	hangup := func(want string) {
		t.Helper()
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.await(t, want)
	}
	write("[providers]\nuser_password = \"perhaps\"\n")
	hangup("must be true or false")
	write("[cors]\nallow_all_origins = false\nallowed_origins = [\"https://evil.example\"]\n[eth]\nstatement = \"Hello\"\n[providers]\nuser_password = true\neth_wallet = true\n")
	hangup("the configuration and the assertion keys were read again")
	if r := s.call(t, "GET", "/auth/providers", "", nil, "Origin", "https://a.example"); r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("the node's CORS settings do not hold for /auth: %v", r.Header)
	}
	s.await(t, "the node's own settings decide it")
}

func TestEmbedded_OperatorCommands(t *testing.T) {
	s := newSite(t, "AUTH_STORAGE__PATH=/nonexistent", "AUTH_LISTEN_ADDR=0.0.0.0:1")
	s.await(t, "storage.path (environment AUTH_STORAGE__PATH): has no effect")
	backup := filepath.Join(t.TempDir(), "auth.backup")
	for _, tt := range []struct {
		args []string
		code int
		want string // in what it prints
	}{
		{[]string{"auth"}, 0, "bootstrap show"},
		{[]string{"auth", "backup", backup}, 0, ""},
		{[]string{"auth", "secrets", "list"}, 0, "access"},
		{[]string{"auth", "check-config"}, 0, filepath.Join(s.home, "n", "auth")},
		{[]string{"auth", "doctor"}, 0, "is running"},
		{[]string{"auth", "serve"}, 2, ""},
		{[]string{"auth", "nothing"}, 2, ""},
	} {
		code, out, errs := s.merod(t, tt.args...)
		if code != tt.code && (tt.code == 0 || code == 0) || !strings.Contains(out, tt.want) {
			t.Errorf("%v: exit code %d, %s%s, want %d and %q", tt.args, code, out, errs, tt.code, tt.want)
		}
	}
	if info, err := os.Stat(backup); err != nil || info.Size() == 0 {
		t.Errorf("backup: %v", err)
	}
}
