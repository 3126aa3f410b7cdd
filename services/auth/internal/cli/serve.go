package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/pkg/heap"
	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
)

// heapBudget is the size up to which the heap grows between two garbage collections, in bytes. With what else the process
// needs it stays under the 64 MiB that the service promises for 10^5 keys under load.
const heapBudget = 40 << 20

func (c *command) serve(ctx context.Context) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	log := c.logger(cfg.Log)
	a, err := app.New(ctx, cfg, app.Options{Log: log, Level: &c.level})
	if err != nil {
		return err
	}
	if c.terminal() {
		c.greet(ctx, a)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reloads := make(chan struct{})
	go func() {
		defer close(reloads)
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.Reload:
				c.reload(ctx, a, log)
			}
		}
	}()
	var pacing sync.WaitGroup
	pacing.Go(func() { heap.Pace(ctx, heapBudget) })
	err = a.Run(ctx)
	cancel()
	<-reloads
	pacing.Wait()
	return err
}

// reload follows SIGHUP: the configuration is read again from where it came from.
func (c *command) reload(ctx context.Context, a *app.App, log *slog.Logger) {
	err := a.Reload(ctx, func() (config.Config, []config.Warning, error) {
		return config.Load(c.input())
	})
	if err == nil {
		return
	}
	reasons := []string{err.Error()}
	if problems, is := errors.AsType[config.Problems](err); is {
		reasons = nil
		for _, p := range problems {
			reasons = append(reasons, p.String())
		}
	}
	log.ErrorContext(ctx, "the configuration was not read again, nothing has changed", "problems", reasons)
}

// terminal reports whether a person reads stderr.
func (c *command) terminal() bool {
	f, isFile := c.Stderr.(*os.File)
	if !isFile {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// greet shows the bootstrap secret to the person at the terminal.
func (c *command) greet(ctx context.Context, a *app.App) {
	shown, err := a.Bootstrap().Show(ctx, false)
	if err == nil && shown.State == bootstrap.Open && shown.Secret != "" {
		c.tell("the first login needs this one-time secret as provider_data.bootstrap_secret (valid until %s):\n\n      %s\n",
			shown.Expires.Format(time.RFC3339), shown.Secret)
	}
}

// healthcheckTimeout is shorter than the usual time-out of a container health check.
const healthcheckTimeout = 3 * time.Second

func (c *command) healthcheck(ctx context.Context) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("admin_addr: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // nothing was written
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: /readyz answered %s", res.Status)
	}
	return nil
}

func (c *command) bootstrapCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "bootstrap", Short: "The one-time secret for the first login", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{errors.New("bootstrap needs a sub-command, see mero-auth bootstrap --help")}
		},
	}
	var renew, asJSON bool
	show := &cobra.Command{
		Use:   "show",
		Short: "Print the one-time secret with which the first login becomes administrator",
		Long: `Print the one-time secret with which the first login becomes administrator.

It works on the running service (over its control socket, as the same user or root) or on a store that is not
in use. Exit code 3 says that a root key exists or existed: there is no secret any more.`,
		Example: `  mero-auth bootstrap show
  mero-auth bootstrap show --renew --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.showBootstrap(cmd.Context(), renew, asJSON) },
	}
	show.Flags().BoolVar(&renew, "renew", false, "replace an unused secret by a new one, valid for 24 hours")
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	group.AddCommand(show)
	return group
}

func (c *command) showBootstrap(ctx context.Context, renew, asJSON bool) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	shown, err := control.Client{Dir: cfg.Storage.Path}.ShowBootstrap(ctx, renew)
	if errors.Is(err, control.ErrNotRunning) {
		shown, err = app.ShowBootstrap(ctx, cfg, renew, c.logger(cfg.Log))
	}
	if err != nil {
		return err
	}
	if asJSON {
		if err := json.NewEncoder(c.Stdout).Encode(shown); err != nil { //nolint:gosec // showing the secret to the operator is what this command is for
			return err
		}
	}
	switch shown.State {
	case bootstrap.Closed:
		c.tell("a root key exists or existed; log in with it")
		return exit(ExitClosed)
	case bootstrap.Lapsed:
		if shown.Recovery {
			return errors.New("the recovery secret is lost; make another with `mero-auth keys recover`")
		}
		return errors.New("the secret has lapsed; make another with `mero-auth bootstrap show --renew`")
	}
	if asJSON {
		return nil
	}
	if cfg.Bootstrap.Mode == bootstrap.ModeFirstLogin {
		c.tell("bootstrap.mode is first-login: the next login becomes administrator")
		return nil
	}
	if shown.Secret == "" {
		c.tell("the secret is the one that the configuration sets")
		return nil
	}
	return c.printSecret(shown.Secret)
}

// printSecret prints the one-time secret alone on standard output, for scripts.
func (c *command) printSecret(text string) error {
	_, err := fmt.Fprintln(c.Stdout, text)
	return err
}
