package borsh_test

import (
	"strings"
	"testing"
)

func BenchmarkNEP413(b *testing.B) {
	callback := "https://app.example/callback"
	p := payload{tag: 2147484061, message: strings.Repeat("challenge", 50), recipient: "mero.example", callback: &callback}
	data, err := p.encode(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		buf := make([]byte, 0, len(data))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.encode(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodePayload(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
