// Package app wires a node together and runs it.
package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/buildinfo"
	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/fetch"
	"github.com/calimero-network/mero-go/services/node/internal/guard"
	"github.com/calimero-network/mero-go/services/node/internal/health"
	"github.com/calimero-network/mero-go/services/node/internal/home"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/metrics"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// drain is how long running requests may go on after a stop was asked for. Process managers kill after 10 s.
const drain = 8 * time.Second

// drainLater is how long after the stop was asked for the handlers of events may still be called.
const drainLater = drain + time.Second

// collectEvery is how often one of the 256 directories of chunks is searched for what nobody holds.
const collectEvery = time.Minute

// Options are what a node is made from.
type Options struct {
	Config  config.Config
	Home    home.Dir
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger
	Environ []string     // with the settings of embedded authentication, as os.Environ lists them
	Tell    func(string) // shows what is for the person at the terminal alone; nil if there is none
}

// App is a node. Use [New], then [App.Run] once.
type App struct {
	cfg     config.Config
	log     *slog.Logger
	health  *health.Node
	auth    *embedded // nil in other modes
	api     *httpapi.API
	keys    *gateKeys // nil if no assertions are checked
	servers []*serve.Server
	addrs   []netip.AddrPort
	metrics netip.AddrPort
	open    atomic.Int64 // connections that the HTTP servers hold
	hurry   func()       // ends the wait for the handlers of events; it may be called again
	cleanup []func() error
}

// New opens everything that the node needs, its listeners included, so that a port in use or a held database is an
// error here. On error nothing stays open.
func New(ctx context.Context, o Options) (*App, error) {
	if err := errors.Join(o.Config.Check(), o.Config.CheckStart()); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Config.Mode == config.ModeReadOnly {
		o.Config.Server.JSONRPC.Enabled = false
	}
	a := &App{cfg: o.Config, log: o.Log}
	if err := a.wire(ctx, o); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *App) wire(ctx context.Context, o Options) error {
	cfg := o.Config
	db, err := store.Open(o.Home.Path(cfg.Datastore.Path))
	if err != nil {
		return err
	}
	a.cleanup = append(a.cleanup, db.Close)
	blobs, err := blob.Open(ctx, o.Home.Path(cfg.Blobstore.Path), db, cfg.Blobstore.MaxBlobSize, o.Log)
	if err != nil {
		return err
	}
	events, err := event.Open(ctx, db, store.EventLimits{Count: cfg.Events.LogMaxEvents, Bytes: cfg.Events.LogMaxBytes}, o.Log)
	if err != nil {
		return err
	}
	a.cleanup = append(a.cleanup, func() error { events.Close(); return nil })
	a.collect(blobs)
	if err := a.embed(ctx, o); err != nil {
		return err
	}
	g, err := a.guard(o)
	if err != nil {
		return err
	}
	rules, err := cors.New(cors.Policy{AllowAll: cfg.CORS.AllowAllOrigins, Origins: cfg.CORS.AllowedOrigins, Expose: slices.Concat(httpapi.BlobHeaders, httpapi.StreamHeaders)})
	if err != nil {
		return err
	}
	read := func(ctx context.Context) error { return db.View(ctx, func(*store.Tx) error { return nil }) }
	a.health = health.New(a.auth.andReadable(read), a.auth.andWritable(db.Probe), o.Now)
	api := &httpapi.API{
		Table: route.Node, Server: cfg.Server, Guard: g, CORS: rules, Store: db, Blobs: blobs, Apps: applications(o, db, blobs), Events: events,
		Health:  a.health,
		Metrics: metrics.New(a.totals), Now: o.Now, Log: o.Log,
	}
	a.api = api
	if err := errors.Join(a.name(o), a.certificate(o)); err != nil {
		return err
	}
	if err := a.contexts(ctx, o, api); err != nil {
		return err
	}
	if err := a.streams(o); err != nil {
		return err
	}
	a.auth.join(api)
	handler, err := api.New()
	if err != nil {
		return err
	}
	return a.listen(ctx, handler, api.MetricsOnly())
}

// applications prepares installations from the settings.
func applications(o Options, db *store.Store, blobs *blob.Store) *application.Service {
	cfg := o.Config.Apps
	paths := cfg.Paths
	switch {
	case len(paths) > 0:
	case o.Config.Server.AuthMode == config.AuthNone:
		paths = []string{"/"}
	default:
		paths = []string{filepath.Dir(string(o.Home))}
	}
	client := fetch.New(fetch.Settings{
		Hosts: cfg.AllowedHosts, Networks: cfg.AllowedNetworks, PlainHTTP: cfg.AllowHTTP, MaxSize: cfg.MaxSize, Timeout: cfg.DownloadTimeout,
	}, nil, o.Now, o.Log)
	return &application.Service{
		Store: db, Blobs: blobs, Fetch: client, Paths: paths, MaxSize: cfg.MaxSize, MaxModule: cfg.MaxModuleSize, Now: o.Now, Log: o.Log,
	}
}

// collect removes what no blob holds until the node stops.
func (a *App) collect(blobs *blob.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		blobs.Run(ctx, collectEvery)
	}()
	a.cleanup = append(a.cleanup, func() error {
		cancel()
		<-done
		return nil
	})
}

