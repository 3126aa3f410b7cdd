package bundle_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/calimero-network/mero-go/services/node/internal/bundle"
)

// custom is a custom section.
func custom(name, content string) []byte {
	body := append(binary.AppendUvarint(nil, uint64(len(name))), name+content...)
	return append(binary.AppendUvarint([]byte{0}, uint64(len(body))), body...)
}

func TestModuleABI(t *testing.T) {
	module := func(sections ...[]byte) []byte { return append(bytes.Clone(module), bytes.Join(sections, nil)...) }
	types := []byte{1, 1, 0}
	for _, tt := range []struct {
		name   string
		module []byte
		want   string
		err    error
	}{
		{"none", module(), "", nil},
		{"between others", module(custom("name", "xx"), types, custom("calimero_abi_v1", `{"a":1}`), custom("producers", "")), `{"a":1}`, nil},
		{"the first of two", module(custom("calimero_abi_v1", `1`), custom("calimero_abi_v1", `2`)), `1`, nil},
		{"no JSON", module(custom("calimero_abi_v1", `{`)), "", nil},
		{"too large", module(custom("calimero_abi_v1", `"`+strings.Repeat("x", bundle.MaxABI)+`"`)), "", nil},
		{"empty", nil, "", bundle.ErrModule},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), "", bundle.ErrModule},
		{"text", []byte("(module)"), "", bundle.ErrModule},
		{"a section that ends too early", module([]byte{1, 5, 0}), "", bundle.ErrModule},
		{"a section without a size", module([]byte{1}), "", bundle.ErrModule},
		{"an endless size", module([]byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}), "", bundle.ErrModule},
		{"a size beyond 32 bits", module([]byte{1, 0x80, 0x80, 0x80, 0x80, 0x10}), "", bundle.ErrModule},
		{"a name that ends too early", module([]byte{0, 2, 15, 'c'}), "", bundle.ErrModule},
	} {
		got, err := bundle.ModuleABI(bytes.NewReader(tt.module))
		if string(got) != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %q, %v, want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
	broken := errors.New("broken")
	if _, err := bundle.ModuleABI(io.MultiReader(bytes.NewReader(module()), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("an error of the reader: %v", err)
	}
}

func FuzzModuleABI(f *testing.F) {
	f.Add(append(bytes.Clone(module), custom("calimero_abi_v1", `{}`)...))
	f.Add(append(bytes.Clone(module), 1, 1, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		abi, err := bundle.ModuleABI(bytes.NewReader(b))
		if err != nil && !errors.Is(err, bundle.ErrModule) {
			t.Errorf("an unclassified error: %v", err)
		}
		if !bytes.Contains(b, abi) {
			t.Error("the description is not in the module")
		}
	})
}
