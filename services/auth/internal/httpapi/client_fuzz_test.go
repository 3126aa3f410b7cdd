package httpapi_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
)

// FuzzClientPrefix: whatever stands in X-Forwarded-For, a peer that is no trusted proxy is the client itself, the
// result is a network in its one spelling, and what a client adds on the left changes nothing.
func FuzzClientPrefix(f *testing.F) {
	for _, seed := range []string{
		"203.0.113.9", "10.9.9.9, 203.0.113.9", "2001:db8::1", "[2001:db8::1]:443", "203.0.113.9:80", "::ffff:127.0.0.1", "fe80::1%eth0", "a",
		"", ",", " , ,", "127.0.0.1, 127.0.0.2", "unknown", "_hidden", "1.2.3.4,", strings.Repeat("127.0.0.1,", 50),
	} {
		f.Add("127.0.0.1:4000", seed)
		f.Add("[2001:db8::5]:4000", seed)
	}
	f.Add("nonsense", "1.2.3.4")
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	f.Fuzz(func(t *testing.T, remote, header string) {
		got := httpapi.ClientPrefix(trusted, remote, header)
		peer, err := netip.ParseAddrPort(remote)
		if err != nil {
			if got != "unknown" {
				t.Fatalf("client of peer %q is %q", remote, got)
			}
			return
		}
		if got != httpapi.ClientPrefix(trusted, remote, header) {
			t.Fatal("two readings")
		}
		canonical(t, got)
		own := httpapi.ClientPrefix(nil, remote)
		if addr := peer.Addr().Unmap().WithZone(""); !trusted[0].Contains(addr) && !trusted[1].Contains(addr) && got != own {
			t.Fatalf("peer %s is no proxy, and its claim %q makes it %s", remote, header, got)
		}
		// The right-most entry that is no proxy ends the search: nothing on its left counts.
		last := header[strings.LastIndexByte(header, ',')+1:]
		addr, err := netip.ParseAddr(strings.TrimSpace(last))
		// A prefix holds no address with a zone, so that the zone must be off before the question.
		if addr = addr.Unmap().WithZone(""); err != nil || trusted[0].Contains(addr) || trusted[1].Contains(addr) {
			return
		}
		for _, claim := range []string{"198.51.100.7,", "127.0.0.1, ", "x,"} {
			if forged := httpapi.ClientPrefix(trusted, remote, claim+header); forged != got {
				t.Fatalf("a claim on the left of %q makes %s of %s", header, forged, got)
			}
		}
	})
}

func canonical(t *testing.T, text string) {
	t.Helper()
	if addr, err := netip.ParseAddr(text); err == nil {
		if !addr.Is4() || addr.String() != text {
			t.Fatalf("client %q: want an IPv4 address or a /64", text)
		}
		return
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Bits() != 64 || prefix.Masked().String() != text {
		t.Fatalf("client %q: want an IPv4 address or a /64: %v", text, err)
	}
}
