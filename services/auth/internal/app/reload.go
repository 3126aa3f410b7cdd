package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/buildinfo"
	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
)

// plane is everything about the data plane that depends on settings. A reload builds another one and puts it in place
// of the old: a request is answered with one of the two from its beginning to its end.
type plane struct {
	gate    *gate.Gate
	login   *login.Service
	handler http.Handler
}

// serve answers a request with the plane of this moment.
func (a *Service) serve(w http.ResponseWriter, r *http.Request) {
	a.plane.Load().handler.ServeHTTP(w, r)
}

// build makes the plane of a configuration. It changes nothing that a request can see.
func (a *Service) build(c config.Config) (*plane, error) {
	bind, err := assertion.ParseBind(c.Assertion.Bind)
	if err != nil {
		return nil, err
	}
	policy, err := cors.New(cors.Policy{AllowAll: c.CORS.AllowAllOrigins, Origins: c.CORS.AllowedOrigins})
	if err != nil {
		return nil, fmt.Errorf("cors.allowed_origins: %w", err)
	}
	p := &plane{gate: &gate.Gate{
		Sessions: a.sessions, Table: route.Node,
		Assertions: a.signer(c), AssertionTTL: c.Assertion.TTL, AssertionBind: bind,
		TrustedProxies: c.Forward.TrustedProxies, QueryTokenPaths: c.Forward.QueryTokenPaths,
		AllowPreflight: c.Forward.AllowPreflight, PlainProxy: gate.Form(c.Forward.PlainProxy),
		EnforcesPermissions: c.Node.EnforcesPermissions, NodeHosts: c.JWT.NodeHosts,
		Now: a.now, Log: a.log,
	}}
	p.login = &login.Service{
		Store: a.records, Issuer: a.issuer, Providers: a.openProviders(c), Bootstrap: a.bootstrap,
		RefreshWindow: c.JWT.RefreshWindow, RefreshGrace: c.JWT.RefreshGrace,
		HostAllowed: p.gate.HostAllowed, Now: a.now, Log: a.log,
		Renewed: func(provider string, outcome login.Renewal) { a.metrics.Renewed(provider, string(outcome)) },
	}
	administration := &keys.Service{Store: a.records, Issuer: a.issuer, MachineMax: c.JWT.MachineMax, MaxClients: c.Security.MaxClients, Now: a.now, Log: a.log}
	if c.Providers.UserPassword {
		administration.NewAccount = a.passwords.NewAccount
	}
	headers := c.Security.Headers
	p.handler, err = httpapi.DataPlane(httpapi.Deps{
		Gate: p.gate, Login: p.login,
		Keys:       administration,
		Challenges: a.challenges, JWKS: a.operate.Published.JWKS, Metrics: a.metrics, Limits: a.limits, Audit: a.records.Audit, Refusals: a.refusals,
		Readable: a.records.Read, CORS: policy,
		Headers: httpapi.SecurityHeaders{
			Enabled: headers.Enabled, HSTSMaxAge: headers.HSTSMaxAge, HSTSSubdomains: headers.HSTSIncludeSubdomains,
			FrameOptions: headers.FrameOptions, NoSniff: headers.ContentTypeOptions, ReferrerPolicy: headers.ReferrerPolicy,
			ConnectSrc: headers.CSP.ConnectSrc,
		},
		MaxBody: c.Security.MaxBodySize, PublicURL: c.PublicURL, Trusted: c.Forward.TrustedProxies, Mock: c.Development,
		Version: buildinfo.Version, Started: a.started, Now: a.now, Log: a.log,
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// signer returns what signs for the node: the key that it shares, or the published keys.
func (a *Service) signer(c config.Config) gate.Signer {
	if c.Assertion.Algorithm == "ed25519" {
		return a.operate.Published
	}
	return a.operate.Shared.File()
}

func rulesOf(c config.Config) limit.Rules {
	return limit.Rules{PerMinute: c.Security.RateLimit.RPM, Burst: c.Security.RateLimit.Burst}
}

// Reload takes over, from the configuration that load returns, the settings that may change under a running service,
// reads the assertion keys again and opens the audit file anew: all of it or, with an error, nothing. What changed,
// and what needs a restart to change, is logged.
func (a *Service) Reload(ctx context.Context, load func() (config.Config, []config.Warning, error)) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	err := a.reload(ctx, load)
	a.metrics.Reloaded(err == nil)
	return err
}

func (a *Service) reload(ctx context.Context, load func() (config.Config, []config.Warning, error)) error {
	next, warnings, err := load()
	if err != nil {
		return err
	}
	change, err := a.current.Reload(next)
	if err != nil {
		return err
	}
	p, err := a.build(change.Config)
	if err != nil {
		return err
	}
	file, err := openAuditFile(change.Config)
	if err != nil {
		return err
	}
	if err := a.operate.Shared.File().Reload(); err != nil { // the last that can fail: nothing has changed yet
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		return fmt.Errorf("assertion.key_file: %w", err)
	}
	a.take(ctx, change.Config, p, file)
	for _, w := range warnings {
		a.log.WarnContext(ctx, "configuration", "warning", w.String())
	}
	a.log.InfoContext(ctx, "the configuration and the assertion keys were read again", "changed", change.Applied)
	if len(change.Restart) > 0 {
		a.log.WarnContext(ctx, "changed settings need a restart; until then the old values hold", "settings", change.Restart)
	}
	return nil
}

// take makes a configuration the one in force.
func (a *Service) take(ctx context.Context, c config.Config, p *plane, file *os.File) {
	a.current = c
	a.limits.Set(rulesOf(c))
	a.records.Audit.Bound(c.Audit.MaxAge, c.Audit.MaxBytes)
	a.auditFile.Use(ctx, file)
	if a.level != nil {
		a.level.Set(c.Log.SlogLevel())
	}
	a.plane.Store(p)
}

func openAuditFile(c config.Config) (*os.File, error) {
	if c.Audit.File == "" {
		return nil, nil
	}
	f, err := audit.OpenFile(c.Audit.File)
	if err != nil {
		return nil, fmt.Errorf("audit.file: %w", err)
	}
	return f, nil
}
