package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Context is the current state of a context, without what its application stored.
type Context struct {
	ID                 id.ID   `json:"-"`
	Application        id.ID   `json:"application_id"`
	Bundle             id.ID   `json:"bundle,omitzero"` // the blob that names the version of the application
	Module             id.ID   `json:"module,omitzero"` // the blob of the code
	StateHash          id.ID   `json:"state_hash"`
	DAGHeads           []id.ID `json:"dag_heads,omitempty"`
	Service            string  `json:"service,omitempty"`
	ApplicationVersion string  `json:"application_version,omitempty"`
	Group              string  `json:"group,omitempty"` // hex
	Name               string  `json:"name,omitempty"`
	Creator            id.ID   `json:"creator,omitzero"`
	Created            int64   `json:"created,omitempty"` // Unix seconds

	// Deltas counts the records of the delta log, and so the changes of the state: every change adds one.
	Deltas uint64 `json:"deltas,omitempty"`
	// What the context occupies, in bytes of keys and values.
	StateBytes   int64 `json:"state_bytes,omitempty"`
	PrivateBytes int64 `json:"private_bytes,omitempty"`
	DeltaBytes   int64 `json:"delta_bytes,omitempty"`
}

type contextRecord struct {
	V int `json:"v"`
	Context
}

// PutContext writes a context under its id, and into the list of its group if it has one.
func (t *Tx) PutContext(c Context) error {
	if c.Group != "" {
		if group, err := ParseGroupID(c.Group); err == nil {
			if err := t.tx.Bucket(bucketGrouped).Put(joined(group, c.ID), []byte{}); err != nil {
				return err
			}
		}
	}
	return t.put(bucketContexts, c.ID[:], contextRecord{1, c})
}

// Context reads a context. The error is [ErrNotFound] if there is none.
func (t *Tx) Context(context id.ID) (Context, error) {
	var r contextRecord
	if err := t.get(bucketContexts, context[:], &r); err != nil {
		return Context{}, err
	}
	r.ID = context
	return r.Context, nil
}

// CountContexts returns the number of contexts.
func (t *Tx) CountContexts() int { return t.tx.Bucket(bucketContexts).Stats().KeyN }

// Contexts yields all contexts in the order of their ids, until an error.
func (t *Tx) Contexts() iter.Seq2[Context, error] {
	return func(yield func(Context, error) bool) {
		c := t.tx.Bucket(bucketContexts).Cursor()
		for key, text := c.First(); key != nil; key, text = c.Next() {
			var r contextRecord
			err := decode(bucketContexts, key, text, &r)
			if err == nil {
				r.ID = id.ID(key)
			}
			if !yield(r.Context, err) || err != nil {
				return
			}
		}
	}
}

// RemoveContext removes a context with its members, its aliases and its place in its group, and marks its entries and
// deltas, of which there can be any number, as dead until [Store.SweepContext]. The error is [ErrNotFound] if there is
// none.
func (t *Tx) RemoveContext(context id.ID) error {
	c, err := t.Context(context)
	if err != nil {
		return err
	}
	if group, err := ParseGroupID(c.Group); err == nil {
		if err := t.tx.Bucket(bucketGrouped).Delete(joined(group, context)); err != nil {
			return err
		}
	}
	_, membersErr := t.removePrefix(bucketIdentities, context[:], -1)
	return errors.Join(membersErr, t.removeAliasesOf(context),
		t.tx.Bucket(bucketContexts).Delete(context[:]), t.tx.Bucket(bucketDeadStates).Put(context[:], []byte{}))
}

// DeadContexts returns the removed contexts whose entries are not all gone.
func (t *Tx) DeadContexts() []id.ID {
	var dead []id.ID
	c := t.tx.Bucket(bucketDeadStates).Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		dead = append(dead, id.ID(key))
	}
	return dead
}

// IsDeadContext reports whether entries of a removed context are left. Its id cannot be used again as long.
func (t *Tx) IsDeadContext(context id.ID) bool {
	return t.tx.Bucket(bucketDeadStates).Get(context[:]) != nil
}

// sweepStep is how many entries one transaction removes, so that a large context does not hold up the others.
const sweepStep = 2000

// SweepContext removes the entries and deltas of a removed context, in several transactions. When ctx ends in between,
// the rest stays dead.
func (s *Store) SweepContext(ctx context.Context, context id.ID) error {
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.Enqueue(func(tx *Tx) error {
			if done = !tx.IsDeadContext(context); done {
				return nil
			}
			left := sweepStep
			for _, bucket := range [][]byte{bucketState, bucketPrivate, bucketDeltas} {
				n, err := tx.removePrefix(bucket, context[:], left)
				if err != nil {
					return err
				}
				left -= n
			}
			if done = left > 0; !done {
				return nil
			}
			return tx.tx.Bucket(bucketDeadStates).Delete(context[:])
		}).Wait(); err != nil {
			return fmt.Errorf("context %s: remove its entries: %w", context, err)
		}
	}
	return nil
}

// removePrefix removes up to limit entries (all, if it is negative) whose keys start with prefix, and returns how many.
func (t *Tx) removePrefix(bucket, prefix []byte, limit int) (int, error) {
	var keys [][]byte
	for key := range t.prefixed(bucket, prefix) {
		if limit >= 0 && len(keys) >= limit {
			break
		}
		keys = append(keys, append([]byte(nil), key...))
	}
	b := t.tx.Bucket(bucket)
	for _, key := range keys {
		if err := b.Delete(key); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// prefixed yields the entries whose keys start with prefix, in order. Key and value are the database's own memory.
func (t *Tx) prefixed(bucket, prefix []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		c := t.tx.Bucket(bucket).Cursor()
		for key, value := c.Seek(prefix); key != nil && len(key) >= len(prefix) && string(key[:len(prefix)]) == string(prefix); key, value = c.Next() {
			if !yield(key, value) {
				return
			}
		}
	}
}

// joined is the key of a record that belongs to two ids.
func joined(a, b id.ID) []byte {
	key := make([]byte, 0, 2*id.Size)
	return append(append(key, a[:]...), b[:]...)
}
