package app_test

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestNew_PortInUse(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nothing is written to it
	for setting, change := range map[string]func(*config.Config){
		"listen_addr": func(c *config.Config) { c.ListenAddr = l.Addr().String() },
		"admin_addr":  func(c *config.Config) { c.AdminAddr = l.Addr().String() },
	} {
		c := settings(t)
		broken := c
		change(&broken)
		refusedStart(t, setting, broken, syscall.EADDRINUSE, setting, "address already in use")
		if err := run(t, c).stop(); err != nil { // the refused start has released the store
			t.Error(err)
		}
	}
}

// A second process on the store is told so within 5 s, and neither harms the first nor shows its secret.
func TestNew_StoreInUse(t *testing.T) {
	c := settings(t)
	i := run(t, c)
	secret := i.secret(t)
	refusedStart(t, "second service", c, kv.ErrLocked, "in use by another process", c.Storage.Path)
	if _, err := app.ShowBootstrap(t.Context(), c, true, slog.New(slog.DiscardHandler)); !errors.Is(err, kv.ErrLocked) {
		t.Errorf("ShowBootstrap past a running service: %v, want ErrLocked", err)
	}
	if _, status := i.login(t, "alice", "correct horse", secret); status != 200 {
		t.Errorf("login after the second start: %d", status)
	}
	if _, err := os.Stat(filepath.Join(c.Storage.Path, "control.sock")); err != nil {
		t.Errorf("the refused start took the control socket away: %v", err)
	}
}

func TestNew_StorageRefusals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refusedStart(t, "a file as directory", settings(t, func(c *config.Config) { c.Storage.Path = file }), nil, "storage.path")
	refusedStart(t, "unknown type", settings(t, func(c *config.Config) { c.Storage.Type = "etcd" }), nil, "storage.type", "etcd")
	refusedStart(t, "path too long for the socket", settings(t, func(c *config.Config) {
		c.Storage.Path = filepath.Join(c.Storage.Path, strings.Repeat("x", 100))
	}), nil, "choose a shorter storage.path")

	rocks := settings(t)
	if err := os.MkdirAll(rocks.Storage.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"CURRENT", "MANIFEST-000004", "000005.sst", "LOCK", "IDENTITY"} {
		if err := os.WriteFile(filepath.Join(rocks.Storage.Path, name), []byte("MANIFEST-000004\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refusedStart(t, "a RocksDB directory", rocks, nil, "RocksDB", "docs/migration.md")

	newer := settings(t)
	i := run(t, newer)
	err := i.Parts().DB.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("system", "schema", []byte(`{"v":2}`)) })
	if err = errors.Join(err, i.stop()); err != nil {
		t.Fatal(err)
	}
	refusedStart(t, "a newer store", newer, store.ErrNewer, "newer version")
}

// Without its master key, or with another one, a store with secrets never starts: fresh secrets made in silence would
// log everybody out and hide that the key was lost.
func TestNew_MasterKey(t *testing.T) {
	c := settings(t)
	i := run(t, c)
	pair := i.first(t)
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(c.Secrets.MasterKeyFile)
	if err != nil || info.Mode() != 0o600 || strings.HasPrefix(c.Secrets.MasterKeyFile, c.Storage.Path+"/") {
		t.Errorf("master key %s: %v, %v; want 0600 outside the store", c.Secrets.MasterKeyFile, info.Mode(), err)
	}
	if dir, err := os.Stat(c.Secrets.KeyDir); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("key directory: %v, %v, want 0700", dir.Mode(), err)
	}
	kept, err := os.ReadFile(c.Secrets.MasterKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	with := func(text string) config.Config {
		changed := c
		changed.Secrets.MasterKey = config.Secret(text)
		return changed
	}
	refusedStart(t, "another key by setting", with("bm90IHRoZSBrZXkgdGhhdCBzZWFsZWQgdGhpcyBzdG8="), nil, "secret")
	refusedStart(t, "a key of the wrong size", with("c2hvcnQ="), nil, "secrets.master_key")
	refusedStart(t, "no base64", with("!!!"), nil, "secrets.master_key")
	if err := os.Remove(c.Secrets.MasterKeyFile); err != nil {
		t.Fatal(err)
	}
	refusedStart(t, "lost key file", c, nil, "master")
	if _, err := os.Stat(c.Secrets.MasterKeyFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a new master key was made beside a store with secrets: %v", err)
	}
	if err := os.WriteFile(c.Secrets.MasterKeyFile, []byte("bm90IHRoZSBrZXkgdGhhdCBzZWFsZWQgdGhpcyBzdG8=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refusedStart(t, "another key file", c, nil, "secret")
	if err := os.WriteFile(c.Secrets.MasterKeyFile, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	i = run(t, c)
	if status, reason := i.call(t, "GET", "/admin/keys", pair.Access, nil, nil); status != 200 {
		t.Errorf("with the right key again: %d %s", status, reason)
	}
	fresh := settings(t, func(c *config.Config) {
		c.Secrets.MasterKey = config.Secret(base64.StdEncoding.EncodeToString([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`")))
	})
	refusedStart(t, "a published key", fresh, nil, "secrets.master_key")
}
