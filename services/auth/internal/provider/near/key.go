package near

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/mr-tron/base58"
)

const keyPrefix = "ed25519:"

// publicKey is an Ed25519 public key that can only belong to somebody: canonical and not of small order.
type publicKey [ed25519.PublicKeySize]byte

// String writes the key as NEAR does.
func (k publicKey) String() string { return keyPrefix + base58.Encode(k[:]) }

var (
	errKeyForm = errors.New("must be ed25519: and the base58 of 32 bytes")
	errKeyWeak = errors.New("nobody can have this key")
)

// parseKey reads ed25519: and base58. The prefix may be missing and its case does not matter; keys of other types are
// refused.
func parseKey(text string) (publicKey, error) {
	const longest = 44 // base58 digits of 32 bytes; decoding takes quadratic time
	if len(text) >= len(keyPrefix) && strings.EqualFold(text[:len(keyPrefix)], keyPrefix) {
		text = text[len(keyPrefix):]
	}
	if len(text) > longest {
		return publicKey{}, errKeyForm
	}
	b, err := base58.Decode(text)
	if err != nil || len(b) != ed25519.PublicKeySize || base58.Encode(b) != text {
		return publicKey{}, errKeyForm
	}
	key := publicKey(b)
	if key.weak() {
		return publicKey{}, errKeyWeak
	}
	return key, nil
}

// smallOrder are the y coordinates (little-endian, without the sign of x) of the eight points whose order divides the
// cofactor. For such a key there are signatures that fit every message.
var smallOrder = map[string]bool{
	"0000000000000000000000000000000000000000000000000000000000000000": true, // order 4
	"0100000000000000000000000000000000000000000000000000000000000000": true, // order 1
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true, // order 2
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05": true, // order 8
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a": true, // order 8
}

// weak reports whether the key is a point of small order, or is not written in the one way of RFC 8032, section 5.1.2
// (y below 2^255 - 19): a second spelling would be a second key to whoever compares texts. That a point exists is the
// business of the verification.
func (k publicKey) weak() bool {
	y := k
	y[31] &= 0x7f
	beyond := y[31] == 0x7f && y[0] >= 0xed
	for _, b := range y[1:31] {
		beyond = beyond && b == 0xff
	}
	return beyond || smallOrder[hex.EncodeToString(y[:])]
}
