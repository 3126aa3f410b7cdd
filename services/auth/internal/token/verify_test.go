package token_test

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// Only the diagonal passes: with one secret for every kind, so that the secrets prove nothing, and with separate
// ones.
func TestVerify_KindMatrix(t *testing.T) {
	shared := keyring{
		token.KindAccess:    {"v1": secretV1},
		token.KindRefresh:   {"v1": secretV1},
		token.KindChallenge: {"v1": secretV1},
	}
	for name, keys := range map[string]keyring{"shared secret": shared, "separate secrets": corpusKeyring()} {
		codec := newCodec(t, options(keys))
		access, _, err := codec.Sign(accessClaims())
		if err != nil {
			t.Fatal(err)
		}
		refresh, _, err := codec.Sign(refreshClaims())
		if err != nil {
			t.Fatal(err)
		}
		challenge, err := codec.SignChallenge(challengeClaims())
		if err != nil {
			t.Fatal(err)
		}
		tokens := map[string]string{"access": access, "refresh": refresh, "challenge": challenge}
		verifiers := map[string]func(string) error{
			"access":    func(raw string) error { _, err := codec.Verify(raw, token.KindAccess); return err },
			"refresh":   func(raw string) error { _, err := codec.Verify(raw, token.KindRefresh); return err },
			"challenge": func(raw string) error { _, err := codec.VerifyChallenge(raw); return err },
		}
		for kind, raw := range tokens {
			for verifier, verify := range verifiers {
				err := verify(raw)
				if kind == verifier && err != nil {
					t.Errorf("%s: %s token at the %s verifier: %v", name, kind, verifier, err)
				}
				if kind != verifier && !errors.Is(err, token.ErrInvalid) {
					t.Errorf("%s: %s token at the %s verifier: %v, want ErrInvalid", name, kind, verifier, err)
				}
			}
			for _, kind := range []token.Kind{token.KindChallenge, "csrf", ""} {
				if _, err := codec.Verify(raw, kind); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("%s: Verify as %q = %v, want ErrInvalid", name, kind, err)
				}
			}
		}
	}
}

// Not even a token whose every part says "challenge" is a session token, should a caller ask for that kind.
func TestVerify_SessionClaimsInAChallenge(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	raw := forge(secretChallenge, goodHeader().with("typ", `"challenge+jwt"`).text(), goodClaims().with("token_type", `"challenge"`).text())
	if _, err := codec.Verify(raw, token.KindChallenge); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("Verify = %v, want ErrInvalid", err)
	}
}

// The keyring never sees text that could be a path, a query or a storage key, and a malformed kid is not a retired
// one.
func TestVerify_MalformedKIDIsNeverLookedUp(t *testing.T) {
	o := options(corpusKeyring())
	var asked []string
	o.Lookup = func(_ token.Kind, kid string) ([]byte, bool) {
		asked = append(asked, kid)
		return nil, false
	}
	codec := newCodec(t, o)
	for _, kid := range []string{"", ".", "../v1", "system:secrets:csrf", "v1 ", "v1'", "é", strings.Repeat("k", 129)} {
		raw := forgeHeader(goodHeader().with("kid", `"`+kid+`"`))
		if _, err := codec.Verify(raw, token.KindAccess); !errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrUnknownKID) {
			t.Errorf("kid %q: Verify = %v, want ErrInvalid and not ErrUnknownKID", kid, err)
		}
		if c, err := codec.InspectAccess(raw); err == nil {
			t.Errorf("kid %q: InspectAccess = %+v, want an error", kid, c)
		}
	}
	if len(asked) > 0 {
		t.Errorf("keyring was asked for %q", asked)
	}
}

// The header may claim any kind it likes: the secret of another kind does not make the MAC right.
func TestVerify_SecretOfAnotherKind(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	for name, secret := range map[string][]byte{"refresh": secretRefresh, "challenge": secretChallenge, "csrf": secretCSRF} {
		raw := forge(secret, goodHeader().text(), goodClaims().text())
		if _, err := codec.Verify(raw, token.KindAccess); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("access token under the %s secret: Verify = %v, want ErrInvalid", name, err)
		}
	}
}

