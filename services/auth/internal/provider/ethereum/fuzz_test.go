package ethereum_test

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum"
)

// What the parser accepts it writes back byte for byte, and it accepts nothing but printable lines of bounded size.
func FuzzParseMessage(f *testing.F) {
	for _, c := range loadCorpus(f) {
		if len(c.Request.Message) <= 8<<10 {
			f.Add(string(c.Request.Message))
		}
	}
	for _, c := range loadVectors(f).EIP4361 {
		f.Add(c.Message)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ethereum.Reserialise(text)
		if err != nil {
			return
		}
		if got != text {
			t.Errorf("parsed %q, written %q", text, got)
		}
		if len(text) > 4096 {
			t.Errorf("accepted %d bytes", len(text))
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); i >= 0 {
			t.Errorf("accepted %q at %d", text, i)
		}
		for _, label := range []string{"URI: ", "Version: ", "Chain ID: ", "Nonce: ", "Issued At: ", "Expiration Time: ", "Not Before: "} {
			// One of the two may be the statement.
			if n := strings.Count(text, "\n"+label); n > 2 {
				t.Errorf("accepted %d lines %q in %q", n, label, text)
			}
		}
	})
}

// A signature that decodes is in range, low, and the only one with its bytes; recovery never panics and never
// yields the zero address.
func FuzzDecodeSignature(f *testing.F) {
	for _, c := range loadCorpus(f) {
		if len(c.Request.Signature) < 200 {
			f.Add(string(c.Request.Signature))
		}
	}
	v := loadVectors(f)
	for _, c := range v.Negative {
		f.Add(c.Signature)
	}
	n := crypto.S256().Params().N
	half := new(big.Int).Rsh(n, 1)
	one := big.NewInt(1)
	for _, r := range []*big.Int{one, new(big.Int).Sub(n, one), n} {
		for _, s := range []*big.Int{one, half, new(big.Int).Add(half, one), n} {
			raw := make([]byte, 65)
			r.FillBytes(raw[:32])
			s.FillBytes(raw[32:64])
			f.Add("0x" + hex.EncodeToString(raw))
		}
	}
	hash := ethereum.PersonalHash([]byte("message"))
	f.Fuzz(func(t *testing.T, text string) {
		sig, err := ethereum.DecodeSignature(text)
		if err != nil {
			return
		}
		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64])
		if r.Sign() == 0 || r.Cmp(n) >= 0 || s.Sign() == 0 || s.Cmp(half) > 0 || sig[64] > 1 {
			t.Errorf("DecodeSignature(%q) = %x is out of range", text, sig)
		}
		again, err := ethereum.DecodeSignature("0x" + hex.EncodeToString(sig[:]))
		if err != nil || !bytes.Equal(again[:], sig[:]) {
			t.Errorf("DecodeSignature of %x = %x, %v", sig, again, err)
		}
		if a, err := ethereum.Recover(hash, sig); err == nil && strings.Trim(a, "0x") == "" {
			t.Errorf("Recover(%x) = %s", sig, a)
		}
	})
}
