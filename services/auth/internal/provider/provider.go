// Package provider defines how an identity is proved to the login use case.
//
// A provider is one package with one exported type and one line in app/providers.go. It decides who the caller
// is and nothing else: whether that identity has a key, whether a first key may be made and which tokens are
// issued belongs to package login.
package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
)

// The outcomes of a refused attempt; match them with errors.Is. The text of a wrapped error is shown to the
// client, so it says what to mend and never what is stored.
var (
	ErrMalformed   = errors.New("malformed provider data")    // the request can never succeed as it is
	ErrRejected    = errors.New("authentication failed")      // the proof is wrong, expired or not ours
	ErrUnavailable = errors.New("provider is unavailable")    // a dependency is down; trying again may help
	ErrDisabled    = errors.New("provider is not configured") // listed, but not usable with this configuration
)

// Info is what GET /auth/providers tells of a provider.
type Info struct {
	Type        string         // "wallet" or "credentials"
	Description string         // one line for people
	Configured  bool           // the provider can be used now
	Reason      string         // when not Configured: what to set
	Config      map[string]any // public configuration; must be JSON-encodable and hold no secret
}

// Attempt is one try to log in, as it came in POST /auth/token or POST /admin/keys.
type Attempt struct {
	Method    string          // canonical name of the provider that is asked
	PublicKey string          // the request's top-level public_key
	Data      json.RawMessage // the request's provider_data: a JSON object, at most 64 KiB

	// Bootstrap is set when the caller presented the one-time bootstrap secret: a provider that keeps
	// accounts of its own may then accept one that does not exist yet.
	Bootstrap bool

	// UseChallenge makes a verified challenge worthless at once, in a transaction of its own; see [Attempt.Spend].
	// It is set for Authenticate, not for Enroll.
	UseChallenge func(context.Context, challenge.Claims) error
}

// Spend uses a challenge up before the login is decided. A provider that has verified everything it can by itself and
// must now ask a slow or costly server calls it first: however often one signed challenge is sent, the server is asked
// once. Such a provider leaves [Proof.Challenge] nil. A challenge that was used already, or issued for another
// method, wraps [ErrRejected]; any other error is internal.
func (a Attempt) Spend(ctx context.Context, c challenge.Claims) error {
	if err := c.For(a.Method); err != nil {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	if a.UseChallenge == nil {
		return errors.New("provider: this attempt has no way to use a challenge up")
	}
	return a.UseChallenge(ctx, c)
}

// Proof is a proved identity.
type Proof struct {
	KeyID     string // id of the root key of this identity; "" asks for a fresh random id
	PublicKey string // stored with a new key: what people recognise the identity by
	Account   string // name for logs and for the account record; never a secret

	// Renewal is what a [Renewer] needs to ask again whether the identity is still proved. It is stored with the session,
	// so it holds no secret; "" when there is nothing to ask.
	Renewal string

	// Challenge is the challenge that was answered. The login use case consumes it together with issuing the
	// tokens. Nil for providers that use none, or have spent it ([Attempt.Spend]).
	Challenge *challenge.Claims

	// PasswordHash is the PHC string to store: with a new account or, when Verified is set, in place of that one, which
	// was made with other parameters than today's or of another password (Changed). Empty for all but password
	// providers, and when nothing is to be stored.
	PasswordHash string

	// Verified is the stored PHC string that the password was found right by; empty for a new account. The transaction
	// that acts on the proof compares it with the stored one: the password may have changed meanwhile.
	Verified string

	// Changed says that PasswordHash is of a new password, which the user proved to have the right to set: every
	// session that began before ends.
	Changed bool
}

// Provider proves identities. Implementations are safe for concurrent use.
type Provider interface {
	// Name is the canonical auth_method.
	Name() string

	// Aliases are other spellings of the name that clients send.
	Aliases() []string

	// Info describes the provider for clients.
	Info() Info

	// Authenticate checks the proof in a. Errors wrap one of this package's; any other error is internal.
	Authenticate(ctx context.Context, a Attempt) (Proof, error)

	// Enroll names the identity that an administrator adds by its account alone, without a proof of possession.
	Enroll(ctx context.Context, a Attempt) (Proof, error)
}

// Renewer is a Provider whose proofs can cease to hold: it is asked again when a session that it began is refreshed,
// outside every transaction. It bounds the time that this takes itself.
type Renewer interface {
	// Renew reports whether what proved the identity at the login ([Proof.Renewal]) still does. An error that wraps
	// ErrRejected denies it, and the session ends. With every other error nobody knows, and the session goes on.
	Renew(ctx context.Context, renewal string) error
}
