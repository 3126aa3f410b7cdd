package secret

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

// The errors of secrets that come from outside.
var (
	ErrUnfit = errors.New("this cannot be a signing secret")
	ErrTaken = errors.New("another secret has this kid")
)

// Exported is a secret with all that is known of it. It holds the secret itself: it is for sealed files only.
type Exported struct {
	Kind    Kind   `json:"kind"`
	ID      string `json:"kid"`
	Secret  []byte `json:"secret"`
	Created int64  `json:"created"` // these are Unix seconds, 0 for none
	From    int64  `json:"from,omitempty"`
	Retired int64  `json:"retired,omitempty"`
	LastExp int64  `json:"last_exp,omitempty"`
}

// Export returns all secrets, by kind, the newest first.
func (k *Keyring) Export() []Exported {
	var list []Exported
	for _, kind := range kinds {
		for _, e := range k.current.Load().rings[kind].entries {
			list = append(list, Exported{
				Kind: kind, ID: e.ID, Secret: e.Secret, Created: seconds(e.Created), From: seconds(e.From), Retired: seconds(e.Retired), LastExp: seconds(e.LastExp),
			})
		}
	}
	return list
}

// Addition is a secret to add to those of its kind.
type Addition struct {
	Kind   Kind
	ID     string
	Secret []byte
	Until  time.Time // verifies until then at least; not needed for one that signs
	Signs  bool      // signs from now on; the one that does is retired
}

