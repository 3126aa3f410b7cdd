// Package cli is the command line of mero-auth.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/pkg/buildinfo"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// Exit codes of the commands.
const (
	ExitOK     = 0
	ExitError  = 1 // what went wrong is on stderr
	ExitUsage  = 2
	ExitClosed = 3 // bootstrap show: a root key exists or existed, there is no secret any more
)

// Process is what the command gets from the operating system.
type Process struct {
	Args    []string
	Environ []string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Reload  <-chan os.Signal // SIGHUP

	Embedded *Embedded // nil for the program mero-auth
}

// Embedded makes the commands those of a service that another program runs. They cannot serve.
type Embedded struct {
	Command    string         // how they are called
	ConfigFile string         // read where --config names none; "" for none
	Given      map[string]any // see [config.Input]
}

// exit is an error that carries an exit code and whose text is already printed, or needs no printing.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// command is the state that the sub-commands share.
type command struct {
	Process
	flags config.Flags
	level slog.LevelVar // of the log of a service that runs
}

// Run executes the command line and returns the exit code.
func Run(ctx context.Context, p Process) int {
	c := &command{Process: p}
	root := c.root()
	root.SetArgs(p.Args)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	if code, is := errors.AsType[exit](err); is {
		return int(code)
	}
	c.tell("%v", err)
	if _, is := errors.AsType[*usageError](err); is {
		return ExitUsage
	}
	return ExitError
}

type usageError struct{ error }

// noArgs refuses arguments as a mistake in the command line.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return &usageError{err}
	}
	return nil
}

// tell writes a line to the person at the terminal.
func (c *command) tell(format string, args ...any) {
	text := fmt.Sprintf("mero-auth: "+format+"\n", args...)
	_, _ = io.WriteString(c.Stderr, c.called(text)) // there is no other place to complain to
}

// called names the commands in a text as they are called here.
func (c *command) called(text string) string {
	if c.Embedded == nil {
		return text
	}
	return strings.NewReplacer("`mero-auth ", "`"+c.Embedded.Command+" ", "  mero-auth ", "  "+c.Embedded.Command+" ", "see mero-auth ", "see "+c.Embedded.Command+" ").Replace(text)
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "mero-auth",
		Short: "Forward authentication for the nodes behind your reverse proxy",
		Long: `mero-auth logs wallets and passwords in, issues tokens for root and client keys, and answers the
reverse proxy's question whether a request may reach the node (/auth/validate).

Without a sub-command it serves. Settings come from a file (TOML or JSON), then the environment (AUTH_JWT__ISSUER=…),
then flags; docs/configuration.md lists them all.`,
		Example: `  mero-auth --config /etc/mero/auth.toml
  AUTH_STORAGE__PATH=/var/lib/mero/auth mero-auth
  mero-auth bootstrap show`,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return c.serve(cmd.Context()) },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVarP(&c.flags.File, "config", "c", "", "configuration `file` (TOML, or JSON if its name ends in .json)")
	flags.CountVarP(&c.flags.Verbosity, "verbose", "v", "log at debug level")
	root.AddCommand(
		c.checkConfigCommand(),
		c.bootstrapCommand(),
		c.tokenCommand(),
		c.keysCommand(),
		c.clientKeyCommand(),
		c.sessionsCommand(),
		c.auditCommand(),
		c.explainCommand(),
		c.secretsCommand(),
		c.backupCommand(),
		c.restoreCommand(),
		c.doctorCommand(),
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: noArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprintln(c.Stdout, "mero-auth", buildinfo.String())
				return err
			},
		},
	)
	if c.Embedded != nil {
		c.embed(root)
		return root
	}
	flags.StringVarP(&c.flags.Bind, "bind", "b", "", "data plane `address`, overrides listen_addr")
	root.AddCommand(
		&cobra.Command{
			Use: "serve", Short: "Serve (what mero-auth does without a sub-command)", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.serve(cmd.Context()) },
		},
		&cobra.Command{
			Use: "healthcheck", Short: "Exit 0 when the service on this host is ready, for container health checks", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.healthcheck(cmd.Context()) },
		},
	)
	return root
}

// embed turns the command line into that of a service in another program.
func (c *command) embed(root *cobra.Command) {
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: c.Embedded.Command}
	root.Short = "Operate the authentication of this node"
	root.Long = "Operate the authentication of this node: the commands of mero-auth upon its store, also while the node runs."
	root.Example = "  mero-auth bootstrap show\n  mero-auth backup auth.backup"
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	var rename func(*cobra.Command)
	rename = func(cmd *cobra.Command) {
		cmd.Example = c.called(cmd.Example)
		for _, sub := range cmd.Commands() {
			rename(sub)
		}
	}
	rename(root)
}

// input is what the configuration is read from.
func (c *command) input() config.Input {
	in := config.Input{Environ: c.Environ, Flags: c.flags}
	if c.Embedded != nil {
		in.Given = c.Embedded.Given
		in.Flags.File = cmp.Or(in.Flags.File, c.Embedded.ConfigFile)
	}
	return in
}

// load reads the configuration and prints its warnings; a broken one is printed in full.
func (c *command) load() (config.Config, error) {
	cfg, warnings, err := config.Load(c.input())
	for _, w := range warnings {
		c.tell("warning: %v", w)
	}
	return cfg, err
}

// logger writes to stderr as configured.
func (c *command) logger(cfg config.Log) *slog.Logger {
	c.level.Set(cfg.SlogLevel())
	options := &slog.HandlerOptions{Level: &c.level}
	var handler slog.Handler = slog.NewJSONHandler(c.Stderr, options)
	if cfg.Format == "text" {
		handler = slog.NewTextHandler(c.Stderr, options)
	}
	return slog.New(reqctx.LogHandler{Handler: handler})
}
