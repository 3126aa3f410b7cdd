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
)

// Kind is the type of a setting.
type Kind string

// The kinds of settings, named as the configuration reference shows them.
const (
	String   Kind = "string"
	Bool     Kind = "boolean"
	Integer  Kind = "integer"
	Duration Kind = "seconds"
	Strings  Kind = "list of strings"
	Networks Kind = "list of networks"
	Table    Kind = "table"
)

// Setting describes one setting.
type Setting struct {
	Path    string // as in the file: server.auth_mode
	Kind    Kind
	Doc     string
	Default any // as [File.Set] takes it; nil for a table
	Secret  bool
	EnvOnly bool // refused in the file
}

// EnvPrefix begins the name of every environment variable that is a setting.
const EnvPrefix = "MEROD_"

// Env returns the name of the environment variable that sets it, or "" for a table, which has none.
func (s Setting) Env() string {
	if s.Kind == Table {
		return ""
	}
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Path, ".", "__"))
}

// Settings lists every setting in the order of the file.
func Settings() []Setting {
	return appendSettings(nil, "", reflect.ValueOf(Defaults()))
}

// Values returns the value of every setting by its path, in the form of [Setting.Default]; secrets are masked and
// tables left out.
func (c Config) Values() map[string]any {
	values := map[string]any{}
	for _, s := range appendSettings(nil, "", reflect.ValueOf(c)) {
		switch {
		case s.Secret:
			values[s.Path] = Secret(fmt.Sprint(s.Default)).String()
		case s.Kind != Table:
			values[s.Path] = s.Default
		}
	}
	return values
}

func appendSettings(out []Setting, prefix string, v reflect.Value) []Setting {
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		path := prefix + f.Tag.Get("koanf")
		kind, def := kindOf(value)
		if kind == "" {
			out = appendSettings(out, path+".", value)
			continue
		}
		out = append(out, Setting{
			Path: path, Kind: kind, Doc: strings.ReplaceAll(f.Tag.Get("doc"), "'", "`"), Default: def,
			Secret: f.Type == reflect.TypeFor[Secret](), EnvOnly: f.Tag.Get("env") == "only",
		})
	}
	return out
}

// kindOf returns the kind of a field and its value as koanf holds it; a nested table has no kind.
func kindOf(v reflect.Value) (Kind, any) {
	switch x := v.Interface().(type) {
	case time.Duration:
		return Duration, int64(x / time.Second)
	case []string:
		return Strings, slices.Clone(x)
	case []netip.Prefix:
		out := make([]string, len(x))
		for i, p := range x {
			out[i] = p.String()
		}
		return Networks, out
	case Secret:
		return String, string(x)
	case map[string]any:
		return Table, nil
	}
	switch v.Kind() {
	case reflect.String:
		return String, v.String()
	case reflect.Bool:
		return Bool, v.Bool()
	case reflect.Int, reflect.Int64:
		return Integer, v.Int()
	}
	return "", nil
}

// index maps the paths of all settings.
func index() map[string]Setting {
	all := Settings()
	m := make(map[string]Setting, len(all))
	for _, s := range all {
		m[s.Path] = s
	}
	return m
}

// value brings what the file holds into the one form of the kind: string, bool, int64 or []string. With an error about
// entries of a list it returns the others.
func (s Setting) value(v any) (any, error) {
	switch s.Kind {
	case String:
		if x, ok := v.(string); ok {
			return x, nil
		}
	case Bool:
		if x, ok := v.(bool); ok {
			return x, nil
		}
	case Integer:
		if x, ok := v.(int64); ok {
			return x, nil
		}
	case Duration:
		return seconds(v)
	case Strings:
		return stringList(v)
	case Networks:
		list, unreadable := stringList(v)
		out, err := networks(list)
		return out, errors.Join(unreadable, err)
	case Table:
		return v, nil
	}
	article := "a"
	if s.Kind == Integer {
		article = "an"
	}
	return nil, fmt.Errorf("want %s %s, got %s", article, s.Kind, describe(v))
}

// fromEnv reads the text of an environment variable: lists are separated by commas.
func (s Setting) fromEnv(text string) (any, error) {
	switch s.Kind {
	case Bool:
		x, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("want true or false, got %q", text)
		}
		return x, nil
	case Integer:
		x, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("want a whole number, got %q", text)
		}
		return x, nil
	case Duration:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return seconds(n)
		}
		return seconds(text)
	case Strings, Networks:
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return s.value(list)
	default:
		return s.value(text)
	}
}

// maxSeconds bounds durations (ten years), so that they never overflow.
const maxSeconds = 10 * 365 * 24 * 60 * 60

// seconds accepts a whole number of seconds, or a text such as "90s" or "1h".
func seconds(v any) (any, error) {
	var n int64
	switch x := v.(type) {
	case int64:
		n = x
	case string:
		d, err := time.ParseDuration(x)
		if err != nil || d%time.Second != 0 {
			return nil, fmt.Errorf("want whole seconds, got %q", x)
		}
		n = int64(d / time.Second)
	default:
		return nil, fmt.Errorf("want whole seconds, got %s", describe(v))
	}
	if n < 0 || n > maxSeconds {
		return nil, fmt.Errorf("want 0 to %d seconds, got %d", int64(maxSeconds), n)
	}
	return n, nil
}

func stringList(v any) ([]string, error) {
	switch list := v.(type) {
	case []string:
		return slices.Clone(list), nil
	case []any:
		var out []string
		var errs []error
		for i, item := range list {
			s, ok := item.(string)
			if !ok {
				errs = append(errs, fmt.Errorf("want a list of strings, entry %d is %s", i+1, describe(item)))
				continue
			}
			out = append(out, s)
		}
		return out, errors.Join(errs...)
	}
	return nil, fmt.Errorf("want a list of strings, got %s", describe(v))
}

// networks reads addresses (10.0.0.1) and networks (10.0.0.0/16) and returns networks. Its errors are joined, one for each
// entry that is neither.
func networks(list []string) ([]string, error) {
	out := make([]string, 0, len(list))
	var errs []error
	for _, s := range list {
		p, err := network(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, p.String())
	}
	return out, errors.Join(errs...)
}

// network reads one of them.
func network(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a network", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits behind its prefix; write %s", s, p.Masked())
	}
	return p, nil
}

func describe(v any) string {
	switch x := v.(type) {
	case string:
		return fmt.Sprintf("the string %q", x)
	case map[string]any:
		return "a table"
	case []any:
		return "a list"
	default:
		return fmt.Sprintf("%v", x)
	}
}
