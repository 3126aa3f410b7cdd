package assertion

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/calimero-network/mero-go/pkg/strictjson"
)

const (
	version2 = "v2"
	sigText  = 86 // unpadded base64 of a signature

	// maxSetKeys and MaxSetText bound a key set. A gate that rotates as fast as it can be told to lists 32.
	maxSetKeys = 128

	// publicKeyText is the length of the unpadded base64 of a public key.
	publicKeyText = 43
)

// MaxLen2 is the length of the longest assertion of version 2 in bytes.
const MaxLen2 = prefixLen + sigText

// MaxSetText is the length of the longest text of a key set in bytes.
const MaxSetText = 64 << 10

// ErrKeySet is wrapped by every error about the content of a key set.
var ErrKeySet = errors.New("assertion key set")

// SigningKey is an Ed25519 private key. It prints as its id.
type SigningKey struct {
	public  PublicKey
	private ed25519.PrivateKey
}

// NewSigningKey returns the key of a seed of 32 bytes (RFC 8032 section 5.1.5).
func NewSigningKey(seed []byte) (SigningKey, error) {
	if len(seed) != ed25519.SeedSize {
		return SigningKey{}, fmt.Errorf("assertion signing key has %d bytes, want %d", len(seed), ed25519.SeedSize)
	}
	private := ed25519.NewKeyFromSeed(seed)
	raw, _ := private.Public().(ed25519.PublicKey) // always one
	public, err := NewPublicKey(raw)
	return SigningKey{public, private}, err
}

// ID returns the kid: the first 8 hex characters of the SHA-256 of the public key.
func (k SigningKey) ID() string { return k.public.id }

// Public returns the public key.
func (k SigningKey) Public() PublicKey { return k.public }

// Format prints the id for every verb and flag.
func (k SigningKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.public.id)) }

// Sign returns the assertion of version 2 for the claim, ending at exp (whole seconds; a fraction is dropped).
func (k SigningKey) Sign(c Claim, exp time.Time) string {
	var out [MaxLen2]byte
	var scratch [512]byte
	b, at := appendPrefix(out[:0], version2, k.public.id, exp)
	sig := ed25519.Sign(k.private, c.append(scratch[:0], string(b[at:])))
	b = append(b, '.')
	return string(base64.RawURLEncoding.AppendEncode(b, sig))
}

// PublicKey is an Ed25519 public key that may sign assertions.
type PublicKey struct {
	id  string
	key ed25519.PublicKey
}

// NewPublicKey returns the public key of 32 bytes. It refuses points of small order, under which anybody can make
// signatures, and encodings that are not canonical, which would give one key several ids.
func NewPublicKey(raw []byte) (PublicKey, error) {
	if len(raw) != ed25519.PublicKeySize {
		return PublicKey{}, fmt.Errorf("assertion public key has %d bytes, want %d", len(raw), ed25519.PublicKeySize)
	}
	y := bytes.Clone(raw)
	y[31] &= 0x7f // the highest bit is the sign of x
	if !belowPrime(y) || slices.Contains(smallOrder, hex.EncodeToString(y)) {
		return PublicKey{}, errors.New("assertion public key is a point that nobody may use as a key")
	}
	sum := sha256.Sum256(raw)
	return PublicKey{id: hex.EncodeToString(sum[:kidLen/2]), key: bytes.Clone(raw)}, nil
}

// smallOrder lists the y coordinates of the eight points whose order divides 8, little-endian.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
}

// belowPrime reports whether a little-endian number of 255 bits is below 2^255 - 19.
func belowPrime(y []byte) bool {
	if y[31] != 0x7f {
		return true
	}
	for _, b := range y[1:31] {
		if b != 0xff {
			return true
		}
	}
	return y[0] < 0xed
}

// ID returns the kid: the first 8 hex characters of the SHA-256 of the key.
func (k PublicKey) ID() string { return k.id }

// KeySet is an immutable set of public keys. It is safe for concurrent use.
type KeySet struct{ keys []PublicKey }

// NewKeySet returns the set of the given keys, which must be between 1 and 128 and differ in their ids.
func NewKeySet(keys ...PublicKey) (*KeySet, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no key for assertions", ErrKeySet)
	}
	if len(keys) > maxSetKeys {
		return nil, fmt.Errorf("%w: %d keys, at most %d", ErrKeySet, len(keys), maxSetKeys)
	}
	s := &KeySet{}
	for _, k := range keys {
		if s.find(k.id) != nil {
			return nil, fmt.Errorf("%w: key %s occurs twice", ErrKeySet, k.id)
		}
		s.keys = append(s.keys, k)
	}
	return s, nil
}

