package assertion

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// KeySize is the length of a key's secret in bytes.
const KeySize = 32

const (
	kidLen  = 8
	keyText = 44 // padded base64 of a secret

	// maxKeys bounds a ring. Rotation needs three: the old, the signing and the coming one.
	maxKeys = 16
)

// ErrKeyFile is wrapped by every error about the content or the mode of a key file.
var ErrKeyFile = errors.New("assertion key file")

// Key is one shared secret. It prints as its id.
type Key struct {
	id     string
	secret [KeySize]byte
}

// NewKey returns the key with the given secret of [KeySize] bytes.
func NewKey(secret []byte) (Key, error) {
	if len(secret) != KeySize {
		return Key{}, fmt.Errorf("assertion key has %d bytes, want %d", len(secret), KeySize)
	}
	sum := sha256.Sum256(secret)
	k := Key{id: hex.EncodeToString(sum[:kidLen/2])}
	copy(k.secret[:], secret)
	return k, nil
}

// GenerateKey returns a new random key.
func GenerateKey() Key {
	var secret [KeySize]byte
	_, _ = rand.Read(secret[:]) // never fails: the runtime stops the process instead
	k, _ := NewKey(secret[:])
	return k
}

// ID returns the kid: the first 8 hex characters of the SHA-256 of the secret.
func (k Key) ID() string { return k.id }

// String returns the id, so that no format verb prints the secret.
func (k Key) String() string { return k.id }

// Format prints the id for every verb and flag.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.id)) }

func validKid(s string) bool {
	if len(s) != kidLen {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Ring is an ordered, immutable set of keys: the first signs, all verify. It is safe for concurrent use.
type Ring struct {
	keys []ringKey
}

type ringKey struct {
	Key
	pool sync.Pool
}

// NewRing returns the ring of the given keys, which must be between 1 and 16 and differ in their ids.
func NewRing(keys ...Key) (*Ring, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no key", ErrKeyFile)
	}
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("%w: %d keys, at most %d", ErrKeyFile, len(keys), maxKeys)
	}
	r := &Ring{keys: make([]ringKey, len(keys))}
	for i, key := range keys {
		if r.find(key.id) != nil {
			return nil, fmt.Errorf("%w: key %s occurs twice", ErrKeyFile, key.id)
		}
		k := &r.keys[i]
		k.Key = key
		k.pool.New = func() any {
			return &scratch{mac: hmac.New(sha256.New, k.secret[:]), buf: make([]byte, 0, 512)}
		}
	}
	return r, nil
}

// Keys returns the keys in order.
func (r *Ring) Keys() []Key {
	keys := make([]Key, len(r.keys))
	for i := range r.keys {
		keys[i] = r.keys[i].Key
	}
	return keys
}

func (r *Ring) find(kid string) *ringKey {
	for i := range r.keys {
		if r.keys[i].id == kid {
			return &r.keys[i]
		}
	}
	return nil
}

// ParseKeys reads the text of a key file: one line "<kid> <base64 of 32 bytes>" for each key, the signing key
// first, lines ended by LF. It refuses an empty text, blank and longer lines, a kid that is not that of the
// secret, and the same key twice.
func ParseKeys(text []byte) ([]Key, error) {
	body := strings.TrimSuffix(string(text), "\n")
	if body == "" {
		return nil, fmt.Errorf("%w: no key", ErrKeyFile)
	}
	var keys []Key
	seen := make(map[string]bool)
	for line := range strings.SplitSeq(body, "\n") {
		at := len(keys) + 1
		if at > maxKeys {
			return nil, fmt.Errorf("%w: more than %d keys", ErrKeyFile, maxKeys)
		}
		k, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrKeyFile, at, err)
		}
		if seen[k.id] {
			return nil, fmt.Errorf("%w: line %d: key %s occurs twice", ErrKeyFile, at, k.id)
		}
		seen[k.id] = true
		keys = append(keys, k)
	}
	return keys, nil
}

// parseKey reads one line. Its errors never quote the line, which holds a secret.
func parseKey(line string) (Key, error) {
	kid, text, ok := strings.Cut(line, " ")
	if !ok || !validKid(kid) {
		return Key{}, errors.New("want \"<kid> <base64 of 32 bytes>\"")
	}
	if len(text) != keyText {
		return Key{}, fmt.Errorf("the key has %d characters, want %d", len(text), keyText)
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Key{}, errors.New("the key is not standard base64")
	}
	k, err := NewKey(secret)
	if err != nil {
		return Key{}, err
	}
	if k.id != kid {
		return Key{}, fmt.Errorf("kid %s does not belong to the key, whose kid is %s", kid, k.id)
	}
	return k, nil
}

// FormatKeys returns the text of a key file that holds the keys in order; [ParseKeys] reads it.
func FormatKeys(keys ...Key) []byte {
	var b bytes.Buffer
	for _, k := range keys {
		b.WriteString(k.id)
		b.WriteByte(' ')
		b.WriteString(base64.StdEncoding.EncodeToString(k.secret[:]))
		b.WriteByte('\n')
	}
	return b.Bytes()
}
