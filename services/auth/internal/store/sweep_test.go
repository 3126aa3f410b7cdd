package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestUseChallenge_Replay(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		var won, lost atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				switch err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.UseChallenge("jti", start) }); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, store.ErrUsed):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 99 {
			t.Errorf("%d uses won and %d were refused, want 1 and 99", won.Load(), lost.Load())
		}
	})
}

// A used challenge is remembered for as long as it could be presented again, and no longer.
func TestSweepChallenges(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		update(t, s, func(tx *store.Tx) error {
			for i := range 10 {
				if err := tx.UseChallenge(fmt.Sprintf("c%d", i), start.Add(time.Duration(i)*time.Second)); err != nil {
					return err
				}
			}
			return nil
		})
		now := start.Add(5 * time.Second) // c0 to c4 have expired before it
		for i, want := range []int{5, 0} {
			if got, err := s.SweepChallenges(t.Context(), now); err != nil || got != want {
				t.Errorf("sweep %d deleted %d, %v, want %d", i, got, err, want)
			}
		}
		for i := range 10 {
			err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.UseChallenge(fmt.Sprintf("c%d", i), start) })
			if remembered := errors.Is(err, store.ErrUsed); remembered != (i >= 5) {
				t.Errorf("challenge %d of 10 is remembered: %t (%v)", i, remembered, err)
			}
		}
	})
}

func TestSweepFamilies(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		at := start.Unix()
		families := map[string]store.Family{
			"dead":         {Current: store.Generation{AccessExpiry: at - 100, RefreshExpiry: at - 1}},
			"dead-machine": {Current: store.Generation{AccessExpiry: at - 1}},
			"dead-revoked": {RevokedAt: at - 50, Current: store.Generation{AccessExpiry: at - 100, RefreshExpiry: at - 1}},
			"last-second":  {Current: store.Generation{AccessExpiry: at - 100, RefreshExpiry: at}},
			"live":         {Current: store.Generation{AccessExpiry: at - 100, RefreshExpiry: at + 1}},
			"live-machine": {Current: store.Generation{AccessExpiry: at + 1}},
			"revoked":      {RevokedAt: at, Current: store.Generation{AccessExpiry: at + 1, RefreshExpiry: at + 1}}, // still tells a reuse
		}
		update(t, s, func(tx *store.Tx) error {
			for id, f := range families {
				f.ID, f.Key = id, "key"
				if err := tx.CreateFamily(f); err != nil {
					return err
				}
			}
			return nil
		})
		live := s.FamilyCell("live")
		for _, tt := range []struct {
			prefix string
			want   int
		}{{"live", 0}, {"dead-m", 1}, {"x", 0}, {"", 2}, {"", 0}} {
			if got, err := s.SweepFamilies(t.Context(), start, tt.prefix); err != nil || got != tt.want {
				t.Errorf("the sweep of %q deleted %d, %v, want %d", tt.prefix, got, err, tt.want)
			}
		}
		if live.Epoch() != 0 {
			t.Error("the sweep moved a cell")
		}
		var left, indexed []string
		err := db.View(t.Context(), func(tx kv.Tx) error {
			for id := range tx.Scan("family", "") {
				left = append(left, id)
			}
			for id := range tx.Scan("key_families", "") {
				indexed = append(indexed, id)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"last-second", "live", "live-machine", "revoked"}; !slices.Equal(left, want) {
			t.Errorf("left: %q, want %q", left, want)
		}
		if want := []string{"key:last-second", "key:live", "key:live-machine", "key:revoked"}; !slices.Equal(indexed, want) {
			t.Errorf("indexed: %q, want %q", indexed, want)
		}
	})
}

// A family that is refreshed between the look and the deletion is not swept.
func TestSweepFamilies_RefreshedMeanwhile(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		refreshed := store.Family{ID: "f", Key: "k", Number: 2, Current: store.Generation{RefreshExpiry: start.Unix() + 100}}
		between := &refreshing{DB: db}
		s := open(t, between)
		update(t, s, func(tx *store.Tx) error {
			return tx.CreateFamily(store.Family{ID: "f", Key: "k", Number: 1, Current: store.Generation{RefreshExpiry: start.Unix() - 1}})
		})
		between.before = func() {
			update(t, open(t, db), func(tx *store.Tx) error { return tx.SaveFamily(refreshed) })
		}
		if n, err := s.SweepFamilies(t.Context(), start, ""); n != 0 || err != nil {
			t.Errorf("SweepFamilies = %d, %v, want nothing deleted", n, err)
		}
		view(t, s, func(tx *store.Tx) error {
			if f, err := tx.Family("f"); err != nil || f.Number != 2 {
				t.Errorf("Family = %+v, %v, want the refreshed one", f, err)
			}
			return nil
		})
	})
}

// refreshing does something before the next update.
type refreshing struct {
	kv.DB
	before func()
}

func (r *refreshing) Update(ctx context.Context, fn func(kv.Tx) error) error {
	if before := r.before; before != nil {
		r.before = nil
		before()
	}
	return r.DB.Update(ctx, fn)
}
