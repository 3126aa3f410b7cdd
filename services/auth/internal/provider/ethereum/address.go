package ethereum

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
)

const addressBytes = 20

// address is an account address. Two spellings of one address are one value.
type address [addressBytes]byte

// parseAddress reads 0x and 40 hex digits. Digits whose letters have both cases must be the EIP-55 checksum;
// letters of one case carry no checksum and are accepted, as EIP-55 provides. The zero address is refused:
// nobody holds its key, and careless recovery code yields it on failure.
func parseAddress(s string) (address, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok || len(digits) != hex.EncodedLen(addressBytes) {
		return address{}, errors.New("an address is 0x and 40 hex digits")
	}
	var a address
	if _, err := hex.Decode(a[:], []byte(digits)); err != nil {
		return address{}, errors.New("an address is 0x and 40 hex digits")
	}
	if a == (address{}) {
		return address{}, errors.New("the zero address is nobody's")
	}
	mixed := digits != strings.ToLower(digits) && digits != strings.ToUpper(digits)
	if mixed && s != a.checksummed() {
		return address{}, errors.New("the address has a wrong EIP-55 checksum")
	}
	return a, nil
}

// lower returns the address in lower case, the form that key ids are made from.
func (a address) lower() string { return "0x" + hex.EncodeToString(a[:]) }

// checksummed returns the address as EIP-55 writes it: a letter is upper case if the nibble at its place in the
// Keccak-256 of the lower-case digits is 8 or more.
func (a address) checksummed() string {
	digits := []byte(hex.EncodeToString(a[:]))
	sum := hex.EncodeToString(crypto.Keccak256(digits))
	for i, c := range digits {
		if c >= 'a' && sum[i] >= '8' {
			digits[i] = c - 'a' + 'A'
		}
	}
	return "0x" + string(digits)
}

// keyID returns the id of the root key of a.
func (a address) keyID() string {
	sum := sha256.Sum256([]byte("eth:" + a.lower()))
	return hex.EncodeToString(sum[:])
}
