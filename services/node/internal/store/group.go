package store

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Group is a namespace, or a group in one: what contexts belong to and whose members may use them.
type Group struct {
	ID            id.ID  `json:"-"`
	AppKey        id.ID  `json:"app_key"`
	Application   id.ID  `json:"application_id"`
	Name          string `json:"name,omitempty"`
	UpgradePolicy string `json:"upgrade_policy,omitempty"`
	Created       int64  `json:"created"` // Unix seconds
}

// Member is an account in a group.
type Member struct {
	Group        id.ID  `json:"-"`
	Key          id.ID  `json:"-"` // the public key of the account
	Role         string `json:"role"`
	Capabilities uint32 `json:"capabilities,omitempty"`
	Name         string `json:"name,omitempty"`
}

type groupRecord struct {
	V int `json:"v"`
	Group
}

type memberRecord struct {
	V int `json:"v"`
	Member
}

var errGroupID = errors.New("not 32 bytes in lower-case hexadecimal")

// ParseGroupID reads the form in which group ids are written: 64 lower-case hexadecimal digits.
func ParseGroupID(s string) (id.ID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != id.Size || hex.EncodeToString(b) != s {
		return id.ID{}, errGroupID
	}
	return id.ID(b), nil
}

// AddGroup writes a new group. The error is [ErrExists] if the id is taken.
func (t *Tx) AddGroup(g Group) error {
	if t.tx.Bucket(bucketGroups).Get(g.ID[:]) != nil {
		return ErrExists
	}
	return t.put(bucketGroups, g.ID[:], groupRecord{1, g})
}

// Group reads a group. The error is [ErrNotFound] if there is none.
func (t *Tx) Group(group id.ID) (Group, error) {
	var r groupRecord
	if err := t.get(bucketGroups, group[:], &r); err != nil {
		return Group{}, err
	}
	r.ID = group
	return r.Group, nil
}

// Groups yields all groups in the order of their ids, until an error.
func (t *Tx) Groups() iter.Seq2[Group, error] {
	return func(yield func(Group, error) bool) {
		c := t.tx.Bucket(bucketGroups).Cursor()
		for key, text := c.First(); key != nil; key, text = c.Next() {
			var r groupRecord
			err := decode(bucketGroups, key, text, &r)
			if err == nil {
				r.ID = id.ID(key)
			}
			if !yield(r.Group, err) || err != nil {
				return
			}
		}
	}
}

// RemoveGroup removes a group with its members. The errors are [ErrNotFound] and, if it has contexts, [ErrInUse].
func (t *Tx) RemoveGroup(group id.ID) error {
	if _, err := t.Group(group); err != nil {
		return err
	}
	if n := t.CountGrouped(group); n > 0 {
		return fmt.Errorf("%d contexts: %w", n, ErrInUse)
	}
	_, err := t.removePrefix(bucketMembers, group[:], -1)
	return errors.Join(err, t.tx.Bucket(bucketGroups).Delete(group[:]))
}

// CountGrouped returns the number of contexts in a group.
func (t *Tx) CountGrouped(group id.ID) int {
	n := 0
	for range t.prefixed(bucketGrouped, group[:]) {
		n++
	}
	return n
}

// Grouped returns the contexts in a group in the order of their ids.
func (t *Tx) Grouped(group id.ID) []id.ID {
	var list []id.ID
	for key := range t.prefixed(bucketGrouped, group[:]) {
		list = append(list, id.ID(key[id.Size:]))
	}
	return list
}

// PutMember writes a member of a group.
func (t *Tx) PutMember(m Member) error {
	return t.put(bucketMembers, joined(m.Group, m.Key), memberRecord{1, m})
}

// Members returns the members of a group in the order of their keys.
func (t *Tx) Members(group id.ID) ([]Member, error) {
	var list []Member
	for key, text := range t.prefixed(bucketMembers, group[:]) {
		var r memberRecord
		if err := decode(bucketMembers, key, text, &r); err != nil {
			return nil, err
		}
		r.Group, r.Key = group, id.ID(key[id.Size:])
		list = append(list, r.Member)
	}
	return list, nil
}

var keyAccount = []byte("account")

type accountRecord struct {
	V    int    `json:"v"`
	Seed []byte `json:"seed"`
}

// PutAccount writes the key with which the node is a member of groups.
func (t *Tx) PutAccount(key ed25519.PrivateKey) error {
	return t.put(bucketMeta, keyAccount, accountRecord{1, key.Seed()})
}

// Account reads the key with which the node is a member of groups. The error is [ErrNotFound] before the first group.
func (t *Tx) Account() (ed25519.PrivateKey, error) {
	var r accountRecord
	if err := t.get(bucketMeta, keyAccount, &r); err != nil {
		return nil, err
	}
	if len(r.Seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("damaged record %s %s: seed of %d bytes", bucketMeta, keyAccount, len(r.Seed))
	}
	return ed25519.NewKeyFromSeed(r.Seed), nil
}
