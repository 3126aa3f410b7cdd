// Package app wires mero-auth together and runs it.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/pkg/buildinfo"
	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/metrics"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// Limits of the data plane beyond those of package serve. A body of the largest size must arrive within the
// read time-out, the longest password hash queue must fit into the write time-out.
const (
	readTimeout  = 15 * time.Second
	writeTimeout = 30 * time.Second
)

// drainTimeout is how long a stop waits for running requests. What supervises us kills after ten seconds as a rule,
// and the store should be closed by then, also when a client dawdles.
const drainTimeout = 4 * time.Second

// Options are what a caller other than the command may replace.
type Options struct {
	Now   func() time.Time // time.Now when nil
	Log   *slog.Logger
	Level *slog.LevelVar // of Log, for reloads; nil leaves it alone
}

// App is one instance. Nothing in it is shared with another.
type App struct {
	cfg   config.Config // of the start
	log   *slog.Logger
	level *slog.LevelVar
	now   func() time.Time

	db         kv.DB
	records    *store.Store
	secrets    *secret.Keyring
	operate    *operate.Service
	bootstrap  *bootstrap.Service
	codec      *token.Codec
	challenges challenge.Service
	sessions   *gate.Sessions
	issuer     *login.Issuer
	passwords  *password.Provider // with its bound on concurrent hashes
	rpc        []*jsonrpc.Client  // those that the providers ask
	metrics    *metrics.Metrics
	limits     *limit.Limiter
	refusals   *audit.Refusals
	auditFile  *audit.File
	started    time.Time

	plane     atomic.Pointer[plane] // what requests are answered with
	reloading sync.Mutex
	current   config.Config // of plane; guarded by reloading

	servers  []*serve.Server
	stopping atomic.Bool
	cleanups []func() error // run last to first
}

// New opens the store, prepares the secrets and listens, but serves nothing yet. The caller runs the App or
// closes it.
func New(ctx context.Context, cfg config.Config, o Options) (*App, error) {
	a := &App{cfg: cfg, current: cfg, log: o.Log, level: o.Level, now: o.Now}
	if a.now == nil {
		a.now = time.Now
	}
	a.started = a.now()
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *App) open(ctx context.Context) error {
	db, err := openStorage(a.cfg.Storage, a.log)
	if err != nil {
		return err
	}
	a.db = db
	a.cleanups = append(a.cleanups, db.Close)
	a.metrics = metrics.New(buildinfo.Version, func() (hits, misses uint64) { return a.sessions.Counts() })
	if a.records, err = store.Open(ctx, a.metrics.Time(db, a.now)); err != nil {
		return err
	}
	if err := a.openAudit(); err != nil {
		return err
	}
	a.records.Limits = store.Limits{Idle: a.cfg.Sessions.IdleTimeout, Age: a.cfg.Sessions.MaxLifetime}
	if a.operate, err = openOperate(ctx, a.cfg, a.db, a.records, a.now, a.log); err != nil {
		return err
	}
	a.secrets, a.bootstrap = a.operate.Secrets, a.operate.Bootstrap
	if err := a.operate.Published.Sync(); err != nil { // before nodes are told that we are ready
		return fmt.Errorf("assertion.jwks_file: %w", err)
	}
	if a.codec, err = a.openCodec(); err != nil {
		return err
	}
	a.challenges = challenge.Service{Codec: a.codec, Now: a.now}
	a.sessions = &gate.Sessions{
		Store: a.records, Tokens: a.codec, SecretEpoch: a.secrets.Epoch, Leeway: a.cfg.JWT.Leeway, Now: a.now,
	}
	a.issuer = &login.Issuer{
		Store: a.records, Tokens: a.codec, Secrets: a.secrets,
		AccessExpiry: a.cfg.JWT.AccessExpiry, RefreshExpiry: a.cfg.JWT.RefreshExpiry, Now: a.now,
	}
	first, err := a.build(a.cfg)
	if err != nil {
		return err
	}
	a.plane.Store(first)
	if err := a.provision(ctx, first.login.Providers); err != nil {
		return err
	}
	if err := a.announce(ctx); err != nil {
		return err
	}
	return a.listen(ctx)
}

func (a *App) openCodec() (*token.Codec, error) {
	return token.New(token.Options{
		Issuer: a.cfg.JWT.Issuer, Algorithm: a.cfg.JWT.Algorithm, Leeway: a.cfg.JWT.Leeway,
		MaxLifetime: max(a.cfg.JWT.AccessExpiry, a.cfg.JWT.RefreshExpiry, a.cfg.JWT.MachineMax),
		Now:         a.now,
		Signing: func(kind token.Kind) (string, []byte) {
			key := a.secrets.Signing(secret.Kind(kind))
			return key.ID, key.Secret
		},
		Lookup: func(kind token.Kind, kid string) ([]byte, bool) { return a.secrets.Lookup(secret.Kind(kind), kid) },
	})
}

