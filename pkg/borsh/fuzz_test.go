package borsh_test

import (
	"bytes"
	"testing"

	"github.com/calimero-network/mero-go/pkg/borsh"
)

// copyValue reads one value of the given kind and writes it again.
func copyValue(kind byte, d *borsh.Decoder, e *borsh.Encoder) {
	switch kind % 11 {
	case 0:
		e.U8(d.U8())
	case 1:
		e.U16(d.U16())
	case 2:
		e.U32(d.U32())
	case 3:
		e.U64(d.U64())
	case 4:
		e.U128(d.U128())
	case 5:
		e.Bool(d.Bool())
	case 6:
		some := d.Option()
		if e.Option(some); some {
			e.U32(d.U32())
		}
	case 7:
		var b [32]byte
		d.Fixed(b[:])
		e.Fixed(b[:])
	case 8:
		e.Bytes(d.Bytes())
	case 9:
		e.Str(d.Str())
	case 10:
		n := d.Len(2)
		e.Len(n)
		for range n {
			e.U16(d.U16())
		}
	}
}

// Whatever decodes under some schema is the one encoding of what was read.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{2, 9, 7, 9, 6}, []byte("\x9d\x01\x00\x80\x02\x00\x00\x00hi"))
	f.Add([]byte{9}, []byte("\x02\x00\x00\x00\xc3\xa9"))
	f.Add([]byte{9}, []byte("\x02\x00\x00\x00\xc3\x28"))
	f.Add([]byte{8, 5}, []byte("\xff\xff\xff\xff\x01"))
	f.Add([]byte{10, 0}, []byte("\x02\x00\x00\x00\x01\x00\x02\x00\x03"))
	f.Add([]byte{5, 6, 6}, []byte{1, 0, 1, 4, 3, 2, 1})
	f.Add([]byte{4, 3, 1, 0}, bytes.Repeat([]byte{0xfe}, 27))
	f.Fuzz(func(t *testing.T, schema, data []byte) {
		d, e := borsh.NewDecoder(data), borsh.NewEncoder(nil)
		for _, kind := range schema {
			copyValue(kind, d, e)
		}
		err := d.Finish()
		if err != nil && d.Finish().Error() != err.Error() {
			t.Errorf("the error changed from %v to %v", err, d.Finish())
		}
		if err != nil {
			return
		}
		if got, err := e.Finish(); err != nil || !bytes.Equal(got, data) {
			t.Errorf("schema %v: %x decodes, but encodes as %x, %v", schema, data, got, err)
		}
	})
}

// The shape that strangers' signatures are checked over.
func FuzzNEP413(f *testing.F) {
	callback := ""
	for _, p := range []payload{
		{tag: 2147484061, message: "Login", recipient: "mero.example"},
		{tag: 1, callback: &callback},
	} {
		b, err := p.encode(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePayload(data)
		if err != nil {
			return
		}
		if got, err := p.encode(nil); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%x decodes, but encodes as %x, %v", data, got, err)
		}
	})
}
