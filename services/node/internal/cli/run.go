package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/calimero-network/mero-go/services/node/internal/app"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
)

const runHelp = `Serves a node until SIGTERM or SIGINT. Then /admin-api/ready turns to 503, streams are closed with a word to their clients,
running requests get 8 s, and the process exits with 0; a second signal ends it at once.

SIGHUP reads the assertion keys, the TLS certificate and, in auth mode embedded, the settings of mero-auth again. What cannot be read changes nothing and is logged.`

func (p Process) runCommand(pl *place) *cobra.Command {
	var initFirst bool
	var exitOnEOF string
	c := &cobra.Command{
		Use: "run", Aliases: []string{"up"}, Short: "Run a node until SIGTERM", Long: runHelp, Args: cobra.NoArgs,
		Example: "  merod --node node1 run\n  MEROD_SERVER__METRICS_ADDR=127.0.0.1:9090 merod --home /data --node node1 run --init",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(c.Context())
			defer cancel()
			if exitOnEOF != "" {
				if err := cancelOnEOF(exitOnEOF, cancel); err != nil {
					return err
				}
			}
			return p.runNode(ctx, pl, c.Flags(), initFirst)
		},
	}
	c.Flags().BoolVar(&initFirst, "init", false, "first do what init does, if the node is not initialized")
	c.Flags().String("auth-mode", config.AuthProxy, "overrides server.auth_mode: proxy, embedded or none")
	c.Flags().Bool("mock-tee", false, "accepted for the reference's scripts; this build attests nothing, so it has no effect")
	c.Flags().StringVar(&exitOnEOF, "exit-on-eof", "", "stop when this file descriptor (a number) reaches its end, so that the node ends with its parent")
	return c
}

func (p Process) runNode(ctx context.Context, pl *place, flags *pflag.FlagSet, initFirst bool) error {
	dir, err := pl.dir()
	if err != nil {
		return err
	}
	if initFirst {
		if err := p.initIfNew(dir); err != nil {
			return err
		}
	}
	cfg, warnings, err := config.LoadToStart(dir.Config(), p.Env, flags)
	if err != nil {
		return withInitHint(err)
	}
	log := p.logger(cfg.Log)
	if flags.Changed("mock-tee") {
		warnings = append(warnings, "--mock-tee has no effect: this build attests nothing")
	}
	for _, w := range warnings {
		log.WarnContext(ctx, "environment", "problem", w)
	}
	a, err := app.New(ctx, app.Options{Config: cfg, Home: dir, Log: log, Environ: p.Env, Tell: p.tell()})
	if err != nil {
		return err
	}
	stopReloading := p.reloadOnHangup(ctx, a, log)
	defer stopReloading()
	return a.Run(ctx)
}

// tell returns what shows a text to the person at the terminal, nil if nobody is there.
func (p Process) tell() func(string) {
	f, isFile := p.Stderr.(*os.File)
	if !isFile {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return func(text string) { _, _ = fmt.Fprintln(p.Stderr, "merod: "+text) } // there is no other place to complain to
}

// initIfNew does what init without flags does, if there is no configuration.
func (p Process) initIfNew(dir home.Dir) error {
	exists, err := dir.Initialized()
	if err != nil || exists {
		return err
	}
	f, fs := &initFlags{}, pflag.NewFlagSet("init", pflag.ContinueOnError)
	f.register(fs)
	settings, err := f.settings(fs)
	if err != nil {
		return err
	}
	return p.makeNode(dir, settings, false)
}

// load reads the settings of a node for a command beside it.
func (p Process) load(dir home.Dir) (config.Config, error) {
	cfg, _, err := config.Load(dir.Config(), p.Env, nil)
	return cfg, withInitHint(err)
}

// withInitHint says what to do about a node that is not initialized.
func withInitHint(err error) error {
	if errors.Is(err, config.ErrNoFile) {
		return fmt.Errorf("%w; run 'merod init' first, or 'merod run --init'", err)
	}
	return err
}

// reloadOnHangup reloads at each SIGHUP until the returned function is called.
func (p Process) reloadOnHangup(ctx context.Context, a *app.App, log *slog.Logger) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-p.Hangup:
				if err := a.Reload(ctx); err != nil {
					log.ErrorContext(ctx, "reload failed; what could not be read stays as it was", "error", err)
					continue
				}
				log.InfoContext(ctx, "reloaded")
			}
		}
	}()
	return func() { close(done); <-ended }
}

// cancelOnEOF cancels when the descriptor ends. The reading goroutine ends with it or with the process.
func cancelOnEOF(fd string, cancel context.CancelFunc) error {
	n, err := strconv.ParseUint(fd, 10, 16)
	if err != nil {
		return fmt.Errorf("--exit-on-eof: %q is not a file descriptor", fd)
	}
	f := os.NewFile(uintptr(n), "exit-on-eof")
	if f == nil {
		return fmt.Errorf("--exit-on-eof: %q is not a file descriptor", fd)
	}
	if _, err := f.Stat(); err != nil {
		return fmt.Errorf("--exit-on-eof: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, f) // an error is an end too
		cancel()
	}()
	return nil
}
