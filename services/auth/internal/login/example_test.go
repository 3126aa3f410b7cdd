package login_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/example"
)

// The provider of docs/providers.md in the place where app/providers.go would put it: first login, tokens, a replay, a
// second device, and one that an administrator adds.
func TestToken_CustomProvider(t *testing.T) {
	f := inMemory(t)
	f.Providers = append(f.Providers, &example.Provider{VerifyChallenge: f.challenges.Verify})
	device := func(seed byte, members map[string]string) login.Request {
		t.Helper()
		key := ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), seed))
		text, _, err := f.challenges.Issue("")
		if err != nil {
			t.Fatal(err)
		}
		data := map[string]string{
			"challenge": text, "signature": base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte("device-login:"+text))),
		}
		for name, value := range members {
			data[name] = value
		}
		r := request(t, "device_key", data)
		r.PublicKey = base64.StdEncoding.EncodeToString(key[ed25519.SeedSize:])
		return r
	}
	first := device(1, map[string]string{"bootstrap_secret": f.secret(t)})
	pair := f.login(t, first)
	f.wantAccess(t, pair.Access, "")
	_, err := f.Token(t.Context(), first)
	refusal{fault.Unauthenticated, "", "used already"}.check(t, "replay", err)
	again := device(1, nil)
	again.AuthMethod = "device"
	if sub := read(t, f.login(t, again).Access).Sub; sub != read(t, pair.Access).Sub {
		t.Errorf("the second login has the key %s", sub)
	}
	_, err = f.Token(t.Context(), device(2, nil))
	refusal{fault.Unauthenticated, "", "no key on this node"}.check(t, "another device", err)

	second := device(2, nil)
	proof, err := f.Provider("device_key").Enroll(t.Context(), provider.Attempt{PublicKey: second.PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	f.addRoot(t, "", func(g *login.RootGrant) { g.Provider, g.Proof = "device_key", proof })
	f.wantAccess(t, f.login(t, second).Access, "")
}
