package embed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/pkg/shortdir"
	"github.com/calimero-network/mero-go/services/auth/embed"
)

// settings are those of a node with a store in a folder of its own. The folder's name is short because the path of a
// Unix socket is limited to 107 bytes and the control socket lies in it.
func settings(t *testing.T) embed.Settings {
	t.Helper()
	dir := shortdir.New(t)
	return embed.Settings{
		Dir: filepath.Join(dir, "auth"), AllowAllOrigins: true, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:2528")},
		LogLevel: "info", LogFormat: "json", Command: "merod --node n auth",
		Environ: []string{"MERO_AUTH_ADMIN_USER=root", "MERO_AUTH_ADMIN_PASSWORD=correct horse", "RUST_LOG=debug"},
	}
}

// node is a Service that runs, with the token of its administrator.
type node struct {
	*embed.Service
	admin string
	log   *logText
	stop  func() error
}

// logText is a log that can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func run(t *testing.T, s embed.Settings) *node {
	t.Helper()
	n := &node{log: new(logText)}
	var err error
	if n.Service, err = embed.Open(t.Context(), s, time.Now, slog.New(slog.NewJSONHandler(n.log, nil))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := n.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	n.admin = n.token(t, "/auth/token", map[string]any{
		"auth_method": "user_password", "public_key": "root", "client_name": "test", "timestamp": 1, "permissions": []string{"admin"},
		"provider_data": map[string]any{"username": "root", "password": "correct horse"},
	})
	return n
}

// call sends JSON to mero-auth.
func (n *node) call(t *testing.T, method, target string, body any) *httptest.ResponseRecorder {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, target, bytes.NewReader(raw))
	r.RemoteAddr = "127.0.0.1:4000"
	r.Header.Set("Content-Type", "application/json")
	if n.admin != "" {
		r.Header.Set("Authorization", "Bearer "+n.admin)
	}
	w := httptest.NewRecorder()
	n.ServeHTTP(w, r)
	return w
}

