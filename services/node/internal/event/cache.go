package event

import (
	"sync"
	"weak"
)

// The newest messages stay in memory up to these limits; the newest one always does.
const (
	cacheEvents = 1024
	cacheBytes  = 16 << 20
)

// cache shares messages between subscribers: the newest ones, and every one that some subscriber is just sending.
// So there is one copy of a message in memory however many connections send it. The zero cache is empty.
type cache struct {
	mu     sync.Mutex
	newest []*Message // ordered by arrival
	bytes  int
	shared map[uint64]weak.Pointer[Message]
	swept  int // the size of shared after the last look for dead entries
	load   sync.Mutex
}

// add puts a new message into the cache.
func (c *cache) add(m *Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = append(c.newest, m)
	c.bytes += len(m.Response)
	drop := 0
	for len(c.newest)-drop > 1 && (len(c.newest)-drop > cacheEvents || c.bytes > cacheBytes) {
		c.bytes -= len(c.newest[drop].Response)
		c.newest[drop] = nil
		drop++
	}
	c.newest = c.newest[drop:]
	c.share(m)
}

// share remembers m for as long as anybody uses it.
func (c *cache) share(m *Message) {
	if c.shared == nil {
		c.shared = map[uint64]weak.Pointer[Message]{}
	}
	c.shared[m.Seq] = weak.Make(m)
	if len(c.shared) < 2*(c.swept+cacheEvents) {
		return
	}
	for seq, p := range c.shared {
		if p.Value() == nil {
			delete(c.shared, seq)
		}
	}
	c.swept = len(c.shared)
}

func (c *cache) lookup(seq uint64) *Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shared[seq].Value()
}

// get returns a message, from read if nobody has it. One message is read at a time.
func (c *cache) get(seq uint64, read func() (*Message, error)) (*Message, error) {
	if m := c.lookup(seq); m != nil {
		return m, nil
	}
	c.load.Lock()
	defer c.load.Unlock()
	if m := c.lookup(seq); m != nil {
		return m, nil
	}
	m, err := read()
	if err != nil || m == nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.share(m)
	return m, nil
}
