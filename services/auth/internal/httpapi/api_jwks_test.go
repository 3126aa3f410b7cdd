package httpapi_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// publishedSet asks for the published keys as a node does.
func publishedSet(t *testing.T, s *authtest.Service) (*assertion.KeySet, authtest.Answer) {
	t.Helper()
	a := s.Exchange(t, "", "GET", []byte("GET /auth/keys HTTP/1.1\r\nHost: auth\r\n\r\n"))
	set, err := assertion.ParseJWKS([]byte(a.Body))
	if a.Status != 200 || err != nil {
		t.Fatalf("GET /auth/keys: %v, %v", a, err)
	}
	return set, a
}

func hs256(secret []byte, text string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func ed25519(c *config.Config) { c.Assertion.Algorithm = "ed25519" }

func TestJWKS(t *testing.T) {
	s := authtest.Start(t)
	_, a := publishedSet(t, s)
	for name, want := range map[string]string{"Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=15", "X-Content-Type-Options": "nosniff"} {
		if got := a.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if strings.Contains(a.Body, `"d"`) || strings.Contains(a.Body, `"data"`) {
		t.Errorf("body %s", a.Body)
	}
	for _, request := range []string{"POST /auth/keys", "DELETE /auth/keys"} {
		if a := s.Exchange(t, "", "POST", []byte(request+" HTTP/1.1\r\nHost: auth\r\nContent-Length: 0\r\n\r\n")); a.Status != 405 {
			t.Errorf("%s: %v, want 405", request, a)
		}
	}
}

// TestValidate_Ed25519: the gate's answer convinces a node that holds only public keys, for this request and no other.
func TestValidate_Ed25519(t *testing.T) {
	s := authtest.Start(t, ed25519)
	tok := s.Mint(t, authtest.Mint{Permissions: []string{"admin"}})
	set, _ := publishedSet(t, s)
	a := s.Ask(t, authtest.Question{Form: "nginx", Method: "PUT", Target: "/admin-api/blobs?x=1", Token: tok.Access})
	id := a.Identity(t)
	if a.Status != 200 || !strings.HasPrefix(id[identity.HeaderAssertion], "v2.") {
		t.Fatalf("answer %v", a)
	}
	claim := assertion.Claim{
		Key: id[identity.HeaderKey], Permissions: id[identity.HeaderPermissions], Expires: id[identity.HeaderExpires], Method: "PUT", Target: "/admin-api/blobs?x=1",
	}
	verify := func(c assertion.Claim) error {
		return set.Verify(id[identity.HeaderAssertion], c, s.Clock.Now(), 0, time.Hour)
	}
	if err := verify(claim); err != nil {
		t.Error(err)
	}
	other := claim
	other.Method = "DELETE"
	if verify(other) == nil {
		t.Error("it is good for another method")
	}
	if err := s.VerifyAssertion(a, "PUT", "/admin-api/blobs?x=1"); err == nil {
		t.Error("a verifier with the shared key takes it, too")
	}
	// Where no identity goes to the node there is none.
	for _, q := range []authtest.Question{{Token: tok.Access}, {Form: "nginx", Target: "/admin-api/health", Token: tok.Access}} {
		if got := s.Ask(t, q).Identity(t)[identity.HeaderAssertion]; got != "" {
			t.Errorf("%+v: assertion %q", q, got)
		}
	}
}

// TestBearer_SignedWithThePublishedKey is the algorithm confusion of RFC 8725 section 2.1 on tokens: the published key,
// in every spelling, as the secret of an HMAC. It is case alg-hmac-with-public-key of the corpus with the real key.
func TestBearer_SignedWithThePublishedKey(t *testing.T) {
	s := authtest.Start(t, ed25519)
	tok := s.Mint(t, authtest.Mint{Permissions: []string{"admin"}})
	_, a := publishedSet(t, s)
	var set struct {
		Keys []struct {
			X   string `json:"x"`
			Kid string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal([]byte(a.Body), &set); err != nil {
		t.Fatal(err)
	}
	key := set.Keys[0]
	raw, err := base64.RawURLEncoding.DecodeString(key.X)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(tok.Access, ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]string
	if err := json.Unmarshal(header, &members); err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{"raw": raw, "base64url": []byte(key.X), "jwk": jwk, "set": []byte(a.Body)} {
		for _, kid := range []string{members["kid"], key.Kid} {
			forged := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"`+kid+`","typ":"at+jwt"}`)) + "." + parts[1]
			forged += "." + base64.RawURLEncoding.EncodeToString(hs256(secret, forged))
			a := s.Ask(t, authtest.Question{Form: "nginx", Target: "/admin-api/contexts", Token: forged})
			if a.Status != 401 || a.Reason() != identity.InvalidToken {
				t.Errorf("%s under kid %s: %v, want 401", name, kid, a)
			}
		}
	}
}
