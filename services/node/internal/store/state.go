package store

import (
	"bytes"
	"iter"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Space is one of the two key spaces that an application has in a context.
type Space int

// The spaces.
const (
	Shared  Space = iota // the state that all nodes of the context agree on
	Private              // what the application keeps on this node
)

func (s Space) bucket() []byte {
	if s == Private {
		return bucketPrivate
	}
	return bucketState
}

// Entry is a key with its value.
type Entry struct{ Key, Value []byte }

func entryKey(context id.ID, key []byte) []byte {
	k := make([]byte, 0, id.Size+len(key))
	return append(append(k, context[:]...), key...)
}

// Entry returns a copy of the value that an application stored under a key; found is false if there is none.
func (t *Tx) Entry(space Space, context id.ID, key []byte) (value []byte, found bool) {
	v := t.tx.Bucket(space.bucket()).Get(entryKey(context, key))
	if v == nil {
		return nil, false
	}
	return bytes.Clone(v), true
}

// PutEntry writes a value under a key, of which the first 32 KiB minus an id are possible, and returns by how many
// bytes the space grew.
func (t *Tx) PutEntry(space Space, context id.ID, e Entry) (int64, error) {
	b, key := t.tx.Bucket(space.bucket()), entryKey(context, e.Key)
	grown := int64(len(e.Value))
	if old := b.Get(key); old != nil {
		grown -= int64(len(old))
	} else {
		grown += int64(len(e.Key))
	}
	value := e.Value
	if value == nil {
		value = []byte{} // bbolt takes nil for no value
	}
	return grown, b.Put(key, value)
}

// RemoveEntry removes a key, if it is there, and returns by how many bytes the space grew.
func (t *Tx) RemoveEntry(space Space, context id.ID, key []byte) (int64, error) {
	b, k := t.tx.Bucket(space.bucket()), entryKey(context, key)
	old := b.Get(k)
	if old == nil {
		return 0, nil
	}
	return -int64(len(old) + len(key)), b.Delete(k)
}

// Entries yields copies of what an application stored in a context, in the order of the keys, from a key on.
func (t *Tx) Entries(space Space, context id.ID, from []byte) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		c := t.tx.Bucket(space.bucket()).Cursor()
		for key, value := c.Seek(entryKey(context, from)); bytes.HasPrefix(key, context[:]); key, value = c.Next() {
			if !yield(Entry{bytes.Clone(key[id.Size:]), append([]byte{}, value...)}) {
				return
			}
		}
	}
}
