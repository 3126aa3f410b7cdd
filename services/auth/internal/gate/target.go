package gate

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// Form is how the question is put: it pins the header family that names the target.
type Form string

// The forms of the question.
const (
	Probe   Form = ""        // plain /auth/validate: is this token good?
	Nginx   Form = "nginx"   // X-Original-URI, X-Original-Method, X-Original-Host
	Traefik Form = "traefik" // X-Forwarded-Uri, X-Forwarded-Method, X-Forwarded-Host
	Caddy   Form = "caddy"   // the same
	HAProxy Form = "haproxy" // the same
	Envoy   Form = "envoy"   // method and Host of the question itself, target behind EnvoyPrefix

	Embedded Form = "embedded" // no question of a proxy, but of the node in the same process: see Guard
)

// Path is the address of the gate; EnvoyPrefix is followed by the original target.
const (
	Path        = "/auth/validate"
	EnvoyPrefix = "/auth/validate/envoy"
)

// target is the request that the proxy asks about, as raw text.
type target struct {
	uri, method, host string
}

// family is the headers that name a target, in the spelling of net/http's header map.
type family struct{ uri, method, host string }

var (
	original  = family{"X-Original-Uri", "X-Original-Method", "X-Original-Host"}
	forwarded = family{"X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Host"}
)

// methodOverrides are headers with which a client asks some frameworks to pretend another method.
var methodOverrides = [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

var errTarget = fault.New(fault.Forbidden, "the request target is not acceptable").Because(identity.InvalidTarget)

// parseForm reads the form from the question's path and query.
func (g *Gate) parseForm(r *http.Request) (Form, error) {
	if strings.HasPrefix(r.RequestURI, EnvoyPrefix) {
		return Envoy, nil
	}
	switch r.URL.RawQuery {
	case "":
		return Probe, nil
	case "proxy=nginx":
		return Nginx, nil
	case "proxy=traefik":
		return Traefik, nil
	case "proxy=caddy":
		return Caddy, nil
	case "proxy=haproxy":
		return HAProxy, nil
	}
	// Other parameters do not concern the gate, but a proxy parameter in any other reading does.
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err != nil || decoded == "proxy" {
			return "", errTarget
		}
	}
	return Probe, nil
}

// resolve settles the plain form and returns the target, none for a probe.
func (g *Gate) resolve(r *http.Request, form Form) (Form, target, error) {
	for _, name := range methodOverrides {
		if len(r.Header[name]) > 0 {
			return form, target{}, errTarget
		}
	}
	switch form {
	case Probe:
		return g.resolvePlain(r)
	case Envoy:
		t := target{uri: r.RequestURI[len(EnvoyPrefix):], method: r.Method, host: r.Host}
		if !g.trusted(r.RemoteAddr) || t.uri == "" || t.host == "" {
			return form, target{}, errTarget
		}
		return form, t, nil
	case Nginx:
		t, err := g.read(r, &original, &forwarded)
		return form, t, err
	default:
		t, err := g.read(r, &forwarded, &original)
		return form, t, err
	}
}

// resolvePlain handles /auth/validate without a form: a probe, unless forward.plain_proxy says that a proxy
// asks there. A target on a probe means that a proxy is configured without its ?proxy=, and must not pass.
func (g *Gate) resolvePlain(r *http.Request) (Form, target, error) {
	named := namesTarget(r.Header, &original) || namesTarget(r.Header, &forwarded)
	if !named {
		return Probe, target{}, nil
	}
	if g.PlainProxy != Probe {
		t, err := g.read(r, &forwarded, &original)
		return g.PlainProxy, t, err
	}
	if g.plainWarned.ready(g.Now()) {
		g.Log.WarnContext(r.Context(), "a proxy asks at /auth/validate without saying which one: every request is refused; "+
			"append ?proxy=nginx, ?proxy=traefik, ?proxy=caddy or ?proxy=haproxy to the address, or set forward.plain_proxy")
	}
	return Probe, target{}, errTarget
}

func namesTarget(h http.Header, f *family) bool { return len(h[f.uri]) > 0 || len(h[f.method]) > 0 }

// read takes the target from one family; a member of the other, or anything missing, doubled or empty, is refused.
func (g *Gate) read(r *http.Request, own, other *family) (target, error) {
	if !g.trusted(r.RemoteAddr) || namesTarget(r.Header, other) {
		return target{}, errTarget
	}
	uri, method, host := r.Header[own.uri], r.Header[own.method], r.Header[own.host]
	if len(uri) != 1 || len(method) != 1 || uri[0] == "" || !isMethod(method[0]) {
		return target{}, errTarget
	}
	t := target{uri: uri[0], method: method[0]}
	if len(host) > 0 {
		if len(host) > 1 || host[0] == "" {
			return target{}, errTarget
		}
		t.host = host[0]
	}
	return t, nil
}

// isMethod reports whether s is a token (RFC 9110 section 5.6.2). Some proxies pass on what an HTTP/2 client wrote
// into :method, blanks and all.
func isMethod(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("-_!#$%&'*+.^`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// trusted reports whether the peer may speak for others.
func (g *Gate) trusted(remoteAddr string) bool {
	peer, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	for _, prefix := range g.TrustedProxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// RequestHost returns the host that a request made directly to mero-auth was addressed to: X-Forwarded-Host
// from a trusted peer, else Host. A doubled X-Forwarded-Host is no host.
func (g *Gate) RequestHost(r *http.Request) string {
	if values := r.Header[forwarded.host]; len(values) > 0 && g.trusted(r.RemoteAddr) {
		if len(values) > 1 {
			return ""
		}
		return values[0]
	}
	return r.Host
}

// HostAllowed reports whether a token with this binding may be used at host. jwt.node_hosts, when set, takes
// the place of what the request says.
func (g *Gate) HostAllowed(b NodeBinding, host string) bool {
	if !b.Bound() {
		return true
	}
	if len(g.NodeHosts) == 0 {
		return b.Matches(host)
	}
	for _, own := range g.NodeHosts {
		if b.Matches(own) {
			return true
		}
	}
	return false
}

// splitHost splits "name", "name:port", "[v6]" and "[v6]:port"; the name of anything else is empty.
func splitHost(host string) (name, port string) {
	if strings.ContainsAny(host, "/@?#\\ ,") {
		return "", ""
	}
	bracketed := strings.HasPrefix(host, "[")
	switch {
	case bracketed && strings.HasSuffix(host, "]"):
		name = host[1 : len(host)-1]
	case !strings.Contains(host, ":"):
		return host, ""
	default:
		var err error
		if name, port, err = net.SplitHostPort(host); err != nil {
			return "", ""
		}
	}
	if bracketed != strings.Contains(name, ":") {
		return "", "" // brackets are for IPv6 addresses (RFC 3986 section 3.2.2)
	}
	return name, port
}

func parseHTTPURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Opaque != "" {
		return nil, false
	}
	return u, true
}

// NodeURL reduces the address that a client gave (client_name, target_node_url) to scheme://host[:port], or
// "" when it is no absolute http(s) URL with an ASCII host.
func NodeURL(text string) string {
	u, ok := parseHTTPURL(text)
	if !ok {
		return ""
	}
	reduced := u.Scheme + "://" + strings.ToLower(u.Host)
	if !token.ValidNodeURL(reduced) {
		return "" // a host that no token can carry
	}
	return reduced
}
