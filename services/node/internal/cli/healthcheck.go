package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
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
	cfg, err := p.load(dir)
	if err != nil {
		return err
	}
	if !cfg.Server.Admin.Enabled {
		return errors.New("server.admin is off, so the node has no health route")
	}
	client, scheme, err := p.own(dir, cfg)
	if err != nil {
		return err
	}
	var errs []error
	for _, addr := range cfg.ListenAddrs() {
		err := askReady(ctx, client, scheme+"://"+reachable(addr).String()+cfg.Server.PathPrefix)
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

// own returns a client for the node itself, whose certificate, if it has one, need not name the loopback address: it
// is the one of the configured file that counts.
func (p Process) own(dir home.Dir, cfg config.Config) (client *http.Client, scheme string, err error) {
	transport := &http.Transport{DisableKeepAlives: true}
	client = &http.Client{Transport: transport}
	if cfg.Server.TLS.CertFile == "" {
		return client, "http", nil
	}
	text, err := os.ReadFile(dir.Path(cfg.Server.TLS.CertFile))
	if err != nil {
		return nil, "", fmt.Errorf("server.tls.cert_file: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, "", errors.New("server.tls.cert_file: holds no certificate")
	}
	transport.TLSClientConfig = &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection asks for the very certificate instead
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, block.Bytes) {
				return errors.New("it has another certificate than server.tls.cert_file")
			}
			return nil
		},
	}
	return client, "https", nil
}

func askReady(ctx context.Context, client *http.Client, base string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/admin-api/ready", nil)
	if err != nil {
		return err
	}
	req.Host = "localhost" // a name that every auth mode accepts
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: not ready (%s)", base, res.Status)
	}
	return nil
}
