package guard

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/calimero-network/mero-go/pkg/identity"
)

// Why identity headers are refused. The causes go to the log, so they name headers and never show values.
var (
	errPeer        = errors.New("the peer is not a trusted proxy")
	errNoKey       = errors.New("no identity header")
	errAlias       = errors.New("another spelling of an identity header")
	errRepeated    = errors.New("an identity header occurs twice")
	errTrailer     = errors.New("an identity header is announced as a trailer")
	errPlaceholder = errors.New("a proxy wrote the name of a variable instead of its value")
	errKeyForm     = errors.New("the key id is malformed")
	errTwoKeys     = errors.New("two identity headers name different keys")
)

// headers are the values of the identity headers.
type headers struct {
	key, permissions, expires, assertion string
}

func (h headers) empty() bool { return h == headers{} }

// readHeaders returns the identity that the headers name, if they do so in exactly one way. keyHeader is the
// configured name of the header with the key id. With an error it returns what it has read of the values.
func readHeaders(r *http.Request, keyHeader string) (headers, error) {
	keyHeader = textproto.CanonicalMIMEHeaderKey(keyHeader)
	names := identity.Headers
	if !slices.Contains(names, keyHeader) {
		names = append(slices.Clip(names), keyHeader)
	}
	h := headers{
		key: r.Header.Get(keyHeader), permissions: r.Header.Get(identity.HeaderPermissions),
		expires: r.Header.Get(identity.HeaderExpires), assertion: r.Header.Get(identity.HeaderAssertion),
	}
	if err := checkNames(r, names); err != nil {
		return h, err
	}
	for _, name := range names {
		for _, value := range r.Header[name] {
			if strings.ContainsAny(value, "{}") {
				return h, fmt.Errorf("%w: %s", errPlaceholder, name)
			}
		}
	}
	if h.key == "" {
		return h, errNoKey
	}
	if !identity.ValidKeyID(h.key) {
		return h, fmt.Errorf("%w: %s", errKeyForm, keyHeader)
	}
	for _, other := range []string{identity.HeaderKey, identity.HeaderUser} {
		if values := r.Header[other]; len(values) > 0 && values[0] != h.key {
			return h, fmt.Errorf("%w: %s and %s", errTwoKeys, keyHeader, other)
		}
	}
	return h, nil
}

// checkNames refuses second values, other spellings and announced trailers of the names.
func checkNames(r *http.Request, names []string) error {
	for name, values := range r.Header {
		i := slices.IndexFunc(names, func(n string) bool { return sameName(n, name) })
		switch {
		case i < 0:
		case names[i] != name:
			return fmt.Errorf("%w: %q", errAlias, name)
		case len(values) != 1:
			return fmt.Errorf("%w: %s", errRepeated, name)
		}
	}
	announced := func(name string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return sameName(n, name) })
	}
	for name := range r.Trailer {
		if announced(name) {
			return fmt.Errorf("%w: %q", errTrailer, name)
		}
	}
	// The HTTP library takes the announcement out of the headers only where trailers can follow.
	for _, line := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			if announced(strings.TrimSpace(name)) {
				return fmt.Errorf("%w: %q", errTrailer, strings.TrimSpace(name))
			}
		}
	}
	return nil
}

// DropIdentity removes every header that anybody could take for an identity: all that begin with X-Auth-, in any
// spelling (see sameName).
func DropIdentity(h http.Header) {
	const prefix = "X-Auth-"
	for name := range h {
		if len(name) >= len(prefix) && sameName(prefix, name[:len(prefix)]) {
			delete(h, name)
		}
	}
}

// sameName reports whether a header's name would be read as the canonical one by software that makes no
// difference between punctuation: X_Auth_Key, X.Auth.Key. Letters fold without regard to case.
func sameName(canonical, name string) bool {
	if len(canonical) != len(name) {
		return false
	}
	for i := range len(name) {
		a, b := canonical[i], name[i]
		if 'A' <= a && a <= 'Z' {
			a |= 0x20
		}
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		if a != b && (a != '-' || 'a' <= b && b <= 'z' || '0' <= b && b <= '9') {
			return false
		}
	}
	return true
}
