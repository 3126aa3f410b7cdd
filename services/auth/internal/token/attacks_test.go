package token_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// attack builds the tokens of one case of the corpus with the real claims and a known secret.
type attack struct {
	build  func() []string
	reason string // part of the refusal's detail: the tokens must fail for this, not by accident; "" when it differs
}

func one(raw string) func() []string { return func() []string { return []string{raw} } }

func claimAttack(name, value, reason string) attack {
	return attack{one(forgeClaims(goodClaims().with(name, value))), reason}
}

func headerAttack(name, value, reason string) attack {
	return attack{one(forgeHeader(goodHeader().with(name, value))), reason}
}

func missing(name string) attack {
	return attack{one(forgeClaims(goodClaims().without(name))), "missing member"}
}

// unsigned has an empty third part.
func unsigned(alg string) attack {
	return attack{one(segment(goodHeader().with("alg", alg).text()) + "." + segment(goodClaims().text()) + "."), "alg"}
}

var attacks = map[string]attack{
	"alg-nOnE":          unsigned(`"nOnE"`),
	"alg-empty":         unsigned(`""`),
	"alg-none-keep-sig": {buildNoneKeepSignature, "alg"},
	"alg-HS512": {one(forge512(secretV1, goodHeader().with("alg", `"HS512"`).text(),
		goodClaims().text())), "alg"},
	"alg-ES256":                headerAttack("alg", `"ES256"`, "alg"),
	"alg-PS256":                headerAttack("alg", `"PS256"`, "alg"),
	"alg-EdDSA-own-key-jwk":    {buildOwnKey, "unknown member"},
	"alg-hmac-with-public-key": {buildPublicKeyAsSecret, "signature"},
	"alg-array":                headerAttack("alg", `["HS256"]`, "not a string"),
	"alg-dup": {
		one(forgeHeader(append(object{{"alg", `"none"`}}, goodHeader()...))),
		"duplicate member",
	},

	"kid-sql":         headerAttack("kid", `"v1' OR '1'='1"`, "invalid token: kid"),
	"kid-url":         headerAttack("kid", `"http://169.254.169.254/"`, "invalid token: kid"),
	"kid-nul":         {buildNULKid, "escape or control character"},
	"kid-empty":       headerAttack("kid", `""`, "invalid token: kid"),
	"kid-array":       headerAttack("kid", `["v1"]`, "not a string"),
	"kid-number":      headerAttack("kid", `1`, "not a string"),
	"kid-storage-key": headerAttack("kid", `"system:secrets:csrf"`, "invalid token: kid"),
	"kid-missing":     {one(forgeHeader(goodHeader().without("kid"))), "missing member"},
	"jku":             headerAttack("jku", `"https://evil.example/jwks.json"`, "unknown member"),
	"typ-JWT":         headerAttack("typ", `"JWT"`, "invalid token: typ"),
	"typ-refresh":     headerAttack("typ", `"rt+jwt"`, "invalid token: typ"),
	"cty-nested": {one(forge(secretV1, goodHeader().with("cty", `"JWT"`).text(),
		forgeClaims(goodClaims()))), "unknown member"},

	"sig-bitflip":        {buildSignatureBitFlip, "signature"},
	"sig-truncated":      {buildTruncatedSignature, "signature"},
	"sig-std-alphabet":   {buildStandardAlphabet, "base64url"},
	"payload-swapped":    {buildSwappedPayload, "signature"},
	"empty-secret":       {one(forge(nil, goodHeader().text(), goodClaims().text())), "signature"},
	"secret-base64-text": {buildBase64Secret, "signature"},
	"expired-grace-key": {one(forge(secretRetired, goodHeader().with("kid", `"v-1"`).text(),
		goodClaims().text())), "unknown kid"},
	"csrf-secret": {one(forge(secretCSRF, goodHeader().text(), goodClaims().text())), "signature"},

	"challenge-as-access": {buildChallengeAsAccess, "typ"},
	"id-token-like": {one(forgeClaims(goodClaims().without("permissions").
		with("nonce", `"n"`).with("email", `"a@b"`))), "unknown member"},

	"missing-aud":         missing("aud"),
	"missing-sub":         missing("sub"),
	"missing-jti":         missing("jti"),
	"missing-permissions": missing("permissions"),

	"iss-array":            claimAttack("iss", `["calimero-auth"]`, "not a string"),
	"iss-empty":            claimAttack("iss", `""`, "iss"),
	"aud-other":            claimAttack("aud", `"https://other.example.com"`, "aud"),
	"aud-empty-array":      claimAttack("aud", `[]`, "not a string"),
	"aud-array-with-other": claimAttack("aud", `["https://other.example.com","calimero-auth"]`, "not a string"),
	"aud-substring":        claimAttack("aud", `"calimero-auth.evil.example"`, "aud"),

	"exp-past":      claimAttack("exp", strconv.Itoa(now-1), token.ErrExpired.Error()),
	"exp-zero":      claimAttack("exp", "0", "iat or exp"),
	"exp-huge":      claimAttack("exp", "99999999999999999999", "out of range"),
	"exp-null":      claimAttack("exp", "null", "whole number"),
	"exp-array":     claimAttack("exp", fmt.Sprintf("[%d]", now+60), "whole number"),
	"exp-year-9999": claimAttack("exp", "253402300799", "lifetime"),
	"iat-negative":  claimAttack("iat", "-1", "whole number"),
	"iat-after-exp": claimAttack("iat", strconv.Itoa(now+4000), "iat or exp"),
	"iat-string":    claimAttack("iat", `"x"`, "whole number"),
	"nbf-future":    claimAttack("nbf", strconv.Itoa(now+3600), "nbf in the future"),
	"nbf-string":    claimAttack("nbf", `"0"`, "whole number"),

	"sub-crlf":             claimAttack("sub", `"a\r\nX-Auth-User: root"`, "escape or control character"),
	"sub-unicode":          {buildUnicodeSubject, ""}, // refused for two reasons, see the builder
	"sub-colon-prefix":     claimAttack("sub", `"permissions:root-key-1"`, "sub"),
	"permissions-number":   claimAttack("permissions", `[1]`, "not a string"),
	"permissions-null":     claimAttack("permissions", `null`, "not a list"),
	"dup-sub":              {one(forgeClaims(append(object{{"sub", `"user"`}}, goodClaims()...))), "duplicate member"},
	"unicode-escape-claim": {one(forgeClaims(goodClaims().and(`\u0073ub`, `"x"`))), "escape or control character"},
	"trailing-data": {one(forge(secretV1, goodHeader().text(),
		goodClaims().text()+`{"sub":"x"}`)), "data after"},
	"payload-array": {one(forge(secretV1, goodHeader().text(), "["+goodClaims().text()+"]")), "not a JSON object"},
	"payload-null":  {one(forge(secretV1, goodHeader().text(), "null")), "not a JSON object"},

	"format-json-flattened": {buildFlattened, "not three segments"},
	"format-pem":            {one("-----BEGIN"), "not three segments"},
	"format-percent":        {one(strings.ReplaceAll(forgeClaims(goodClaims()), ".", "%2e")), "not three segments"},

	// Of the life cycle, what a verifier alone decides.
	"rotated-secret-grace": {one(forge(secretV0, goodHeader().with("kid", `"v0"`).text(), goodClaims().text())), ""},
	"rotated-secret-after-grace": {one(forge(secretRetired, goodHeader().with("kid", `"v-1"`).text(),
		goodClaims().text())), "unknown kid"},
}

