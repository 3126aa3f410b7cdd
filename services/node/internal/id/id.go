// Package id is the 32-byte identifier of contexts, applications, blobs and public keys, written in base58
// with the Bitcoin alphabet.
package id

import (
	"errors"

	"github.com/mr-tron/base58"
)

// Size is the length of an identifier in bytes.
const Size = 32

// A base58 text of 32 bytes has 32 characters (all zero bytes) to 44 (all 0xff). Longer texts are refused
// before they are decoded, because decoding takes time quadratic in the length.
const (
	minText = 32
	maxText = 44
)

// ErrInvalid reports a text that is not the base58 form of exactly 32 bytes.
var ErrInvalid = errors.New("not the base58 form of 32 bytes")

// ID is an identifier. The zero ID is the zero context, under which identities live until they join one.
type ID [Size]byte

// Parse reads the base58 form. Every text has one value and every value one text: Parse(s).String() == s.
func Parse(s string) (ID, error) {
	if len(s) < minText || len(s) > maxText {
		return ID{}, ErrInvalid
	}
	b, err := base58.Decode(s)
	if err != nil || len(b) != Size {
		return ID{}, ErrInvalid
	}
	return ID(b), nil
}

// String returns the base58 form.
func (i ID) String() string { return base58.Encode(i[:]) }

// MarshalText returns the base58 form, also for JSON.
func (i ID) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads the base58 form.
func (i *ID) UnmarshalText(b []byte) error {
	v, err := Parse(string(b))
	if err != nil {
		return err
	}
	*i = v
	return nil
}
