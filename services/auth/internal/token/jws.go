package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

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

// envelope is a token taken apart. Nothing in it is authenticated.
type envelope struct {
	input   []byte // what the MAC covers
	mac     []byte
	kid     string
	payload string // base64url, not decoded: claims are not read before the signature
}

// parse takes a token of one kind apart and checks its form and header.
func (c *Codec) parse(raw string, kind Kind) (envelope, error) {
	// The cheap bounds first: many dots or many bytes must not cost memory (CVE-2025-30204, CVE-2025-27144).
	if len(raw) > MaxSize {
		return envelope{}, invalid("too long")
	}
	if strings.Count(raw, ".") != 2 {
		return envelope{}, invalid("not three segments")
	}
	if strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 {
		return envelope{}, invalid("line break")
	}
	first, last := strings.IndexByte(raw, '.'), strings.LastIndexByte(raw, '.')
	text, err := decodeSegment(raw[:first])
	if err != nil {
		return envelope{}, err
	}
	head, err := readHeader(string(text))
	switch {
	case err != nil:
		return envelope{}, err
	case head.alg != c.algorithm:
		return envelope{}, invalid("alg")
	case head.typ == "" || head.typ != kind.typ():
		return envelope{}, invalid("typ")
	case !validID(head.kid):
		return envelope{}, invalid("kid")
	}
	mac, err := decodeSegment(raw[last+1:])
	if err != nil {
		return envelope{}, err
	}
	return envelope{input: []byte(raw[:last]), mac: mac, kid: head.kid, payload: raw[first+1 : last]}, nil
}

// authenticate checks the MAC with the secret that the token names: ErrUnknownKID when there is none.
func (c *Codec) authenticate(e envelope, kind Kind) error {
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

// claims decodes the payload.
func (e envelope) claims() (string, error) {
	b, err := decodeSegment(e.payload)
	return string(b), err
}

func decodeSegment(s string) ([]byte, error) {
	b, err := segmentEncoding.DecodeString(s)
	if err != nil {
		return nil, invalid("base64url")
	}
	return b, nil
}
