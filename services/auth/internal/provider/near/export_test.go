package near

import "github.com/mr-tron/base58"

// KeyText writes any bytes as a key.
func KeyText(b []byte) string { return keyPrefix + base58.Encode(b) }

// Digest is what is signed.
func Digest(message string, nonce []byte, recipient string, callback *string) ([32]byte, error) {
	return payload{message, nonce, recipient, callback}.digest()
}

// CheckAccessKey reads the result of view_access_key.
var CheckAccessKey = checkAccessKey

// DecodeSignature reads a signature.
func DecodeSignature(text string) ([64]byte, error) { return decodeSignature(text) }
