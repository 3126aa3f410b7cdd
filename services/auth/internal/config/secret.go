package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// Secret is a value that does not print: not in logs, not with the verbs of fmt (except %p, which fmt keeps to
// itself and vet refuses here), not as JSON or text.
type Secret string

const masked = "REDACTED"

// Endpoint is an http(s) URL whose path or query may be a key, as that of many RPC services is. It prints as its
// scheme and host, with REDACTED in place of what follows them.
type Endpoint string

// Reveal returns the URL.
func (e Endpoint) Reveal() string { return string(e) }

// KeepsSecret reports whether there is anything behind the host that may be a key.
func (e Endpoint) KeepsSecret() bool {
	u, err := url.Parse(string(e))
	return err != nil || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" || u.User != nil
}

// String masks what follows the host. A text that is no URL is masked as a whole.
func (e Endpoint) String() string {
	if !e.KeepsSecret() {
		return string(e)
	}
	if u, err := url.Parse(string(e)); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host + "/" + masked
	}
	return masked
}

// Format masks the value for every verb, see [Secret.Format].
func (e Endpoint) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.String())) }

// LogValue masks the value.
func (e Endpoint) LogValue() slog.Value { return slog.StringValue(e.String()) }

// MarshalText masks the value.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// Reveal returns the value.
func (s Secret) Reveal() string { return string(s) }

// String masks the value; an unset secret prints as "".
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// Format masks the value for every verb. Without it a verb that does not fit text, such as %d, would print the
// value in the complaint of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue masks the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
