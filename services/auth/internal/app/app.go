// Package app wires mero-auth together and runs it.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/calimero-network/mero-go/pkg/buildinfo"
	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
)

// ReadTimeout and WriteTimeout are the limits of the data plane beyond those of package serve. A body of the largest size must arrive within the
// read time-out, the longest password hash queue must fit into the write time-out.
const (
	ReadTimeout  = 15 * time.Second
	WriteTimeout = 30 * time.Second
)

// App is a Service with its own listeners: what the command runs.
type App struct {
	*Service
	data, operators *serve.Server
}

// New opens a Service and listens, but serves nothing yet. The caller runs the App or closes it.
func New(ctx context.Context, cfg config.Config, o Options) (*App, error) {
	s, err := Open(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	a := &App{Service: s}
	if err := a.listen(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *App) listen(ctx context.Context) error {
	dataListener, err := a.listenTCP(ctx, "listen_addr", a.cfg.ListenAddr, a.cfg.Security.MaxConnections)
	if err != nil {
		return err
	}
	operatorListener, err := a.listenTCP(ctx, "admin_addr", a.cfg.AdminAddr, a.cfg.Security.MaxAdminConnections)
	if err != nil {
		return err
	}
	a.metrics.WatchProcess()
	a.data = serve.New("data plane", dataListener, a.Handler(), httpapi.MaxHeader, a.log)
	a.data.HTTP.ReadTimeout, a.data.HTTP.WriteTimeout = ReadTimeout, WriteTimeout
	a.operators = serve.New("operators", operatorListener, httpapi.Operator(a.metrics, a.Ready, a.log), 16<<10, a.log)
	a.operators.HTTP.ReadTimeout, a.operators.HTTP.WriteTimeout = ReadTimeout, WriteTimeout
	return nil
}

func (a *App) listenTCP(ctx context.Context, setting, address string, most int) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	l = serve.Limit(l, most)
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

// Addr returns the addresses of the data plane and of the operators' listener.
func (a *App) Addr() (data, operators net.Addr) {
	return a.data.Listener.Addr(), a.operators.Listener.Addr()
}

// Run serves until ctx ends, then drains and closes everything. It returns nil after a clean stop.
func (a *App) Run(ctx context.Context) error {
	data, operators := a.Addr()
	a.log.InfoContext(ctx, "mero-auth is up", "version", buildinfo.Version, "listen_addr", data.String(), "admin_addr", operators.String())
	err := a.Service.Run(ctx, a.data, a.operators)
	a.log.InfoContext(context.WithoutCancel(ctx), "mero-auth has stopped")
	return err
}
