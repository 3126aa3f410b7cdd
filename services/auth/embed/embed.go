// Package embed runs mero-auth inside a node: the same login, keys, tokens and gate, without a proxy, a second process
// and assertions. It is the one package of the module that others may import.
//
// [Open] opens the store and [Service.Run] does what goes on beside requests, such as rotation and the control socket.
// The node hands requests for /auth and /admin to [Service.ServeHTTP], and asks [Service.Guard] about all others:
// who calls, and whether they may, is then a value of this process and no header.
package embed

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
)

// Settings are what the node decides. Everything else is as for mero-auth: defaults, then ConfigFile, then the
// variables AUTH_… and MERO_AUTH_… of Environ.
type Settings struct {
	Dir        string // of the store; its keys lie in the directory of the same name with .key behind it
	Memory     bool   // the store forgets everything at the end
	PublicURL  string // "" leaves it to the other sources
	ConfigFile string // "" for none; else it must exist
	Environ    []string

	AllowAllOrigins bool
	AllowedOrigins  []string
	Listen          []netip.AddrPort // of the node
	LogLevel        string
	LogFormat       string

	// Command is how the operator calls [Main], for what people read.
	Command string
}

// load reads the configuration.
func (s Settings) load() (config.Config, []config.Warning, error) {
	return config.Load(config.Input{Environ: s.environ(), Given: s.given(), Flags: config.Flags{File: s.ConfigFile}})
}

// environ leaves out the log filter of the reference service, which is for the node here.
func (s Settings) environ() []string {
	var out []string
	for _, v := range s.Environ {
		if !strings.HasPrefix(v, "RUST_LOG=") {
			out = append(out, v)
		}
	}
	return out
}

// given writes the settings as a file of mero-auth would hold them.
func (s Settings) given() map[string]any {
	origins := make([]any, len(s.AllowedOrigins))
	for i, o := range s.AllowedOrigins {
		origins[i] = o
	}
	storage := "bbolt"
	if s.Memory {
		storage = "memory"
	}
	given := map[string]any{
		"listen_addr": s.widestListener(), "admin_addr": "127.0.0.1:0", // nothing listens on them here
		"storage.type": storage, "storage.path": filepath.Clean(s.Dir),
		"cors.allow_all_origins": s.AllowAllOrigins, "cors.allowed_origins": origins,
		"log.level": s.LogLevel, "log.format": s.LogFormat,
		"node.enforces_permissions": true,
	}
	if s.PublicURL != "" {
		given["public_url"] = s.PublicURL
	}
	return given
}

// widestListener is the listener that rules about strangers are to look at: one that others reach, if there is one.
func (s Settings) widestListener() string {
	for _, a := range s.Listen {
		if !a.Addr().IsLoopback() {
			return a.String()
		}
	}
	if len(s.Listen) > 0 {
		return s.Listen[0].String()
	}
	return "127.0.0.1:0"
}

// Service is mero-auth in this process. Use [Open], then [Service.Run] once or [Service.Close]. It is safe for
// concurrent use.
type Service struct {
	settings Settings
	service  *app.Service
	now      func() time.Time
}

// Open opens the store, prepares the secrets and logs what an operator should know. An error names every problem of
// the settings; then nothing stays open.
func Open(ctx context.Context, s Settings, now func() time.Time, log *slog.Logger) (*Service, error) {
	cfg, warnings, err := s.load()
	for _, w := range warnings {
		log.WarnContext(ctx, "configuration", "warning", w.String())
	}
	if err != nil {
		return nil, err
	}
	service, err := app.Open(ctx, cfg, app.Options{Now: now, Log: log, Command: s.Command})
	if err != nil {
		return nil, err
	}
	return &Service{settings: s, service: service, now: now}, nil
}

// ServeHTTP answers requests for /auth and /admin, refusals and preflights included, and sets the deadlines of the
// connection for each.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	now := s.now()
	_ = errors.Join(rc.SetReadDeadline(now.Add(app.ReadTimeout)), rc.SetWriteDeadline(now.Add(app.WriteTimeout))) // a writer without deadlines is a test's
	s.service.Handler().ServeHTTP(w, r)
}

// MaxHeader is the limit for the head of requests in bytes that [Service.ServeHTTP] wants of its server.
const MaxHeader = httpapi.MaxHeader

// Guard decides about a request to the node and fills in the row of the node's table that it did so by, which is the
// zero Match where there is none: that is for administrators. The caller is nil on a public route without a good
// credential. The error is a [*fault.Error] of class Unauthenticated or Forbidden with a reason of package identity, or
// of class Internal when the store fails. Preflights are the node's to answer.
func (s *Service) Guard(r *http.Request, match *route.Match) (*Caller, error) {
	started := s.now()
	g := s.service.Gate()
	session, err := g.Guard(r, match)
	s.service.Guarded(err, s.now().Sub(started))
	if session == nil || err != nil {
		return nil, err
	}
	return &Caller{Key: session.KeyID, Permissions: session.Permissions, Expires: time.Unix(session.Expires, 0), lease: g.Lease(r, session, match)}, nil
}

// Readable returns nil when the store can be read.
func (s *Service) Readable(ctx context.Context) error { return s.service.Readable(ctx) }

// Writable returns nil when the store takes a write.
func (s *Service) Writable(ctx context.Context) error { return s.service.Ready(ctx) }

// Metrics returns the figures of the service. The names of all begin with mero_auth_.
func (s *Service) Metrics() prometheus.Gatherer { return s.service.Metrics().Gatherer() }

// FirstLogin returns the one-time secret that the first login needs and when it lapses. ok is false when no login needs
// it or when nobody may be shown it.
func (s *Service) FirstLogin(ctx context.Context) (secret string, until time.Time, ok bool) {
	shown, err := s.service.Bootstrap().Show(ctx, false)
	if err != nil || shown.State != bootstrap.Open || shown.Secret == "" {
		return "", time.Time{}, false
	}
	return shown.Secret, shown.Expires, true
}

// Reload takes over the settings of mero-auth that may change under a running service. On error nothing has changed.
func (s *Service) Reload(ctx context.Context) error { return s.service.Reload(ctx, s.settings.load) }

// Run does what goes on beside requests until ctx ends, waits for it and closes the service: requests must have ended
// before. An error before that is a reason to stop the node.
func (s *Service) Run(ctx context.Context) error { return s.service.Run(ctx) }

// Close releases everything. It is for a service that was not run, and safe to call again.
func (s *Service) Close() error { return s.service.Close() }
