package quota_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/quota"
)

// wait asks for a share in another goroutine.
func wait(ctx context.Context, p *quota.Pool, key string, n int64) (got chan func(), failed chan error) {
	got, failed = make(chan func(), 1), make(chan error, 1)
	go func() {
		give, err := p.Take(ctx, key, n)
		if err != nil {
			failed <- err
			return
		}
		got <- give
	}()
	return got, failed
}

func take(t *testing.T, p *quota.Pool, key string, n int64) (give func()) {
	t.Helper()
	give, err := p.Take(t.Context(), key, n)
	if err != nil {
		t.Fatalf("%s %d: %v", key, n, err)
	}
	return give
}

func TestTake_OneKeyCannotHoldEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := quota.New(4, 2, 0)
		first, second := take(t, p, "attacker", 1), take(t, p, "attacker", 1)
		var more []chan func()
		for range 10 {
			got, _ := wait(t.Context(), p, "attacker", 1)
			more = append(more, got)
		}
		synctest.Wait()
		// Those who came later are not behind them.
		take(t, p, "b", 1)()
		b, c := take(t, p, "b", 1), take(t, p, "c", 1)
		for _, got := range more {
			if len(got) > 0 {
				t.Error("the attacker has got a third place")
			}
		}
		first()
		second()
		b()
		c()
		for range 10 {
			synctest.Wait()
			n := 0
			for _, got := range more {
				n += len(got)
			}
			if n == 0 || n > 2 {
				t.Fatalf("%d of the attacker's hold places, want 1 or 2", n)
			}
			for _, got := range more {
				if len(got) > 0 {
					(<-got)()
					break
				}
			}
		}
	})
}

func TestTake_LargeShareIsNotPassedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := quota.New(10, 10, 0)
		small := take(t, p, "a", 3)
		large, _ := wait(t.Context(), p, "b", 10)
		synctest.Wait()
		behind, _ := wait(t.Context(), p, "c", 1)
		synctest.Wait()
		if len(large)+len(behind) != 0 {
			t.Fatal("there was no room")
		}
		small()
		synctest.Wait()
		if len(large) != 1 || len(behind) != 0 {
			t.Fatalf("large %d, behind it %d, want 1 and 0", len(large), len(behind))
		}
		(<-large)()
		synctest.Wait()
		(<-behind)()
	})
}

func TestTake_GivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := quota.New(1, 1, 10*time.Second)
		held := take(t, p, "", 1)
		ctx, cancel := context.WithCancel(t.Context())
		_, left := wait(ctx, p, "a", 1)
		_, late := wait(t.Context(), p, "b", 1)
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left: %v", err)
		}
		began := time.Now()
		if err := <-late; !errors.Is(err, quota.ErrBusy) || time.Since(began) != 10*time.Second {
			t.Errorf("who waited: %v after %s", err, time.Since(began))
		}
		held()
		take(t, p, "c", 1)() // nobody who gave up stands in the way
		if _, err := p.Take(t.Context(), "a", 2); !errors.Is(err, quota.ErrBusy) {
			t.Errorf("more than there is: %v", err)
		}
	})
}

func TestTake_NeverMoreThanThereIs(t *testing.T) {
	p := quota.New(7, 5, 0)
	var used, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				n := int64(1 + (i+j)%5)
				give, err := p.Take(context.Background(), string(rune('a'+i%4)), n)
				if err != nil {
					t.Error(err)
					return
				}
				if now := used.Add(n); now > most.Load() {
					most.Store(now)
				}
				used.Add(-n)
				give()
			}
		})
	}
	wg.Wait()
	if most.Load() > 7 {
		t.Errorf("%d were out", most.Load())
	}
}
