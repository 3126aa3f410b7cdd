package cli

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

func (c *command) checkConfigCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check-config",
		Short: "Check the configuration and print the effective one, secrets masked",
		Long: `Check the configuration as the service would read it: file, environment and flags.

It prints the effective configuration as a file that gives the same settings, with secrets masked; warnings go to
stderr. Every problem is listed with its place and the remedy, and the exit code is 1. Nothing is opened or changed, so
it can be run beside a running service before SIGHUP.`,
		Example: `  mero-auth check-config --config /etc/mero/auth.toml
  mero-auth check-config --json | jq .problems`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return c.checkConfig(asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print problems, warnings and settings as JSON")
	return cmd
}

func (c *command) checkConfig(asJSON bool) error {
	if !asJSON {
		cfg, err := c.load()
		if err != nil {
			return err
		}
		_, err = c.Stdout.Write(cfg.Effective())
		return err
	}
	cfg, warnings, err := config.Load(c.input())
	problems, listed := errors.AsType[config.Problems](err)
	if err != nil && !listed {
		return err
	}
	out := json.NewEncoder(c.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(config.NewReport(cfg, warnings, problems)); err != nil {
		return err
	}
	if len(problems) > 0 {
		return exit(ExitError)
	}
	return nil
}
