package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The bbolt file format, version 2, as far as it is checked here. Integers are in the byte order of the machine.
//
//	page    id u64 · flags u16 · count u16 · overflow u32 · content
//	meta    magic u32 · version u32 · page size u32 · flags u32 · root page u64 · sequence u64 ·
//	        free list page u64 · page count u64 · transaction u64 · FNV-1a of the preceding u64
const (
	magic      = 0xED0CDAED
	version    = 2
	noFreelist = 1<<64 - 1

	pageHeader = 16
	metaSize   = 64
	metaSummed = 56

	minPageSize = 1 << 10
	maxPageSize = 1 << 24
	maxPages    = 1 << 38
)

// meta is one of the two roots of the file; the valid one with the higher transaction counts.
type meta struct {
	pageSize, root, freelist, pages, txid uint64

	alone bool // the other one is damaged
}

// readMeta returns the root that bbolt will use. A file without one is told apart as foreign or damaged.
func readMeta(r io.ReaderAt, size int64) (meta, error) {
	if size == 0 {
		return meta{}, fmt.Errorf("%w: the file is empty, which this service never leaves; restore a backup, or remove the file to start anew", ErrCorrupt)
	}
	first, firstErr := metaAt(r, 0)
	var second meta
	var secondErr error
	if firstErr == nil {
		second, secondErr = metaAt(r, int64(first.pageSize)) //nolint:gosec // at most maxPageSize
	} else {
		second, secondErr = searchMeta(r, firstErr)
	}
	m := first
	switch {
	case firstErr != nil && secondErr != nil:
		return meta{}, explain(r, secondErr)
	case firstErr != nil, secondErr == nil && second.txid > first.txid:
		m = second
	}
	m.alone = firstErr != nil || secondErr != nil
	if need := m.pages * m.pageSize; m.pages > maxPages || uint64(size) < need { //nolint:gosec // a size is not negative
		return meta{}, fmt.Errorf("%w: the file is cut off, %d of %d bytes", ErrCorrupt, size, need)
	}
	return m, nil
}

// searchMeta finds the second meta page when the first cannot tell the page size. Without one it returns the most
// telling error: one that has seen the magic number.
func searchMeta(r io.ReaderAt, telling error) (meta, error) {
	for at := int64(minPageSize); at <= maxPageSize; at *= 2 {
		m, err := metaAt(r, at)
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, ErrNotDatabase) && errors.Is(telling, ErrNotDatabase) {
			telling = err
		}
	}
	return meta{}, telling
}

// metaAt reads the meta page that starts at offset.
func metaAt(r io.ReaderAt, offset int64) (meta, error) {
	b := make([]byte, metaSize)
	n, err := r.ReadAt(b, offset+pageHeader)
	if n < len(b) && !errors.Is(err, io.EOF) {
		return meta{}, err // the disk, not the content
	}
	order := binary.NativeEndian
	if order.Uint32(b) != magic {
		return meta{}, fmt.Errorf("%w: it lacks the mark of a bbolt file", ErrNotDatabase)
	}
	if n < len(b) {
		return meta{}, fmt.Errorf("%w: the file is cut off within a meta page", ErrCorrupt)
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSummed])
	if sum.Sum64() != order.Uint64(b[metaSummed:]) {
		return meta{}, fmt.Errorf("%w: no meta page with a right checksum", ErrCorrupt)
	}
	if v := order.Uint32(b[4:]); v != version {
		return meta{}, fmt.Errorf("%w: it is of the unknown bbolt version %d", ErrNotDatabase, v)
	}
	m := meta{
		pageSize: uint64(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		pages:    order.Uint64(b[40:]),
		txid:     order.Uint64(b[48:]),
	}
	if m.pageSize < minPageSize || m.pageSize > maxPageSize {
		return meta{}, fmt.Errorf("%w: page size %d", ErrCorrupt, m.pageSize)
	}
	return m, nil
}

// explain refines the error for a file without a valid meta page: zeros are what a power cut leaves of a file.
func explain(r io.ReaderAt, err error) error {
	head := make([]byte, os.Getpagesize())
	n, readErr := r.ReadAt(head, 0)
	if readErr != nil && !errors.Is(readErr, io.EOF) {
		return readErr
	}
	if len(bytes.Trim(head[:n], "\x00")) == 0 {
		return fmt.Errorf("%w: it begins with zeros", ErrCorrupt)
	}
	return err
}
