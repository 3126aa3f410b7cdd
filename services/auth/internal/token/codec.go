package token

import (
	"errors"
	"fmt"
	"time"
)

// clockSkew is how far in the future iat and nbf may lie: replicas and nodes do not share one clock.
const clockSkew = 60 // seconds

// Options configure a [Codec]. All are required unless noted.
type Options struct {
	Issuer      string        // iss and aud: 1 to 256 bytes of UTF-8 without control characters, quote and backslash
	Algorithm   string        // HS256 or HS384; tokens of any other are refused
	Leeway      time.Duration // tolerance for the exp of access and refresh tokens; 0 is exact
	MaxLifetime time.Duration // the longest life any access or refresh token may have
	Now         func() time.Time

	// Signing returns the secret that signs now, at least 32 bytes, and its kid, of the key id alphabet.
	Signing func(Kind) (kid string, secret []byte)
	// Lookup returns the secret with that kid and whether it still verifies. It is called for every token with
	// text from outside: it must be an index into memory and nothing more.
	Lookup func(kind Kind, kid string) (secret []byte, ok bool)
}

// Codec signs and verifies tokens. It is safe for concurrent use when the functions of its options are.
type Codec struct {
	issuer      string
	algorithm   string
	macSize     int
	leeway      time.Duration
	maxLifetime int64
	now         func() time.Time
	signing     func(Kind) (string, []byte)
	lookup      func(Kind, string) ([]byte, bool)
}

// New returns a codec, or every reason why the options make none.
func New(o Options) (*Codec, error) {
	var problems []error
	macSize := map[string]int{"HS256": 32, "HS384": 48}[o.Algorithm]
	if macSize == 0 {
		problems = append(problems, fmt.Errorf("algorithm %q is neither HS256 nor HS384", o.Algorithm))
	}
	if !validIssuer(o.Issuer) {
		problems = append(problems, errors.New("issuer must be 1 to 256 bytes without control characters, quotes and backslashes"))
	}
	if o.Leeway < 0 {
		problems = append(problems, errors.New("leeway is negative"))
	}
	if o.MaxLifetime < time.Second {
		problems = append(problems, errors.New("longest lifetime is under one second"))
	}
	if o.Now == nil || o.Signing == nil || o.Lookup == nil {
		problems = append(problems, errors.New("clock or keyring missing"))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("token: %w", errors.Join(problems...))
	}
	return &Codec{
		issuer:      o.Issuer,
		algorithm:   o.Algorithm,
		macSize:     macSize,
		leeway:      o.Leeway,
		maxLifetime: int64(o.MaxLifetime / time.Second),
		now:         o.Now,
		signing:     o.Signing,
		lookup:      o.Lookup,
	}, nil
}

// Sign signs claims with the current secret of their kind and returns the token and that secret's kid, with which
// [Codec.SignWith] can make the same text again. Claims that Verify would refuse for their form are an error.
func (c *Codec) Sign(claims Claims) (raw, kid string, err error) {
	kid, secret := c.signing(claims.Kind)
	raw, err = c.sign(claims, kid, secret)
	return raw, kid, err
}

// SignWith signs claims with the secret of that kid. Equal claims and kid give an identical text, so a refresh
// that is repeated within its grace gets the same successor although no token is stored. It returns ErrUnknownKID
// when the secret is gone.
func (c *Codec) SignWith(kid string, claims Claims) (string, error) {
	secret, ok := c.lookup(claims.Kind, kid)
	if !ok {
		return "", fmt.Errorf("sign %s token: %w", claims.Kind, ErrUnknownKID)
	}
	return c.sign(claims, kid, secret)
}

func (c *Codec) sign(claims Claims, kid string, secret []byte) (string, error) {
	if claims.Kind != KindAccess && claims.Kind != KindRefresh {
		return "", fmt.Errorf("sign: %q is not a kind of session token", claims.Kind)
	}
	problem := claims.problem()
	if problem == "" && claims.Expires-claims.IssuedAt > c.maxLifetime {
		problem = "lifetime"
	}
	if problem != "" {
		return "", fmt.Errorf("sign %s token: unfit claims: %s", claims.Kind, problem)
	}
	raw, err := c.seal(claims.Kind, kid, secret, appendClaims(make([]byte, 0, 1024), c.issuer, &claims))
	if err != nil {
		return "", fmt.Errorf("sign %s token: %w", claims.Kind, err)
	}
	return raw, nil
}

// Verified is the content of a token that [Codec.Verify] accepted; nothing else makes one.
type Verified struct{ claims Claims }

// Claims returns the content. The permissions are shared: do not change them.
func (v Verified) Claims() Claims { return v.claims }

