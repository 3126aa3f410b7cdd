package fetch

import (
	"net/netip"
	"slices"
)

// special are the networks inside the unicast range that are not the public internet (the IANA registries of special
// purpose addresses, RFC 6890 and what came later). What lies outside the unicast range is not listed.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"2001::/23", "2001:db8::/32", "3fff::/20",
)

// embedding are the networks whose addresses lead to an IPv4 address that they hold at an offset in bytes.
var embedding = map[netip.Prefix]int{
	netip.MustParsePrefix("64:ff9b::/96"): 12, // RFC 6052: translation
	netip.MustParsePrefix("2002::/16"):    2,  // RFC 3056: 6to4
}

// unicast6 is all that is assigned to the internet of IPv6.
var unicast6 = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		list[i] = netip.MustParsePrefix(s)
	}
	return list
}

// public reports whether an address belongs to the public internet.
func public(addr netip.Addr) bool {
	if addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	for p, at := range embedding {
		if p.Contains(addr) {
			b := addr.As16()
			return public(netip.AddrFrom4([4]byte(b[at : at+4])))
		}
	}
	if addr.Is4() {
		first := addr.As4()[0]
		if first >= 224 { // multicast, reserved, broadcast
			return false
		}
	} else if !unicast6.Contains(addr) {
		return false
	}
	return !within(special, addr)
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}
