package jsonrpc

import (
	"sync"
	"time"
)

// State is what a circuit breaker does with the next call.
type State string

// The states of a breaker.
const (
	Closed   State = "closed"    // calls go through
	Open     State = "open"      // calls are refused at once
	HalfOpen State = "half-open" // one call goes through to find out
)

const (
	threshold = 5                // failures in a row that open the breaker
	coolDown  = 10 * time.Second // from the last failure to the next attempt
)

// outcome is what a call says about the server.
type outcome int

const (
	worked outcome = iota
	failed
	unknown // the caller gave up, or the server was not asked
)

// breaker refuses calls for a while after several failed in a row.
type breaker struct {
	now func() time.Time

	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // when failures reached the threshold: end of the cool-down
	probing  bool      // the one call of the half-open state is under way
}

// allow reports whether a call may go through, and whether it is the one that finds out. Its outcome goes to done.
func (b *breaker) allow() (allowed, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failures < threshold:
		return true, false
	case b.probing || b.now().Before(b.until):
		return false, false
	}
	b.probing = true
	return true, true
}

// done records how an allowed call ended.
func (b *breaker) done(probe bool, how outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch how {
	case worked:
		b.failures = 0
	case failed:
		if b.failures < threshold {
			b.failures++
		}
		b.until = b.now().Add(coolDown)
	case unknown:
	}
}

func (b *breaker) state() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failures < threshold:
		return Closed
	case b.probing || !b.now().Before(b.until):
		return HalfOpen
	}
	return Open
}
