// Package token signs and verifies the JSON web tokens of mero-auth: access tokens, refresh tokens and login
// challenges. Every kind has its own secrets, header type and claims, and is valid as nothing else.
//
// The format is deliberately narrower than RFC 7515 and RFC 7519: compact serialization only, one configured
// HMAC algorithm, exactly the members below, and no JSON string that would need an escape.
//
//	header     alg, kid, typ (at+jwt, rt+jwt, challenge+jwt)
//	access     sub, iss, aud (= iss), exp, iat, nbf, jti, permissions, node_url (optional), token_type, fam
//	refresh    the same
//	challenge  iss, jti, iat, exp, nonce, method (optional)
//
// Whatever else appears in a token is refused: nobody but this package mints them, so an unknown member is either
// an attack or a rule of a newer version that this one would ignore. Members are written in the order above, so
// the same claims under the same secret always give the same text.
//
// This is the only package that imports jwx. It computes and compares the MAC; header and claims are read here.
package token

import (
	"errors"
	"unicode/utf8"

	"github.com/calimero-network/mero-go/pkg/identity"
)

// Limits of a token.
const (
	MaxSize        = 8 << 10 // bytes of the whole text
	MaxPermissions = 64      // entries
	MaxPermission  = 256     // bytes of one entry
	MaxNodeURL     = 512     // bytes
)

// maxTime is the last second of the year 9999, the largest time a claim may hold.
const maxTime = 253402300799

// Errors of verification. Their text is for logs; it never contains a part of the token.
var (
	// ErrInvalid is wrapped by every refusal but expiry.
	ErrInvalid = errors.New("invalid token")
	// ErrExpired means a good signature and good claims whose exp has passed.
	ErrExpired = errors.New("token expired")
	// ErrUnknownKID means that no secret of this kind has the token's kid: retired, or never ours. It wraps
	// ErrInvalid.
	ErrUnknownKID = invalid("unknown kid")
)

// Kind tells what a token is for. Secrets are looked up by kind and kid.
type Kind string

// The kinds of tokens.
const (
	KindAccess    Kind = "access"
	KindRefresh   Kind = "refresh"
	KindChallenge Kind = "challenge"
)

// typ is the header type of a kind (RFC 8725 section 3.11, RFC 9068 section 2.1); "" for an unknown kind.
func (k Kind) typ() string {
	switch k {
	case KindAccess:
		return "at+jwt"
	case KindRefresh:
		return "rt+jwt"
	case KindChallenge:
		return "challenge+jwt"
	}
	return ""
}

// Claims are the content of an access or refresh token. Issuer, audience and nbf (= iat) belong to the codec.
type Claims struct {
	Kind        Kind     // KindAccess or KindRefresh
	Subject     string   // key id
	ID          string   // jti, of the key id alphabet
	Family      string   // session family, of the key id alphabet
	IssuedAt    int64    // Unix seconds
	Expires     int64    // Unix seconds, after IssuedAt
	Permissions []string // verbatim, in order; see ValidPermission
	NodeURL     string   // "" for none; see ValidNodeURL
}

// Challenge is the content of a login challenge.
type Challenge struct {
	ID       string // jti: 32 lower-case hex characters
	Nonce    []byte // 32 bytes
	IssuedAt int64  // Unix seconds
	Expires  int64  // Unix seconds
	Method   string // the auth_method that may use it, of the key id alphabet; "" for any
}

// Sizes of a challenge.
const (
	ChallengeIDLength    = 32 // hex characters
	ChallengeNonceLength = 32 // bytes
)

// ValidPermission reports whether s can travel in a token and, joined to others by commas, in a header: 1 to
// [MaxPermission] visible ASCII bytes without quote and backslash, commas only between one pair of brackets at
// the end. Without that an entry "a,admin" would become two when the header is split. It does not say that s is
// a permission.
func ValidPermission(s string) bool {
	if s == "" || len(s) > MaxPermission || !visible(s) {
		return false
	}
	open := false
	for i := range len(s) {
		switch s[i] {
		case '[':
			if open {
				return false
			}
			open = true
		case ',':
			if !open {
				return false
			}
		case ']':
			return open && i == len(s)-1
		}
	}
	return !open
}

// ValidNodeURL reports whether s can be the node_url claim: 1 to [MaxNodeURL] visible ASCII bytes without quote
// and backslash. Whether it names a host is the business of whoever compares it.
func ValidNodeURL(s string) bool {
	return s != "" && len(s) <= MaxNodeURL && visible(s)
}

// visible reports whether s needs no escape in JSON or in a header.
func visible(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// validIssuer reports whether s can be written as a JSON string without an escape.
func validIssuer(s string) bool {
	if s == "" || len(s) > 256 || !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// validID is the grammar of kid, sub, jti and fam: they become storage keys and header values.
func validID(s string) bool { return identity.ValidKeyID(s) }

func validTimes(issued, expires int64) bool {
	return issued >= 0 && issued < expires && expires <= maxTime
}

// validChallengeID reports whether s is 32 lower-case hex characters.
func validChallengeID(s string) bool {
	if len(s) != ChallengeIDLength {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// refusal is an ErrInvalid with a detail for the log. It is a constant, so that refusing garbage allocates nothing.
type refusal string

func (r refusal) Error() string { return ErrInvalid.Error() + ": " + string(r) }

func (r refusal) Unwrap() error { return ErrInvalid }

func invalid(detail string) error { return refusal(detail) }
