package token_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []string{"HS256", "HS384"} {
		b.Run(algorithm, func(b *testing.B) {
			o := options(corpusKeyring())
			o.Algorithm = algorithm
			codec := newCodec(b, o)
			raw, _, err := codec.Sign(accessClaims())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.Verify(raw, token.KindAccess); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	codec := newCodec(b, options(corpusKeyring()))
	claims := accessClaims()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := codec.Sign(claims); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefuse is what garbage costs.
func BenchmarkRefuse(b *testing.B) {
	codec := newCodec(b, options(corpusKeyring()))
	for name, raw := range map[string]string{
		"60000 dots":    strings.Repeat(".", 60000),
		"bad signature": forge(secretCSRF, goodHeader().text(), goodClaims().text()),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.Verify(raw, token.KindAccess); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

// BenchmarkBareHMAC is the denominator of BenchmarkVerify: one MAC over the same bytes with the standard library.
func BenchmarkBareHMAC(b *testing.B) {
	codec := newCodec(b, options(corpusKeyring()))
	raw, _, err := codec.Sign(accessClaims())
	if err != nil {
		b.Fatal(err)
	}
	input := []byte(raw[:strings.LastIndexByte(raw, '.')])
	b.ReportAllocs()
	for b.Loop() {
		h := hmac.New(sha256.New, secretV1)
		h.Write(input)
		h.Sum(nil)
	}
}