func TestVerify_RetiredKID(t *testing.T) {
	keys := corpusKeyring()
	codec := newCodec(t, options(keys))
	raw, kid, err := codec.Sign(accessClaims())
	if err != nil {
		t.Fatal(err)
	}
	delete(keys[token.KindAccess], kid)
	if _, err := codec.Verify(raw, token.KindAccess); !errors.Is(err, token.ErrUnknownKID) || !errors.Is(err, token.ErrInvalid) {
		t.Errorf("Verify = %v, want ErrUnknownKID, which is an ErrInvalid", err)
	}
}

// A keyring that answers ok with no secret must not turn every empty-key MAC into a valid one.
func TestVerify_EmptySecretInKeyring(t *testing.T) {
	for _, secret := range [][]byte{nil, {}, secretV1[:31]} {
		o := options(nil)
		o.Lookup = func(token.Kind, string) ([]byte, bool) { return secret, true }
		raw := forge(secret, goodHeader().text(), goodClaims().text())
		if _, err := newCodec(t, o).Verify(raw, token.KindAccess); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("Verify under a secret of %d bytes = %v, want ErrInvalid", len(secret), err)
		}
	}
}

func TestVerify_Times(t *testing.T) {
	const iat, exp = now, now + 3600
	claims := accessClaims()
	claims.IssuedAt, claims.Expires = iat, exp
	raw, _, err := newCodec(t, options(corpusKeyring())).Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		leeway time.Duration
		at     time.Time
		want   error
	}{
		{"issued 61 s ahead of our clock", 0, time.Unix(iat-61, 0), token.ErrInvalid},
		{"issued 60 s ahead of our clock", 0, time.Unix(iat-60, 0), nil},
		{"a nanosecond before exp", 0, time.Unix(exp, -1), nil},
		{"at exp", 0, time.Unix(exp, 0), token.ErrExpired},
		{"long after", 0, time.Unix(exp+1e9, 0), token.ErrExpired},
		{"a nanosecond before exp and leeway", 60 * time.Second, time.Unix(exp+60, -1), nil},
		{"at exp and leeway", 60 * time.Second, time.Unix(exp+60, 0), token.ErrExpired},
		{"leeway does not stretch iat", time.Hour, time.Unix(iat-61, 0), token.ErrInvalid},
	} {
		o := options(corpusKeyring())
		o.Leeway, o.Now = tt.leeway, func() time.Time { return tt.at }
		codec := newCodec(t, o)
		v, err := codec.Verify(raw, token.KindAccess)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: Verify = %v, want %v", tt.name, err, tt.want)
		}
		if err != nil && !reflect.DeepEqual(v, token.Verified{}) {
			t.Errorf("%s: Verify returned content beside %v", tt.name, err)
		}
		if errors.Is(err, token.ErrExpired) && errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: Verify = %v, which is both expired and invalid", tt.name, err)
		}
	}
}

// A cache that holds a verified token asks again only whether it has expired.
func TestExpired(t *testing.T) {
	clock := time.Unix(now, 0)
	o := options(corpusKeyring())
	o.Leeway, o.Now = 5*time.Second, func() time.Time { return clock }
	codec := newCodec(t, o)
	v, err := codec.Verify(forgeClaims(goodClaims()), token.KindAccess)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int64]bool{now: false, now + 3540 + 4: false, now + 3540 + 5: true} {
		clock = time.Unix(at, 0)
		if got := codec.Expired(v); got != want {
			t.Errorf("Expired at %d = %v, want %v", at, got, want)
		}
	}
	if !codec.Expired(token.Verified{}) {
		t.Error("the zero Verified has not expired")
	}
}

// "Expired" tells a client to refresh, and an attacker that the rest of its token was right: it is said only when
// that is true.
func TestVerify_ExpiredOnlyWhenNothingElseIsWrong(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	old := goodClaims().with("iat", strconv.Itoa(now-7200)).with("nbf", strconv.Itoa(now-7200)).with("exp", strconv.Itoa(now-3600))
	if _, err := codec.Verify(forgeClaims(old), token.KindAccess); !errors.Is(err, token.ErrExpired) {
		t.Fatalf("Verify of an expired token = %v, want ErrExpired", err)
	}
	for name, raw := range map[string]string{
		"bad signature":     forge(secretCSRF, goodHeader().text(), old.text()),
		"unknown kid":       forge(secretV1, goodHeader().with("kid", `"v9"`).text(), old.text()),
		"alg none":          segment(goodHeader().with("alg", `"none"`).text()) + "." + segment(old.text()) + ".",
		"other issuer":      forgeClaims(old.with("iss", `"evil"`)),
		"refresh token":     forgeClaims(old.with("token_type", `"refresh"`)),
		"malformed subject": forgeClaims(old.with("sub", `"expired:1"`)),
		"nbf in the future": forgeClaims(old.with("nbf", strconv.Itoa(now+3600))),
		"endless life":      forgeClaims(old.with("iat", "0")),
	} {
		if _, err := codec.Verify(raw, token.KindAccess); !errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrExpired) {
			t.Errorf("%s: Verify = %v, want ErrInvalid", name, err)
		}
	}
}

