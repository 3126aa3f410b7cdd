// Package example is the provider that docs/providers.md explains: it proves that a caller holds the Ed25519 key of a
// device. It is compiled and tested so that the page stays true; no service offers it.
package example

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

// Provider is the device_key provider.
type Provider struct {
	// VerifyChallenge returns the claims of a challenge token that this server issued and that has not expired.
	VerifyChallenge func(token string) (challenge.Claims, error)
}

// Name is the auth_method of logins.
func (*Provider) Name() string { return "device_key" }

// Aliases are other names that clients may send.
func (*Provider) Aliases() []string { return []string{"device"} }

// Info is listed at GET /auth/providers. Config is public: it tells clients what to sign.
func (p *Provider) Info() provider.Info {
	info := provider.Info{
		Type:        "wallet",
		Description: "Ed25519 key of a device",
		Configured:  p.VerifyChallenge != nil,
		Config:      map[string]any{"signs": "device-login:<challenge>"},
	}
	if !info.Configured {
		info.Reason = "no challenges"
	}
	return info
}

// Authenticate checks a login. public_key is the key in base64, provider_data is {challenge, signature}.
func (p *Provider) Authenticate(_ context.Context, a provider.Attempt) (provider.Proof, error) {
	proof, key, err := identify(a.PublicKey)
	if err != nil {
		return provider.Proof{}, fmt.Errorf("%w: %w", provider.ErrRejected, err)
	}
	var challengeText, signatureText string
	members := map[string]*string{"challenge": &challengeText, "signature": &signatureText}
	if err := provider.DecodeStrings(a.Data, members); err != nil {
		return provider.Proof{}, err // says what is malformed
	}
	claims, err := p.VerifyChallenge(challengeText)
	if err != nil {
		return provider.Proof{}, fmt.Errorf("%w: challenge: %w", provider.ErrRejected, err)
	}
	signature, err := base64.StdEncoding.DecodeString(signatureText)
	if err != nil || !ed25519.Verify(key, []byte("device-login:"+challengeText), signature) {
		return provider.Proof{}, fmt.Errorf("%w: the signature is not one of this challenge by public_key", provider.ErrRejected)
	}
	proof.Challenge = &claims // used up in the transaction that stores the session
	return proof, nil
}

// Enroll names an identity that an administrator adds without a proof (POST /admin/keys).
func (*Provider) Enroll(_ context.Context, a provider.Attempt) (provider.Proof, error) {
	proof, _, err := identify(a.PublicKey)
	if err != nil {
		return provider.Proof{}, fmt.Errorf("%w: %w", provider.ErrMalformed, err)
	}
	return proof, nil
}

// identify makes the id of the root key from the identity: the same device, the same key, on every login.
func identify(text string) (provider.Proof, ed25519.PublicKey, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize || base64.StdEncoding.EncodeToString(key) != text {
		return provider.Proof{}, nil, errors.New("public_key must be the base64 of 32 bytes")
	}
	id := sha256.Sum256([]byte("device_key:" + text))
	return provider.Proof{KeyID: hex.EncodeToString(id[:]), PublicKey: text, Account: text}, key, nil
}
