// Package strictjson decodes JSON that has exactly one reading.
//
// encoding/json takes the last of several equal member names, matches names without regard to case and replaces
// bytes that are no UTF-8: two readers of one document can then disagree on what it says. Here such documents
// are errors (RFC 8259 sections 4, 8.1, 8.2; RFC 7493 I-JSON).
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxDepth is the deepest nesting of arrays and objects.
const MaxDepth = 32

// ErrSyntax is wrapped by every error about the text itself, as opposed to the types of its values.
var ErrSyntax = errors.New("malformed JSON")

// ErrType is wrapped by every error about a value of the wrong type.
var ErrType = errors.New("wrong JSON type")

// Check reports whether data is exactly one JSON value with one reading: valid UTF-8, no lone surrogates, no
// member name twice in an object (not even in another case) and none with a NUL, no number beyond the range of a
// double, at most MaxDepth levels, nothing after it.
func Check(data []byte) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("%w: not UTF-8", ErrSyntax)
	}
	s := scanner{data: data}
	if err := s.value(0); err != nil {
		return err
	}
	if s.space(); s.pos != len(data) {
		return s.fail("data after the value")
	}
	return nil
}

// Unmarshal decodes data into the struct that v points to. Beyond [Check] it refuses a member that differs
// from a field's name only in case, and values of the wrong type; a member of no field is ignored.
func Unmarshal(data []byte, v any) error {
	if err := Check(data); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil || members == nil {
		return fmt.Errorf("%w: the document is not an object", ErrType)
	}
	if err := exactNames(members, reflect.TypeOf(v).Elem()); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return fmt.Errorf("%w: %s must be %s, not %s", ErrType, mistyped.Field, describe(mistyped.Type), mistyped.Value)
		}
		return fmt.Errorf("%w: %w", ErrType, err)
	}
	return nil
}

func exactNames(members map[string]json.RawMessage, t reflect.Type) error {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		for member := range members {
			if member != name && strings.EqualFold(member, name) {
				return fmt.Errorf("%w: a member name differs from %q only in case", ErrSyntax, name)
			}
		}
	}
	return nil
}

func describe(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a non-negative integer"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "an integer"
	}
	return t.String()
}

// scanner walks over one document.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrSyntax, what, s.pos)
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// next returns the first byte after white space without consuming it, 0 at the end.
func (s *scanner) next() byte {
	s.space()
	if s.pos == len(s.data) {
		return 0
	}
	return s.data[s.pos]
}

func (s *scanner) value(depth int) error {
	if depth > MaxDepth {
		return s.fail("nested too deeply")
	}
	switch c := s.next(); {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || (c >= '0' && c <= '9'):
		return s.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(string(s.data[s.pos:min(len(s.data), s.pos+len(word))]), word) {
			s.pos += len(word)
			return nil
		}
	}
	return s.fail("no value")
}

func (s *scanner) object(depth int) error {
	s.pos++ // {
	seen := map[string]struct{}{}
	for first := true; ; first = false {
		if done, err := s.separator('}', first); done || err != nil {
			return err
		}
		if s.next() != '"' {
			return s.fail("no member name")
		}
		name, err := s.text()
		if err != nil {
			return err
		}
		if strings.ContainsRune(name, 0) {
			return s.fail("a NUL in a member name") // where names are C strings, it ends there
		}
		folded := fold(name)
		if _, twice := seen[folded]; twice {
			return s.fail("a member name appears twice")
		}
		seen[folded] = struct{}{}
		if s.next() != ':' {
			return s.fail("no colon")
		}
		s.pos++
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
}

func (s *scanner) array(depth int) error {
	s.pos++ // [
	for first := true; ; first = false {
		if done, err := s.separator(']', first); done || err != nil {
			return err
		}
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
}

// fold returns one spelling of all names that differ only in case, as encoding/json compares them ([strings.EqualFold]):
// also the long s, which is lower case already, is an s.
func fold(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		name = strings.Map(func(r rune) rune {
			least := r
			for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
				least = min(least, other)
			}
			return least
		}, name)
	}
	return strings.ToLower(name)
}

// separator consumes the closing byte (done) or, before all but the first element, a comma.
func (s *scanner) separator(closing byte, first bool) (done bool, err error) {
	switch c := s.next(); {
	case c == closing:
		s.pos++
		return true, nil
	case first:
		return false, nil
	case c == ',':
		s.pos++
		if s.next() == closing {
			return false, s.fail("a comma before the end")
		}
		return false, nil
	}
	return false, s.fail("no comma")
}

// text consumes a string and returns its decoded value.
func (s *scanner) text() (string, error) {
	start := s.pos
	s.pos++ // opening quote
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			var decoded string
			if err := json.Unmarshal(s.data[start:s.pos], &decoded); err != nil {
				return "", s.fail("bad string")
			}
			return decoded, nil
		case c < 0x20:
			return "", s.fail("a control character in a string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return "", err
			}
		default:
			s.pos++
		}
	}
	return "", s.fail("a string without end")
}

// escape consumes one escape, a surrogate pair as a whole.
func (s *scanner) escape() error {
	s.pos++ // backslash
	if s.pos == len(s.data) {
		return s.fail("a string without end")
	}
	if s.data[s.pos] != 'u' {
		s.pos++ // json.Unmarshal refuses unknown letters
		return nil
	}
	high, ok := s.unit()
	switch {
	case !ok:
		return s.fail("bad \\u escape")
	case high >= 0xDC00 && high <= 0xDFFF:
		return s.fail("a lone surrogate")
	case high < 0xD800 || high > 0xDBFF:
		return nil
	}
	if s.pos+1 >= len(s.data) || s.data[s.pos] != '\\' || s.data[s.pos+1] != 'u' {
		return s.fail("a lone surrogate")
	}
	s.pos++
	if low, ok := s.unit(); !ok || low < 0xDC00 || low > 0xDFFF {
		return s.fail("a lone surrogate")
	}
	return nil
}

// unit consumes the u and four hexadecimal digits of an escape.
func (s *scanner) unit() (uint32, bool) {
	if s.pos+5 > len(s.data) {
		return 0, false
	}
	var v uint32
	for _, c := range s.data[s.pos+1 : s.pos+5] {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint32(c-'a'+10)
		case c >= 'A' && c <= 'F':
			v = v<<4 | uint32(c-'A'+10)
		default:
			return 0, false
		}
	}
	s.pos += 5
	return v, true
}

// number consumes a number; its grammar is json.Unmarshal's to judge. One that no IEEE 754 double can hold reads
// differently everywhere (RFC 7493 section 2.2).
func (s *scanner) number() error {
	start := s.pos
	for s.pos < len(s.data) && strings.IndexByte("+-.eE0123456789", s.data[s.pos]) >= 0 {
		s.pos++
	}
	text := s.data[start:s.pos]
	if !json.Valid(text) {
		return s.fail("bad number")
	}
	if _, err := strconv.ParseFloat(string(text), 64); err != nil {
		return s.fail("a number out of range")
	}
	return nil
}
