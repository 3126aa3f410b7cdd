// Package cors decides which web origins may read the answers of our services: the CORS protocol of the Fetch
// standard (https://fetch.spec.whatwg.org/#http-cors-protocol) and the private-network preflight
// (https://wicg.github.io/private-network-access/).
//
// Only bearer tokens authenticate, so an open policy gives a foreign page nothing that it could not fetch
// itself. Still, * never goes with Access-Control-Allow-Credentials, and with a list of origins an origin is
// answered only if it is byte for byte one of the list; there are no patterns, suffixes or "null".
package cors

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Policy says which origins may read answers. The zero Policy is the same-origin policy: none but our own.
type Policy struct {
	// AllowAll answers every origin with *, without credentials. Origins is then of no effect.
	AllowAll bool
	// Origins are the origins that may read answers, also with credentials: scheme://host[:port].
	Origins []string
	// Expose are names of headers that scripts may read besides the ones that always are (see [Exposed]).
	Expose []string
}

// Exposed are the headers that scripts may read under every policy: without X-Auth-Error a client cannot tell
// an expired token, which it refreshes, from a revoked one.
var Exposed = []string{
	"X-Auth-Error", "X-Auth-Key", "X-Auth-User", "X-Auth-Permissions", "X-Auth-Expires", "Retry-After", "X-Request-Id",
}

const (
	allowMethods = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"
	allowHeaders = "Authorization, Content-Type, Last-Event-ID, X-Request-Id"
	maxAge       = "600" // seconds; how long a browser may keep the answer to a preflight
)

// The names of the headers, as http.Header holds them.
const (
	hOrigin         = "Origin"
	hVary           = "Vary"
	hRequestMethod  = "Access-Control-Request-Method"
	hRequestPrivate = "Access-Control-Request-Private-Network"
	hAllowOrigin    = "Access-Control-Allow-Origin"
	hCredentials    = "Access-Control-Allow-Credentials"
	hExpose         = "Access-Control-Expose-Headers"
	hAllowMethods   = "Access-Control-Allow-Methods"
	hAllowHeaders   = "Access-Control-Allow-Headers"
	hAllowPrivate   = "Access-Control-Allow-Private-Network"
	hMaxAge         = "Access-Control-Max-Age"
)

// The header values that all answers share. A shared slice is safe in an http.Header: its capacity is its
// length, so that Add copies it.
var (
	valueAny     = []string{"*"}
	valueTrue    = []string{"true"}
	valueVary    = []string{hOrigin}
	valueMethods = []string{allowMethods}
	valueHeaders = []string{allowHeaders}
	valueMaxAge  = []string{maxAge}
)

// Rules is a checked Policy. It is immutable and safe for concurrent use.
type Rules struct {
	allowAll bool
	origins  map[string][]string // origin to the value of Access-Control-Allow-Origin
	expose   []string
}

