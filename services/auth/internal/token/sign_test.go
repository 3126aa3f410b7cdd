package token_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// The text of a token is a contract: families are re-signed to the identical successor across releases.
func TestSign_ExactText(t *testing.T) {
	const (
		access = `{"sub":"root-key-1","iss":"calimero-auth","aud":"calimero-auth","exp":1767229140,"iat":1767225540,` +
			`"nbf":1767225540,"jti":"5f0c3f2e-0000-4000-8000-000000000001",` +
			`"permissions":["admin","context:execute[ctx,user,method]"],"node_url":"https://node.example.com:8443",` +
			`"token_type":"access","fam":"fam_1"}`
		bare = `{"sub":"root-key-1","iss":"calimero-auth","aud":"calimero-auth","exp":1769817540,"iat":1767225540,` +
			`"nbf":1767225540,"jti":"rt-1","permissions":[],"token_type":"refresh","fam":"fam_1"}`
	)
	refresh := refreshClaims()
	refresh.Permissions, refresh.NodeURL = nil, ""
	for _, tt := range []struct {
		name, algorithm string
		newHash         func() hash.Hash
		secret          []byte
		claims          token.Claims
		header, payload string
	}{
		{"access HS256", "HS256", sha256.New, secretV1, accessClaims(), `{"alg":"HS256","kid":"v1","typ":"at+jwt"}`, access},
		{"access HS384", "HS384", sha512.New384, secretV1, accessClaims(), `{"alg":"HS384","kid":"v1","typ":"at+jwt"}`, access},
		{"refresh HS256", "HS256", sha256.New, secretRefresh, refresh, `{"alg":"HS256","kid":"v1","typ":"rt+jwt"}`, bare},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(corpusKeyring())
			o.Algorithm = tt.algorithm
			got, kid, err := newCodec(t, o).Sign(tt.claims)
			if err != nil {
				t.Fatal(err)
			}
			if kid != "v1" {
				t.Errorf("kid = %q, want v1", kid)
			}
			input := segment(tt.header) + "." + segment(tt.payload)
			if want := input + "." + segment(mac(tt.newHash, tt.secret, input)); got != want {
				payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(got, ".")[1])
				t.Errorf("Sign:\n got %s\nwant %s\npayload %s", got, want, payload)
			}
		})
	}
}

func TestVerify_ReturnsWhatWasSigned(t *testing.T) {
	unbound := accessClaims()
	unbound.NodeURL, unbound.Permissions = "", []string{}
	for _, algorithm := range []string{"HS256", "HS384"} {
		o := options(corpusKeyring())
		o.Algorithm = algorithm
		codec := newCodec(t, o)
		for _, want := range []token.Claims{accessClaims(), refreshClaims(), unbound} {
			raw, _, err := codec.Sign(want)
			if err != nil {
				t.Fatal(err)
			}
			v, err := codec.Verify(raw, want.Kind)
			if err != nil {
				t.Fatalf("%s: Verify(%s) = %v", algorithm, raw, err)
			}
			if got := v.Claims(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: Claims:\n got %+v\nwant %+v", algorithm, got, want)
			}
		}
	}
}

// The one algorithm is the configured one: a strong MAC of the other is refused.
func TestVerify_OtherAlgorithmOfTheSameFamily(t *testing.T) {
	o := options(corpusKeyring())
	hs256 := newCodec(t, o)
	o.Algorithm = "HS384"
	hs384 := newCodec(t, o)
	for _, tt := range []struct {
		name           string
		signer, reader *token.Codec
	}{{"HS256 at HS384", hs256, hs384}, {"HS384 at HS256", hs384, hs256}} {
		raw, _, err := tt.signer.Sign(accessClaims())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tt.reader.Verify(raw, token.KindAccess); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: Verify = %v, want ErrInvalid", tt.name, err)
		}
	}
}

