package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// LiveFamily is what decisions need to know of a session family that is not revoked. All decisions about the session
// share it, and with it when the session was last used; see uses.go.
type LiveFamily struct {
	ID      string
	Key     string // id of the key that it belongs to
	Created int64  // Unix seconds
	Machine bool

	holders int32 // guarded by its shard of the table
	queued  atomic.Bool
	next    *LiveFamily   // in the queue; of whoever set queued
	used    atomic.Int64  // Unix seconds
	epoch   atomic.Uint64 // 1 + that of its cell before its record was last read, 0 if it never was
}

// readUnder reports whether the record was read under the epoch of s, and so is still as it was.
func (f *LiveFamily) readUnder(s seen) bool { return f.epoch.Load() == s.epoch+1 }

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
	Basis
}

// Basis is what a decision depends on: the cells of family, key and root as they were before these were read.
type Basis [3]seen

// Current reports whether nothing took rights away from family, key or root since they were read. It takes no lock.
func (b *Basis) Current() bool { return b[0].current() && b[1].current() && b[2].current() }

// Live returns family, key and root of a session. What was read for another token of the session, or for another session
// of the key, is not read again.
//
// Each record is read from a snapshot that was taken after its cell was seen: a change that the snapshot lacks then
// outdates the result. Only the key's record tells which root is above it, hence the second snapshot.
//
// A record that does not exist, or a family of another key, is ErrNotFound, one that is revoked ErrRevoked.
func (s *Store) Live(ctx context.Context, family, key string) (Live, error) {
	l := Live{Basis: Basis{s.FamilyCell(family).see(), s.KeyCell(key).see()}}
	if f := s.held.find(family); f != nil && f.Key == key && f.readUnder(l.Basis[0]) {
		l.Family = f
	}
	l.Key = s.recent.key(s.cells.seed, key, l.Basis[1])
	fresh := l.Key == nil
	if l.Family == nil || fresh {
		if err := s.View(ctx, func(tx *Tx) error { return s.readSession(tx, &l, family, key) }); err != nil {
			return Live{}, err
		}
	}
	if err := s.findRoot(ctx, &l); err != nil {
		return Live{}, err
	}
	if fresh {
		if l.Key.Type == Client {
			l.Key.RootKeyID = l.Root.ID // one text for all keys of the root
		}
		s.recent.keep(s.cells.seed, l.Key, l.Basis[1])
	}
	if l.Key.Revoked != 0 || l.Root.Revoked != 0 {
		return Live{}, ErrRevoked
	}
	return l, nil
}

// readSession reads what l lacks of family and key.
func (s *Store) readSession(tx *Tx, l *Live, family, key string) (err error) {
	if l.Family == nil {
		if l.Family, err = s.liveFamily(tx, family, key, l.Basis[0]); err != nil {
			return err
		}
	}
	if l.Key == nil {
		l.Key, err = s.liveKey(tx, l.Family.Key) // not key, which is cut from a whole token
	}
	return err
}

// findRoot fills in the root key above l.Key.
func (s *Store) findRoot(ctx context.Context, l *Live) error {
	if l.Key.Type == Root {
		l.Root, l.Basis[2] = l.Key, l.Basis[1]
		return nil
	}
	l.Basis[2] = s.KeyCell(l.Key.RootKeyID).see()
	if l.Root = s.recent.key(s.cells.seed, l.Key.RootKeyID, l.Basis[2]); l.Root != nil {
		return nil
	}
	err := s.View(ctx, func(tx *Tx) (err error) {
		l.Root, err = s.liveKey(tx, l.Key.RootKeyID)
		return err
	})
	if err == nil {
		s.recent.keep(s.cells.seed, l.Root, l.Basis[2])
	}
	return err
}

func (s *Store) liveFamily(tx *Tx, id, key string, seen seen) (*LiveFamily, error) {
	raw, err := tx.raw(bucketFamily, id)
	if err != nil {
		return nil, err
	}
	r, err := decodeLiveFamily(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s:%s: %w", bucketFamily, id, err)
	case r.Key != key:
		return nil, fmt.Errorf("%s:%s of that key: %w", bucketFamily, id, ErrNotFound)
	case r.Revoked != 0:
		return nil, ErrRevoked
	}
	used := max(r.Created, r.Refreshed)
	if s.Limits.Idle > 0 {
		saved, err := tx.seconds(bucketFamilyUsed, id)
		if err != nil {
			return nil, err
		}
		used = max(used, saved)
	}
	f := &LiveFamily{ID: strings.Clone(id), Key: r.Key, Created: r.Created, Machine: r.Machine} // id is cut from a whole token
	f.used.Store(used)
	f.epoch.Store(seen.epoch + 1)
	return f, nil
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
	k.ID = id
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
