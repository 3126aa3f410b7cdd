package token_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// now is the clock of the tests, the one of the attack corpus.
const now = 1767225600

const issuer = "calimero-auth"

// Published test secrets of the attack corpus. One kid names a different secret for each kind, so that a mix-up of
// kinds cannot hide behind different kids.
var (
	secretV1        = unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	secretV0        = unhex("202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f")
	secretChallenge = unhex("404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f")
	secretCSRF      = unhex("606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f")
	secretRetired   = unhex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f")
	secretRefresh   = unhex("a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// keyring holds fixed secrets by kind and kid; "v1" signs.
type keyring map[token.Kind]map[string][]byte

func (k keyring) signing(kind token.Kind) (string, []byte) { return "v1", k[kind]["v1"] }

func (k keyring) lookup(kind token.Kind, kid string) ([]byte, bool) {
	s, ok := k[kind][kid]
	return s, ok
}

func corpusKeyring() keyring {
	return keyring{
		token.KindAccess:    {"v1": secretV1, "v0": secretV0},
		token.KindRefresh:   {"v1": secretRefresh},
		token.KindChallenge: {"v1": secretChallenge},
		"csrf":              {"v1": secretCSRF},
	}
}

// options are those of a default deployment at the time now.
func options(keys keyring) token.Options {
	return token.Options{
		Issuer:      issuer,
		Algorithm:   "HS256",
		MaxLifetime: 366 * 24 * time.Hour,
		Now:         func() time.Time { return time.Unix(now, 0) },
		Signing:     keys.signing,
		Lookup:      keys.lookup,
	}
}

func newCodec(tb testing.TB, o token.Options) *token.Codec {
	tb.Helper()
	c, err := token.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func accessClaims() token.Claims {
	return token.Claims{
		Kind:        token.KindAccess,
		Subject:     "root-key-1",
		ID:          "5f0c3f2e-0000-4000-8000-000000000001",
		Family:      "fam_1",
		IssuedAt:    now - 60,
		Expires:     now + 3540,
		Permissions: []string{"admin", "context:execute[ctx,user,method]"},
		NodeURL:     "https://node.example.com:8443",
	}
}

func refreshClaims() token.Claims {
	c := accessClaims()
	c.Kind, c.ID, c.Expires = token.KindRefresh, "rt-1", c.IssuedAt+30*24*3600
	return c
}

// object is a JSON object under the test's full control: members in order, values as raw text, repeats allowed.
type object []member

type member struct{ name, value string }

// goodHeader and goodClaims are what the codec itself writes for accessClaims without node_url; the tests mutate
// them.
func goodHeader() object {
	return object{{"alg", `"HS256"`}, {"kid", `"v1"`}, {"typ", `"at+jwt"`}}
}

func goodClaims() object {
	return object{
		{"sub", `"root-key-1"`},
		{"iss", `"calimero-auth"`},
		{"aud", `"calimero-auth"`},
		{"exp", strconv.Itoa(now + 3540)},
		{"iat", strconv.Itoa(now - 60)},
		{"nbf", strconv.Itoa(now - 60)},
		{"jti", `"5f0c3f2e-0000-4000-8000-000000000001"`},
		{"permissions", `["admin"]`},
		{"token_type", `"access"`},
		{"fam", `"fam_1"`},
	}
}

// with sets the value of a member, or adds the member at the end.
func (o object) with(name, value string) object {
	out := append(object{}, o...)
	for i := range out {
		if out[i].name == name {
			out[i].value = value
			return out
		}
	}
	return append(out, member{name, value})
}

// and adds a member at the end, whatever is there already.
func (o object) and(name, value string) object {
	return append(append(object{}, o...), member{name, value})
}

func (o object) without(name string) object {
	out := object{}
	for _, m := range o {
		if m.name != name {
			out = append(out, m)
		}
	}
	return out
}

// text spells the object; names are taken literally, so a test can escape them.
func (o object) text() string {
	parts := make([]string, len(o))
	for i, m := range o {
		parts[i] = `"` + m.name + `":` + m.value
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// mac is the standard library's HMAC: the tests do not trust the implementation under test to check itself.
func mac(newHash func() hash.Hash, secret []byte, input string) string {
	h := hmac.New(newHash, secret)
	h.Write([]byte(input))
	return string(h.Sum(nil))
}

// forge makes a token with a correct HS256 MAC under secret.
func forge(secret []byte, header, payload string) string {
	input := segment(header) + "." + segment(payload)
	return input + "." + segment(mac(sha256.New, secret, input))
}

// forgeClaims makes an access token with a good header and signature.
func forgeClaims(o object) string { return forge(secretV1, goodHeader().text(), o.text()) }

// forgeHeader makes an access token with good claims and signature.
func forgeHeader(o object) string { return forge(secretV1, o.text(), goodClaims().text()) }

// forge512 makes a token with a correct HS512 MAC.
func forge512(secret []byte, header, payload string) string {
	input := segment(header) + "." + segment(payload)
	return input + "." + segment(mac(sha512.New, secret, input))
}

func macSHA256(secret []byte, input string) string { return mac(sha256.New, secret, input) }

// resign adds a correct HS256 MAC to a signing input of any spelling.
func resign(input string) string { return input + "." + segment(macSHA256(secretV1, input)) }

func challengeClaims() token.Challenge {
	return token.Challenge{
		ID:       "0123456789abcdef0123456789abcdef",
		Nonce:    secretV0,
		IssuedAt: now,
		Expires:  now + 300,
	}
}

// goodChallenge is what the codec writes for challengeClaims.
func goodChallenge() object {
	return object{
		{"iss", `"calimero-auth"`},
		{"jti", `"0123456789abcdef0123456789abcdef"`},
		{"iat", strconv.Itoa(now)},
		{"exp", strconv.Itoa(now + 300)},
		{"nonce", `"` + base64.StdEncoding.EncodeToString(secretV0) + `"`},
	}
}

func forgeChallenge(o object) string {
	return forge(secretChallenge, goodHeader().with("typ", `"challenge+jwt"`).text(), o.text())
}
