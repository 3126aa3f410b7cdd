package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// Check reads the whole store and reports the first damage that it finds, wrapped in ErrCorrupt. Updates wait
// meanwhile, views do not. It finds damaged structure; it cannot find a changed byte inside a value.
func (db *DB) Check() error {
	btx, err := db.begin(true)
	if err != nil {
		return err
	}
	defer db.discard(btx)
	info, err := db.file.Stat()
	if err != nil {
		return err
	}
	m, err := readMeta(db.file, info.Size())
	if err == nil {
		err = verify(db.file, m, true) // first: bbolt's check runs in a goroutine whose faults nobody can catch
	}
	if err == nil {
		err = checkBolt(btx)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", db.path, err)
	}
	return nil
}

func checkBolt(btx *bbolt.Tx) error {
	var first error
	for err := range btx.Check() { // to the end, or its goroutine stays
		if first == nil {
			first = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return first
}

// verify checks the structure of a file without trusting any of it. bbolt does: a wrong page number makes it read
// outside of the map, recurse until the stack ends the process, or overwrite a live page that it takes for free.
//
// It reads the free list and all branch pages, which is about a hundredth of the file, and with full set every
// page. The pages that hold the keys are then only counted, not read.
func verify(r io.ReaderAt, m meta, full bool) error {
	v := verifier{r: r, meta: m, full: full, used: make([]bool, m.pages)}
	if m.freelist != noFreelist {
		if err := v.freelist(); err != nil {
			return err
		}
	}
	return v.tree(m.root, true)
}

type verifier struct {
	r    io.ReaderAt
	meta meta
	full bool
	used []bool // by page: reachable or free
}

// page is a page with its overflow, or a bucket stored inside a value.
type page struct {
	id    uint64
	flags uint16
	count int
	body  []byte // what follows the header
}

const (
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	elementSize  = 16 // of branch and leaf pages alike
	bucketHeader = 16 // root page u64 · sequence u64
	bucketFlag   = 0x01
)

func damaged(id uint64, format string, args ...any) error {
	return fmt.Errorf("%w: page %d: %s", ErrCorrupt, id, fmt.Sprintf(format, args...))
}

// claim marks n pages from id on as used by one owner.
func (v *verifier) claim(id, n uint64) error {
	if id < 2 || id >= v.meta.pages || n > v.meta.pages-id {
		return damaged(id, "outside of the file")
	}
	for i := id; i < id+n; i++ {
		if v.used[i] {
			return damaged(i, "used twice")
		}
		v.used[i] = true
	}
	return nil
}

// read returns the page id and claims it with its overflow; claimed says that the page itself is claimed already.
func (v *verifier) read(id uint64, claimed bool) (page, error) {
	if !claimed {
		if err := v.claim(id, 1); err != nil {
			return page{}, err
		}
	}
	b, err := v.bytes(id, 1)
	if err != nil {
		return page{}, err
	}
	order := binary.NativeEndian
	if got := order.Uint64(b); got != id {
		return page{}, damaged(id, "says that it is page %d", got)
	}
	if overflow := uint64(order.Uint32(b[12:])); overflow > 0 {
		if err := v.claim(id+1, overflow); err != nil {
			return page{}, err
		}
		if b, err = v.bytes(id, 1+overflow); err != nil {
			return page{}, err
		}
	}
	return page{id, order.Uint16(b[8:]), int(order.Uint16(b[10:])), b[pageHeader:]}, nil
}

func (v *verifier) bytes(id, n uint64) ([]byte, error) {
	b := make([]byte, n*v.meta.pageSize)
	_, err := v.r.ReadAt(b, int64(id*v.meta.pageSize)) //nolint:gosec // claim bounds it by the file's size
	if errors.Is(err, io.EOF) {
		return nil, damaged(id, "cut off")
	}
	return b, err
}

func (v *verifier) freelist() error {
	p, err := v.read(v.meta.freelist, false)
	if err != nil {
		return err
	}
	if p.flags != freelistPage {
		return damaged(p.id, "is no free list (flags %#x)", p.flags)
	}
	order, ids, n := binary.NativeEndian, p.body, uint64(p.count) //nolint:gosec // from a uint16
	if n == 0xFFFF {                                              // then the first entry is the count
		n, ids = order.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return damaged(p.id, "lists %d free pages, more than it can hold", n)
	}
	for ; n > 0; n-- {
		if err := v.claim(order.Uint64(ids), 1); err != nil {
			return fmt.Errorf("free list: %w", err)
		}
		ids = ids[8:]
	}
	return nil
}

// tree checks the tree under page id. buckets says that it is the tree of the file: its leaves hold the buckets and
// must be read.
func (v *verifier) tree(id uint64, buckets bool) error {
	if err := v.claim(id, 1); err != nil {
		return err
	}
	p, err := v.read(id, true)
	if err != nil {
		return err
	}
	return v.node(p, nil, nil, buckets)
}

// node checks a page whose keys must lie in [low, high) (nil: no limit), and everything under it.
func (v *verifier) node(p page, low, high []byte, buckets bool) error {
	switch p.flags {
	case leafPage:
		return v.leaf(p, low, high, buckets)
	case branchPage:
		return v.branch(p, low, high, buckets)
	}
	return damaged(p.id, "is no part of a tree (flags %#x)", p.flags)
}

func (v *verifier) branch(p page, low, high []byte, buckets bool) error {
	if p.count == 0 {
		return damaged(p.id, "is a branch page without children")
	}
	keys, children := make([][]byte, p.count), make([]uint64, p.count)
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		order := binary.NativeEndian
		if keys[i], _, err = p.data(i, order.Uint32(e), order.Uint32(e[4:]), 0); err != nil {
			return err
		}
		if err := inOrder(p, keys[i], low, high, i == 0); err != nil {
			return err
		}
		low, children[i] = keys[i], order.Uint64(e[8:])
		if err := v.claim(children[i], 1); err != nil {
			return fmt.Errorf("child of page %d: %w", p.id, err)
		}
	}
	for i, id := range children {
		child, err := v.read(id, true)
		if err != nil {
			return err
		}
		end := high
		if i+1 < len(keys) {
			end = keys[i+1]
		}
		if err := v.node(child, keys[i], end, buckets); err != nil {
			return err
		}
		// All children of one page are on one level. Leaves need not be read beyond the one that tells the level.
		if child.flags == leafPage && !v.full && !buckets {
			return nil
		}
	}
	return nil
}

// leaf checks the elements of a leaf page: buckets in the tree of the file, values in the tree of a bucket.
func (v *verifier) leaf(p page, low, high []byte, buckets bool) error {
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		order := binary.NativeEndian
		key, value, err := p.data(i, order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:]))
		if err != nil {
			return err
		}
		if err := inOrder(p, key, low, high, i == 0); err != nil {
			return err
		}
		low = key
		if flags := order.Uint32(e); flags != 0 && !buckets || flags != bucketFlag && buckets {
			return damaged(p.id, "element %d has the flags %#x", i, flags)
		}
		if buckets {
			if err := v.bucket(p, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket checks a bucket entry: its tree, or the page inside the entry when it is small.
func (v *verifier) bucket(p page, value []byte) error {
	if len(value) < bucketHeader {
		return damaged(p.id, "holds a bucket of %d bytes", len(value))
	}
	order := binary.NativeEndian
	if root := order.Uint64(value); root != 0 {
		return v.tree(root, false)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || order.Uint16(inline[8:]) != leafPage {
		return damaged(p.id, "holds a bucket that is no leaf")
	}
	return v.leaf(page{p.id, leafPage, int(order.Uint16(inline[10:])), inline[pageHeader:]}, nil, nil, false)
}

// element returns the i-th element of a branch or leaf page.
func (p page) element(i int) ([]byte, error) {
	if (i+1)*elementSize > len(p.body) {
		return nil, damaged(p.id, "has %d elements, more than it can hold", p.count)
	}
	return p.body[i*elementSize : (i+1)*elementSize], nil
}

// data returns the key and the value of the i-th element; they lie pos bytes after it, behind the last element.
func (p page) data(i int, pos, ksize, vsize uint32) (key, value []byte, err error) {
	start := uint64(i*elementSize) + uint64(pos) //nolint:gosec // i is below 1<<16
	end := start + uint64(ksize) + uint64(vsize)
	if start < uint64(p.count*elementSize) || end > uint64(len(p.body)) { //nolint:gosec // sizes
		return nil, nil, damaged(p.id, "element %d lies outside of it", i)
	}
	split := start + uint64(ksize)
	return p.body[start:split], p.body[split:end], nil
}

// inOrder requires low < key < high; the first key of a page may equal low.
func inOrder(p page, key, low, high []byte, first bool) error {
	c := bytes.Compare(low, key)
	if low != nil && (c > 0 || c == 0 && !first) || high != nil && bytes.Compare(key, high) >= 0 {
		return damaged(p.id, "a key is out of order")
	}
	return nil
}
