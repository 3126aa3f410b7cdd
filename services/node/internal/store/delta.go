package store

import (
	"errors"
	"fmt"
	"iter"

	"github.com/calimero-network/mero-go/pkg/borsh"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// DeltaKind says what made a delta.
type DeltaKind uint8

// The kinds of deltas.
const (
	GenesisDelta   DeltaKind = iota // the initialisation of a context
	CallDelta                       // a call of a method
	MigrationDelta                  // a new version of the application took the state over
)

// Delta is one change of a context's state, kept so that other nodes can catch up.
type Delta struct {
	Context     id.ID
	ID          id.ID
	Parents     []id.ID // the heads that it was made upon; the zero id for the first
	Seq         uint64  // 1 for the first
	Kind        DeltaKind
	Root        id.ID // the state hash after it
	Author      id.ID // the identity that made it
	Application id.ID // whose code made it
	Time        int64 // Unix nanoseconds
	Artifact    []byte
}

const deltaVersion = 1

var errDelta = errors.New("damaged delta")

// AddDelta writes a delta and returns its size in bytes. The error is [ErrExists] if the log holds it already.
func (t *Tx) AddDelta(d Delta) (int64, error) {
	key := joined(d.Context, d.ID)
	b := t.tx.Bucket(bucketDeltas)
	if b.Get(key) != nil {
		return 0, fmt.Errorf("delta %s: %w", d.ID, ErrExists)
	}
	value, err := d.encode()
	if err != nil {
		return 0, err
	}
	return int64(len(key) + len(value)), b.Put(key, value)
}

// Delta reads a delta. The error is [ErrNotFound] if there is none.
func (t *Tx) Delta(context, delta id.ID) (Delta, error) {
	value := t.tx.Bucket(bucketDeltas).Get(joined(context, delta))
	if value == nil {
		return Delta{}, ErrNotFound
	}
	return decodeDelta(context, delta, value)
}

// Deltas yields the deltas of a context in the order of their ids, until an error.
func (t *Tx) Deltas(context id.ID) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		for key, value := range t.prefixed(bucketDeltas, context[:]) {
			if d, err := decodeDelta(context, id.ID(key[id.Size:]), value); !yield(d, err) || err != nil {
				return
			}
		}
	}
}

func (d *Delta) encode() ([]byte, error) {
	e := borsh.NewEncoder(make([]byte, 0, 160+len(d.Parents)*id.Size+len(d.Artifact)))
	e.U8(deltaVersion)
	e.U8(uint8(d.Kind))
	e.U64(d.Seq)
	e.U64(uint64(d.Time)) //nolint:gosec // read back as it was written
	e.Fixed(d.Root[:])
	e.Fixed(d.Author[:])
	e.Fixed(d.Application[:])
	e.Len(len(d.Parents))
	for _, p := range d.Parents {
		e.Fixed(p[:])
	}
	e.Bytes(d.Artifact)
	return e.Finish()
}

func decodeDelta(context, delta id.ID, value []byte) (Delta, error) {
	out := Delta{Context: context, ID: delta}
	d := borsh.NewDecoder(value)
	if v := d.U8(); v != deltaVersion && d.Err() == nil {
		return Delta{}, fmt.Errorf("%w %s: version %d", errDelta, delta, v)
	}
	out.Kind = DeltaKind(d.U8())
	out.Seq = d.U64()
	out.Time = int64(d.U64()) //nolint:gosec // written from int64
	d.Fixed(out.Root[:])
	d.Fixed(out.Author[:])
	d.Fixed(out.Application[:])
	out.Parents = make([]id.ID, d.Len(id.Size))
	for i := range out.Parents {
		d.Fixed(out.Parents[i][:])
	}
	out.Artifact = append([]byte(nil), d.Bytes()...)
	if err := d.Finish(); err != nil {
		return Delta{}, fmt.Errorf("%w %s: %w", errDelta, delta, err)
	}
	return out, nil
}
