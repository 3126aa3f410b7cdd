package ethereum

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The character classes of RFC 3986, section 2.
const (
	genDelims = ":/?#[]@"
	subDelims = "!$&'()*+,;="
)

func isAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func isUnreserved(c byte) bool { return isAlpha(c) || isDigit(c) || strings.IndexByte("-._~", c) >= 0 }

// isEncoded reports whether s is made of unreserved characters, those in extra, and percent-encoded triplets.
func isEncoded(s, extra string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isUnreserved(c), strings.IndexByte(extra, c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			i += 2
		default:
			return false
		}
	}
	return true
}

// isStatement is EIP-4361's statement: 1*( reserved / unreserved / " " ).
func isStatement(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isUnreserved(c) && strings.IndexByte(genDelims+subDelims+" ", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isNonce is EIP-4361's nonce: 8*( ALPHA / DIGIT ).
func isNonce(s string) bool {
	for i := range len(s) {
		if !isAlpha(s[i]) && !isDigit(s[i]) {
			return false
		}
	}
	return len(s) >= 8
}

// isRequestID is EIP-4361's request-id: *pchar. It may be empty.
func isRequestID(s string) bool { return isEncoded(s, subDelims+":@") }

// isScheme is RFC 3986, section 3.1.
func isScheme(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlpha(c) && (i == 0 || !isDigit(c) && strings.IndexByte("+-.", c) < 0) {
			return false
		}
	}
	return s != ""
}

// isAuthority is RFC 3986, section 3.2, without the user information: a domain "bank.example@evil.example" is
// grammatical, and shown to people who read the first name only.
func isAuthority(s string) bool {
	host, port, hasPort := s, "", false
	// The colons of an IP literal are inside its brackets.
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port, hasPort = s[:i], s[i+1:], true
	}
	if hasPort {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return false
		}
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		ip, err := netip.ParseAddr(literal)
		return ok && err == nil && ip.Is6() && ip.Zone() == ""
	}
	return host != "" && isEncoded(host, subDelims)
}

// isURI is RFC 3986, section 3: a scheme is required, the rest may be empty.
func isURI(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !isScheme(scheme) {
		return false
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	hier, query, _ := strings.Cut(rest, "?")
	if !isEncoded(fragment, subDelims+":@/?") || !isEncoded(query, subDelims+":@/?") {
		return false
	}
	path := hier
	if authority, ok := strings.CutPrefix(hier, "//"); ok {
		authority, path, _ = strings.Cut(authority, "/")
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			if !isEncoded(authority[:i], subDelims+":") {
				return false
			}
			authority = authority[i+1:]
		}
		if authority != "" && !isAuthority(authority) { // as in file:///path
			return false
		}
	}
	return isEncoded(path, subDelims+":@/")
}

// parseChainID reads EIP-4361's chain-id, 1*DIGIT. Only the shortest spelling is one, so that no other text can
// stand for an allowed chain, and a number over 64 bits is refused instead of being wrapped.
func parseChainID(s string) (uint64, bool) {
	id, err := strconv.ParseUint(s, 10, 64)
	return id, err == nil && strconv.FormatUint(id, 10) == s
}

// dateTime is RFC 3339, section 5.6, in upper case and without leap seconds. time.Parse alone also takes a comma
// before the fraction, an hour of one digit, and an offset of 24:60.
var dateTime = regexp.MustCompile(
	`^\d{4}-\d{2}-\d{2}T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

func parseDateTime(s string) (time.Time, bool) {
	if !dateTime.MatchString(s) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}
