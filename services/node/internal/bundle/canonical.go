package bundle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"

	"github.com/calimero-network/mero-go/pkg/strictjson"
)

// Canonical returns the canonical form of a JSON text (RFC 8785, JCS): no white space, members sorted by the UTF-16
// code units of their names, strings and numbers as ECMAScript writes them. Texts with more than one reading, which I-JSON
// excludes, are refused; the error wraps [strictjson.ErrSyntax].
func Canonical(text []byte) ([]byte, error) {
	v, err := decode(text)
	if err != nil {
		return nil, err
	}
	return appendValue(make([]byte, 0, len(text)), v)
}

// decode reads a JSON text that has one reading. Numbers are json.Number.
func decode(text []byte) (any, error) {
	if err := strictjson.Check(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", strictjson.ErrSyntax, err)
	}
	return v, nil
}

func appendValue(out []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		return strconv.AppendBool(out, v), nil
	case json.Number:
		return appendNumber(out, v)
	case string:
		return appendString(out, v), nil
	case []any:
		return appendArray(out, v)
	case map[string]any:
		return appendObject(out, v)
	}
	return nil, fmt.Errorf("no JSON value: %T", v)
}

func appendArray(out []byte, list []any) (_ []byte, err error) {
	out = append(out, '[')
	for i, v := range list {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = appendValue(out, v); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

func appendObject(out []byte, members map[string]any) (_ []byte, err error) {
	out = append(out, '{')
	for i, name := range slices.SortedFunc(maps.Keys(members), compareUTF16) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, name), ':')
		if out, err = appendValue(out, members[name]); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

// compareUTF16 orders as RFC 8785 section 3.2.3 asks, which differs from the order of UTF-8 beyond U+FFFF.
func compareUTF16(a, b string) int {
	return slices.CompareFunc(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)), cmp.Compare[uint16])
}

// appendString escapes only what must be (RFC 8785 section 3.2.2.2).
func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c >= 0x20:
			out = append(out, c)
		default:
			if short := map[byte]byte{'\b': 'b', '\t': 't', '\n': 'n', '\f': 'f', '\r': 'r'}[c]; short != 0 {
				out = append(out, '\\', short)
			} else {
				out = fmt.Appendf(out, `\u%04x`, c)
			}
		}
	}
	return append(out, '"')
}

// appendNumber writes a double as ECMAScript's Number.prototype.toString does (RFC 8785 section 3.2.2.3).
func appendNumber(out []byte, n json.Number) ([]byte, error) {
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("%w: a number out of range", strictjson.ErrSyntax)
	}
	if f == 0 {
		return append(out, '0'), nil // minus zero too
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(out, f, 'f', -1, 64), nil
	}
	digits := strconv.FormatFloat(f, 'e', -1, 64)
	// ECMAScript writes no leading zero in the exponent, Go at least two digits.
	if at := len(digits) - 2; digits[at] == '0' && (digits[at-1] == '+' || digits[at-1] == '-') {
		digits = digits[:at] + digits[at+1:]
	}
	return append(out, digits...), nil
}
