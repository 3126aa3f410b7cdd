package limit_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/limit"
)

// clock is a time that tests move. It is not safe for concurrent use.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newLimiter(perMinute, burst int) (*limit.Limiter, *clock) {
	c := &clock{time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)}
	return limit.New(limit.Rules{PerMinute: perMinute, Burst: burst}, c.Now), c
}

// retryAfter returns when the refusal says to come again, 0 if there is none.
func retryAfter(t *testing.T, err error) time.Duration {
	t.Helper()
	if err == nil {
		return 0
	}
	exceeded, is := errors.AsType[*limit.Exceeded](err)
	if !is || exceeded.RetryAfter <= 0 {
		t.Fatalf("%v, want an *Exceeded with a time", err)
	}
	return exceeded.RetryAfter
}

func TestTake(t *testing.T) {
	l, c := newLimiter(60, 3)
	for i := range 3 {
		if err := l.Take(limit.Login, "192.0.2.1"); err != nil {
			t.Fatalf("request %d: %v", i+1, err)
		}
	}
	if after := retryAfter(t, l.Take(limit.Login, "192.0.2.1")); after != time.Second {
		t.Errorf("the request above the burst may come again after %v, want 1s", after)
	}
	for _, other := range []struct {
		class   limit.Class
		address string
	}{{limit.Challenge, "192.0.2.1"}, {limit.Refresh, "192.0.2.1"}, {limit.Login, "192.0.2.2"}} {
		if err := l.Take(other.class, other.address); err != nil {
			t.Errorf("%s from %s: %v", other.class, other.address, err)
		}
	}
	c.now = c.now.Add(time.Second)
	if err := l.Take(limit.Login, "192.0.2.1"); err != nil {
		t.Errorf("after the time that the refusal named: %v", err)
	}
	retryAfter(t, l.Take(limit.Login, "192.0.2.1"))
	counts := l.Counts()
	if counts.Allowed[limit.Login] != 5 || counts.Refused[limit.Login] != 2 || counts.Allowed[limit.Challenge] != 1 {
		t.Errorf("counts %+v", counts)
	}
}

// Whoever goes on knocking while refused does not wait longer for it, and never gets more than the rate.
func TestTake_SteadyKnocking(t *testing.T) {
	l, c := newLimiter(60, 5)
	allowed := 0
	for range 600 { // ten a second for a minute
		if l.Take(limit.Login, "192.0.2.1") == nil {
			allowed++
		}
		c.now = c.now.Add(100 * time.Millisecond)
	}
	if allowed < 60 || allowed > 66 {
		t.Errorf("%d of 600 requests in a minute were allowed, want 60 and the burst", allowed)
	}
}

func TestCheckAndCharge(t *testing.T) {
	l, _ := newLimiter(60, 2)
	for range 100 { // refreshes that succeed
		if err := l.Check(limit.Refresh, "192.0.2.1"); err != nil {
			t.Fatalf("Check counts: %v", err)
		}
	}
	l.Charge(limit.Refresh, "192.0.2.1")
	l.Charge(limit.Refresh, "192.0.2.1")
	retryAfter(t, l.Check(limit.Refresh, "192.0.2.1"))
	if err := l.Check(limit.Refresh, "192.0.2.2"); err != nil {
		t.Errorf("another address: %v", err)
	}
}

// Attack: guess one account's password from one address, with a pause that the limit of the address allows.
func TestAttempt_OneAddressAtOneAccount(t *testing.T) {
	l, c := newLimiter(50, 5)
	allowed := 0
	for range 600 {
		if _, err := l.Attempt("192.0.2.1", "user_password:alice"); err == nil {
			allowed++
		}
		c.now = c.now.Add(100 * time.Millisecond)
	}
	if allowed < 10 || allowed > 16 {
		t.Errorf("%d guesses in a minute, want a fifth of the rate and the burst", allowed)
	}
	if _, err := l.Attempt("192.0.2.1", "user_password:bob"); err != nil {
		t.Errorf("another account: %v", err)
	}
	if n := l.Counts().RefusedAccount; n != uint64(600-allowed) {
		t.Errorf("%d refusals counted, want %d", n, 600-allowed)
	}
}

// Attack: spell the account in many ways to get as many limits.
func TestAttempt_SpellingsOfAnAccountShareALimit(t *testing.T) {
	l, _ := newLimiter(50, 5)
	spellings := []string{"near:alice.near", "near:Alice.near", " near:alice.near", "near:alice.near ", "near:ali\u200bce.near", "near:ALICE.NEAR", "near:al\tice.near"}
	refused := 0
	for _, s := range spellings {
		if _, err := l.Attempt("192.0.2.1", s); err != nil {
			refused++
		}
	}
	if refused != len(spellings)-5 {
		t.Errorf("%d of %d spellings are refused, want all but the burst of 5", refused, len(spellings))
	}
}

