package runtime

import (
	"errors"
	"math"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"
)

// The parts of the WebAssembly 2.0 binary format that [instrument] needs (https://www.w3.org/TR/wasm-core-2/#binary).

// The sections, by their ids.
const (
	sectionCustom byte = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
	sections
)

// sectionOrder is the order in which sections come.
var sectionOrder = []byte{
	sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal, sectionExport,
	sectionStart, sectionElement, sectionDataCount, sectionCode, sectionData,
}

// The instructions that are looked at or written.
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opFirstLoad    = 0x28
	opLastStore    = 0x3e
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32GtU       = 0x4b
	opI64LtS       = 0x53
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI64Sub       = 0x7d
	opLastNumeric  = 0xc4
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd

	emptyBlock = 0x40

	typeI32     = api.ValueTypeI32
	typeI64     = api.ValueTypeI64
	typeV128    = 0x7b
	typeFuncref = 0x70
	typeExtern  = api.ValueTypeExternref
)

const (
	kindFunction byte = iota
	kindTable
	kindMemory
	kindGlobal
)

var (
	errTruncated = errors.New("it ends too early")
	errNumber    = errors.New("a number is malformed")
)

// cursor reads a binary. After its first error it reads nothing but zeros.
type cursor struct {
	b   []byte
	off int
	err error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
		c.off = len(c.b)
	}
}

func (c *cursor) more() bool { return c.off < len(c.b) }

func (c *cursor) byte() byte {
	if !c.more() {
		c.fail(errTruncated)
		return 0
	}
	c.off++
	return c.b[c.off-1]
}

func (c *cursor) take(n uint32) []byte {
	if int64(n) > int64(len(c.b)-c.off) {
		c.fail(errTruncated)
		return nil
	}
	from := c.off
	c.off += int(n)
	return c.b[from:c.off:c.off]
}

// u32 reads an unsigned LEB128 number of up to 32 bits.
func (c *cursor) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := c.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > math.MaxUint32 {
				c.fail(errNumber)
				return 0
			}
			return uint32(v)
		}
	}
	c.fail(errNumber)
	return 0
}

// skipNumber passes over a LEB128 number of at most n bytes.
func (c *cursor) skipNumber(n int) {
	for range n {
		if c.byte() < 0x80 {
			return
		}
	}
	c.fail(errNumber)
}

// count reads the length of a vector whose elements have at least one byte each.
func (c *cursor) count() int {
	n := c.u32()
	if int64(n) > int64(len(c.b)-c.off) {
		c.fail(errTruncated)
		return 0
	}
	return int(n)
}

func (c *cursor) name() string {
	b := c.take(c.u32())
	if !utf8.Valid(b) {
		c.fail(errors.New("a name is not UTF-8"))
	}
	return string(b)
}

// since returns what was read from off on.
func (c *cursor) since(off int) []byte {
	if c.err != nil {
		return nil
	}
	return c.b[off:c.off]
}

// valueType reads a value type of WebAssembly 2.0.
func (c *cursor) valueType() byte {
	b := c.byte()
	switch b {
	case typeI32, typeI64, api.ValueTypeF32, api.ValueTypeF64, typeV128, typeFuncref, typeExtern:
	default:
		c.fail(errors.New("a value type is unknown"))
	}
	return b
}

// funcType is the type of a function.
type funcType struct{ params, results []byte }

func (t funcType) empty() bool { return len(t.params) == 0 && len(t.results) == 0 }

// maxArity bounds the parameters and the results of a function type, as browsers do.
const maxArity = 1000

func (c *cursor) funcType() (t funcType) {
	if c.byte() != 0x60 {
		c.fail(errors.New("a type is not that of a function"))
	}
	for _, list := range []*[]byte{&t.params, &t.results} {
		n := c.count()
		if n > maxArity {
			c.fail(errors.New("a function has too many parameters or results"))
			return t
		}
		for range n {
			*list = append(*list, c.valueType())
		}
	}
	return t
}

// appendU32 appends an unsigned LEB128 number.
func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// appendS64 appends a signed LEB128 number.
func appendS64(b []byte, v int64) []byte {
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

// costWidth is the width of a cost, which is written when its block has been read: a padded signed LEB128 number.
const costWidth = 6

// putCost writes a cost of less than 2^40.
func putCost(b []byte, v uint64) {
	for i := range costWidth - 1 {
		b[i] = byte(v)&0x7f | 0x80
		v >>= 7
	}
	b[costWidth-1] = byte(v) & 0x3f
}

func appendSection(b []byte, section byte, content []byte) []byte {
	b = append(b, section)
	b = appendU32(b, uint32(len(content))) //nolint:gosec // modules have far less than 4 GiB
	return append(b, content...)
}

func appendName(b []byte, s string) []byte {
	b = appendU32(b, uint32(len(s))) //nolint:gosec // our own short names, and parts of a module
	return append(b, s...)
}

func appendFuncType(b []byte, t funcType) []byte {
	b = append(b, 0x60)
	for _, list := range [][]byte{t.params, t.results} {
		b = appendU32(b, uint32(len(list))) //nolint:gosec // at most maxArity
		b = append(b, list...)
	}
	return b
}
