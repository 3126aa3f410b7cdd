package assertion_test

import "testing"

func BenchmarkSign(b *testing.B) {
	ring := testRing(b, testKey(b, 0))
	b.ReportAllocs()
	for b.Loop() {
		ring.Sign(claim, exp)
	}
}

func BenchmarkVerify(b *testing.B) {
	ring := testRing(b, testKey(b, 0))
	header := ring.Sign(claim, exp)
	b.ReportAllocs()
	for b.Loop() {
		if err := ring.Verify(header, claim, at, leeway, maxTTL); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign_Ed25519(b *testing.B) {
	key := signingKey(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		key.Sign(claim, exp)
	}
}

func BenchmarkVerify_Ed25519(b *testing.B) {
	key := signingKey(b, 0)
	set, header := keySet(b, key), key.Sign(claim, exp)
	b.ReportAllocs()
	for b.Loop() {
		if err := set.Verify(header, claim, at, leeway, maxTTL); err != nil {
			b.Fatal(err)
		}
	}
}
