package app

import (
	"context"
	"net/http"

	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/metrics"
)

// embedded is what the node uses of the mero-auth in its process, which a build with the tag noembed leaves out:
// openEmbedded is there for either build.
type embedded struct {
	http.Handler   // of /auth and /admin
	metrics.Source // its figures

	guard              func(*http.Request, *route.Match) (caller.Caller, error)
	readable, writable func(context.Context) error
	reload, run        func(context.Context) error
	close              func() error
}

// both asks one store, then the other.
func both(first, second func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := first(ctx); err != nil {
			return err
		}
		return second(ctx)
	}
}
