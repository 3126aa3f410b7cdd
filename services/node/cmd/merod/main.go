// Command merod is the node.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/calimero-network/mero-go/pkg/harden"
	"github.com/calimero-network/mero-go/services/node/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	if err := harden.Process(); err != nil { // a sandbox may forbid it; then its owner keeps what is in our memory
		fmt.Fprintln(os.Stderr, "merod: warning:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	return cli.Run(ctx, cli.Process{
		Args: os.Args[1:], Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Hangup: hangup,
	})
}
