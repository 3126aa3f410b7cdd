// Package challenge issues and verifies the one-time challenges that wallets sign.
//
// Issuing is stateless: the challenge is a JWT under a secret of its own. Using it is not: the login use case
// records the id in the transaction that issues the tokens, so one challenge yields one pair of tokens.
package challenge

import (
	"errors"
	"time"
)

// Lifetime is how long a challenge can be answered.
const Lifetime = 5 * time.Minute

// Claims are the content of a verified challenge.
type Claims struct {
	ID       string // jti: 32 lower-case hex characters; the Nonce of an EIP-4361 message
	Nonce    []byte // 32 random bytes; the nonce of an NEP-413 payload
	IssuedAt time.Time
	Expires  time.Time
	Method   string // canonical auth_method that it was issued for, "" for any
}

// ErrMethod means that a challenge was issued for another way to log in than the one that it is used for.
var ErrMethod = errors.New("the challenge was issued for another auth_method")

// For returns ErrMethod unless the challenge may be used to log in by method, a canonical auth_method.
func (c Claims) For(method string) error {
	if c.Method != "" && c.Method != method {
		return ErrMethod
	}
	return nil
}
