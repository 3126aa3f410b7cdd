// Package secret keeps the keys that sign tokens: several per kind, the newest signs, the older ones verify until
// nothing that they signed can be valid any more.
//
// The keys of a kind are one sealed record, written twice in one transaction (record.go). They are made once, in a
// store that holds nothing; after that a record that cannot be read from either copy stops the start. Making new
// keys in its place would log everybody out and hide the damage.
package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

// Kind is what keys sign. A key is good for its kind alone.
type Kind string

// The kinds.
const (
	Access    Kind = "access"    // access tokens
	Refresh   Kind = "refresh"   // refresh tokens
	Challenge Kind = "challenge" // login challenges
	CSRF      Kind = "csrf"      // the state of the login page
	JWKS      Kind = "jwks"      // assertions of version 2: Ed25519 seeds, whose public keys are published
)

var kinds = []Kind{Access, Refresh, Challenge, CSRF, JWKS}

// Kinds returns all kinds.
func Kinds() []Kind { return slices.Clone(kinds) }

// A key that signs assertions is published before it is used, so that every node knows it by then, and listed until
// the longest assertion that it signed has ended for the slowest clock.
const (
	PublishAhead   = 30 * time.Second
	PublishedGrace = 61 * time.Minute

	// maxPublished bounds the published set, of which nodes take 128 keys; minPublished keeps scheduled rotations
	// well below it.
	maxPublished = 32
	minPublished = 5 * time.Minute
)

// The errors beside seal.ErrWrongMaster and seal.ErrCorrupt; match them with errors.Is.
var (
	ErrMissing = errors.New("the store holds keys or secrets, but this secret is missing")
	ErrRetired = errors.New("the secret cannot be used for tokens any more")
	ErrKind    = errors.New("unknown kind of secret")
	ErrTooMany = errors.New("too many keys are published: wait until the old ones have ended, or replace them all at once")
)

// Size is the size of a secret in bytes.
const Size = 32

// Options configure a Keyring.
type Options struct {
	Now      func() time.Time // required
	Rotation time.Duration    // age at which a signing secret is replaced; 0 means 24 h
	Grace    time.Duration    // how long a replaced secret verifies at least; 0 means 48 h
	Log      *slog.Logger     // required
	Audit    *audit.Log       // of the same store; nil records nothing
}

// Key is a secret with its id. It prints as its id.
type Key struct {
	ID     string // 12 characters of [a-z2-7]; of JWKS 8 of [0-9a-f], see assertion.SigningKey
	Secret []byte // shared with everybody: must not be changed
}

// Format implements fmt.Formatter for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "secret "+k.ID) }

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID) }

// MarshalText keeps the secret out of JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.ID), nil }

// Keyring is the open set of all secrets. Its owner calls Run; all methods are safe for concurrent use. One process
// may have a store open, so what is in memory is what is in the store.
type Keyring struct {
	db      kv.DB
	sealers atomic.Pointer[sealers]
	options Options

	mu      sync.Mutex // held by whoever replaces current
	current atomic.Pointer[snapshot]
}

// sealers open the records. While a change of the master key is being committed there are two, because a transaction
// beside it can find the records under either.
type sealers struct {
	current *seal.Sealer
	next    *seal.Sealer // nil but then
}

// snapshot is one immutable state of all rings.
type snapshot struct {
	epoch uint64
	rings map[Kind]ring
}

// Open reads the secrets, repairing a damaged copy from the other one, or makes them in a fresh store (see Fresh).
// seal.ErrWrongMaster says that no record opens and that they were sealed under another master key; seal.ErrCorrupt
// and ErrMissing that both copies of a record are unusable. Then nothing has been written.
func Open(ctx context.Context, db kv.DB, sealer *seal.Sealer, opt Options) (*Keyring, error) {
	if opt.Rotation == 0 {
		opt.Rotation = 24 * time.Hour
	}
	if opt.Grace == 0 {
		opt.Grace = 48 * time.Hour
	}
	k := &Keyring{db: db, options: opt}
	k.sealers.Store(&sealers{current: sealer})
	rings, err := k.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the secrets: %w", err)
	}
	k.current.Store(&snapshot{epoch: 1, rings: rings})
	return k, nil
}

// Signing returns the key that signs now. It takes no lock. It panics on an unknown kind: an empty key would sign.
func (k *Keyring) Signing(kind Kind) Key {
	r, ok := k.current.Load().rings[kind]
	if !ok {
		panic("secret: " + ErrKind.Error() + " " + string(kind))
	}
	e := r.signing(k.options.Now)
	return Key{ID: e.ID, Secret: e.Secret}
}

// Published returns the keys of the kind JWKS that a node must know now, the newest first: the one that signs, the
// one that soon will, and those whose assertions may still be under way.
func (k *Keyring) Published() []Key {
	now := k.options.Now()
	var keys []Key
	for _, e := range k.current.Load().rings[JWKS].entries {
		if e.usable(now, k.grace(JWKS)) {
			keys = append(keys, Key{ID: e.ID, Secret: e.Secret})
		}
	}
	return keys
}

