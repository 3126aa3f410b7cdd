package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/metrics"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// apiStart is when the clock of every api stands at first: within the life of the recorded Ethereum signatures.
var apiStart = time.Date(2026, 1, 2, 3, 6, 0, 0, time.UTC)

// api is the data plane on a listener of its own, over a store in memory, with a clock that tests move and a
// password account "alice" that is the administrator.
type api struct {
	addr     string
	db       kv.DB
	store    *store.Store
	login    *login.Service
	clock    atomic.Int64 // Unix nanoseconds
	log      apiLog
	password string

	deps httpapi.Deps
	stop func() // ends the listener and waits for the requests on it
}

// apiOptions are what tests change before the start.
type apiOptions struct {
	policy        cors.Policy
	headers       httpapi.SecurityHeaders
	publicURL     string
	trusted       []netip.Prefix
	maxBody       int64
	readTimeout   time.Duration
	headerTimeout time.Duration
	providers     []provider.Provider // besides user_password and eth_wallet
	empty         bool                // no root key
	limits        limit.Rules         // none
	storage       func(kv.DB) kv.DB   // what stands between the service and its store
}

// apiLog collects what is logged, at every level.
type apiLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *apiLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *apiLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// lines returns the decoded lines with that message.
func (l *apiLog) lines(t *testing.T, message string) (found []map[string]any) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if entry["msg"] == message {
			found = append(found, entry)
		}
	}
	return found
}

func (a *api) now() time.Time          { return time.Unix(0, a.clock.Load()).UTC() }
func (a *api) advance(d time.Duration) { a.clock.Add(int64(d)) }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func startAPI(t *testing.T, changes ...func(*apiOptions)) *api {
	t.Helper()
	o := apiOptions{
		headers: httpapi.SecurityHeaders{Enabled: true, HSTSMaxAge: 600, FrameOptions: "DENY", NoSniff: true, ReferrerPolicy: "no-referrer"},
		trusted: loopback, maxBody: 1 << 20, readTimeout: 15 * time.Second, headerTimeout: 5 * time.Second,
	}
	for _, change := range changes {
		change(&o)
	}
	a := &api{db: memory.New(), password: "correct horse"}
	if o.storage != nil {
		a.db = o.storage(a.db)
	}
	a.clock.Store(apiStart.UnixNano())
	log := slog.New(reqctx.LogHandler{Handler: slog.NewJSONHandler(&a.log, &slog.HandlerOptions{Level: slog.LevelDebug})})
	a.wire(t, o, log)
	a.countAudit()
	if !o.empty {
		a.addAccount(t, "alice", "admin")
	}
	a.serve(t, o, log)
	return a
}

