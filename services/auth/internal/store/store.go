// Package store keeps the typed records of mero-auth: keys and their permissions, session families, accounts,
// used challenges and the bootstrap state.
//
// Every operation of a use case is one transaction. Changes that take rights away (a revoked key or family,
// other permissions) bump the epoch of the record's [Cell] after the commit and before the caller is told, so
// that a decision cached before the change is never used after it was acknowledged.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// The errors of the package; match them with errors.Is.
var (
	ErrNotFound = errors.New("no such record")
	ErrRevoked  = errors.New("revoked")
	ErrExists   = errors.New("record exists already")
	ErrUsed     = errors.New("challenge was used already")
	ErrClock    = errors.New("the clock was set back, and the challenge may have been used before that")
	ErrNewer    = errors.New("the store was written by a newer version")

	// ErrUnavailable is a failure of the store itself: nothing is wrong with what was asked, and trying again may help.
	ErrUnavailable = errors.New("the store is unavailable")
)

// Buckets, one per prefix of the documented key names.
const (
	bucketRoot        = "root"         // root:{id}
	bucketClient      = "client"       // client:{id}
	bucketRootClients = "root_clients" // root_clients:{root}:{client}
	bucketLiveClients = "live_clients" // live_clients:{root}:{client} = expiry in Unix seconds, 0 for never; not of revoked ones
	bucketMinted      = "minted"       // minted:{minting client}:{client}
	bucketPermissions = "permissions"  // permissions:{id}
	bucketKeyUsed     = "key_used"     // key_used:{id} = Unix seconds
	bucketFamily      = "family"       // family:{fam}
	bucketFamilyUsed  = "session_used" // session_used:{fam} = Unix seconds
	bucketKeyFamilies = "key_families" // key_families:{key}:{fam}
	bucketChallenge   = "challenge"    // challenge:{jti}
	bucketAccount     = "account"      // account:{provider}:{name}
	bucketSystem      = "system"       // system:schema, system:bootstrap, system:challenges
	// audit:{id} and system:audit belong to package audit.
)

// schema is the format number of the records.
const schema = 1

// Store is the record store. Its methods are safe for concurrent use.
type Store struct {
	Limits Limits     // of sessions; set before use
	Audit  *audit.Log // of this store; see [Tx.Audit]

	// Revoked, unless nil, is told of each commit that took rights away; it must not wait. Set before use.
	Revoked func()

	db     kv.DB
	cells  cells
	held   held
	recent recent
	uses   uses
}

// Open returns the store over db, writing the format number into a fresh one. A store of a newer format is
// refused with [ErrNewer].
func Open(ctx context.Context, db kv.DB) (*Store, error) {
	seed := maphash.MakeSeed()
	s := &Store{
		db: db, Audit: audit.New(db),
		cells: cells{seed: seed}, held: held{seed: seed}, uses: uses{due: make(chan struct{}, 1)},
	}
	err := db.Update(ctx, func(tx kv.Tx) error {
		var found struct {
			V int `json:"v"`
		}
		err := get(tx, bucketSystem, "schema", &found)
		switch {
		case errors.Is(err, ErrNotFound):
			found.V = schema
			return put(tx, bucketSystem, "schema", found)
		case err != nil:
			return err
		case found.V > schema:
			return fmt.Errorf("format %d, this version knows %d: %w", found.V, schema, ErrNewer)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open the record store: %w", err)
	}
	return s, nil
}

// Tx is a transaction over the typed records.
type Tx struct {
	kv.Tx   // the storage below
	storage storage
	cells   *cells
	touched []*Cell // to bump after the commit
	err     error   // of the function

	audit           *audit.Log
	peer, requestID string // of the request that the transaction serves
	events          []audit.Event
}

// Audit writes an audit record of what the transaction does; it exists exactly if the transaction commits. Peer and
// RequestID come from the context of [Store.Update] unless e has them. Time is required.
func (tx *Tx) Audit(e audit.Event) error {
	if e.Peer == "" {
		e.Peer = tx.peer
	}
	if e.RequestID == "" {
		e.RequestID = tx.requestID
	}
	written, err := tx.audit.Append(tx.Tx, e)
	tx.events = append(tx.events, written...)
	return err
}

// View runs fn on a stable snapshot. A failure that is not fn's is [ErrUnavailable].
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	t := new(Tx)
	err := s.db.View(ctx, func(tx kv.Tx) error {
		t.storage.Tx, t.Tx = tx, &t.storage
		t.err = fn(t)
		return t.err
	})
	return t.failure(err)
}

// Update runs fn in one transaction and, when it is committed, bumps the cells of what fn took rights from.
// fn may run more than once; see [kv.DB]. A failure that is not fn's is [ErrUnavailable].
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	t := new(Tx)
	peer, requestID := reqctx.Peer(ctx), reqctx.RequestID(ctx)
	err := s.db.Update(ctx, func(tx kv.Tx) error {
		*t = Tx{Tx: &t.storage, storage: storage{tx}, cells: &s.cells, audit: s.Audit, peer: peer, requestID: requestID}
		t.err = fn(t)
		return t.err
	})
	// Even after an error: if the commit failed half-way for a reason that only a restart would tell, a
	// needless bump costs one look-up, a missing one would serve a revoked key.
	for _, cell := range t.touched {
		cell.epoch.Add(1)
	}
	if err == nil {
		s.Audit.Committed(t.events...)
		if len(t.touched) > 0 && s.Revoked != nil {
			s.Revoked()
		}
	}
	return t.failure(err)
}

// failure returns what a transaction ended with: the error of its function, or that of the store.
func (tx *Tx) failure(err error) error {
	if err == nil || tx.err != nil && errors.Is(err, tx.err) {
		return err
	}
	return unavailable(err)
}

// storage marks the failures of a transaction, whoever below it or beside it reads and writes.
type storage struct{ kv.Tx }

func (s *storage) Get(bucket, key string) ([]byte, error) {
	value, err := s.Tx.Get(bucket, key)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		err = unavailable(err)
	}
	return value, err
}

func (s *storage) Put(bucket, key string, value []byte) error {
	if err := s.Tx.Put(bucket, key, value); err != nil {
		return unavailable(err)
	}
	return nil
}

// unavailable marks an error of the storage as one that has nothing to do with what was asked. A caller that left and a
// mistake of this program are no such errors.
func unavailable(err error) error {
	for _, other := range []error{context.Canceled, context.DeadlineExceeded, kv.ErrKey, kv.ErrReadOnly, kv.ErrScanning} {
		if errors.Is(err, other) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func get(tx kv.Tx, bucket, key string, into any) error {
	raw, err := tx.Get(bucket, key)
	if errors.Is(err, kv.ErrNotFound) {
		return fmt.Errorf("%s:%s: %w", bucket, key, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("read %s:%s: %w", bucket, key, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decode %s:%s: %w", bucket, key, err)
	}
	return nil
}

func put(tx kv.Tx, bucket, key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s:%s: %w", bucket, key, err)
	}
	if err := tx.Put(bucket, key, raw); err != nil {
		return fmt.Errorf("write %s:%s: %w", bucket, key, err)
	}
	return nil
}

// Read reads one small record, to tell whether the store can be read at all.
func (s *Store) Read(ctx context.Context) error {
	return s.View(ctx, func(tx *Tx) error {
		_, err := tx.Bootstrap()
		return err
	})
}

// Probe writes one small record, to tell whether the store takes writes.
func (s *Store) Probe(ctx context.Context, now time.Time) error {
	return s.db.Update(ctx, func(tx kv.Tx) error { return put(tx, bucketSystem, "probe", now.Unix()) })
}
