package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

var concurrencyTests = []test{
	{"100 goroutines increment", testIncrement},
	{"no lost update between keys", testTransfers},
	{"a view is a stable snapshot", testSnapshot},
	{"a view does not wait for an update", testViewDuringUpdate},
	{"an acknowledged write is visible at once", testVisibility},
	{"a repeated run counts once", testRepeatedRun},
	{"failures in a batch hurt only themselves", testFailuresInBatch},
	{"waiting for a turn ends with the context", testWithdraw},
}

// together runs fn in n goroutines that start at once and waits for all.
func together(n int, fn func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

func testIncrement(t *testing.T, db kv.DB) {
	const n = 100
	together(n, func(int) {
		if err := db.Update(t.Context(), func(tx kv.Tx) error { return increment(tx, "n") }); err != nil {
			t.Errorf("Update: %v", err)
		}
	})
	wantValue(t, db, "b", "n", strconv.Itoa(n))
}

// testTransfers moves units between accounts. A lost update or a torn view changes the sum.
func testTransfers(t *testing.T, db kv.DB) {
	const accounts, workers, rounds, sum = 5, 8, 20, 500
	for i := range accounts {
		put(t, db, "account", pair{strconv.Itoa(i), strconv.Itoa(sum / accounts)})
	}
	total := func(tx kv.Tx) (n int) {
		for _, v := range tx.Scan("account", "") {
			c, _ := strconv.Atoi(string(v))
			n += c
		}
		return n
	}
	together(workers, func(w int) {
		for r := range rounds {
			from, to := strconv.Itoa((w+r)%accounts), strconv.Itoa((w+2*r+1)%accounts)
			err := db.Update(t.Context(), func(tx kv.Tx) error {
				a, err := counter(tx, "account", from)
				if err != nil {
					return err
				}
				if err := tx.Put("account", from, strconv.AppendInt(nil, int64(a-w), 10)); err != nil {
					return err
				}
				b, err := counter(tx, "account", to)
				if err != nil {
					return err
				}
				return tx.Put("account", to, strconv.AppendInt(nil, int64(b+w), 10))
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
			err = db.View(t.Context(), func(tx kv.Tx) error {
				if got := total(tx); got != sum {
					t.Errorf("a view sees a sum of %d, want %d", got, sum)
				}
				return nil
			})
			if err != nil {
				t.Errorf("View: %v", err)
			}
		}
	})
}

func testSnapshot(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"a", "1"}, pair{"b", "1"})
	opened, written, seen := make(chan struct{}), make(chan struct{}), make(chan []pair, 1)
	go func() {
		_ = db.View(t.Context(), func(tx kv.Tx) error {
			first, err := tx.Get("b", "a") // the snapshot exists from here at the latest
			close(opened)
			<-written
			seen <- append(scan(tx, "b", ""), pair{"first", string(first)})
			return err
		})
		close(seen)
	}()
	<-opened
	for i := range 20 { // enough commits for a backend to reuse what a careless one freed
		put(t, db, "b", pair{"a", "2"}, pair{"b", ""}, pair{fmt.Sprintf("c%d", i), "2"})
	}
	update(t, db, func(tx kv.Tx) error { return tx.Put("b", "b", nil) })
	close(written)
	want := []pair{{"a", "1"}, {"b", "1"}, {"first", "1"}}
	if got := <-seen; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the view opened before the writes sees %q, want %q", got, want)
	}
	wantValue(t, db, "b", "a", "2")
	wantAbsent(t, db, "b", "b")
}

func testViewDuringUpdate(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "old"})
	update(t, db, func(tx kv.Tx) error {
		if err := tx.Put("b", "k", []byte("new")); err != nil {
			return err
		}
		seen := make(chan string, 1)
		go func() { // a backend that makes it wait for this update hangs the test
			defer close(seen)
			_ = db.View(t.Context(), func(tx kv.Tx) error {
				v, err := tx.Get("b", "k")
				seen <- string(v)
				return err
			})
		}()
		if got := <-seen; got != "old" {
			t.Errorf("a view during the update sees %q, want \"old\"", got)
		}
		return nil
	})
	wantValue(t, db, "b", "k", "new")
}

