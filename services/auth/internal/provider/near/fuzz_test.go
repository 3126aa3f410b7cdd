package near_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near"
)

// Whatever arrives as provider_data ends in one of the outcomes, and none is a login: nobody signed.
func FuzzAuthenticate(f *testing.F) {
	var file struct {
		Cases []struct {
			Request struct {
				PublicKey text `json:"public_key"`
				Signature string
				Account   string `json:"account_id"`
			}
		}
	}
	readJSON(f, "testdata/nep413_cases.json", &file)
	for _, c := range file.Cases[:20] {
		data, err := json.Marshal(map[string]string{
			"wallet_address": c.Request.Account, "message": challengeText, "signature": c.Request.Signature, "recipient": recipient,
		})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(c.Request.PublicKey), data)
	}
	f.Add("ed25519:11111111111111111111111111111111", []byte(`{"wallet_address":"a.testnet","message":"the challenge","signature":"AQ=="}`))
	s := newSite(f)
	spent := errors.New("used up")
	f.Fuzz(func(t *testing.T, publicKey string, data []byte) {
		_, err := s.Authenticate(t.Context(), provider.Attempt{
			PublicKey: publicKey, Data: data, UseChallenge: func(context.Context, challenge.Claims) error { return spent },
		})
		if !errors.Is(err, provider.ErrMalformed) && !errors.Is(err, provider.ErrRejected) {
			t.Errorf("key %q, data %q: %v", publicKey, data, err)
		}
	})
}

// Two payloads have one digest only if they are one, and every one can be signed and recognised.
func FuzzPayload(f *testing.F) {
	f.Add("message", "recipient", "https://a.example", true, "message", "recipient", "", false)
	f.Add("a", "bc", "", true, "ab", "c", "", true)
	f.Add("\x00\x00", "", "", false, "", "\x00\x00", "", false)
	f.Add("é\xff", "r", "c", true, "é", "r", "c", true)
	f.Fuzz(func(t *testing.T, m1, r1, c1 string, some1 bool, m2, r2, c2 string, some2 bool) {
		digest := func(message, recipient, callback string, some bool) ([32]byte, error) {
			if !some {
				return near.Digest(message, nonce[:], recipient, nil)
			}
			return near.Digest(message, nonce[:], recipient, &callback)
		}
		one, err1 := digest(m1, r1, c1, some1)
		two, err2 := digest(m2, r2, c2, some2)
		if err1 != nil || err2 != nil {
			return // not UTF-8
		}
		same := m1 == m2 && r1 == r2 && some1 == some2 && (!some1 || c1 == c2)
		if (one == two) != same {
			t.Errorf("digests equal: %t; (%q, %q, %q %t) and (%q, %q, %q %t)", one == two, m1, r1, c1, some1, m2, r2, c2, some2)
		}
	})
}

// A signature has one spelling.
func FuzzDecodeSignature(f *testing.F) {
	f.Add(strings.Repeat("A", 86) + "==")
	f.Add(strings.Repeat("A", 85) + "B==")
	f.Add(strings.Repeat("A", 84) + "\n===")
	f.Fuzz(func(t *testing.T, text string) {
		sig, err := near.DecodeSignature(text)
		if err == nil && base64.StdEncoding.EncodeToString(sig[:]) != text {
			t.Errorf("%q and %q are one signature", text, base64.StdEncoding.EncodeToString(sig[:]))
		}
	})
}
