package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/calimero-network/mero-go/services/auth/internal/client"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// defaultServer is where mero-auth listens when nothing else is configured.
const defaultServer = "http://127.0.0.1:3001"

// remote holds the flags of the commands that call a service.
type remote struct {
	server, tokenFile string
	json              bool
}

// remoteFlags adds the flags of a call to every command of a group.
func remoteFlags(group *cobra.Command) *remote {
	var r remote
	r.register(group.PersistentFlags())
	return &r
}

func (r *remote) register(flags *pflag.FlagSet) {
	flags.StringVar(&r.server, "server", "", "`URL` of the service or of the proxy before it; default $MERO_AUTH_SERVER or "+defaultServer)
	flags.StringVar(&r.tokenFile, "token-file", "", "present the access token in this `file` (- for stdin) instead of the stored session; also $MERO_AUTH_TOKEN")
	flags.BoolVar(&r.json, "json", false, "print JSON")
}

// connect returns a client with the caller's session.
func (c *command) connect(r *remote) (*client.Client, error) {
	server := r.server
	if server == "" {
		server = c.getenv(config.EnvServer)
	}
	if server == "" {
		server = defaultServer
	}
	token := strings.TrimSpace(c.getenv(config.EnvToken))
	if r.tokenFile != "" {
		var err error
		if token, err = c.secretFrom(r.tokenFile); err != nil {
			return nil, err
		}
	}
	var file *client.File
	if token == "" {
		var err error
		if file, err = client.DefaultFile(c.getenv); err != nil {
			return nil, err
		}
	}
	cl, err := client.New(server, token, file)
	if err != nil {
		return nil, err
	}
	return cl, nil
}

func (c *command) getenv(name string) string {
	for i := len(c.Environ) - 1; i >= 0; i-- { // the last one counts, as for the shell
		if value, is := strings.CutPrefix(c.Environ[i], name+"="); is {
			return value
		}
	}
	return ""
}

// needsCommand is the body of a group: it does nothing by itself.
func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("unknown command %q, see %s --help", args[0], cmd.CommandPath())}
	}
	return &usageError{fmt.Errorf("%s needs a sub-command, see %s --help", cmd.Name(), cmd.CommandPath())}
}
