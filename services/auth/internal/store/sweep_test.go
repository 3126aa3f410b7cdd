package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func TestUseChallenge_Replay(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		var won, lost atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				switch err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.UseChallenge("jti", start, start) }); {
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
				if err := tx.UseChallenge(fmt.Sprintf("c%d", i), start.Add(time.Duration(i)*time.Second), start); err != nil {
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
			err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.UseChallenge(fmt.Sprintf("c%d", i), now.Add(time.Minute), now) })
			if remembered := errors.Is(err, store.ErrUsed); remembered != (i >= 5) {
				t.Errorf("challenge %d of 10 is remembered: %t (%v)", i, remembered, err)
			}
		}
	})
}

// A clock that runs ahead lets a sweep forget challenges that are good again when it is set back: they stay refused.
func TestSweepChallenges_ClockSetBack(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		s := open(t, db)
		use := func(id string, issued, now time.Time) error {
			return s.Update(t.Context(), func(tx *store.Tx) error { return tx.UseChallenge(id, issued.Add(5*time.Minute), now) })
		}
		if err := use("first", start, start); err != nil {
			t.Fatal(err)
		}
		for i, ahead := range []time.Duration{time.Hour, 74 * 365 * 24 * time.Hour} { // and the year 2100
			fresh := start.Add(time.Duration(i+2) * time.Second)
			if _, err := s.SweepChallenges(t.Context(), start.Add(ahead)); err != nil {
				t.Fatal(err)
			}
			s = open(t, db) // as after a restart
			if err := use("first", start, start.Add(time.Second)); !errors.Is(err, store.ErrClock) {
				t.Errorf("%v ahead and back: the second use is %v, want ErrClock", ahead, err)
			}
			if err := use(fmt.Sprint("fresh", i), fresh, fresh); err != nil {
				t.Errorf("%v ahead and back: a new challenge is %v", ahead, err)
			}
		}
		// A login while the clock showed another century does not keep everybody out until then.
		later := start.Add(74 * 365 * 24 * time.Hour)
		if err := use("far", later, later); err != nil {
			t.Fatal(err)
		}
		if _, err := s.SweepChallenges(t.Context(), later.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := use("third", start.Add(time.Minute), start.Add(time.Minute)); err != nil {
			t.Errorf("after a login in another century: %v", err)
		}
		if err := use("far", later, later.Add(time.Second)); !errors.Is(err, store.ErrClock) {
			t.Errorf("in the other century: %v, want ErrClock", err)
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

// batches records how many records each transaction of a sweep deletes.
type batches struct {
	kv.DB
	largest atomic.Int64
	count   atomic.Int64
}

type deletes struct {
	kv.Tx
	n int64
}

func (d *deletes) Put(bucket, key string, value []byte) error {
	if value == nil {
		d.n++
	}
	return d.Tx.Put(bucket, key, value)
}

func (b *batches) Update(ctx context.Context, fn func(kv.Tx) error) error {
	return b.DB.Update(ctx, func(tx kv.Tx) error {
		d := &deletes{Tx: tx}
		err := fn(d)
		if d.n > 0 {
			b.count.Add(1)
			b.largest.Store(max(b.largest.Load(), d.n)) // updates run one after the other
		}
		return err
	})
}

// A sweep of many records never keeps anybody waiting for more than a small transaction, and takes the dead alone while
// others write, use challenges and refresh.
func TestSweep_ManyRecordsBesideWriters(t *testing.T) {
	onEachBackend(t, func(t *testing.T, db kv.DB) {
		counted := &batches{DB: db}
		s := open(t, counted)
		const dead, alive, each = 1500, 500, 3 // records of a family
		at := start.Unix()
		family := func(i int, exp int64) store.Family {
			return store.Family{ID: fmt.Sprintf("%02x-%d", i%256, i), Key: "k", Current: store.Generation{RefreshExpiry: exp}}
		}
		for first := 0; first < dead+alive; first += 500 {
			update(t, s, func(tx *store.Tx) error {
				for i := first; i < first+500; i++ {
					exp := at - 1
					if i >= dead {
						exp = at + 100
					}
					if err := errors.Join(tx.CreateFamily(family(i, exp)), tx.UseChallenge(fmt.Sprint("c", i), time.Unix(exp, 0), start)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		counted.largest.Store(0)
		counted.count.Store(0)
		var writers sync.WaitGroup
		var stop atomic.Bool
		var written atomic.Int64
		for w := range 4 {
			writers.Go(func() {
				for i := 0; !stop.Load(); i++ {
					err := s.Update(context.Background(), func(tx *store.Tx) error {
						f, err := tx.Family(family(dead+(i*4+w)%alive, 0).ID)
						if err != nil {
							return err
						}
						f.Number++
						return errors.Join(tx.SaveFamily(f), tx.UseChallenge(fmt.Sprintf("w%d-%d", w, i), time.Unix(at+100, 0), start))
					})
					if err != nil {
						t.Errorf("a writer beside the sweep: %v", err)
						return
					}
					written.Add(1)
				}
			})
		}
		challenges, err := s.SweepChallenges(t.Context(), start)
		families := 0
		for slice := range 256 {
			n, sweepErr := s.SweepFamilies(t.Context(), start, fmt.Sprintf("%02x", slice))
			families += n
			err = errors.Join(err, sweepErr)
		}
		stop.Store(true)
		writers.Wait()
		if err != nil || challenges != dead || families != dead {
			t.Errorf("%d challenges and %d families were swept, %v, want %d each", challenges, families, err, dead)
		}
		if n := counted.largest.Load(); n > each*256 {
			t.Errorf("one transaction deleted %d records, want at most %d", n, each*256)
		}
		if n := counted.count.Load(); n < dead/256 {
			t.Errorf("only %d transactions", n)
		}
		if got := len(bucket(t, db, "family")); got != alive {
			t.Errorf("%d families are left, want %d", got, alive)
		}
		if got := len(bucket(t, db, "key_families")); got != alive {
			t.Errorf("%d families are indexed, want %d", got, alive)
		}
		if got := int64(len(bucket(t, db, "challenge"))); got != alive+written.Load() {
			t.Errorf("%d challenges are left, want %d", got, alive+written.Load())
		}
	})
}

// More dead than one sweep remembers go with the next.
func TestSweep_Continues(t *testing.T) {
	s := open(t, closing(t, memory.New()))
	const dead = 1<<14 + 100
	update(t, s, func(tx *store.Tx) error {
		for i := range dead {
			if err := tx.UseChallenge(strconv.Itoa(i), start.Add(-time.Second), start); err != nil {
				return err
			}
		}
		return nil
	})
	for _, want := range []int{1 << 14, 100, 0} {
		if got, err := s.SweepChallenges(t.Context(), start); got != want || err != nil {
			t.Errorf("swept %d, %v, want %d", got, err, want)
		}
	}
}

// One record that does not decode is reported and keeps nobody else from being swept.
func TestSweep_BrokenRecord(t *testing.T) {
	db := closing(t, memory.New())
	s := open(t, db)
	update(t, s, func(tx *store.Tx) error {
		for _, id := range []string{"a", "b", "c"} {
			if err := errors.Join(tx.UseChallenge(id, start.Add(-time.Second), start), tx.CreateFamily(store.Family{ID: id, Key: "k"})); err != nil {
				return err
			}
		}
		return errors.Join(tx.Put("challenge", "b", []byte("{")), tx.Put("family", "b", []byte("[]")))
	})
	if n, err := s.SweepChallenges(t.Context(), start); n != 2 || err == nil || !strings.Contains(err.Error(), "challenge:b") {
		t.Errorf("SweepChallenges = %d, %v", n, err)
	}
	if n, err := s.SweepFamilies(t.Context(), start, ""); n != 2 || err == nil || !strings.Contains(err.Error(), "family:b") {
		t.Errorf("SweepFamilies = %d, %v", n, err)
	}
}
