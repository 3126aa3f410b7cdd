package seal_test

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

func TestChange_Steps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys", "master.key")
	old, err := seal.OpenMaster(seal.Source{File: file, Generate: true})
	if err != nil {
		t.Fatal(err)
	}
	next, err := seal.Prepare(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := seal.Prepare(file, ""); err != nil || !sealsAlike(t, next, again) {
		t.Errorf("Prepare again is another key (%v)", err)
	}
	if sealsAlike(t, old, next) {
		t.Error("the new key is the old one")
	}
	open := func(path string) *seal.Master {
		t.Helper()
		m, err := seal.OpenMaster(seal.Source{File: path})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if !sealsAlike(t, open(file), old) {
		t.Error("Prepare changed the key in force")
	}
	if err := seal.Promote(file); err != nil {
		t.Fatal(err)
	}
	if !sealsAlike(t, open(file), next) || !sealsAlike(t, open(seal.PreviousFile(file)), old) {
		t.Error("Promote left other keys")
	}
	given, err := seal.Prepare(file, text(7))
	if err != nil || !sealsAlike(t, given, master(t, 7)) {
		t.Fatalf("Prepare with a key of one's own = %v, or another key", err)
	}
	if err := seal.Promote(file); err != nil {
		t.Fatal(err)
	}
	if !sealsAlike(t, open(file), given) || !sealsAlike(t, open(seal.PreviousFile(file)), next) {
		t.Error("the second change left other keys")
	}
	for _, bad := range []string{"short", text(1)[:40]} {
		if _, err := seal.Prepare(file, bad); !errors.Is(err, seal.ErrMalformed) {
			t.Errorf("Prepare(%q) = %v, want ErrMalformed", bad, err)
		}
	}
	if _, err := seal.Prepare(file, ""); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(seal.Discard(file), seal.Discard(file)); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v, want the key and the one before it", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("mode of %s = %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if err := seal.Promote(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Promote without a coming key = %v, want ErrNotExist", err)
	}
	if !sealsAlike(t, open(file), given) {
		t.Error("the failed Promote changed the key in force")
	}
}

func TestMaster_CheckAndMACDependOnKeyAndPurpose(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range []*seal.Master{master(t, 1), master(t, 2)} {
		for _, purpose := range []string{"backup", "secrets"} {
			check, err := m.Check(purpose)
			if err != nil {
				t.Fatal(err)
			}
			mac, err := m.MAC(purpose)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []string{check, hex.EncodeToString(mac.Sum(nil))} {
				if seen[s] {
					t.Errorf("%s: %s occurs twice", purpose, s)
				}
				seen[s] = true
			}
		}
	}
}
