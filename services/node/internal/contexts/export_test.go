package contexts

import (
	"context"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

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

// FollowFor replaces how long the calls may take that a call leads to.
func (m *Manager) FollowFor(d time.Duration) { m.followTime = d }

// What bounds it.
const (
	MaxLater     = maxLater
	MostLater    = mostLater
	LaterWorkers = laterWorkers
)

// NewLater makes one.
var NewLater = newLater

// Reserve, Start and Skip are the steps of one call.
func (l *later) Reserve(c id.ID) *task { return l.reserve(c) }

func (t *task) Start(ctx context.Context, bytes int, run func(stop context.Context)) bool {
	return t.start(ctx, bytes, run)
}

func (t *task) Skip() { t.skip() }

// Wait waits for everything, and Close ends it.
func (l *later) Wait(ctx context.Context) { l.wait(ctx) }

func (l *later) Close() { l.close() }
