package secret

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// Rotate replaces the signing secret of a kind. The old one goes on verifying for the grace, and until the last
// token that it signed has expired. With atOnce it does not, nor does any older one: every token of the kind is
// void when Rotate returns. A new key of the kind JWKS begins to sign after [PublishAhead], with atOnce immediately.
// The audit names an operator on the host as the one who did it.
func (k *Keyring) Rotate(ctx context.Context, kind Kind, atOnce bool) error {
	return k.rotate(ctx, kind, atOnce, audit.ByHost)
}

func (k *Keyring) rotate(ctx context.Context, kind Kind, atOnce bool, by string) error {
	if !known(kind) {
		return fmt.Errorf("rotate: %w %q", ErrKind, kind)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var next ring
	var written []audit.Event
	err := k.db.Update(ctx, func(tx kv.Tx) error {
		stored, err := k.read(tx, kind)
		if err != nil {
			return err
		}
		next = stored.rotated(kind, k.options.Now(), k.grace(kind), atOnce)
		if kind == JWKS && len(next.entries) > maxPublished {
			return ErrTooMany
		}
		if err := write(tx, kind, next); err != nil {
			return err
		}
		event := audit.Event{Time: k.options.Now(), Action: audit.SecretRotated, Actor: by, Subject: string(kind), Detail: "kid " + next.entries[0].ID}
		if atOnce {
			event.Detail += ", all that the old ones signed is void"
		}
		written, err = k.options.Audit.Append(tx, event)
		return err
	})
	if err != nil {
		return fmt.Errorf("rotate the %s secret: %w", kind, err)
	}
	k.replace(kind, next, 1)
	k.options.Audit.Committed(written...)
	k.options.Log.InfoContext(ctx, "secret rotated", "kind", string(kind), "kid", next.entries[0].ID, "at_once", atOnce,
		"verifying", len(next.entries)-1)
	return nil
}

// RotateDue rotates every kind whose signing secret has reached its age.
func (k *Keyring) RotateDue(ctx context.Context) error {
	var errs []error
	for _, kind := range kinds {
		if k.due(kind) <= 0 {
			errs = append(errs, k.rotate(ctx, kind, false, audit.BySystem))
		}
	}
	return errors.Join(errs...)
}

// due returns how long the signing secret of a kind has to go. One from the future was made by a clock that has
// been wrong, and would not be replaced for as long.
func (k *Keyring) due(kind Kind) time.Duration {
	rotation := k.options.Rotation
	if kind == JWKS {
		rotation = max(rotation, minPublished)
	}
	age := k.options.Now().Sub(k.current.Load().rings[kind].entries[0].Created)
	if age < -rotation {
		return 0
	}
	return rotation - age
}

const (
	retryDelay = time.Minute
	maxSleep   = 15 * time.Minute // timers do not follow a clock that is set, nor a machine that slept
)

// Run rotates what is due until ctx ends and then returns nil. A rotation that fails is logged and tried again.
func (k *Keyring) Run(ctx context.Context) error {
	for {
		delay := maxSleep
		if err := k.RotateDue(ctx); err != nil && ctx.Err() == nil {
			k.options.Log.ErrorContext(ctx, "secrets are not rotated", "err", err)
			delay = retryDelay
		}
		for _, kind := range kinds {
			if due := k.due(kind); due > 0 {
				delay = min(delay, due)
			}
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
