// Package ethtest is an Ethereum wallet for tests.
package ethtest

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
)

// Wallet holds one key.
type Wallet struct {
	key *ecdsa.PrivateKey

	Address string // as EIP-55 writes it
}

// NewWallet makes the wallet of a seed: the same text, the same key.
func NewWallet(t testing.TB, seed string) Wallet {
	t.Helper()
	sum := sha256.Sum256([]byte(seed))
	key, err := crypto.ToECDSA(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return Wallet{key, crypto.PubkeyToAddress(key.PublicKey).Hex()}
}

// Sign signs as personal_sign does (EIP-191, version 0x45) and returns the signature in hex.
func (w Wallet) Sign(t testing.TB, text string) string {
	t.Helper()
	sig, err := crypto.Sign(digest(text), w.key)
	if err != nil {
		t.Fatal(err)
	}
	sig[64] += 27
	return "0x" + hex.EncodeToString(sig)
}

// Check is the bare check of a signature that [Wallet.Sign] made: who signed text?
func (w Wallet) Check(text, signature string) error {
	sig, err := hex.DecodeString(signature[2:])
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	sig[64] -= 27
	signer, err := crypto.SigToPub(digest(text), sig)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	if address := crypto.PubkeyToAddress(*signer).Hex(); address != w.Address {
		return fmt.Errorf("signed by %s, not %s", address, w.Address)
	}
	return nil
}

func digest(text string) []byte {
	return crypto.Keccak256([]byte("\x19Ethereum Signed Message:\n"+strconv.Itoa(len(text))), []byte(text))
}
