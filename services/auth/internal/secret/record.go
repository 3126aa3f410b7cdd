package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

// The records are system:secrets:{kind} and system:secrets:{kind}_backup, that is the bucket system and the key
// secrets:{kind}. Both hold the same ring, each sealed for its own place:
//
//	{"v":1,"sealed":"s1...."}  over  {"rev":7,"keys":[{"kid":…,"secret":…,"created":…,"from":…,"retired":…,"last_exp":…}]}
//
// with times in Unix seconds, absent or 0 for none.
const (
	bucket        = "system"
	keyPrefix     = "secrets:"
	backupSuffix  = "_backup"
	recordVersion = 1
)

type record struct {
	V      int    `json:"v"`
	Sealed string `json:"sealed"`
}

type content struct {
	Rev  uint64       `json:"rev"`
	Keys []contentKey `json:"keys"`
}

type contentKey struct {
	ID      string `json:"kid"`
	Secret  []byte `json:"secret"`
	Created int64  `json:"created"`
	From    int64  `json:"from,omitempty"`
	Retired int64  `json:"retired,omitempty"`
	LastExp int64  `json:"last_exp,omitempty"`
}

// validID accepts what fits a token's kid; imported secrets may have other ids than ours.
var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func place(kind Kind, suffix string) seal.Place {
	return seal.Place{Key: bucket + ":" + keyPrefix + string(kind) + suffix, Kind: string(kind), Version: recordVersion}
}

func write(tx kv.Tx, kind Kind, r ring) error {
	c := content{Rev: r.rev}
	for _, e := range r.entries {
		c.Keys = append(c.Keys, contentKey{e.ID, e.Secret, seconds(e.Created), seconds(e.From), seconds(e.Retired), seconds(e.LastExp)})
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return err
	}
	for _, suffix := range []string{"", backupSuffix} {
		b, err := json.Marshal(record{V: recordVersion, Sealed: r.sealer.Seal(place(kind, suffix), plain)})
		if err != nil {
			return err
		}
		if err := tx.Put(bucket, keyPrefix+string(kind)+suffix, b); err != nil {
			return err
		}
	}
	return nil
}

// read returns the ring of a kind from the record, or from its backup.
func (k *Keyring) read(tx kv.Tx, kind Kind) (ring, error) {
	c := k.readCopies(tx, kind)
	return c.ring, c.err()
}

// copies is what the two records of a kind say.
type copies struct {
	kind            Kind
	ring            ring
	primary, backup error // why a copy cannot be used
}

// err is nil when there is a ring.
func (c copies) err() error {
	if c.primary == nil || c.backup == nil {
		return nil
	}
	name := place(c.kind, "").Key
	if c.absent() {
		return fmt.Errorf("%s: %w", name, ErrMissing)
	}
	return fmt.Errorf("%s: %w; %s%s: %w", name, c.primary, name, backupSuffix, c.backup)
}

func (c copies) absent() bool {
	return errors.Is(c.primary, kv.ErrNotFound) && errors.Is(c.backup, kv.ErrNotFound)
}

// predates reports that the store was made before there were keys of the kind JWKS. They alone are made anew when
// both copies are absent: nothing depends on an old one for longer than a minute, and nodes read the new one by
// themselves.
func (c copies) predates() bool { return c.kind == JWKS && c.absent() }

// damaged reports that one of the copies has to be written again.
func (c copies) damaged() bool { return c.err() == nil && (c.primary != nil || c.backup != nil) }

var errOlder = errors.New("it is older than the other copy")

func (k *Keyring) readCopies(tx kv.Tx, kind Kind) copies {
	c := copies{kind: kind}
	var backup ring
	c.ring, c.primary = k.readRecord(tx, kind, "")
	backup, c.backup = k.readRecord(tx, kind, backupSuffix)
	switch {
	case c.primary != nil:
		c.ring = backup
	case c.backup != nil:
	case backup.rev > c.ring.rev: // both are sealed for their place, so one was put back
		c.ring, c.primary = backup, errOlder
	case backup.rev < c.ring.rev:
		c.backup = errOlder
	}
	return c
}

func (k *Keyring) readRecord(tx kv.Tx, kind Kind, suffix string) (ring, error) {
	b, err := tx.Get(bucket, keyPrefix+string(kind)+suffix)
	if err != nil {
		return ring{}, err
	}
	var rec record
	if err := json.Unmarshal(b, &rec); err != nil {
		return ring{}, fmt.Errorf("%w: it is no JSON", seal.ErrCorrupt)
	}
	if rec.V != recordVersion {
		return ring{}, fmt.Errorf("%w: unknown version %d", seal.ErrCorrupt, rec.V)
	}
	s := k.sealers.Load()
	sealer := s.current
	plain, err := sealer.Open(place(kind, suffix), rec.Sealed)
	if errors.Is(err, seal.ErrWrongMaster) && s.next != nil {
		sealer = s.next
		plain, err = sealer.Open(place(kind, suffix), rec.Sealed)
	}
	if err != nil {
		return ring{}, err
	}
	var c content
	if err := json.Unmarshal(plain, &c); err != nil {
		return ring{}, fmt.Errorf("%w: its content is no JSON", seal.ErrCorrupt)
	}
	return c.ring(kind, sealer)
}

