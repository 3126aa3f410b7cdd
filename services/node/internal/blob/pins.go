package blob

import (
	"sync"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// pins counts the readers of chunks: a pinned chunk's file stays. The zero value has none.
type pins struct {
	mu     sync.Mutex
	counts map[id.ID]int
}

// addFrom pins the chunks that list returns. Nothing is unpinned or removed between list's look and the pins.
func (p *pins) addFrom(list func() ([]id.ID, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	chunks, err := list()
	if err != nil {
		return err
	}
	if p.counts == nil {
		p.counts = map[id.ID]int{}
	}
	for _, c := range chunks {
		p.counts[c]++
	}
	return nil
}

// remove unpins chunks and returns those that nobody reads any more.
func (p *pins) remove(chunks []id.ID) []id.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var free []id.ID
	for _, c := range chunks {
		if p.counts[c]--; p.counts[c] == 0 {
			delete(p.counts, c)
			free = append(free, c)
		}
	}
	return free
}

// unlessPinned runs fn for each chunk that is not pinned, and no chunk gets pinned meanwhile.
func (p *pins) unlessPinned(chunks []id.ID, fn func(id.ID) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range chunks {
		if p.counts[c] == 0 {
			if err := fn(c); err != nil {
				return err
			}
		}
	}
	return nil
}