// A refresh repeated within its grace must get the same text, also after the signing secret rotated.
func TestSignWith_IdenticalSuccessor(t *testing.T) {
	keys := corpusKeyring()
	codec := newCodec(t, options(keys))
	for _, claims := range []token.Claims{accessClaims(), refreshClaims()} {
		first, kid, err := codec.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		keys[claims.Kind]["old"] = keys[claims.Kind][kid]
		keys[claims.Kind]["v1"] = secretRetired
		again, err := codec.SignWith("old", claims)
		if err != nil {
			t.Fatal(err)
		}
		if again == first {
			t.Errorf("%s: the kid is not in the text", claims.Kind)
		}
		keys[claims.Kind]["v1"] = keys[claims.Kind]["old"]
		if again, err = codec.SignWith(kid, claims); err != nil || again != first {
			t.Errorf("%s: SignWith = %s, %v; want %s", claims.Kind, again, err, first)
		}
	}
}

func TestSignWith_RetiredSecret(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	if raw, err := codec.SignWith("v-1", accessClaims()); !errors.Is(err, token.ErrUnknownKID) || raw != "" {
		t.Errorf("SignWith = %q, %v; want ErrUnknownKID", raw, err)
	}
}

// What Verify would refuse is never handed out.
func TestSign_RefusesUnfitClaims(t *testing.T) {
	codec := newCodec(t, options(corpusKeyring()))
	many := make([]string, token.MaxPermissions+1)
	for i := range many {
		many[i] = "admin"
	}
	long := make([]string, 0, token.MaxPermissions)
	for range token.MaxPermissions {
		long = append(long, strings.Repeat("x", token.MaxPermission))
	}
	for _, tt := range []struct {
		name   string
		mutate func(*token.Claims)
	}{
		{"no kind", func(c *token.Claims) { c.Kind = "" }},
		{"challenge", func(c *token.Claims) { c.Kind = token.KindChallenge }},
		{"csrf", func(c *token.Claims) { c.Kind = "csrf" }},
		{"no subject", func(c *token.Claims) { c.Subject = "" }},
		{"subject that would escape", func(c *token.Claims) { c.Subject = `a","sub":"root` }},
		{"long subject", func(c *token.Claims) { c.Subject = strings.Repeat("a", 129) }},
		{"no id", func(c *token.Claims) { c.ID = "" }},
		{"no family", func(c *token.Claims) { c.Family = "" }},
		{"storage key as family", func(c *token.Claims) { c.Family = "family:1" }},
		{"expires when issued", func(c *token.Claims) { c.Expires = c.IssuedAt }},
		{"before 1970", func(c *token.Claims) { c.IssuedAt, c.Expires = -1, 60 }},
		{"milliseconds", func(c *token.Claims) { c.IssuedAt *= 1000; c.Expires *= 1000 }},
		{"too long a life", func(c *token.Claims) { c.Expires = c.IssuedAt + 366*24*3600 + 1 }},
		{"node_url that would escape", func(c *token.Claims) { c.NodeURL = `https://a","sub":"root` }},
		{"long node_url", func(c *token.Claims) { c.NodeURL = strings.Repeat("a", token.MaxNodeURL+1) }},
		{"two permissions in one", func(c *token.Claims) { c.Permissions = []string{"blob,admin"} }},
		{"too many permissions", func(c *token.Claims) { c.Permissions = many }},
		{"longer than MaxSize", func(c *token.Claims) { c.Permissions = long }},
	} {
		claims := accessClaims()
		tt.mutate(&claims)
		if raw, _, err := codec.Sign(claims); err == nil || raw != "" {
			t.Errorf("%s: Sign = %q, %v; want an error", tt.name, raw, err)
		} else if errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: Sign = %v, which a caller would blame on its client", tt.name, err)
		}
	}
}

// A keyring that hands out nothing useful stops the signing; it must never sign with an empty secret.
func TestSign_RefusesWeakSecret(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kid    string
		secret []byte
	}{
		{"none", "v1", nil},
		{"empty", "v1", []byte{}},
		{"31 bytes", "v1", secretV1[:31]},
		{"no kid", "", secretV1},
		{"malformed kid", `v"1`, secretV1},
	} {
		o := options(nil)
		o.Signing = func(token.Kind) (string, []byte) { return tt.kid, tt.secret }
		codec := newCodec(t, o)
		if raw, _, err := codec.Sign(accessClaims()); err == nil || raw != "" {
			t.Errorf("%s: Sign = %q, %v; want an error", tt.name, raw, err)
		}
		if raw, err := codec.SignChallenge(challengeClaims()); err == nil || raw != "" {
			t.Errorf("%s: SignChallenge = %q, %v; want an error", tt.name, raw, err)
		}
	}
}

