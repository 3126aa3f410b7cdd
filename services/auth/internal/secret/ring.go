package secret

import (
	"crypto/rand"
	"strings"
	"time"
)

// ring is the immutable set of secrets of one kind.
type ring struct {
	rev     uint64   // grows with every write; the higher of two copies is the newer
	entries []*entry // the newest first; the first signs
	byID    map[string]*entry
}

// entry is one secret. Times have the precision of a second, as in the record.
type entry struct {
	ID      string
	Secret  []byte
	Created time.Time
	Retired time.Time // zero while it signs
	LastExp time.Time // zero when nothing was covered
}

// until is when a retired secret stops verifying: after the grace, and not before the last token it signed.
func (e *entry) until(grace time.Duration) time.Time {
	end := e.Retired.Add(grace)
	if e.LastExp.After(end) {
		return e.LastExp
	}
	return end
}

func (e *entry) usable(now time.Time, grace time.Duration) bool {
	return e.Retired.IsZero() || now.Before(e.until(grace))
}

func newRing(rev uint64, entries []*entry) ring {
	byID := make(map[string]*entry, len(entries))
	for _, e := range entries {
		byID[e.ID] = e
	}
	return ring{rev: rev, entries: entries, byID: byID}
}

// newEntry draws a secret; crypto/rand does not fail.
func newEntry(now time.Time) *entry {
	e := &entry{
		ID:      strings.ToLower(rand.Text()[:12]), // 60 bits
		Secret:  make([]byte, Size),
		Created: now.Truncate(time.Second),
	}
	_, _ = rand.Read(e.Secret)
	return e
}

// rotated returns the ring with a new signing secret. The one before it is retired, those whose time is over are
// dropped; with atOnce all of them are.
func (r ring) rotated(now time.Time, grace time.Duration, atOnce bool) ring {
	entries := []*entry{newEntry(now)}
	for i, e := range r.entries {
		if atOnce {
			break
		}
		if i == 0 {
			retired := *e
			retired.Retired = now.Truncate(time.Second)
			e = &retired
		}
		if e.usable(now, grace) {
			entries = append(entries, e)
		}
	}
	return newRing(r.rev+1, entries)
}

// covering returns the ring in which kid verifies until exp.
func (r ring) covering(kid string, exp time.Time) ring {
	entries := make([]*entry, len(r.entries))
	for i, e := range r.entries {
		if e.ID == kid {
			longer := *e
			longer.LastExp = exp
			e = &longer
		}
		entries[i] = e
	}
	return newRing(r.rev+1, entries)
}
