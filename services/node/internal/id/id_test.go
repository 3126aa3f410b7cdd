package id_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// texts pairs values with their base58 form: the zero value, the largest value, and SHA-256 of nothing.
var texts = []struct {
	value id.ID
	text  string
}{
	{id.ID{}, "11111111111111111111111111111111"},
	{id.ID(bytes.Repeat([]byte{0xff}, id.Size)), "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG"},
	{id.ID{
		0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
		0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
	}, "GKot5hBsd81kMupNCXHaqbhv3huEbxAFMLnpcX2hniwn"},
}

func TestTextForm(t *testing.T) {
	for _, tt := range texts {
		if got := tt.value.String(); got != tt.text {
			t.Errorf("String of %x = %q, want %q", tt.value[:], got, tt.text)
		}
		if got, err := id.Parse(tt.text); err != nil || got != tt.value {
			t.Errorf("Parse(%q) = %x, %v, want %x", tt.text, got[:], err, tt.value[:])
		}
	}
}

func TestParse_Refuses(t *testing.T) {
	for _, s := range []string{
		"", "x", "11111111111111111111111111111111" + "1", "1111111111111111111111111111111",
		"0EKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG",   // 0 is not of the alphabet
		"JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFH",   // 2^256
		" EKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG",   // blank
		"JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWx\xff", // not ASCII
		strings.Repeat("z", 1<<20),
	} {
		if got, err := id.Parse(s); !errors.Is(err, id.ErrInvalid) {
			t.Errorf("Parse(%.50q) = %v, %v, want ErrInvalid", s, got, err)
		}
	}
}

func TestJSON(t *testing.T) {
	in := map[string]id.ID{"id": texts[2].value}
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"id":"`+texts[2].text+`"}` {
		t.Fatalf("Marshal = %s, %v", b, err)
	}
	var out map[string]id.ID
	if err := json.Unmarshal(b, &out); err != nil || out["id"] != in["id"] {
		t.Errorf("Unmarshal = %v, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"id":"short"}`), &out); !errors.Is(err, id.ErrInvalid) {
		t.Errorf("Unmarshal of a bad id: %v, want ErrInvalid", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range texts {
		f.Add(tt.text)
	}
	f.Add("0")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := id.Parse(s)
		if err == nil && v.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, v.String())
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := id.Parse(texts[2].text); err != nil {
			b.Fatal(err)
		}
	}
}
