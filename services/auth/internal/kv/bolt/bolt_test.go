package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/kvtest"
)

func open(t *testing.T, path string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(path, bolt.Options{Timeout: 5 * time.Second}) // a child that a test forks holds the lock until it executes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

// checked opens the store in dir and, when the test has closed it, checks the file that is left.
func checked(t *testing.T, dir string) *bolt.DB {
	t.Helper()
	path := filepath.Join(dir, "auth.db")
	t.Cleanup(func() {
		db, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			t.Errorf("after the test: %v", err)
			return
		}
		if err := errors.Join(db.Check(), db.Close()); err != nil {
			t.Errorf("after the test: %v", err)
		}
	})
	return open(t, path)
}

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.DB { return checked(t, t.TempDir()) })
	kvtest.RunDurable(t, func(t *testing.T, dir string) kv.DB { return checked(t, dir) })
}

func put(t *testing.T, db kv.DB, key, value string) {
	t.Helper()
	if err := db.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("b", key, []byte(value)) }); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, db kv.DB, key string) (value string) {
	t.Helper()
	err := db.View(t.Context(), func(tx kv.Tx) error {
		b, err := tx.Get("b", key)
		value = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestOpen_MakesPrivateFileAndDirectories(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // modes must not depend on it
	top := t.TempDir()
	path := filepath.Join(top, "a", "b", "auth.db")
	put(t, open(t, path), "k", "v")
	for p, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700, filepath.Join(top, "a"): 0o700} {
		if got := mode(t, p); got != want {
			t.Errorf("mode of %s = %v, want %v", p, got, want)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v, want the file alone", entries, err)
	}
}

func TestOpen_ClosesFileThatOthersMayUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.db")
	db := open(t, path)
	put(t, db, "k", "v")
	if err := errors.Join(db.Close(), os.Chmod(path, 0o664)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	db, err := bolt.Open(path, bolt.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if got := mode(t, path); got != 0o600 {
		t.Errorf("mode = %v, want 0600", got)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), path) {
		t.Errorf("log = %q, want a warning that names the file", &log)
	}
	if got := get(t, db, "k"); got != "v" {
		t.Errorf("k = %q, want v", got)
	}
}

func TestOpen_RefusesDirectoryThatEverybodyWrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "auth.db")
	for _, tt := range []struct {
		mode fs.FileMode
		want error
	}{{0o777, bolt.ErrUnsafe}, {0o777 | fs.ModeSticky, nil}, {0o755, nil}} {
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		db, err := bolt.Open(path, bolt.Options{})
		if !errors.Is(err, tt.want) {
			t.Errorf("Open in a directory of mode %v: %v, want %v", tt.mode, err, tt.want)
		}
		if err == nil {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := mode(t, dir); got != tt.mode.Perm() {
			t.Errorf("Open changed the mode of the directory from %v to %v", tt.mode, got)
		}
	}
}

// valid returns the bytes of a store with every kind of page: branches, overflow, free pages, inline buckets.
func valid(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.db")
	db, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		err = db.Update(t.Context(), func(tx kv.Tx) error {
			for i := range 600 {
				value := []byte(strings.Repeat("v", 40+round))
				if i == 300 {
					value = bytes.Repeat(value, 300)
				}
				if i%3 == round {
					value = nil
				}
				if err := tx.Put("family", fmt.Sprintf("key-%04d", i), value); err != nil {
					return err
				}
			}
			return errors.Join(tx.Put("system", "schema", []byte("1")), tx.Put("root", "r", []byte("{}")))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return compact(t, path)
}

// compact returns the file without the room at its end.
func compact(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = raw.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(&b)
		return err
	})
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestOpen_RefusesAndLeavesFileUntouched covers what can be wrong with the file; the errors are told apart.
func TestOpen_RefusesAndLeavesFileUntouched(t *testing.T) {
	good := valid(t)
	page := os.Getpagesize()
	otherVersion := bytes.Clone(good)
	for _, tt := range []struct {
		name    string
		content []byte
		want    error
		text    string
	}{
		{"text", []byte("this is no database, but it is long enough to hold a meta page " + strings.Repeat(".", 9000)), bolt.ErrNotDatabase, "mark"},
		{"short text", []byte("{}"), bolt.ErrNotDatabase, "mark"},
		{"empty", nil, bolt.ErrCorrupt, "empty"},
		{"zeros", make([]byte, len(good)), bolt.ErrCorrupt, "zeros"},
		{"cut within the first meta page", good[:40], bolt.ErrCorrupt, "cut off"},
		{"cut after the first meta page", good[:page], bolt.ErrCorrupt, "cut off"},
		{"cut after both meta pages", good[:2*page], bolt.ErrCorrupt, "cut off"},
		{"cut in the middle", good[:len(good)/page/2*page], bolt.ErrCorrupt, "cut off"},
		{"both meta pages damaged", flip(flip(otherVersion, 40), page+40), bolt.ErrCorrupt, "checksum"},
		{"first half lost", append(make([]byte, page), flip(bytes.Clone(good), page+40)[page:]...), bolt.ErrCorrupt, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "auth.db")
			if err := os.WriteFile(path, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, path, tt.want, tt.text)
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, tt.content) {
				t.Errorf("the file was changed (now %d bytes, %v)", len(got), err)
			}
		})
	}
}

