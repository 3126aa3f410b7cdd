package secret

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

// ring is the immutable set of secrets of one kind.
type ring struct {
	sealer  *seal.Sealer // that opened it and will write it
	rev     uint64       // grows with every write; the higher of two copies is the newer
	entries []*entry     // the newest first; the first whose time has come signs
	byID    map[string]*entry
}

// entry is one secret. Times have the precision of a second, as in the record.
type entry struct {
	ID      string
	Secret  []byte
	Created time.Time
	From    time.Time // when it begins to sign; zero for at once
	Retired time.Time // when it stops signing, which can be to come; zero for the newest
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

// signing returns the entry that signs. When the clock has gone back before the time of every one, the oldest does.
func (r ring) signing(now func() time.Time) *entry {
	for _, e := range r.entries {
		if e.From.IsZero() || !now().Before(e.From) { // mostly without the clock
			return e
		}
	}
	return r.entries[len(r.entries)-1]
}

func newRing(sealer *seal.Sealer, rev uint64, entries []*entry) ring {
	byID := make(map[string]*entry, len(entries))
	for _, e := range entries {
		byID[e.ID] = e
	}
	return ring{sealer: sealer, rev: rev, entries: entries, byID: byID}
}

// newEntry draws a secret that signs from now on; crypto/rand does not fail.
func newEntry(kind Kind, now time.Time) *entry {
	e := &entry{
		ID:      strings.ToLower(rand.Text()[:12]), // 60 bits
		Secret:  make([]byte, Size),
		Created: now.Truncate(time.Second),
	}
	_, _ = rand.Read(e.Secret)
	if kind == JWKS {
		e.ID = publishedID(e.Secret)
	}
	return e
}

// publishedID is the id of an Ed25519 seed: the one that nodes derive from the public key.
func publishedID(seed []byte) string {
	key, _ := assertion.NewSigningKey(seed) // of the right size
	return key.ID()
}

// rotated returns the ring with a new signing secret. The one before it is retired, those whose time is over are
// dropped; with atOnce all of them are.
func (r ring) rotated(kind Kind, now time.Time, grace time.Duration, atOnce bool) ring {
	fresh := newEntry(kind, now)
	for r.byID[fresh.ID] != nil { // ids of published keys have 32 bits
		fresh = newEntry(kind, now)
	}
	entries := []*entry{fresh}
	if atOnce {
		return newRing(r.sealer, r.rev+1, entries)
	}
	handover := now.Truncate(time.Second)
	if kind == JWKS {
		handover = handover.Add(PublishAhead)
		fresh.From = handover
	}
	for i, e := range r.entries {
		if i == 0 {
			retired := *e
			retired.Retired = handover
			e = &retired
		}
		if e.usable(now, grace) {
			entries = append(entries, e)
		}
	}
	return newRing(r.sealer, r.rev+1, entries)
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
	return newRing(r.sealer, r.rev+1, entries)
}