// token returns the access token that a call answers.
func (n *node) token(t *testing.T, target string, body any) string {
	t.Helper()
	w := n.call(t, http.MethodPost, target, body)
	var got struct {
		Data struct {
			Access string `json:"access_token"`
		} `json:"data"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Data.Access == "" {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	return got.Data.Access
}

// ask asks the guard about a GET.
func (n *node) ask(target, token string) (*embed.Caller, route.Match, error) {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr = "127.0.0.1:4000"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	var match route.Match
	c, err := n.Guard(r, &match)
	return c, match, err
}

func TestGuard(t *testing.T) {
	n := run(t, settings(t))
	client := n.token(t, "/admin/client-key", map[string]any{"permissions": []string{"blob:list"}})
	c, match, err := n.ask("/admin-api/blobs", client)
	if err != nil || c == nil || c.Key == "" || len(c.Permissions) != 1 || c.Permissions[0] != "blob:list" || !c.Expires.After(time.Now()) || match.Row.Op != "blobs.list" {
		t.Errorf("got %+v, %v, %v", c, match.Row, err)
	}
	if c, _, err := n.ask("/admin-api/contexts", client); c != nil || fault.ReasonOf(err) != identity.PermissionDenied {
		t.Errorf("beyond the key: %v, %v", c, err)
	}
	if c, _, err := n.ask("/admin-api/blobs", ""); c != nil || fault.ReasonOf(err) != identity.MissingToken {
		t.Errorf("without a token: %v, %v", c, err)
	}
	if c, match, err := n.ask("/admin-api/health", ""); c != nil || err != nil || !match.Public() {
		t.Errorf("a public route: %v, %v, %v", c, match.Row, err)
	}
	families, err := n.Metrics().Gather()
	if err != nil || len(families) == 0 {
		t.Fatalf("metrics: %v", err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "mero_auth_") {
			t.Errorf("%s may be a metric of the node", f.GetName())
		}
	}
	if err := errors.Join(n.Readable(t.Context()), n.Writable(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestCaller_Check names the ends of a token in the three words that its holder is told.
func TestCaller_Check(t *testing.T) {
	n := run(t, settings(t))
	for name, tt := range map[string]struct {
		method, path string // after the key's id
		body         any
		want         error
	}{
		"revoked":  {http.MethodDelete, "", nil, embed.ErrRevoked},
		"narrowed": {http.MethodPut, "/permissions", map[string]any{"remove": []string{"blob:list"}}, embed.ErrNarrowed},
		"sooner":   {http.MethodPatch, "", map[string]any{"expires_at": time.Now().Add(time.Minute).Unix()}, embed.ErrNarrowed},
		"named":    {http.MethodPatch, "", map[string]any{"name": "other"}, nil},
	} {
		c, _, err := n.ask("/admin-api/blobs", n.token(t, "/admin/client-key", map[string]any{"permissions": []string{"blob:list", "context:list"}}))
		if err != nil || c.Check(t.Context()) != nil {
			t.Fatalf("%s, before: %v", name, err)
		}
		target := "/admin/keys/" + c.Key + tt.path
		if name == "revoked" {
			tt.method, target, tt.body = http.MethodPost, "/admin/revoke", map[string]any{"client_id": c.Key}
		}
		if w := n.call(t, tt.method, target, tt.body); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
		if got := c.Check(t.Context()); !errors.Is(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestStop_FreesTheStore: another process can have the store as soon as Run has returned, and knows the old tokens.
func TestStop_FreesTheStore(t *testing.T) {
	s := settings(t)
	first := run(t, s)
	token := first.admin
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := run(t, s)
	if _, _, err := second.ask("/admin-api/blobs", token); err != nil {
		t.Errorf("the session is gone: %v", err)
	}
	if _, _, ok := second.FirstLogin(t.Context()); ok {
		t.Error("there is a one-time secret beside an administrator")
	}
}

func TestReload(t *testing.T) {
	s := settings(t)
	s.ConfigFile = filepath.Join(filepath.Dir(s.Dir), "auth.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.ConfigFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[providers]\nuser_password = true\n")
	n := run(t, s)
	write("nonsense = 1\n")
	if err := n.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a broken file: %v", err)
	}
	write("[security.rate_limit]\nrate_limit_rpm = 7\n[providers]\nuser_password = true\n")
	if err := n.Reload(t.Context()); err != nil || !strings.Contains(n.log.String(), "security.rate_limit.rate_limit_rpm") {
		t.Errorf("a good file: %v", err)
	}
	if strings.Contains(n.log.String(), "RUST_LOG") {
		t.Error("the node's log filter is taken for a setting")
	}
}

func TestOpen_RefusesBadSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*embed.Settings)
		want   string
	}{
		"missing file":          {func(s *embed.Settings) { s.ConfigFile = s.Dir + ".toml" }, ".toml"},
		"bad variable":          {func(s *embed.Settings) { s.Environ = []string{"AUTH_JWT__ALGORITHM=none"} }, "jwt.algorithm"},
		"half an administrator": {func(s *embed.Settings) { s.Environ = []string{"MERO_AUTH_ADMIN_USER=root"} }, "MERO_AUTH_ADMIN_USER"},
		"key inside the store":  {func(s *embed.Settings) { s.Environ = []string{"AUTH_SECRETS__KEY_DIR=" + s.Dir + "/k"} }, "secrets.key_dir"},
		"first login for all": {func(s *embed.Settings) {
			s.Environ, s.Listen = []string{"AUTH_BOOTSTRAP__MODE=first-login"}, []netip.AddrPort{netip.MustParseAddrPort("[::]:1")}
		}, "bootstrap.mode"},
		"too long for a socket":  {func(s *embed.Settings) { s.Dir = filepath.Join(s.Dir, strings.Repeat("d", 100)) }, "control socket"},
		"an address with a path": {func(s *embed.Settings) { s.PublicURL = "https://node.example/path" }, "public_url"},
	} {
		s := settings(t)
		tt.change(&s)
		service, err := embed.Open(t.Context(), s, time.Now, slog.New(slog.DiscardHandler))
		if err == nil {
			err = errors.Join(errors.New("opened"), service.Close())
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestMain_ShowsTheSecretOfAStoreThatIsNotInUse(t *testing.T) {
	s := settings(t)
	s.Environ = nil
	service, err := embed.Open(t.Context(), s, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	secret, _, ok := service.FirstLogin(t.Context())
	if err := service.Close(); err != nil || !ok {
		t.Fatal(err, ok)
	}
	var out, errs bytes.Buffer
	if code := embed.Main(t.Context(), s, []string{"bootstrap", "show"}, strings.NewReader(""), &out, &errs); code != 0 || strings.TrimSpace(out.String()) != secret {
		t.Errorf("exit code %d, %q, %s, want %q", code, out.String(), &errs, secret)
	}
	if code := embed.Main(t.Context(), s, []string{"help"}, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), "merod --node n auth backup") ||
		strings.Contains(out.String(), "  serve") {
		t.Errorf("exit code %d, %s", code, &out)
	}
}
