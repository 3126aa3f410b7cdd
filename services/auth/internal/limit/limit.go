// Package limit slows down whoever guesses, without locking out whoever it is guessed about.
//
// Hard limits refuse: they count what one client address does, and what it does to one account. Limits over all
// addresses (of one account, and of all logins together) only delay, by two seconds at most, because anybody can
// exhaust them for everybody; an address that logged in to the account lately is not even delayed.
//
// The tables are bounded. A full one forgets whoever was seen longest ago: who has so many addresses that others are
// forgotten wins nothing that the addresses would not give him anyway.
package limit

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/time/rate"
)

// Class is a kind of request with a limit of its own.
type Class string

// The classes.
const (
	Login     Class = "login"
	Refresh   Class = "refresh"
	Challenge Class = "challenge"
)

// Classes lists every class, for metrics.
var Classes = []Class{Login, Refresh, Challenge}

// Rules are the limits of one client address. The others follow from them.
type Rules struct {
	PerMinute int // requests of a class; 0 switches all limits off
	Burst     int // how many may come at once
}

// What the other limits are, in terms of the rules of one address.
const (
	pairShare   = 5  // one address at one account: a fifth of the rate
	globalTimes = 20 // all logins: twenty addresses at their limit
)

const (
	maxDelay    = 2 * time.Second
	maxDelayed  = 1024 // requests held back at a time; beyond it none is
	successLife = 30 * 24 * time.Hour
)

// Sizes of the tables; an entry takes about 200 bytes.
const (
	maxAddresses = 1 << 14
	maxPairs     = 1 << 14
	maxAccounts  = 1 << 13
	maxSuccesses = 1 << 14
)

// Exceeded is the refusal of a hard limit.
type Exceeded struct{ RetryAfter time.Duration }

// Error says what to do; the answer carries the time as a header.
func (e *Exceeded) Error() string { return "too many requests, try again later" }

// Counts are the decisions since the start.
type Counts struct {
	Allowed, Refused map[Class]uint64 // by the limit of an address
	RefusedAccount   uint64           // by the limit of an address at an account
	Delayed          uint64           // by the limit of an account or of all logins
	Tracked          int              // entries in all tables
}

// Limiter holds the limits. It is safe for concurrent use.
type Limiter struct {
	now  func() time.Time
	seed maphash.Seed

	mu        sync.Mutex
	rules     Rules
	addresses table // by class and address
	pairs     table // by address and account
	accounts  table
	successes table // by address and account: when they last went together
	global    *rate.Limiter

	delaying        atomic.Int64
	allowed         [3]atomic.Uint64 // as Classes
	refused         [3]atomic.Uint64
	refusedAccounts atomic.Uint64
	delayed         atomic.Uint64
}

// New returns the limits of r.
func New(r Rules, now func() time.Time) *Limiter {
	l := &Limiter{now: now, seed: maphash.MakeSeed(), rules: r}
	l.addresses.limit, l.pairs.limit, l.accounts.limit, l.successes.limit = maxAddresses, maxPairs, maxAccounts, maxSuccesses
	l.global = rate.NewLimiter(perMinute(r.PerMinute*globalTimes), r.Burst*globalTimes)
	return l
}

// Set changes the rules. What was used up stays used up.
func (l *Limiter) Set(r Rules) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules = r
	l.adjustGlobal(l.now())
}

func (l *Limiter) adjustGlobal(now time.Time) {
	adjust(l.global, perMinute(l.rules.PerMinute*globalTimes), l.rules.Burst*globalTimes, now)
}

func perMinute(n int) rate.Limit { return rate.Limit(float64(n) / 60) }

// adjust gives lim its limits and makes now its time, which it would wait for if a clock was ahead for a while.
func adjust(lim *rate.Limiter, limit rate.Limit, burst int, now time.Time) {
	lim.SetLimitAt(now, limit)
	if lim.Burst() != burst {
		lim.SetBurstAt(now, burst)
	}
}

// Take counts one request of a class from a client address; the error is an *[Exceeded].
func (l *Limiter) Take(class Class, address string) error {
	return l.decide(class, address, true)
}

// Check reports whether the address has a request of the class left, without counting it; the error is an
// *[Exceeded]. With [Limiter.Charge] only failures are counted.
func (l *Limiter) Check(class Class, address string) error {
	return l.decide(class, address, false)
}

