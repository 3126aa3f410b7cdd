package bolt_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
)

// storeWith makes a closed store whose record tells it from others.
func storeWith(t *testing.T, path, mark string) {
	t.Helper()
	db, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("b", "mark", []byte(mark)) })
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func wantMark(t *testing.T, path, want string) {
	t.Helper()
	db, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Errorf("%s: %v", filepath.Base(path), err)
		return
	}
	var got []byte
	err = db.View(t.Context(), func(tx kv.Tx) (err error) {
		got, err = tx.Get("b", "mark")
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", filepath.Base(path), got, err, want)
	}
}

func TestSwap(t *testing.T) {
	dir := t.TempDir()
	path, fresh, keep := filepath.Join(dir, "auth.db"), filepath.Join(dir, "fresh"), filepath.Join(dir, "keep")
	storeWith(t, fresh, "1")
	if err := bolt.Swap(fresh, path, keep); err != nil {
		t.Fatal(err)
	}
	wantMark(t, path, "1")
	if _, err := os.Stat(keep); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("where nothing was, something is kept: %v", err)
	}
	for _, next := range []string{"2", "3"} {
		storeWith(t, fresh, next)
		if err := bolt.Swap(fresh, path, keep); err != nil {
			t.Fatal(err)
		}
		wantMark(t, path, next)
		wantMark(t, keep, string(next[0]-1))
		if _, err := os.Stat(fresh); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the fresh store is still there: %v", err)
		}
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	storeWith(t, fresh, "4")
	if err := bolt.Swap(fresh, path, keep); err != nil {
		t.Fatalf("in the place of a damaged store: %v", err)
	}
	wantMark(t, path, "4")
}

func TestSwap_StoreInUseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path, fresh, keep := filepath.Join(dir, "auth.db"), filepath.Join(dir, "fresh"), filepath.Join(dir, "keep")
	storeWith(t, path, "in use")
	storeWith(t, fresh, "new")
	db, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.Swap(fresh, path, keep); !errors.Is(err, kv.ErrLocked) {
		t.Errorf("Swap under a running service = %v, want ErrLocked", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wantMark(t, path, "in use")
	wantMark(t, fresh, "new")
	if err := os.Symlink(fresh, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := bolt.Swap(fresh, filepath.Join(dir, "link"), keep); err == nil {
		t.Error("a symbolic link was replaced")
	}
}

// TestOpen_WaitsForAStoreThatIsReplaced: who waits for the lock of a store that a restore replaces gets the new one. On
// the old one, which has no name any more, everything it wrote would be lost.
func TestOpen_WaitsForAStoreThatIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path, fresh := filepath.Join(dir, "auth.db"), filepath.Join(dir, "fresh")
	storeWith(t, path, "old")
	storeWith(t, fresh, "new")
	synctest.Test(t, func(t *testing.T) {
		old, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		opened := make(chan *bolt.DB, 1)
		failed := make(chan error, 1)
		go func() {
			db, err := bolt.Open(path, bolt.Options{})
			opened <- db
			failed <- err
		}()
		synctest.Wait() // until it waits for the lock; the time stands still meanwhile
		if n := openHandles(t, path); n != 2 {
			t.Errorf("the old file is open %d times, want twice", n)
		}
		if err := errors.Join(os.Rename(fresh, path), old.Close()); err != nil {
			t.Fatal(err)
		}
		db := <-opened
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		var got []byte
		err = db.View(t.Context(), func(tx kv.Tx) (err error) {
			got, err = tx.Get("b", "mark")
			return err
		})
		if err = errors.Join(err, db.Close()); err != nil || string(got) != "new" {
			t.Errorf("it has the store %q, %v, want the new one", got, err)
		}
	})
}

// openHandles counts how often this process has a file open.
func openHandles(t *testing.T, path string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && target == path {
			n++
		}
	}
	return n
}

func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	first, err := bolt.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.LockDir(dir); !errors.Is(err, kv.ErrLocked) {
		t.Errorf("LockDir again = %v, want ErrLocked", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := bolt.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
