package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// TestLoad_Given: what the program around decides wins over every source, and the sources are told.
func TestLoad_Given(t *testing.T) {
	text := "[storage]\npath = \"/elsewhere\"\n[jwt]\nissuer = \"mine\"\n[cors]\nallowed_origins = [\"https://a.example\"]\n"
	c, warnings, err := config.Load(config.Input{
		File: file, ReadFile: files{file: text}.read, Environ: []string{"AUTH_LOG__LEVEL=debug", "AUTH_STORAGE__TYPE=bbolt"}, Flags: config.Flags{Bind: "0.0.0.0:1"},
		Given: map[string]any{
			"storage.path": "/home/n/auth", "storage.type": "bbolt", "listen_addr": "127.0.0.1:2528", "log.level": "warn",
			"cors.allowed_origins": []any{"https://a.example"}, "node.enforces_permissions": true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Storage.Path != "/home/n/auth" || c.Secrets.KeyDir != "/home/n/auth.key" || c.ListenAddr != "127.0.0.1:2528" || c.Log.Level != "warn" ||
		c.JWT.Issuer != "mine" || !c.Node.EnforcesPermissions {
		t.Errorf("got %+v", c)
	}
	var told []string
	for _, w := range warnings {
		if strings.Contains(w.Message, "the node's own settings") {
			told = append(told, w.Key)
		}
	}
	slices.Sort(told)
	if want := []string{"listen_addr", "log.level", "storage.path"}; !slices.Equal(told, want) { // the others say the same
		t.Errorf("warned about %v, want %v", told, want)
	}
}

// TestLoad_GivenIsChecked: a listener that strangers reach forbids what it forbids mero-auth.
func TestLoad_GivenIsChecked(t *testing.T) {
	_, _, err := config.Load(config.Input{Environ: []string{"AUTH_BOOTSTRAP__MODE=first-login"}, Given: map[string]any{"listen_addr": "0.0.0.0:2528"}})
	if err == nil || !strings.Contains(err.Error(), "first stranger") {
		t.Errorf("got %v", err)
	}
	if _, _, err := config.Load(config.Input{Given: map[string]any{"public_url": "ftp://x"}}); err == nil || !strings.Contains(err.Error(), "public_url") {
		t.Errorf("got %v", err)
	}
}
