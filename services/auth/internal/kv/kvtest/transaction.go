package kvtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

var transactionTests = []test{
	{"reads its own writes", testOwnWrites},
	{"an error rolls everything back", testErrorRollsBack},
	{"a panic rolls back and reaches the caller", testPanicRollsBack},
	{"a goroutine that ends inside rolls back", testGoexitRollsBack},
	{"an update without writes", testNoWrites},
	{"view returns the function's error", testViewError},
	{"view cannot write", testViewReadOnly},
	{"a transaction ends with its function", testTxEnds},
	{"a context that has ended", testContextEnded},
}

var errRefused = errors.New("refused")

func testOwnWrites(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "old"})
	update(t, db, func(tx kv.Tx) error {
		for _, want := range []string{"one", "two", ""} {
			if err := tx.Put("b", "k", []byte(want)); err != nil {
				return err
			}
			if got, err := tx.Get("b", "k"); err != nil || string(got) != want {
				t.Errorf("Get after Put(%q) = %q, %v", want, got, err)
			}
		}
		if err := tx.Put("b", "k", nil); err != nil {
			return err
		}
		if got, err := tx.Get("b", "k"); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("Get after the deletion = %q, %v, want ErrNotFound", got, err)
		}
		return tx.Put("b", "k", []byte("last"))
	})
	wantValue(t, db, "b", "k", "last")
}

// scribble writes in every way that a roll-back has to undo.
func scribble(tx kv.Tx) error {
	return errors.Join(
		tx.Put("b", "kept", []byte("overwritten")),
		tx.Put("b", "kept", []byte("overwritten twice")),
		tx.Put("b", "dropped", nil),
		tx.Put("b", "added", []byte("x")),
		tx.Put("b", "empty", []byte("no longer")),
		tx.Put("b", "replaced", nil),
		tx.Put("b", "replaced", []byte("y")),
		tx.Put("new bucket", "k", []byte("z")),
	)
}

func beforeScribble(t *testing.T, db kv.DB) {
	t.Helper()
	put(t, db, "b", pair{"dropped", "2"}, pair{"empty", ""}, pair{"kept", "1"}, pair{"replaced", "3"})
}

func wantNoScribble(t *testing.T, db kv.DB) {
	t.Helper()
	wantScan(t, db, "b", "", pair{"dropped", "2"}, pair{"empty", ""}, pair{"kept", "1"}, pair{"replaced", "3"})
	wantScan(t, db, "new bucket", "")
}

func testErrorRollsBack(t *testing.T, db kv.DB) {
	beforeScribble(t, db)
	err := db.Update(t.Context(), func(tx kv.Tx) error {
		if err := scribble(tx); err != nil {
			return err
		}
		return fmt.Errorf("wrapped: %w", errRefused)
	})
	if !errors.Is(err, errRefused) {
		t.Errorf("Update = %v, want the function's error", err)
	}
	wantNoScribble(t, db)
	put(t, db, "b", pair{"after", "4"})
	wantValue(t, db, "b", "after", "4")
}

// recovered runs fn and returns what it panicked with, in this goroutine.
func recovered(fn func()) (value any) {
	defer func() { value = recover() }()
	fn()
	return nil
}

func testPanicRollsBack(t *testing.T, db kv.DB) {
	beforeScribble(t, db)
	type reason struct{ int }
	got := recovered(func() {
		_ = db.Update(t.Context(), func(tx kv.Tx) error {
			if err := scribble(tx); err != nil {
				return err
			}
			panic(reason{7})
		})
	})
	if got != (reason{7}) {
		t.Errorf("Update panicked with %v, want the function's value", got)
	}
	wantNoScribble(t, db)
	got = recovered(func() {
		_ = db.View(t.Context(), func(kv.Tx) error { panic(reason{8}) })
	})
	if got != (reason{8}) {
		t.Errorf("View panicked with %v, want the function's value", got)
	}
	put(t, db, "b", pair{"after", "4"})
	wantValue(t, db, "b", "after", "4")
}

