package provider_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

type credentials struct{ user, password string }

func decode(data string) (credentials, error) {
	c := credentials{user: "unset"}
	err := provider.DecodeStrings(json.RawMessage(data), map[string]*string{"user": &c.user, "password": &c.password})
	return c, err
}

func TestDecodeStrings(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		want       credentials
	}{
		{"both", `{"user":"a","password":"b"}`, credentials{"a", "b"}},
		{"escaped name", `{"us\u0065r":"a"}`, credentials{"a", ""}},
		{"escaped value", `{"user":"\ud83c\udf0d\u0000"}`, credentials{"🌍\x00", ""}},
		{"null is absent", `{"user":null,"password":"b"}`, credentials{"unset", "b"}},
		{"unknown members of any type", `{"x":1,"X y":{"user":"z","USR":"y"},"user":"a"}`, credentials{"a", ""}},
		{"replacement character", `{"user":"a\ufffd"}`, credentials{"a\ufffd", ""}},
		{"empty object", ` {} `, credentials{"unset", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(tt.data)
			if err != nil {
				t.Fatalf("DecodeStrings(%s): %v", tt.data, err)
			}
			if got != tt.want {
				t.Errorf("DecodeStrings(%s) = %+v, want %+v", tt.data, got, tt.want)
			}
		})
	}
}

func TestDecodeStrings_Refused(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"nothing", ``, "no value at byte 0"},
		{"null", `null`, "not a JSON object"},
		{"array", `["user","a"]`, "not a JSON object"},
		{"string", `"user"`, "not a JSON object"},
		{"truncated", `{"user":"a"`, "no comma at byte 11"},
		{"second value", `{"user":"a"} {"user":"b"}`, "data after the value at byte 13"},
		{"trailing comma", `{"user":"a",}`, "a comma before the end at byte 12"},
		{"comment", `{"user":"a"/*x*/}`, "no comma at byte 11"},
		{"number", `{"user":1}`, "user must be a string"},
		{"nested", `{"user":{"user":"a"}}`, "user must be a string"},
		{"duplicate", `{"user":"a","user":"b"}`, "a member name appears twice at byte 18"},
		{"duplicate after null", `{"user":null,"user":"b"}`, "a member name appears twice at byte 19"},
		{"duplicate by escape", `{"user":"a","\u0075ser":"b"}`, "a member name appears twice at byte 23"},
		{"duplicate of an unknown member", `{"x":1,"x":1}`, "a member name appears twice at byte 10"},
		{"case-folded", `{"User":"a"}`, "user must be spelled in lower case"},
		{"case-folded beside the real one", `{"user":"a","USER":"b"}`, "a member name appears twice at byte 18"},
		{"folded by long s", `{"u\u017fer":"a"}`, "user must be spelled in lower case"},
		{"lone surrogate", `{"password":"a\ud800"}`, "a lone surrogate at byte 20"},
		{"invalid UTF-8", "{\"password\":\"a\xff\"}", "not UTF-8"},
		{"nested beyond the decoder's limit", `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "nested too deeply at byte 37"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(tt.data)
			if !errors.Is(err, provider.ErrMalformed) || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("DecodeStrings(%.80s) = %+v, %v, want ErrMalformed ending in %q", tt.data, got, err, tt.want)
			}
		})
	}
}

// What DecodeStrings accepts, encoding/json must read in the same way: no second reader may see another value.
func FuzzDecodeStrings(f *testing.F) {
	for _, seed := range []string{
		`{"user":"a","password":"b"}`, `{"User":"a"}`, `{"user":"a","user":"b"}`, `{"user":null}`, `{"x":{"user":[]}}`,
		`{"us\u0065r":"\ud800"}`, `[]`, ``, `{"user":"a"}{}`, "{\"user\":\"\xff\"}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		got, err := decode(data)
		if err != nil {
			if !errors.Is(err, provider.ErrMalformed) {
				t.Fatalf("DecodeStrings(%q): %v does not wrap ErrMalformed", data, err)
			}
			return
		}
		other := struct {
			User     string `json:"user"`
			Password string `json:"password"`
		}{User: "unset"}
		if err := json.Unmarshal([]byte(data), &other); err != nil {
			t.Fatalf("DecodeStrings(%q) = %+v, but encoding/json refuses it: %v", data, got, err)
		}
		if want := (credentials{other.User, other.Password}); got != want {
			t.Errorf("DecodeStrings(%q) = %+v, encoding/json reads %+v", data, got, want)
		}
	})
}
