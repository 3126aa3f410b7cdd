package app

import (
	"context"
	"crypto/rand"

	"github.com/calimero-network/mero-go/services/node/internal/alias"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/group"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// moduleCache is where compiled modules are kept, in the node's home. It can be removed at any time the node is down.
const moduleCache = "cache/modules"

// contexts makes what runs applications, and gives it to the API.
func (a *App) contexts(ctx context.Context, o Options, api *httpapi.API, db *store.Store, blobs *blob.Store, apps *application.Service, events *event.Bus) error {
	engine, err := runtime.New(ctx, runtime.Options{CacheDir: o.Home.Path(moduleCache), Rand: rand.Reader, Now: o.Now})
	if err != nil {
		return err
	}
	a.cleanup = append(a.cleanup, engine.Close)
	manager, err := contexts.New(ctx, contexts.Options{
		Store: db, Engine: engine, Applications: apps, Blobs: blobs, Events: events, Rand: rand.Reader, Now: o.Now, Log: o.Log,
	})
	if err != nil {
		return err
	}
	a.cleanup = append(a.cleanup, func() error { manager.Close(); return nil })
	aliases := &alias.Service{Store: db}
	api.Contexts, api.Aliases = manager, aliases
	api.Groups = &group.Service{Store: db, Rand: rand.Reader, Now: o.Now}
	api.RPC = &jsonrpc.Handler{Contexts: manager, Aliases: aliases, Log: o.Log}
	return nil
}