func (c content) ring(kind Kind, sealer *seal.Sealer) (ring, error) {
	var entries []*entry
	for _, k := range c.Keys {
		if len(k.Secret) != Size || !validID.MatchString(k.ID) || kind == JWKS && publishedID(k.Secret) != k.ID {
			return ring{}, fmt.Errorf("%w: secret %d is malformed", seal.ErrCorrupt, len(entries))
		}
		entries = append(entries, &entry{k.ID, k.Secret, moment(k.Created), moment(k.From), moment(k.Retired), moment(k.LastExp)})
	}
	r := newRing(sealer, c.Rev, entries)
	if len(entries) == 0 || len(r.byID) != len(entries) || !entries[0].Retired.IsZero() {
		return ring{}, fmt.Errorf("%w: it has no secret that signs, or an id twice", seal.ErrCorrupt)
	}
	return r, nil
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func moment(unix int64) time.Time {
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0)
}

// load reads all rings, repairs damaged copies, and makes the secrets of a fresh store.
func (k *Keyring) load(ctx context.Context) (map[Kind]ring, error) {
	var found []copies
	var isFresh bool
	err := k.db.View(ctx, func(tx kv.Tx) error {
		found, isFresh = nil, fresh(tx)
		for _, kind := range kinds {
			found = append(found, k.readCopies(tx, kind))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if isFresh {
		return k.create(ctx)
	}
	isOlder := slices.ContainsFunc(found, copies.predates)
	found = slices.DeleteFunc(found, copies.predates)
	if err := judge(found); err != nil {
		return nil, err
	}
	rings := make(map[Kind]ring, len(kinds))
	if isOlder {
		if rings[JWKS], err = k.createPublished(ctx); err != nil {
			return nil, err
		}
	}
	for _, c := range found {
		rings[c.kind] = c.ring
		if c.damaged() {
			k.repair(ctx, c)
		}
	}
	return rings, nil
}

// judge returns nil when every kind has a ring. The master key is wrong only if nothing at all opens with it: a
// damaged record can look the same.
func judge(found []copies) error {
	var problems []error
	opened, otherMaster := false, false
	for _, c := range found {
		if err := c.err(); err != nil {
			problems = append(problems, err)
			otherMaster = otherMaster || errors.Is(err, seal.ErrWrongMaster)
			continue
		}
		opened = true
	}
	switch {
	case len(problems) == 0:
		return nil
	case otherMaster && !opened:
		return seal.ErrWrongMaster
	}
	for i, err := range problems {
		if errors.Is(err, seal.ErrWrongMaster) { // it is the right one, so the record is damaged
			problems[i] = fmt.Errorf("%w: %v", seal.ErrCorrupt, err) //nolint:errorlint // must not match ErrWrongMaster
		}
	}
	return errors.Join(problems...)
}

// repair writes both copies again. When that fails the ring is still good, and the next rotation tries anew.
func (k *Keyring) repair(ctx context.Context, c copies) {
	name, reason := place(c.kind, "").Key, c.primary
	if reason == nil {
		name, reason = place(c.kind, backupSuffix).Key, c.backup
	}
	log := k.options.Log.With("record", name, "damage", reason)
	err := k.db.Update(ctx, func(tx kv.Tx) error {
		r, err := k.read(tx, c.kind)
		if err != nil {
			return err
		}
		return write(tx, c.kind, r)
	})
	if err != nil {
		log.ErrorContext(ctx, "a record of secrets is damaged, its other copy is used, and the repair failed", "err", err)
		return
	}
	log.ErrorContext(ctx, "a record of secrets was damaged and is restored from its other copy: check the disk, and who can write to it")
}

// create makes the first secrets of all kinds.
func (k *Keyring) create(ctx context.Context) (map[Kind]ring, error) {
	var rings map[Kind]ring
	err := k.db.Update(ctx, func(tx kv.Tx) error {
		if !fresh(tx) {
			return ErrMissing
		}
		rings = make(map[Kind]ring, len(kinds))
		for _, kind := range kinds {
			rings[kind] = newRing(k.sealers.Load().current, 1, []*entry{newEntry(kind, k.options.Now())})
			if err := write(tx, kind, rings[kind]); err != nil {
				return err
			}
		}
		return nil
	})
	return rings, err
}

// createPublished makes the first keys of the kind JWKS in a store that holds the others.
func (k *Keyring) createPublished(ctx context.Context) (ring, error) {
	r := newRing(k.sealers.Load().current, 1, []*entry{newEntry(JWKS, k.options.Now())})
	err := k.db.Update(ctx, func(tx kv.Tx) error { return write(tx, JWKS, r) })
	if err == nil {
		k.options.Log.InfoContext(ctx, "a key for assertions was made", "kid", r.entries[0].ID)
	}
	return r, err
}

// usedBuckets are the buckets whose records cannot exist without secrets.
var usedBuckets = []string{"root", "client", "root_clients", "permissions", "account", "family", "challenge"}

// Fresh reports whether the store holds no secret and nothing that depends on one. Only then secrets, and a master
// key for them, may be made.
func Fresh(ctx context.Context, db kv.DB) (isFresh bool, err error) {
	err = db.View(ctx, func(tx kv.Tx) error {
		isFresh = fresh(tx)
		return nil
	})
	return isFresh, err
}

func fresh(tx kv.Tx) bool {
	for range tx.Scan(bucket, keyPrefix) {
		return false
	}
	for _, used := range usedBuckets {
		for range tx.Scan(used, "") {
			return false
		}
	}
	return true
}
