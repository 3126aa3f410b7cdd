package highwater_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/highwater"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
)

func newMark(t *testing.T, db kv.DB, dir string) *highwater.Mark {
	t.Helper()
	return &highwater.Mark{DB: db, File: filepath.Join(dir, highwater.FileName), Log: slog.New(slog.DiscardHandler)}
}

func raise(t *testing.T, m *highwater.Mark) {
	t.Helper()
	if err := m.Raise(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
}

func behind(t *testing.T, m *highwater.Mark) uint64 {
	t.Helper()
	c, err := m.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c.Behind()
}

// copied returns the records of a store in another one.
func copied(t *testing.T, from kv.DB) kv.DB {
	t.Helper()
	to := memory.New()
	err := from.View(t.Context(), func(old kv.Tx) error {
		return to.Update(t.Context(), func(tx kv.Tx) error {
			for _, bucket := range old.Buckets() {
				for key, value := range old.Scan(bucket, "") {
					if err := tx.Put(bucket, key, value); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestOldCopyPutBackIsNoticed(t *testing.T) {
	dir, db := t.TempDir(), memory.New()
	m := newMark(t, db, dir)
	if got := behind(t, m); got != 0 {
		t.Errorf("a new store is %d behind", got)
	}
	raise(t, m)
	old := copied(t, db)
	if got := behind(t, newMark(t, old, dir)); got != 0 {
		t.Errorf("a copy of the present is %d behind", got)
	}
	raise(t, m)
	raise(t, m)
	back := newMark(t, old, dir)
	if got := behind(t, back); got != 2 {
		t.Errorf("an old copy is %d behind, want 2", got)
	}
	if got := behind(t, newMark(t, memory.New(), dir)); got != 3 {
		t.Errorf("an empty store is %d behind, want 3", got)
	}
	noticed := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if err := back.Raise(t.Context(), noticed); err != nil {
		t.Fatal(err)
	}
	raise(t, back)
	if kept, err := highwater.Read(back.File); err != nil || !kept.PutBack.Equal(noticed) || kept.Count != 5 || behind(t, back) != 0 {
		t.Errorf("afterwards: %+v, %v", kept, err)
	}
	if info, err := os.Stat(back.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// A restore goes back on purpose.
	if err := highwater.Settle(t.Context(), old, back.File); err != nil {
		t.Fatal(err)
	}
	if got := behind(t, newMark(t, old, dir)); got != 0 {
		t.Errorf("a store that was settled is %d behind", got)
	}
	if err := highwater.Settle(t.Context(), db, filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("settled without a file: %v", err)
	}
}

// A crash between the two steps, and a file that is lost, accuse nobody.
func TestRaise_StoreFirst(t *testing.T) {
	dir, db := t.TempDir(), memory.New()
	m := newMark(t, db, dir)
	raise(t, m)
	before, err := os.ReadFile(m.File)
	if err != nil {
		t.Fatal(err)
	}
	raise(t, m)
	if err := os.WriteFile(m.File, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := behind(t, m); got != 0 {
		t.Errorf("a file that was not written is taken for a store that went back: %d", got)
	}
	if err := os.Remove(m.File); err != nil {
		t.Fatal(err)
	}
	if got := behind(t, m); got != 0 {
		t.Errorf("without a file the store is %d behind", got)
	}
	raise(t, m)
	if kept, err := highwater.Read(m.File); err != nil || kept.Count != 3 {
		t.Errorf("%+v, %v: the count began anew", kept, err)
	}
	failed := errors.New("no disk")
	broken := &highwater.Mark{DB: failing{db, failed}, File: m.File, Log: m.Log}
	if err := broken.Raise(t.Context(), time.Time{}); !errors.Is(err, failed) {
		t.Errorf("Raise = %v", err)
	}
	if kept, err := highwater.Read(m.File); err != nil || kept.Count != 3 {
		t.Errorf("%+v, %v: the file rose without the store", kept, err)
	}
}

type failing struct {
	kv.DB
	err error
}

func (f failing) Update(context.Context, func(kv.Tx) error) error { return f.err }

func TestRead_Damaged(t *testing.T) {
	m := newMark(t, memory.New(), t.TempDir())
	for _, text := range []string{"", "7", "{", `{"v":2,"count":1}`, `{"v":1,"count":-1}`, strings.Repeat(" ", 5000) + `{"v":1}`} {
		if err := os.WriteFile(m.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Counts(t.Context()); err == nil || !strings.Contains(err.Error(), m.File) {
			t.Errorf("%.20q: %v, want an error that names the file", text, err)
		}
	}
	raise(t, m)
	if kept, err := highwater.Read(m.File); err != nil || kept.Count != 1 {
		t.Errorf("a damaged file is not replaced: %+v, %v", kept, err)
	}
}

// Revocations are counted soon and not each on its own; the end is counted, too.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMark(t, memory.New(), t.TempDir())
		count := func() uint64 {
			t.Helper()
			kept, err := highwater.Read(m.File)
			if err != nil {
				t.Fatal(err)
			}
			return kept.Count
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { m.Run(ctx) })
		synctest.Wait()
		if got := count(); got != 0 {
			t.Errorf("%d without a revocation", got)
		}
		for range 100 {
			m.Revoked()
		}
		synctest.Wait()
		if got := count(); got != 1 {
			t.Errorf("%d after the first revocations, want 1 at once", got)
		}
		for range 100 {
			m.Revoked()
		}
		synctest.Wait()
		if got := count(); got != 1 {
			t.Errorf("%d: revocations are counted more often than every %v", got, highwater.Interval)
		}
		time.Sleep(highwater.Interval)
		synctest.Wait()
		if got := count(); got != 2 {
			t.Errorf("%d after the interval, want 2", got)
		}
		time.Sleep(10 * highwater.Interval)
		synctest.Wait()
		if got := count(); got != 2 {
			t.Errorf("%d without further revocations, want 2", got)
		}
		cancel()
		running.Wait()
		if got := count(); got != 3 {
			t.Errorf("%d after the end, want 3", got)
		}
	})
}
