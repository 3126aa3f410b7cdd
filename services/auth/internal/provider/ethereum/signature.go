package ethereum

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"

	"github.com/ethereum/go-ethereum/crypto"
)

// signature is r, s (32 bytes each, big-endian) and the recovery id 0 or 1, with r in [1,n-1] and s in [1,n/2].
type signature [65]byte

var errSignatureForm = errors.New("a signature is 0x and 130 hex digits, or 128 in the form of EIP-2098")

// decodeSignature reads 0x and hex digits of either r, s and v with v in {0, 1, 27, 28}, or the 64-byte form of
// EIP-2098, in which the top bit of s is the recovery id. A high s is refused (EIP-2): it is a second signature
// that anyone can make from the first.
func decodeSignature(text string) (signature, error) {
	const compact, full = 64, 65
	size := hex.DecodedLen(len(text) - len("0x"))
	if (size != compact && size != full) || text[:2] != "0x" {
		return signature{}, errSignatureForm
	}
	var sig signature
	if _, err := hex.Decode(sig[:size], []byte(text[2:])); err != nil { // an odd number of digits too
		return signature{}, errSignatureForm
	}
	if size == compact {
		sig[64] = sig[32] >> 7
		sig[32] &= 0x7f
	} else {
		switch v := sig[64]; v {
		case 0, 1:
		case 27, 28:
			sig[64] = v - 27
		default:
			return signature{}, fmt.Errorf("the signature's v is %d, not 0, 1, 27 or 28", v)
		}
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64])
	if !crypto.ValidateSignatureValues(sig[64], r, s, true) {
		return signature{}, errors.New("the signature's r or s is out of range, or s is not the lower of its two values")
	}
	return sig, nil
}

// personalHash is the digest that personal_sign signs (EIP-191, version 0x45). The length counts bytes.
func personalHash(message []byte) []byte {
	return crypto.Keccak256([]byte("\x19Ethereum Signed Message:\n"+strconv.Itoa(len(message))), message)
}

// verifySignature checks that the holder of the key of claimed signed message with personal_sign.
func verifySignature(claimed address, message, text string) error {
	sig, err := decodeSignature(text)
	if err != nil {
		return err
	}
	signer, err := recoverSigner(personalHash([]byte(message)), sig)
	if err != nil {
		return err
	}
	if signer != claimed {
		return notSignedBy(claimed)
	}
	return nil
}

func notSignedBy(claimed address) error {
	return fmt.Errorf("the signature is not one of this message by %s", claimed.checksummed())
}

// recoverSigner returns the address whose key made sig over hash. On failure there is no address to compare:
// the zero address of a failed recovery would otherwise be an account that anybody can sign for.
func recoverSigner(hash []byte, sig signature) (address, error) {
	public, err := crypto.Ecrecover(hash, sig[:])
	if err != nil {
		return address{}, errors.New("no key can have made this signature")
	}
	// public is 0x04 and the point; the address is the end of the point's hash.
	return address(crypto.Keccak256(public[1:])[12:]), nil
}
