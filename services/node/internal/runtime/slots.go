package runtime

import (
	"context"
	"slices"
	"sync"
)

// slots are the places of calls that run. Accounts that wait get them in turns, and none more than its share of all: so
// nobody's endless loops keep out the calls of others.
type slots struct {
	mu      sync.Mutex
	free    int
	share   int            // of one account
	used    map[string]int // by account
	waiting map[string][]chan struct{}
	turns   []string // accounts that wait, the next one first
}

// newSlots makes count places, of which one account gets half at most.
func newSlots(count int) *slots {
	return &slots{free: count, share: max(1, count/2), used: map[string]int{}, waiting: map[string][]chan struct{}{}}
}

// acquire takes a place. The caller gives it back with release.
func (s *slots) acquire(ctx context.Context, account string, closed <-chan struct{}) error {
	place := s.join(account)
	if place == nil {
		return nil
	}
	var err error
	select {
	case <-place:
		return nil
	case <-ctx.Done():
		err = fail(ErrHost, "the call was given up while it waited: %w", ctx.Err())
	case <-closed:
		err = errClosed
	}
	s.quit(account, place)
	return err
}

// join takes a place, or gets in line: the channel, if there is one, is closed when the place is the caller's.
func (s *slots) join(account string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free > 0 && s.used[account] < s.share && len(s.waiting[account]) == 0 {
		s.free--
		s.used[account]++
		return nil
	}
	place := make(chan struct{})
	if len(s.waiting[account]) == 0 {
		s.turns = append(s.turns, account)
	}
	s.waiting[account] = append(s.waiting[account], place)
	return place
}

// quit leaves the line, or gives back a place that came in the meantime.
func (s *slots) quit(account string, place chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting[account], place); i >= 0 {
		s.waiting[account] = slices.Delete(s.waiting[account], i, i+1)
		s.tidy(account)
		return
	}
	s.give(account)
}

func (s *slots) release(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.give(account)
}

func (s *slots) give(account string) {
	s.free++
	if s.used[account]--; s.used[account] == 0 {
		delete(s.used, account)
	}
	s.hand()
}

// hand hands free places to those whose turn it is.
func (s *slots) hand() {
	for s.free > 0 {
		i := slices.IndexFunc(s.turns, func(account string) bool { return s.used[account] < s.share })
		if i < 0 {
			return
		}
		account := s.turns[i]
		s.turns = append(slices.Delete(s.turns, i, i+1), account)
		close(s.waiting[account][0])
		s.waiting[account] = s.waiting[account][1:]
		s.free--
		s.used[account]++
		s.tidy(account)
	}
}

// tidy forgets an account that does not wait any more.
func (s *slots) tidy(account string) {
	if len(s.waiting[account]) > 0 {
		return
	}
	delete(s.waiting, account)
	s.turns = slices.DeleteFunc(s.turns, func(other string) bool { return other == account })
}