func (l *Limiter) decide(class Class, address string, take bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rules.PerMinute == 0 {
		return nil
	}
	lim, now := l.address(class, address)
	wait := waitFor(lim, now)
	if wait > 0 {
		l.refused[indexOf(class)].Add(1)
		return &Exceeded{wait}
	}
	if take {
		lim.AllowN(now, 1)
	}
	l.allowed[indexOf(class)].Add(1)
	return nil
}

// Charge counts a request that [Limiter.Check] let through and that failed.
func (l *Limiter) Charge(class Class, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rules.PerMinute == 0 {
		return
	}
	lim, now := l.address(class, address)
	lim.AllowN(now, 1)
}

// Attempt counts one try to log in to an account and returns for how long to hold it back; the error is an
// *[Exceeded]. The address has been counted by [Limiter.Take].
func (l *Limiter) Attempt(address, account string) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rules.PerMinute == 0 {
		return 0, nil
	}
	now, account := l.now(), fold(account)
	pair := l.hash("pair", address, account)
	one := l.pairs.limiter(pair, perMinute(max(1, l.rules.PerMinute/pairShare)), l.rules.Burst, now)
	if wait := waitFor(one, now); wait > 0 {
		l.refusedAccounts.Add(1)
		return 0, &Exceeded{wait}
	}
	one.AllowN(now, 1)
	all := l.accounts.limiter(l.hash("account", account), perMinute(l.rules.PerMinute), l.rules.Burst, now)
	l.adjustGlobal(now)
	delay := max(held(all, now), held(l.global, now))
	if seen := l.successes.find(pair); seen != nil && now.Sub(seen.at) < successLife {
		return 0, nil
	}
	return delay, nil
}

// Succeeded notes that the address has proved to be the account's: its tries are forgotten, and it is not held back
// for 30 days. The note does not outlive the process.
func (l *Limiter) Succeeded(address, account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pair := l.hash("pair", address, fold(account))
	l.pairs.remove(pair)
	e, _ := l.successes.get(pair)
	e.at = l.now()
}

// Wait holds a request back. It returns early, with the error of ctx, when ctx ends. When too many requests are held
// back already it returns at once: that they pile up would harm more than they can guess.
func (l *Limiter) Wait(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return nil
	}
	if l.delaying.Add(1) > maxDelayed {
		l.delaying.Add(-1)
		return nil
	}
	defer l.delaying.Add(-1)
	l.delayed.Add(1)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Counts returns the decisions so far.
func (l *Limiter) Counts() Counts {
	c := Counts{
		Allowed: make(map[Class]uint64, len(Classes)), Refused: make(map[Class]uint64, len(Classes)),
		RefusedAccount: l.refusedAccounts.Load(), Delayed: l.delayed.Load(),
	}
	for i, class := range Classes {
		c.Allowed[class], c.Refused[class] = l.allowed[i].Load(), l.refused[i].Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Tracked = l.addresses.len() + l.pairs.len() + l.accounts.len() + l.successes.len()
	return c
}

func (l *Limiter) address(class Class, address string) (*rate.Limiter, time.Time) {
	now := l.now()
	return l.addresses.limiter(l.hash(string(class), address), perMinute(l.rules.PerMinute), l.rules.Burst, now), now
}

// hash stands for a key in a table: it is short, and keyed, so that nobody can choose two that are equal.
func (l *Limiter) hash(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, p := range parts {
		_, _ = h.WriteString(p) // never fails
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

func indexOf(c Class) int {
	for i, known := range Classes {
		if c == known {
			return i
		}
	}
	panic("limit: unknown class " + string(c))
}

// waitFor returns how long it takes until the limiter lets one through, 0 for now.
func waitFor(lim *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - lim.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(missing/float64(lim.Limit())*float64(time.Second)))
}

// held counts one and returns for how long to hold it back. What is more than the longest delay is not owed on: an
// attack must be over for everybody when it ends.
func held(lim *rate.Limiter, now time.Time) time.Duration {
	reservation := lim.ReserveN(now, 1)
	delay := reservation.DelayFrom(now)
	if delay > maxDelay {
		reservation.CancelAt(now)
		return maxDelay
	}
	return delay
}

// fold maps the spellings of an account that a reader could take for one to one.
func fold(account string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, account)
}
