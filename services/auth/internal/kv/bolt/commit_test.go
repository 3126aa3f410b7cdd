package bolt_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
)

// crowd holds the writer with a first update until n further updates wait in the queue, lets them all go and
// returns the results of the others and of the first. It runs in a synctest bubble; n must be below the batch limit.
func crowd(t *testing.T, db *bolt.DB, n int, fn func(i int, tx kv.Tx) error) (results []error, first error) {
	t.Helper()
	results = make([]error, n)
	var wg sync.WaitGroup
	first = db.Update(t.Context(), func(kv.Tx) error {
		for i := range n {
			wg.Go(func() {
				results[i] = db.Update(t.Context(), func(tx kv.Tx) error { return fn(i, tx) })
			})
		}
		synctest.Wait() // until all of them wait for their turn
		return nil
	})
	wg.Wait()
	return results, first
}

// TestUpdate_WaitingUpdatesShareOneCommit pins the group commit: 100 updates, one flush.
func TestUpdate_WaitingUpdatesShareOneCommit(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := checked(t, dir)
		commits := 0
		db.InterceptCommits(func(commit func() error) error {
			commits++
			return commit()
		})
		results, first := crowd(t, db, 100, func(i int, tx kv.Tx) error { return tx.Put("b", strconv.Itoa(i), []byte("v")) })
		for i, err := range append(results, first) {
			if err != nil {
				t.Errorf("update %d = %v", i, err)
			}
		}
		if commits != 1 {
			t.Errorf("%d commits, want 1", commits)
		}
		commits = 0
		if err := db.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("b", "absent", nil) }); err != nil || commits != 0 {
			t.Errorf("an update without a write: %v and %d commits, want none", err, commits)
		}
	})
}

var errRefused = errors.New("refused")

// TestUpdate_FailedFunctionsShareTheCommit pins that functions which fail, before or after they wrote, neither undo
// the batch nor cost a further flush.
func TestUpdate_FailedFunctionsShareTheCommit(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := checked(t, dir)
		commits, runs := 0, make([]int, 90)
		db.InterceptCommits(func(commit func() error) error {
			commits++
			return commit()
		})
		results, first := crowd(t, db, len(runs), func(i int, tx kv.Tx) error {
			runs[i]++
			if i%3 == 1 {
				return errRefused
			}
			if err := tx.Put("b", strconv.Itoa(i), []byte("v")); err != nil || i%3 == 2 {
				return errors.Join(err, errRefused)
			}
			return nil
		})
		if first != nil {
			t.Errorf("the first update = %v", first)
		}
		for i, err := range results {
			if want := i%3 != 0; errors.Is(err, errRefused) != want || !want && err != nil {
				t.Errorf("update %d = %v", i, err)
			}
			if runs[i] != 1 {
				t.Errorf("update %d ran %d times, want once", i, runs[i])
			}
			verr := db.View(t.Context(), func(tx kv.Tx) error {
				_, err := tx.Get("b", strconv.Itoa(i))
				return err
			})
			if want := i%3 == 0; (verr == nil) != want {
				t.Errorf("the write of update %d: %v, want it present: %t", i, verr, want)
			}
		}
		if commits != 1 {
			t.Errorf("%d commits, want 1", commits)
		}
	})
}

// TestUpdate_FailedCommitFailsTheWholeBatch pins that nothing is acknowledged, and that even a function without
// writes hears of it: it may have read what is now gone.
func TestUpdate_FailedCommitFailsTheWholeBatch(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := checked(t, dir)
		put(t, db, "k", "old")
		db.InterceptCommits(func(func() error) error { return syscall.ENOSPC })
		results, first := crowd(t, db, 30, func(i int, tx kv.Tx) error {
			if i%3 == 1 {
				return errRefused
			}
			if i%3 == 2 {
				return nil
			}
			return tx.Put("b", "k", fmt.Append(nil, i))
		})
		for i, err := range append(results, first) {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("update %d = %v, want ENOSPC", i, err)
			}
		}
		if got := get(t, db, "k"); got != "old" {
			t.Errorf("k = %q after the failed commit, want old", got)
		}
		db.InterceptCommits(func(commit func() error) error { return commit() })
		put(t, db, "k", "new")
		if got := get(t, db, "k"); got != "new" {
			t.Errorf("k = %q after the disk has recovered, want new", got)
		}
	})
}

