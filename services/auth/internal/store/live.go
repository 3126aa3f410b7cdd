package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// LiveFamily is what a decision needs to know of a session family.
type LiveFamily struct {
	ID      string `json:"-"`
	Key     string `json:"key"` // id of the key that it belongs to
	Revoked int64  `json:"revoked_at"`
	Created int64  `json:"created"`
	Machine bool   `json:"machine"`

	Refreshed int64 `json:"last_refresh"`
	Use       *Use  `json:"-"` // shared with everybody who uses the session
}

// LiveKey is what a decision needs to know of a key. It is shared between decisions; do not change it.
type LiveKey struct {
	ID        string  `json:"-"`
	Type      KeyType `json:"key_type"`
	RootKeyID string  `json:"root_key_id"` // of a client key
	Revoked   int64   `json:"revoked_at"`
	ExpiresAt int64   `json:"expires_at"` // Unix seconds, 0 = never

	*Granted `json:"-"`

	epoch uint64 // of its cell, before it was read
}

// Live is what a session depends on. The zero Live depends on nothing and was never read.
type Live struct {
	Family    *LiveFamily
	Key, Root *LiveKey // the same for a root key

	seen [3]seen // of family, key and root
}

// Current reports whether nothing took rights away from family, key or root since they were read. It takes no lock.
func (l *Live) Current() bool {
	return l.seen[0].current() && l.seen[1].current() && l.seen[2].current()
}

// Live returns family, key and root of a session. A key that was read for another session is not read again.
//
// Each record is read from a snapshot that was taken after its cell was seen: a change that the snapshot lacks then
// outdates the result. Only the key's record tells which root is above it, hence the second snapshot.
//
// A record that does not exist is ErrNotFound.
func (s *Store) Live(ctx context.Context, family, key string) (Live, error) {
	var l Live
	l.seen[0], l.seen[1] = s.FamilyCell(family).see(), s.KeyCell(key).see()
	l.Key = s.recent.key(s.cells.seed, key, l.seen[1])
	known := l.Key != nil
	err := s.View(ctx, func(tx *Tx) (err error) {
		if l.Family, err = s.liveFamily(tx, family); err != nil || known {
			return err
		}
		l.Key, err = s.liveKey(tx, key)
		return err
	})
	if err != nil {
		return Live{}, err
	}
	if !known {
		s.recent.keep(s.cells.seed, l.Key, l.seen[1])
	}
	if l.Key.Type == Root {
		l.Root, l.seen[2] = l.Key, l.seen[1]
		return l, nil
	}
	l.seen[2] = s.KeyCell(l.Key.RootKeyID).see()
	if l.Root = s.recent.key(s.cells.seed, l.Key.RootKeyID, l.seen[2]); l.Root != nil {
		return l, nil
	}
	err = s.View(ctx, func(tx *Tx) (err error) {
		l.Root, err = s.liveKey(tx, l.Key.RootKeyID)
		return err
	})
	if err != nil {
		return Live{}, err
	}
	s.recent.keep(s.cells.seed, l.Root, l.seen[2])
	return l, nil
}

func (s *Store) liveFamily(tx *Tx, id string) (*LiveFamily, error) {
	raw, err := tx.raw(bucketFamily, id)
	if err != nil {
		return nil, err
	}
	f, err := decodeLiveFamily(raw)
	if err != nil {
		return nil, fmt.Errorf("%s:%s: %w", bucketFamily, id, err)
	}
	f.ID = strings.Clone(id) // not the whole token that it is cut from
	f.Use, err = s.use(tx, f)
	return f, err
}

func (s *Store) liveKey(tx *Tx, id string) (*LiveKey, error) {
	raw, err := tx.Get(bucketClient, id) // most keys are client keys
	if errors.Is(err, kv.ErrNotFound) {
		raw, err = tx.raw(bucketRoot, id)
	}
	if err != nil {
		return nil, err
	}
	k, err := decodeLiveKey(raw)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", id, err)
	}
	k.ID = strings.Clone(id) // not the whole token that it is cut from
	if raw, err = tx.raw(bucketPermissions, id); err != nil {
		return nil, err
	}
	if k.Granted, err = s.recent.granted(s.cells.seed, raw); err != nil {
		return nil, fmt.Errorf("key %s: %w", id, err)
	}
	return k, nil
}

// raw returns the text of a record, or ErrNotFound.
func (tx *Tx) raw(bucket, key string) ([]byte, error) {
	raw, err := tx.Get(bucket, key)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("%s:%s: %w", bucket, key, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s:%s: %w", bucket, key, err)
	}
	return raw, nil
}
