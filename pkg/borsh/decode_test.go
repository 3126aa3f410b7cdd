package borsh_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/borsh"
)

func TestDecode_Values(t *testing.T) {
	d := borsh.NewDecoder(unhex(t, "fe"+"0201"+"9d010080"+"0807060504030201"+"02000000000000000100000000000000"+
		"0100"+"00"+"0107"+"0102"+"02000000"+"01000200"+"020000006869"+"02000000c3a9"+"00000000"))
	if v := d.U8(); v != 0xfe {
		t.Errorf("U8 = %#x", v)
	}
	if v := d.U16(); v != 0x0102 {
		t.Errorf("U16 = %#x", v)
	}
	if v := d.U32(); v != 2147484061 {
		t.Errorf("U32 = %d", v)
	}
	if v := d.U64(); v != 0x0102030405060708 {
		t.Errorf("U64 = %#x", v)
	}
	if hi, lo := d.U128(); hi != 1 || lo != 2 {
		t.Errorf("U128 = %d, %d", hi, lo)
	}
	if a, b := d.Bool(), d.Bool(); !a || b {
		t.Errorf("bools = %v, %v", a, b)
	}
	if d.Option() {
		t.Error("None is some")
	}
	if !d.Option() || d.U8() != 7 {
		t.Error("Some(7) is not")
	}
	var fixed [2]byte
	if d.Fixed(fixed[:]); fixed != [2]byte{1, 2} {
		t.Errorf("Fixed = %x", fixed)
	}
	if n, a, b := d.Len(2), d.U16(), d.U16(); n != 2 || a != 1 || b != 2 {
		t.Errorf("vec = %d: %d, %d", n, a, b)
	}
	if v := d.Bytes(); string(v) != "hi" {
		t.Errorf("Bytes = %q", v)
	}
	if v := d.Str(); v != "é" {
		t.Errorf("Str = %q", v)
	}
	if v := d.Bytes(); v == nil || len(v) != 0 {
		t.Errorf("empty Bytes = %#v", v)
	}
	if err := d.Finish(); err != nil {
		t.Error(err)
	}
}

func TestDecode_RefusesOtherEncodings(t *testing.T) {
	for _, c := range []struct {
		name, in string
		read     func(d *borsh.Decoder)
		want     error
		place    string
	}{
		{"nothing of u8", "", func(d *borsh.Decoder) { d.U8() }, borsh.ErrShort, "offset 0"},
		{"half a u16", "01", func(d *borsh.Decoder) { d.U16() }, borsh.ErrShort, "offset 0"},
		{"3 bytes of u32", "01020304050607", func(d *borsh.Decoder) { d.U32(); d.U32() }, borsh.ErrShort, "offset 4"},
		{"7 bytes of u64", "01020304050607", func(d *borsh.Decoder) { d.U64() }, borsh.ErrShort, "offset 0"},
		{"8 bytes of u128", "0102030405060708", func(d *borsh.Decoder) { d.U128() }, borsh.ErrShort, "offset 0"},
		{"31 bytes of 32", strings.Repeat("00", 31), func(d *borsh.Decoder) { d.Fixed(make([]byte, 32)) }, borsh.ErrShort, "offset 0"},
		{"bool 2", "0002", func(d *borsh.Decoder) { d.Bool(); d.Bool() }, borsh.ErrBool, "offset 1"},
		{"bool 255", "ff", func(d *borsh.Decoder) { d.Bool() }, borsh.ErrBool, "offset 0"},
		{"option 2", "02", func(d *borsh.Decoder) { d.Option() }, borsh.ErrOption, "offset 0"},
		{"no option tag", "", func(d *borsh.Decoder) { d.Option() }, borsh.ErrShort, "offset 0"},
		{"string one byte short", "0300000061ff", func(d *borsh.Decoder) { d.Str() }, borsh.ErrLength, "offset 0"},
		{"string of 4 GiB", "ffffffff61", func(d *borsh.Decoder) { d.Str() }, borsh.ErrLength, "offset 0"},
		{"bytes of 4 GiB", "ffffffff61", func(d *borsh.Decoder) { d.Bytes() }, borsh.ErrLength, "offset 0"},
		{"string not UTF-8", "0000000002000000c328", func(d *borsh.Decoder) { d.Str(); d.Str() }, borsh.ErrUTF8, "offset 4"},
		{"string with a surrogate", "03000000eda080", func(d *borsh.Decoder) { d.Str() }, borsh.ErrUTF8, "offset 0"},
		{"overlong UTF-8", "02000000c0af", func(d *borsh.Decoder) { d.Str() }, borsh.ErrUTF8, "offset 0"},
		{"vec of 2 hashes in 63 bytes", "02000000" + strings.Repeat("00", 63), func(d *borsh.Decoder) { d.Len(32) }, borsh.ErrLength, "offset 0"},
		{"vec of nothings", "01000000", func(d *borsh.Decoder) { d.Len(0) }, borsh.ErrLength, "offset 0"},
		{"trailing byte", "0100", func(d *borsh.Decoder) { d.U8() }, borsh.ErrTrailing, "offset 1"},
		{"nothing read", "00", func(*borsh.Decoder) {}, borsh.ErrTrailing, "offset 0"},
		{"first of two errors", "02", func(d *borsh.Decoder) { d.Bool(); d.U64() }, borsh.ErrBool, "offset 0"},
	} {
		d := borsh.NewDecoder(unhex(t, c.in))
		c.read(d)
		err := d.Finish()
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.place) {
			t.Errorf("%s: %v, want %v at %s", c.name, err, c.want, c.place)
		}
	}
}

func TestDecode_ZeroValuesAfterAnError(t *testing.T) {
	d := borsh.NewDecoder([]byte{2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	if d.Bool() {
		t.Error("2 is true")
	}
	if d.Err() == nil {
		t.Fatal("no error after a bad bool")
	}
	fixed := []byte{9}
	d.Fixed(fixed)
	hi, lo := d.U128()
	if d.U8() != 0 || d.U16() != 0 || d.U32() != 0 || d.U64() != 0 || hi != 0 || lo != 0 || d.Bool() || d.Option() ||
		d.Len(1) != 0 || d.Bytes() != nil || d.Str() != "" || fixed[0] != 9 {
		t.Error("something is read after an error")
	}
	if err := d.Finish(); !errors.Is(err, borsh.ErrBool) {
		t.Errorf("Finish = %v, want the first error", err)
	}
}

// The length of a Vec decides how much a caller allocates.
func TestDecode_LengthBombIsRefusedBeforeAllocating(t *testing.T) {
	data := append([]byte{0xff, 0xff, 0xff, 0x7f}, bytes.Repeat([]byte{0}, 64)...)
	for _, elemSize := range []int{1, 32} {
		d := borsh.NewDecoder(data)
		if n := d.Len(elemSize); n != 0 || !errors.Is(d.Err(), borsh.ErrLength) {
			t.Errorf("Len(%d) = %d, %v", elemSize, n, d.Err())
		}
	}
}

func TestDecode_BytesDoNotReachWhatFollows(t *testing.T) {
	data := unhex(t, "0200000061620300")
	d := borsh.NewDecoder(data)
	b := append(d.Bytes(), 0xff)
	if got := d.U16(); string(b) != "ab\xff" || got != 3 {
		t.Errorf("appending to Bytes changed what follows: %x, %d", b, got)
	}
}
