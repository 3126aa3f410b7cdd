package store

import (
	"iter"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Context is the current state of a context, without what its application stored.
type Context struct {
	ID                 id.ID   `json:"-"`
	Application        id.ID   `json:"application_id"`
	StateHash          id.ID   `json:"state_hash"`
	DAGHeads           []id.ID `json:"dag_heads,omitempty"`
	Service            string  `json:"service,omitempty"`
	ApplicationVersion string  `json:"application_version,omitempty"`
	Group              string  `json:"group,omitempty"` // hex
}

type contextRecord struct {
	V int `json:"v"`
	Context
}

// PutContext writes a context under its id.
func (t *Tx) PutContext(c Context) error {
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