// corpusAttacks is how many cases testdata/jwt_attacks.json holds.
const corpusAttacks = 79

// elsewhere lists the cases that no verifier of a single token can decide; httpapi's TestAttackCorpus_LifeCycle plays
// all of them.
var elsewhere = map[string]string{
	"permissions-stale":                  "the gate intersects the token's list with the live key's",
	"node-url-mismatch":                  "the gate compares node_url with the request; TestVerify_NodeURLIsVerbatim",
	"node-url-unparsable":                "the gate compares node_url with the request; TestVerify_NodeURLIsVerbatim",
	"refresh-reuse":                      "families live in the store",
	"access-after-revoke":                "families live in the store",
	"access-after-root-delete":           "keys live in the store",
	"access-after-client-delete":         "keys live in the store",
	"refresh-after-perm-reduction":       "the list of a refreshed token comes from the store",
	"refresh-with-forged-expired-access": "TestInspectAccess_ForgedExpiredToken",
	"two-rotations-in-grace":             "TestVerify_TwoRotationsInGrace",
	"restart-keeps-tokens":               "secrets and families live in the store",
}

func TestVerify_AttackCorpus(t *testing.T) {
	var corpus struct {
		Now     int64 `json:"generated_for_now"`
		Attacks []struct {
			ID      string
			Example *string         `json:"example_token"`
			Expect  json.RawMessage `json:"expect_status"`
		}
	}
	text, err := os.ReadFile("testdata/jwt_attacks.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &corpus); err != nil {
		t.Fatal(err)
	}
	if corpus.Now != now || len(corpus.Attacks) != corpusAttacks {
		t.Fatalf("corpus of %d attacks at %d, want %d at %d", len(corpus.Attacks), corpus.Now, corpusAttacks, now)
	}
	codec := newCodec(t, options(corpusKeyring()))
	if _, err := codec.Verify(forgeClaims(goodClaims()), token.KindAccess); err != nil {
		t.Fatalf("the token that the attacks mutate is itself refused: %v", err)
	}

	seen := map[string]bool{}
	for _, c := range corpus.Attacks {
		seen[c.ID] = true
		t.Run(c.ID, func(t *testing.T) {
			a, here := attacks[c.ID]
			_, there := elsewhere[c.ID]
			if here == there {
				t.Fatalf("attack %q is in attacks: %v, in elsewhere: %v; want exactly one", c.ID, here, there)
			}
			if !here {
				return
			}
			wantOK := string(c.Expect) == "200"
			if !wantOK && string(c.Expect) != "401" && string(c.Expect) != `"policy"` {
				t.Fatalf("corpus expects %s, which is not a verifier's answer", c.Expect)
			}
			for _, raw := range a.build() {
				_, err := codec.Verify(raw, token.KindAccess)
				switch {
				case wantOK && err != nil:
					t.Errorf("Verify = %v, want success; token %s", err, raw)
				case !wantOK && err == nil:
					t.Errorf("Verify accepted %s", raw)
				case !wantOK && !strings.Contains(err.Error(), a.reason):
					t.Errorf("Verify = %q, want it to name %q; token %s", err, a.reason, raw)
				}
			}
			if c.Example != nil && !wantOK {
				if _, err := codec.Verify(*c.Example, token.KindAccess); err == nil {
					t.Errorf("the corpus's own example is accepted: %s", *c.Example)
				}
			}
		})
	}
	for id := range attacks {
		if !seen[id] {
			t.Errorf("attack %q is not in the corpus", id)
		}
	}
	for id := range elsewhere {
		if !seen[id] {
			t.Errorf("case %q is not in the corpus", id)
		}
	}
}

