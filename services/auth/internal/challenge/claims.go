// Package challenge issues and verifies the one-time challenges that wallets sign.
//
// Issuing is stateless: the challenge is a JWT under a secret of its own. Using it is not: the login use case
// records the id in the transaction that issues the tokens, so one challenge yields one pair of tokens.
package challenge

import "time"

// Lifetime is how long a challenge can be answered.
const Lifetime = 5 * time.Minute

// Claims are the content of a verified challenge.
type Claims struct {
	ID       string // jti: 32 lower-case hex characters; the Nonce of an EIP-4361 message
	Nonce    []byte // 32 random bytes; the nonce of an NEP-413 payload
	IssuedAt time.Time
	Expires  time.Time
}