// Verify checks a token of one kind: form, header, signature, then claims, then times, in that order. It returns
// ErrExpired only when nothing but exp is wrong, ErrUnknownKID (an ErrInvalid) when no secret has the token's kid,
// and an error wrapping ErrInvalid in every other case. A challenge is never valid here.
func (c *Codec) Verify(raw string, kind Kind) (Verified, error) {
	claims, err := c.open(raw, kind)
	if err != nil {
		return Verified{}, err
	}
	if c.expired(claims.Expires) {
		return Verified{}, ErrExpired
	}
	return Verified{claims}, nil
}

// Expired reports whether a token that was verified earlier has expired since. Nothing else that Verify checks
// can become wrong with time alone; secrets can be withdrawn, which is for the keyring to announce.
func (c *Codec) Expired(v Verified) bool { return c.expired(v.claims.Expires) }

// expired compares with exp itself excluded: a token must not be accepted "on or after" it (RFC 7519 section 4.1.4).
func (c *Codec) expired(exp int64) bool { return c.now().Add(-c.leeway).Unix() >= exp }

// open verifies everything but expiry.
func (c *Codec) open(raw string, kind Kind) (Claims, error) {
	if kind != KindAccess && kind != KindRefresh {
		return Claims{}, invalid("not a kind of session token")
	}
	text, err := c.payload(raw, kind, true)
	if err != nil {
		return Claims{}, err
	}
	claims, nbf, err := readClaims(text, kind, c.issuer)
	if err != nil {
		return Claims{}, err
	}
	latest := c.now().Unix() + clockSkew
	switch {
	case claims.IssuedAt > latest:
		return Claims{}, invalid("iat in the future")
	case nbf > latest:
		return Claims{}, invalid("nbf in the future")
	case claims.Expires-claims.IssuedAt > c.maxLifetime:
		return Claims{}, invalid("lifetime")
	}
	return claims, nil
}

// State is what an access token can still prove.
type State int

// The states of an access token. The zero State is none of them.
const (
	// Live means signed and not expired.
	Live State = iota + 1
	// Lapsed means signed and expired.
	Lapsed
	// Unproven means that the secret is gone: nothing was authenticated.
	Unproven
)

// Companion is the access token that accompanies a refresh token. It authenticates nobody: a caller compares it
// with the refresh token, which does.
type Companion struct {
	State    State
	Subject  string
	Family   string
	IssuedAt int64 // Unix seconds
	Expires  int64 // Unix seconds
}

// InspectAccess reads the access token of POST /auth/refresh. Its secret may have been retired long before the
// refresh token's, so under an unknown kid it is read without a signature, with all other rules of form in force,
// and marked Unproven. A bad signature under a known kid is an error like any other fault: it wraps ErrInvalid.
func (c *Codec) InspectAccess(raw string) (Companion, error) {
	claims, err := c.open(raw, KindAccess)
	state := Live
	switch {
	case errors.Is(err, ErrUnknownKID):
		state = Unproven
		claims, err = c.readUnsigned(raw)
	case err == nil && c.expired(claims.Expires):
		state = Lapsed
	}
	if err != nil {
		return Companion{}, err
	}
	return Companion{State: state, Subject: claims.Subject, Family: claims.Family, IssuedAt: claims.IssuedAt, Expires: claims.Expires}, nil
}

// readUnsigned reads an access token without its signature and without regard to time.
func (c *Codec) readUnsigned(raw string) (Claims, error) {
	text, err := c.payload(raw, KindAccess, false)
	if err != nil {
		return Claims{}, err
	}
	claims, _, err := readClaims(text, KindAccess, c.issuer)
	return claims, err
}

// SignChallenge signs a login challenge with the current secret of its kind.
func (c *Codec) SignChallenge(ch Challenge) (string, error) {
	if problem := ch.problem(); problem != "" {
		return "", fmt.Errorf("sign challenge: unfit claims: %s", problem)
	}
	kid, secret := c.signing(KindChallenge)
	raw, err := c.seal(KindChallenge, kid, secret, appendChallenge(make([]byte, 0, 256), c.issuer, &ch))
	if err != nil {
		return "", fmt.Errorf("sign challenge: %w", err)
	}
	return raw, nil
}

// VerifyChallenge checks a login challenge, with the errors of [Codec.Verify]. Its exp is exact whatever the
// leeway: the record of its use is kept until exp, and a longer life would allow a second use.
func (c *Codec) VerifyChallenge(raw string) (Challenge, error) {
	text, err := c.payload(raw, KindChallenge, true)
	if err != nil {
		return Challenge{}, err
	}
	ch, err := readChallenge(text, c.issuer)
	if err != nil {
		return Challenge{}, err
	}
	now := c.now().Unix()
	switch {
	case ch.IssuedAt > now+clockSkew:
		return Challenge{}, invalid("iat in the future")
	case now >= ch.Expires:
		return Challenge{}, ErrExpired
	}
	return ch, nil
}
