package assertion_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/assertion"
)

func TestParseKeys_RoundTrip(t *testing.T) {
	keys := []assertion.Key{testKey(t, 0), assertion.GenerateKey(), testKey(t, 9)}
	text := assertion.FormatKeys(keys...)
	for _, body := range [][]byte{text, bytes.TrimSuffix(text, []byte("\n"))} {
		got, err := assertion.ParseKeys(body)
		if err != nil {
			t.Fatalf("ParseKeys(%q): %v", body, err)
		}
		if len(got) != len(keys) {
			t.Fatalf("ParseKeys returned %d keys, want %d", len(got), len(keys))
		}
		for i := range got {
			if got[i] != keys[i] {
				t.Errorf("key %d = %v, want %v", i, got[i], keys[i])
			}
		}
	}
	if got := testRing(t, keys...).Keys(); len(got) != 3 || got[0] != keys[0] || got[2] != keys[2] {
		t.Errorf("Keys = %v, want %v", got, keys)
	}
}

func TestParseKeys_Refused(t *testing.T) {
	const (
		kid = "630dcd29"
		key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	)
	if _, err := assertion.ParseKeys([]byte(kid + " " + key)); err != nil {
		t.Fatalf("the line that the cases mutate is itself refused: %v", err)
	}
	many := make([]assertion.Key, 17)
	for i := range many {
		many[i] = testKey(t, byte(i))
	}
	tests := map[string]string{
		"empty":                    "",
		"only a line feed":         "\n",
		"blank line in front":      "\n" + kid + " " + key,
		"blank line at the end":    kid + " " + key + "\n\n",
		"comment":                  "# key\n" + kid + " " + key,
		"kid of another key":       "630dcd2a " + key,
		"kid in upper case":        "630DCD29 " + key,
		"short kid":                "630dcd2 " + key,
		"no kid":                   key,
		"no key":                   kid,
		"empty key":                kid + " ",
		"31 bytes":                 kid + " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
		"33 bytes":                 kid + " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
		"no padding":               kid + " " + strings.TrimSuffix(key, "="),
		"stray last bits":          kid + " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",
		"url alphabet":             kid + " --ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"carriage return":          kid + " " + key + "\r\n",
		"tabulator":                kid + "\t" + key,
		"two blanks":               kid + "  " + key,
		"trailing blank":           kid + " " + key + " ",
		"leading blank":            " " + kid + " " + key,
		"third column":             kid + " " + key + " first",
		"line feed inside the key": kid + " " + key[:20] + "\n" + key[20:],
		"same key twice":           kid + " " + key + "\n" + kid + " " + key,
		"17 keys":                  string(assertion.FormatKeys(many...)),
		"a byte order mark":        "\ufeff" + kid + " " + key,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := assertion.ParseKeys([]byte(text))
			if !errors.Is(err, assertion.ErrKeyFile) {
				t.Fatalf("ParseKeys(%.60q) = %v, want ErrKeyFile", text, err)
			}
			if strings.Contains(err.Error(), key[:20]) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestNewRing_Refused(t *testing.T) {
	many := make([]assertion.Key, 17)
	for i := range many {
		many[i] = testKey(t, byte(i))
	}
	for name, keys := range map[string][]assertion.Key{
		"empty": nil, "duplicate": {testKey(t, 1), testKey(t, 2), testKey(t, 1)}, "17": many,
	} {
		if _, err := assertion.NewRing(keys...); !errors.Is(err, assertion.ErrKeyFile) {
			t.Errorf("%s: NewRing = %v, want ErrKeyFile", name, err)
		}
	}
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := assertion.NewKey(make([]byte, n)); err == nil {
			t.Errorf("NewKey of %d bytes = nil error", n)
		}
	}
}

func TestKey_PrintsOnlyItsID(t *testing.T) {
	k := testKey(t, 'A') // the secret would print as ABCD… or as 65 66 67
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, k); got != k.ID() {
			t.Errorf("Sprintf(%q, key) = %q, want the id %s", verb, got, k.ID())
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add(assertion.FormatKeys(testKey(f, 0)))
	f.Add(assertion.FormatKeys(testKey(f, 0), testKey(f, 1)))
	f.Add([]byte("630dcd29 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\r\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := assertion.ParseKeys(text)
		if err != nil {
			return
		}
		want := bytes.TrimSuffix(text, []byte("\n"))
		if got := bytes.TrimSuffix(assertion.FormatKeys(keys...), []byte("\n")); !bytes.Equal(got, want) {
			t.Fatalf("ParseKeys accepts %q, which FormatKeys writes as %q", text, got)
		}
		if _, err := assertion.NewRing(keys...); err != nil {
			t.Fatalf("NewRing of the parsed keys: %v", err)
		}
	})
}
