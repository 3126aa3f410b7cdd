package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// tx is the transaction of one function. Functions that share a commit share the bbolt transaction below; undo is
// what makes each of them all or nothing.
type tx struct {
	db    *DB
	bolt  *bbolt.Tx
	ended bool

	fault  error // fails the function whatever it returns
	broken bool  // bbolt failed in a write: the whole bbolt transaction is lost
	undo   []change

	scanning map[string]int // running loops by bucket

	name   string // of the bucket used last
	bucket *bbolt.Bucket
}

// change is one overwritten value, nil when there was none.
type change struct {
	bucket, key string
	old         []byte
}

func (t *tx) Get(bucket, key string) (value []byte, err error) {
	if t.ended {
		return nil, kv.ErrClosed
	}
	err = t.db.guard(func() error {
		if b := t.open(bucket); b != nil {
			value = bytes.Clone(b.Get([]byte(key)))
		}
		return nil
	})
	if err == nil && value == nil {
		err = kv.ErrNotFound
	}
	return value, err
}

func (t *tx) Put(bucket, key string, value []byte) error {
	switch {
	case t.ended:
		return kv.ErrClosed
	case !t.bolt.Writable():
		return kv.ErrReadOnly
	case t.scanning[bucket] > 0:
		return kv.ErrScanning
	}
	if err := kv.CheckKey(bucket, key); err != nil {
		return err
	}
	old, err := t.Get(bucket, key)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	if old == nil && value == nil {
		return nil
	}
	t.undo = append(t.undo, change{bucket, key, old})
	return t.set(bucket, key, value)
}

// set writes past the undo list. Its failure is final for the bbolt transaction.
func (t *tx) set(bucket, key string, value []byte) error {
	err := t.db.guard(func() (err error) {
		b := t.open(bucket)
		if value == nil {
			return b.Delete([]byte(key))
		}
		if b == nil {
			if b, err = t.bolt.CreateBucket([]byte(bucket)); err != nil {
				return err
			}
		}
		return b.Put([]byte(key), bytes.Clone(value)) // bbolt keeps the slice until the commit
	})
	if errors.Is(err, bolterrors.ErrIncompatibleValue) { // a key that says that it is a bucket
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		t.fault, t.broken = err, true
	}
	return err
}

// rollback undoes the writes of this function and leaves those of the others.
func (t *tx) rollback() {
	for i := len(t.undo) - 1; i >= 0 && !t.broken; i-- {
		_ = t.set(t.undo[i].bucket, t.undo[i].key, t.undo[i].old) // recorded as broken
	}
	t.undo = nil
}

// open returns the bucket or nil.
func (t *tx) open(name string) *bbolt.Bucket {
	if t.bucket == nil || t.name != name {
		t.name, t.bucket = name, t.bolt.Bucket([]byte(name))
	}
	return t.bucket
}

func (t *tx) Scan(bucket, prefix string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if t.scanning == nil {
			t.scanning = make(map[string]int)
		}
		t.scanning[bucket]++
		defer func() { t.scanning[bucket]-- }()

		var cursor *bbolt.Cursor
		first := func() (k, v []byte) {
			b := t.open(bucket)
			if b == nil {
				return nil, nil
			}
			cursor = b.Cursor()
			return cursor.Seek([]byte(prefix))
		}
		key, value, ok := t.step(first, prefix)
		for ok && yield(key, value) {
			key, value, ok = t.step(cursor.Next, prefix)
		}
	}
}

// step moves a cursor and copies the pair it arrives at; ok is false at the end of the prefix and on a fault.
func (t *tx) step(move func() (k, v []byte), prefix string) (key string, value []byte, ok bool) {
	if t.ended {
		return "", nil, false
	}
	err := t.db.guard(func() error {
		k, v := move()
		if k != nil && bytes.HasPrefix(k, []byte(prefix)) {
			key, value, ok = string(k), bytes.Clone(v), true
		}
		return nil
	})
	if err != nil {
		t.fault = err
		return "", nil, false
	}
	return key, value, ok
}

func (t *tx) Buckets() (names []string) {
	if t.ended {
		return nil
	}
	err := t.db.guard(func() error {
		names = nil
		return t.bolt.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if key, _ := b.Cursor().First(); key != nil { // an emptied bucket stays in the file
				names = append(names, string(name))
			}
			return nil
		})
	})
	if err != nil {
		t.fault = err
	}
	return names
}
