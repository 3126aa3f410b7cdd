package store

import (
	"bytes"
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
	// Capabilities are the bits of what the member may do beside calling methods.
	Capabilities uint32
}

// Owned reports whether this node can act as the identity.
func (i Identity) Owned() bool { return i.Private != nil && i.SenderKey != nil }

type identityRecord struct {
	V         int    `json:"v"`
	Seed      []byte `json:"seed,omitempty"`
	SenderKey []byte `json:"sender_key,omitempty"`

	Capabilities uint32 `json:"capabilities,omitempty"`
}

func identityKey(context, publicKey id.ID) []byte { return joined(context, publicKey) }

// PutIdentity writes an identity under its context and public key.
func (t *Tx) PutIdentity(i Identity) error {
	r := identityRecord{V: 1, SenderKey: i.SenderKey, Capabilities: i.Capabilities}
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
	return r.identity(context, publicKey)
}

// Identities returns the members of a context in the order of their keys.
func (t *Tx) Identities(context id.ID) ([]Identity, error) {
	var list []Identity
	for key, text := range t.prefixed(bucketIdentities, context[:]) {
		var r identityRecord
		if err := decode(bucketIdentities, key, text, &r); err != nil {
			return nil, err
		}
		i, err := r.identity(context, id.ID(key[id.Size:]))
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	return list, nil
}

// RemoveIdentity removes a member of a context, if it is there.
func (t *Tx) RemoveIdentity(context, publicKey id.ID) error {
	return t.tx.Bucket(bucketIdentities).Delete(identityKey(context, publicKey))
}

func (r *identityRecord) identity(context, publicKey id.ID) (Identity, error) {
	out := Identity{Context: context, PublicKey: publicKey, SenderKey: r.SenderKey, Capabilities: r.Capabilities}
	if r.Seed != nil {
		if len(r.Seed) != ed25519.SeedSize {
			return Identity{}, fmt.Errorf("damaged record %s %x: seed of %d bytes", bucketIdentities, identityKey(context, publicKey), len(r.Seed))
		}
		// The private key in Go's form is seed and public key; to compute the latter again is slow.
		out.Private = append(bytes.Clone(r.Seed), publicKey[:]...)
	}
	return out, nil
}
