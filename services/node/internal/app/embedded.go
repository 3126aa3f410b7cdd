package app

import (
	"context"
	"net/http"
	"sync"

	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/metrics"
)

// embedded is what the node uses of the mero-auth in its process, which a build with the tag noembed leaves out:
// openEmbedded is there for either build.
type embedded struct {
	handler http.Handler // of /auth and /admin
	figures metrics.Source

	guard              func(*http.Request, *route.Match) (caller.Caller, error)
	readable, writable func(context.Context) error
	reload, run        func(context.Context) error
	close              func() error
}

// embed opens the mero-auth in this process, if the settings ask for it.
func (a *App) embed(ctx context.Context, o Options) (err error) {
	if o.Config.Server.AuthMode != config.AuthEmbedded {
		return nil
	}
	if a.auth, err = openEmbedded(ctx, o); err != nil {
		return err
	}
	a.cleanup = append(a.cleanup, a.auth.close)
	return nil
}

// join puts the routes and figures of e beside those of the node.
func (e *embedded) join(api *httpapi.API) {
	if e != nil {
		api.Auth = e.handler
		api.Metrics.Add(e.figures)
	}
}

// andReadable asks the node's store, then that of e.
func (e *embedded) andReadable(probe func(context.Context) error) func(context.Context) error {
	if e == nil {
		return probe
	}
	return both(probe, e.readable)
}

// andWritable asks the node's store, then that of e.
func (e *embedded) andWritable(probe func(context.Context) error) func(context.Context) error {
	if e == nil {
		return probe
	}
	return both(probe, e.writable)
}

// start runs what goes on beside requests. The function that it returns ends that, after the last request, and returns
// what went wrong. If it ends before, fail is called.
func (e *embedded) start(ctx context.Context, fail func()) (stop func() error) {
	if e == nil {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // requests that are drained still need it
	var err error
	var running sync.WaitGroup
	running.Go(func() {
		defer fail()
		err = e.run(ctx)
	})
	return func() error {
		cancel()
		running.Wait()
		return err
	}
}

func both(first, second func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := first(ctx); err != nil {
			return err
		}
		return second(ctx)
	}
}
