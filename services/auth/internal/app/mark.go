package app

import (
	"context"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// markStart notices that an old copy of the store was put back, and counts the start. What was revoked since the copy was
// made is good again: only people know what that was, so they are told, loudly and in the audit. Challenges are ended here,
// because those that were used since would be good once more.
func (a *Service) markStart(ctx context.Context) error {
	mark := a.operate.Mark
	if mark == nil {
		return nil
	}
	counts, err := mark.Counts(ctx)
	if err != nil {
		a.log.WarnContext(ctx, "whether an old copy of the store was put back cannot be told", "error", err)
	}
	var noticed time.Time
	if behind := counts.Behind(); behind > 0 {
		if counts.Store == 0 && !a.anyRootEver(ctx) {
			a.log.InfoContext(ctx, "the store is new, and its key directory has served another one before", "file", mark.File)
		} else {
			noticed = a.now()
			if err := a.storePutBack(ctx, behind, noticed); err != nil {
				return err
			}
		}
	}
	if err := mark.Raise(ctx, noticed); err != nil {
		a.log.WarnContext(ctx, "the mark of the store cannot be kept beside the master key: an old copy put back would go unnoticed", "error", err)
		return nil
	}
	a.marking = true
	a.records.Revoked = mark.Revoked
	return nil
}

func (a *Service) storePutBack(ctx context.Context, behind uint64, now time.Time) error {
	a.log.ErrorContext(ctx, "an old copy of the store was put back: keys and sessions that were revoked since it was made are good again",
		"behind", behind, "what_to_do", a.name+" secrets rotate --kind access,refresh --now, then revoke the keys again; docs/recipes.md, Restore a backup")
	if err := a.secrets.Rotate(ctx, secret.Challenge, true); err != nil {
		return err
	}
	return a.records.Audit.Record(ctx, audit.Event{
		Time: now, Action: audit.StorePutBack, Actor: audit.BySystem,
		Detail: "an old copy was found at the start; login challenges were ended, what was revoked since is good again",
	})
}

// anyRootEver is true, too, when it cannot be told.
func (a *Service) anyRootEver(ctx context.Context) bool {
	ever := true
	if err := a.records.View(ctx, func(tx *store.Tx) error {
		ever = tx.AnyRootEver()
		return nil
	}); err != nil {
		return true
	}
	return ever
}
