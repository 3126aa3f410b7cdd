package audit

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxRefusals bounds the distinct refusals of a minute that get a record of their own. What floods us from many
// addresses ends up in one record for each reason: it must not push the record of changes out.
const maxRefusals = 256

// Refusal is what refused logins have in common that one record stands for.
type Refusal struct {
	Peer    string // the client's network
	Account string // as the client names it
	Reason  string // stable word: never the client's text
}

// Refusals collects refused logins and writes one record for all of a minute that are alike. The zero value is not
// usable: set Log.
type Refusals struct {
	Log *Log

	mu      sync.Mutex
	minute  time.Time
	seen    map[Refusal]*Event
	merged  atomic.Uint64
	pending []Event // of minutes that have ended
}

// maxPending bounds what waits for a store that takes no writes; beyond it refusals are only counted.
const maxPending = 4 * maxRefusals

// Add counts one refusal. It never waits for the store.
func (r *Refusals) Add(of Refusal, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	of.Account, of.Peer = clean(of.Account, maxText), clean(of.Peer, maxText)
	e := r.seen[of]
	if e == nil && len(r.seen) >= maxRefusals {
		r.merged.Add(1)
		of = Refusal{Reason: of.Reason}
		e = r.seen[of]
	}
	if e == nil {
		e = &Event{
			Action: LoginRefused, Outcome: Refused, Subject: of.Account, Peer: of.Peer, Reason: of.Reason, First: now,
		}
		if of.Account == "" && of.Peer == "" {
			e.Detail = "further accounts and addresses of this minute"
		}
		if r.seen == nil {
			r.seen = make(map[Refusal]*Event)
		}
		r.seen[of] = e
	}
	e.Count++
	e.Last = now
}

// turn begins a new minute when the last one has ended. Requests of the old one that come late count for the new one;
// a clock that was set back begins anew.
func (r *Refusals) turn(now time.Time) {
	minute := now.Truncate(time.Minute)
	if ahead := r.minute.Sub(minute); ahead >= 0 && ahead <= time.Minute {
		return
	}
	r.close()
	r.minute = minute
}

func (r *Refusals) close() {
	for _, e := range r.seen {
		if len(r.pending) >= maxPending {
			r.merged.Add(e.Count)
			continue
		}
		r.pending = append(r.pending, *e)
	}
	clear(r.seen)
}

// Merged returns how many refusals have no record of their own, because there were too many.
func (r *Refusals) Merged() uint64 { return r.merged.Load() }

// Flush writes the minutes that have ended; with all also the one that runs. What cannot be written is kept, within
// a bound, for the next call.
func (r *Refusals) Flush(ctx context.Context, now time.Time, all bool) error {
	r.mu.Lock()
	r.turn(now)
	if all {
		r.close()
	}
	batch := r.pending
	r.pending = nil
	r.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	slices.SortStableFunc(batch, func(a, b Event) int { return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Subject, b.Subject)) })
	for i := range batch {
		batch[i].Time = now // records are in the order of their times
	}
	err := r.Log.Record(ctx, batch...)
	if err != nil {
		r.mu.Lock()
		r.pending = append(batch, r.pending...)
		r.mu.Unlock()
	}
	return err
}
