package merkle_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/calimero-network/mero-go/pkg/borsh"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/merkle"
)

// generation says what an SDK writes of an entity.
type generation struct {
	name                                    string
	kept, typed, versioned, signer, deleted bool
	sorted                                  bool // the hash takes the children by id
}

var generations = []generation{
	{name: "oldest"},
	{name: "kept", kept: true},
	{name: "typed", kept: true, typed: true},
	{name: "typed, sorted", kept: true, typed: true, sorted: true},
	{name: "versioned, with removed children", kept: true, typed: true, versioned: true, deleted: true, sorted: true},
	{name: "newest", kept: true, typed: true, versioned: true, signer: true, deleted: true, sorted: true},
}

// entity is a node of a tree in a test.
type entity struct {
	id       id.ID
	value    []byte
	kind     byte // of its storage
	name     string
	children []*entity
}

var rootEntry = id.ID(bytes.Repeat([]byte("v"), 32))

// tree has a context's root, its root entry and some collections, with metadata of every kind.
func tree() *entity {
	leaf := func(n byte, kind byte) *entity {
		return &entity{id: id.ID{n, 1}, value: []byte{n}, kind: kind, name: "leaf"}
	}
	items := &entity{id: id.ID{200}, value: []byte("items"), children: []*entity{leaf(9, 0), leaf(3, 1), leaf(7, 2)}, name: "items"}
	entry := &entity{id: rootEntry, value: []byte("state one"), children: []*entity{items}}
	return &entity{id: id.ID{42}, children: []*entity{leaf(250, 0), entry, leaf(1, 0)}}
}

func (g generation) metadata(e *borsh.Encoder, n *entity) {
	e.U64(1000)
	e.U64(2000)
	e.U8(n.kind)
	if n.kind == 1 { // of a user, signed
		e.Fixed(make([]byte, 32))
		e.Option(true)
		e.Fixed(make([]byte, 64))
		e.U64(7)
		if g.signer {
			e.Option(true)
			e.Fixed(make([]byte, 32))
		}
	}
	if !g.typed {
		return
	}
	e.Option(n.name != "")
	if n.name != "" {
		e.U8(9)
		e.Str("Custom" + n.name)
	}
	e.Option(n.name != "")
	if n.name != "" {
		e.Str(n.name)
	}
	if g.versioned {
		e.Option(true)
		e.U32(3)
	}
}

func (n *entity) own() id.ID { return sha256.Sum256(n.value) }

func (g generation) full(n *entity) id.ID {
	children := slices.Clone(n.children)
	if g.sorted {
		slices.SortFunc(children, func(a, b *entity) int { return bytes.Compare(a.id[:], b.id[:]) })
	}
	own := n.own()
	text := own[:]
	for _, c := range children {
		h := g.full(c)
		text = append(text, h[:]...)
	}
	return sha256.Sum256(text)
}

func sum(tag byte, n id.ID) string {
	h := sha256.Sum256(append([]byte{tag}, n[:]...))
	return string(h[:])
}

// store writes a tree as the SDK of a generation does.
func (g generation) store(t testing.TB, into map[string][]byte, n, parent *entity) {
	t.Helper()
	var e borsh.Encoder
	e.Fixed(n.id[:])
	e.Option(parent != nil)
	if parent != nil {
		e.Fixed(parent.id[:])
	}
	e.Option(n.children != nil)
	if n.children != nil {
		e.Len(len(n.children))
		for _, c := range n.children {
			full := g.full(c)
			e.Fixed(c.id[:])
			e.Fixed(full[:])
			g.metadata(&e, c)
			g.store(t, into, c, n)
		}
	}
	full, own := g.full(n), n.own()
	e.Fixed(full[:])
	e.Fixed(own[:])
	g.metadata(&e, n)
	if g.kept {
		e.Option(false)
	}
	if g.deleted {
		e.Len(1)
		e.Fixed(make([]byte, 32))
	}
	text, err := e.Finish()
	if err != nil {
		t.Fatal(err)
	}
	into[sum(0, n.id)] = text
	into[sum(1, n.id)] = n.value
}