// grace is how long a replaced secret of a kind verifies at least.
func (k *Keyring) grace(kind Kind) time.Duration {
	if kind == JWKS {
		return PublishedGrace
	}
	return k.options.Grace
}

// Lookup returns the secret kid of the kind if it may verify now. It takes no lock; the slice is shared with
// everybody and must not be changed.
func (k *Keyring) Lookup(kind Kind, kid string) ([]byte, bool) {
	e := k.current.Load().rings[kind].byID[kid]
	if e == nil || !e.Retired.IsZero() && !e.usable(k.options.Now(), k.grace(kind)) { // mostly without the clock
		return nil, false
	}
	return e.Secret, true
}

// Epoch changes whenever a secret was added or removed, so that caches of verified tokens can be keyed by it. A
// secret that only runs out of time does not change it: whatever it signed has expired by then (see Cover).
func (k *Keyring) Epoch() uint64 { return k.current.Load().epoch }

// Cover makes sure that the secret kid verifies until exp at least, in the transaction that issues a token with
// that expiry. It writes at most about once an hour for each secret, and it changes nothing in memory: call Covered
// when the transaction is committed. ErrRetired says that the secret must not be used: sign with the current one.
func (k *Keyring) Cover(tx kv.Tx, kind Kind, kid string, exp time.Time) error {
	need := roundUp(exp)
	// The stored expiry never shrinks while the secret is there, so memory can only be behind it.
	if e := k.current.Load().rings[kind].byID[kid]; e != nil && !e.LastExp.Before(need) {
		return nil
	}
	stored, err := k.read(tx, kind)
	if err != nil {
		return fmt.Errorf("cover a token: %w", err)
	}
	e := stored.byID[kid]
	if e == nil || !e.usable(k.options.Now(), k.grace(kind)) {
		return fmt.Errorf("cover a token of %s secret %s: %w", kind, kid, ErrRetired)
	}
	if !e.LastExp.Before(need) {
		return nil
	}
	if err := write(tx, kind, stored.covering(kid, need)); err != nil {
		return fmt.Errorf("cover a token: %w", err)
	}
	return nil
}

// Covered records what a committed Cover has stored.
func (k *Keyring) Covered(kind Kind, kid string, exp time.Time) {
	need := roundUp(exp)
	behind := func() bool {
		e := k.current.Load().rings[kind].byID[kid]
		return e != nil && e.LastExp.Before(need)
	}
	if !behind() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if behind() {
		k.replace(kind, k.current.Load().rings[kind].covering(kid, need), 0)
	}
}

// roundUp adds between one and two hours. The spare hour outlasts every tolerance for expired tokens, the full hour
// saves writes.
func roundUp(exp time.Time) time.Time { return exp.Add(2 * time.Hour).Truncate(time.Hour) }

// replace publishes a new ring; k.mu is held. epochs is 1 when a secret was added or removed.
func (k *Keyring) replace(kind Kind, r ring, epochs uint64) {
	old := k.current.Load()
	next := &snapshot{epoch: old.epoch + epochs, rings: make(map[Kind]ring, len(kinds))}
	for name, ring := range old.rings {
		next.rings[name] = ring
	}
	next.rings[kind] = r
	k.current.Store(next)
}

// State says what a secret is used for.
type State string

// The states.
const (
	Coming    State = "coming" // published, and about to sign
	Signing   State = "signing"
	Verifying State = "verifying"
	Expired   State = "expired" // kept until the next rotation
)

// Status describes a secret without revealing it. Times are zero when they do not apply.
type Status struct {
	Kind    Kind      `json:"kind"`
	ID      string    `json:"kid"`
	State   State     `json:"state"`
	Created time.Time `json:"created"`
	From    time.Time `json:"from,omitzero"`     // when it begins to sign
	Retired time.Time `json:"retired,omitzero"`  // when it stops signing
	LastExp time.Time `json:"last_exp,omitzero"` // no token that it signed is valid later
	Until   time.Time `json:"until,omitzero"`    // when it stops verifying
}

// List describes all secrets, by kind, the newest first.
func (k *Keyring) List() []Status {
	now, current := k.options.Now(), k.current.Load()
	var list []Status
	for _, kind := range kinds {
		r := current.rings[kind]
		signs := r.signing(k.options.Now)
		for _, e := range r.entries {
			s := Status{Kind: kind, ID: e.ID, State: Verifying, Created: e.Created, From: e.From, Retired: e.Retired, LastExp: e.LastExp}
			if !e.Retired.IsZero() {
				s.Until = e.until(k.grace(kind))
			}
			switch {
			case e == signs:
				s.State = Signing
			case e.From.After(now):
				s.State = Coming
			case !e.usable(now, k.grace(kind)):
				s.State = Expired
			}
			list = append(list, s)
		}
	}
	return list
}

func known(kind Kind) bool { return slices.Contains(kinds, kind) }
