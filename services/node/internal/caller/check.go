package caller

import (
	"context"
	"errors"
)

// ErrChanged ends what was opened with rights that the caller no longer has; a new request gets those that are left.
var ErrChanged = errors.New("the rights of the caller were narrowed")

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