func (s *KeySet) find(kid string) *PublicKey {
	for i := range s.keys {
		if s.keys[i].id == kid {
			return &s.keys[i]
		}
	}
	return nil
}

// IDs returns the kids in order.
func (s *KeySet) IDs() []string {
	ids := make([]string, len(s.keys))
	for i := range s.keys {
		ids[i] = s.keys[i].id
	}
	return ids
}

// Verify is [Ring.Verify] for assertions of version 2 by one of the set's keys.
func (s *KeySet) Verify(header string, c Claim, now time.Time, leeway, maxTTL time.Duration) error {
	var sig [ed25519.SignatureSize]byte
	p, err := parse(header, version2, sig[:])
	if err != nil {
		return err
	}
	k := s.find(p.kid)
	if k == nil {
		return ErrUnknownKey
	}
	var scratch [512]byte
	if !ed25519.Verify(k.key, c.append(scratch[:0], p.expText), sig[:]) {
		return ErrBadMAC
	}
	return p.timely(now, leeway, maxTTL)
}

// jwk is a JSON Web Key (RFC 7517; RFC 8037 section 2 for Ed25519).
type jwk struct {
	Type      string   `json:"kty"`
	Curve     string   `json:"crv,omitempty"`
	X         string   `json:"x,omitempty"`
	ID        string   `json:"kid,omitempty"`
	Use       string   `json:"use,omitempty"`
	Algorithm string   `json:"alg,omitempty"`
	Ops       []string `json:"key_ops,omitempty"`

	// Members of secret keys. None may be there.
	D json.RawMessage `json:"d,omitempty"`
	K json.RawMessage `json:"k,omitempty"`
}

// FormatJWKS returns the keys as a JSON Web Key Set (RFC 7517 section 5); [ParseJWKS] reads it.
func FormatJWKS(keys ...PublicKey) []byte {
	set := struct {
		Keys []jwk `json:"keys"`
	}{make([]jwk, len(keys))}
	for i, k := range keys {
		set.Keys[i] = jwk{
			Type: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(k.key), ID: k.id, Use: "sig", Algorithm: "EdDSA",
		}
	}
	text, _ := json.Marshal(set) // of strings: it never fails
	return append(text, '\n')
}

// ParseJWKS reads a JSON Web Key Set. Keys of other types and for other uses are left out, as RFC 7517 section 5
// asks. A set with a secret in it is refused as a whole, so that the mistake is noticed; so is one in which a kid
// is not that of its key, a key occurs twice, or no key is left.
func ParseJWKS(text []byte) (*KeySet, error) {
	if len(text) > MaxSetText {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrKeySet, MaxSetText)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := strictjson.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	}
	if len(set.Keys) > maxSetKeys {
		return nil, fmt.Errorf("%w: %d keys, at most %d", ErrKeySet, len(set.Keys), maxSetKeys)
	}
	var keys []PublicKey
	for i, raw := range set.Keys {
		var k jwk
		if err := strictjson.Unmarshal(raw, &k); err != nil {
			return nil, fmt.Errorf("%w: key %d: %w", ErrKeySet, i+1, err)
		}
		if k.Type == "oct" || k.D != nil || k.K != nil {
			return nil, fmt.Errorf("%w: key %d is secret: a published set holds public keys only", ErrKeySet, i+1)
		}
		if !k.verifies() {
			continue
		}
		public, err := k.public()
		if err != nil {
			return nil, fmt.Errorf("%w: key %d: %w", ErrKeySet, i+1, err)
		}
		keys = append(keys, public)
	}
	return NewKeySet(keys...)
}

// verifies reports whether the key is for Ed25519 signatures. Its alg is "EdDSA" (RFC 8037) or "Ed25519" (RFC 9864).
func (k jwk) verifies() bool {
	return k.Type == "OKP" && k.Curve == "Ed25519" && (k.Use == "" || k.Use == "sig") &&
		(k.Algorithm == "" || k.Algorithm == "EdDSA" || k.Algorithm == "Ed25519") &&
		(k.Ops == nil || slices.Contains(k.Ops, "verify"))
}

func (k jwk) public() (PublicKey, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
	if err != nil || len(k.X) != publicKeyText {
		return PublicKey{}, errors.New("x is not the base64url of 32 bytes")
	}
	public, err := NewPublicKey(raw)
	if err == nil && public.id != k.ID {
		err = fmt.Errorf("kid %q does not belong to the key, whose kid is %s", k.ID, public.id)
	}
	return public, err
}