func TestNew_ReportsEveryProblem(t *testing.T) {
	good := options(corpusKeyring())
	for _, tt := range []struct {
		name   string
		mutate func(*token.Options)
		want   []string
	}{
		{"none", func(o *token.Options) { o.Algorithm = "none" }, []string{"algorithm"}},
		{"HS512", func(o *token.Options) { o.Algorithm = "HS512" }, []string{"algorithm"}},
		{"lower case", func(o *token.Options) { o.Algorithm = "hs256" }, []string{"algorithm"}},
		{"no issuer", func(o *token.Options) { o.Issuer = "" }, []string{"issuer"}},
		{"issuer with a quote", func(o *token.Options) { o.Issuer = `a"b` }, []string{"issuer"}},
		{"issuer with a line break", func(o *token.Options) { o.Issuer = "a\nb" }, []string{"issuer"}},
		{"issuer not UTF-8", func(o *token.Options) { o.Issuer = "a\xff" }, []string{"issuer"}},
		{"negative leeway", func(o *token.Options) { o.Leeway = -time.Second }, []string{"leeway"}},
		{"no lifetime", func(o *token.Options) { o.MaxLifetime = 0 }, []string{"lifetime"}},
		{"no clock", func(o *token.Options) { o.Now = nil }, []string{"clock"}},
		{"no keyring", func(o *token.Options) { o.Signing = nil }, []string{"keyring"}},
		{"no lookup", func(o *token.Options) { o.Lookup = nil }, []string{"keyring"}},
		{"nothing", func(o *token.Options) { *o = token.Options{} }, []string{"algorithm", "issuer", "lifetime", "clock"}},
	} {
		o := good
		tt.mutate(&o)
		codec, err := token.New(o)
		if err == nil || codec != nil {
			t.Errorf("%s: New = %v, %v; want an error", tt.name, codec, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: New = %q, want it to name %q", tt.name, err, want)
			}
		}
	}
}

// Any printable issuer works, in any script.
func TestSign_UnicodeIssuer(t *testing.T) {
	o := options(corpusKeyring())
	o.Issuer = "кали 鍵 <&>"
	codec := newCodec(t, o)
	raw, _, err := codec.Sign(accessClaims())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := codec.Verify(raw, token.KindAccess); err != nil {
		t.Errorf("Verify = %v", err)
	}
}

func TestValidPermission(t *testing.T) {
	for _, s := range []string{
		"admin", "context:execute[a,b,c]", "context:execute[*]", "context:execute[,b]", "application:install:global",
		"x[]", strings.Repeat("x", token.MaxPermission),
	} {
		if !token.ValidPermission(s) {
			t.Errorf("ValidPermission(%q) = false", s)
		}
	}
	for _, s := range []string{
		"", "a,admin", "a,", ",a", "a]", "a[b", "a[b,admin", "a[b],admin", "a[b]c", "a[b][c]", "a[[b]]", "a b", "a\tb",
		"a\nb", "a\x00", "a\x7f", `a"b`, `a\b`, "é", "a\xff", strings.Repeat("x", token.MaxPermission+1),
	} {
		if token.ValidPermission(s) {
			t.Errorf("ValidPermission(%q) = true", s)
		}
	}
}

func TestValidNodeURL(t *testing.T) {
	for _, s := range []string{"https://a.example:1", "::::", strings.Repeat("x", token.MaxNodeURL)} {
		if !token.ValidNodeURL(s) {
			t.Errorf("ValidNodeURL(%q) = false", s)
		}
	}
	for _, s := range []string{"", "a b", "a\r\nb", `a"`, `a\`, "https://é", strings.Repeat("x", token.MaxNodeURL+1)} {
		if token.ValidNodeURL(s) {
			t.Errorf("ValidNodeURL(%q) = true", s)
		}
	}
}
