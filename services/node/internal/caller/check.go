package caller

import (
	"context"
	"errors"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
)

// ErrChanged ends what was opened with rights that the caller no longer has; a new request gets those that are left.
var ErrChanged = errors.New("the rights of the caller were narrowed")

// errStale refuses a request that the gate let through too long ago.
var errStale = errors.New("the gate's word for the request has ended")

// Token is a token that was good when its request came. Package embed of mero-auth, which a build can leave out, knows
// how it fares since.
type Token interface {
	// Check returns nil while the token is good for what it was good for, else [ErrExpired], [ErrRevoked], [ErrChanged]
	// or, when that cannot be found out, another error. It is cheap enough to be asked before each message of a stream.
	Check(ctx context.Context) error
}

// Check is that of the token. Where nobody knows how it fares it returns nil, and Expires is the end.
func (c Caller) Check(ctx context.Context) error {
	if c.Token == nil {
		return nil
	}
	return c.Token.Check(ctx)
}

// StillGood judges the caller's token once more, before something is kept that took its time since the request came: an
// upload, a download, a wait for a turn. The error is a [*fault.Error] of class Unauthenticated or Forbidden with the word
// for X-Auth-Error, or, if the token's state cannot be found out, that of Check.
func (c Caller) StillGood(ctx context.Context, now time.Time) error {
	if !c.Ends.IsZero() && now.After(c.Ends) {
		return refused(ErrExpired, identity.TokenExpired)
	}
	err := c.Check(ctx)
	switch {
	case errors.Is(err, ErrExpired):
		return refused(err, identity.TokenExpired)
	case errors.Is(err, ErrRevoked):
		return refused(err, identity.TokenRevoked)
	case errors.Is(err, ErrChanged):
		return fault.Wrap(err, fault.Forbidden, "the rights of the caller were narrowed meanwhile").Because(identity.PermissionDenied)
	}
	return err
}

// StillVouched is StillGood for a request that begins only now, because its body was long in coming: it also asks whether
// the gate's word for the request still holds, which is the most that a node can know of revocations where the gate is
// another process.
func (c Caller) StillVouched(ctx context.Context, now time.Time) error {
	if !c.Vouched.IsZero() && now.After(c.Vouched) {
		return refused(errStale, identity.InvalidToken)
	}
	return c.StillGood(ctx, now)
}

func refused(cause error, reason string) error {
	return fault.Wrap(cause, fault.Unauthenticated, "the authentication ended before the request did").Because(reason)
}
