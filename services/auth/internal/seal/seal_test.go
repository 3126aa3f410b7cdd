package seal_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

// text is the base64 of a key that is made for the tests of this package.
func text(b byte) string {
	key := make([]byte, seal.KeySize)
	for i := range key {
		key[i] = b + byte(i*i*7)
	}
	return base64.StdEncoding.EncodeToString(key)
}

func master(t testing.TB, b byte) *seal.Master {
	t.Helper()
	m, err := seal.OpenMaster(seal.Source{Text: text(b)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sealer(t testing.TB, b byte, purpose string) *seal.Sealer {
	t.Helper()
	s, err := master(t, b).Sealer(purpose)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var place = seal.Place{Key: "system:secrets:access", Kind: "access", Version: 1}

func TestSeal_RoundTrip(t *testing.T) {
	s := sealer(t, 1, "secrets")
	seen := map[string]bool{}
	for _, plain := range []string{"", "x", "secret", strings.Repeat("long ", 10_000)} {
		for range 3 {
			sealed := s.Seal(place, []byte(plain))
			if seen[sealed] {
				t.Error("two texts are equal: the nonce is not random")
			}
			seen[sealed] = true
			if len(plain) > 4 && strings.Contains(sealed, plain) {
				t.Errorf("the text contains its content: %q", sealed)
			}
			if quoted, err := json.Marshal(sealed); err != nil || string(quoted) != `"`+sealed+`"` {
				t.Errorf("the text needs escapes in JSON: %s, %v", quoted, err)
			}
			got, err := sealer(t, 1, "secrets").Open(place, sealed) // a sealer derived anew, as after a restart
			if err != nil || string(got) != plain {
				t.Errorf("Open = %.20q, %v, want %.20q", got, err, plain)
			}
		}
	}
}

// knownAnswer was made by another implementation (Python's cryptography) from the description.
const knownAnswer = "s1.F4lVMGZrJ1o.AAECAwQFBgcICQoLLSfdnnTlWONx9gfKgA_RTLN8lxBsZEgAynQLpQ"

// TestOpen_KnownAnswer pins the format: stores written by one version must open in the next.
func TestOpen_KnownAnswer(t *testing.T) {
	got, err := sealer(t, 1, "secrets").Open(place, knownAnswer)
	if err != nil || string(got) != "known answer" {
		t.Errorf("Open = %q, %v, want \"known answer\"", got, err)
	}
}

func TestOpen_OtherPlaceRefused(t *testing.T) {
	s := sealer(t, 1, "secrets")
	sealed := s.Seal(seal.Place{Key: "ab", Kind: "c", Version: 1}, []byte("secret"))
	for _, at := range []seal.Place{
		{Key: "ab_backup", Kind: "c", Version: 1},
		{Key: "ab", Kind: "d", Version: 1},
		{Key: "ab", Kind: "c", Version: 2},
		{Key: "a", Kind: "bc", Version: 1}, // the same bytes in a row
		{Key: "abc", Kind: "", Version: 1},
		{},
	} {
		if got, err := s.Open(at, sealed); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("Open at %+v = %q, %v, want ErrCorrupt", at, got, err)
		}
	}
}

func TestOpen_OtherKeyRefused(t *testing.T) {
	sealed := sealer(t, 1, "secrets").Seal(place, []byte("secret"))
	for name, s := range map[string]*seal.Sealer{"master": sealer(t, 2, "secrets"), "purpose": sealer(t, 1, "export")} {
		if got, err := s.Open(place, sealed); !errors.Is(err, seal.ErrWrongMaster) || errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("Open with another %s = %q, %v, want ErrWrongMaster", name, got, err)
		}
	}
}

// TestOpen_TamperedTextRefused changes every byte, and the length.
func TestOpen_TamperedTextRefused(t *testing.T) {
	s := sealer(t, 1, "secrets")
	sealed := s.Seal(place, []byte("secret"))
	refused := func(what, text string) {
		t.Helper()
		if got, err := s.Open(place, text); !errors.Is(err, seal.ErrCorrupt) && !errors.Is(err, seal.ErrWrongMaster) {
			t.Errorf("%s: Open(%q) = %q, %v, want a refusal", what, text, got, err)
		}
	}
	for i := range sealed {
		for _, c := range []byte{'A', 'b', '.', '\n', '=', sealed[i] ^ 1, sealed[i] ^ 0x80} {
			if c != sealed[i] {
				refused(fmt.Sprintf("byte %d", i), sealed[:i]+string([]byte{c})+sealed[i+1:])
			}
		}
		refused("cut", sealed[:i])
	}
	body := sealed[strings.LastIndex(sealed, ".")+1:]
	refused("longer", sealed+"AAAA")
	refused("spare bits set", sealed[:len(sealed)-1]+string(sealed[len(sealed)-1]+1)) // the last character ends in them
	refused("trailing part", sealed+".x")
	refused("padded", sealed+"=")
	refused("newer format", "s2"+sealed[2:])
	refused("without the check value", "s1."+body)
	refused("nothing", "")
	refused("dots", "s1..")
}

func TestMasterAndSealer_NeverPrint(t *testing.T) {
	m, s := master(t, 1), sealer(t, 1, "secrets")
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, v := range []any{m, *m, &m, s, *s, &s, []any{m, *m}, struct{ M seal.Master }{*m}} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).InfoContext(t.Context(), "values", "master", m, "sealer", s, "struct", struct{ M *seal.Master }{m})
	}
	encoded, err := json.Marshal(map[string]any{"m": m, "s": s})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	key, err := base64.StdEncoding.DecodeString(text(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{
		text(1), string(key), hex.EncodeToString(key[:4]), fmt.Sprintf("%d %d %d", key[0], key[1], key[2]),
		fmt.Sprintf("%#x, %#x", key[0], key[1]),
	} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("the key is printed: %s", &out)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := sealer(f, 1, "secrets")
	good := s.Seal(place, []byte("secret"))
	f.Add(good)
	f.Add(knownAnswer)
	f.Add(good[:len(good)-1])
	f.Add("s1.")
	f.Add("s1." + strings.Repeat("A", 11) + ".")
	f.Add("s2" + good[2:])
	f.Fuzz(func(t *testing.T, text string) {
		plain, err := s.Open(place, text)
		switch {
		case err != nil && !errors.Is(err, seal.ErrCorrupt) && !errors.Is(err, seal.ErrWrongMaster):
			t.Errorf("Open(%q) = %v", text, err)
		case err == nil && string(plain) != "secret" && string(plain) != "known answer": // those were sealed with this key
			t.Errorf("Open(%q) = %q: forged", text, plain)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	s := sealer(b, 1, "secrets")
	text := s.Seal(place, make([]byte, 4096))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(place, text); err != nil {
			b.Fatal(err)
		}
	}
}
