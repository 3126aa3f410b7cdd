package e2e

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// TestNoSecretInAnyLogOrFile uses every kind of secret in every way that reaches a log (good, refused, malformed, while a
// service is down) with all logs at their most talkative. Every other stack of this suite is checked the same way when it
// stops.
func TestNoSecretInAnyLogOrFile(t *testing.T) {
	t.Parallel()
	st := start(t, stack.Settings{
		Auth: map[string]string{"AUTH_LOG__LEVEL": "debug", "AUTH_JWT__ACCESS_TOKEN_EXPIRY": "30"},
		Node: map[string]string{"MEROD_LOG__LEVEL": "debug"},
	})
	s := loggedIn(t, st)
	key := s.token(t, "context:subscribe", "blob:list")
	everyUse(t, s, key)
	waitExpired(t, s.first.Access)
	old := map[string]string{"access_token": s.first.Access, "refresh_token": s.first.Refresh}
	next := tokens(t, s.call(t, "POST", "/auth/refresh", "", old))
	s.call(t, "GET", "/admin-api/blobs", next.Access, nil).want(t, http.StatusOK)
	s.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": next.Refresh, "refresh_token": next.Access}).want(t, http.StatusUnauthorized)

	if err := st.Node.Stop(); err != nil {
		t.Fatal(err)
	}
	everyUse(t, s, key)
	st.Auth.Kill()
	everyUse(t, s, key)

	if err := st.Stop(); err != nil { // looks into the logs
		t.Error(err)
	}
	access, err := st.Nginx.Log()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(access, `"path":"/ws"`) || strings.Contains(access, "token=") {
		t.Errorf("nginx logs no path or a query:\n%.2000s", access)
	}
	checked := 0
	err = filepath.WalkDir(filepath.Join(st.Dir, "data"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		checked++
		return st.Secrets.Check("the file "+path, string(content))
	})
	if err != nil {
		t.Error(err)
	}
	if checked < 3 || st.Secrets.Len() < 20 {
		t.Errorf("looked for %d secrets in %d files: too few to show anything", st.Secrets.Len(), checked)
	}
}

// everyUse sends secrets wherever a client can put one.
func everyUse(t *testing.T, s *administered, key string) {
	t.Helper()
	s.call(t, "GET", "/admin-api/blobs", key, nil)
	s.call(t, "DELETE", "/admin-api/blobs/x", key, nil)
	s.call(t, "GET", "/ws?token="+key, "", nil)
	s.call(t, "GET", "/sse?token="+key+"x", "", nil)
	s.call(t, "GET", "/admin-api/blobs?token="+key, "", nil)
	s.call(t, "GET", "/admin-api//blobs?access_token="+key, key, nil, "Referer", s.URL+"/?token="+key)
	s.call(t, "GET", "/auth/login?token="+key, "", nil)
	s.call(t, "GET", "/admin/keys?token="+key, s.first.Refresh, nil)
	s.call(t, "POST", "/auth/token", "", passwordLogin(adminName, adminPassword+"x", "AAAA-BBBB-CCCC-DDDD-EEEE-FFFF"))
	s.call(t, "POST", "/auth/token", "", []byte(`{"provider_data":{"password":"`+adminPassword+`"`))
	s.call(t, "POST", "/auth/refresh", "", map[string]any{"access_token": key, "refresh_token": map[string]string{"x": key}})
	for _, payload := range [][]byte{
		request("GET /ws?token="+key+" HTTP/1.1", "Host: x", "Connection: close", "X-Auth-Key : "+key),
		request("GET /ws?token="+key+" HTTP/9.9", "Host: x"),
		request("GET /ws?token="+key+"\x00 HTTP/1.1", "Host: x"),
		request("GET /ws?token="+key+strings.Repeat("x", 40<<10)+" HTTP/1.1", "Host: x"),
		request("GET /ws HTTP/1.1", "Host: x", "Connection: close", "Authorization: Bearer "+key, "Authorization: Bearer "+key),
		request("GET /ws?token="+key+" HTTP/1.1", "Connection: close"),
		request("GET /%zz?token="+key+" HTTP/1.1", "Host: x", "Connection: close"),
		requestWithBody("POST /auth/token?token="+key+" HTTP/1.1", "token="+key, "Host: x", "Connection: close", "Content-Type: "+key),
	} {
		exchange(t, s.hostOf(t), payload)
	}
}
