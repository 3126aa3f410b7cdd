package challenge

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// Service issues and verifies challenges. Both fields are required. It keeps no state.
type Service struct {
	Codec *token.Codec
	Now   func() time.Time
}

// Issue returns a new challenge for logins by method, a canonical auth_method, or by any for "", and its claims. Times are
// whole seconds, as in the token.
func (s Service) Issue(method string) (raw string, claims Claims, err error) {
	var id [token.ChallengeIDLength / 2]byte
	nonce := make([]byte, token.ChallengeNonceLength)
	// rand.Read never returns an error; it ends the process when the system has no randomness.
	_, _ = rand.Read(id[:])
	_, _ = rand.Read(nonce)
	issued := s.Now().UTC().Truncate(time.Second)
	claims = Claims{
		ID:       hex.EncodeToString(id[:]),
		Nonce:    nonce,
		IssuedAt: issued,
		Expires:  issued.Add(Lifetime),
		Method:   method,
	}
	raw, err = s.Codec.SignChallenge(token.Challenge{
		ID:       claims.ID,
		Nonce:    claims.Nonce,
		IssuedAt: claims.IssuedAt.Unix(),
		Expires:  claims.Expires.Unix(),
		Method:   claims.Method,
	})
	if err != nil {
		return "", Claims{}, fmt.Errorf("issue challenge: %w", err)
	}
	return raw, claims, nil
}

// Verify returns the claims of a challenge that this service issued and that can still be answered. The error
// wraps token.ErrExpired when only its time has passed, else token.ErrInvalid. A challenge verifies any number of
// times: consuming it is up to the caller.
func (s Service) Verify(raw string) (Claims, error) {
	c, err := s.Codec.VerifyChallenge(raw)
	if err != nil {
		return Claims{}, fmt.Errorf("challenge: %w", err)
	}
	claims := Claims{
		ID:       c.ID,
		Nonce:    c.Nonce,
		IssuedAt: time.Unix(c.IssuedAt, 0).UTC(),
		Expires:  time.Unix(c.Expires, 0).UTC(),
		Method:   c.Method,
	}
	if claims.Expires.Sub(claims.IssuedAt) != Lifetime {
		return Claims{}, fmt.Errorf("challenge: %w: lifetime", token.ErrInvalid)
	}
	return claims, nil
}
