package contexts_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

func readerOf(b []byte) *bytes.Reader { return bytes.NewReader(b) }

// consistent says what is wrong with the records of a context, "" if nothing is: the log is one chain of as many
// deltas as the context counts, from the first to its only head, each id is that of its content, the head's root is
// the state hash, and the counts of bytes are those of what is there.
func consistent(db *store.Store, c id.ID) (problem string) {
	err := db.View(context.Background(), func(tx *store.Tx) error {
		x, err := tx.Context(c)
		if err != nil {
			return err
		}
		var wrong []string
		deltas := map[id.ID]store.Delta{}
		for d, err := range tx.Deltas(c) {
			if err != nil {
				return err
			}
			deltas[d.ID] = d
		}
		if uint64(len(deltas)) != x.Deltas || len(x.DAGHeads) != 1 {
			wrong = append(wrong, fmt.Sprintf("%d deltas, %d counted, %d heads", len(deltas), x.Deltas, len(x.DAGHeads)))
		} else {
			wrong = append(wrong, chain(deltas, x)...)
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

// chain walks the log from the head to the first delta.
func chain(deltas map[id.ID]store.Delta, x store.Context) (wrong []string) {
	at := x.DAGHeads[0]
	if deltas[at].Root != x.StateHash {
		wrong = append(wrong, "the head's root is not the state hash")
	}
	for seq := x.Deltas; seq > 0; seq-- {
		d, ok := deltas[at]
		if !ok || d.Seq != seq || len(d.Parents) != 1 || contexts.DeltaID(d.Parents, d.Artifact) != d.ID {
			return append(wrong, fmt.Sprintf("delta %d of the chain is damaged or missing", seq))
		}
		at = d.Parents[0]
	}
	if at != (id.ID{}) {
		wrong = append(wrong, "the chain does not start at nothing")
	}
	return wrong
}
