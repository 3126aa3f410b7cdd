//go:build !race

package assertion_test

import "testing"

// The race detector makes sync.Pool drop items, so the count means something only without it.
func TestSign_Allocations(t *testing.T) {
	ring := testRing(t, testKey(t, 0))
	if n := testing.AllocsPerRun(1000, func() { ring.Sign(claim, exp) }); n > 2 {
		t.Errorf("Sign allocates %v times, want at most 2", n)
	}
	header := ring.Sign(claim, exp)
	if n := testing.AllocsPerRun(1000, func() { _ = ring.Verify(header, claim, at, leeway, maxTTL) }); n > 1 {
		t.Errorf("Verify allocates %v times, want at most 1", n)
	}
}
