package contexts

import "github.com/calimero-network/mero-go/services/node/internal/id"

// Busy reports whether somebody has the turn in a context.
func (m *Manager) Busy(c id.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.live[c]
	return l != nil && len(l.turn) == 1
}
