package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// optional lets an empty value pass.
func optional(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

// checkLine accepts 1 to maxLen printable characters.
func checkLine(maxLen int) func(string) error {
	return func(s string) error {
		if n := utf8.RuneCountInString(s); n < 1 || n > maxLen {
			return fmt.Errorf("must have 1 to %d characters", maxLen)
		}
		if !printable(s) {
			return errors.New("must have no control characters")
		}
		return nil
	}
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// checkListen accepts what a listener can bind: [host]:port with a numeric port; port 0 lets the system choose.
func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New(`must be host:port, for example "127.0.0.1:3001"`)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("must end with a port number from 0 to 65535")
	}
	if host == "" || validHost(host) {
		return nil
	}
	return errors.New("must begin with an IP address or a host name")
}

// validHost accepts an IP address or a DNS name. Underscores are allowed: container names have them.
func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 || strings.Trim(host[strings.LastIndexByte(host, '.')+1:], "0123456789") == "" {
		return false // a last label of digits is an IP address gone wrong
	}
	for label := range strings.SplitSeq(host, ".") {
		bad := strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		})
		if label == "" || len(label) > 63 || bad {
			return false
		}
	}
	return true
}

// parseAddress reads an absolute URL with a host that is an address or a DNS name. It never accepts a user: a
// password in it would end up in logs.
func parseAddress(s string) (*url.URL, error) {
	bad := strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r) })
	if bad {
		return nil, errors.New("must be ASCII without spaces (write other hosts in their xn-- form)")
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return nil, errors.New(`must be a full address, for example "https://node.example"`)
	}
	if u.User != nil {
		return nil, errors.New("must have no user name or password")
	}
	host := u.Hostname()
	if !validHost(host) || strings.Contains(host, "%") {
		return nil, errors.New("must have an IP address or a DNS name as its host")
	}
	if strings.HasSuffix(u.Host, ":") || !validPort(u.Port()) {
		return nil, errors.New("must have a port from 1 to 65535, or none")
	}
	return u, nil
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// checkURL accepts an absolute http(s) URL without a user and a fragment.
func checkURL(s string) error {
	u, err := parseAddress(s)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("must begin with http:// or https://")
	}
	if strings.Contains(s, "#") {
		return errors.New("must have no fragment (#)")
	}
	return nil
}

// checkBaseURL accepts http(s)://host[:port]; one slash behind it is forgiven.
func checkBaseURL(s string) error {
	if err := checkURL(s); err != nil {
		return err
	}
	if _, rest, _ := strings.Cut(s, "://"); strings.ContainsAny(strings.TrimSuffix(rest, "/"), "/?") {
		return errors.New("must end after the host and port: no path and no query")
	}
	return nil
}

// checkOrigin accepts what a browser sends as Origin (RFC 6454 section 6.2), of any scheme with a host.
func checkOrigin(s string) error {
	switch s {
	case "*":
		return errors.New(`must be one origin: for all of them write cors.allow_all_origins = true`)
	case "null":
		return errors.New(`must be an origin with a host: "null" stands for every sandboxed page`)
	}
	if _, err := parseAddress(s); err != nil {
		return err
	}
	if _, rest, _ := strings.Cut(s, "://"); strings.ContainsAny(rest, "/?#") {
		return errors.New(`must end after the host and port, for example "https://app.example"`)
	}
	return nil
}

// checkHostPort accepts host or host:port; an IPv6 address needs its brackets.
func checkHostPort(s string) error {
	if strings.ContainsAny(s, "/?#@") {
		return errors.New("must be a host or host:port, without scheme and path")
	}
	_, err := parseAddress("http://" + s)
	return err
}

// checkSource accepts one source expression of a content security policy (CSP level 3, section 2.3.1). What would
// begin another directive or another header is refused.
func checkSource(s string) error {
	bad := strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ';' || r == ',' })
	if s == "" || bad {
		return errors.New("must be one source expression without spaces, commas and semicolons")
	}
	if strings.HasPrefix(strings.ToLower(s), "'unsafe") {
		return errors.New("must be no unsafe keyword")
	}
	return nil
}

func checkPath(s string) error {
	if s == "" || !printable(s) {
		return errors.New("must be a path without control characters")
	}
	return nil
}

// checkRoutePath accepts an absolute path in the canonical form that the gate demands of requests.
func checkRoutePath(s string) error {
	bad := strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`?#%;\*`, r) })
	if !strings.HasPrefix(s, "/") || bad || (path.Clean(s) != s && path.Clean(s)+"/" != s) {
		return errors.New(`must be an absolute path without escapes and wildcards, for example "/ws"`)
	}
	return nil
}

func checkMasterKey(s string) error {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 32 {
		return errors.New("must be the base64 of exactly 32 bytes (make one with: openssl rand -base64 32)")
	}
	return nil
}

// checkBootstrapSecret counts what is left when the separators that people may add or drop are gone.
func checkBootstrapSecret(s string) error {
	if !printable(s) {
		return errors.New("must have no control characters")
	}
	bare := strings.NewReplacer("-", "", " ", "").Replace(s)
	if n := utf8.RuneCountInString(bare); n < 20 || n > 512 {
		return errors.New("must have 20 to 512 characters, hyphens and spaces not counted")
	}
	return nil
}

func checkNetworkName(s string) error {
	bad := strings.ContainsFunc(s, func(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') })
	if s == "" || len(s) > 32 || bad {
		return errors.New(`must be the name of a network, for example "testnet"`)
	}
	return nil
}

// checkStatement accepts the statement of EIP-4361: unreserved and reserved characters of RFC 3986 and spaces.
func checkStatement(s string) error {
	bad := strings.ContainsFunc(s, func(r rune) bool {
		letter := (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9')
		return !letter && !strings.ContainsRune("-._~:/?#[]@!$&'()*+,;= ", r)
	})
	if bad || len(s) > 256 {
		return errors.New("must be at most 256 letters, digits, spaces and -._~:/?#[]@!$&'()*+,;=")
	}
	return nil
}

// Networks wider than these hold strangers: whoever may set the forwarding headers chooses what the gate judges.
const (
	widestIPv4 = 16
	widestIPv6 = 48
)

var loopbackIPv4 = netip.MustParsePrefix("127.0.0.0/8")

// parseNetwork reads an address or a network that is narrow enough to be trusted.
func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, errors.New(`must be an address or a network, for example "172.18.0.5" or "10.0.3.0/24"`)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("must be written as the IPv4 address that it stands for")
	}
	p = p.Masked()
	switch {
	case p.Addr().IsUnspecified():
		return netip.Prefix{}, errors.New("must not begin with the unspecified address: name your proxy")
	case p.Addr().Is4() && p.Bits() < widestIPv4 && !loopback(p):
		return netip.Prefix{}, fmt.Errorf("must not be wider than /%d: every peer in it could choose what is judged", widestIPv4)
	case p.Addr().Is6() && p.Bits() < widestIPv6:
		return netip.Prefix{}, fmt.Errorf("must not be wider than /%d: every peer in it could choose what is judged", widestIPv6)
	}
	return p, nil
}

func loopback(p netip.Prefix) bool {
	return loopbackIPv4.Contains(p.Addr()) && p.Bits() >= loopbackIPv4.Bits()
}
