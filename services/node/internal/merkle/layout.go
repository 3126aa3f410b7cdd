package merkle

import (
	"github.com/calimero-network/mero-go/pkg/borsh"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// The parts of metadata that are tags of enums.
const (
	typePublic, typeUser, typeFrozen, typeShared, typeMember = 0, 1, 2, 3, 4

	crdtCustom = 9 // the only one with a name; the others have lower numbers
)

func (l layout) decode(text []byte) (*Node, error) {
	d := &counter{d: borsh.NewDecoder(text)}
	n := &Node{}
	d.fixed(n.ID[:])
	if d.option() {
		n.Parent = new(id.ID)
		d.fixed(n.Parent[:])
	}
	if n.hasChildren = d.option(); n.hasChildren {
		n.Children = make([]Child, d.len(2*id.Size+17))
		for i := range n.Children {
			c := &n.Children[i]
			d.fixed(c.ID[:])
			d.fixed(c.Hash[:])
			from := d.off
			l.metadata(d)
			if d.bad || d.d.Err() != nil {
				return nil, ErrLayout
			}
			c.metadata = text[from:d.off]
		}
	}
	d.fixed(n.Full[:])
	d.fixed(n.Own[:])
	from := d.off
	l.metadata(d)
	if l.kept && d.option() { // deleted at
		d.skip(8)
	}
	if l.deleted {
		d.skip(id.Size * d.len(id.Size))
	}
	if d.bad || d.d.Finish() != nil {
		return nil, ErrLayout
	}
	n.tail = text[from:]
	return n, nil
}

// metadata reads over what an index says of an entity: times, who may change it, how it is merged.
func (l layout) metadata(d *counter) {
	d.skip(16) // created, updated
	switch d.tag(typeMember) {
	case typePublic, typeFrozen:
	case typeUser, typeMember:
		d.skip(id.Size)
		l.signature(d)
	case typeShared:
		d.skip((id.Size + 1) * d.len(id.Size+1))
		l.signature(d)
	}
	if !l.typed {
		return
	}
	if d.option() && d.tag(crdtCustom) == crdtCustom {
		d.skip(d.len(1))
	}
	if d.option() { // field name
		d.skip(d.len(1))
	}
	if l.versioned && d.option() {
		d.skip(4)
	}
}

func (l layout) signature(d *counter) {
	if !d.option() {
		return
	}
	d.skip(64 + 8)
	if l.signer && d.option() {
		d.skip(id.Size)
	}
}

// counter is a decoder that knows where it is.
type counter struct {
	d   *borsh.Decoder
	off int
	bad bool // an unknown tag was read
}

func (c *counter) fixed(dst []byte) {
	c.d.Fixed(dst)
	c.off += len(dst)
}

func (c *counter) skip(n int) {
	for range n {
		c.d.U8()
	}
	c.off += n
}

func (c *counter) option() bool {
	c.off++
	return c.d.Option()
}

func (c *counter) len(size int) int {
	c.off += 4
	return c.d.Len(size)
}

// tag reads the tag of an enum, which must not be above the last.
func (c *counter) tag(last uint8) uint8 {
	c.off++
	v := c.d.U8()
	c.bad = c.bad || v > last
	return v
}
