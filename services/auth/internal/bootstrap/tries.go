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

// admit counts an attempt and reports whether it may be answered. After maxWrong wrong ones no attempt of the peer
// is, not even a right one, until the window ends. Judging and counting are one step, so that many attempts at
// once get no more answers than as many in a row.
func (t *tries) admit(peer string, now time.Time, right bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, known := t.byPeer[peer]
	switch {
	case !known && len(t.byPeer) >= maxTracked && !t.forgetOld(now):
		return false
	case now.Sub(c.start) >= window:
		c = count{start: now}
	case c.wrong >= maxWrong:
		return false
	}
	if right {
		return true
	}
	if t.byPeer == nil {
		t.byPeer = make(map[string]count)
	}
	c.wrong++
	t.byPeer[peer] = c
	return true
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
