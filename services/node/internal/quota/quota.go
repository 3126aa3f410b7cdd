// Package quota shares an amount of something (places, bytes) among callers, so that it is bounded for all of them
// together and none of them can keep the others from it.
package quota

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// ErrBusy says that what was asked for did not become free in time.
var ErrBusy = errors.New("too much of this is going on already")

// Pool is the amount. It is safe for concurrent use.
type Pool struct {
	size, each int64
	patience   time.Duration

	mu      sync.Mutex
	used    int64
	held    map[string]int64 // by key, without zeros
	waiting list.List        // of *waiter, who came first in front
}

type waiter struct {
	key   string
	n     int64
	ready chan struct{} // closed, with mu held, when it has got its share
}

// New returns a pool of size, of which one key can hold each at most. Nobody waits longer than patience, if it is not 0.
func New(size, each int64, patience time.Duration) *Pool {
	return &Pool{size: size, each: each, patience: patience, held: map[string]int64{}}
}

// Take waits until n is free for a key. The empty key is nobody in particular, whom only the size bounds. Who waits for its
// own key's share holds up nobody else; among the others, who comes first is served first. The error is [ErrBusy] or that
// of ctx. give returns the share; it must be called once.
func (p *Pool) Take(ctx context.Context, key string, n int64) (give func(), err error) {
	if n > p.size || key != "" && n > p.each {
		return nil, ErrBusy
	}
	p.mu.Lock()
	w := &waiter{key, n, make(chan struct{})}
	e := p.waiting.PushBack(w)
	p.serve()
	p.mu.Unlock()
	give = func() { p.give(w) }
	var late <-chan time.Time
	if p.patience > 0 {
		t := time.NewTimer(p.patience)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-w.ready:
		return give, nil
	default:
	}
	select {
	case <-w.ready:
		return give, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-late:
		err = ErrBusy
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.ready: // at the same moment
		return give, nil
	default:
	}
	p.waiting.Remove(e)
	p.serve() // whoever waited behind it
	return nil, err
}

func (p *Pool) give(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= w.n
	if p.held[w.key] -= w.n; p.held[w.key] == 0 {
		delete(p.held, w.key)
	}
	p.serve()
}

// serve hands out what is free. The caller holds mu.
func (p *Pool) serve() {
	for e := p.waiting.Front(); e != nil; {
		w, next := e.Value.(*waiter), e.Next()
		switch {
		case w.key != "" && p.held[w.key]+w.n > p.each:
		case p.used+w.n > p.size:
			return // or else small shares would for ever pass one that is large
		default:
			p.used += w.n
			p.held[w.key] += w.n
			p.waiting.Remove(e)
			close(w.ready)
		}
		e = next
	}
}
