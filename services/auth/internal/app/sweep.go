package app

import (
	"context"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Used challenges and dead families are deleted in small transactions, so that no login waits long for one.
const (
	sweepInterval = time.Minute
	sweepBatch    = 500
)

// sweep deletes what has expired until ctx ends.
func (a *App) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	cursor := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := a.records.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.SweepChallenges(a.now(), sweepBatch)
			return err
		})
		if err == nil {
			next := cursor
			err = a.records.Update(ctx, func(tx *store.Tx) (err error) {
				_, next, err = tx.SweepFamilies(a.now(), cursor, sweepBatch)
				return err
			})
			cursor = next
		}
		if err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "expired records could not be deleted, trying again later", "error", err)
		}
	}
}
