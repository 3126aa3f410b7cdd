package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
)

func (p Process) healthcheckCommand(pl *place) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use: "healthcheck", Short: "Ask the running node whether it is ready: exit code 0 or 1, for container health checks", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return p.healthcheck(ctx, pl)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	return c
}

func (p Process) healthcheck(ctx context.Context, pl *place) error {
	dir, err := pl.dir()
	if err != nil {
		return err
	}
	cfg, _, err := p.load(dir, nil)
	if err != nil {
		return err
	}
	if !cfg.Server.Admin.Enabled {
		return errors.New("server.admin is off, so the node has no health route")
	}
	var errs []error
	for _, addr := range cfg.ListenAddrs() {
		err := askReady(ctx, reachable(addr))
		if err == nil {
			_, err = fmt.Fprintln(p.Stdout, "ready")
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// reachable returns the loopback address for a listener on all addresses.
func reachable(addr netip.AddrPort) netip.AddrPort {
	ip := addr.Addr()
	if ip.IsUnspecified() {
		if ip.Is4() {
			ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		} else {
			ip = netip.IPv6Loopback()
		}
	}
	return netip.AddrPortFrom(ip, addr.Port())
}

func askReady(ctx context.Context, addr netip.AddrPort) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+"/admin-api/ready", nil)
	if err != nil {
		return err
	}
	req.Host = "localhost" // a name that every auth mode accepts
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: not ready (%s)", addr, res.Status)
	}
	return nil
}
