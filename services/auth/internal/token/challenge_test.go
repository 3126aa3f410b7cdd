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

func TestSignChallenge_ExactText(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	got, err := codec.SignChallenge(challengeClaims())
	if err != nil {
		t.Fatal(err)
	}
	if want := forgeChallenge(goodChallenge()); got != want {
		t.Errorf("SignChallenge:\n got %s\nwant %s", got, want)
	}
	c, err := codec.VerifyChallenge(got)
	if want := challengeClaims(); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("VerifyChallenge = %+v, %v; want %+v", c, err, want)
	}
}

// A challenge may name the method that it is for; what names none reads as before.
func TestSignChallenge_Method(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	want := challengeClaims()
	want.Method = "near_wallet"
	got, err := codec.SignChallenge(want)
	if err != nil || got != forgeChallenge(goodChallenge().and("method", `"near_wallet"`)) {
		t.Errorf("SignChallenge = %s, %v", got, err)
	}
	if c, err := codec.VerifyChallenge(got); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("VerifyChallenge = %+v, %v; want %+v", c, err, want)
	}
}

func TestSignChallenge_RefusesUnfitClaims(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	for _, tt := range []struct {
		name   string
		mutate func(*token.Challenge)
	}{
		{"no id", func(c *token.Challenge) { c.ID = "" }},
		{"upper-case id", func(c *token.Challenge) { c.ID = strings.ToUpper(c.ID) }},
		{"short nonce", func(c *token.Challenge) { c.Nonce = c.Nonce[:31] }},
		{"method with a space", func(c *token.Challenge) { c.Method = "near wallet" }},
		{"method that closes its string", func(c *token.Challenge) { c.Method = `x","jti":"` }},
		{"expires when issued", func(c *token.Challenge) { c.Expires = c.IssuedAt }},
	} {
		c := challengeClaims()
		tt.mutate(&c)
		if raw, err := codec.SignChallenge(c); err == nil || raw != "" {
			t.Errorf("%s: SignChallenge = %q, %v; want an error", tt.name, raw, err)
		}
	}
}

func TestVerifyChallenge_Forms(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	refused := func(name, raw string) {
		t.Helper()
		if c, err := codec.VerifyChallenge(raw); !errors.Is(err, token.ErrInvalid) || !reflect.DeepEqual(c, token.Challenge{}) {
			t.Errorf("%s: VerifyChallenge = %+v, %v; want nothing and ErrInvalid", name, c, err)
		}
	}
	good := goodChallenge()
	for _, m := range good {
		refused("without "+m.name, forgeChallenge(good.without(m.name)))
		refused("duplicate "+m.name, forgeChallenge(good.and(m.name, m.value)))
		refused("case-folded "+m.name, forgeChallenge(good.without(m.name).with(strings.ToUpper(m.name), m.value)))
		for _, value := range []string{"null", "[]", "{}", `""`, "-1", "1.5", `"x"`, "true"} {
			refused(m.name+"="+value, forgeChallenge(good.with(m.name, value)))
		}
	}
	for _, value := range []string{"null", "[]", "{}", `""`, "-1", `"near wallet"`, "true", `"\u0061"`} {
		refused("method="+value, forgeChallenge(good.and("method", value)))
	}
	refused("duplicate method", forgeChallenge(good.and("method", `"a"`).and("method", `"a"`)))
	refused("case-folded method", forgeChallenge(good.and("METHOD", `"a"`)))
	for _, tt := range []struct{ name, claim, value string }{
		{"unknown claim", "sub", `"root-key-1"`},
		{"permissions", "permissions", `["admin"]`},
		{"upper-case jti", "jti", `"0123456789ABCDEF0123456789ABCDEF"`},
		{"short jti", "jti", `"0123456789abcdef0123456789abcde"`},
		{"jti outside hex", "jti", `"0123456789abcdef0123456789abcdeg"`},
		{"nonce of 31 bytes", "nonce", `"` + strings.Repeat("A", 42) + `=="`},
		{"nonce without padding", "nonce", `"` + strings.Repeat("A", 43) + `"`},
		{"nonce with spare bits", "nonce", `"` + strings.Repeat("A", 42) + `B="`},
		{"nonce of another alphabet", "nonce", `"` + strings.Repeat("-", 42) + `A="`},
		{"from the future", "iat", strconv.Itoa(now + 61)},
		{"other issuer", "iss", `"evil"`},
	} {
		refused(tt.name, forgeChallenge(good.with(tt.claim, tt.value)))
	}
	header := goodHeader().with("typ", `"challenge+jwt"`).text()
	refused("access secret", forge(secretV1, header, good.text()))
	refused("typ of an access token", forge(secretChallenge, goodHeader().text(), good.text()))
	refused("no signature", segment(header)+"."+segment(good.text())+".")
	refused("payload not base64", forgeChallenge(good)[:len(segment(header))+1]+"$."+segment("x"))
	refused("unknown kid", forge(secretChallenge, goodHeader().with("typ", `"challenge+jwt"`).with("kid", `"v9"`).text(), good.text()))
}

// The record of a used challenge is kept until exp, so the leeway of sessions must not let it live longer.
func TestVerifyChallenge_ExpiryIsExactDespiteLeeway(t *testing.T) {
	for _, tt := range []struct {
		at   int64
		want error
	}{{now - 61, token.ErrInvalid}, {now - 60, nil}, {now + 299, nil}, {now + 300, token.ErrExpired}} {
		o := options(corpusKeyring())
		o.Leeway, o.Now = time.Minute, func() time.Time { return time.Unix(tt.at, 0) }
		if _, err := newCodec(t, o).VerifyChallenge(forgeChallenge(goodChallenge())); !errors.Is(err, tt.want) {
			t.Errorf("at %d: VerifyChallenge = %v, want %v", tt.at, err, tt.want)
		}
	}
}
