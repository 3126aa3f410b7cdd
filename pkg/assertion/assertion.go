// Package assertion is the proof that the gate hands to the node with every decision: the value of the
// header X-Auth-Assertion.
//
// The identity headers alone prove nothing: whoever reaches the node directly, or finds a proxy route that
// bypasses the gate, can write them. The gate therefore signs what it decided (key id, permissions, expiry)
// together with what it decided about (method and raw request target), under a key that only gate and node
// hold; the node checks the signature against the headers, the method and the target that it received
// itself. A spoofed header, a replay for another request and two readings of one path all fail the check.
//
// Format, version 1:
//
//	v1.<kid>.<exp>.<mac>
//
// kid is the id of the signing key (8 lower-case hex characters), exp the Unix second at which the assertion
// ends (decimal, no leading zero) and mac the unpadded base64url of the HMAC-SHA256 over
//
//	"mero-assertion-v1", bind, key id, permissions, expires, method, target, exp
//
// each preceded by its byte length as 4 bytes, big-endian, so that no byte can move from one field into its
// neighbour. An absent header counts as the empty string; the method is as received (HEAD stays HEAD); the
// target is the raw request target with its query (net/http: Request.RequestURI).
//
// [Ring] holds the keys, [File] a ring that is kept in a file which gate and node share; [Create] makes that
// file.
//
// Version 2 is for nodes that must not hold a key that signs:
//
//	v2.<kid>.<exp>.<signature>
//
// kid is the first 8 hex characters of the SHA-256 of the public key, signature the unpadded base64url of the
// Ed25519 signature (RFC 8032) over the same bytes as in version 1, label included: the keys of the two versions
// are made apart and sign nothing else. [SigningKey] signs, [KeySet] verifies, [Published] is a key set that the
// gate publishes as a JSON Web Key Set. A verifier knows one version, chosen by whoever made it; the header never
// chooses (RFC 8725 section 3.1).
package assertion

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"
)

// The reasons why [Ring.Verify] and [File.Verify] refuse an assertion.
var (
	ErrMissing    = errors.New("assertion: missing")
	ErrMalformed  = errors.New("assertion: malformed")
	ErrUnknownKey = errors.New("assertion: signed with a key that is not in the ring")
	ErrBadMAC     = errors.New("assertion: signature does not cover this request")
	ErrExpired    = errors.New("assertion: expired")
	ErrTooFar     = errors.New("assertion: ends too far in the future")
)

const (
	version = "v1"
	label   = "mero-assertion-v1"

	macText      = 43 // unpadded base64 of a SHA-256
	maxExpDigits = 12 // the year 33658; keeps the arithmetic on times free of overflow

	prefixLen = len(version) + 1 + kidLen + 1 + maxExpDigits + 1
)

// MaxLen is the length of the longest assertion of version 1 in bytes.
const MaxLen = prefixLen + macText

// Bind says what an assertion is tied to. Gate and node must be configured alike.
type Bind uint8

const (
	// BindRequest ties the assertion to one method and one raw target. The default.
	BindRequest Bind = iota
	// BindIdentity leaves method and target out, for proxies that rewrite paths between gate and node.
	// Whoever obtains such an assertion can use it for any request until it expires.
	BindIdentity
)

// String returns "request" or "identity": the configured spelling, and what is signed.
func (b Bind) String() string {
	if b == BindIdentity {
		return "identity"
	}
	return "request"
}

// ParseBind reads the configured spelling of a bind.
func ParseBind(s string) (Bind, error) {
	switch s {
	case "request":
		return BindRequest, nil
	case "identity":
		return BindIdentity, nil
	}
	return BindRequest, fmt.Errorf("assertion bind %q is neither \"request\" nor \"identity\"", s)
}

// Claim is what an assertion vouches for: the texts of the headers exactly as they travel, and the request.
type Claim struct {
	Bind        Bind
	Key         string // X-Auth-Key
	Permissions string // X-Auth-Permissions
	Expires     string // X-Auth-Expires
	Method      string // ignored with BindIdentity
	Target      string // raw request target with its query; ignored with BindIdentity
}

// scratch is what one computation needs; it is pooled per key because hmac.New allocates and hashes the key
// into both pads each time, while Reset restores the prepared state.
type scratch struct {
	mac hash.Hash
	buf []byte
	sum [sha256.Size]byte
}

// compute leaves the MAC of the claim in s.sum.
func (s *scratch) compute(c *Claim, exp string) {
	s.buf = c.append(s.buf[:0], exp)
	s.mac.Reset()
	s.mac.Write(s.buf)
	s.mac.Sum(s.sum[:0])
}

// append appends the bytes that are signed.
func (c *Claim) append(b []byte, exp string) []byte {
	method, target := c.Method, c.Target
	if c.Bind == BindIdentity {
		method, target = "", ""
	}
	b = appendField(b, label)
	b = appendField(b, c.Bind.String())
	b = appendField(b, c.Key)
	b = appendField(b, c.Permissions)
	b = appendField(b, c.Expires)
	b = appendField(b, method)
	b = appendField(b, target)
	return appendField(b, exp)
}

