//go:build !noembed

package app_test

import (
	"net/http"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/app"
	"github.com/calimero-network/mero-go/services/node/internal/config"
)

// In auth mode embedded, mero-auth's paths are below the prefix as well.
func TestPathPrefix_Embedded(t *testing.T) {
	n := startWith(t, t.TempDir(), func(c *config.Config) { c.Server.AuthMode, c.Server.PathPrefix = config.AuthEmbedded, prefix }, app.Options{
		Environ: []string{"MERO_AUTH_ADMIN_USER=root", "MERO_AUTH_ADMIN_PASSWORD=correct horse"},
	})
	n.token = n.tokenOf(t, prefix+"/auth/token", map[string]any{
		"auth_method": "user_password", "public_key": "root", "client_name": "test", "timestamp": 1, "permissions": []string{"context:list"},
		"provider_data": map[string]any{"username": "root", "password": "correct horse"},
	})
	for target, status := range map[string]int{
		prefix + "/admin-api/contexts": 200, prefix + "/admin-api%2fcontexts": 403, prefix + "/admin/identity": 200,
		"/admin-api/contexts": 404, "/admin/identity": 404, "/auth/providers": 404,
	} {
		if a := n.as(t, "", http.MethodGet, target, nil); a.StatusCode != status {
			t.Errorf("%s: %s %s, want %d", target, a.Status, a.body, status)
		}
	}
	if a := do(t, request(t, http.MethodGet, n.url(prefix+"/admin-api/contexts"), nil)); a.StatusCode != 401 {
		t.Errorf("without a token: %s", a.Status)
	}
	if a := do(t, request(t, http.MethodGet, n.url(prefix+"/admin/"), nil)); a.Header.Get("Location") != prefix+"/admin-dashboard/" {
		t.Errorf("/admin/: %s to %q", a.Status, a.Header.Get("Location"))
	}
}
