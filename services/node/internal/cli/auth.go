//go:build !noembed

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/auth/embed"
	"github.com/calimero-network/mero-go/services/node/internal/app"
	"github.com/calimero-network/mero-go/services/node/internal/config"
)

// authCommand hands its arguments to the commands of mero-auth, upon the store of the node.
func (p Process) authCommand(pl *place) *cobra.Command {
	return &cobra.Command{
		Use: "auth", Short: "Operate the node's own authentication (auth mode embedded): merod --node NAME auth bootstrap show",
		DisableFlagParsing: true, // all flags behind it are those of mero-auth
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := pl.dir()
			if err != nil {
				return err
			}
			cfg, err := p.load(dir)
			if err != nil {
				return err
			}
			s := app.AuthSettings(cfg, dir, p.Env)
			if _, err := os.Stat(s.Dir); errors.Is(err, fs.ErrNotExist) && cfg.Server.AuthMode != config.AuthEmbedded {
				return fmt.Errorf("the node has auth mode %q and no store for users of its own: its users are in mero-auth", cfg.Server.AuthMode)
			}
			if code := embed.Main(c.Context(), s, args, os.Stdin, p.Stdout, p.Stderr); code != 0 {
				return exit(code)
			}
			return nil
		},
	}
}