// Import adds secrets, all or none, and returns how many were not there yet. One that is there already only
// verifies for longer, if need be. ErrUnfit says that a secret is malformed or known to everybody, ErrTaken that its
// kid belongs to another one.
func (k *Keyring) Import(ctx context.Context, list ...Addition) (added int, err error) {
	for _, a := range list {
		if err := a.check(); err != nil {
			return 0, fmt.Errorf("import the %s secret %s: %w", a.Kind, a.ID, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var next map[Kind]ring
	var written []audit.Event
	err = k.db.Update(ctx, func(tx kv.Tx) error {
		var events []audit.Event
		added, next = 0, make(map[Kind]ring)
		for _, a := range list {
			r, changed := next[a.Kind]
			if !changed {
				if r, err = k.read(tx, a.Kind); err != nil {
					return err
				}
			}
			r, isNew, err := r.with(a, k.options.Now())
			if err != nil {
				return fmt.Errorf("the %s secret %s: %w", a.Kind, a.ID, err)
			}
			if isNew {
				added++
				events = append(events, audit.Event{
					Time: k.options.Now(), Action: audit.SecretImported, Actor: audit.ByHost, Subject: string(a.Kind), Detail: a.detail(),
				})
			}
			next[a.Kind] = r
		}
		for kind, r := range next {
			if kind == JWKS && len(r.entries) > maxPublished {
				return ErrTooMany
			}
			if err := write(tx, kind, r); err != nil {
				return err
			}
		}
		written, err = k.options.Audit.Append(tx, events...)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("import secrets: %w", err)
	}
	for kind, r := range next {
		k.replace(kind, r, 1)
	}
	k.options.Audit.Committed(written...)
	k.options.Log.InfoContext(ctx, "secrets imported", "added", added)
	return added, nil
}

// detail describes the addition for the audit.
func (a Addition) detail() string {
	if a.Signs {
		return "kid " + a.ID + ", signs from now on"
	}
	return "kid " + a.ID
}

func (a Addition) check() error {
	switch {
	case !known(a.Kind):
		return fmt.Errorf("%w %q", ErrKind, a.Kind)
	case !validID.MatchString(a.ID):
		return fmt.Errorf("%w: a kid has 1 to 64 letters, digits, - and _", ErrUnfit)
	case len(a.Secret) != Size:
		return fmt.Errorf("%w: it has %d bytes, want %d", ErrUnfit, len(a.Secret), Size)
	case seal.Published(a.Secret):
		return fmt.Errorf("%w: it is published or not random", ErrUnfit)
	case a.Kind == JWKS && publishedID(a.Secret) != a.ID:
		return fmt.Errorf("%w: its kid is %s", ErrUnfit, publishedID(a.Secret))
	}
	return nil
}

// with returns the ring with one more secret.
func (r ring) with(a Addition, now time.Time) (ring, bool, error) {
	now = now.Truncate(time.Second)
	fresh := &entry{ID: a.ID, Secret: a.Secret, Created: now, LastExp: a.Until}
	if old := r.byID[a.ID]; old != nil {
		if string(old.Secret) != string(a.Secret) {
			return ring{}, false, ErrTaken
		}
		if !a.Signs {
			if old.LastExp.Before(a.Until) {
				return r.covering(a.ID, a.Until), false, nil
			}
			return r, false, nil
		}
		fresh.Created, fresh.LastExp = old.Created, later(old.LastExp, a.Until)
	}
	var entries []*entry
	if a.Signs {
		entries = append(entries, fresh)
	}
	for i, e := range r.entries {
		if e.ID == a.ID {
			continue
		}
		if a.Signs && i == 0 && e.Retired.IsZero() {
			retired := *e
			retired.Retired = now
			e = &retired
		}
		entries = append(entries, e)
	}
	if !a.Signs {
		fresh.Retired = now
		entries = append(entries, fresh)
	}
	return newRing(r.sealer, r.rev+1, entries), r.byID[a.ID] == nil, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Rewrap seals all secrets under another master key, in one transaction. Afterwards the store opens with the new
// one alone. Nothing else changes: no token is affected.
func (k *Keyring) Rewrap(ctx context.Context, next *seal.Sealer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.sealers.Load().current
	// Both stay open after a failure, too: a commit can have happened although it was reported as failed.
	k.sealers.Store(&sealers{current: old, next: next})
	var rings map[Kind]ring
	var written []audit.Event
	err := k.db.Update(ctx, func(tx kv.Tx) error {
		rings = make(map[Kind]ring, len(kinds))
		for _, kind := range kinds {
			r, err := k.read(tx, kind)
			if err != nil {
				return err
			}
			rings[kind] = newRing(next, r.rev+1, r.entries)
			if err := write(tx, kind, rings[kind]); err != nil {
				return err
			}
		}
		var err error
		written, err = k.options.Audit.Append(tx, audit.Event{Time: k.options.Now(), Action: audit.MasterChanged, Actor: audit.ByHost})
		return err
	})
	if err != nil {
		return fmt.Errorf("seal the secrets under another master key: %w", err)
	}
	k.sealers.Store(&sealers{current: next})
	k.current.Store(&snapshot{epoch: k.current.Load().epoch, rings: rings})
	k.options.Audit.Committed(written...)
	k.options.Log.InfoContext(ctx, "the secrets are sealed under a new master key")
	return nil
}

// Reset overwrites all secrets of a store, readable or not, in one transaction: with those of an export, and with
// new ones for the kinds that the export lacks. With new ones every token of the kind is void. It is for a store
// whose master key is lost, and the only way to make secrets in a store that is in use.
func Reset(ctx context.Context, db kv.DB, sealer *seal.Sealer, now time.Time, from []Exported) error {
	rings := make(map[Kind]ring, len(kinds))
	rev := uint64(now.Unix()) //nolint:gosec // above every revision that counting can reach
	for _, kind := range kinds {
		var c content
		for _, e := range from {
			if e.Kind != kind {
				continue
			}
			if err := (Addition{Kind: kind, ID: e.ID, Secret: e.Secret}).check(); err != nil {
				return fmt.Errorf("reset the secrets: %s secret %s: %w", kind, e.ID, err)
			}
			c.Keys = append(c.Keys, contentKey{e.ID, e.Secret, e.Created, e.From, e.Retired, e.LastExp})
		}
		c.Rev = rev
		r := newRing(sealer, rev, []*entry{newEntry(kind, now)})
		if len(c.Keys) > 0 {
			var err error
			if r, err = c.ring(kind, sealer); err != nil {
				return fmt.Errorf("reset the secrets: kind %s: %w", kind, err)
			}
		}
		rings[kind] = r
	}
	return db.Update(ctx, func(tx kv.Tx) error {
		for kind, r := range rings {
			if err := write(tx, kind, r); err != nil {
				return err
			}
		}
		_, err := audit.New(db).Append(tx, audit.Event{
			Time: now, Action: audit.SecretsReset, Actor: audit.ByHost, Detail: fmt.Sprintf("%d secrets of an export are used", len(from)),
		})
		return err
	})
}
