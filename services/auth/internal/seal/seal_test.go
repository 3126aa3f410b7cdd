package seal_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

func open(t *testing.T, db kv.DB, o seal.Options) *seal.Sealer {
	t.Helper()
	s, err := seal.Open(t.Context(), db, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func newDB(t *testing.T) kv.DB {
	t.Helper()
	db := memory.New()
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestMasterKeyIsMadeOnceAndKept(t *testing.T) {
	db, file := newDB(t), filepath.Join(t.TempDir(), "master.key")
	place := seal.Place{Bucket: "system", Key: "secrets:x", Kind: "x"}
	sealed, err := open(t, db, seal.Options{KeyFile: file}).Seal(place, []byte("record"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v, want mode 0600", info, err)
	}
	got, err := open(t, db, seal.Options{KeyFile: file}).Open(place, sealed)
	if err != nil || string(got) != "record" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
}

func TestSealedRecord_SwappedToAnotherPlaceRefused(t *testing.T) {
	s := open(t, newDB(t), seal.Options{KeyFile: filepath.Join(t.TempDir(), "k")})
	home := seal.Place{Bucket: "system", Key: "secrets:a", Kind: "access"}
	sealed, err := s.Seal(home, []byte("record"))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []seal.Place{
		{Bucket: "system", Key: "secrets:b", Kind: "access"},
		{Bucket: "system", Key: "secrets:a", Kind: "refresh"},
		{Bucket: "other", Key: "secrets:a", Kind: "access"},
		{Bucket: "systems", Key: "ecrets:a", Kind: "access"}, // the same bytes, cut elsewhere
	} {
		if _, err := s.Open(other, sealed); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("opened at %v: %v", other, err)
		}
	}
}

func TestSealedRecord_EveryFlippedByteIsNoticed(t *testing.T) {
	s := open(t, newDB(t), seal.Options{KeyFile: filepath.Join(t.TempDir(), "k")})
	place := seal.Place{Bucket: "system", Key: "secrets:a", Kind: "access"}
	sealed, err := s.Seal(place, []byte("record"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		damaged := append([]byte(nil), sealed...)
		damaged[i] ^= 1
		if got, err := s.Open(place, damaged); err == nil && string(got) != "record" {
			t.Errorf("byte %d flipped: opened as %q", i, got)
		} else if err != nil && !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("byte %d flipped: %v, want ErrCorrupt", i, err)
		}
	}
	if _, err := s.Open(place, nil); !errors.Is(err, seal.ErrCorrupt) {
		t.Errorf("nothing: %v", err)
	}
}

func TestOpen_WrongMasterKeyIsRefusedAndOverwritesNothing(t *testing.T) {
	db, dir := newDB(t), t.TempDir()
	open(t, db, seal.Options{KeyFile: filepath.Join(dir, "right")})
	before := dump(t, db)
	other := base64.StdEncoding.EncodeToString([]byte("another key, thirty-two bytes !!"))
	if _, err := seal.Open(t.Context(), db, seal.Options{Key: other}); !errors.Is(err, seal.ErrWrongMaster) {
		t.Errorf("another key: %v, want ErrWrongMaster", err)
	}
	missing := filepath.Join(dir, "missing")
	if _, err := seal.Open(t.Context(), db, seal.Options{KeyFile: missing}); !errors.Is(err, seal.ErrNoMaster) {
		t.Errorf("no key: %v, want ErrNoMaster", err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Error("a new master key was made for an old store")
	}
	if after := dump(t, db); after != before {
		t.Errorf("the store changed from %s to %s", before, after)
	}
}

func TestOpen_CheckValueDeletedIsNoWayToANewKey(t *testing.T) {
	db, file := newDB(t), filepath.Join(t.TempDir(), "k")
	err := db.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("system", "secrets:jwt_access", []byte("sealed")) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(t.Context(), db, seal.Options{KeyFile: file}); !errors.Is(err, seal.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

func TestOpen_UnusableKeysAreRefused(t *testing.T) {
	write := func(text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := base64.StdEncoding.EncodeToString([]byte("another key, thirty-two bytes !!"))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(write(good, 0o600), link); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]seal.Options{
		"readable by others": {KeyFile: write(good, 0o644)},
		"readable by group":  {KeyFile: write(good, 0o640)},
		"too short":          {KeyFile: write(base64.StdEncoding.EncodeToString([]byte("short")), 0o600)},
		"empty":              {KeyFile: write("", 0o600)},
		"not base64":         {Key: "not base64"},
		"published: zeros":   {Key: base64.StdEncoding.EncodeToString(make([]byte, 32))},
		"a directory":        {KeyFile: t.TempDir()},
		"a symbolic link":    {KeyFile: link},
	} {
		if _, err := seal.Open(t.Context(), newDB(t), o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func dump(t *testing.T, db kv.DB) string {
	t.Helper()
	var out strings.Builder
	err := db.View(context.Background(), func(tx kv.Tx) error {
		for k, v := range tx.Scan("system", "") {
			out.WriteString(k + "=" + string(v) + "\n")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
