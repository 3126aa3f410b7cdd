package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/calimero-network/mero-go/pkg/reqctx"
)

// clientPrefix returns the network that limits, sessions and the audit attribute a request to: the IPv4 address or
// the IPv6 /64 of the client. Behind trusted proxies the client is the right-most X-Forwarded-For entry that is no
// trusted proxy itself; what stands left of it is the client's own claim, and what is no address ends the search.
func (s *server) clientPrefix(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	addr := peer.Addr().Unmap().WithZone("")
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0 && s.trusts(addr); i-- {
		next, more := s.forwardedFor(addr, lines[i])
		addr = next
		if !more {
			break
		}
	}
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}

// forwardedFor follows one line of X-Forwarded-For from its end, as long as each address that it arrives at is a
// trusted proxy. more is false when the search is over.
func (s *server) forwardedFor(addr netip.Addr, line string) (found netip.Addr, more bool) {
	for more = true; more && s.trusts(addr); {
		var entry string
		if comma := strings.LastIndexByte(line, ','); comma >= 0 {
			line, entry = line[:comma], line[comma+1:]
		} else {
			entry, line = line, ""
			more = false
		}
		next, err := parseForwarded(strings.TrimSpace(entry))
		if err != nil {
			return addr, false
		}
		addr = next
	}
	return addr, s.trusts(addr)
}

// parseForwarded reads an entry of X-Forwarded-For. Some proxies add the port.
func parseForwarded(entry string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"))
	if err != nil {
		var withPort netip.AddrPort
		if withPort, err = netip.ParseAddrPort(entry); err == nil {
			addr = withPort.Addr()
		}
	}
	return addr.Unmap().WithZone(""), err
}

func (s *server) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(s.Trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// requestID returns the id that a trusted proxy has given the request, and otherwise a new one: who is no proxy of ours
// shall not choose what stands in our logs.
func (s *server) requestID(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !s.trusts(peer.Addr().Unmap().WithZone("")) {
		return reqctx.NewRequestID("")
	}
	return reqctx.NewRequestID(r.Header.Get(reqctx.HeaderRequestID))
}
