// Package contextstest checks, for tests, that what the database holds of a context fits together.
package contextstest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// Problem says what is wrong with the records of a context, "" if nothing is: the log is one chain of as many deltas as
// the context counts, from the first to its only head, each id is that of its content, the head's root is the state
// hash, and the counts of bytes are those of what is there.
func Problem(db *store.Store, c id.ID) (problem string) {
	err := db.View(context.Background(), func(tx *store.Tx) error {
		x, err := tx.Context(c)
		if err != nil {
			return err
		}
		chain, err := Chain(tx, x)
		if err != nil {
			return err
		}
		var wrong []string
		if chain[len(chain)-1].Root != x.StateHash {
			wrong = append(wrong, "the head's root is not the state hash")
		}
		deltas := uint64(0)
		for _, err := range tx.Deltas(c) {
			if deltas++; err != nil {
				return err
			}
		}
		if deltas != x.Deltas {
			wrong = append(wrong, fmt.Sprintf("%d deltas, %d counted", deltas, x.Deltas))
		}
		sizes := [2]int64{}
		for space := range sizes {
			for e := range tx.Entries(store.Space(space), c, nil) {
				sizes[space] += int64(len(e.Key) + len(e.Value))
			}
		}
		if sizes != [2]int64{x.StateBytes, x.PrivateBytes} {
			wrong = append(wrong, fmt.Sprintf("%v bytes, counted %d and %d", sizes, x.StateBytes, x.PrivateBytes))
		}
		problem = strings.Join(wrong, "; ")
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return problem
}

// Chain returns the deltas of a context from the first to the head.
func Chain(tx *store.Tx, x store.Context) ([]store.Delta, error) {
	if len(x.DAGHeads) != 1 || x.Deltas == 0 {
		return nil, fmt.Errorf("%d heads, %d deltas", len(x.DAGHeads), x.Deltas)
	}
	var chain []store.Delta
	at := x.DAGHeads[0]
	for seq := x.Deltas; seq > 0; seq-- {
		d, err := tx.Delta(x.ID, at)
		if err != nil {
			return nil, fmt.Errorf("delta %d of the chain: %w", seq, err)
		}
		if d.Seq != seq || len(d.Parents) != 1 || contexts.DeltaID(d.Parents, d.Artifact) != d.ID {
			return nil, fmt.Errorf("delta %d of the chain is damaged: %+v", seq, d)
		}
		chain = append(chain, d)
		at = d.Parents[0]
	}
	if at != (id.ID{}) {
		return nil, fmt.Errorf("the chain starts at %s, not at nothing", at)
	}
	slices.Reverse(chain)
	return chain, nil
}