// announce makes the bootstrap secret of an empty store and says where to find it. The secret itself is never
// logged; the command prints it on a terminal.
func (a *App) announce(ctx context.Context) error {
	shown, err := a.bootstrap.Ensure(ctx)
	if err != nil {
		return err
	}
	switch {
	case shown.State == bootstrap.Closed:
	case shown.Recovery:
		a.log.WarnContext(ctx, "a recovery is under way: the next login with its one-time secret becomes administrator",
			"file", a.bootstrap.Path(), "state", shown.State, "expires", shown.Expires)
	case a.cfg.Bootstrap.Mode == bootstrap.ModeFirstLogin:
		a.log.WarnContext(ctx, "bootstrap.mode is first-login: whoever logs in first becomes administrator")
	case a.cfg.Bootstrap.Secret != "":
		a.log.InfoContext(ctx, "no root key exists: the first login needs the configured bootstrap secret")
	default:
		a.log.InfoContext(ctx, "no root key exists: the first login needs the one-time secret; show it with `mero-auth bootstrap show`",
			"file", a.bootstrap.Path(), "state", shown.State, "expires", shown.Expires)
	}
	return nil
}

func (a *App) listen(ctx context.Context) error {
	dataListener, err := a.listenTCP(ctx, "listen_addr", a.cfg.ListenAddr)
	if err != nil {
		return err
	}
	operatorListener, err := a.listenTCP(ctx, "admin_addr", a.cfg.AdminAddr)
	if err != nil {
		return err
	}
	socket, err := control.Listen(ctx, a.cfg.Storage.Path)
	if err != nil {
		return err
	}
	a.cleanups = append(a.cleanups, closer(socket))
	public := serve.New("data plane", dataListener, http.HandlerFunc(a.serve), httpapi.MaxHeader, a.log)
	public.HTTP.ReadTimeout, public.HTTP.WriteTimeout = readTimeout, writeTimeout
	operators := serve.New("operators", operatorListener, httpapi.Operator(a.metrics, a.ready, a.log), 16<<10, a.log)
	operators.HTTP.ReadTimeout, operators.HTTP.WriteTimeout = readTimeout, writeTimeout
	a.servers = []*serve.Server{public, operators, control.Server(socket, a.operate, a.log)}
	return nil
}

func (a *App) listenTCP(ctx context.Context, setting, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	a.cleanups = append(a.cleanups, closer(l))
	return l, nil
}

// closer closes a listener that a server may have closed before.
func closer(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// ready reports why the service cannot take writes, nil when it can.
func (a *App) ready(ctx context.Context) error {
	if a.stopping.Load() {
		return errors.New("stopping")
	}
	return a.records.Probe(ctx, a.now())
}

// Addr returns the addresses of the data plane and of the operators' listener.
func (a *App) Addr() (data, operators net.Addr) {
	return a.servers[0].Listener.Addr(), a.servers[1].Listener.Addr()
}

// Bootstrap returns the bootstrap use case, for the command that prints the secret on a terminal.
func (a *App) Bootstrap() *bootstrap.Service { return a.bootstrap }

// Run serves until ctx ends, then drains and closes everything. It returns nil after a clean stop.
func (a *App) Run(ctx context.Context) error {
	data, operators := a.Addr()
	a.log.InfoContext(ctx, "mero-auth is up", "version", buildinfo.Version, "listen_addr", data.String(), "admin_addr", operators.String())
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	var rotation error
	background.Go(func() { rotation = a.secrets.Run(ctx) })
	background.Go(func() { a.sweep(ctx) })
	background.Go(func() { a.operate.Shared.Run(ctx) })
	background.Go(func() { a.operate.Published.Run(ctx, a.log) })
	background.Go(func() { a.saveUses(ctx) })
	background.Go(func() { a.keepAudit(ctx) })
	var copying sync.WaitGroup
	copyCtx, endCopy := context.WithCancel(context.WithoutCancel(ctx)) // what is written at the stop is copied, too
	copying.Go(func() { a.auditFile.Run(copyCtx) })
	err := serve.Run(ctx, drainTimeout, func() { a.stopping.Store(true) }, a.servers...)
	cancel()
	background.Wait()
	a.endAudit(copyCtx)
	endCopy()
	copying.Wait()
	err = errors.Join(err, rotation, a.Close())
	a.log.InfoContext(context.WithoutCancel(ctx), "mero-auth has stopped")
	return err
}

// Close releases everything, last opened first. It is safe to call again.
func (a *App) Close() error {
	var errs []error
	for i := len(a.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, a.cleanups[i]())
	}
	a.cleanups = nil
	return errors.Join(errs...)
}
