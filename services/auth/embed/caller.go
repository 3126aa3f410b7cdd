package embed

import (
	"context"
	"errors"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
)

// Caller is the holder of a key that may make a request.
type Caller struct {
	Key         string    // id
	Permissions []string  // what token, key and root all cover, verbatim; not to be changed
	Expires     time.Time // of the token or the keys behind it, whichever is first

	lease *gate.Lease
}

// The ends of a token before its expiry.
var (
	ErrRevoked  = errors.New("the token was revoked")
	ErrExpired  = errors.New("the token has expired")
	ErrNarrowed = gate.ErrNarrowed
)

// Check returns nil while the token that came with the request is good for what it was good for: [ErrRevoked] when a
// key, the session or the signing secret behind it was withdrawn, [ErrExpired] when their expiry was moved here,
// [ErrNarrowed] when it is good for less, another error when the store fails. Where nothing has changed it costs three
// atomic loads, so a stream can ask before each message.
func (c *Caller) Check(ctx context.Context) error {
	err := c.lease.Check(ctx)
	switch {
	case err == nil, errors.Is(err, gate.ErrNarrowed):
		return err
	case fault.ReasonOf(err) == identity.TokenExpired:
		return ErrExpired
	case fault.CodeOf(err) == fault.Unauthenticated:
		return ErrRevoked
	}
	return err
}
