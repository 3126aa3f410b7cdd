// Package merkle reads and writes the index with which applications of the Rust SDK keep a Merkle tree of what they
// store, so far as the node needs it: when an application is migrated, the node puts a new root value in place and
// computes the hashes above it.
//
// The tree is in the application's storage: under SHA-256(0, id) lies the index of an entity, under SHA-256(1, id) its
// value. The index is Borsh. What it says of an entity beside ids and hashes differs between the generations of the
// SDK; [Decode] tries the known layouts, keeps those bytes as they are, and accepts an index only if it is read to its
// last byte and its hash comes out as it is stored.
package merkle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/calimero-network/mero-go/pkg/borsh"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// ErrLayout reports an index of no known layout, or whose hashes do not fit together.
var ErrLayout = errors.New("the index of the application's state has no known layout")

// rootEntry is the entity that holds the value of the application's root.
var rootEntry = id.ID(bytes.Repeat([]byte{0x76}, id.Size))

// maxDepth bounds the way from the root entry to the root of the tree.
const maxDepth = 64

// Write is a changed value of the application's storage.
type Write struct{ Key, Value []byte }

// IndexKey returns the storage key of an entity's index.
func IndexKey(entity id.ID) []byte { return key(0, entity) }

// ValueKey returns the storage key of an entity's value.
func ValueKey(entity id.ID) []byte { return key(1, entity) }

func key(tag byte, entity id.ID) []byte {
	h := sha256.Sum256(append([]byte{tag}, entity[:]...))
	return h[:]
}

// ReplaceRoot returns what to write so that value is the application's new root value, and the hash of the tree then.
// get reads the storage; root is the hash of the tree as it is.
func ReplaceRoot(get func(key []byte) (value []byte, found bool, err error), root id.ID, value []byte) ([]Write, id.ID, error) {
	entry := append(bytes.Clone(value), rootEntry[:]...)
	writes := []Write{{ValueKey(rootEntry), entry}}
	own := id.ID(sha256.Sum256(entry))
	at, below := rootEntry, Child{}
	for depth := range maxDepth {
		text, found, err := get(IndexKey(at))
		if err != nil {
			return nil, id.ID{}, err
		}
		if !found {
			return nil, id.ID{}, fmt.Errorf("%w: entity %x has none", ErrLayout, at[:4])
		}
		n, err := Decode(text)
		if err != nil {
			return nil, id.ID{}, err
		}
		if n.ID != at {
			return nil, id.ID{}, fmt.Errorf("%w: it is that of another entity", ErrLayout)
		}
		before := n.Full
		if depth == 0 {
			n.Own = own
		} else if !n.setChild(below) {
			return nil, id.ID{}, fmt.Errorf("%w: a parent does not know its child", ErrLayout)
		}
		n.Full = n.hash(n.sorted)
		writes = append(writes, Write{IndexKey(at), n.Encode()})
		if n.Parent == nil {
			if before != root {
				return nil, id.ID{}, fmt.Errorf("%w: its root is not the state hash", ErrLayout)
			}
			return writes, n.Full, nil
		}
		at, below = *n.Parent, Child{ID: n.ID, Hash: n.Full}
	}
	return nil, id.ID{}, fmt.Errorf("%w: more than %d levels", ErrLayout, maxDepth)
}

// Node is the index of one entity.
type Node struct {
	ID       id.ID
	Parent   *id.ID
	Children []Child // nil and empty are written differently
	Full     id.ID   // SHA-256 of Own and the hashes of the children
	Own      id.ID   // SHA-256 of the value

	hasChildren bool
	tail        []byte // all that follows the hashes
	sorted      bool   // the hash takes the children in the order of their ids, not in that of the list
}

// Child is an entity as its parent knows it.
type Child struct {
	ID       id.ID
	Hash     id.ID
	metadata []byte
}

// setChild gives a child its new hash.
func (n *Node) setChild(c Child) bool {
	i := slices.IndexFunc(n.Children, func(o Child) bool { return o.ID == c.ID })
	if i < 0 {
		return false
	}
	n.Children[i].Hash = c.Hash
	return true
}

func (n *Node) hash(sorted bool) id.ID {
	list := n.Children
	if sorted {
		list = slices.SortedFunc(slices.Values(list), func(a, b Child) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	}
	h := sha256.New()
	h.Write(n.Own[:])
	for _, c := range list {
		h.Write(c.Hash[:])
	}
	return id.ID(h.Sum(nil))
}

// layout is a generation of the SDK.
type layout struct {
	kept      bool // an index stays when its entity is deleted, and says when that was
	typed     bool // metadata names the way of merging and the field
	versioned bool // and the version of the schema
	signer    bool // signatures name their key
	deleted   bool // an index lists the children that were deleted
}

// layouts are the known combinations, the oldest first. A field that came once stayed.
var layouts = []layout{
	{},
	{kept: true},
	{kept: true, typed: true},
	{kept: true, typed: true, deleted: true},
	{kept: true, typed: true, signer: true},
	{kept: true, typed: true, signer: true, deleted: true},
	{kept: true, typed: true, versioned: true},
	{kept: true, typed: true, versioned: true, deleted: true},
	{kept: true, typed: true, versioned: true, signer: true},
	{kept: true, typed: true, versioned: true, signer: true, deleted: true},
}

// Decode reads an index. The error wraps [ErrLayout].
func Decode(text []byte) (*Node, error) {
	for _, l := range layouts {
		n, err := l.decode(text)
		if err != nil {
			continue
		}
		for _, n.sorted = range []bool{false, true} {
			if n.hash(n.sorted) == n.Full {
				return n, nil
			}
		}
	}
	return nil, ErrLayout
}

// Encode writes the index in the layout in which it was read.
func (n *Node) Encode() []byte {
	var e borsh.Encoder
	e.Fixed(n.ID[:])
	e.Option(n.Parent != nil)
	if n.Parent != nil {
		e.Fixed(n.Parent[:])
	}
	e.Option(n.hasChildren)
	if n.hasChildren {
		e.Len(len(n.Children))
		for _, c := range n.Children {
			e.Fixed(c.ID[:])
			e.Fixed(c.Hash[:])
			e.Fixed(c.metadata)
		}
	}
	e.Fixed(n.Full[:])
	e.Fixed(n.Own[:])
	e.Fixed(n.tail)
	text, err := e.Finish()
	if err != nil { // only texts and lengths can be wrong, and they were read
		panic(err)
	}
	return text
}
