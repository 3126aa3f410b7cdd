package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// plain turns the text of an environment variable into what TOML would have given for the same value.
func (f field) plain(text string) (any, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("is not valid UTF-8")
	}
	if v, ok := f.same[text]; ok {
		return v, nil
	}
	switch f.typ.Kind() {
	case reflect.String:
		return text, nil
	case reflect.Slice:
		return f.plainList(text)
	case reflect.Bool:
		return plainBool(text)
	default:
		return wholeNumber(text)
	}
}

func (f field) plainList(text string) (any, error) {
	list := []any{}
	var errs []error
	unreadable := false
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if f.typ.Elem().Kind() != reflect.Uint64 {
			list = append(list, part)
			continue
		}
		n, err := wholeNumber(part)
		if err != nil {
			unreadable = true
		} else {
			err = f.bounded(n)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("entry %d %w", len(list)+1, err))
		}
		list = append(list, n)
	}
	if !unreadable {
		return list, nil // whoever decodes it says what is wrong with the entries
	}
	return nil, errors.Join(errs...)
}

func plainBool(text string) (any, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return nil, errors.New("must be true or false")
}

func wholeNumber(text string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, errors.New("must be a whole number")
	}
	return n, nil
}

// decode checks a value as TOML gives it and returns it in the type of the field. Its errors say what to write
// and never repeat the value.
func (f field) decode(plain any) (reflect.Value, error) {
	if s, ok := plain.(string); ok {
		if v, ok := f.same[s]; ok {
			plain = v
		}
	}
	out := reflect.New(f.typ).Elem()
	var err error
	switch {
	case f.typ.Kind() == reflect.String:
		err = f.decodeText(out, plain)
	case f.typ.Kind() == reflect.Bool:
		b, ok := plain.(bool)
		if !ok {
			return out, errors.New("must be true or false, without quotation marks")
		}
		out.SetBool(b)
	case f.typ.Kind() == reflect.Slice:
		err = f.decodeList(out, plain)
	default:
		err = f.decodeNumber(out, plain)
	}
	return out, err
}

func (f field) decodeText(out reflect.Value, plain any) error {
	s, ok := plain.(string)
	if !ok {
		return errors.New("must be a text: write it in quotation marks")
	}
	if f.oneOf != nil && !slices.Contains(f.oneOf, s) {
		return fmt.Errorf("must be %s", alternatives(f.oneOf))
	}
	if f.check != nil {
		if err := f.check(s); err != nil {
			return err
		}
	}
	out.SetString(s)
	return nil
}

func (f field) decodeNumber(out reflect.Value, plain any) error {
	n, ok := plain.(int64)
	if !ok {
		if f.typ != durationType {
			return errors.New("must be a whole number, without quotation marks")
		}
		if s, ok := plain.(string); ok {
			if d, err := time.ParseDuration(s); err == nil {
				return fmt.Errorf("must be whole seconds: write %d", int64(d.Seconds()))
			}
		}
		return errors.New("must be whole seconds, without quotation marks")
	}
	if err := f.bounded(n); err != nil {
		return err
	}
	switch {
	case f.typ == durationType:
		out.SetInt(n * int64(time.Second))
	case f.typ.Kind() == reflect.Uint32:
		out.SetUint(uint64(n)) //nolint:gosec // the bounds of every setting begin at 0 or above
	default:
		out.SetInt(n)
	}
	return nil
}

func (f field) bounded(n int64) error {
	if n >= f.min && n <= f.max {
		return nil
	}
	unit := ""
	if f.typ == durationType {
		unit = " seconds"
	}
	if f.max == 1<<63-1 {
		return fmt.Errorf("must be at least %d%s", f.min, unit)
	}
	return fmt.Errorf("must be between %d and %d%s", f.min, f.max, unit)
}

// decodeList leaves an empty list nil, so that "none" has one form. Its errors are joined, one for each bad entry.
func (f field) decodeList(out reflect.Value, plain any) error {
	list, ok := plain.([]any)
	if !ok {
		return errors.New("must be a list: write it in square brackets")
	}
	var errs []error
	for i, v := range list {
		if err := f.decodeElement(out, v); err != nil {
			errs = append(errs, fmt.Errorf("entry %d %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

func (f field) decodeElement(out reflect.Value, v any) error {
	if f.typ.Elem().Kind() == reflect.Uint64 {
		n, ok := v.(int64)
		if !ok {
			return errors.New("must be a whole number, without quotation marks")
		}
		if err := f.bounded(n); err != nil {
			return err
		}
		out.Set(reflect.Append(out, reflect.ValueOf(uint64(n)))) //nolint:gosec // bounded starts at 1
		return nil
	}
	s, ok := v.(string)
	if !ok {
		return errors.New("must be a text: write it in quotation marks")
	}
	if f.typ.Elem() == reflect.TypeFor[netip.Prefix]() {
		p, err := parseNetwork(s)
		if err != nil {
			return err
		}
		out.Set(reflect.Append(out, reflect.ValueOf(p)))
		return nil
	}
	if f.check != nil {
		if err := f.check(s); err != nil {
			return err
		}
	}
	out.Set(reflect.Append(out, reflect.ValueOf(s)))
	return nil
}

// alternatives writes a choice for people: "a", "b" or "c".
func alternatives(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	last := len(quoted) - 1
	if last == 0 {
		return quoted[0]
	}
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

// shown is a value for an error message: short, and nothing that may hold a secret.
func (f field) shown(plain any) string {
	if f.secret() {
		return ""
	}
	return shown(plain)
}

const shownMax = 80 // characters of a value in a message

func shown(plain any) string {
	var s string
	switch v := plain.(type) {
	case string:
		s = strconv.Quote(v)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			if parts[i] = shown(e); parts[i] == "" {
				return ""
			}
		}
		s = "[" + strings.Join(parts, ", ") + "]"
	case map[string]any, []map[string]any:
		return "" // a table where a value belongs: unknown content
	default:
		s = fmt.Sprint(v)
	}
	if strings.Contains(s, "@") {
		return "" // a URL with a password
	}
	if r := []rune(s); len(r) > shownMax {
		s = string(r[:shownMax]) + "..."
	}
	return s
}
