package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/config"
)

func edit(t *testing.T, path string, assignments ...string) error {
	t.Helper()
	f, err := config.ReadFile(path)
	if err != nil {
		return err
	}
	for _, a := range assignments {
		if err := f.Assign(a); err != nil {
			return err
		}
	}
	return f.Save(path)
}

func TestAssign_PersistsAndKeepsTheRest(t *testing.T) {
	reference, err := os.ReadFile("testdata/reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, string(reference))
	if err := edit(t, path, "sync.interval_ms=1000", `server.listen=["/ip4/127.0.0.1/tcp/9"]`, `server.auth_mode="none"`); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Sync.IntervalMS != 1000 || cfg.Server.AuthMode != "none" || cfg.Server.Listen[0] != "/ip4/127.0.0.1/tcp/9" {
		t.Errorf("edits are lost: %+v", cfg)
	}
	if cfg.Sync.TimeoutMS != 30000 || !cfg.Server.SSE.Enabled || cfg.Identity.PeerID == "" || cfg.Compatible["client"] == nil {
		t.Errorf("other settings are lost: %+v", cfg)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600: the file holds the node's key", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".config-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestAssign_RefusalLeavesTheFileAlone(t *testing.T) {
	reference, err := os.ReadFile("testdata/reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, string(reference))
	for assignment, want := range map[string]string{
		"sync.interval_ms":                         "want SETTING=VALUE",
		"sync.interval_ms=":                        "not TOML",
		"sync.interval_ms=[":                       "not TOML",
		"sync.interval_ms=1\nmode=\"x\"":           "not TOML",
		"sync.interval_ms=\"1\"":                   "want an integer",
		"sync.interval_ms=0":                       "want at least 1",
		"sync.intervall_ms=1":                      "did you mean sync.interval_ms?",
		"server.auth_mode=none":                    `server.auth_mode='"…"'`,
		`server.auth_mode="open"`:                  "want one of",
		"server={}":                                "is a table",
		"server.none.allow_non_loopback=true":      "environment variable",
		`server.listen=["0.0.0.0:1"]`:              "multiaddr",
		`identity.peer_id="12D3KooWRm8J3iL796zPF"`: "identity.peer_id",
	} {
		if err := edit(t, path, "sync.timeout_ms=7", assignment); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", assignment, err, want)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(reference) {
		t.Errorf("a refused edit changed the file (%v)", err)
	}
}

func TestFile_StringsSurvive(t *testing.T) {
	f := config.NewFile()
	const odd = "a\"b\\c\nd\x7f\x01é<&>"
	f.Set("datastore.path", odd)
	f.SetFree("relayer_url", odd)
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := f.Save(path); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(path, nil, nil)
	if err != nil || cfg.Datastore.Path != odd || cfg.Compatible["relayer_url"] != odd {
		t.Errorf("got %q, %q, %v, want %q", cfg.Datastore.Path, cfg.Compatible["relayer_url"], err, odd)
	}
}
