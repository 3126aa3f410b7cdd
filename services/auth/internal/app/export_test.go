package app

import (
	"context"

	"github.com/calimero-network/mero-go/pkg/serve"
)

// DrainTimeout is how long a stop waits for running requests.
const DrainTimeout = drainTimeout

// Sweep sweeps everything once.
func Sweep(ctx context.Context, a *App) error {
	for slice := range familySlices {
		if err := a.sweepSlice(ctx, slice); err != nil {
			return err
		}
	}
	return nil
}

// Servers returns the servers of a: data plane, operators, control socket.
func Servers(a *App) []*serve.Server { return []*serve.Server{a.data, a.operators, a.control} }
