// Package cli is the command line of merod.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/calimero-network/mero-go/pkg/buildinfo"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
)

// Process is what a command gets from its surroundings.
type Process struct {
	Args   []string // without the program's name
	Env    []string // as os.Environ lists it
	Stdout io.Writer
	Stderr io.Writer
	Hangup <-chan os.Signal // SIGHUP
}

// env returns a variable, "" if it is not set.
func (p Process) env(name string) string {
	value := ""
	for _, kv := range p.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// Run executes one command until it ends or ctx does, and returns the exit code: 0, or 1 with the problems on
// Stderr, one a line. Below auth it is that of mero-auth.
func Run(ctx context.Context, p Process) int {
	root := p.root()
	root.SetArgs(p.Args)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if code, ok := errors.AsType[exit](err); ok {
		return int(code)
	}
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			_, _ = fmt.Fprintln(p.Stderr, "merod: "+line)
		}
		return 1
	}
	return 0
}

// exit is the exit code of a command that has said itself what went wrong.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// place is the pair of flags that says which node is meant.
type place struct{ home, node string }

func (pl place) dir() (home.Dir, error) {
	if pl.node == "" {
		return "", errors.New("which node? give --node NAME (or set NODE_NAME)")
	}
	return home.Locate(pl.home, pl.node)
}

const rootHelp = `merod is a node that runs applications in contexts, behind the gate of mero-auth.

A node is a directory, HOME/NODE, with config.toml, the database and the blobs. 'init' makes it, 'run' serves it:

  merod --node node1 init --server-port 2528 --swarm-port 2428
  merod --node node1 run

To try it without authentication, for programs on this machine alone:

  MEROD_SERVER__AUTH_MODE=none merod --node node1 run --init

Every setting of config.toml can be set in the environment: MEROD_, the path in capitals, two underscores for each dot
(MEROD_SERVER__METRICS_ADDR). 'merod config SETTING?' explains one; docs/node.md lists all.

Exit code: 0, or 1 with the problems on standard error, one a line.`

func (p Process) root() *cobra.Command {
	pl := &place{}
	root := &cobra.Command{
		Use: "merod", Short: "A node that runs applications in contexts, behind the gate of mero-auth", Long: rootHelp,
		SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs, Version: buildinfo.String(),
		TraverseChildren: true, // flags before auth are ours, those behind it are not
		RunE:             func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("merod {{.Version}}\n")
	root.Flags().BoolP("version", "V", false, "print the version")
	flags := root.PersistentFlags()
	flags.StringVar(&pl.home, "home", p.defaultHome(), "directory of all nodes (CALIMERO_HOME)")
	flags.StringVarP(&pl.node, "node", "n", p.env("NODE_NAME"), "name of the node (NODE_NAME)")
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "node-name" { // as older versions of the reference call it
			name = "node"
		}
		return pflag.NormalizedName(name)
	})
	root.AddCommand(p.initCommand(pl), p.runCommand(pl), p.configCommand(pl), p.healthcheckCommand(pl), p.versionCommand())
	if auth := p.authCommand(pl); auth != nil {
		root.AddCommand(auth)
	}
	return root
}

func (p Process) defaultHome() string {
	if h := p.env("CALIMERO_HOME"); h != "" {
		return h
	}
	if h := p.env("HOME"); h != "" {
		return filepath.Join(h, ".calimero")
	}
	return ""
}

func (p Process) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return p.writeJSON(map[string]string{"version": buildinfo.Version, "commit": buildinfo.Commit})
			}
			_, err := fmt.Fprintln(p.Stdout, "merod "+buildinfo.String())
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON, for scripts")
	return c
}

// logger returns the logger that the settings ask for; it writes to stderr.
func (p Process) logger(l config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo // the configuration check has refused other words
	}
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(p.Stderr, opts)
	if l.Format == "text" {
		h = slog.NewTextHandler(p.Stderr, opts)
	}
	return slog.New(reqctx.LogHandler{Handler: h})
}
