package guard

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
)

var (
	errHost   = errors.New("the Host header is not an allowed name")
	errOrigin = errors.New("the request comes from a page of another host")
)

// local runs the checks of auth mode none. AllowedHosts is empty there unless the operator permitted listeners
// that other machines reach.
func (g *Guard) local(r *http.Request) error {
	if err := g.host(r, g.AllowedHosts); err != nil {
		return err
	}
	for _, origin := range r.Header["Origin"] {
		if host := originHost(origin); !loopback(host) && host != hostName(r.Host) {
			return forbid(errOrigin, origin)
		}
	}
	return nil
}

// host checks the Host header: a loopback name, or one of the allowed.
func (g *Guard) host(r *http.Request, allowed []string) error {
	name := hostName(r.Host)
	if loopback(name) || slices.ContainsFunc(allowed, func(pattern string) bool { return matches(pattern, name) }) {
		return nil
	}
	return forbid(errHost, r.Host)
}

func forbid(cause error, value string) error {
	if len(value) > 256 {
		value = value[:256]
	}
	return fault.Wrap(fmt.Errorf("it is %q", value), fault.Forbidden, cause.Error()).Because(identity.InvalidTarget)
}

// hostName returns the name or address in host[:port], lower case, "" if there is none.
func hostName(hostport string) string {
	name := hostport
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		name = host
	} else if inner, ok := strings.CutPrefix(hostport, "["); ok {
		name = strings.TrimSuffix(inner, "]")
	}
	return strings.ToLower(name)
}

// originHost returns the host of an Origin header, "" if it has none ("null"), which no Host header that was let
// through equals.
func originHost(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// loopback reports whether a name means this machine wherever it is looked up.
func loopback(name string) bool {
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}

// matches reports whether name is the pattern, or lies below the domain of a pattern *.DOMAIN.
func matches(pattern, name string) bool {
	pattern = strings.ToLower(pattern)
	if domain, ok := strings.CutPrefix(pattern, "*"); ok {
		return len(name) > len(domain) && strings.HasSuffix(name, domain)
	}
	return pattern == name
}