// TestUpdate_LateFailureEndsWriting covers a flush that fails after the root of the file was written: readers see a
// commit that was not acknowledged, and the next one could make it permanent.
func TestUpdate_LateFailureEndsWriting(t *testing.T) {
	dir := t.TempDir()
	db := checked(t, dir)
	put(t, db, "k", "old")
	db.InterceptCommits(func(commit func() error) error { return errors.Join(commit(), syscall.EIO) })
	write := func(tx kv.Tx) error { return tx.Put("b", "k", []byte("new")) }
	if err := db.Update(t.Context(), write); !errors.Is(err, bolt.ErrInDoubt) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Update = %v, want ErrInDoubt and EIO", err)
	}
	db.InterceptCommits(func(commit func() error) error { return commit() })
	if err := db.Update(t.Context(), write); !errors.Is(err, bolt.ErrInDoubt) {
		t.Errorf("the next Update = %v, want ErrInDoubt", err)
	}
	if got := get(t, db, "k"); got != "new" && got != "old" {
		t.Errorf("a view sees %q", got)
	}
	if err := db.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	put(t, open(t, filepath.Join(dir, "auth.db")), "k", "after the restart")
}

// TestUpdate_PanicInCommitEndsWriting covers bbolt's way of reporting damage in the middle of a commit, when its
// own locks are held.
func TestUpdate_PanicInCommitEndsWriting(t *testing.T) {
	dir := t.TempDir()
	db := checked(t, dir)
	put(t, db, "k", "old")
	db.InterceptCommits(func(func() error) error { panic("page 7 already freed") })
	write := func(tx kv.Tx) error { return tx.Put("b", "k", []byte("new")) }
	if err := db.Update(t.Context(), write); !errors.Is(err, bolt.ErrCorrupt) {
		t.Errorf("Update = %v, want ErrCorrupt", err)
	}
	if err := db.Update(t.Context(), write); !errors.Is(err, bolt.ErrInDoubt) {
		t.Errorf("the next Update = %v, want ErrInDoubt", err)
	}
	if got := get(t, db, "k"); got != "old" {
		t.Errorf("a view sees %q, want old", got)
	}
	if err := db.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	put(t, open(t, filepath.Join(dir, "auth.db")), "k", "after the restart")
}

// TestFullDisk_KeepsTheStoreUsable fills a real disk quota. Raising it is all that the store needs.
func TestFullDisk_KeepsTheStoreUsable(t *testing.T) {
	db := checked(t, t.TempDir())
	put(t, db, "first", "v")
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	limit(syscall.Rlimit{Cur: 6 << 20, Max: before.Max}) // growStep is 4 MiB
	defer limit(before)

	acknowledged := 0
	var err error
	for ; err == nil && acknowledged < 100; acknowledged++ {
		err = db.Update(t.Context(), func(tx kv.Tx) error {
			return tx.Put("b", strconv.Itoa(acknowledged), make([]byte, 256<<10))
		})
	}
	acknowledged-- // the last one failed
	if err == nil || errors.Is(err, bolt.ErrCorrupt) || errors.Is(err, bolt.ErrInDoubt) {
		t.Fatalf("Update on a full disk = %v after %d, want a plain failure", err, acknowledged)
	}
	wantCount := func(want int) {
		t.Helper()
		n := 0
		if err := db.View(t.Context(), func(tx kv.Tx) error {
			for range tx.Scan("b", "") {
				n++
			}
			return nil
		}); err != nil || n != want+1 {
			t.Errorf("the store holds %d keys, %v, want %d", n, err, want+1)
		}
	}
	wantCount(acknowledged)
	if err := db.Check(); err != nil {
		t.Errorf("Check on the full disk: %v", err)
	}
	limit(before)
	put(t, db, "after", "v")
	wantCount(acknowledged + 1)
}

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		os.Exit(child(os.Getenv(childRole), path))
	}
	os.Exit(m.Run())
}
