package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
)

// SecurityHeaders configures the headers that tell browsers what not to do.
type SecurityHeaders struct {
	Enabled        bool
	HSTSMaxAge     int // seconds; sent only when the public address is https
	HSTSSubdomains bool
	FrameOptions   string
	NoSniff        bool
	ReferrerPolicy string
	ConnectSrc     []string // further origins that pages may call
}

// render returns the headers in net/http's form. The policy allows no inline script and cannot be configured to.
func (o SecurityHeaders) render(publicURL string) map[string][]string {
	if !o.Enabled {
		return nil
	}
	connect := strings.Join(slices.Concat([]string{"'self'"}, o.ConnectSrc), " ")
	h := map[string][]string{
		"Content-Security-Policy": {"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src " +
			connect + "; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"},
		"Cross-Origin-Opener-Policy": {"same-origin"},
	}
	if o.FrameOptions != "" {
		h["X-Frame-Options"] = []string{o.FrameOptions}
	}
	if o.NoSniff {
		h["X-Content-Type-Options"] = []string{"nosniff"}
	}
	if o.ReferrerPolicy != "" {
		h["Referrer-Policy"] = []string{o.ReferrerPolicy}
	}
	if strings.HasPrefix(publicURL, "https://") && o.HSTSMaxAge > 0 {
		value := fmt.Sprintf("max-age=%d", o.HSTSMaxAge)
		if o.HSTSSubdomains {
			value += "; includeSubDomains"
		}
		h["Strict-Transport-Security"] = []string{value}
	}
	return h
}

// clientPrefix returns the network that limits and sessions attribute a request to: the IPv4 address or the
// IPv6 /64 of the client. Behind trusted proxies the client is the right-most X-Forwarded-For entry that is no
// trusted proxy itself; what stands left of it is the client's own claim.
func (s *server) clientPrefix(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	addr := peer.Addr().Unmap().WithZone("")
	entries := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(entries) - 1; i >= 0 && s.trusts(addr); i-- {
		forwarded, err := netip.ParseAddr(strings.TrimSpace(entries[i]))
		if err != nil {
			break
		}
		addr = forwarded.Unmap().WithZone("")
	}
	if addr.Is6() {
		network, err := addr.Prefix(64)
		if err == nil {
			return network.String()
		}
	}
	return addr.String()
}

func (s *server) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(s.Trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// panicError carries a recovered panic with its stack to the log.
type panicError struct {
	value any
	stack []byte
}

func panicked(value any) error { return &panicError{value, debug.Stack()} }

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }
