package bundle_test

import (
	"slices"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/bundle"
)

// SemVer 2.0.0 section 11, in rising order; texts that are no versions come first.
var ordered = []string{
	"", "1", "latest", "v1.0.0",
	"0.0.0-0", "0.0.0", "0.0.4", "0.9.0", "0.10.0", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
	"1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "2.0.0", "2.1.0", "2.1.1", "10.0.0", "99999999999999999999.0.0", "100000000000000000000.0.0",
}

func TestCompareVersions(t *testing.T) {
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := sign3(bundle.CompareVersions(a, b)), sign3(i-j); got != want {
				t.Errorf("%q, %q: %d, want %d", a, b, got, want)
			}
		}
	}
	if got := bundle.CompareVersions("1.0.0+a", "1.0.0+b"); got != 0 {
		t.Errorf("build metadata counts: %d", got)
	}
}

func sign3(n int) int { return max(-1, min(1, n)) }

func TestParseVersion_Refuses(t *testing.T) {
	for _, s := range []string{
		"", "1", "1.2", "1.2.3.4", "01.2.3", "1.02.3", "1.2.03", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.2.3+", "1.2.3+a+b", "1.2.3-ä", "v1.2.3", " 1.2.3",
		"1.2.x", "-1.2.3", "1.2.3-a_b", "1.2.3+a_b", "1.2.3-" + string(slices.Repeat([]byte("a"), 64)),
	} {
		if _, err := bundle.ParseVersion(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func FuzzVersion(f *testing.F) {
	for _, s := range ordered {
		f.Add(s, "1.0.0-x.7.z.92+build.5")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		ab, ba := sign3(bundle.CompareVersions(a, b)), sign3(bundle.CompareVersions(b, a))
		if ab != -ba {
			t.Errorf("%q, %q: %d and %d", a, b, ab, ba)
		}
		if bundle.CompareVersions(a, a) != 0 {
			t.Errorf("%q differs from itself", a)
		}
		v, errA := bundle.ParseVersion(a)
		w, errB := bundle.ParseVersion(b)
		if errA == nil && errB == nil && sign3(v.Compare(w)) != ab {
			t.Errorf("%q, %q: Compare and CompareVersions differ", a, b)
		}
	})
}
