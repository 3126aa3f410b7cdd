package borsh

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Decoder reads values in order. The first error sticks: later calls return zero values, so a struct can be read
// field by field and checked once with [Decoder.Finish]. Nothing is allocated on the word of a length before the
// bytes are known to be there. A Decoder is not safe for concurrent use.
type Decoder struct {
	data []byte
	off  int
	err  error
}

// NewDecoder returns a decoder for data, which it does not copy or change.
func NewDecoder(data []byte) *Decoder { return &Decoder{data: data} }

// Err returns the first error so far, for loops that want to stop early.
func (d *Decoder) Err() error { return d.err }

// Finish returns the first error, or [ErrTrailing] if not all of the input was read. Values read before are to
// be used only if it returns nil.
func (d *Decoder) Finish() error {
	if d.err == nil && d.off != len(d.data) {
		d.fail(ErrTrailing, d.off)
	}
	return d.err
}

// fail keeps the first error.
func (d *Decoder) fail(err error, offset int) {
	if d.err == nil {
		d.err = fmt.Errorf("borsh: decode at offset %d: %w", offset, err)
	}
}

// take returns the next n bytes, nil after an error.
func (d *Decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n > len(d.data)-d.off {
		d.fail(ErrShort, d.off)
		return nil
	}
	b := d.data[d.off : d.off+n : d.off+n]
	d.off += n
	return b
}

// U8 reads one byte; also the tag of an enum, whose value the caller checks.
func (d *Decoder) U8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 reads 2 bytes.
func (d *Decoder) U16() uint16 {
	if b := d.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// U32 reads 4 bytes.
func (d *Decoder) U32() uint32 {
	if b := d.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// U64 reads 8 bytes.
func (d *Decoder) U64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// U128 reads 16 bytes, the number hi * 2^64 + lo.
func (d *Decoder) U128() (hi, lo uint64) {
	b := d.take(16)
	if b == nil {
		return 0, 0
	}
	return binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b)
}

// Bool reads 0 or 1.
func (d *Decoder) Bool() bool { return d.flag(ErrBool) }

// Option reads the tag of an Option; if it is true, the value follows.
func (d *Decoder) Option() bool { return d.flag(ErrOption) }

func (d *Decoder) flag(otherwise error) bool {
	v := d.U8()
	if v > 1 {
		d.fail(otherwise, d.off-1)
	}
	return v == 1
}

// Fixed fills dst, for [N]u8. After an error dst is left alone.
func (d *Decoder) Fixed(dst []byte) { copy(dst, d.take(len(dst))) }

// Len reads the number of elements of a Vec of which each takes at least elemSize bytes (at least 1; elements
// of no size are not allowed in Borsh). More elements than the rest of the input can hold are [ErrLength], so
// that the result may be used to size a slice.
func (d *Decoder) Len(elemSize int) int {
	at := d.off
	n := d.U32()
	if d.err != nil {
		return 0
	}
	if rest := len(d.data) - d.off; elemSize < 1 || uint64(n) > uint64(rest/elemSize) { //nolint:gosec // rest is not negative
		d.fail(ErrLength, at)
		return 0
	}
	return int(n)
}

// Bytes reads a Vec<u8>. The result is a part of the decoder's input, not a copy, and must not be changed; it
// is nil only after an error.
func (d *Decoder) Bytes() []byte { return d.take(d.Len(1)) }

// Str reads a String, which must be UTF-8.
func (d *Decoder) Str() string {
	at := d.off
	b := d.Bytes()
	if !utf8.Valid(b) {
		d.fail(ErrUTF8, at)
		return ""
	}
	return string(b)
}
