package runtime

import (
	"bytes"
	"crypto/sha256"
	"errors"

	"github.com/calimero-network/mero-go/pkg/borsh"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Applications that do not keep their state as a tree of their own can let the host keep it as one document: the root
// entity of the context, whose id is the context's. It is stored as the entities of the Rust SDK are: an entry under
// SHA-256(1, id) and an index under SHA-256(0, id). Trees with children need the collections that this host does not
// have, so a state in which the root has children is refused.

func entryKey(context id.ID) string { return entityKey(1, context) }
func indexKey(context id.ID) string { return entityKey(0, context) }

func entityKey(kind byte, entity id.ID) string {
	sum := sha256.Sum256(append([]byte{kind}, entity[:]...))
	return string(sum[:])
}

// document is the index of a document. Times are in nanoseconds since 1970.
type document struct {
	hash             id.ID
	created, updated uint64
}

// The kind of storage that everybody may write, and the kinds of actions.
const (
	storagePublic = 0

	deltaActions = 0
	actionAdd    = 0
	actionUpdate = 3
)

var errTree = errors.New("the state is not that of a single document")

// decodeIndex reads an index that encode has written.
func decodeIndex(context id.ID, b []byte) (d document, err error) {
	dec := borsh.NewDecoder(b)
	var entity, full, own id.ID
	dec.Fixed(entity[:])
	parent, children := dec.Option(), dec.Option()
	dec.Fixed(full[:])
	dec.Fixed(own[:])
	d.created, d.updated = dec.U64(), dec.U64()
	storage := dec.U8()
	if err := dec.Finish(); err != nil || entity != context || parent || children || storage != storagePublic {
		return document{}, errTree
	}
	d.hash = full
	return d, nil
}

// encode writes the index. The hash of the whole tree is that of the root's own hash, as there are no children.
func (d document) encode(context, own id.ID) []byte {
	var e borsh.Encoder
	e.Fixed(context[:])
	e.Option(false) // parent
	e.Option(false) // children
	e.Fixed(d.hash[:])
	e.Fixed(own[:])
	e.U64(d.created)
	e.U64(d.updated)
	e.U8(storagePublic)
	b, _ := e.Finish() // fixed sizes
	return b
}

// document returns the index of the document, if there is one.
func (v *invocation) document() (document, bool) {
	b, found := v.read(v.state, v.call.State, indexKey(v.call.Context))
	if !found {
		return document{}, false
	}
	d, err := decodeIndex(v.call.Context, b)
	if err != nil {
		v.abort(fail(ErrUnsupported, "%w", err))
	}
	return d, true
}

// putDocument stores the document and its index.
func (v *invocation) putDocument(content []byte, created, updated uint64) {
	own := sha256.Sum256(content)
	d := document{hash: sha256.Sum256(own[:]), created: created, updated: updated}
	context := v.call.Context
	v.write(&v.state, Write{Key: []byte(entryKey(context)), Value: content})
	v.write(&v.state, Write{Key: []byte(indexKey(context)), Value: d.encode(context, own)})
}

// persistRootState stores the document. Its times never go back.
func persistRootState(v *invocation, stack []uint64) {
	content, created, updated := v.value(stack[0]), stack[1], stack[2]
	old, existed := v.document()
	now := v.time()
	if created == 0 {
		created = now
	}
	updated = max(updated, created, old.updated)
	if updated != ^uint64(0) {
		updated++
	}
	updated = max(now, updated)
	v.putDocument(content, created, updated)
	kind := byte(actionAdd)
	if existed {
		kind = actionUpdate
	}
	v.action = v.encodeAction(kind, content, created, updated)
}

// encodeAction writes the action of changing the document, for other nodes.
func (v *invocation) encodeAction(kind byte, content []byte, created, updated uint64) []byte {
	var e borsh.Encoder
	e.U8(kind)
	e.Fixed(v.call.Context[:])
	e.Bytes(content)
	e.Len(0) // ancestors
	e.U64(created)
	e.U64(updated)
	e.U8(storagePublic)
	b, err := e.Finish()
	if err != nil {
		v.abort(fail(ErrHostLimit, "the document is too large: %w", err))
	}
	return b
}

func readRootState(v *invocation, stack []uint64) {
	value, found := v.read(v.state, v.call.State, entryKey(v.call.Context))
	v.give(stack, stack[0], value, found)
}

// flushDelta commits what persist_root_state has written. It says whether there was anything.
func flushDelta(v *invocation, stack []uint64) {
	stack[0] = 0
	if v.action == nil {
		return
	}
	d, _ := v.document()
	v.committed, v.root = true, d.hash
	v.artifact = append([]byte{deltaActions, 1, 0, 0, 0}, v.action...)
	v.action = nil
	stack[0] = 1
}

// change is one change of the document in a delta.
type documentChange struct {
	content          []byte
	created, updated uint64
}

// applyStorageDelta applies changes that another node has flushed: the latest wins, and of two at the same time the
// one with the greater content.
func applyStorageDelta(v *invocation, stack []uint64) {
	changes, err := decodeDelta(v.call.Context, v.bytes(stack[0]))
	if err != nil {
		v.abort(fail(ErrTrap, "the delta cannot be applied: %w", err))
	}
	for _, c := range changes {
		old, found := v.document()
		content, _ := v.read(v.state, v.call.State, entryKey(v.call.Context))
		if found && (c.updated < old.updated || c.updated == old.updated && bytes.Compare(c.content, content) <= 0) {
			continue
		}
		v.putDocument(bytes.Clone(c.content), c.created, c.updated)
	}
	d, _ := v.document()
	v.committed, v.root = true, d.hash
}

func decodeDelta(context id.ID, b []byte) (changes []documentChange, err error) {
	dec := borsh.NewDecoder(b)
	if dec.U8() != deltaActions {
		return nil, errors.New("it does not consist of actions")
	}
	const smallest = 1 + id.Size + 4 + 4 + 8 + 8 + 1
	for range dec.Len(smallest) {
		var c documentChange
		var entity id.ID
		kind := dec.U8()
		dec.Fixed(entity[:])
		c.content = dec.Bytes()
		ancestors := dec.U32()
		c.created, c.updated = dec.U64(), dec.U64()
		storage := dec.U8()
		if dec.Err() == nil && (kind != actionAdd && kind != actionUpdate || entity != context || ancestors != 0 || storage != storagePublic) {
			return nil, errTree
		}
		changes = append(changes, c)
	}
	return changes, dec.Finish()
}