func (a *api) wire(t *testing.T, o apiOptions, log *slog.Logger) {
	t.Helper()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	a.store, err = store.Open(t.Context(), a.db)
	fatal(err)
	master, err := seal.OpenMaster(seal.Source{File: filepath.Join(t.TempDir(), "master.key"), Generate: true})
	fatal(err)
	sealer, err := master.Sealer("test")
	fatal(err)
	secrets, err := secret.Open(t.Context(), a.db, sealer, secret.Options{Now: a.now, Rotation: 24 * time.Hour, Grace: 48 * time.Hour, Log: log})
	fatal(err)
	codec, err := token.New(token.Options{
		Issuer: "calimero-auth", Algorithm: "HS256", MaxLifetime: 366 * 24 * time.Hour, Now: a.now,
		Signing: func(kind token.Kind) (string, []byte) {
			key := secrets.Signing(secret.Kind(kind))
			return key.ID, key.Secret
		},
		Lookup: func(kind token.Kind, kid string) ([]byte, bool) { return secrets.Lookup(secret.Kind(kind), kid) },
	})
	fatal(err)
	rules, err := cors.New(o.policy)
	fatal(err)
	challenges := challenge.Service{Codec: codec, Now: a.now}
	g := &gate.Gate{
		Sessions:       &gate.Sessions{Store: a.store, Tokens: codec, SecretEpoch: secrets.Epoch, Now: a.now},
		TrustedProxies: o.trusted, Now: a.now, Log: log,
	}
	issuer := &login.Issuer{Store: a.store, Tokens: codec, Secrets: secrets, AccessExpiry: time.Hour, RefreshExpiry: 30 * 24 * time.Hour, Now: a.now}
	passwords := &password.Provider{Config: config.UserPassword{MemoryKiB: 8, Iterations: 1, MaxConcurrent: 4}, Accounts: a.account}
	a.login = &login.Service{
		Store: a.store, Issuer: issuer,
		Providers: append([]provider.Provider{
			&ethereum.Provider{PublicURL: o.publicURL, VerifyChallenge: challenges.Verify, Now: a.now}, passwords,
		}, o.providers...),
		Bootstrap:     &bootstrap.Service{Store: a.store, Dir: t.TempDir(), Mode: bootstrap.ModeSecret, Now: a.now, Log: log},
		RefreshWindow: 2 * time.Minute, RefreshGrace: 10 * time.Second, HostAllowed: g.HostAllowed, Now: a.now, Log: log,
	}
	a.deps = httpapi.Deps{
		Gate: g, Login: a.login,
		Keys: &keys.Service{
			Store: a.store, Issuer: issuer, MachineMax: 366 * 24 * time.Hour, Now: a.now, Log: log, NewAccount: passwords.NewAccount,
		},
		Challenges: challenges, Metrics: metrics.New("test", g.Sessions.Counts), Readable: a.store.Read,
		Limits: limit.New(o.limits, a.now), Audit: a.store.Audit, Refusals: &audit.Refusals{Log: a.store.Audit},
		CORS: rules, Headers: o.headers, MaxBody: o.maxBody, PublicURL: o.publicURL, Trusted: o.trusted,
		Version: "1.2.3", Started: a.now(), Now: a.now, Log: log,
	}
}

func (a *api) countAudit() {
	a.store.Audit.CopyTo(func(e audit.Event) { a.deps.Metrics.Audited(e.Action) })
}

func (a *api) serve(t *testing.T, o apiOptions, log *slog.Logger) {
	t.Helper()
	handler, err := httpapi.DataPlane(a.deps)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serve.New("data plane", l, handler, httpapi.MaxHeader, log)
	s.HTTP.ReadTimeout, s.HTTP.ReadHeaderTimeout, s.HTTP.WriteTimeout = o.readTimeout, o.headerTimeout, 30*time.Second
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = serve.Run(ctx, time.Minute, nil, s) }) // an error says that a test left a request hanging
	a.stop = func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // a stop waits a second for one that was never used
		stop()
		running.Wait()
	}
	t.Cleanup(a.stop)
	a.addr = l.Addr().String()
}

// withTimeouts returns the same service on another listener with short time-outs, for clients that are to run into them.
// What is to be answered however busy the machine is goes to a itself.
func (a *api) withTimeouts(t *testing.T, header, read time.Duration) *api {
	t.Helper()
	quick := &api{db: a.db, store: a.store, password: a.password, deps: a.deps}
	quick.serve(t, apiOptions{headerTimeout: header, readTimeout: read}, a.deps.Log)
	return quick
}

func (a *api) account(ctx context.Context, name string) (keyID, phc string, found bool, err error) {
	err = a.store.View(ctx, func(tx *store.Tx) error {
		account, err := tx.Account("user_password", name)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		keyID, phc, found = account.Key, account.PHC, err == nil
		return err
	})
	return keyID, phc, found, err
}

// addAccount adds a password account with its root key and returns the key's id.
func (a *api) addAccount(t *testing.T, name string, permissions ...string) (keyID string) {
	t.Helper()
	proof, err := a.login.Provider("user_password").(*password.Provider).NewAccount(t.Context(), name, a.password)
	if err != nil {
		t.Fatal(err)
	}
	a.update(t, func(tx *store.Tx) error {
		key, err := login.AddRoot(tx, login.RootGrant{Provider: "user_password", Proof: proof, Permissions: permissions, Now: a.now()})
		keyID = key.ID
		return err
	})
	return keyID
}

func (a *api) update(t *testing.T, fn func(*store.Tx) error) {
	t.Helper()
	if err := a.store.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}
