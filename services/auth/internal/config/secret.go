package config

import (
	"fmt"
	"log/slog"
)

// Secret is a value that does not print: not in logs, not with the verbs of fmt (except %p, which fmt keeps to
// itself and vet refuses here), not as JSON or text.
type Secret string

const masked = "REDACTED"

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
