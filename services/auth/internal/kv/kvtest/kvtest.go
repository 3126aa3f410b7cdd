// Package kvtest is the conformance suite of the kv contract: a backend is right when Run passes and, if it keeps
// its data, RunDurable.
package kvtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// test is one case; it gets an empty store of its own.
type test struct {
	name string
	run  func(*testing.T, kv.DB)
}

// Run checks every promise of kv.DB and kv.Tx. open returns a new, empty store each time; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) kv.DB) {
	t.Helper()
	for _, tt := range slices.Concat(valueTests, scanTests, transactionTests, concurrencyTests, closeTests) {
		t.Run(tt.name, func(t *testing.T) {
			db := open(t)
			t.Cleanup(func() { closeQuietly(t, db) })
			tt.run(t, db)
		})
	}
}

// closeQuietly closes a store that the case may have closed already.
func closeQuietly(t *testing.T, db kv.DB) {
	t.Helper()
	if err := db.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Close: %v", err)
	}
}

// pair is what Scan yields.
type pair struct{ key, value string }

func update(t *testing.T, db kv.DB, fn func(kv.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func view(t *testing.T, db kv.DB, fn func(kv.Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

func put(t *testing.T, db kv.DB, bucket string, pairs ...pair) {
	t.Helper()
	update(t, db, func(tx kv.Tx) error {
		for _, p := range pairs {
			if err := tx.Put(bucket, p.key, []byte(p.value)); err != nil {
				return err
			}
		}
		return nil
	})
}

// get returns the value as a string; ok is false when the key is absent.
func get(t *testing.T, db kv.DB, bucket, key string) (value string, ok bool) {
	t.Helper()
	view(t, db, func(tx kv.Tx) error {
		b, err := tx.Get(bucket, key)
		value, ok = string(b), err == nil
		if errors.Is(err, kv.ErrNotFound) {
			return nil
		}
		return err
	})
	return value, ok
}

func wantValue(t *testing.T, db kv.DB, bucket, key, want string) {
	t.Helper()
	if got, ok := get(t, db, bucket, key); !ok || got != want {
		t.Errorf("%s/%q = %s, present %t, want %s", bucket, key, short(got), ok, short(want))
	}
}

func wantAbsent(t *testing.T, db kv.DB, bucket, key string) {
	t.Helper()
	if got, ok := get(t, db, bucket, key); ok {
		t.Errorf("%s/%q = %s, want it absent", bucket, key, short(got))
	}
}

func wantScan(t *testing.T, db kv.DB, bucket, prefix string, want ...pair) {
	t.Helper()
	var got []pair
	view(t, db, func(tx kv.Tx) error {
		got = scan(tx, bucket, prefix)
		return nil
	})
	if !slices.Equal(got, want) {
		t.Errorf("Scan(%q, %q) = %q, want %q", bucket, prefix, got, want)
	}
}

func scan(tx kv.Tx, bucket, prefix string) (pairs []pair) {
	for k, v := range tx.Scan(bucket, prefix) {
		pairs = append(pairs, pair{k, string(v)})
	}
	return pairs
}

// short keeps failure messages readable for large values.
func short(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q... (%d bytes)", s[:80], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// increment adds one to a decimal counter in the bucket b; an absent one counts as 0.
func increment(tx kv.Tx, key string) error {
	n, err := counter(tx, "b", key)
	if err != nil {
		return err
	}
	return tx.Put("b", key, fmt.Append(nil, n+1))
}

func counter(tx kv.Tx, bucket, key string) (n int, err error) {
	b, err := tx.Get(bucket, key)
	if errors.Is(err, kv.ErrNotFound) {
		return 0, nil
	}
	if err == nil {
		_, err = fmt.Sscan(string(b), &n)
	}
	return n, err
}

func cancelled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}
