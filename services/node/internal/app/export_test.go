package app

import "github.com/calimero-network/mero-go/services/node/internal/health"

// Health returns the node's state.
func (a *App) Health() *health.Node { return a.health }
