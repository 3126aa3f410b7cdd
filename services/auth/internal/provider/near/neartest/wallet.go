// Package neartest is a NEAR wallet for tests.
package neartest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"github.com/mr-tron/base58"

	"github.com/calimero-network/mero-go/pkg/borsh"
)

// Wallet holds one key.
type Wallet struct {
	key ed25519.PrivateKey

	PublicKey string // as NEAR writes it
	Implicit  string // the account that is named after the key
}

// NewWallet makes the wallet of a seed: the same text, the same key.
func NewWallet(seed string) Wallet {
	sum := sha256.Sum256([]byte(seed))
	key := ed25519.NewKeyFromSeed(sum[:])
	public := key[ed25519.SeedSize:]
	return Wallet{key: key, PublicKey: "ed25519:" + base58.Encode(public), Implicit: hex.EncodeToString(public)}
}

// Message is what a wallet is asked to sign (NEP-413).
type Message struct {
	Text      string // the challenge
	Nonce     []byte // the challenge's
	Recipient string
	Callback  *string // nil for none
}

// Sign signs as NEP-413 says and returns the signature in base64.
func (w Wallet) Sign(t testing.TB, m Message) string {
	t.Helper()
	var e borsh.Encoder
	e.U32(2147484061)
	e.Str(m.Text)
	e.Fixed(m.Nonce)
	e.Str(m.Recipient)
	e.Option(m.Callback != nil)
	if m.Callback != nil {
		e.Str(*m.Callback)
	}
	encoded, err := e.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return w.SignDigest(sha256.Sum256(encoded))
}

// SignDigest signs any digest.
func (w Wallet) SignDigest(digest [sha256.Size]byte) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(w.key, digest[:]))
}

// FullAccess is what an RPC node answers about a key with full access.
const FullAccess = `{"nonce":85,"permission":"FullAccess","block_height":19884918,"block_hash":"GGJQ8yjmo7aEoj8ZpAhGehnq9BSWFx4xswHYzDwwAP2n"}`

// Cause is the error of an RPC node with this cause.
func Cause(name string) string {
	return `{"name":"HANDLER_ERROR","cause":{"name":"` + name + `","info":{}},"code":-32000,"message":"Server error","data":"` + name + `"}`
}
