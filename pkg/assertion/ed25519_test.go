package assertion_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
)

func signingKey(t testing.TB, first byte) assertion.SigningKey {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = first + byte(i)
	}
	k, err := assertion.NewSigningKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keySet(t testing.TB, keys ...assertion.SigningKey) *assertion.KeySet {
	t.Helper()
	s, err := assertion.NewKeySet(publics(keys...)...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publics(keys ...assertion.SigningKey) []assertion.PublicKey {
	out := make([]assertion.PublicKey, len(keys))
	for i, k := range keys {
		out[i] = k.Public()
	}
	return out
}

// The expected texts come from OpenSSL (pkeyutl -sign -rawin) over bytes that Python packed, under the seed 00 01 … 1f.
func TestSigningKey_Vectors(t *testing.T) {
	key := signingKey(t, 0)
	for _, tt := range []struct {
		name  string
		claim assertion.Claim
		want  string
	}{
		{"request", claim, "v2.56475aa7.1767225660.xmfq4LaLgvVqPa6ILaVx0Sfl29Kyr2zevjX64-n8mYtWNmdHLj8tta1VP2Js2UV2kLxTlc8OrvzRMWlTk9bxBQ"},
		{"identity", identity(claim), "v2.56475aa7.1767225660.eBVcnq62R48mBq23jBsoJ9-4jl6PZtdPznB0y9SVRj2vi1fnjZFyNo1Ct_uyO5Jzz3WLmhiiHxgCUbKiKY4CCA"},
	} {
		got := key.Sign(tt.claim, exp.Add(999*time.Millisecond))
		if got != tt.want {
			t.Errorf("%s: Sign = %q, want %q", tt.name, got, tt.want)
		}
		if err := keySet(t, key).Verify(got, tt.claim, at, leeway, maxTTL); err != nil {
			t.Errorf("%s: Verify = %v", tt.name, err)
		}
	}
	want := `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg","kid":"56475aa7","use":"sig","alg":"EdDSA"}]}` + "\n"
	if got := string(assertion.FormatJWKS(key.Public())); got != want {
		t.Errorf("FormatJWKS = %s, want %s", got, want)
	}
	if set, err := assertion.ParseJWKS([]byte(want)); err != nil || fmt.Sprint(set.IDs()) != "[56475aa7]" {
		t.Errorf("ParseJWKS = %v, %v", set, err)
	}
}

func TestSigningKey_NeverPrints(t *testing.T) {
	key := signingKey(t, 0)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, key); got != "56475aa7" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

// TestAlgorithmConfusion plays every way to make a verifier of one version believe an assertion of the other, first
// of all the classic: an HMAC under the bytes of the public key, which everybody knows.
func TestAlgorithmConfusion(t *testing.T) {
	private := signingKey(t, 0)
	set := keySet(t, private)
	publicBytes, err := hex.DecodeString("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
	if err != nil {
		t.Fatal(err)
	}
	fromPublic, err := assertion.NewKey(publicBytes)
	if err != nil {
		t.Fatal(err)
	}
	if fromPublic.ID() != private.ID() {
		t.Fatalf("the kid of the public key as a secret is %s, want %s: the attack would not be played", fromPublic.ID(), private.ID())
	}
	v1, v2 := testRing(t, fromPublic).Sign(claim, exp), private.Sign(claim, exp)
	mac, sig := v1[strings.LastIndexByte(v1, '.')+1:], v2[strings.LastIndexByte(v2, '.')+1:]
	refused := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	atSet := func(header string) error { return set.Verify(header, claim, at, leeway, maxTTL) }
	atRing := func(header string) error {
		return testRing(t, testKey(t, 7), fromPublic).Verify(header, claim, at, leeway, maxTTL)
	}
	if err := atRing(v1); err != nil {
		t.Fatalf("a v1 verifier with that secret takes the MAC, or the attack is not played: %v", err)
	}
	refused("v1 with the public key as secret, at a v2 verifier", atSet(v1), assertion.ErrMalformed)
	refused("the same MAC relabelled as v2", atSet("v2"+v1[2:]), assertion.ErrMalformed)
	refused("the same MAC padded with zeros to a signature", atSet("v2"+v1[2:]+strings.Repeat("A", len(sig)-len(mac))), assertion.ErrBadMAC)
	refused("the same MAC twice", atSet("v2"+v1[2:]+mac), assertion.ErrMalformed)
	refused("v2 at a v1 verifier", atRing(v2), assertion.ErrMalformed)
	refused("v2 relabelled as v1", atRing("v1"+v2[2:]), assertion.ErrMalformed)
	refused("the first half of a signature as a MAC", atRing("v1"+v2[2:len(v2)-len(sig)+len(mac)]), assertion.ErrMalformed)
	refused("version 3", atSet("v3"+v2[2:]), assertion.ErrMalformed)
	refused("no version", atSet(v2[2:]), assertion.ErrMalformed)
	refused("a signature of zeros", atSet(v2[:len(v2)-len(sig)]+strings.Repeat("A", len(sig))), assertion.ErrBadMAC)
	refused("a key that is not in the set", atSet(signingKey(t, 9).Sign(claim, exp)), assertion.ErrUnknownKey)
	refused("a foreign signature under our kid", atSet(strings.Replace(signingKey(t, 9).Sign(claim, exp), signingKey(t, 9).ID(), private.ID(), 1)), assertion.ErrBadMAC)
	refused("nothing", atSet(""), assertion.ErrMissing)
}

func TestKeySet_ReplayForAnotherRequest(t *testing.T) {
	key := signingKey(t, 0)
	header := key.Sign(claim, exp)
	for name, change := range map[string]func(*assertion.Claim){
		"method":      func(c *assertion.Claim) { c.Method = "DELETE" },
		"target":      func(c *assertion.Claim) { c.Target = "/admin-api/blobs" },
		"key":         func(c *assertion.Claim) { c.Key = "k2" },
		"permissions": func(c *assertion.Claim) { c.Permissions = "admin" },
		"expires":     func(c *assertion.Claim) { c.Expires = "9999999999" },
		"bind":        func(c *assertion.Claim) { c.Bind = assertion.BindIdentity },
	} {
		c := claim
		change(&c)
		if err := keySet(t, key).Verify(header, c, at, leeway, maxTTL); !errors.Is(err, assertion.ErrBadMAC) {
			t.Errorf("%s: %v, want ErrBadMAC", name, err)
		}
	}
	for end, want := range map[time.Duration]error{
		-leeway: nil, -leeway - time.Second: assertion.ErrExpired, maxTTL + leeway: nil, maxTTL + leeway + time.Second: assertion.ErrTooFar,
	} {
		if err := keySet(t, key).Verify(key.Sign(claim, at.Add(end)), claim, at, leeway, maxTTL); !errors.Is(err, want) {
			t.Errorf("ends in %v: %v, want %v", end, err, want)
		}
	}
}

func TestKeySet_TruncatedOrFlipped(t *testing.T) {
	key := signingKey(t, 0)
	set, header := keySet(t, key), key.Sign(claim, exp)
	for n := range len(header) {
		if err := set.Verify(header[:n], claim, at, leeway, maxTTL); err == nil {
			t.Errorf("the first %d bytes verify", n)
		}
	}
	for i := range len(header) {
		for bit := range 8 {
			b := []byte(header)
			b[i] ^= 1 << bit
			if err := set.Verify(string(b), claim, at, leeway, maxTTL); err == nil {
				t.Errorf("bit %d of byte %d flipped: it verifies", bit, i)
			}
		}
	}
}

// Under a key of small order anybody can make a signature that verifies for a good part of all messages.
func TestNewPublicKey_SmallOrderAndOtherSpellingsRefused(t *testing.T) {
	for _, text := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, which is 0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", // p + 1
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := assertion.NewPublicKey(raw); err == nil {
			t.Errorf("%s is accepted", text)
		}
		jwks := `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"00000000","x":"` + base64.RawURLEncoding.EncodeToString(raw) + `"}]}`
		if _, err := assertion.ParseJWKS([]byte(jwks)); !errors.Is(err, assertion.ErrKeySet) {
			t.Errorf("a set with %s: %v, want ErrKeySet", text, err)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := assertion.NewPublicKey(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes is accepted", n)
		}
		if _, err := assertion.NewSigningKey(make([]byte, n)); err == nil {
			t.Errorf("a seed of %d bytes is accepted", n)
		}
	}
}

func TestParseJWKS(t *testing.T) {
	const good = `{"kty":"OKP","crv":"Ed25519","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg","kid":"56475aa7"`
	const x = `A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg`
	for _, tt := range []struct{ name, text, want string }{
		{"bare key", `{"keys":[` + good + `}]}`, ""},
		{"verify among the operations", `{"keys":[` + good + `,"key_ops":["verify"],"use":"sig","alg":"Ed25519"}]}`, ""},
		{"other members of set and key", `{"x":1,"keys":[` + good + `,"x5t":"q","exp":1}]}`, ""},
		{"keys of other types beside it", `{"keys":[{"kty":"RSA","n":"q","e":"AQAB","kid":"r"},{"kty":"OKP","crv":"X25519","x":"q"},{"kty":"new"},` + good + `}]}`, ""},
		{"empty", ``, "malformed JSON"},
		{"no object", `[]`, "not an object"},
		{"no keys", `{}`, "no key for assertions"},
		{"empty keys", `{"keys":[]}`, "no key for assertions"},
		{"keys no array", `{"keys":{}}`, "must be"},
		{"key no object", `{"keys":[1]}`, "key 1"},
		{"only keys of other types", `{"keys":[{"kty":"RSA","n":"q","e":"AQAB"}]}`, "no key for assertions"},
		{"for encryption", `{"keys":[` + good + `,"use":"enc"}]}`, "no key for assertions"},
		{"for another algorithm", `{"keys":[` + good + `,"alg":"HS256"}]}`, "no key for assertions"},
		{"only for signing", `{"keys":[` + good + `,"key_ops":["sign"]}]}`, "no key for assertions"},
		{"curve of another case", `{"keys":[{"kty":"OKP","crv":"ed25519","x":"` + x + `","kid":"56475aa7"}]}`, "no key for assertions"},
		{"shared secret", `{"keys":[{"kty":"oct","k":"` + x + `","kid":"56475aa7"}]}`, "is secret"},
		{"shared secret beside a good key", `{"keys":[` + good + `},{"kty":"oct","k":"` + x + `"}]}`, "is secret"},
		{"private key", `{"keys":[` + good + `,"d":"` + x + `"}]}`, "is secret"},
		{"private key of another type", `{"keys":[` + good + `},{"kty":"RSA","n":"q","e":"AQAB","d":"q"}]}`, "is secret"},
		{"kid of another key", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x + `","kid":"56475aa8"}]}`, "does not belong"},
		{"no kid", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x + `"}]}`, "does not belong"},
		{"x cut", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x[1:] + `","kid":"56475aa7"}]}`, "base64url of 32 bytes"},
		{"x padded", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x + `=","kid":"56475aa7"}]}`, "base64url of 32 bytes"},
		{"x with stray last bits", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x[:42] + `h","kid":"56475aa7"}]}`, "base64url of 32 bytes"},
		{"same key twice", `{"keys":[` + good + `},` + good + `}]}`, "occurs twice"},
		{"member twice", `{"keys":[` + good + `,"kid":"56475aa7"}]}`, "malformed JSON"},
		{"member in another case", `{"keys":[` + good + `,"KTY":"RSA"}]}`, "malformed JSON"},
		{"two documents", `{"keys":[` + good + `}]}{}`, "malformed JSON"},
		{"too many", `{"keys":[` + strings.Repeat(`{"kty":"RSA"},`, 128) + good + `}]}`, "at most 128"},
		{"too long", `{"keys":[` + good + `}]}` + strings.Repeat(" ", assertion.MaxSetText), "larger than"},
	} {
		_, err := assertion.ParseJWKS([]byte(tt.text))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (!errors.Is(err, assertion.ErrKeySet) || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want ErrKeySet and %q", tt.name, err, tt.want)
		}
	}
}

// Whatever is accepted is written again as a set with the same keys.
func FuzzParseJWKS(f *testing.F) {
	f.Add(assertion.FormatJWKS(publics(signingKey(f, 0), signingKey(f, 1))...))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"","kid":""}]}`))
	f.Add([]byte(`{"keys":[null]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg","kid":"\u00356475aa7"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := assertion.ParseJWKS(text)
		if err != nil {
			if !errors.Is(err, assertion.ErrKeySet) {
				t.Fatalf("ParseJWKS(%q) = %v, want ErrKeySet", text, err)
			}
			return
		}
		spelled := bytes.Contains(text, []byte(set.IDs()[0])) || bytes.Contains(text, []byte(`\u`)) // or a letter is escaped
		if n := len(set.IDs()); n < 1 || n > 128 || !spelled {
			t.Fatalf("ParseJWKS(%q) = %v", text, set.IDs())
		}
	})
}

// Whatever Verify accepts is byte for byte what Sign writes.
func FuzzVerifySignature(f *testing.F) {
	key := signingKey(f, 0)
	set := keySet(f, key)
	f.Add(key.Sign(claim, exp))
	f.Add("v2.56475aa7.1767225660." + strings.Repeat("A", 86))
	f.Add("v2.56475aa7.0.")
	f.Add(testRing(f, testKey(f, 0)).Sign(claim, exp))
	f.Fuzz(func(t *testing.T, header string) {
		if err := set.Verify(header, claim, at, leeway, maxTTL); err == nil && header != key.Sign(claim, exp) {
			t.Fatalf("Verify(%q) = nil, but Sign never wrote it", header)
		}
	})
}
