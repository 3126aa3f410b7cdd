package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/lestrrat-go/jwx/v3/jws/jwsbb"
)

// minSecret is the smallest secret in bytes that signs or verifies: an empty or short one is a fault of the
// keyring, never a reason to accept a token.
const minSecret = 32

// segmentEncoding refuses padding and trailing bits that are not zero, so one token has one text. It still skips
// line breaks, which parse excludes.
var segmentEncoding = base64.RawURLEncoding.Strict()

// seal signs a payload and returns the compact serialization (RFC 7515 section 7.1).
func (c *Codec) seal(kind Kind, kid string, secret, payload []byte) (string, error) {
	if !validID(kid) {
		return "", errors.New("malformed kid")
	}
	if len(secret) < minSecret {
		return "", fmt.Errorf("secret of kind %s is shorter than %d bytes", kind, minSecret)
	}
	head := appendHeader(make([]byte, 0, 192), c.algorithm, kid, kind.typ())
	size := segmentEncoding.EncodedLen(len(head)) + segmentEncoding.EncodedLen(len(payload)) + segmentEncoding.EncodedLen(c.macSize) + 2
	if size > MaxSize {
		return "", fmt.Errorf("token of %d bytes is longer than %d", size, MaxSize)
	}
	text := segmentEncoding.AppendEncode(make([]byte, 0, size), head)
	text = append(text, '.')
	text = segmentEncoding.AppendEncode(text, payload)
	mac, err := jwsbb.Sign(secret, c.algorithm, text, nil)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	text = append(text, '.')
	return string(segmentEncoding.AppendEncode(text, mac)), nil
}

// envelope is a token taken apart. Nothing in it is authenticated. Envelopes are used again: what outlives the
// verification is copied out of them.
type envelope struct {
	kid     string
	input   []byte // what the MAC covers
	payload []byte // base64url, not decoded: claims are not read before the signature
	mac     []byte

	text, decoded [MaxSize]byte
}

var envelopes = sync.Pool{New: func() any { return new(envelope) }}

// payload returns the claims of a token of one kind as text, with signed only after its signature was verified.
func (c *Codec) payload(raw string, kind Kind, signed bool) (string, error) {
	e := envelopes.Get().(*envelope)
	defer envelopes.Put(e)
	if err := c.parse(e, raw, kind); err != nil {
		return "", err
	}
	if signed {
		if err := c.authenticate(e, kind); err != nil {
			return "", err
		}
	}
	b, err := e.decode(e.payload)
	return string(b), err
}

// parse takes a token of one kind apart and checks its form and header.
func (c *Codec) parse(e *envelope, raw string, kind Kind) error {
	// The cheap bounds first: many dots or many bytes must not cost memory (CVE-2025-30204, CVE-2025-27144).
	if len(raw) > MaxSize {
		return invalid("too long")
	}
	if strings.Count(raw, ".") != 2 {
		return invalid("not three segments")
	}
	if strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 {
		return invalid("line break")
	}
	first, last := strings.IndexByte(raw, '.'), strings.LastIndexByte(raw, '.')
	text := e.text[:copy(e.text[:], raw)]
	decoded, err := e.decode(text[:first])
	if err != nil {
		return err
	}
	head, err := readHeader(string(decoded))
	switch {
	case err != nil:
		return err
	case head.alg != c.algorithm:
		return invalid("alg")
	case head.typ == "" || head.typ != kind.typ():
		return invalid("typ")
	case !validID(head.kid):
		return invalid("kid")
	}
	e.kid, e.input, e.payload = head.kid, text[:last], text[first+1:last]
	e.mac, err = e.decode(text[last+1:])
	return err
}

// authenticate checks the MAC with the secret that the token names: ErrUnknownKID when there is none.
func (c *Codec) authenticate(e *envelope, kind Kind) error {
	secret, ok := c.lookup(kind, e.kid)
	if !ok {
		return ErrUnknownKID
	}
	if len(secret) < minSecret {
		return invalid("secret too short")
	}
	if err := jwsbb.Verify(secret, c.algorithm, e.input, e.mac); err != nil {
		return invalid("signature")
	}
	return nil
}

// decode returns what a segment says, until the next call.
func (e *envelope) decode(segment []byte) ([]byte, error) {
	n, err := segmentEncoding.Decode(e.decoded[:], segment)
	if err != nil {
		return nil, invalid("base64url")
	}
	return e.decoded[:n], nil
}
