package challenge_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// start lies between two seconds: tokens hold whole ones.
var start = time.Date(2026, 1, 1, 0, 0, 0, 700_000_000, time.UTC)

// service has fixed secrets: one for challenges, another for access and refresh tokens, all under one kid.
func service(t *testing.T, clock *time.Time) challenge.Service {
	t.Helper()
	secret := func(k token.Kind) []byte {
		if k == token.KindChallenge {
			return bytes.Repeat([]byte{1}, 32)
		}
		return bytes.Repeat([]byte{2}, 32)
	}
	now := func() time.Time { return *clock }
	codec, err := token.New(token.Options{
		Issuer:      "calimero-auth",
		Algorithm:   "HS256",
		Leeway:      time.Minute,
		MaxLifetime: time.Hour,
		Now:         now,
		Signing:     func(k token.Kind) (string, []byte) { return "k1", secret(k) },
		Lookup:      func(k token.Kind, kid string) ([]byte, bool) { return secret(k), kid == "k1" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return challenge.Service{Codec: codec, Now: now}
}

func issue(t *testing.T, s challenge.Service) (string, challenge.Claims) {
	t.Helper()
	raw, claims, err := s.Issue("")
	if err != nil {
		t.Fatal(err)
	}
	return raw, claims
}

func TestIssue(t *testing.T) {
	clock := start
	s := service(t, &clock)
	raw, claims := issue(t, s)
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(claims.ID) {
		t.Errorf("ID = %q, want 32 lower-case hex characters", claims.ID)
	}
	if len(claims.Nonce) != 32 {
		t.Errorf("Nonce has %d bytes, want 32", len(claims.Nonce))
	}
	if want := start.Truncate(time.Second); !claims.IssuedAt.Equal(want) || claims.Expires.Sub(want) != 5*time.Minute {
		t.Errorf("times = %v to %v, want 5 minutes from %v", claims.IssuedAt, claims.Expires, want)
	}
	got, err := s.Verify(raw)
	if err != nil || !reflect.DeepEqual(got, claims) {
		t.Errorf("Verify = %+v, %v; want what was issued, %+v", got, err, claims)
	}

	// What wallets and other readers see in the token.
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var wire map[string]any
	if err := json.Unmarshal(payload, &wire); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss":   "calimero-auth",
		"jti":   claims.ID,
		"iat":   float64(start.Unix()),
		"exp":   float64(start.Unix() + 300),
		"nonce": base64.StdEncoding.EncodeToString(claims.Nonce),
	}
	if !reflect.DeepEqual(wire, want) {
		t.Errorf("payload = %v, want %v", wire, want)
	}
}

// Nothing of a challenge may repeat or be guessable from another: the id is the key of its single use.
func TestIssue_NeverRepeats(t *testing.T) {
	clock := start
	s := service(t, &clock)
	seen := map[string]bool{}
	for range 1000 {
		_, c := issue(t, s)
		for _, v := range []string{c.ID, string(c.Nonce)} {
			if seen[v] {
				t.Fatalf("%q was issued twice", v)
			}
			seen[v] = true
		}
	}
}

func TestVerify_Expiry(t *testing.T) {
	clock := start
	s := service(t, &clock)
	raw, claims := issue(t, s)
	for _, tt := range []struct {
		at   time.Time
		want error
	}{
		{claims.Expires.Add(-1), nil},
		{claims.Expires, token.ErrExpired}, // whatever the leeway
		{claims.Expires.Add(time.Hour), token.ErrExpired},
		{claims.IssuedAt.Add(-61 * time.Second), token.ErrInvalid},
	} {
		clock = tt.at
		if _, err := s.Verify(raw); !errors.Is(err, tt.want) {
			t.Errorf("Verify at %v = %v, want %v", tt.at, err, tt.want)
		}
	}
}

// Expired is said only of a challenge that we issued; a forgery is invalid at any time.
func TestVerify_ForgedChallenge(t *testing.T) {
	clock := start
	s := service(t, &clock)
	raw, _ := issue(t, s)
	other, _ := issue(t, s)
	parts, otherParts := strings.Split(raw, "."), strings.Split(other, ".")
	forged := []string{
		"", "..", raw + "A", raw[:len(raw)-1], " " + raw,
		parts[0] + "." + otherParts[1] + "." + parts[2],
		parts[0] + "." + parts[1] + ".",
		base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k1","typ":"challenge+jwt"}`)) + "." + parts[1] + ".",
	}
	for _, at := range []time.Time{start, start.Add(time.Hour)} {
		clock = at
		for _, f := range forged {
			if c, err := s.Verify(f); !errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrExpired) || !reflect.DeepEqual(c, challenge.Claims{}) {
				t.Errorf("Verify(%q) at %v = %+v, %v; want nothing and ErrInvalid", f, at, c, err)
			}
		}
	}
}

// A session token is no challenge, and a token of the challenge kind with another life was not issued here.
func TestVerify_OtherTokens(t *testing.T) {
	clock := start
	s := service(t, &clock)
	access, _, err := s.Codec.Sign(token.Claims{
		Kind: token.KindAccess, Subject: "root", ID: strings.Repeat("a", 32), Family: "f",
		IssuedAt: start.Unix(), Expires: start.Unix() + 300,
	})
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{"access token": access}
	for name, life := range map[string]int64{"301 s": 301, "299 s": 299, "ten years": 315360000} {
		tokens[name], err = s.Codec.SignChallenge(token.Challenge{
			ID: strings.Repeat("a", 32), Nonce: make([]byte, 32), IssuedAt: start.Unix(), Expires: start.Unix() + life,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, raw := range tokens {
		if c, err := s.Verify(raw); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: Verify = %+v, %v; want ErrInvalid", name, c, err)
		}
	}
}

// Without a secret to sign with there is no challenge, and no half of one either.
func TestIssue_NoSecret(t *testing.T) {
	now := func() time.Time { return start }
	codec, err := token.New(token.Options{
		Issuer: "i", Algorithm: "HS256", MaxLifetime: time.Hour, Now: now,
		Signing: func(token.Kind) (string, []byte) { return "", nil },
		Lookup:  func(token.Kind, string) ([]byte, bool) { return nil, false },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := challenge.Service{Codec: codec, Now: now}
	if raw, c, err := s.Issue(""); err == nil || raw != "" || !reflect.DeepEqual(c, challenge.Claims{}) {
		t.Errorf("Issue = %q, %+v, %v; want an error alone", raw, c, err)
	}
}

func BenchmarkIssueAndVerify(b *testing.B) {
	secret := bytes.Repeat([]byte{1}, 32)
	now := func() time.Time { return start }
	codec, err := token.New(token.Options{
		Issuer: "calimero-auth", Algorithm: "HS256", MaxLifetime: time.Hour, Now: now,
		Signing: func(token.Kind) (string, []byte) { return "k1", secret },
		Lookup:  func(token.Kind, string) ([]byte, bool) { return secret, true },
	})
	if err != nil {
		b.Fatal(err)
	}
	s := challenge.Service{Codec: codec, Now: now}
	b.ReportAllocs()
	for b.Loop() {
		raw, _, err := s.Issue("")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Verify(raw); err != nil {
			b.Fatal(err)
		}
	}
}
