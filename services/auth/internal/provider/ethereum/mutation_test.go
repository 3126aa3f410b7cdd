package ethereum_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

// No byte of a signed message can be changed, removed or added.
func TestAuthenticate_MutatedMessage(t *testing.T) {
	p, w := ours(t)
	text := messageOf(w)
	sig := w.sign(t, text)
	for i := range len(text) {
		for _, mutant := range []string{
			text[:i] + string(text[i]^1) + text[i+1:],
			text[:i] + text[i+1:],
			text[:i] + text[i:i+1] + text[i:],
		} {
			if mutant == text {
				continue
			}
			if got, err := authenticate(t, p, login{w.address, mutant, sig, "token"}); !errors.Is(err, provider.ErrRejected) {
				t.Errorf("byte %d changed: %+v, %v\n%s", i, got, err, mutant)
			}
		}
	}
}

func TestAuthenticate_MutatedSignature(t *testing.T) {
	p, w := ours(t)
	text := messageOf(w)
	sig := w.sign(t, text)
	raw, err := hex.DecodeString(sig[2:])
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 64 * 8 {
		mutant := append([]byte(nil), raw...)
		mutant[bit/8] ^= 1 << (bit % 8)
		if got, err := authenticate(t, p, login{w.address, text, "0x" + hex.EncodeToString(mutant), "token"}); !errors.Is(err, provider.ErrRejected) {
			t.Errorf("bit %d changed: %+v, %v", bit, got, err)
		}
	}
	other := newWallet(t, "wallet 2")
	wantRejected(t, p, login{w.address, text, other.sign(t, text), "token"}, "the signature is not one of this message by "+w.address)
	for _, bad := range []string{"0", "0x", "x", sig[2:], "0X" + sig[2:], sig + "00", sig[:131], sig + "\n", " " + sig, sig[:len(sig)-2] + "\r\n", strings.Replace(sig, "0x", "0x0x", 1), sig[:100] + "é" + sig[102:]} {
		if got, err := authenticate(t, p, login{w.address, text, bad, "token"}); !errors.Is(err, provider.ErrRejected) {
			t.Errorf("signature %q: %+v, %v, want ErrRejected", bad, got, err)
		}
	}
}

// Each valid signature has four spellings (v of 0/1 and 27/28, EIP-2098, case of hex) of one r and s, and no twin.
func TestAuthenticate_SpellingsOfOneSignature(t *testing.T) {
	p, w := ours(t)
	for i := range 8 { // both parities occur
		text := strings.Replace(messageOf(w), "Sign in.", fmt.Sprintf("Sign in %d.", i), 1)
		sig := w.sign(t, text)
		raw, _ := hex.DecodeString(sig[2:])
		parity := raw[64] - 27
		small := append(append([]byte(nil), raw[:64]...), parity)
		compact := append([]byte(nil), raw[:64]...)
		compact[32] |= parity << 7
		for _, b := range [][]byte{raw, small, compact} {
			for _, text64 := range []string{hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b))} {
				if _, err := authenticate(t, p, login{w.address, text, "0x" + text64, "token"}); err != nil {
					t.Errorf("signature 0x%s: %v", text64, err)
				}
			}
		}
		s := new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(raw[32:64]))
		twin := append([]byte(nil), raw...)
		s.FillBytes(twin[32:64])
		twin[64] = 27 + (1 - parity)
		wantRejected(t, p, login{w.address, text, "0x" + hex.EncodeToString(twin), "token"}, "s is not the lower of its two values")
	}
}