// New checks the policy and prepares it. It reports every origin and header name that is malformed.
func New(p Policy) (*Rules, error) {
	r := &Rules{allowAll: p.AllowAll, origins: make(map[string][]string, len(p.Origins))}
	var errs []error
	for _, text := range p.Origins {
		origin, err := ParseOrigin(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.origins[origin] = []string{origin}
	}
	exposed := slices.Clone(Exposed)
	for _, name := range p.Expose {
		if !isToken(name) {
			errs = append(errs, fmt.Errorf("cors: %q is not the name of a header", name))
		}
		if !slices.ContainsFunc(exposed, func(s string) bool { return strings.EqualFold(s, name) }) {
			exposed = append(exposed, name)
		}
	}
	r.expose = []string{strings.Join(exposed, ", ")}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

// Apply sets the CORS headers of an answer to req, refusals included: a page that may not read the refusal
// cannot react to it. Where the answer depends on the origin it says so in Vary, for every request, so that no
// cache hands one origin's answer to another. It does not allocate unless h already has another Vary.
func (r *Rules) Apply(h http.Header, req *http.Request) {
	if r.allow(h, req) {
		h[hExpose] = r.expose
	}
}

// allow answers the request's origin and reports whether it may read the answer.
func (r *Rules) allow(h http.Header, req *http.Request) bool {
	if r.allowAll {
		h[hAllowOrigin] = valueAny
		return true
	}
	if len(r.origins) == 0 {
		return false
	}
	addVary(h)
	origin, ok := single(req.Header, hOrigin)
	if !ok {
		return false
	}
	value, ok := r.origins[origin]
	if !ok {
		return false
	}
	h[hAllowOrigin] = value
	h[hCredentials] = valueTrue
	return true
}

// IsPreflight reports whether a request with this method and these headers is a real preflight: OPTIONS with one
// Origin and one Access-Control-Request-Method. The method is that of the original request where a proxy asks
// about it.
func IsPreflight(method string, h http.Header) bool {
	if method != http.MethodOptions {
		return false
	}
	_, origin := single(h, hOrigin)
	_, wanted := single(h, hRequestMethod)
	return origin && wanted
}

// Preflight answers req if it is a preflight, and reports whether it did. The answer is 204 for every origin;
// whether the browser goes on is said by the headers.
func (r *Rules) Preflight(w http.ResponseWriter, req *http.Request) bool {
	if !IsPreflight(req.Method, req.Header) {
		return false
	}
	h := w.Header()
	if r.allow(h, req) {
		h[hExpose] = r.expose // browsers do not look for it here; clients' checks of a node do
		h[hAllowMethods] = valueMethods
		h[hAllowHeaders] = valueHeaders
		h[hMaxAge] = valueMaxAge
		if v, ok := single(req.Header, hRequestPrivate); ok && v == "true" {
			h[hAllowPrivate] = valueTrue
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// single returns the value of a header that occurs once and is not empty.
func single(h http.Header, name string) (string, bool) {
	values := h[name]
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	return values[0], true
}

func addVary(h http.Header) {
	present := h[hVary]
	if len(present) == 0 {
		h[hVary] = valueVary
		return
	}
	for _, line := range present {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, hOrigin) {
				return
			}
		}
	}
	h.Add(hVary, hOrigin)
}

// ParseOrigin checks a configured origin, scheme://host[:port], and returns it as browsers send it: lower case,
// without the default port (RFC 6454 section 6.2). It refuses everything that is more than an origin (path,
// even /, query, user), wildcards, "null", and host names that are not ASCII.
func ParseOrigin(text string) (string, error) {
	fail := func(problem string) (string, error) {
		return "", fmt.Errorf("cors: origin %q: %s", text, problem)
	}
	if text == "*" {
		return fail("to allow every origin, say so by the setting for that, not in the list")
	}
	scheme, authority, ok := strings.Cut(text, "://")
	if !ok {
		return fail("want scheme://host[:port]")
	}
	scheme = strings.ToLower(scheme)
	if !isScheme(scheme) {
		return fail("the scheme is malformed")
	}
	host, port, err := splitPort(strings.ToLower(authority))
	if err != nil {
		return fail(err.Error())
	}
	if port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		return scheme + "://" + host, nil
	}
	return scheme + "://" + host + ":" + port, nil
}

// splitPort checks host[:port], where the host may be a bracketed IPv6 address.
func splitPort(authority string) (host, port string, err error) {
	host = authority
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		host, port = authority[:i], authority[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return "", "", errors.New("the port is not a number from 1 to 65535")
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if err != nil || !closed || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" || addr.String() != inner {
			return "", "", errors.New("not an IPv6 address in its shortest form")
		}
		return host, port, nil
	}
	return host, port, checkHost(host)
}

func checkHost(host string) error {
	if host == "" || len(host) > 253 {
		return errors.New("the host is missing or too long")
	}
	for i := range len(host) {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return fmt.Errorf("the host holds %q; want a name in ASCII (punycode) and no path, user or wildcard", c)
		}
	}
	return nil
}

// isScheme implements RFC 3986 section 3.1 for lower case.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
