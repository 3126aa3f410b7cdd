package bootstrap

import (
	"sync"
	"time"
)

const (
	maxWrong   = 5           // wrong secrets per peer and window
	window     = time.Minute //
	maxTracked = 10_000      // peers remembered; beyond it the door shuts for new peers until a window ends
)

// tries counts wrong secrets per peer in fixed windows. The zero value is ready.
type tries struct {
	mu     sync.Mutex
	byPeer map[string]count
}

type count struct {
	start time.Time
	wrong int
}

func (t *tries) exhausted(peer string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, known := t.byPeer[peer]
	if !known {
		return len(t.byPeer) >= maxTracked && !t.forgetOld(now)
	}
	return c.wrong >= maxWrong && now.Sub(c.start) < window
}

func (t *tries) wrong(peer string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPeer == nil {
		t.byPeer = make(map[string]count)
	}
	c := t.byPeer[peer]
	if now.Sub(c.start) >= window {
		c = count{start: now}
	}
	c.wrong++
	t.byPeer[peer] = c
}

// forgetOld drops the windows that have ended and reports whether that made room.
func (t *tries) forgetOld(now time.Time) bool {
	for peer, c := range t.byPeer {
		if now.Sub(c.start) >= window {
			delete(t.byPeer, peer)
		}
	}
	return len(t.byPeer) < maxTracked
}
