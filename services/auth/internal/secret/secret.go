// Package secret keeps the secrets that sign tokens: several for each kind of token, sealed at rest, rotated.
//
// The newest secret of a kind signs. A retired one still verifies until the grace period is over and until the
// last token that it signed has expired, whichever is later, so a rotation logs nobody out. The record of a kind
// is stored twice; a damaged one is repaired from the other, and when both are damaged the service does not
// start: new secrets made in silence would log everybody out and hide that somebody was there.
package secret

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

// Kind is what a secret signs. A secret of one kind never verifies another.
type Kind string

// The kinds of secret.
const (
	Access    Kind = "access"
	Refresh   Kind = "refresh"
	Challenge Kind = "challenge"
	CSRF      Kind = "csrf" // the state of the login page
)

// recordName is the key of a kind's record in the bucket "system" behind "secrets:"; the second copy has the
// suffix "_backup".
var recordName = map[Kind]string{Access: "jwt_access", Refresh: "jwt_refresh", Challenge: "jwt_challenge", CSRF: "csrf"}

const (
	bucket       = "system"
	backupSuffix = "_backup"
	secretSize   = 32 // bytes
	schema       = 1
)

// The errors of the package; match them with errors.Is.
var (
	ErrDamaged = errors.New("the signing secrets are damaged or missing")
	ErrGone    = errors.New("the signing secret was withdrawn")
)

// Key is a secret with the kid that tokens name it by.
type Key struct {
	ID     string
	Secret []byte
}

// Options configure a Keyring. All fields are required.
type Options struct {
	Now      func() time.Time
	Rotation time.Duration // age at which a signing secret is replaced
	Grace    time.Duration // how long a retired secret verifies at least
	Log      *slog.Logger
}

// Keyring holds the secrets of all kinds. It is safe for concurrent use; reading takes no lock.
type Keyring struct {
	db     kv.DB
	sealer *seal.Sealer
	opt    Options

	mu    sync.Mutex // held while the ring changes
	rings map[Kind]*atomic.Pointer[ring]
	epoch atomic.Uint64
}

// ring is the secrets of one kind, oldest first; the last one signs. It is immutable but for the covered times.
type ring struct {
	keys []*held
	byID map[string]*held
}

// held is a secret in memory.
type held struct {
	stored
	covered atomic.Int64 // Unix seconds up to which the stored record keeps the secret verifiable
}

// stored is a secret as it is sealed.
type stored struct {
	ID      string `json:"kid"`
	Secret  []byte `json:"secret"`
	Created int64  `json:"created"`           // Unix seconds
	Retired int64  `json:"retired,omitempty"` // Unix seconds, 0 while it signs
	LastExp int64  `json:"last_exp,omitempty"`
}

type record struct {
	V    int      `json:"v"`
	Kind Kind     `json:"kind"`
	Keys []stored `json:"keys"`
}

// until is the last second at which the secret verifies, given the last expiry that it signed.
func (s stored) until(covered int64, grace time.Duration) int64 {
	return max(s.Retired+int64(grace/time.Second), covered)
}

