package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Effective writes c as a configuration file with every setting that has an effect. Secrets stand in it as comments;
// loading the rest again gives the same configuration without them.
func (c Config) Effective() []byte {
	var b bytes.Buffer
	b.WriteString("# The effective configuration of mero-auth. Secrets are not shown.\n")
	if c.Admin.User != "" {
		fmt.Fprintf(&b, "# The environment provisions the account %s.\n", quote(c.Admin.User))
	}
	initial, section := Defaults(), ""
	for _, f := range newSchema().fields {
		unset := reflect.DeepEqual(f.of(&c).Interface(), f.of(&initial).Interface())
		if unset && (f.idle != "" || f.mock || f.typ == secretType) {
			continue
		}
		key := lastPart(f.name)
		if table := strings.TrimSuffix(strings.TrimSuffix(f.name, key), "."); table != section {
			fmt.Fprintf(&b, "\n[%s]\n", table)
			section = table
		}
		switch {
		case f.typ == secretType:
			fmt.Fprintf(&b, "# %s = %q\n", key, masked)
		case f.typ == endpointType && Endpoint(f.of(&c).String()).KeepsSecret():
			fmt.Fprintf(&b, "# %s = %s\n", key, f.literal(&c))
		case f.name == "secrets.master_key_file" && c.Secrets.MasterKey != "":
			fmt.Fprintf(&b, "# %s is not read, because master_key is set\n", key)
		default:
			fmt.Fprintf(&b, "%s = %s\n", key, f.literal(&c))
		}
	}
	return b.Bytes()
}

// literal is the field's value in c as TOML; "" for secrets.
func (f field) literal(c *Config) string {
	if f.typ == secretType {
		return ""
	}
	switch v := f.of(c).Interface().(type) {
	case string:
		return quote(v)
	case Endpoint:
		return quote(v.String())
	case time.Duration:
		return strconv.FormatInt(int64(v/time.Second), 10)
	case []string:
		return list(v, quote)
	case []uint64:
		return list(v, func(n uint64) string { return strconv.FormatUint(n, 10) })
	case []netip.Prefix:
		return list(v, func(p netip.Prefix) string { return quote(p.String()) })
	default:
		return fmt.Sprint(v)
	}
}

func list[T any](values []T, literal func(T) string) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = literal(v)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// quote writes a basic string of TOML 1.0. Its escapes are not those of Go.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
