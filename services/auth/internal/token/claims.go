package token

import (
	"encoding/base64"
	"strconv"
)

// Members of the header and of the claims, in the order in which they are written.
const (
	headerAlg = iota
	headerKID
	headerTyp
	headerAll = 1<<iota - 1
)

const (
	claimSub = iota
	claimIss
	claimAud
	claimExp
	claimIat
	claimNbf
	claimJTI
	claimPermissions
	claimNodeURL
	claimTokenType
	claimFam
	claimAll = 1<<iota - 1
)

const (
	challengeIss = iota
	challengeJTI
	challengeIat
	challengeExp
	challengeNonce
	challengeMethod
	challengeAll = 1<<iota - 1
)

var (
	headerNames    = []string{"alg", "kid", "typ"}
	claimNames     = []string{"sub", "iss", "aud", "exp", "iat", "nbf", "jti", "permissions", "node_url", "token_type", "fam"}
	challengeNames = []string{"iss", "jti", "iat", "exp", "nonce", "method"}
)

// appendHeader writes the header. The arguments need no escape.
func appendHeader(b []byte, alg, kid, typ string) []byte {
	b = append(b, `{"alg":"`...)
	b = append(b, alg...)
	b = append(b, `","kid":"`...)
	b = append(b, kid...)
	b = append(b, `","typ":"`...)
	b = append(b, typ...)
	return append(b, `"}`...)
}

// header is what a token says about its own signature.
type header struct{ alg, kid, typ string }

func readHeader(text string) (header, error) {
	var h header
	s := scanner{text: text, names: headerNames}
	for m, ok := s.next(); ok; m, ok = s.next() {
		switch m {
		case headerAlg:
			h.alg = s.str()
		case headerKID:
			h.kid = s.str()
		case headerTyp:
			h.typ = s.str()
		}
	}
	switch {
	case s.fault != "":
		return header{}, invalid("header: " + s.fault)
	case s.seen != headerAll:
		return header{}, invalid("header: missing member")
	}
	return h, nil
}

// problem names the claim for which c cannot be signed, or, when it was read, cannot be ours; "" for none.
func (c *Claims) problem() string {
	switch {
	case !validID(c.Subject):
		return "sub"
	case !validID(c.ID):
		return "jti"
	case !validID(c.Family):
		return "fam"
	case !validTimes(c.IssuedAt, c.Expires):
		return "iat or exp"
	case c.NodeURL != "" && !ValidNodeURL(c.NodeURL):
		return "node_url"
	case len(c.Permissions) > MaxPermissions:
		return "permissions: too many"
	}
	for _, p := range c.Permissions {
		if !ValidPermission(p) {
			return "permissions: malformed entry"
		}
	}
	return ""
}

// appendClaims writes checked claims.
func appendClaims(b []byte, issuer string, c *Claims) []byte {
	b = append(b, `{"sub":"`...)
	b = append(b, c.Subject...)
	b = append(b, `","iss":"`...)
	b = append(b, issuer...)
	b = append(b, `","aud":"`...)
	b = append(b, issuer...)
	b = append(b, `","exp":`...)
	b = strconv.AppendInt(b, c.Expires, 10)
	b = append(b, `,"iat":`...)
	b = strconv.AppendInt(b, c.IssuedAt, 10)
	b = append(b, `,"nbf":`...)
	b = strconv.AppendInt(b, c.IssuedAt, 10)
	b = append(b, `,"jti":"`...)
	b = append(b, c.ID...)
	b = append(b, `","permissions":[`...)
	for i, p := range c.Permissions {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, p...)
		b = append(b, '"')
	}
	b = append(b, ']')
	if c.NodeURL != "" {
		b = append(b, `,"node_url":"`...)
		b = append(b, c.NodeURL...)
		b = append(b, '"')
	}
	b = append(b, `,"token_type":"`...)
	b = append(b, c.Kind...)
	b = append(b, `","fam":"`...)
	b = append(b, c.Family...)
	return append(b, `"}`...)
}