func TestInspectAccess(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	old := goodClaims().with("iat", strconv.Itoa(now-7200)).with("nbf", strconv.Itoa(now-7200)).with("exp", strconv.Itoa(now-3600))
	retired := goodHeader().with("kid", `"v-1"`).text()
	companion := func(state token.State, iat, exp int64) token.Companion {
		return token.Companion{State: state, Subject: "root-key-1", Family: "fam_1", IssuedAt: iat, Expires: exp}
	}
	for _, tt := range []struct {
		name string
		raw  string
		want token.Companion
	}{
		{"live", forgeClaims(goodClaims()), companion(token.Live, now-60, now+3540)},
		{"under the secret in grace", forge(secretV0, goodHeader().with("kid", `"v0"`).text(), goodClaims().text()), companion(token.Live, now-60, now+3540)},
		{"expired", forgeClaims(old), companion(token.Lapsed, now-7200, now-3600)},
		{"retired secret", forge(secretRetired, retired, old.text()), companion(token.Unproven, now-7200, now-3600)},
		{"retired secret, not expired", forge(secretRetired, retired, goodClaims().text()), companion(token.Unproven, now-60, now+3540)},
		{"no signature under an unknown kid", segment(retired) + "." + segment(old.text()) + ".", companion(token.Unproven, now-7200, now-3600)},
	} {
		if got, err := codec.InspectAccess(tt.raw); err != nil || got != tt.want {
			t.Errorf("%s: InspectAccess = %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
	for name, raw := range map[string]string{
		"bad signature":                   forge(secretCSRF, goodHeader().text(), goodClaims().text()),
		"refresh token":                   forge(secretRefresh, goodHeader().with("typ", `"rt+jwt"`).text(), goodClaims().with("token_type", `"refresh"`).text()),
		"refresh claims, unknown kid":     forge(secretRetired, retired, old.with("token_type", `"refresh"`).text()),
		"other issuer, unknown kid":       forge(secretRetired, retired, old.with("iss", `"evil"`).text()),
		"duplicate subject, unknown kid":  forge(secretRetired, retired, old.and("sub", `"x"`).text()),
		"malformed family, unknown kid":   forge(secretRetired, retired, old.with("fam", `"family:1"`).text()),
		"payload not base64, unknown kid": segment(retired) + ".$." + segment("x"),
		"issued in the future":            forgeClaims(goodClaims().with("iat", strconv.Itoa(now+120))),
	} {
		if got, err := codec.InspectAccess(raw); !errors.Is(err, token.ErrInvalid) || got != (token.Companion{}) {
			t.Errorf("%s: InspectAccess = %+v, %v; want nothing and ErrInvalid", name, got, err)
		}
	}
}

// Sessions outlive access secrets: a refresh token is good on day 29 under its own secret, which is kept for it, and
// the access token beside it, whose secret is long gone, still tells its family.
func TestInspectAccess_SecretRetiredBeforeTheRefreshToken(t *testing.T) {
	clock := time.Unix(now, 0)
	keys := corpusKeyring()
	o := options(keys)
	o.Now = func() time.Time { return clock }
	codec := newCodec(t, o)
	access, accessKID, err := codec.Sign(accessClaims())
	if err != nil {
		t.Fatal(err)
	}
	refresh, _, err := codec.Sign(refreshClaims())
	if err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(29 * 24 * time.Hour)
	delete(keys[token.KindAccess], accessKID)

	companion, err := codec.InspectAccess(access)
	if err != nil || companion.State != token.Unproven {
		t.Fatalf("InspectAccess = %+v, %v; want Unproven", companion, err)
	}
	v, err := codec.Verify(refresh, token.KindRefresh)
	if err != nil {
		t.Fatalf("Verify of the refresh token = %v", err)
	}
	if c := v.Claims(); companion.Family != c.Family || companion.Subject != c.Subject {
		t.Errorf("companion %+v does not match the refresh token %+v", companion, c)
	}
}
