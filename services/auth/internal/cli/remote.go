package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/calimero-network/mero-go/services/auth/internal/client"
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
	flags := group.PersistentFlags()
	flags.StringVar(&r.server, "server", "", "`URL` of the service or of the proxy before it; default $MERO_AUTH_SERVER or "+defaultServer)
	flags.StringVar(&r.tokenFile, "token-file", "", "present the access token in this `file` (- for stdin) instead of the stored session; also $MERO_AUTH_TOKEN")
	flags.BoolVar(&r.json, "json", false, "print JSON")
	return &r
}

// connect returns a client with the caller's session.
func (c *command) connect(r *remote) (*client.Client, error) {
	server := r.server
	if server == "" {
		server = c.getenv("MERO_AUTH_SERVER")
	}
	if server == "" {
		server = defaultServer
	}
	token := strings.TrimSpace(c.getenv("MERO_AUTH_TOKEN"))
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

// maxSecretFile bounds a file with a password or a token, in bytes.
const maxSecretFile = 64 << 10

// secretFrom reads a secret from a file, or from stdin when its name is "-". The line break at its end is not part of it.
func (c *command) secretFrom(name string) (string, error) {
	in := c.Stdin
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // the operator names the file
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }() // read only
		in = f
	}
	if in == nil {
		return "", errors.New("there is no standard input to read the secret from")
	}
	text, err := io.ReadAll(io.LimitReader(in, maxSecretFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the secret: %w", err)
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("%s is longer than %d bytes: that is no secret", name, maxSecretFile)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	return secret, nil
}

// secretFor returns a secret from the file that a flag names, or asks the person at the terminal.
func (c *command) secretFor(what, flag, file string) (string, error) {
	if file != "" {
		return c.secretFrom(file)
	}
	stdin, isFile := c.Stdin.(*os.File)
	if !isFile || !term.IsTerminal(int(stdin.Fd())) {
		return "", &usageError{fmt.Errorf("the %s is needed: give --%s FILE (- for stdin)", what, flag)}
	}
	_, _ = fmt.Fprintf(c.Stderr, "%s: ", what) // a prompt that cannot be shown is followed by the same question
	text, err := term.ReadPassword(int(stdin.Fd()))
	_, _ = fmt.Fprintln(c.Stderr)
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	if len(text) == 0 {
		return "", fmt.Errorf("no %s was given", what)
	}
	return string(text), nil
}

// confirm asks the person at the terminal; scripts say --yes.
func (c *command) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	stdin, isFile := c.Stdin.(*os.File)
	if !isFile || !term.IsTerminal(int(stdin.Fd())) {
		return &usageError{errors.New("this cannot be undone: say --yes")}
	}
	_, _ = fmt.Fprintf(c.Stderr, "%s Type yes to go on: ", question) // as above
	line, err := bufio.NewReader(io.LimitReader(stdin, 64)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// needsCommand is the body of a group: it does nothing by itself.
func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("unknown command %q, see %s --help", args[0], cmd.CommandPath())}
	}
	return &usageError{fmt.Errorf("%s needs a sub-command, see %s --help", cmd.Name(), cmd.CommandPath())}
}