func buildNoneKeepSignature() []string {
	good := strings.Split(forgeClaims(goodClaims()), ".")
	return []string{segment(goodHeader().with("alg", `"none"`).text()) + "." + good[1] + "." + good[2]}
}

func attackerKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(secretRetired) }

func buildOwnKey() []string {
	public := base64.RawURLEncoding.EncodeToString(attackerKey().Public().(ed25519.PublicKey))
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + public + `"}`
	input := segment(goodHeader().with("alg", `"EdDSA"`).with("jwk", jwk).text()) + "." + segment(goodClaims().text())
	return []string{
		input + "." + segment(string(ed25519.Sign(attackerKey(), []byte(input)))),
		forge(secretV1, goodHeader().with("jwk", jwk).text(), goodClaims().text()), // MAC and all
	}
}

func buildPublicKeyAsSecret() []string {
	public := attackerKey().Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`
	var tokens []string
	for _, secret := range [][]byte{public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), []byte(jwk)} {
		tokens = append(tokens, forge(secret, goodHeader().text(), goodClaims().text()))
	}
	return tokens
}

func buildNULKid() []string {
	return []string{
		forgeHeader(goodHeader().with("kid", `"v1\u0000"`)),
		forgeHeader(goodHeader().with("kid", "\"v1\x00\"")),
	}
}

// buildSignatureBitFlip flips each bit of the MAC in turn.
func buildSignatureBitFlip() []string {
	raw := forgeClaims(goodClaims())
	input := raw[:strings.LastIndexByte(raw, '.')]
	var tokens []string
	for bit := range 256 {
		b := []byte(mac(sha256.New, secretV1, input))
		b[bit/8] ^= 1 << (bit % 8)
		tokens = append(tokens, input+"."+segment(string(b)))
	}
	return tokens
}

func buildTruncatedSignature() []string {
	raw := forgeClaims(goodClaims())
	input := raw[:strings.LastIndexByte(raw, '.')]
	full := mac(sha256.New, secretV1, input)
	var tokens []string
	for n := range len(full) {
		tokens = append(tokens, input+"."+segment(full[:n]))
	}
	return append(tokens, input+"."+segment(full+"\x00"))
}

// buildStandardAlphabet tries ids until the MAC has a character in which the alphabets differ.
func buildStandardAlphabet() []string {
	for i := 0; ; i++ {
		raw := forgeClaims(goodClaims().with("jti", fmt.Sprintf(`"%d"`, i)))
		input, sig := raw[:strings.LastIndexByte(raw, '.')+1], raw[strings.LastIndexByte(raw, '.')+1:]
		if strings.ContainsAny(sig, "-_") {
			return []string{input + strings.NewReplacer("-", "+", "_", "/").Replace(sig)}
		}
	}
}

func buildSwappedPayload() []string {
	low := strings.Split(forgeClaims(goodClaims().with("permissions", `["application:list"]`)), ".")
	return []string{low[0] + "." + segment(goodClaims().text()) + "." + low[2]}
}

// buildBase64Secret uses the text of the secret as key bytes, as the reference does.
func buildBase64Secret() []string {
	var tokens []string
	for _, e := range []*base64.Encoding{base64.RawURLEncoding, base64.StdEncoding} {
		tokens = append(tokens, forge([]byte(e.EncodeToString(secretV1)), goodHeader().text(), goodClaims().text()))
	}
	return tokens
}

// buildChallengeAsAccess is a challenge as issued, and one under the access secret.
func buildChallengeAsAccess() []string {
	header := goodHeader().with("typ", `"challenge+jwt"`).text()
	return []string{forge(secretChallenge, header, goodChallenge().text()), forge(secretV1, header, goodChallenge().text())}
}

// buildUnicodeSubject is the homoglyph escaped as in the corpus and as plain UTF-8: the first fails as an escape,
// the second as a key id.
func buildUnicodeSubject() []string {
	return []string{
		forgeClaims(goodClaims().with("sub", `"r\u043e\u043et-key-1"`)),
		forgeClaims(goodClaims().with("sub", "\"r\u043e\u043et-key-1\"")),
	}
}

func buildFlattened() []string {
	p := strings.Split(forgeClaims(goodClaims()), ".")
	return []string{`{"protected":"` + p[0] + `","payload":"` + p[1] + `","signature":"` + p[2] + `"}`}
}

func TestVerify_TwoRotationsInGrace(t *testing.T) {
	keys := corpusKeyring()
	keys[token.KindAccess]["v-1"] = secretRetired
	codec := newCodec(t, options(keys))
	for kid, secret := range keys[token.KindAccess] {
		raw := forge(secret, goodHeader().with("kid", `"`+kid+`"`).text(), goodClaims().text())
		if _, err := codec.Verify(raw, token.KindAccess); err != nil {
			t.Errorf("Verify under kid %q = %v, want success", kid, err)
		}
	}
}

// The gate decides what an odd node_url binds; here it must arrive exactly as written.
func TestVerify_NodeURLIsVerbatim(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	for _, url := range []string{"https://other.example.com", "::::", "mero-js-sdk", "HTTPS://Node.Example.com:443"} {
		v, err := codec.Verify(forgeClaims(goodClaims().with("node_url", `"`+url+`"`)), token.KindAccess)
		if err != nil {
			t.Errorf("Verify with node_url %q = %v", url, err)
		} else if got := v.Claims().NodeURL; got != url {
			t.Errorf("NodeURL = %q, want %q", got, url)
		}
	}
}

// The corpus's idea of a refused refresh: garbage that only looks expired proves nothing under a kid that exists.
func TestInspectAccess_ForgedExpiredToken(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	expired := goodClaims().with("iat", strconv.Itoa(now-7200)).with("exp", strconv.Itoa(now-3600)).text()
	for _, raw := range []string{
		"expired",
		segment(goodHeader().text()) + "." + segment(expired) + ".",
		segment(goodHeader().with("alg", `"none"`).text()) + "." + segment(expired) + ".",
		forge(secretCSRF, goodHeader().text(), expired),
		forge(secretRetired, goodHeader().with("kid", `"v-1"`).with("alg", `"none"`).text(), expired),
		forge(secretRetired, goodHeader().with("kid", `"v-1"`).with("typ", `"rt+jwt"`).text(), expired),
	} {
		if got, err := codec.InspectAccess(raw); !errors.Is(err, token.ErrInvalid) || got != (token.Companion{}) {
			t.Errorf("InspectAccess(%q) = %+v, %v; want nothing and ErrInvalid", raw, got, err)
		}
	}
}
