package route

import (
	"errors"
	"fmt"
)

// MaxTarget is the longest request target in bytes.
const MaxTarget = 8 << 10

// ErrTarget is wrapped by all errors of [Canonical].
var ErrTarget = errors.New("request target is not canonical")

// The reasons why [Canonical] refuses a target.
var (
	ErrEmpty        = fmt.Errorf("%w: empty", ErrTarget)
	ErrTooLong      = fmt.Errorf("%w: longer than %d bytes", ErrTarget, MaxTarget)
	ErrForm         = fmt.Errorf("%w: not an absolute path", ErrTarget) // absolute form, authority form, *
	ErrEmptySegment = fmt.Errorf("%w: empty path segment", ErrTarget)
	ErrDotSegment   = fmt.Errorf("%w: dot segment", ErrTarget)
	ErrParameter    = fmt.Errorf("%w: path parameter", ErrTarget)
	ErrBackslash    = fmt.Errorf("%w: backslash", ErrTarget)
	ErrFragment     = fmt.Errorf("%w: fragment", ErrTarget)
	ErrEscape       = fmt.Errorf("%w: percent-escape in the path", ErrTarget)
	ErrBadEscape    = fmt.Errorf("%w: malformed percent-escape in the path", ErrTarget)
	ErrByte         = fmt.Errorf("%w: byte that no URI holds as itself", ErrTarget)
)

// Canonical splits a raw request target into path and query (the text after the first ?, without it), or says
// why the target has more than one reading. Nothing is decoded or repaired: proxy, gate and node would not
// repair alike.
//
// A canonical path starts with /, has neither empty nor dot segments (a slash at its end is allowed, and makes
// it another path), and consists of unreserved characters and :@!$&'()*+,= (RFC 3986 pchar without ; and %).
//
// No percent-escape is canonical, however harmless what it stands for: no route and no id needs one, and each
// has a second spelling (%2b and %2B at least) of which proxies rewrite some and keep others.
//
// The query takes no part in matching. It may hold any printable ASCII but #; browsers leave [ ] | and the
// like unescaped there.
func Canonical(target string) (path, query string, err error) {
	switch {
	case target == "":
		return "", "", ErrEmpty
	case len(target) > MaxTarget:
		return "", "", ErrTooLong
	case target[0] != '/':
		return "", "", ErrForm
	}
	path = target
	for i := range len(target) {
		if target[i] == '?' {
			path, query = target[:i], target[i+1:]
			break
		}
	}
	if err := checkPath(path[1:]); err != nil {
		return "", "", err
	}
	if err := checkQuery(query); err != nil {
		return "", "", err
	}
	return path, query, nil
}

// checkPath says why a slash followed by rest is not a canonical path.
func checkPath(rest string) error {
	start := 0 // of the current segment
	for i := range len(rest) {
		c := rest[i]
		if pathByte[c] {
			continue
		}
		if c != '/' {
			return badPathByte(rest, i)
		}
		if i == start {
			return ErrEmptySegment
		}
		if dots(rest[start:i]) {
			return ErrDotSegment
		}
		start = i + 1
	}
	if dots(rest[start:]) {
		return ErrDotSegment
	}
	return nil
}

func dots(segment string) bool { return segment == "." || segment == ".." }

// badPathByte names the problem with path[i].
func badPathByte(path string, i int) error {
	switch path[i] {
	case ';':
		return ErrParameter
	case '\\':
		return ErrBackslash
	case '#':
		return ErrFragment
	case '%':
		if i+2 < len(path) && hexDigit(path[i+1]) && hexDigit(path[i+2]) {
			return ErrEscape
		}
		return ErrBadEscape
	}
	return ErrByte
}

func checkQuery(query string) error {
	for i := range len(query) {
		switch c := query[i]; {
		case c == '#':
			return ErrFragment
		case c <= ' ' || c >= 0x7f:
			return ErrByte
		}
	}
	return nil
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// pathByte holds the bytes of a canonical path besides the slash; idByte those of a parameter.
var (
	idByte   = byteSet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
	pathByte = byteSet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" + ":@!$&'()*+,=")
)

func byteSet(s string) *[256]bool {
	var set [256]bool
	for i := range len(s) {
		set[s[i]] = true
	}
	return &set
}
