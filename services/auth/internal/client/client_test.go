package client_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/calimero-network/mero-go/pkg/freeport"
	"github.com/calimero-network/mero-go/services/auth/internal/client"
)

// upstream is a service of which the test says which access token is good.
type upstream struct {
	*httptest.Server
	mu        sync.Mutex
	access    string
	refresh   string
	reason    string // of the refusal of other access tokens, token_expired if empty
	refreshes int
	seen      []string // Authorization headers
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{access: "access-1", refresh: "refresh-1"}
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case r.URL.Path == "/auth/refresh":
		var body client.Pair
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Refresh != u.refresh {
			w.Header().Set("X-Auth-Error", "token_reuse")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"data":null,"error":"refresh token used twice"}`))
			return
		}
		u.refreshes++
		u.access, u.refresh = fmt.Sprintf("access-%d", u.refreshes+1), fmt.Sprintf("refresh-%d", u.refreshes+1)
		_ = json.NewEncoder(w).Encode(map[string]any{"data": client.Pair{Access: u.access, Refresh: u.refresh}})
	case r.URL.Path == "/moved":
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	case r.URL.Path == "/limited":
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"data":null,"error":"too many attempts"}`))
	case r.Header.Get("Authorization") != "Bearer "+u.access:
		w.Header().Set("X-Auth-Error", cmp.Or(u.reason, "token_expired"))
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"data":null,"error":"this token is not good"}`))
	default:
		u.seen = append(u.seen, r.URL.Path)
		_, _ = w.Write([]byte(`{"data":{"hello":"world"},"error":null}`))
	}
}

func sessionFile(t *testing.T) *client.File {
	t.Helper()
	return &client.File{Path: filepath.Join(t.TempDir(), "mero-auth", "sessions.json")}
}

func connect(t *testing.T, server, token string, file *client.File) *client.Client {
	t.Helper()
	c, err := client.New(server, token, file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCall_RefreshesOnceAndKeepsTheSuccessor(t *testing.T) {
	u, file := newUpstream(t), sessionFile(t)
	if err := connect(t, u.URL, "", file).Keep(client.Pair{Access: "an old one", Refresh: "refresh-1"}); err != nil {
		t.Fatal(err)
	}
	var out struct{ Hello string }
	if err := connect(t, u.URL+"/", "", file).Call(t.Context(), http.MethodGet, "/admin/keys", nil, &out); err != nil || out.Hello != "world" {
		t.Fatalf("%v, %+v", err, out)
	}
	stored, err := file.Session(u.URL)
	if err != nil || stored != (client.Session{Access: "access-2", Refresh: "refresh-2"}) {
		t.Errorf("stored %+v, %v", stored, err)
	}
	info, err := os.Stat(file.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Dir(file.Path)); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("directory %v, %v, want 0700", dir.Mode(), err)
	}
}

// After `secrets rotate --kind access --now` the access token is unknown and the refresh token good. What a successor does
// not help with is not repeated: one refresh a call.
func TestCall_ReasonsToRefresh(t *testing.T) {
	for reason, refreshes := range map[string]int{"invalid_token": 1, "token_expired": 1, "token_revoked": 0, "missing_token": 0, "permission_denied": 0} {
		u, file := newUpstream(t), sessionFile(t)
		u.reason = reason
		if err := connect(t, u.URL, "", file).Keep(client.Pair{Access: "withdrawn", Refresh: "refresh-1"}); err != nil {
			t.Fatal(err)
		}
		err := connect(t, u.URL, "", file).Call(t.Context(), http.MethodGet, "/admin/keys", nil, nil)
		if u.refreshes != refreshes || (err == nil) != (refreshes == 1) {
			t.Errorf("%s: %d refreshes, %v; want %d", reason, u.refreshes, err, refreshes)
		}
	}
}

// Commands that run at the same time must not look like a stolen refresh token to the service.
func TestCall_ParallelCommandsRefreshOnce(t *testing.T) {
	u, file := newUpstream(t), sessionFile(t)
	if err := connect(t, u.URL, "", file).Keep(client.Pair{Access: "an old one", Refresh: "refresh-1"}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 16 {
		c := connect(t, u.URL, "", file)
		group.Go(func() {
			if err := c.Call(t.Context(), http.MethodGet, "/admin/keys", nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if u.refreshes != 1 || len(u.seen) != 16 {
		t.Errorf("%d refreshes, %d calls served; want 1 and 16", u.refreshes, len(u.seen))
	}
}

func TestCall_Refusals(t *testing.T) {
	u, file := newUpstream(t), sessionFile(t)
	if err := connect(t, u.URL, "", file).Call(t.Context(), http.MethodGet, "/x", nil, nil); !errors.Is(err, client.ErrNoSession) {
		t.Errorf("without a session: %v", err)
	}
	// A token from outside is presented as it is, never refreshed and never stored.
	err := connect(t, u.URL, "expired", file).Call(t.Context(), http.MethodGet, "/x", nil, nil)
	if refused, is := errors.AsType[*client.Error](err); !is || refused.Status != 401 || refused.Reason != "token_expired" {
		t.Errorf("an expired token from outside: %v", err)
	}
	if _, err := os.Stat(file.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a token from outside was stored: %v", err)
	}
	c := connect(t, u.URL, "access-1", file)
	for path, want := range map[string]string{"/moved": "307", "/limited": "too many attempts; try again in 7 s"} {
		if err := c.Call(t.Context(), http.MethodGet, path, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if len(u.seen) != 0 {
		t.Errorf("a redirect was followed with the token: %v", u.seen)
	}
	// A session that the service ended says what to do and leaves the file alone.
	if err := connect(t, u.URL, "", file).Keep(client.Pair{Access: "old", Refresh: "stolen"}); err != nil {
		t.Fatal(err)
	}
	err = connect(t, u.URL, "", file).Call(t.Context(), http.MethodGet, "/x", nil, nil)
	if !errors.Is(err, client.ErrEnded) || !strings.Contains(err.Error(), "token login") {
		t.Errorf("an ended session: %v", err)
	}
	if stored, err := file.Session(u.URL); err != nil || stored.Refresh != "stolen" {
		t.Errorf("stored %+v, %v", stored, err)
	}
}

func TestCall_NotMeroAuth(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer other.Close()
	err := connect(t, other.URL, "t", nil).Call(t.Context(), http.MethodGet, "/", nil, new(map[string]any))
	if err == nil || !strings.Contains(err.Error(), "--server") {
		t.Errorf("%v, want a hint at --server", err)
	}
	if err := connect(t, "http://"+freeport.Addr(), "secret-token", nil).Call(t.Context(), http.MethodGet, "/", nil, nil); err == nil || strings.Contains(err.Error(), "secret-token") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestNew_RefusesWhatIsNoServer(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:3001", "ftp://x", "http://", "http://user:pw@x", "http://x?y", "http://x#y", "://"} {
		if _, err := client.New(base, "t", nil); err == nil {
			t.Errorf("%q was accepted", base)
		}
	}
}

// Tokens that others can read are not used on, and the file is not silently mended: it may have been read.
func TestFile_ExposedSession(t *testing.T) {
	file := sessionFile(t)
	if err := connect(t, "http://x", "", file).Keep(client.Pair{Access: "a", Refresh: "r"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file.Path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := client.New("http://x", "", file); !errors.Is(err, client.ErrExposed) {
		t.Errorf("%v, want ErrExposed", err)
	}
}

func TestFile_Update(t *testing.T) {
	file := sessionFile(t)
	keep := func(server string, s client.Session) {
		t.Helper()
		if err := file.Update(server, func(client.Session) (client.Session, error) { return s, nil }); err != nil {
			t.Fatal(err)
		}
	}
	one, two := client.Session{Access: "1"}, client.Session{Access: "2"}
	keep("http://one", one)
	keep("http://two", two)
	boom := errors.New("boom")
	if err := file.Update("http://one", func(client.Session) (client.Session, error) { return client.Session{}, boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	for server, want := range map[string]client.Session{"http://one": one, "http://two": two, "http://three": {}} {
		if got, err := file.Session(server); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", server, got, err, want)
		}
	}
	keep("http://one", client.Session{})
	text, err := os.ReadFile(file.Path)
	if err != nil || strings.Contains(string(text), "http://one") || !strings.Contains(string(text), "http://two") {
		t.Errorf("after one was removed: %s, %v", text, err)
	}
	if err := os.WriteFile(file.Path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Session("http://two"); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestDefaultFile(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": "/home/a"}, "/home/a/.config/mero-auth/sessions.json"},
		{map[string]string{"HOME": "/home/a", "XDG_CONFIG_HOME": "/c"}, "/c/mero-auth/sessions.json"},
		{map[string]string{"HOME": "/home/a", "XDG_CONFIG_HOME": "relative"}, "/home/a/.config/mero-auth/sessions.json"},
		{nil, ""},
	} {
		file, err := client.DefaultFile(func(name string) string { return tt.env[name] })
		switch {
		case tt.want == "" && err == nil:
			t.Errorf("%v: no error", tt.env)
		case tt.want != "" && (err != nil || file.Path != tt.want):
			t.Errorf("%v: %v, %v, want %s", tt.env, file, err, tt.want)
		}
	}
}
