package store

import (
	"crypto/ed25519"
	"fmt"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Identity is a member of a context as the node knows it. An identity that the node made lives under the zero
// context until it joins one.
type Identity struct {
	Context   id.ID
	PublicKey id.ID              // the Ed25519 key that names it
	Private   ed25519.PrivateKey // nil for other nodes' members
	SenderKey []byte             // 32 bytes that seal deltas, nil if unknown
}

type identityRecord struct {
	V         int    `json:"v"`
	Seed      []byte `json:"seed,omitempty"`
	SenderKey []byte `json:"sender_key,omitempty"`
}

func identityKey(context, publicKey id.ID) []byte { return append(context[:], publicKey[:]...) }

// PutIdentity writes an identity under its context and public key.
func (t *Tx) PutIdentity(i Identity) error {
	r := identityRecord{V: 1, SenderKey: i.SenderKey}
	if i.Private != nil {
		r.Seed = i.Private.Seed()
	}
	return t.put(bucketIdentities, identityKey(i.Context, i.PublicKey), r)
}

// Identity reads an identity. The error is [ErrNotFound] if the context has no such member.
func (t *Tx) Identity(context, publicKey id.ID) (Identity, error) {
	var r identityRecord
	key := identityKey(context, publicKey)
	if err := t.get(bucketIdentities, key, &r); err != nil {
		return Identity{}, err
	}
	out := Identity{Context: context, PublicKey: publicKey, SenderKey: r.SenderKey}
	if r.Seed != nil {
		if len(r.Seed) != ed25519.SeedSize {
			return Identity{}, fmt.Errorf("damaged record %s %x: seed of %d bytes", bucketIdentities, key, len(r.Seed))
		}
		out.Private = ed25519.NewKeyFromSeed(r.Seed)
	}
	return out, nil
}
