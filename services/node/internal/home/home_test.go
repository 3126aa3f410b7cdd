package home_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
)

func TestLocate_NodeNameStaysInsideTheHome(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", "a/b", "a\\b", ".hidden", "-n", "a b", "a\x00", strings.Repeat("a", 65)} {
		if got, err := home.Locate("/h", name); !errors.Is(err, home.ErrName) {
			t.Errorf("Locate(%q) = %q, %v, want ErrName", name, got, err)
		}
	}
	if _, err := home.Locate("", "node1"); err == nil {
		t.Error("an empty home is accepted")
	}
	d, err := home.Locate("/h", "node-1.test_A")
	if err != nil || d != "/h/node-1.test_A" {
		t.Errorf("got %q, %v", d, err)
	}
	if got := []string{d.Path("data"), d.Path("/var/data")}; got[0] != "/h/node-1.test_A/data" || got[1] != "/var/data" {
		t.Errorf("Path: %v", got)
	}
}

func TestInit(t *testing.T) {
	d, err := home.Locate(filepath.Join(t.TempDir(), "new"), "n")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Initialized(); got || err != nil {
		t.Errorf("Initialized before: %v, %v", got, err)
	}
	ids := map[string]bool{}
	for range 2 {
		id, err := d.Init(config.NewFile())
		if err != nil {
			t.Fatal(err)
		}
		ids[id] = true
		cfg, _, err := config.Load(d.Config(), nil, nil)
		if err != nil || cfg.Identity.PeerID != id || !strings.HasPrefix(id, "12D3Koo") {
			t.Errorf("the file has peer id %q, %v, want %q", cfg.Identity.PeerID, err, id)
		}
	}
	if len(ids) != 2 {
		t.Error("two nodes have one key")
	}
	if got, err := d.Initialized(); !got || err != nil {
		t.Errorf("Initialized after: %v, %v", got, err)
	}
	info, err := os.Stat(string(d))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory mode %v, %v, want 0700", info.Mode(), err)
	}
}

func TestReset_RemovesStateOnly(t *testing.T) {
	d := home.Dir(t.TempDir())
	for _, name := range []string{"data/node.db", "blobs/chunks/aa/x", "auth/x", "auth.key/x", "mine.txt"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(d.Path(name)), 0o700), os.WriteFile(d.Path(name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Reset(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(string(d))
	if err != nil || len(left) != 1 || left[0].Name() != "mine.txt" {
		t.Errorf("left: %v, %v, want mine.txt", left, err)
	}
}