func testVisibility(t *testing.T, db kv.DB) {
	together(16, func(i int) {
		key := strconv.Itoa(i)
		for want := 1; want <= 10; want++ {
			err := db.Update(t.Context(), func(tx kv.Tx) error { return increment(tx, key) })
			if err != nil {
				t.Errorf("Update: %v", err)
				return
			}
			err = db.View(t.Context(), func(tx kv.Tx) error {
				got, err := counter(tx, "b", key)
				if got != want {
					t.Errorf("the view after the %dth update sees %d", want, got)
				}
				return err
			})
			if err != nil {
				t.Errorf("View: %v", err)
			}
		}
	})
}

// testRepeatedRun pins that a result which is assigned in fn belongs to the run that was committed.
func testRepeatedRun(t *testing.T, db kv.DB) {
	const n = 50
	got := make([]int, n)
	together(n, func(i int) {
		err := db.Update(t.Context(), func(tx kv.Tx) (err error) {
			if err = increment(tx, "n"); err != nil {
				return err
			}
			got[i], err = counter(tx, "b", "n")
			return err
		})
		if err != nil {
			t.Errorf("Update: %v", err)
		}
	})
	seen := make(map[int]int)
	for _, v := range got {
		seen[v]++
	}
	for v := 1; v <= n; v++ {
		if seen[v] != 1 {
			t.Errorf("%d updates saw their result as %d, want exactly one", seen[v], v)
		}
	}
	wantValue(t, db, "b", "n", strconv.Itoa(n))
}

func testFailuresInBatch(t *testing.T, db kv.DB) {
	const n = 96
	beforeScribble(t, db)
	together(n, func(i int) {
		own := fmt.Sprintf("own-%02d", i)
		attempt := func() error {
			return db.Update(t.Context(), func(tx kv.Tx) error {
				if i%4 == 2 {
					return errRefused // fails before it wrote anything
				}
				err := errors.Join(increment(tx, "n"), tx.Put("b", own, []byte("x")))
				if err != nil || i%4 == 0 {
					return err
				}
				if err := errors.Join(scribble(tx), errRefused); i%4 == 1 {
					return err
				}
				panic(i)
			})
		}
		var err error
		reason := recovered(func() { err = attempt() })
		switch {
		case i%4 == 3 && reason != i:
			t.Errorf("update %d panicked with %v, want its own value", i, reason)
		case i%4 != 3 && reason != nil:
			t.Errorf("update %d panicked with the value %v of another", i, reason)
		case i%4 == 0 && err != nil:
			t.Errorf("update %d failed with the error of another: %v", i, err)
		case (i%4 == 1 || i%4 == 2) && !errors.Is(err, errRefused):
			t.Errorf("update %d = %v, want its own error", i, err)
		}
	})
	wantValue(t, db, "b", "n", strconv.Itoa(n/4))
	for key, want := range map[string]string{"dropped": "2", "empty": "", "kept": "1", "replaced": "3"} {
		wantValue(t, db, "b", key, want)
	}
	wantAbsent(t, db, "b", "added")
	wantScan(t, db, "new bucket", "")
	for i := range n {
		if _, ok := get(t, db, "b", fmt.Sprintf("own-%02d", i)); ok != (i%4 == 0) {
			t.Errorf("the write of update %d is present: %t", i, ok)
		}
	}
}

func testWithdraw(t *testing.T, db kv.DB) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started, result := make(chan struct{}), make(chan error, 1)
	ran := false
	update(t, db, func(tx kv.Tx) error {
		go func() {
			close(started)
			result <- db.Update(ctx, func(kv.Tx) error {
				ran = true
				return nil
			})
		}()
		<-started
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("the waiting Update = %v, want context.Canceled", err)
		}
		return nil
	})
	if ran {
		t.Error("the withdrawn function ran")
	}
	put(t, db, "b", pair{"k", "v"})
}