func flip(b []byte, at int) []byte {
	b[at] ^= 0x55
	return b
}

// wantRefused requires an error of the one class, that names the file and contains text.
func wantRefused(t *testing.T, path string, want error, text string) {
	t.Helper()
	db, err := bolt.Open(path, bolt.Options{Timeout: 50 * time.Millisecond})
	if err == nil {
		_ = db.Close()
		t.Fatal("Open accepts it")
	}
	for _, class := range []error{bolt.ErrNotDatabase, bolt.ErrCorrupt, bolt.ErrUnsafe, kv.ErrLocked, fs.ErrPermission, syscall.EISDIR} {
		if got := errors.Is(err, class); got != errors.Is(want, class) {
			t.Errorf("Open = %v, is %q: %t", err, class, got)
		}
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), text) {
		t.Errorf("Open = %v, want %q with the path and %q", err, want, text)
	}
}

func TestOpen_RefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	directory, link, pipe := filepath.Join(dir, "directory"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	target := filepath.Join(dir, "target")
	if err := errors.Join(
		os.Mkdir(directory, 0o700),
		os.WriteFile(target, valid(t), 0o600), os.Symlink(target, link),
		syscall.Mkfifo(pipe, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, directory, syscall.EISDIR, "directory")
	wantRefused(t, link, bolt.ErrUnsafe, "symbolic link")
	wantRefused(t, pipe, bolt.ErrNotDatabase, "regular")
	wantRefused(t, filepath.Join(target, "auth.db"), syscall.ENOTDIR, "")
}

func TestOpen_ReportsLockedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.db")
	db := open(t, path)
	put(t, db, "k", "v")
	wantRefused(t, path, kv.ErrLocked, "another process")
	put(t, db, "k", "w") // the holder is unharmed
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := get(t, open(t, path), "k"); got != "w" {
		t.Errorf("k = %q, want w", got)
	}
}

// TestOpen_WarnsOfOneDamagedMetaPage pins that the other one is used and that nobody overlooks it.
func TestOpen_WarnsOfOneDamagedMetaPage(t *testing.T) {
	good := valid(t)
	for _, at := range []int{40, os.Getpagesize() + 40} {
		path := filepath.Join(t.TempDir(), "auth.db")
		if err := os.WriteFile(path, flip(bytes.Clone(good), at), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		db, err := bolt.Open(path, bolt.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Check(), db.Close()); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), path) {
			t.Errorf("byte %d flipped: log = %q, want an error that names the file", at, &log)
		}
	}
}

// TestOpen_FileWithoutFreeList covers a file that another tool wrote: bbolt rebuilds the list in a goroutine whose
// panic would end the process, so the file must be checked whole before.
func TestOpen_FileWithoutFreeList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.db")
	foreign, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = foreign.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("b"))
		for i := range 500 {
			err = errors.Join(err, b.Put(fmt.Appendf(nil, "%04d", i), make([]byte, 50)))
		}
		return err
	})
	if err := errors.Join(err, foreign.Close()); err != nil {
		t.Fatal(err)
	}
	db := open(t, path)
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if foreign, err = bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true}); err != nil {
		t.Fatal(err)
	}
	err = foreign.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("b")).Put([]byte("k"), nil) })
	if err := errors.Join(err, foreign.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The leaf that holds the key 0250 claims to be another page.
	leaf := bytes.LastIndex(content, []byte("0250")) / os.Getpagesize() * os.Getpagesize()
	if err := os.WriteFile(path, flip(content, leaf), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, path, bolt.ErrCorrupt, "page")
}

func TestLooksLikeRocksDB(t *testing.T) {
	for _, tt := range []struct {
		files []string
		want  bool
	}{
		{[]string{"CURRENT", "MANIFEST-000005", "000004.log", "IDENTITY", "LOCK"}, true},
		{[]string{"CURRENT"}, false},
		{[]string{"MANIFEST-000005"}, false},
		{[]string{"auth.db"}, false},
		{nil, false},
	} {
		dir := t.TempDir()
		for _, name := range tt.files {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := bolt.LooksLikeRocksDB(dir); got != tt.want {
			t.Errorf("LooksLikeRocksDB with %v = %t, want %t", tt.files, got, tt.want)
		}
	}
	if bolt.LooksLikeRocksDB(filepath.Join(t.TempDir(), "absent")) {
		t.Error("LooksLikeRocksDB of an absent directory = true")
	}
}
