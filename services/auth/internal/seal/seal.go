// Package seal protects the secrets in the store with a master key that lives outside of it.
//
// A sealed text is bound to its place (storage key, kind, version), so a record moved, swapped or altered by
// whoever can write the store does not open. It also names the key it was sealed under, which tells a wrong master
// key from a damaged record. What sealing cannot notice is an old record put back in its own place.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// What Open can say of a sealed text.
var (
	ErrWrongMaster = errors.New("sealed under another master key")
	ErrCorrupt     = errors.New("sealed record is damaged or in the wrong place")
)

// KeySize is the size of a master key in bytes.
const KeySize = 32

// Master is a master key. It never prints.
type Master struct{ key [KeySize]byte }

// Format implements fmt.Formatter for every verb.
func (Master) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "REDACTED") }

// Sealer seals under a key derived from a master key for one purpose. It is safe for concurrent use, for 2^32
// texts.
type Sealer struct {
	aead  cipher.AEAD
	check string // names the derived key without revealing it
}

// Format implements fmt.Formatter for every verb.
func (Sealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "REDACTED") }

const (
	format      = "s1"
	checkLength = 8 // bytes
)

// Sealer derives the sealer of a purpose: AES-256-GCM under HKDF-SHA256(master, purpose) (RFC 5869).
func (m *Master) Sealer(purpose string) (*Sealer, error) {
	key, err := hkdf.Key(sha256.New, m.key[:], nil, "mero-auth seal s1 key "+purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key for %s: %w", purpose, err)
	}
	check, err := m.Check(purpose)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cipher for %s: %w", purpose, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("cipher for %s: %w", purpose, err)
	}
	return &Sealer{aead: aead, check: check}, nil
}

// Place is where a sealed text belongs. It opens nowhere else.
type Place struct {
	Key     string // the storage key, with its bucket
	Kind    string // what the record is
	Version int    // of the record's format
}

// Seal returns s1.<check value of the key>.<base64url of nonce, ciphertext and tag>.
func (s *Sealer) Seal(at Place, plain []byte) string {
	sealed := s.aead.Seal(nil, nil, plain, s.bind(at)) //nolint:gosec // the AEAD draws the nonce and prepends it
	return strings.Join([]string{format, s.check, base64.RawURLEncoding.EncodeToString(sealed)}, ".")
}

// Open returns what was sealed for this place. The errors are ErrWrongMaster, which a damaged check value causes as
// well (compare with other records), and ErrCorrupt.
func (s *Sealer) Open(at Place, text string) ([]byte, error) {
	version, rest, _ := strings.Cut(text, ".")
	check, body, ok := strings.Cut(rest, ".")
	if !ok || version != format || len(check) != len(s.check) {
		return nil, fmt.Errorf("%w: unknown format", ErrCorrupt)
	}
	if check != s.check {
		return nil, ErrWrongMaster
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	plain, err := s.aead.Open(nil, nil, sealed, s.bind(at))
	if err != nil {
		return nil, ErrCorrupt
	}
	return plain, nil
}

// bind is the additional data: every part preceded by its length in 4 bytes, so no two places look the same.
func (s *Sealer) bind(at Place) []byte {
	var b []byte
	for _, part := range []string{format, s.check, at.Key, at.Kind, strconv.Itoa(at.Version)} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part))) //nolint:gosec // names of records
		b = append(b, part...)
	}
	return b
}
