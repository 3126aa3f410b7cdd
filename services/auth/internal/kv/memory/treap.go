package memory

import (
	"bytes"
	"hash/maphash"
	"strings"
)

// seed makes the shape of the trees unpredictable for whoever chooses the keys.
var seed = maphash.MakeSeed()

// node is an immutable treap: a search tree by key and a heap by priority. The priority is a hash of the key, so
// the shape depends on the set of keys alone and is balanced whatever the order of the writes.
type node struct {
	key         string
	value       []byte
	priority    uint64
	left, right *node
}

func newNode(key string, value []byte) *node {
	return &node{key: key, value: value, priority: maphash.String(seed, key)}
}

func (n *node) find(key string) *node {
	for n != nil && n.key != key {
		if key < n.key {
			n = n.left
		} else {
			n = n.right
		}
	}
	return n
}

// with returns the tree with m, whose key must not be in it.
func (n *node) with(m *node) *node {
	if n == nil {
		return m
	}
	if m.priority > n.priority {
		top := *m
		top.left, top.right = n.split(m.key)
		return &top
	}
	top := *n
	if m.key < n.key {
		top.left = n.left.with(m)
	} else {
		top.right = n.right.with(m)
	}
	return &top
}

// split returns the part below key and the part above it.
func (n *node) split(key string) (below, above *node) {
	if n == nil {
		return nil, nil
	}
	top := *n
	if n.key < key {
		top.right, above = n.right.split(key)
		return &top, above
	}
	below, top.left = n.left.split(key)
	return below, &top
}

// without returns the tree without key.
func (n *node) without(key string) *node {
	if n.find(key) == nil {
		return n
	}
	if key == n.key {
		return join(n.left, n.right)
	}
	top := *n
	if key < n.key {
		top.left = n.left.without(key)
	} else {
		top.right = n.right.without(key)
	}
	return &top
}

// join unites two trees of which the first lies wholly below the second.
func join(below, above *node) *node {
	if below == nil {
		return above
	}
	if above == nil {
		return below
	}
	if below.priority > above.priority {
		top := *below
		top.right = join(below.right, above)
		return &top
	}
	top := *above
	top.left = join(below, above.left)
	return &top
}

// scan yields copies of the pairs whose key starts with prefix, in order, and reports whether to go on.
func (n *node) scan(prefix string, yield func(string, []byte) bool) bool {
	if n == nil {
		return true
	}
	if n.key < prefix {
		return n.right.scan(prefix, yield)
	}
	if !n.left.scan(prefix, yield) {
		return false
	}
	if !strings.HasPrefix(n.key, prefix) { // every key from here on lies above the prefix
		return true
	}
	return yield(n.key, bytes.Clone(n.value)) && n.right.scan(prefix, yield)
}