// testGoexitRollsBack is what t.Fatal inside a transaction does.
func testGoexitRollsBack(t *testing.T, db kv.DB) {
	beforeScribble(t, db)
	for _, run := range []func(context.Context, func(kv.Tx) error) error{db.Update, db.View} {
		ended := make(chan bool)
		go func() {
			returned := false
			defer func() { ended <- returned }()
			_ = run(t.Context(), func(tx kv.Tx) error {
				_ = scribble(tx)
				runtime.Goexit()
				return nil
			})
			returned = true
		}()
		if <-ended {
			t.Error("the call returned although its goroutine ended inside")
		}
	}
	wantNoScribble(t, db)
	put(t, db, "b", pair{"after", "4"})
	wantValue(t, db, "b", "after", "4")
}

func testNoWrites(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "v"})
	update(t, db, func(kv.Tx) error { return nil })
	update(t, db, func(tx kv.Tx) error { return tx.Put("b", "absent", nil) })
	if err := db.Update(t.Context(), func(kv.Tx) error { return errRefused }); !errors.Is(err, errRefused) {
		t.Errorf("Update = %v, want the function's error", err)
	}
	wantScan(t, db, "b", "", pair{"k", "v"})
}

func testViewError(t *testing.T, db kv.DB) {
	if err := db.View(t.Context(), func(kv.Tx) error { return errRefused }); !errors.Is(err, errRefused) {
		t.Errorf("View = %v, want the function's error", err)
	}
}

func testViewReadOnly(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "v"})
	view(t, db, func(tx kv.Tx) error {
		for _, value := range [][]byte{[]byte("w"), nil} {
			if err := tx.Put("b", "k", value); !errors.Is(err, kv.ErrReadOnly) {
				t.Errorf("Put in View: %v, want ErrReadOnly", err)
			}
		}
		if err := tx.Put("new bucket", "k", []byte("w")); !errors.Is(err, kv.ErrReadOnly) {
			t.Errorf("Put into a new bucket in View: %v, want ErrReadOnly", err)
		}
		return nil
	})
	wantScan(t, db, "b", "", pair{"k", "v"})
	wantScan(t, db, "new bucket", "")
}

func testTxEnds(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "v"})
	var kept []kv.Tx
	keep := func(result error) func(kv.Tx) error {
		return func(tx kv.Tx) error {
			kept = append(kept, tx)
			return result
		}
	}
	view(t, db, keep(nil))
	update(t, db, keep(nil))
	_ = db.Update(t.Context(), keep(errRefused))
	_ = recovered(func() {
		_ = db.Update(t.Context(), func(tx kv.Tx) error {
			panic(keep(errRefused)(tx))
		})
	})
	for i, tx := range kept {
		if v, err := tx.Get("b", "k"); !errors.Is(err, kv.ErrClosed) {
			t.Errorf("transaction %d: Get after the end = %q, %v, want ErrClosed", i, v, err)
		}
		if err := tx.Put("b", "k", []byte("late")); !errors.Is(err, kv.ErrClosed) {
			t.Errorf("transaction %d: Put after the end = %v, want ErrClosed", i, err)
		}
		if got := scan(tx, "b", ""); got != nil {
			t.Errorf("transaction %d: Scan after the end = %q, want nothing", i, got)
		}
	}
	wantValue(t, db, "b", "k", "v")
}

func testContextEnded(t *testing.T, db kv.DB) {
	ran := false
	fn := func(tx kv.Tx) error {
		ran = true
		return nil
	}
	if err := db.View(cancelled(t.Context()), fn); !errors.Is(err, context.Canceled) {
		t.Errorf("View = %v, want context.Canceled", err)
	}
	if err := db.Update(cancelled(t.Context()), fn); !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v, want context.Canceled", err)
	}
	if ran {
		t.Error("the function ran although the context had ended")
	}
	put(t, db, "b", pair{"k", "v"})
}
