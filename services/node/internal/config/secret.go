package config

import "log/slog"

// Secret is a value that never prints: not in logs, not with %v, not as JSON or text.
type Secret string

// Masked is what a set secret prints as.
const Masked = "REDACTED"

// Reveal returns the value.
func (s Secret) Reveal() string { return string(s) }

// String masks the value; an unset secret prints as "".
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Masked
}

// GoString masks the value.
func (s Secret) GoString() string { return s.String() }

// LogValue masks the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
