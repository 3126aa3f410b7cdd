package kvtest

import (
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// RunDurable checks what must hold across Close and open. open returns the store kept in the directory dir, which
// is empty at first; opening the same directory again must find what was committed.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) kv.DB) {
	t.Helper()
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, open func() kv.DB)
	}{
		{"a reopened store has everything", testReopen},
		{"a reopened store has nothing that was rolled back", testReopenRolledBack},
		{"Close against a crowd loses nothing acknowledged", testReopenAfterCrowd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.run(t, func() kv.DB {
				db := open(t, dir)
				t.Cleanup(func() { closeQuietly(t, db) })
				return db
			})
		})
	}
}

func closeStore(t *testing.T, db kv.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func testReopen(t *testing.T, open func() kv.DB) {
	large := strings.Repeat("large ", 1<<18)
	db := open()
	put(t, db, "a", pair{"empty", ""}, pair{"gone", "x"}, pair{"large", large}, pair{"\x00\xff", "binary"})
	put(t, db, "b", pair{"k", "1"})
	closeStore(t, db)
	for i := range 3 {
		db = open()
		wantValue(t, db, "a", "empty", "")
		wantValue(t, db, "a", "large", large)
		wantValue(t, db, "a", "\x00\xff", "binary")
		wantValue(t, db, "b", "k", strconv.Itoa(i+1))
		if _, ok := get(t, db, "a", "gone"); ok != (i == 0) {
			t.Errorf("open %d: the key deleted in the first round is present: %t", i, ok)
		}
		update(t, db, func(tx kv.Tx) error { return errors.Join(tx.Put("a", "gone", nil), increment(tx, "k")) })
		closeStore(t, db)
	}
}

func testReopenRolledBack(t *testing.T, open func() kv.DB) {
	db := open()
	beforeScribble(t, db)
	err := db.Update(t.Context(), func(tx kv.Tx) error { return errors.Join(scribble(tx), errRefused) })
	if !errors.Is(err, errRefused) {
		t.Errorf("Update = %v, want the function's error", err)
	}
	_ = recovered(func() {
		_ = db.Update(t.Context(), func(tx kv.Tx) error {
			_ = scribble(tx)
			panic("after writing")
		})
	})
	closeStore(t, db)
	wantNoScribble(t, open())
}

func testReopenAfterCrowd(t *testing.T, open func() kv.DB) {
	db := open()
	var acknowledged atomic.Int64
	together(16, func(i int) {
		for n := range 20 {
			if i == 0 && n == 10 {
				if err := db.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
			err := db.Update(t.Context(), func(tx kv.Tx) error { return increment(tx, "n") })
			switch {
			case err == nil:
				acknowledged.Add(1)
			case !errors.Is(err, kv.ErrClosed):
				t.Errorf("Update = %v, want nil or ErrClosed", err)
			}
		}
	})
	wantValue(t, open(), "b", "n", strconv.FormatInt(acknowledged.Load(), 10))
}