// Success forgets the tries before it, so that people who log in often are not refused.
func TestSucceeded_ForgetsTries(t *testing.T) {
	l, _ := newLimiter(50, 5)
	for i := range 50 {
		if _, err := l.Attempt("192.0.2.1", "alice"); err != nil {
			t.Fatalf("login %d: %v", i+1, err)
		}
		l.Succeeded("192.0.2.1", "alice")
	}
}

// Attack: lock somebody out by guessing the account's password from everywhere. Nobody is refused for it; an address
// that logged in lately is not even delayed, others at most two seconds, and no longer than the attack.
func TestAttempt_FloodAtAnAccountLocksNobodyOut(t *testing.T) {
	l, c := newLimiter(50, 5)
	l.Succeeded("198.51.100.1", "alice")
	c.now = c.now.Add(29 * 24 * time.Hour)
	for i := range 2000 {
		delay, err := l.Attempt(fmt.Sprintf("10.0.%d.%d", i/256, i%256), "alice")
		if err != nil {
			t.Fatalf("the first guess of an address is refused: %v", err)
		}
		if delay > 2*time.Second || (i > 100) != (delay == 2*time.Second) && i > 100 {
			t.Fatalf("guess %d is delayed by %v", i, delay)
		}
	}
	if delay, err := l.Attempt("198.51.100.1", "alice"); err != nil || delay != 0 {
		t.Errorf("the owner's own address: %v, %v; want no delay", delay, err)
	}
	if delay, err := l.Attempt("198.51.100.2", "alice"); err != nil || delay != 2*time.Second {
		t.Errorf("the owner's new address: %v, %v; want 2s", delay, err)
	}
	if delay, err := l.Attempt("198.51.100.2", "bob"); err != nil || delay > 2*time.Second {
		t.Errorf("another account: %v, %v", delay, err)
	}
	c.now = c.now.Add(time.Minute)
	if delay, err := l.Attempt("198.51.100.3", "alice"); err != nil || delay != 0 {
		t.Errorf("a minute after the attack: %v, %v; want no delay", delay, err)
	}
	c.now = c.now.Add(24 * time.Hour)
	for range 20 {
		_, _ = l.Attempt("198.51.100.4", "alice")
		_, _ = l.Attempt(fmt.Sprint("198.51.100.", 5), "alice")
	}
	if delay, _ := l.Attempt("198.51.100.1", "alice"); delay == 0 {
		t.Error("a success of more than 30 days ago still exempts")
	}
}

// Attack: exhaust the limit of all logins with many accounts. It delays, and does not refuse.
func TestAttempt_GlobalLimitOnlyDelays(t *testing.T) {
	l, _ := newLimiter(50, 5)
	delayed := 0
	for i := range 5000 {
		delay, err := l.Attempt(fmt.Sprintf("10.0.%d.%d", i/256, i%256), fmt.Sprintf("user%d", i))
		if err != nil || delay > 2*time.Second {
			t.Fatalf("login %d: %v, %v", i, delay, err)
		}
		if delay > 0 {
			delayed++
		}
	}
	if delayed < 4000 {
		t.Errorf("%d of 5000 logins at once are delayed", delayed)
	}
}

// Attack: a million addresses and accounts. Memory stays constant, and who is refused stays refused meanwhile as long
// as others keep coming at a sane rate.
func TestFloodOfAMillionAddresses(t *testing.T) {
	l, c := newLimiter(50, 5)
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			address := "2001:db8:" + strconv.FormatInt(int64(i>>16), 16) + ":" + strconv.FormatInt(int64(i&0xffff), 16) + "::/64"
			if err := l.Take(limit.Login, address); err != nil {
				t.Fatal(err)
			}
			if i%8 == 0 {
				account := strconv.Itoa(i)
				_, _ = l.Attempt(address, account)
				l.Succeeded(address, account)
			}
			if i%1000 == 0 {
				c.now = c.now.Add(time.Millisecond)
			}
		}
	}
	fill(0, 200_000) // the tables are as large as they get
	tracked, before := l.Counts().Tracked, heap()
	fill(200_000, 1_000_000)
	after := heap()
	if n := l.Counts().Tracked; n != tracked || n > 1<<17 {
		t.Errorf("%d entries are tracked, %d before", n, tracked)
	}
	if after > before+(2<<20) || after > 48<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	for range 5 {
		if err := l.Take(limit.Login, "192.0.2.1"); err != nil {
			t.Fatalf("a newcomer in the flood: %v", err)
		}
	}
	fill(0, 10_000)
	retryAfter(t, l.Take(limit.Login, "192.0.2.1"))
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A clock that was wrong for a while keeps nobody out when it is set right.
func TestClockJumps(t *testing.T) {
	l, c := newLimiter(60, 2)
	right := c.now
	exhaust := func() {
		t.Helper()
		for range 5 {
			_ = l.Take(limit.Login, "192.0.2.1")
			_, _ = l.Attempt("192.0.2.1", "alice")
		}
		retryAfter(t, l.Take(limit.Login, "192.0.2.1"))
	}
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 75 * 365 * 24 * time.Hour, -56 * 365 * 24 * time.Hour} {
		c.now = right.Add(jump)
		exhaust()
		c.now = right
		_ = l.Take(limit.Login, "192.0.2.1")
		_, _ = l.Attempt("192.0.2.1", "alice")
		c.now = right.Add(time.Minute)
		if err := l.Take(limit.Login, "192.0.2.1"); err != nil {
			t.Errorf("a minute after a jump by %v: %v", jump, err)
		}
		if delay, err := l.Attempt("192.0.2.1", "alice"); err != nil || delay > 2*time.Second {
			t.Errorf("a minute after a jump by %v: %v, %v", jump, delay, err)
		}
		right = c.now
	}
}

