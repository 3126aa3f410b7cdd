package secret

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// coverStep is what a covered time is rounded up to, so that issuing tokens writes the record about once in a
// step and not once a token.
const coverStep = int64(time.Hour / time.Second)

// roundUp returns the end of the step that exp falls into.
func roundUp(exp time.Time) int64 { return (exp.Unix() + coverStep - 1) / coverStep * coverStep }

// Cover makes the store keep the secret verifiable until exp. Call it in the transaction that stores what the
// token stands for; then call [Keyring.Covered] when that is committed. It changes nothing in memory, so the
// transaction may run again. A secret that is not there any more is ErrGone.
func (k *Keyring) Cover(tx kv.Tx, kind Kind, kid string, exp time.Time) error {
	if h := k.rings[kind].Load().byID[kid]; h != nil && h.covered.Load() >= exp.Unix() {
		return nil
	}
	rec, _, err := k.read(tx, kind)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rec.Keys, func(s stored) bool { return s.ID == kid })
	if i < 0 {
		return fmt.Errorf("%s secret %s: %w", kind, kid, ErrGone)
	}
	if rec.Keys[i].LastExp >= exp.Unix() {
		return nil
	}
	rec.Keys[i].LastExp = roundUp(exp)
	return k.write(tx, rec)
}

// Covered notes that the transaction of [Keyring.Cover] was committed.
func (k *Keyring) Covered(kind Kind, kid string, exp time.Time) {
	until := roundUp(exp)
	if h := k.rings[kind].Load().byID[kid]; h == nil || h.covered.Load() >= until {
		return
	}
	k.mu.Lock() // a change under way publishes what it read before
	defer k.mu.Unlock()
	if h := k.rings[kind].Load().byID[kid]; h != nil {
		h.covered.Store(max(h.covered.Load(), until))
	}
}

// Rotate retires the signing secret of a kind and makes a new one.
func (k *Keyring) Rotate(ctx context.Context, kind Kind) error {
	err := k.change(ctx, kind, func(rec *record) {
		rec.Keys[len(rec.Keys)-1].Retired = k.opt.Now().Unix()
		rec.Keys = append(rec.Keys, k.fresh())
	})
	if err == nil {
		k.opt.Log.InfoContext(ctx, "signing secret rotated", "kind", kind, "kid", k.Signing(kind).ID)
	}
	return err
}

// change edits the record of a kind, drops what verifies nothing any more, and publishes the result.
func (k *Keyring) change(ctx context.Context, kind Kind, edit func(*record)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var rec record
	err := k.db.Update(ctx, func(tx kv.Tx) (err error) {
		if rec, _, err = k.read(tx, kind); err != nil {
			return err
		}
		edit(&rec)
		now := k.opt.Now().Unix()
		rec.Keys = slices.DeleteFunc(rec.Keys, func(s stored) bool {
			return s.Retired != 0 && now > s.until(s.LastExp, k.opt.Grace)
		})
		return k.write(tx, rec)
	})
	if err != nil {
		return fmt.Errorf("change the %s secrets: %w", kind, err)
	}
	k.publish(kind, rec)
	return nil
}

// RotateDue rotates the kinds whose signing secret is old enough and drops what verifies nothing any more.
func (k *Keyring) RotateDue(ctx context.Context) error {
	now := k.opt.Now().Unix()
	for kind, p := range k.rings {
		keys := p.Load().keys
		signing := keys[len(keys)-1]
		stale := slices.ContainsFunc(keys, func(h *held) bool {
			return h.Retired != 0 && now > h.until(h.covered.Load(), k.opt.Grace)
		})
		var err error
		switch {
		case now >= signing.Created+int64(k.opt.Rotation/time.Second):
			err = k.Rotate(ctx, kind)
		case stale:
			err = k.change(ctx, kind, func(*record) {})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkInterval is how often [Keyring.Run] looks whether something is due.
const checkInterval = time.Minute

// Run rotates what is due until ctx ends. A rotation that fails is tried again; the secrets in use stay.
func (k *Keyring) Run(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		if err := k.RotateDue(ctx); err != nil && ctx.Err() == nil {
			k.opt.Log.ErrorContext(ctx, "signing secrets could not be rotated, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
