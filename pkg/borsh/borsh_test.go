package borsh_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/borsh"
)

// payload is the message that NEAR wallets sign (NEP-413), behind its 32-bit tag.
type payload struct {
	tag       uint32
	message   string
	nonce     [32]byte
	recipient string
	callback  *string
}

func (p payload) encode(buf []byte) ([]byte, error) {
	e := borsh.NewEncoder(buf)
	e.U32(p.tag)
	e.Str(p.message)
	e.Fixed(p.nonce[:])
	e.Str(p.recipient)
	e.Option(p.callback != nil)
	if p.callback != nil {
		e.Str(*p.callback)
	}
	return e.Finish()
}

func decodePayload(data []byte) (payload, error) {
	d := borsh.NewDecoder(data)
	var p payload
	p.tag = d.U32()
	p.message = d.Str()
	d.Fixed(p.nonce[:])
	p.recipient = d.Str()
	if d.Option() {
		s := d.Str()
		p.callback = &s
	}
	return p, d.Finish()
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What wallets' own libraries encoded and signed, both ways.
func TestNEP413_PreimagesOfWallets(t *testing.T) {
	var file struct {
		Tag     uint32 `json:"tag"`
		Vectors []struct {
			Name     string  `json:"name"`
			Message  string  `json:"message_hex"`
			Nonce    string  `json:"nonce_hex"`
			Receiver string  `json:"recipient"`
			Callback *string `json:"callbackUrl"`
			Preimage string  `json:"borsh_payload_with_tag_hex"`
			Digest   string  `json:"sha256_hex"`
		} `json:"vectors"`
	}
	data, err := os.ReadFile("testdata/nep413.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) != 10 {
		t.Fatalf("%d vectors, want 10", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			p := payload{tag: file.Tag, message: string(unhex(t, v.Message)), recipient: v.Receiver, callback: v.Callback}
			copy(p.nonce[:], unhex(t, v.Nonce))
			want := unhex(t, v.Preimage)
			got, err := p.encode(nil)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("encoded %x, %v, want %x", got, err, want)
			}
			if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != v.Digest {
				t.Errorf("sha256 = %x, want %s", sum, v.Digest)
			}
			back, err := decodePayload(want)
			sameCallback := (back.callback == nil) == (p.callback == nil) && (p.callback == nil || *back.callback == *p.callback)
			back.callback, p.callback = nil, nil
			if err != nil || back != p || !sameCallback {
				t.Errorf("decoded %+v, %v, want %+v", back, err, p)
			}
			for n := range want {
				if _, err := decodePayload(want[:n]); err == nil {
					t.Errorf("the first %d of %d bytes decode", n, len(want))
				}
			}
			if _, err := decodePayload(append(want, 0)); !errors.Is(err, borsh.ErrTrailing) {
				t.Errorf("with a byte behind it: %v", err)
			}
		})
	}
}

func TestEncode_Layouts(t *testing.T) {
	id := bytes.Repeat([]byte{0xab}, 32)
	for _, c := range []struct {
		name   string
		encode func(e *borsh.Encoder)
		want   string
	}{
		{"nothing", func(*borsh.Encoder) {}, ""},
		{"u8", func(e *borsh.Encoder) { e.U8(0xfe) }, "fe"},
		{"u16", func(e *borsh.Encoder) { e.U16(0x0102) }, "0201"},
		{"u32", func(e *borsh.Encoder) { e.U32(2147484061) }, "9d010080"},
		{"u64", func(e *borsh.Encoder) { e.U64(0x0102030405060708) }, "0807060504030201"},
		{"u128", func(e *borsh.Encoder) { e.U128(1, 2) }, "0200000000000000" + "0100000000000000"},
		{"bools", func(e *borsh.Encoder) { e.Bool(true); e.Bool(false) }, "0100"},
		{"none", func(e *borsh.Encoder) { e.Option(false) }, "00"},
		{"some u8", func(e *borsh.Encoder) { e.Option(true); e.U8(7) }, "0107"},
		{"fixed", func(e *borsh.Encoder) { e.Fixed([]byte{1, 2}) }, "0102"},
		{"empty vec", func(e *borsh.Encoder) { e.Len(0) }, "00000000"},
		{"vec of u16", func(e *borsh.Encoder) { e.Len(2); e.U16(1); e.U16(2) }, "0200000001000200"},
		{"bytes", func(e *borsh.Encoder) { e.Bytes([]byte("hi")) }, "020000006869"},
		{"string counts bytes", func(e *borsh.Encoder) { e.Str("é") }, "02000000c3a9"},
		{"empty string", func(e *borsh.Encoder) { e.Str("") }, "00000000"},
		// Application id: blob id, size, source, metadata.
		{"application", func(e *borsh.Encoder) {
			e.Fixed(id)
			e.U64(300)
			e.Str("file:///a")
			e.Bytes([]byte("{}"))
		}, hex.EncodeToString(id) + "2c01000000000000" + "09000000" + hex.EncodeToString([]byte("file:///a")) + "020000007b7d"},
		// Open invitation: inviter, context, expiry in Unix seconds, salt.
		{"invitation", func(e *borsh.Encoder) {
			e.Fixed(id)
			e.Fixed(id)
			e.U64(1760000000)
			e.Fixed(id)
		}, strings.Repeat("ab", 64) + "0078e76800000000" + strings.Repeat("ab", 32)},
	} {
		var e borsh.Encoder
		c.encode(&e)
		got, err := e.Finish()
		if hex.EncodeToString(got) != c.want || err != nil {
			t.Errorf("%s = %x, %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestEncode_FirstErrorSticks(t *testing.T) {
	for name, c := range map[string]struct {
		encode func(e *borsh.Encoder)
		want   error
	}{
		"string of other bytes": {func(e *borsh.Encoder) { e.Str("a\xff") }, borsh.ErrUTF8},
		"surrogate in a string": {func(e *borsh.Encoder) { e.Str("\xed\xa0\x80") }, borsh.ErrUTF8},
		"negative length":       {func(e *borsh.Encoder) { e.Len(-1) }, borsh.ErrLength},
		"first of two":          {func(e *borsh.Encoder) { e.Len(-1); e.Str("\xff") }, borsh.ErrLength},
	} {
		e := borsh.NewEncoder([]byte("before"))
		c.encode(e)
		e.U8(1)
		e.U16(1)
		e.U32(1)
		e.U64(1)
		e.U128(1, 1)
		e.Bool(true)
		e.Fixed([]byte{1})
		e.Bytes([]byte{1})
		e.Str("x")
		got, err := e.Finish()
		if got != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %x, %v, want %v", name, got, err, c.want)
		}
		if !strings.Contains(err.Error(), "offset 6") {
			t.Errorf("%s: %v does not tell the place", name, err)
		}
	}
}

func TestEncode_LengthsBeyond32Bits(t *testing.T) {
	limit := uint64(math.MaxUint32)
	if limit > math.MaxInt {
		return // no int of this platform is too long
	}
	var e borsh.Encoder
	e.Len(int(limit))
	if _, err := e.Finish(); err != nil {
		t.Errorf("Len(%d): %v", limit, err)
	}
	e.Len(int(limit + 1))
	if _, err := e.Finish(); !errors.Is(err, borsh.ErrLength) {
		t.Errorf("Len(%d): %v, want ErrLength", limit+1, err)
	}
}

func TestEncode_AppendsWithoutAllocating(t *testing.T) {
	callback := "https://app.example/callback"
	p := payload{tag: 1, message: "hello", recipient: "mero.example", callback: &callback}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := p.encode(buf); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("encoding into a buffer with room allocates %v times", n)
	}
}
