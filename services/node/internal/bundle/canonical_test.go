package bundle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"testing"

	"github.com/calimero-network/mero-go/pkg/strictjson"
	"github.com/calimero-network/mero-go/services/node/internal/bundle"
)

func TestCanonical(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{
			"RFC 8785 section 3.2.2",
			`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`,
			`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		},
		{
			"RFC 8785 section 3.2.3: UTF-16 order",
			`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`,
			"{\"\\r\":2,\"1\":4,\"\u0080\":6,\"\u00f6\":7,\"\u20ac\":1,\"\U0001f600\":5,\"\ufb33\":3}",
		},
		{"nested objects", ` { "b" : { "d" : [ ] , "c" : { } } , "a" : [ 1 , { "z" : 0 , "y" : 1 } ] } `, `{"a":[1,{"y":1,"z":0}],"b":{"c":{},"d":[]}}`},
		{"no escapes for HTML", `"<&>\u2028\u007f"`, "\"<&>\u2028\u007f\""},
		{"all short escapes", `"\b\t\n\f\r\u0000\u001f"`, `"\b\t\n\f\r\u0000\u001f"`},
		{"a lone value", ` 10 `, `10`},
	} {
		got, err := bundle.Canonical([]byte(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

// RFC 8785 appendix B.
func TestCanonical_Numbers(t *testing.T) {
	for bits, want := range map[uint64]string{
		0x0000000000000000: "0", 0x8000000000000000: "0", 0x0000000000000001: "5e-324", 0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308", 0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992", 0xc340000000000000: "-9007199254740992", 0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22", 0x44b52d02c7e14af6: "1e+23", 0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000", 0x444b1ae4d6e2ef4f: "999999999999999900000", 0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7", 0x3eb0c6f7a0b5ed8d: "0.000001",
		0x41b3de4355555553: "333333333.3333332", 0x41b3de4355555554: "333333333.33333325", 0x41b3de4355555555: "333333333.3333333",
		0x41b3de4355555556: "333333333.3333334", 0x41b3de4355555557: "333333333.33333343",
		0xbecbf647612f3696: "-0.0000033333333333333333", 0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		in := strconv.FormatFloat(math.Float64frombits(bits), 'e', 20, 64)
		if got, err := bundle.Canonical([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%x (%s): %s, %v, want %s", bits, in, got, err, want)
		}
	}
}

func TestCanonical_RefusesTwoReadings(t *testing.T) {
	for name, in := range map[string]string{
		"a name twice": `{"a":1,"a":2}`, "a name twice, escaped": `{"a":1,"\u0061":2}`, "lone surrogate": `"\ud800"`, "not UTF-8": "\"\xff\"",
		"beyond a double": `1e400`, "two values": `1 2`, "nothing": ``, "cut": `{"a":`, "deep": string(bytes.Repeat([]byte("["), 100)),
	} {
		if got, err := bundle.Canonical([]byte(in)); !errors.Is(err, strictjson.ErrSyntax) {
			t.Errorf("%s: %s, %v, want ErrSyntax", name, got, err)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{"b":[1,2.50,-0],"a":"\u20ac"}`, `1e-7`, `{"\ud83d\ude00":0,"\ufb33":1}`, `[[[]]]`, `"\u0000"`, `1e21`, manifest} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		once, err := bundle.Canonical(in)
		if err != nil {
			return
		}
		twice, err := bundle.Canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("the canonical form of %q changes: %q, %v", once, twice, err)
		}
		var before, after any
		if json.Unmarshal(in, &before) != nil || json.Unmarshal(once, &after) != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%q and its canonical form %q differ in meaning", in, once)
		}
	})
}

func BenchmarkCanonical(b *testing.B) {
	b.SetBytes(int64(len(manifest)))
	for b.Loop() {
		if _, err := bundle.Canonical([]byte(manifest)); err != nil {
			b.Fatal(err)
		}
	}
}