// Open loads the secrets of the store, repairing what can be repaired. It makes new ones only for a store that
// has neither secrets nor keys.
func Open(ctx context.Context, db kv.DB, sealer *seal.Sealer, opt Options) (*Keyring, error) {
	k := &Keyring{db: db, sealer: sealer, opt: opt, rings: make(map[Kind]*atomic.Pointer[ring], len(recordName))}
	for kind := range recordName {
		k.rings[kind] = new(atomic.Pointer[ring])
	}
	var loaded map[Kind]record
	var repaired []Kind
	err := db.Update(ctx, func(tx kv.Tx) (err error) {
		loaded, repaired = make(map[Kind]record, len(recordName)), nil
		if unused(tx) {
			return k.generate(tx, loaded)
		}
		for kind := range recordName {
			rec, intact, err := k.read(tx, kind)
			if err != nil {
				return err
			}
			if !intact {
				repaired = append(repaired, kind)
				if err := k.write(tx, rec); err != nil {
					return err
				}
			}
			loaded[kind] = rec
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open the signing secrets: %w", err)
	}
	for _, kind := range repaired {
		opt.Log.ErrorContext(ctx, "a record of signing secrets was damaged and is repaired from its copy: check the disk", "kind", kind)
	}
	for kind, rec := range loaded {
		k.publish(kind, rec)
	}
	return k, nil
}

// unused reports whether the store holds neither secrets nor anything that depends on them.
func unused(tx kv.Tx) bool {
	for range tx.Scan(bucket, seal.SealedPrefix) {
		return false
	}
	for _, b := range []string{"root", "client", "family"} {
		for range tx.Scan(b, "") {
			return false
		}
	}
	return true
}

func (k *Keyring) generate(tx kv.Tx, into map[Kind]record) error {
	for kind := range recordName {
		rec := record{V: schema, Kind: kind, Keys: []stored{k.fresh()}}
		if err := k.write(tx, rec); err != nil {
			return err
		}
		into[kind] = rec
	}
	return nil
}

func (k *Keyring) fresh() stored {
	id, value := make([]byte, 8), make([]byte, secretSize)
	_, _ = rand.Read(id) // crypto/rand never fails (it crashes the program instead)
	_, _ = rand.Read(value)
	return stored{ID: hex.EncodeToString(id), Secret: value, Created: k.opt.Now().Unix()}
}

func placeOf(kind Kind, suffix string) seal.Place {
	return seal.Place{Bucket: bucket, Key: seal.SealedPrefix + recordName[kind] + suffix, Kind: string(kind)}
}

// read returns the record of a kind from the first copy that opens; intact says that both do.
func (k *Keyring) read(tx kv.Tx, kind Kind) (rec record, intact bool, err error) {
	primary, err := k.readCopy(tx, placeOf(kind, ""))
	if err != nil && !errors.Is(err, ErrDamaged) {
		return record{}, false, err
	}
	backup, backupErr := k.readCopy(tx, placeOf(kind, backupSuffix))
	switch {
	case err == nil && backupErr == nil:
		return primary, true, nil
	case err == nil && errors.Is(backupErr, ErrDamaged):
		return primary, false, nil
	case backupErr == nil:
		return backup, false, nil
	}
	return record{}, false, fmt.Errorf("%s: %w", kind, errors.Join(err, backupErr))
}

func (k *Keyring) readCopy(tx kv.Tx, p seal.Place) (record, error) {
	var rec record
	raw, err := tx.Get(p.Bucket, p.Key)
	if errors.Is(err, kv.ErrNotFound) {
		return rec, fmt.Errorf("%s is missing: %w", p.Key, ErrDamaged)
	}
	if err != nil {
		return rec, fmt.Errorf("read %s: %w", p.Key, err)
	}
	plain, err := k.sealer.Open(p, raw)
	if err != nil {
		return rec, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := json.Unmarshal(plain, &rec); err != nil || !rec.valid(Kind(p.Kind)) {
		return rec, fmt.Errorf("%s holds no secrets: %w", p.Key, ErrDamaged)
	}
	return rec, nil
}

func (r record) valid(kind Kind) bool {
	if r.V != schema || r.Kind != kind || len(r.Keys) == 0 || r.Keys[len(r.Keys)-1].Retired != 0 {
		return false
	}
	for _, key := range r.Keys {
		if key.ID == "" || len(key.Secret) != secretSize {
			return false
		}
	}
	return true
}

// write stores both copies of a record.
func (k *Keyring) write(tx kv.Tx, rec record) error {
	plain, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode the %s secrets: %w", rec.Kind, err)
	}
	for _, suffix := range []string{"", backupSuffix} {
		p := placeOf(rec.Kind, suffix)
		sealed, err := k.sealer.Seal(p, plain)
		if err != nil {
			return err
		}
		if err := tx.Put(p.Bucket, p.Key, sealed); err != nil {
			return fmt.Errorf("write %s: %w", p.Key, err)
		}
	}
	return nil
}

// publish makes a stored record the one that signs and verifies.
func (k *Keyring) publish(kind Kind, rec record) {
	r := &ring{byID: make(map[string]*held, len(rec.Keys))}
	for _, key := range rec.Keys {
		h := &held{stored: key}
		h.covered.Store(key.LastExp)
		r.keys = append(r.keys, h)
		r.byID[key.ID] = h
	}
	k.rings[kind].Store(r)
	k.epoch.Add(1)
}

// Epoch changes whenever a secret comes or goes: what was decided with the secrets of an earlier epoch must be
// decided again.
func (k *Keyring) Epoch() uint64 { return k.epoch.Load() }

// Signing returns the secret that signs tokens of the kind now.
func (k *Keyring) Signing(kind Kind) Key {
	keys := k.rings[kind].Load().keys
	h := keys[len(keys)-1]
	return Key{ID: h.ID, Secret: h.Secret}
}

// Lookup returns the secret with that kid, if it may still verify.
func (k *Keyring) Lookup(kind Kind, kid string) ([]byte, bool) {
	p, known := k.rings[kind]
	if !known {
		return nil, false
	}
	h := p.Load().byID[kid]
	if h == nil || (h.Retired != 0 && k.opt.Now().Unix() > h.until(h.covered.Load(), k.opt.Grace)) {
		return nil, false
	}
	return h.Secret, true
}
