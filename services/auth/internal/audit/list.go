package audit

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

// MaxLimit is the largest page of a listing.
const MaxLimit = 1000

// Query selects a page of the audit. With neither Since nor After it is the newest records.
type Query struct {
	Since time.Time // the oldest record wanted
	After uint64    // the id of a record: only newer ones are wanted
	Limit int       // 1 to MaxLimit
}

// Page is a part of the audit, oldest record first.
type Page struct {
	Events []Event
	Next   uint64 // pass it as After to continue, now or when there is more
	More   bool   // there is more already
}

// List returns the records that q selects.
func (l *Log) List(ctx context.Context, q Query) (Page, error) {
	var page Page
	err := l.db.View(ctx, func(tx kv.Tx) error {
		page = Page{Events: []Event{}}
		s, err := read(tx)
		if err != nil {
			return err
		}
		limit := uint64(min(max(q.Limit, 1), MaxLimit))
		id, err := s.start(tx, q, limit)
		if err != nil {
			return err
		}
		page.Next = max(q.After, id-1)
		for ; id < s.Next && uint64(len(page.Events)) < limit; id++ {
			e, _, err := s.event(tx, id)
			if err != nil {
				return err
			}
			page.Next = id
			if !q.Since.IsZero() && e.Time.Before(q.Since) {
				continue // written after one of that time, by a clock that was set back
			}
			page.Events = append(page.Events, e)
		}
		page.More = id < s.Next
		return nil
	})
	if err != nil {
		return Page{}, fmt.Errorf("list the audit: %w", err)
	}
	return page, nil
}

// start returns the id of the first record that q selects; the next id to be given when there is none.
func (s *state) start(tx kv.Tx, q Query, limit uint64) (uint64, error) {
	switch {
	case q.After != 0:
		return min(max(q.After+1, s.First), s.Next), nil
	case q.Since.IsZero():
		if s.Next-s.First > limit {
			return s.Next - limit, nil
		}
		return s.First, nil
	}
	var failed error
	n := sort.Search(int(s.Next-s.First), func(i int) bool { //nolint:gosec // bounded by the bytes that the audit may take
		e, _, err := s.event(tx, s.First+uint64(i)) //nolint:gosec // not negative
		if err != nil {
			failed = err
		}
		return failed != nil || !e.Time.Before(q.Since)
	})
	return s.First + uint64(n), failed //nolint:gosec // not negative
}
