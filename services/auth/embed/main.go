package embed

import (
	"context"
	"io"

	"github.com/calimero-network/mero-go/services/auth/internal/cli"
)

// Main executes a command of mero-auth (all but serve and healthcheck) upon the store of a node, which may run, and
// returns the exit code.
func Main(ctx context.Context, s Settings, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return cli.Run(ctx, cli.Process{
		Args: args, Environ: s.environ(), Stdin: stdin, Stdout: stdout, Stderr: stderr,
		Embedded: &cli.Embedded{Command: s.Command, ConfigFile: s.ConfigFile, Given: s.given()},
	})
}
