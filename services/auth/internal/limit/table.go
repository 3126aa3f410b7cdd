package limit

import (
	"time"

	"golang.org/x/time/rate"
)

// table is a map of bounded size that forgets the entry that was used longest ago. The zero value holds nothing until
// limit is set.
type table struct {
	limit   int
	entries map[uint64]*entry
	ring    entry // of the list: ring.next was used last, ring.prev longest ago
}

type entry struct {
	key        uint64
	prev, next *entry
	limiter    *rate.Limiter
	at         time.Time
}

func (t *table) len() int { return len(t.entries) }

// find returns the entry of a key, nil if there is none. It does not count as use.
func (t *table) find(key uint64) *entry { return t.entries[key] }

// get returns the entry of a key, a new one if there is none.
func (t *table) get(key uint64) (e *entry, fresh bool) {
	if t.entries == nil {
		t.entries = make(map[uint64]*entry)
		t.ring.prev, t.ring.next = &t.ring, &t.ring
	}
	e = t.entries[key]
	if e != nil {
		e.unlink()
	} else {
		if len(t.entries) >= t.limit {
			t.remove(t.ring.prev.key)
		}
		e, fresh = &entry{key: key}, true
		t.entries[key] = e
	}
	e.prev, e.next = &t.ring, t.ring.next
	e.prev.next, e.next.prev = e, e
	return e, fresh
}

func (t *table) remove(key uint64) {
	if e := t.entries[key]; e != nil {
		e.unlink()
		delete(t.entries, key)
	}
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

// limiter returns the token bucket of a key with the given limit.
func (t *table) limiter(key uint64, limit rate.Limit, burst int, now time.Time) *rate.Limiter {
	e, fresh := t.get(key)
	if fresh {
		e.limiter = rate.NewLimiter(limit, burst)
	} else {
		adjust(e.limiter, limit, burst, now)
	}
	return e.limiter
}
