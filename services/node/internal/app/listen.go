package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/multiaddr"
)

// errNoListener reports that none of the configured addresses exists on this machine.
var errNoListener = errors.New("server.listen: none of the addresses can be used")

// listen opens all listeners. An address that this machine does not have (IPv6 in many containers) is skipped with
// a warning as long as another one works; every other failure, above all a port in use, is fatal.
func (a *App) listen(ctx context.Context, api, scrape http.Handler) error {
	var skipped []error
	for _, addr := range a.cfg.ListenAddrs() {
		l, err := bind(ctx, addr)
		switch {
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			skipped = append(skipped, err)
			a.log.WarnContext(ctx, "skipping an address that this machine does not have", "address", multiaddr.FromTCP(addr).String(), "error", err)
			continue
		case err != nil:
			return fmt.Errorf("server.listen: %w", err)
		}
		l = serve.Limit(l, a.cfg.Server.MaxConns)
		if c := a.api.Certificate; c != nil {
			l = tls.NewListener(l, c.TLS())
		}
		a.addrs = append(a.addrs, a.serve("http", l, api))
	}
	if len(a.addrs) == 0 {
		return errors.Join(append([]error{errNoListener}, skipped...)...)
	}
	if a.cfg.Server.MetricsAddr != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Server.MetricsAddr)
		if err != nil {
			return fmt.Errorf("server.metrics_addr: %w", err)
		}
		a.metrics = a.serve("metrics", serve.Limit(l, a.cfg.Server.MaxConns), scrape)
	}
	return nil
}

// bind listens on exactly the address family that the address names, so that /ip6/:: and /ip4/0.0.0.0 can have the
// same port.
func bind(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
	network := "tcp6"
	if addr.Addr().Is4() {
		network = "tcp4"
	}
	return (&net.ListenConfig{}).Listen(ctx, network, addr.String())
}

// serve adds a server for a listener and returns its address.
func (a *App) serve(name string, l net.Listener, h http.Handler) netip.AddrPort {
	a.cleanup = append(a.cleanup, func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) { // the server closes it when it stops
			return err
		}
		return nil
	})
	s := serve.New(name, l, h, httpapi.MaxHeader, a.log)
	s.HTTP.Protocols = protocols()
	s.HTTP.ConnState = a.connections
	a.servers = append(a.servers, s)
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
