package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

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
	text, err := c.prompt(what)
	if errors.Is(err, errNoTerminal) {
		return "", &usageError{fmt.Errorf("the %s is needed: give --%s FILE (- for stdin)", what, flag)}
	}
	if err == nil && len(text) == 0 {
		err = fmt.Errorf("no %s was given", what)
	}
	return string(text), err
}

var errNoTerminal = errors.New("there is no terminal")

// terminalIn returns the terminal that the command reads from.
func (c *command) terminalIn() (*os.File, error) {
	stdin, isFile := c.Stdin.(*os.File)
	if !isFile || !term.IsTerminal(int(stdin.Fd())) {
		return nil, errNoTerminal
	}
	return stdin, nil
}

// prompt asks the person at the terminal for a text that is not shown.
func (c *command) prompt(what string) ([]byte, error) {
	in, err := c.terminalIn()
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(c.Stderr, "%s: ", what) // a prompt that cannot be shown is followed by the same question
	text, err := term.ReadPassword(int(in.Fd()))
	_, _ = fmt.Fprintln(c.Stderr)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return text, nil
}

// confirm asks the person at the terminal; scripts say --yes.
func (c *command) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	in, err := c.terminalIn()
	if err != nil {
		return &usageError{errors.New("this cannot be undone: say --yes")}
	}
	_, _ = fmt.Fprintf(c.Stderr, "%s Type yes to go on: ", question) // as above
	line, err := bufio.NewReader(io.LimitReader(in, 64)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
