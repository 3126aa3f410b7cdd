package contexts

import "github.com/calimero-network/mero-go/services/node/internal/id"

// Users returns how many calls are in a context or wait for it.
func (m *Manager) Users(c id.ID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.live[c]; l != nil {
		return l.users
	}
	return 0
}

// Staged returns how many changes of a context are on their way to the disk.
func (m *Manager) Staged(c id.ID) int {
	m.mu.Lock()
	l := m.live[c]
	m.mu.Unlock()
	if l == nil {
		return 0
	}
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	return len(l.staged)
}