// readClaims reads what appendClaims wrote for this kind and issuer. It returns nbf beside the claims.
func readClaims(text string, kind Kind, issuer string) (c Claims, nbf int64, err error) {
	var iss, aud, typ string
	s := scanner{text: text, names: claimNames}
	for m, ok := s.next(); ok; m, ok = s.next() {
		switch m {
		case claimSub:
			c.Subject = s.str()
		case claimIss:
			iss = s.str()
		case claimAud:
			aud = s.str()
		case claimExp:
			c.Expires = s.seconds()
		case claimIat:
			c.IssuedAt = s.seconds()
		case claimNbf:
			nbf = s.seconds()
		case claimJTI:
			c.ID = s.str()
		case claimPermissions:
			c.Permissions = s.list()
		case claimNodeURL:
			c.NodeURL = s.str()
		case claimTokenType:
			typ = s.str()
		case claimFam:
			c.Family = s.str()
		}
	}
	const optional = 1 << claimNodeURL
	switch {
	case s.fault != "":
		return Claims{}, 0, invalid("claims: " + s.fault)
	case s.seen|optional != claimAll:
		return Claims{}, 0, invalid("claims: missing member")
	case s.seen&optional != 0 && c.NodeURL == "":
		return Claims{}, 0, invalid("node_url")
	case iss != issuer:
		return Claims{}, 0, invalid("iss")
	case aud != issuer:
		return Claims{}, 0, invalid("aud")
	case typ != string(kind):
		return Claims{}, 0, invalid("token_type")
	}
	c.Kind = kind
	if problem := c.problem(); problem != "" {
		return Claims{}, 0, invalid(problem)
	}
	return c, nbf, nil
}

// nonceEncoding is standard base64, the form in which NEAR wallets are given the nonce.
var nonceEncoding = base64.StdEncoding.Strict()

// problem names the claim for which c cannot be signed, or, when it was read, cannot be ours; "" for none.
func (c *Challenge) problem() string {
	switch {
	case !validChallengeID(c.ID):
		return "jti"
	case len(c.Nonce) != ChallengeNonceLength:
		return "nonce"
	case !validTimes(c.IssuedAt, c.Expires):
		return "iat or exp"
	case c.Method != "" && !validID(c.Method):
		return "method"
	}
	return ""
}

// appendChallenge writes a checked challenge.
func appendChallenge(b []byte, issuer string, c *Challenge) []byte {
	b = append(b, `{"iss":"`...)
	b = append(b, issuer...)
	b = append(b, `","jti":"`...)
	b = append(b, c.ID...)
	b = append(b, `","iat":`...)
	b = strconv.AppendInt(b, c.IssuedAt, 10)
	b = append(b, `,"exp":`...)
	b = strconv.AppendInt(b, c.Expires, 10)
	b = append(b, `,"nonce":"`...)
	b = nonceEncoding.AppendEncode(b, c.Nonce)
	if c.Method != "" {
		b = append(b, `","method":"`...)
		b = append(b, c.Method...)
	}
	return append(b, `"}`...)
}

func readChallenge(text, issuer string) (Challenge, error) {
	var c Challenge
	var iss, nonce string
	s := scanner{text: text, names: challengeNames}
	for m, ok := s.next(); ok; m, ok = s.next() {
		switch m {
		case challengeIss:
			iss = s.str()
		case challengeJTI:
			c.ID = s.str()
		case challengeIat:
			c.IssuedAt = s.seconds()
		case challengeExp:
			c.Expires = s.seconds()
		case challengeNonce:
			nonce = s.str()
		case challengeMethod:
			c.Method = s.str()
		}
	}
	named := s.seen&(1<<challengeMethod) != 0
	switch {
	case s.fault != "":
		return Challenge{}, invalid("claims: " + s.fault)
	case s.seen|1<<challengeMethod != challengeAll:
		return Challenge{}, invalid("claims: missing member")
	case named && c.Method == "":
		return Challenge{}, invalid("method")
	case iss != issuer:
		return Challenge{}, invalid("iss")
	}
	var err error
	if c.Nonce, err = nonceEncoding.DecodeString(nonce); err != nil {
		return Challenge{}, invalid("nonce")
	}
	if problem := c.problem(); problem != "" {
		return Challenge{}, invalid(problem)
	}
	return c, nil
}