// guard prepares the decision about requests from the settings.
func (a *App) guard(o Options) (*guard.Guard, error) {
	s := o.Config.Server
	g := &guard.Guard{
		Table: route.Node, Prefix: s.PathPrefix, Open: s.AuthMode == config.AuthNone, TrustedPeers: s.Proxy.TrustedPeers, Header: s.Proxy.TrustedHeader,
		Leeway: s.Proxy.ClockLeeway, MaxTTL: s.Proxy.AssertionMaxTTL, AllowedHosts: s.AllowedHosts, StreamMaxAge: s.StreamMaxAge, Now: o.Now,
	}
	if a.auth != nil {
		g.Embedded = a.auth.guard
		return g, nil
	}
	if g.Open {
		if !s.None.AllowNonLoopback {
			g.AllowedHosts = nil // on a loopback listener only loopback names are right
		}
		return g, nil
	}
	if !s.Proxy.RequireAssertion {
		return g, nil
	}
	var err error
	if g.Bind, err = assertion.ParseBind(s.Proxy.AssertionBind); err != nil {
		return nil, err
	}
	if a.keys, err = openGateKeys(s.Proxy, o); err != nil {
		return nil, err
	}
	g.Assertions = a.keys.verifier
	return g, nil
}

// Addrs returns the addresses of the HTTP listener.
func (a *App) Addrs() []netip.AddrPort { return a.addrs }

// MetricsAddr returns the address of the metrics listener, the zero value if it is off.
func (a *App) MetricsAddr() netip.AddrPort { return a.metrics }

// Reload reads the assertion keys, the TLS certificate and, in auth mode embedded, the settings of mero-auth again. On
// error the old ones stay in force.
func (a *App) Reload(ctx context.Context) error {
	var errs []error
	if a.keys != nil {
		errs = append(errs, a.keys.reload())
	}
	if a.auth != nil {
		errs = append(errs, a.auth.reload(ctx))
	}
	if a.api.Certificate != nil {
		errs = append(errs, a.api.Certificate.Reload(ctx))
	}
	return errors.Join(errs...)
}

// Run serves until ctx ends or a listener fails, then lets running requests end for a few seconds and closes
// everything. It returns nil after a clean stop.
func (a *App) Run(ctx context.Context) error {
	a.log.InfoContext(ctx, "node is up", "version", buildinfo.String(), "peer_id", a.cfg.Identity.PeerID,
		"auth_mode", a.cfg.Server.AuthMode, "listen", a.addrs, "tls", a.api.Certificate != nil, "metrics", a.cfg.Server.MetricsAddr)
	a.warn(ctx)
	stopKeys := a.keys.follow(ctx, a.log)
	defer stopKeys()
	a.health.Set(health.Ready)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopAuth := a.auth.start(ctx, cancel)
	patience, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stopping := func() {
		time.AfterFunc(drainLater, a.hurry)
		time.AfterFunc(drain, end)
		a.health.Set(health.ShuttingDown)
		a.api.Streams.Stop()
		a.log.InfoContext(ctx, "stopping")
	}
	err := serve.Run(ctx, drain, stopping, a.servers...)
	cut := !a.api.Streams.Drain(patience) // the HTTP servers know nothing of WebSockets
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		err, cut = nil, true
	}
	if cut {
		// The stop was asked for, and it is done; that somebody was cut off is no failure of the node.
		a.log.WarnContext(ctx, "cut off requests that were still running", "after", drain.String())
	}
	return errors.Join(err, stopAuth(), a.close())
}

// warn says at every start what an operator must not forget.
func (a *App) warn(ctx context.Context) {
	s := a.cfg.Server
	switch {
	case s.AuthMode == config.AuthNone && s.None.AllowNonLoopback:
		a.log.WarnContext(ctx, "INSECURE: nobody authenticates (auth mode none) and server.none.allow_non_loopback is set: whoever reaches the listener controls this node")
	case s.AuthMode == config.AuthNone:
		a.log.WarnContext(ctx, "nobody authenticates (auth mode none): every process on this machine controls this node")
	case s.AuthMode == config.AuthProxy && !s.Proxy.RequireAssertion:
		a.log.WarnContext(ctx, "INSECURE: server.proxy.require_assertion is off: whoever reaches the listener from a trusted peer's address can claim any identity")
	case s.AuthMode == config.AuthEmbedded && a.api.Certificate == nil && slices.ContainsFunc(a.addrs, func(l netip.AddrPort) bool { return !l.Addr().IsLoopback() }):
		a.log.WarnContext(ctx, "other machines reach the listener, which does not speak TLS: tokens and passwords travel in the clear unless a proxy with TLS is in front")
	}
	if s.PathPrefix != "" && s.AuthMode == config.AuthProxy && s.Proxy.RequireAssertion && s.Proxy.AssertionBind == "request" {
		a.log.WarnContext(ctx, "server.path_prefix is set, and the gate's route table knows no prefix: for a target that begins with it the gate asks for the permission admin. "+
			"Have the proxy remove the prefix before it asks the gate and before it asks this node, and unset it here; or, where the gate is asked without it, bind assertions to the identity (server.proxy.assertion_bind)",
			"path_prefix", s.PathPrefix)
	}
	if !s.Admin.Enabled {
		a.log.WarnContext(ctx, "server.admin is off: /admin-api, its health checks included, is not served")
	}
}

// close undoes what was opened, last first.
func (a *App) close() error {
	var errs []error
	for i := len(a.cleanup) - 1; i >= 0; i-- {
		errs = append(errs, a.cleanup[i]())
	}
	a.cleanup = nil
	return errors.Join(errs...)
}

func protocols() *http.Protocols {
	// No h2c: behind a proxy an upgraded connection is a tunnel past the gate.
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}
