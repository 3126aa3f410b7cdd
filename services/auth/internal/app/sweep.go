package app

import (
	"context"
	"fmt"
	"time"
)

// Each tick sweeps all used challenges, of which there are few, and a slice of the families: their ids are random
// hex, so the two-digit prefixes cut them into 256 equal slices.
const (
	sweepInterval = 15 * time.Second
	familySlices  = 256
)

// sweep deletes what has expired until ctx ends.
func (a *Service) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for slice := 0; ; slice = (slice + 1) % familySlices {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := a.sweepSlice(ctx, slice); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "expired records could not be deleted, trying again later", "error", err)
		}
	}
}

// sweepSlice sweeps the challenges and one slice of the families. With a leeway tokens outlive their exp, and a
// family must outlive its tokens: without it they would count as revoked.
func (a *Service) sweepSlice(ctx context.Context, slice int) error {
	now := a.now()
	if _, err := a.records.SweepChallenges(ctx, now); err != nil {
		return err
	}
	_, err := a.records.SweepFamilies(ctx, now.Add(-a.cfg.JWT.Leeway), fmt.Sprintf("%02x", slice))
	return err
}
