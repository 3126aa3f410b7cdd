// Command mero-auth is the forward-authentication service.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/calimero-network/mero-go/pkg/harden"
	"github.com/calimero-network/mero-go/services/auth/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	if err := harden.Process(); err != nil { // a sandbox may forbid it; then its owner keeps what is in our memory
		fmt.Fprintln(os.Stderr, "mero-auth: warning:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	return cli.Run(ctx, cli.Process{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Reload: reload,
	})
}
