package app

import (
	"context"
	"crypto/rand"
	"encoding/json"

	"github.com/calimero-network/mero-go/services/node/internal/alias"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/group"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/stream"
)

// moduleCache is where compiled modules are kept, in the node's home. It can be removed at any time the node is down.
const moduleCache = "cache/modules"

// contexts makes what runs applications, and gives it to the API.
func (a *App) contexts(ctx context.Context, o Options, api *httpapi.API) error {
	limits := runtime.DefaultLimits()
	limits.Time = o.Config.Execution.TimeLimit
	limits.ModuleSize = int(o.Config.Apps.MaxModuleSize) // what can be installed can be run
	engine, err := runtime.New(ctx, runtime.Options{
		CacheDir: o.Home.Path(moduleCache), CacheSize: o.Config.Execution.CacheSize, Memory: o.Config.Execution.MaxMemory, Limits: limits, Rand: rand.Reader, Now: o.Now,
	})
	if err != nil {
		return err
	}
	a.cleanup = append(a.cleanup, engine.Close)
	manager, err := contexts.New(ctx, contexts.Options{
		Store: api.Store, Engine: engine, Applications: api.Apps, Blobs: api.Blobs, Events: api.Events, Rand: rand.Reader, Now: o.Now, Log: o.Log,
		Observe: api.Metrics.Executed,
	})
	if err != nil {
		return err
	}
	late, hurry := context.WithCancel(context.WithoutCancel(ctx))
	a.hurry = hurry
	a.cleanup = append(a.cleanup, func() error {
		defer hurry()
		manager.Drain(late)
		manager.Close()
		return nil
	})
	aliases := &alias.Service{Store: api.Store}
	api.Contexts, api.Aliases = manager, aliases
	api.Groups = &group.Service{Store: api.Store, Rand: rand.Reader, Now: o.Now}
	api.RPC = &jsonrpc.Handler{Contexts: manager, Aliases: aliases, Log: o.Log}
	return nil
}

// executeOn lets WebSockets call methods as POST /jsonrpc does.
func executeOn(rpc *jsonrpc.Handler) stream.Execute {
	return func(ctx context.Context, params json.RawMessage) (result, failure any) {
		result, failed := rpc.Call(ctx, "execute", params)
		if failed != nil {
			return nil, failed
		}
		return result, nil
	}
}