func appendField(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s))) //nolint:gosec // a header or target never reaches 4 GiB
	return append(b, s...)
}

// Sign returns the assertion for the claim, signed with the first key of the ring and ending at exp (whole
// seconds; a fraction is dropped).
func (r *Ring) Sign(c Claim, exp time.Time) string {
	k := &r.keys[0]
	s := k.pool.Get().(*scratch)
	defer k.pool.Put(s)
	var out [MaxLen]byte
	b, at := appendPrefix(out[:0], version, k.ID(), exp)
	s.compute(&c, string(b[at:]))
	b = append(b, '.')
	b = base64.RawURLEncoding.AppendEncode(b, s.sum[:])
	return string(b)
}

// appendPrefix appends <version>.<kid>.<exp> and returns where exp begins.
func appendPrefix(b []byte, version, kid string, exp time.Time) (out []byte, at int) {
	b = append(b, version...)
	b = append(b, '.')
	b = append(b, kid...)
	b = append(b, '.')
	return strconv.AppendInt(b, exp.Unix(), 10), len(b)
}

// Verify checks that header is an assertion for the claim by one of the ring's keys, that it ended no longer
// than leeway before now, and that it ends no later than maxTTL and leeway after now. It returns nil or an
// error that wraps one of the package's sentinels; for the two about time it says by how much.
func (r *Ring) Verify(header string, c Claim, now time.Time, leeway, maxTTL time.Duration) error {
	var mac [sha256.Size]byte
	p, err := parse(header, version, mac[:])
	if err != nil {
		return err
	}
	k := r.find(p.kid)
	if k == nil {
		return ErrUnknownKey
	}
	s := k.pool.Get().(*scratch)
	defer k.pool.Put(s)
	s.compute(&c, p.expText)
	if !hmac.Equal(s.sum[:], mac[:]) {
		return ErrBadMAC
	}
	return p.timely(now, leeway, maxTTL)
}

// timely judges the expiry of an assertion whose signature is good: an unsigned one is whatever the sender wrote,
// and not worth reporting.
func (p parsed) timely(now time.Time, leeway, maxTTL time.Duration) error {
	exp := time.Unix(p.exp, 0)
	if late := now.Sub(exp); late > leeway {
		return fmt.Errorf("%w %s ago (leeway %s)", ErrExpired, late, leeway)
	}
	if ahead := exp.Sub(now); ahead > maxTTL+leeway {
		return fmt.Errorf("%w: in %s (limit %s, leeway %s)", ErrTooFar, ahead, maxTTL, leeway)
	}
	return nil
}

// End returns the moment at which an assertion of either version ends. It asks for no signature: only what was verified is
// worth asking about. What is no assertion ended long ago.
func End(header string) time.Time {
	if parts := strings.Split(header, "."); len(parts) == 4 {
		if seconds, err := strconv.ParseInt(parts[2], 10, 64); err == nil {
			return time.Unix(seconds, 0)
		}
	}
	return time.Unix(0, 0)
}

// parsed is an assertion taken apart; nothing of it is trusted yet.
type parsed struct {
	kid     string
	expText string
	exp     int64
}

// parse reads the one spelling of an assertion of a version, whose last part fills proof.
func parse(header, version string, proof []byte) (parsed, error) {
	var p parsed
	if header == "" {
		return p, ErrMissing
	}
	proofText := base64.RawURLEncoding.EncodedLen(len(proof))
	if len(header) > prefixLen+proofText {
		return p, ErrMalformed
	}
	rest, ok := strings.CutPrefix(header, version)
	if !ok || rest == "" || rest[0] != '.' {
		return p, ErrMalformed
	}
	p.kid, rest, ok = strings.Cut(rest[1:], ".")
	if !ok || !validKid(p.kid) {
		return p, ErrMalformed
	}
	var text string
	p.expText, text, ok = strings.Cut(rest, ".")
	if !ok || !canonicalDecimal(p.expText) || len(text) != proofText {
		return p, ErrMalformed
	}
	var err error
	if p.exp, err = strconv.ParseInt(p.expText, 10, 64); err != nil {
		return p, ErrMalformed
	}
	// The decoder skips CR and LF, which would leave fewer bytes; Strict refuses stray last bits.
	var src [sigText]byte
	n, err := base64.RawURLEncoding.Strict().Decode(proof, src[:copy(src[:], text)])
	if err != nil || n != len(proof) {
		return p, ErrMalformed
	}
	return p, nil
}

// canonicalDecimal accepts 0 and the numbers of up to 12 digits without sign and leading zero.
func canonicalDecimal(s string) bool {
	if s == "" || len(s) > maxExpDigits || (s[0] == '0' && len(s) > 1) {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
