// Package bolttest is bbolt alone, for measurements to compare with.
package bolttest

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// DB is a bbolt file.
type DB struct{ bolt *bbolt.DB }

// Record is one pair in a bucket.
type Record struct {
	Bucket, Key string
	Value       []byte
}

// Open makes a file whose batches end when so many writers have come, 0 for bbolt's default, or when bbolt has waited
// long enough.
func Open(t testing.TB, writers int) *DB {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "bare.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	if writers > 0 {
		db.MaxBatchSize = writers
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &DB{db}
}

// Batch stores records together, in one commit with those of other callers.
func (d *DB) Batch(records []Record) error {
	return d.bolt.Batch(func(tx *bbolt.Tx) error {
		for _, r := range records {
			b, err := tx.CreateBucketIfNotExists([]byte(r.Bucket))
			if err != nil {
				return err
			}
			if err := b.Put([]byte(r.Key), r.Value); err != nil {
				return err
			}
		}
		return nil
	})
}
