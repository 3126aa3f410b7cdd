package example_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/example"
)

var _ provider.Provider = (*example.Provider)(nil)

// The page shows the file, not something like it.
func TestDocsShowThisProvider(t *testing.T) {
	page, err := os.ReadFile("../../../../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("example.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "\n```go\n"+string(code)+"```\n") {
		t.Error("docs/providers.md does not show services/auth/internal/provider/example/example.go as it is: copy it there")
	}
	// The interface, too, is shown as it is.
	source, err := os.ReadFile("../provider.go")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(source), "// Provider proves identities.")
	definition, _, found := strings.Cut("// Provider proves identities."+after, "\n}\n")
	if !found || !strings.Contains(string(page), "\n```go\n"+definition+"\n}\n```\n") {
		t.Error("docs/providers.md does not show the interface of services/auth/internal/provider/provider.go as it is: copy it there")
	}
}

func TestProvider(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := base64.StdEncoding.EncodeToString(key[ed25519.SeedSize:])
	expires := time.Unix(1, 0)
	p := &example.Provider{VerifyChallenge: func(text string) (challenge.Claims, error) {
		if text != "ours" {
			return challenge.Claims{}, errors.New("not ours")
		}
		return challenge.Claims{ID: "id", Expires: expires}, nil
	}}
	signature := func(text string) string { return base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(text))) }
	login := func(publicKey, challengeText, signatureText string) (provider.Proof, error) {
		t.Helper()
		data, err := json.Marshal(map[string]string{"challenge": challengeText, "signature": signatureText})
		if err != nil {
			t.Fatal(err)
		}
		return p.Authenticate(t.Context(), provider.Attempt{PublicKey: publicKey, Data: data})
	}
	got, err := login(public, "ours", signature("device-login:ours"))
	if err != nil || got.PublicKey != public || len(got.KeyID) != 64 || got.Challenge == nil || got.Challenge.ID != "id" {
		t.Errorf("Authenticate = %+v, %v", got, err)
	}
	for name, tt := range map[string][3]string{
		"another challenge": {public, "theirs", signature("device-login:theirs")},
		"another text":      {public, "ours", signature("ours")},
		"another key":       {base64.StdEncoding.EncodeToString(make([]byte, 32)), "ours", signature("device-login:ours")},
		"no key":            {"", "ours", signature("device-login:ours")},
		"a key of 31 bytes": {base64.StdEncoding.EncodeToString(make([]byte, 31)), "ours", signature("device-login:ours")},
		"no signature":      {public, "ours", ""},
	} {
		if got, err := login(tt[0], tt[1], tt[2]); !errors.Is(err, provider.ErrRejected) || got != (provider.Proof{}) {
			t.Errorf("%s: %+v, %v, want ErrRejected", name, got, err)
		}
	}
	if _, err := p.Authenticate(t.Context(), provider.Attempt{PublicKey: public, Data: json.RawMessage(`{"challenge":7}`)}); !errors.Is(err, provider.ErrMalformed) {
		t.Errorf("a number for a challenge: %v, want ErrMalformed", err)
	}
	if enrolled, err := p.Enroll(t.Context(), provider.Attempt{PublicKey: public}); err != nil || enrolled.KeyID != got.KeyID {
		t.Errorf("Enroll = %+v, %v, want the key id of the login", enrolled, err)
	}
	if _, err := p.Enroll(t.Context(), provider.Attempt{PublicKey: "x"}); !errors.Is(err, provider.ErrMalformed) {
		t.Errorf("Enroll of nothing: %v, want ErrMalformed", err)
	}
	if info := p.Info(); !info.Configured || info.Reason != "" {
		t.Errorf("Info = %+v", info)
	}
	if info := (&example.Provider{}).Info(); info.Configured || info.Reason == "" {
		t.Errorf("Info without challenges = %+v", info)
	}
}
