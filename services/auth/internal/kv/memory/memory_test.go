package memory_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/kvtest"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
)

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.DB { return memory.New() })
}

// TestTree_AgreesWithAMap replays random writes, half of them rolled back, against a plain map.
func TestTree_AgreesWithAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	db, want := memory.New(), map[string]string{}
	for i := range 2000 {
		keep := r.IntN(2) == 0
		next := make(map[string]string, len(want))
		for k, v := range want {
			next[k] = v
		}
		err := db.Update(t.Context(), func(tx kv.Tx) error {
			for range r.IntN(5) {
				key, value := strconv.Itoa(r.IntN(200)), fmt.Append(nil, i)
				next[key] = string(value)
				if r.IntN(3) == 0 {
					value = nil
					delete(next, key)
				}
				if err := tx.Put("b", key, value); err != nil {
					return err
				}
			}
			if !keep {
				return fmt.Errorf("update %d is rolled back", i)
			}
			return nil
		})
		if keep != (err == nil) {
			t.Fatalf("update %d, kept %t: %v", i, keep, err)
		}
		if keep {
			want = next
		}
		if err := db.View(t.Context(), func(tx kv.Tx) error { return compare(tx, want) }); err != nil {
			t.Fatalf("after update %d: %v", i, err)
		}
	}
}

func compare(tx kv.Tx, want map[string]string) error {
	n, last := 0, ""
	for k, v := range tx.Scan("b", "") {
		if w, ok := want[k]; !ok || w != string(v) || k <= last {
			return fmt.Errorf("Scan yields %q = %q after %q, want %q, present %t", k, v, last, w, ok)
		}
		n, last = n+1, k
	}
	if n != len(want) {
		return fmt.Errorf("Scan yields %d pairs, want %d", n, len(want))
	}
	for k, w := range want {
		if v, err := tx.Get("b", k); err != nil || string(v) != w {
			return errors.Join(fmt.Errorf("Get(%q) = %q, want %q", k, v, w), err)
		}
	}
	return nil
}

func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			db := memory.New()
			fill := func(tx kv.Tx) error {
				for i := range n {
					if err := tx.Put("b", fmt.Sprintf("%08d", i), []byte("value")); err != nil {
						return err
					}
				}
				return nil
			}
			if err := db.Update(b.Context(), fill); err != nil {
				b.Fatal(err)
			}
			i := 0
			for b.Loop() {
				i++
				err := db.Update(b.Context(), func(tx kv.Tx) error {
					return tx.Put("b", fmt.Sprintf("%08d", i*7919%n), []byte("other"))
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
