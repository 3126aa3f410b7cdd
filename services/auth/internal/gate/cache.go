package gate

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

type counter = atomic.Uint64

const (
	cacheSets = 2048 // a session takes about 2 KiB with what it keeps alive, so the whole cache 16 MiB
	cacheWays = 4
)

// cache is a set-associative table of sessions: bounded, and read without a lock. The index comes from the
// token's SHA-256, which an attacker can choose only by brute force and only to evict, never to hit.
type cache struct {
	sets [cacheSets][cacheWays]atomic.Pointer[Session]
	next atomic.Uint32 // way to evict next
}

func (c *cache) set(hash *[sha256.Size]byte) *[cacheWays]atomic.Pointer[Session] {
	return &c.sets[binary.LittleEndian.Uint32(hash[:4])%cacheSets]
}

func (c *cache) get(hash *[sha256.Size]byte) *Session {
	set := c.set(hash)
	for i := range set {
		if s := set[i].Load(); s != nil && s.hash == *hash {
			return s
		}
	}
	return nil
}

// put stores s in place of an older session of the same token, a free way, or a victim, and returns what was there.
func (c *cache) put(s *Session) *Session {
	set := c.set(&s.hash)
	free := -1
	for i := range set {
		old := set[i].Load()
		if old == nil {
			free = i
		} else if old.hash == s.hash {
			return set[i].Swap(s)
		}
	}
	if free < 0 {
		free = int(c.next.Add(1) % cacheWays)
	}
	return set[free].Swap(s)
}

// warnLimit lets one warning a minute through. The zero value is ready.
type warnLimit struct {
	mu   sync.Mutex
	last time.Time
}

func (w *warnLimit) ready(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.last.IsZero() && now.Sub(w.last) < time.Minute {
		return false
	}
	w.last = now
	return true
}
