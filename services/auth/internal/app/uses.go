package app

import (
	"context"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// saveUses stores when sessions were last used, once a minute until ctx ends and then once more. The gate itself
// writes nothing.
func (a *Service) saveUses(ctx context.Context) {
	tick := time.NewTicker(store.SaveUsesEvery)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-tick.C:
		case <-a.records.SaveDue():
		}
		if err := a.records.SaveUses(context.WithoutCancel(ctx)); err != nil {
			a.log.WarnContext(ctx, "when sessions were used could not be saved, trying again later", "error", err)
		}
	}
}