func TestReplaceRoot_IsWhatTheSDKWouldHaveWritten(t *testing.T) {
	for _, g := range generations {
		before, after := map[string][]byte{}, map[string][]byte{}
		old := tree()
		g.store(t, before, old, nil)
		changed := tree()
		changed.children[1].value = append([]byte("state two"), rootEntry[:]...)
		g.store(t, after, changed, nil)
		got := map[string][]byte{}
		for k, v := range before {
			got[k] = v
		}
		writes, root, err := merkle.ReplaceRoot(func(key []byte) ([]byte, bool, error) {
			v, ok := before[string(key)]
			return bytes.Clone(v), ok, nil
		}, g.full(old), []byte("state two"))
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		for _, w := range writes {
			got[string(w.Key)] = w.Value
		}
		if want := g.full(changed); root != want {
			t.Errorf("%s: root %s, want %s", g.name, root, want)
		}
		for k, want := range after {
			if !bytes.Equal(got[k], want) {
				t.Errorf("%s: %x = %x, want %x", g.name, k[:4], got[k], want)
			}
		}
	}
}

func TestReplaceRoot_RefusesWhatItDoesNotUnderstand(t *testing.T) {
	g := generations[2]
	broken := errors.New("broken disk")
	for name, tt := range map[string]struct {
		change func(m map[string][]byte)
		root   id.ID
		fail   error
		want   error
	}{
		"no tree":             {func(m map[string][]byte) { clear(m) }, g.full(tree()), nil, merkle.ErrLayout},
		"another state hash":  {func(map[string][]byte) {}, id.ID{1}, nil, merkle.ErrLayout},
		"unknown tail":        {func(m map[string][]byte) { k := sum(0, rootEntry); m[k] = append(m[k], 1) }, g.full(tree()), nil, merkle.ErrLayout},
		"cut":                 {func(m map[string][]byte) { k := sum(0, rootEntry); m[k] = m[k][:len(m[k])-1] }, g.full(tree()), nil, merkle.ErrLayout},
		"wrong hash":          {func(m map[string][]byte) { m[sum(0, id.ID{42})][75] ^= 1 /* in the hash of a child */ }, g.full(tree()), nil, merkle.ErrLayout},
		"index of another":    {func(m map[string][]byte) { m[sum(0, rootEntry)] = m[sum(0, id.ID{200})] }, g.full(tree()), nil, merkle.ErrLayout},
		"parent without it":   {func(m map[string][]byte) { m[sum(0, id.ID{42})] = orphan(t, g) }, g.full(tree()), nil, merkle.ErrLayout},
		"parents in a circle": {func(m map[string][]byte) { circle(t, g, m) }, g.full(tree()), nil, merkle.ErrLayout},
		"storage fails":       {func(map[string][]byte) {}, g.full(tree()), broken, broken},
	} {
		m := map[string][]byte{}
		g.store(t, m, tree(), nil)
		tt.change(m)
		_, _, err := merkle.ReplaceRoot(func(key []byte) ([]byte, bool, error) {
			v, ok := m[string(key)]
			return v, ok, tt.fail
		}, tt.root, []byte("x"))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// orphan is an index of the root that does not know the root entry.
func orphan(t *testing.T, g generation) []byte {
	t.Helper()
	n, m := tree(), map[string][]byte{}
	n.children = n.children[:1]
	g.store(t, m, n, nil)
	return m[sum(0, n.id)]
}

// circle makes the root entry its own parent.
func circle(t *testing.T, g generation, m map[string][]byte) {
	t.Helper()
	self := &entity{id: rootEntry, children: []*entity{{id: rootEntry}}}
	g.store(t, m, self, self)
}

func TestKeys(t *testing.T) {
	e := id.ID{1, 2, 3}
	if got := fmt.Sprintf("%x %x", merkle.IndexKey(e), merkle.ValueKey(e)); got != fmt.Sprintf("%x %x", sum(0, e), sum(1, e)) {
		t.Error(got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, g := range generations {
		m := map[string][]byte{}
		g.store(f, m, tree(), nil)
		for _, text := range m {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := merkle.Decode(text)
		if err != nil {
			if !errors.Is(err, merkle.ErrLayout) {
				t.Error(err)
			}
			return
		}
		if again := n.Encode(); !bytes.Equal(again, text) {
			t.Errorf("%x is written again as %x", text, again)
		}
	})
}
