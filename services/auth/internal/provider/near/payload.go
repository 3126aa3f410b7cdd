package near

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/calimero-network/mero-go/pkg/borsh"
)

// tag stands before every NEP-413 payload and keeps it from being a transaction.
const tag = 1<<31 + 413

// nonceLength is the length of an NEP-413 nonce in bytes.
const nonceLength = 32

// payload is what a wallet signs. The state of NEP-413 is not among it.
type payload struct {
	message   string
	nonce     []byte // 32 bytes
	recipient string
	callback  *string // nil for none, which is not the same as ""
}

// digest is what the key signs: SHA-256 over the tag and the Borsh encoding.
func (p payload) digest() ([sha256.Size]byte, error) {
	if len(p.nonce) != nonceLength {
		return [sha256.Size]byte{}, fmt.Errorf("the nonce has %d bytes, not %d", len(p.nonce), nonceLength)
	}
	var e borsh.Encoder
	e.U32(tag)
	e.Str(p.message)
	e.Fixed(p.nonce)
	e.Str(p.recipient)
	e.Option(p.callback != nil)
	if p.callback != nil {
		e.Str(*p.callback)
	}
	encoded, err := e.Finish()
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("NEP-413 payload: %w", err)
	}
	return sha256.Sum256(encoded), nil
}

// signedBy reports whether sig is a signature of the payload by key.
func (p payload) signedBy(key publicKey, sig signature) (bool, error) {
	digest, err := p.digest()
	if err != nil {
		return false, err
	}
	return ed25519.Verify(key[:], digest[:], sig[:]), nil
}

type signature [ed25519.SignatureSize]byte

// decodeSignature reads standard base64 with padding of 64 bytes. Writing it again refuses the line ends that the
// decoder skips and the stray bits that it drops.
func decodeSignature(text string) (signature, error) {
	var sig signature
	if len(text) != base64.StdEncoding.EncodedLen(len(sig)) {
		return signature{}, errSignatureForm
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != len(sig) || base64.StdEncoding.EncodeToString(b) != text {
		return signature{}, errSignatureForm
	}
	copy(sig[:], b)
	return sig, nil
}

var errSignatureForm = errors.New("signature must be the standard base64 of 64 bytes")

// nonceText is how a nonce is handed to clients.
func nonceText(nonce []byte) string { return base64.StdEncoding.EncodeToString(nonce) }
