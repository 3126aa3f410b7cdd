package strictjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/strictjson"
)

type login struct {
	Method string   `json:"auth_method"`
	Count  *uint64  `json:"count"`
	List   []string `json:"permissions"`
}

func TestUnmarshal(t *testing.T) {
	var got login
	err := strictjson.Unmarshal([]byte(` {"auth_method":"a\u00e9\ud83d\ude00","count":7,"permissions":["x"],"other":{"A":1,"b":[true,null,-1.5e3]}} `), &got)
	if err != nil || got.Method != "aé😀" || *got.Count != 7 || len(got.List) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAmbiguousDocumentsAreRefused(t *testing.T) {
	for name, doc := range map[string]string{
		"duplicate member":          `{"auth_method":"a","auth_method":"b"}`,
		"duplicate by escape":       `{"auth_method":"a","auth\u005fmethod":"b"}`,
		"duplicate by case":         `{"x":"a","X":"b"}`,
		"duplicate by long s":       `{"s":"a","\u017f":"b"}`,
		"duplicate by Kelvin sign":  "{\"K\":1,\"x\":2,\"\u212a\":3}",
		"nested duplicate":          `{"x":[{"a":1,"a":2}]}`,
		"field in another case":     `{"AUTH_METHOD":"a"}`,
		"two documents":             `{} {}`,
		"trailing comma":            `{"a":1,}`,
		"trailing comma in array":   `{"a":[1,]}`,
		"lone high surrogate":       `{"a":"\ud800"}`,
		"lone low surrogate":        `{"a":"\udc00"}`,
		"high surrogate then char":  `{"a":"\ud800x"}`,
		"two high surrogates":       `{"a":"\ud800\ud800"}`,
		"latin1 byte":               "{\"a\":\"\xe9\"}",
		"byte order mark":           "\xef\xbb\xbf{}",
		"control character":         "{\"a\":\"\n\"}",
		"comment":                   `{/*x*/}`,
		"single quotes":             `{'a':1}`,
		"unknown escape":            `{"a":"\x"}`,
		"leading zero":              `{"a":01}`,
		"bare plus":                 `{"a":+1}`,
		"NaN":                       `{"a":NaN}`,
		"truncated":                 `{"a":"b`,
		"empty":                     ``,
		"missing colon":             `{"a" 1}`,
		"missing comma":             `{"a":1 "b":2}`,
		"deep":                      strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"very deep and cut":         strings.Repeat("[", 100_000),
		"array":                     `[]`,
		"null":                      `null`,
		"string":                    `"x"`,
		"wrong type":                `{"auth_method":1}`,
		"negative for unsigned":     `{"count":-1}`,
		"float for integer":         `{"count":1.5}`,
		"exponent beyond the range": `{"count":1e30}`,
		"number beyond a double":    `{"x":1e400}`,
		"negative beyond a double":  `{"x":[-1e309]}`,
		"NUL in a name":             `{"\u0000":1}`,
		"NUL behind a name":         `{"x":{"count\u0000":1}}`,
		"object for array":          `{"permissions":{}}`,
	} {
		var got login
		err := strictjson.Unmarshal([]byte(doc), &got)
		if !errors.Is(err, strictjson.ErrSyntax) && !errors.Is(err, strictjson.ErrType) {
			t.Errorf("%s: %.60q gave %v", name, doc, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\ud83d\ude00",null]}`, `{"a":1,"A":2}`, `"\ud800"`, `[1,]`, `-0.5e+7`, ` true `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strictjson.Check(data) == nil && !json.Valid(data) {
			t.Errorf("accepted %q, which is no JSON", data)
		}
	})
}
