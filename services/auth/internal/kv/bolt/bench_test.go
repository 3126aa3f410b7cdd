package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
)

const benchKeys = 10_000

func benchKey(i int) string { return fmt.Sprintf("%08d", i*7919%benchKeys) }

func filled(b *testing.B) *bolt.DB {
	b.Helper()
	db, err := bolt.Open(filepath.Join(b.TempDir(), "auth.db"), bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	err = db.Update(context.Background(), func(tx kv.Tx) error {
		for i := range benchKeys {
			if err := tx.Put("b", benchKey(i), make([]byte, 300)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return db
}

func BenchmarkGet(b *testing.B) {
	db := filled(b)
	get := func(i int) error {
		return db.View(context.Background(), func(tx kv.Tx) error {
			_, err := tx.Get("b", benchKey(i))
			return err
		})
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := get(i); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(benchKeys); pb.Next(); i++ {
				if err := get(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkUpdate compares this package with bbolt's own Update and Batch, alone and with 64 writers. The writers
// share the iterations, so ns/op is the time between two acknowledgements.
func BenchmarkUpdate(b *testing.B) {
	value := make([]byte, 300)
	db := filled(b)
	ours := func(i int) error {
		return db.Update(context.Background(), func(tx kv.Tx) error { return tx.Put("b", benchKey(i), value) })
	}
	raw := filledRaw(b)
	put := func(i int) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.Bucket([]byte("b")).Put([]byte(benchKey(i)), value) }
	}
	for _, tt := range []struct {
		name  string
		write func(i int) error
	}{
		{"ours", ours},
		{"bbolt.Update", func(i int) error { return raw.Update(put(i)) }},
		{"bbolt.Batch", func(i int) error { return raw.Batch(put(i)) }},
	} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/writers=%d", tt.name, writers), func(b *testing.B) {
				var next atomic.Int64
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							if err := tt.write(int(i)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

func filledRaw(b *testing.B) *bbolt.DB {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "raw.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("b"))
		for i := range benchKeys {
			err = errors.Join(err, bucket.Put([]byte(benchKey(i)), make([]byte, 300)))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return db
}

// BenchmarkOpen is the start with a million keys: the check of the branch pages and bbolt's own work.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "auth.db")
	db, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	const keys = 1_000_000
	for start := 0; start < keys; start += keys / 10 {
		err = db.Update(context.Background(), func(tx kv.Tx) error {
			for i := start; i < start+keys/10; i++ {
				if err := tx.Put("client", fmt.Sprintf("%036d", i), make([]byte, 300)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		db, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
