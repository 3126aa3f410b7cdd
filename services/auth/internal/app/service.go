package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/pkg/buildinfo"
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
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

// Options are what a caller other than the command may replace.
type Options struct {
	Now     func() time.Time // time.Now when nil
	Log     *slog.Logger
	Level   *slog.LevelVar // of Log, for reloads; nil leaves it alone
	Command string         // how operators call the commands, for what people read; "" is mero-auth
}

// drainTimeout is how long a stop waits for running requests. What supervises us kills after ten seconds as a rule,
// and the store should be closed by then, also when a client dawdles.
const drainTimeout = 4 * time.Second

// Service is mero-auth without the listeners of its data plane: what another program can run in its own process.
// Nothing in it is shared with another.
type Service struct {
	cfg   config.Config // of the start
	log   *slog.Logger
	level *slog.LevelVar
	now   func() time.Time
	name  string // of the command, for people

	db         kv.DB
	records    *store.Store
	secrets    *secret.Keyring
	operate    *operate.Service
	marking    bool // the mark of the store can be raised
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

	control  *serve.Server // for the operators on the host
	stopping atomic.Bool
	cleanups []func() error // run last to first
}

// Open opens the store and prepares the secrets. What is asked for goes by [Service.Handler] and [Service.Gate]; the
// caller runs the Service or closes it.
func Open(ctx context.Context, cfg config.Config, o Options) (*Service, error) {
	a := &Service{cfg: cfg, current: cfg, log: o.Log, level: o.Level, now: o.Now, name: cmp.Or(o.Command, "mero-auth")}
	if a.now == nil {
		a.now = time.Now
	}
	a.started = a.now()
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *Service) open(ctx context.Context) error {
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
	if err := a.markStart(ctx); err != nil {
		return err
	}
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
	socket, err := control.Listen(ctx, a.cfg.Storage.Path)
	if err != nil {
		return err
	}
	a.cleanups = append(a.cleanups, closer(socket))
	a.control = control.Server(socket, a.operate, a.log)
	return nil
}

func (a *Service) openCodec() (*token.Codec, error) {
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
func (a *Service) announce(ctx context.Context) error {
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
		a.log.InfoContext(ctx, "no root key exists: the first login needs the one-time secret", "show_it_with", a.name+" bootstrap show",
			"file", a.bootstrap.Path(), "state", shown.State, "expires", shown.Expires)
	}
	return nil
}

// Handler answers the requests of the data plane.
func (a *Service) Handler() http.Handler { return http.HandlerFunc(a.serve) }

// Gate returns the gate as it is configured now: a reload makes another.
func (a *Service) Gate() *gate.Gate { return a.plane.Load().gate }

// Guarded counts a decision of [gate.Gate.Guard].
func (a *Service) Guarded(err error, took time.Duration) {
	a.metrics.Validated(gate.Embedded, fault.ReasonOf(err), err != nil && fault.CodeOf(err) == fault.Internal, took)
}

// Metrics returns the figures of the service.
func (a *Service) Metrics() *metrics.Metrics { return a.metrics }

// Readable returns nil when the store can be read.
func (a *Service) Readable(ctx context.Context) error { return a.records.Read(ctx) }

// Ready reports why the service cannot take writes, nil when it can.
func (a *Service) Ready(ctx context.Context) error {
	if a.stopping.Load() {
		return errors.New("stopping")
	}
	return a.records.Probe(ctx, a.now())
}

// Bootstrap returns the bootstrap use case, for the command that prints the secret on a terminal.
func (a *Service) Bootstrap() *bootstrap.Service { return a.bootstrap }

// Run does what goes on beside requests, and serves on servers, until ctx ends. Then it drains and closes everything. It
// returns nil after a clean stop.
func (a *Service) Run(ctx context.Context, servers ...*serve.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	var rotation error
	background.Go(func() { rotation = a.secrets.Run(ctx) })
	background.Go(func() { a.sweep(ctx) })
	background.Go(func() { a.operate.Shared.Run(ctx) })
	background.Go(func() { a.operate.Published.Run(ctx, a.log) })
	background.Go(func() { a.saveUses(ctx) })
	if a.marking {
		background.Go(func() { a.operate.Mark.Run(ctx) })
	}
	background.Go(func() { a.keepAudit(ctx) })
	var copying sync.WaitGroup
	copyCtx, endCopy := context.WithCancel(context.WithoutCancel(ctx)) // what is written at the stop is copied, too
	copying.Go(func() { a.auditFile.Run(copyCtx) })
	err := serve.Run(ctx, drainTimeout, func() { a.stopping.Store(true) }, append(servers, a.control)...)
	cancel()
	background.Wait()
	a.endAudit(copyCtx)
	endCopy()
	copying.Wait()
	return errors.Join(err, rotation, a.Close())
}

// Close releases everything, last opened first. It is safe to call again.
func (a *Service) Close() error {
	var errs []error
	for i := len(a.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, a.cleanups[i]())
	}
	a.cleanups = nil
	return errors.Join(errs...)
}
