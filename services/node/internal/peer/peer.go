// Package peer is the node's long-term key in the two text forms of libp2p: the key pair of the configuration
// file (base58 of the protobuf PrivateKey message) and the peer id 12D3Koo… (base58 of the identity multihash of
// the protobuf PublicKey message). Source: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md.
package peer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/mr-tron/base58"
)

// The messages have two fields: Type = 1 (Ed25519) and Data, which for a private key is seed and public key
// (64 bytes), for a public key the key (32 bytes). Protobuf's deterministic form of them has a fixed prefix.
var (
	privatePrefix = []byte{0x08, 0x01, 0x12, ed25519.PrivateKeySize}
	publicPrefix  = []byte{0x08, 0x01, 0x12, ed25519.PublicKeySize}
)

// multihashIdentity is the code of the identity "hash", which peer ids of keys up to 42 bytes use.
const multihashIdentity = 0x00

// ErrInvalid reports a text that is not an Ed25519 key pair.
var ErrInvalid = errors.New("not a base58 libp2p Ed25519 key pair")

// Generate makes a new key.
func Generate() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the node key: %w", err)
	}
	return key, nil
}

// ParseKeypair reads the text form of a key pair and checks that its halves belong together.
func ParseKeypair(s string) (ed25519.PrivateKey, error) {
	// 68 bytes have 93 base58 characters at most; decoding takes time quadratic in the length.
	if len(s) > 93 {
		return nil, ErrInvalid
	}
	b, err := base58.Decode(s)
	if err != nil {
		return nil, ErrInvalid
	}
	data, ok := bytes.CutPrefix(b, privatePrefix)
	if !ok || len(data) != ed25519.PrivateKeySize {
		return nil, ErrInvalid
	}
	key := ed25519.NewKeyFromSeed(data[:ed25519.SeedSize])
	if !bytes.Equal(key, data) {
		return nil, fmt.Errorf("%w: the public half does not belong to the private one", ErrInvalid)
	}
	return key, nil
}

// Keypair returns the text form of a key pair; it is secret.
func Keypair(key ed25519.PrivateKey) string {
	return base58.Encode(append(bytes.Clone(privatePrefix), key...))
}

// ID returns the peer id of a public key.
func ID(key ed25519.PublicKey) string {
	message := append(bytes.Clone(publicPrefix), key...)
	const length = 4 + ed25519.PublicKeySize // of the message; the prefix has 4 bytes
	return base58.Encode(append([]byte{multihashIdentity, length}, message...))
}
