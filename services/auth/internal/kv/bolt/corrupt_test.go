package bolt_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
)

// TestFlippedByte_NeverPanics flips bytes in the header and the content of every page. The store either refuses to
// open and leaves the file as it is, or every operation ends with a result or an error that says so.
func TestFlippedByte_NeverPanics(t *testing.T) {
	t.Parallel()
	good := valid(t)
	page := os.Getpagesize()
	path := filepath.Join(t.TempDir(), "auth.db")
	refused, survived := 0, 0
	for at := 0; at < len(good); at += page {
		// id, flags, count, overflow, then fields of the first elements, then keys and values
		for _, offset := range []int{0, 3, 8, 10, 11, 12, 13, 16, 20, 21, 24, 28, 32, 36, 44, 48, 200, page / 2, page - 20} {
			for _, mask := range []byte{0x03, 0x80} {
				content := bytes.Clone(good)
				content[at+offset] ^= mask
				// A file of its own: a child that a test beside this one forks holds the lock of the last one until it executes.
				if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
				if exercise(t, path) {
					survived++
					continue
				}
				refused++
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
					t.Errorf("byte %d ^ %#x: the refused file was changed, %v", at+offset, mask, err)
				}
			}
		}
	}
	t.Logf("%d damaged files refused, %d opened", refused, survived)
	if refused == 0 || survived == 0 {
		t.Error("the test has lost its sense")
	}
}

// exercise uses a store that may be damaged in every way and reports whether it opened.
func exercise(t *testing.T, path string) bool {
	t.Helper()
	db, err := bolt.Open(path, bolt.Options{Timeout: 50 * time.Millisecond})
	if err != nil {
		if !errors.Is(err, bolt.ErrCorrupt) {
			t.Errorf("Open = %v, want ErrCorrupt", err)
		}
		return false
	}
	corruptOrNil := func(what string, err error) {
		if err != nil && !errors.Is(err, bolt.ErrCorrupt) && !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("%s = %v, want nil, ErrNotFound or ErrCorrupt", what, err)
		}
	}
	for _, bucket := range []string{"family", "root", "system"} {
		corruptOrNil("View", db.View(t.Context(), func(tx kv.Tx) error {
			for range tx.Scan(bucket, "") {
			}
			_, err := tx.Get(bucket, "key-0300")
			return err
		}))
	}
	corruptOrNil("Update", db.Update(t.Context(), func(tx kv.Tx) error {
		return errors.Join(tx.Put("family", "key-0300", nil), tx.Put("family", "key-0301x", []byte("new")), tx.Put("system", "schema", []byte("2")))
	}))
	corruptOrNil("Check", db.Check())
	if err := db.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	return true
}

// TestCheck_FindsWhatOpenDoesNotRead damages a page that holds keys. Copies of it may lie in free pages, where
// nobody minds; one of them is in use.
func TestCheck_FindsWhatOpenDoesNotRead(t *testing.T) {
	good, key, page := valid(t), []byte("key-0501"), os.Getpagesize()
	for name, offset := range map[string]int{"page id": 0, "page type": 8, "count": 10, "position of a key": 20, "key": -1} {
		found := 0
		for at := bytes.Index(good, key); at >= 0; {
			damaged := at
			if offset >= 0 {
				damaged = at/page*page + offset
			}
			if finds(t, flip(bytes.Clone(good), damaged)) {
				found++
			}
			next := bytes.Index(good[at+1:], key)
			if next < 0 {
				break
			}
			at += 1 + next
		}
		if found != 1 {
			t.Errorf("%s: Check found %d of the damaged pages, want the one in use", name, found)
		}
	}
}

// finds opens a damaged file, which must succeed, and reports whether Check finds the damage.
func finds(t *testing.T, content []byte) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, path)
	err := db.Check()
	if err != nil && (!errors.Is(err, bolt.ErrCorrupt) || !strings.Contains(err.Error(), path)) {
		t.Errorf("Check = %v, want ErrCorrupt with the path", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := db.Check(); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Check after Close = %v, want ErrClosed", err)
	}
	return err != nil
}

// TestTruncatedWhileOpen_IsAnError pins that pages which vanish under the memory map do not end the process.
func TestTruncatedWhileOpen_IsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.db")
	if err := os.WriteFile(path, valid(t), 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, path)
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	err := db.View(t.Context(), func(tx kv.Tx) error {
		for range tx.Scan("family", "") {
		}
		return nil
	})
	if !errors.Is(err, bolt.ErrCorrupt) {
		t.Errorf("View with a scan = %v, want ErrCorrupt", err)
	}
	err = db.View(t.Context(), func(tx kv.Tx) error {
		_, err := tx.Get("family", "key-0001")
		return err
	})
	if !errors.Is(err, bolt.ErrCorrupt) {
		t.Errorf("View with a get = %v, want ErrCorrupt", err)
	}
	ran := false
	err = db.Update(t.Context(), func(tx kv.Tx) error {
		ran = true
		return tx.Put("family", "key-0001", []byte("new"))
	})
	if !errors.Is(err, bolt.ErrCorrupt) {
		t.Errorf("Update = %v (ran %t), want ErrCorrupt", err, ran)
	}
}

// FuzzVerify asks whether a file that passes the full check can be given to bbolt, which trusts it: a fault in
// bbolt's own check ends the process.
func FuzzVerify(f *testing.F) {
	good := valid(f)
	page := uint32(os.Getpagesize())
	for at := uint32(0); at < uint32(len(good)); at += page {
		f.Add(at+8, byte(0x03), at+16, byte(0x10))
		f.Add(at+12, byte(0x01), at+20, byte(0x01))
		f.Add(at, byte(0x00), at+24, byte(0x04))
	}
	path := filepath.Join(f.TempDir(), "auth.db")
	f.Fuzz(func(t *testing.T, at1 uint32, mask1 byte, at2 uint32, mask2 byte) {
		content := bytes.Clone(good)
		content[int(at1)%len(content)] ^= mask1
		content[int(at2)%len(content)] ^= mask2
		quick := bolt.VerifyFile(bytes.NewReader(content), false)
		err := bolt.VerifyFile(bytes.NewReader(content), true)
		if quick != nil && err == nil {
			t.Fatalf("the quick check refuses what the full check accepts: %v", quick)
		}
		if err != nil {
			return
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
		if err != nil {
			t.Fatalf("bbolt refuses what the check accepts: %v", err)
		}
		defer func() { _ = db.Close() }()
		err = db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Logf("bbolt finds: %v", err) // it knows more kinds of damage, like lost pages
			}
			return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
				return b.ForEach(func(k, v []byte) error {
					_, _ = bytes.Clone(k), bytes.Clone(v)
					return nil
				})
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
