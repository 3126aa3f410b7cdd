package borsh

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// Encoder appends values to a buffer. The zero value is ready for use. The first error sticks: later calls do
// nothing and Finish returns it. An Encoder is not safe for concurrent use.
type Encoder struct {
	buf []byte
	err error
}

// NewEncoder returns an encoder that appends to buf, which spares allocations when buf has room.
func NewEncoder(buf []byte) *Encoder { return &Encoder{buf: buf} }

// Finish returns what was encoded, preceded by the buffer given to [NewEncoder]. The errors are [ErrUTF8] and
// [ErrLength].
func (e *Encoder) Finish() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	return e.buf, nil
}

// fail keeps the first error.
func (e *Encoder) fail(err error) {
	if e.err == nil {
		e.err = fmt.Errorf("borsh: encode at offset %d: %w", len(e.buf), err)
	}
}

// U8 writes one byte; also the tag of an enum.
func (e *Encoder) U8(v uint8) {
	if e.err == nil {
		e.buf = append(e.buf, v)
	}
}

// U16 writes 2 bytes.
func (e *Encoder) U16(v uint16) {
	if e.err == nil {
		e.buf = binary.LittleEndian.AppendUint16(e.buf, v)
	}
}

// U32 writes 4 bytes.
func (e *Encoder) U32(v uint32) {
	if e.err == nil {
		e.buf = binary.LittleEndian.AppendUint32(e.buf, v)
	}
}

// U64 writes 8 bytes.
func (e *Encoder) U64(v uint64) {
	if e.err == nil {
		e.buf = binary.LittleEndian.AppendUint64(e.buf, v)
	}
}

// U128 writes 16 bytes, the number hi * 2^64 + lo.
func (e *Encoder) U128(hi, lo uint64) {
	e.U64(lo)
	e.U64(hi)
}

// Bool writes 0 or 1.
func (e *Encoder) Bool(v bool) {
	var b uint8
	if v {
		b = 1
	}
	e.U8(b)
}

// Option writes the tag of an Option; if present is true, the value must follow.
func (e *Encoder) Option(present bool) { e.Bool(present) }

// Fixed writes b as it is, for [N]u8, whose length both sides know.
func (e *Encoder) Fixed(b []byte) {
	if e.err == nil {
		e.buf = append(e.buf, b...)
	}
}

// Len writes the number of elements of a Vec; that many elements must follow.
func (e *Encoder) Len(n int) {
	if n < 0 || uint64(n) > math.MaxUint32 {
		e.fail(ErrLength)
		return
	}
	e.U32(uint32(n))
}

// Bytes writes a Vec<u8>: length and bytes.
func (e *Encoder) Bytes(b []byte) {
	e.Len(len(b))
	e.Fixed(b)
}

// Str writes a String: length in bytes and the bytes, which must be UTF-8.
func (e *Encoder) Str(s string) {
	if !utf8.ValidString(s) {
		e.fail(ErrUTF8)
		return
	}
	e.Len(len(s))
	if e.err == nil {
		e.buf = append(e.buf, s...)
	}
}