func TestSet(t *testing.T) {
	l, c := newLimiter(60, 2)
	for range 2 {
		if err := l.Take(limit.Login, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	l.Set(limit.Rules{PerMinute: 600, Burst: 4})
	retryAfter(t, l.Take(limit.Login, "192.0.2.1")) // what was used up stays used up
	c.now = c.now.Add(100 * time.Millisecond)
	if err := l.Take(limit.Login, "192.0.2.1"); err != nil {
		t.Errorf("with the new rate: %v", err)
	}
	l.Set(limit.Rules{PerMinute: 0, Burst: 4})
	for range 100 {
		delay, err := l.Attempt("192.0.2.1", "alice")
		if err := errors.Join(err, l.Take(limit.Login, "192.0.2.1"), l.Check(limit.Refresh, "192.0.2.1")); err != nil || delay != 0 {
			t.Fatalf("switched off: %v, %v", delay, err)
		}
		l.Charge(limit.Refresh, "192.0.2.1")
	}
	l.Set(limit.Rules{PerMinute: 60, Burst: 1})
	if err := l.Take(limit.Challenge, "192.0.2.1"); err != nil {
		t.Errorf("switched on again: %v", err)
	}
	retryAfter(t, l.Take(limit.Challenge, "192.0.2.1"))
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Rules{PerMinute: 50, Burst: 5}, time.Now)
		started := time.Now()
		if err := l.Wait(t.Context(), 2*time.Second); err != nil || time.Since(started) != 2*time.Second {
			t.Errorf("Wait: %v after %v", err, time.Since(started))
		}
		if err := l.Wait(t.Context(), 0); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		started = time.Now()
		if err := l.Wait(ctx, 2*time.Second); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) != time.Second {
			t.Errorf("a client that leaves: %v after %v", err, time.Since(started))
		}
		if n := l.Counts().Delayed; n != 2 {
			t.Errorf("%d delays counted, want 2", n)
		}
	})
}

// Attack: have thousands of requests held back at once, to exhaust memory. Beyond a bound they are not held back.
func TestWait_Bounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Rules{PerMinute: 50, Burst: 5}, time.Now)
		var wg sync.WaitGroup
		var mu sync.Mutex
		atOnce := 0
		started := time.Now()
		for range 5000 {
			wg.Go(func() {
				if err := l.Wait(t.Context(), 2*time.Second); err != nil {
					t.Error(err)
				}
				if time.Since(started) == 0 {
					mu.Lock()
					atOnce++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if atOnce != 5000-1024 {
			t.Errorf("%d of 5000 were not held back, want all but 1024", atOnce)
		}
	})
}

func TestParallel(t *testing.T) {
	l := limit.New(limit.Rules{PerMinute: 1, Burst: 10}, func() time.Time { return time.Unix(1e9, 0) })
	var wg sync.WaitGroup
	var mu sync.Mutex
	allowed := 0
	for range 16 {
		wg.Go(func() {
			for range 50 {
				err := l.Take(limit.Login, "192.0.2.1")
				_, _ = l.Attempt("192.0.2.1", "alice")
				l.Succeeded("192.0.2.1", "alice")
				l.Set(limit.Rules{PerMinute: 1, Burst: 10})
				_ = l.Counts()
				if err == nil {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if allowed != 10 {
		t.Errorf("%d of 800 parallel requests were allowed, want the burst of 10", allowed)
	}
}

func BenchmarkAttempt(b *testing.B) {
	l := limit.New(limit.Rules{PerMinute: 50, Burst: 5}, time.Now)
	for b.Loop() {
		_ = l.Take(limit.Login, "192.0.2.1")
		_, _ = l.Attempt("192.0.2.1", "user_password:alice")
	}
}
