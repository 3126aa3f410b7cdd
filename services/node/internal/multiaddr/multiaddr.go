// Package multiaddr reads the addresses of configuration files, such as /ip4/127.0.0.1/tcp/2528: the part of
// libp2p's multiaddr text form (https://multiformats.io/multiaddr) that listeners and boot nodes use.
package multiaddr

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/mr-tron/base58"
)

// ErrInvalid reports a text that is not an address; errors of [Parse] and [Addr.TCP] wrap it.
var ErrInvalid = errors.New("not a usable multiaddr")

// maxLength bounds an address; the longest that makes sense (DNS name, transports, peer id) has about 330 bytes.
const maxLength = 512

// Part is one protocol of an address with its value, "" for a protocol that has none.
type Part struct{ Protocol, Value string }

// Addr is an address, outermost protocol first.
type Addr []Part

// protocols lists the known protocols with the check of their value; nil means that they take none.
var protocols = map[string]func(string) error{
	"ip4": ip4, "ip6": ip6,
	"dns": domain, "dns4": domain, "dns6": domain, "dnsaddr": domain,
	"tcp": port, "udp": port,
	"p2p":  peerID,
	"quic": nil, "quic-v1": nil, "ws": nil, "wss": nil, "tls": nil, "p2p-circuit": nil,
}

// Parse reads an address. Every accepted text is canonical: Parse(s).String() == s.
func Parse(s string) (Addr, error) {
	if len(s) > maxLength {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxLength)
	}
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return nil, fmt.Errorf("%w: %q does not start with /", ErrInvalid, s)
	}
	fields := strings.Split(rest, "/")
	var a Addr
	for i := 0; i < len(fields); i++ {
		check, known := protocols[fields[i]]
		if !known {
			return nil, fmt.Errorf("%w: %q: unknown protocol %q", ErrInvalid, s, fields[i])
		}
		p := Part{Protocol: fields[i]}
		if check != nil {
			if i++; i == len(fields) {
				return nil, fmt.Errorf("%w: %q: %s has no value", ErrInvalid, s, p.Protocol)
			}
			p.Value = fields[i]
			if err := check(p.Value); err != nil {
				return nil, fmt.Errorf("%w: %q: %s %q: %w", ErrInvalid, s, p.Protocol, p.Value, err)
			}
		}
		a = append(a, p)
	}
	return a, nil
}

// String returns the text form.
func (a Addr) String() string {
	var b strings.Builder
	for _, p := range a {
		b.WriteString("/" + p.Protocol)
		if protocols[p.Protocol] != nil {
			b.WriteString("/" + p.Value)
		}
	}
	return b.String()
}

// TCP returns the IP address and port of an address that is exactly /ip4/…/tcp/… or /ip6/…/tcp/….
func (a Addr) TCP() (netip.AddrPort, error) {
	if len(a) != 2 || (a[0].Protocol != "ip4" && a[0].Protocol != "ip6") || a[1].Protocol != "tcp" {
		return netip.AddrPort{}, fmt.Errorf("%w: %q: want /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT", ErrInvalid, a.String())
	}
	ip, err := netip.ParseAddr(a[0].Value)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	n, err := strconv.ParseUint(a[1].Value, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return netip.AddrPortFrom(ip, uint16(n)), nil
}

// FromTCP returns the address of a TCP endpoint.
func FromTCP(ap netip.AddrPort) Addr {
	ip, protocol := ap.Addr().Unmap(), "ip6"
	if ip.Is4() {
		protocol = "ip4"
	}
	return Addr{{protocol, ip.WithZone("").String()}, {"tcp", strconv.Itoa(int(ap.Port()))}}
}

func ip4(s string) error {
	if ip, err := netip.ParseAddr(s); err != nil || !ip.Is4() {
		return errors.New("want an IPv4 address")
	}
	return nil
}

func ip6(s string) error {
	ip, err := netip.ParseAddr(s)
	if err != nil || !ip.Is6() || ip.Zone() != "" || ip.Is4In6() {
		return errors.New("want an IPv6 address without zone")
	}
	if ip.String() != s {
		return fmt.Errorf("write it as %s", ip)
	}
	return nil
}

func domain(s string) error {
	if s == "" || len(s) > 253 {
		return errors.New("want a DNS name")
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return errors.New("want a DNS name")
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return errors.New("want a DNS name")
			}
		}
	}
	return nil
}

func port(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return errors.New("want a port from 0 to 65535")
	}
	return nil
}

// peerID accepts both base58 forms: 34 bytes (SHA-256 of the key, Qm…) and 38 bytes (the Ed25519 key, 12D3Koo…).
func peerID(s string) error {
	if len(s) < 46 || len(s) > 52 {
		return errors.New("want a peer id")
	}
	if b, err := base58.Decode(s); err != nil || (len(b) != 34 && len(b) != 38) {
		return errors.New("want a peer id")
	}
	return nil
}
