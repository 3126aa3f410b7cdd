package app

import (
	"context"

	"github.com/calimero-network/mero-go/services/node/internal/health"
)

// Drain is how long running requests may go on after a stop was asked for.
const Drain = drain

// Health returns the node's state.
func (a *App) Health() *health.Node { return a.health }

// Probes returns the probes of life and readiness of a node whose own is node, and that of its embedded authentication
// auth.
func Probes(node, auth func(context.Context) error) (alive, ready func(context.Context) error) {
	e := &embedded{readable: auth, writable: auth}
	return e.andReadable(node), e.andWritable(node)
}
