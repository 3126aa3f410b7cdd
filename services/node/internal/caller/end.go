package caller

import "errors"

// The causes with which a request's context ends when its caller may go on no longer. Streams read them with
// [context.Cause] and say so to the client.
var (
	ErrExpired = errors.New("the caller's token has expired")
	ErrRevoked = errors.New("the caller's token was revoked")
)
