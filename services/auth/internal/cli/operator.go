package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
)

// operator carries out what an operator on the host may do: the running service over its control socket, or this
// process on a store that is not in use.
type operator interface {
	ListSecrets(ctx context.Context) ([]operate.Key, error)
	RotateSecrets(ctx context.Context, r operate.Rotation) ([]operate.Rotated, error)
	ImportSecrets(ctx context.Context, i operate.Import) (operate.Imported, error)
	ExportSecrets(ctx context.Context, passphrase []byte) ([]byte, error)
	ChangeMaster(ctx context.Context, m operate.MasterChange) (operate.MasterChanged, error)
	Backup(ctx context.Context, w io.Writer) error
	Recover(ctx context.Context, r operate.Recovery) (bootstrap.Shown, error)
}

// operate runs fn with the operator of the configured store; running says that it is the service.
func (c *command) operate(ctx context.Context, fn func(cfg config.Config, o operator, running bool) error) (err error) {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	client := control.Client{Dir: cfg.Storage.Path}
	if err := client.Ping(ctx); err == nil {
		return fn(cfg, client, true)
	} else if !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	offline, err := app.OpenOffline(ctx, cfg, c.quietLogger(cfg.Log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, offline.Close()) }()
	return fn(cfg, offline, false)
}

// quietLogger is for commands that print what they did themselves: only warnings and errors are logged, as text.
func (c *command) quietLogger(cfg config.Log) *slog.Logger {
	if cfg.Level != "debug" {
		cfg.Level = "warn"
	}
	cfg.Format = "text"
	return c.logger(cfg)
}

// passphrase returns the passphrase of a sealed file: of the file that the flag names, of the environment, or what
// the person at the terminal types, twice if it is a new one.
func (c *command) passphrase(file string, isNew bool) ([]byte, error) {
	if file == "" {
		file = c.getenv(config.EnvPassphraseFile)
	}
	if file != "" {
		text, err := readSmall(file)
		return []byte(strings.TrimRight(text, "\r\n")), err
	}
	if text := c.getenv(config.EnvPassphrase); text != "" {
		return []byte(text), nil
	}
	first, err := c.prompt("Passphrase")
	if errors.Is(err, errNoTerminal) {
		return nil, fmt.Errorf("%w to ask for the passphrase: use --passphrase-file or %s", err, config.EnvPassphraseFile)
	}
	if err != nil || !isNew {
		return first, err
	}
	second, err := c.prompt("The same again")
	if err == nil && string(first) != string(second) {
		err = errors.New("the two passphrases differ")
	}
	return first, err
}

// maxSmallFile bounds files of one line.
const maxSmallFile = 4 << 10

func readSmall(path string) (text string, err error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // read-only
	raw, err := io.ReadAll(io.LimitReader(f, maxSmallFile+1))
	if err == nil && len(raw) > maxSmallFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxSmallFile)
	}
	return string(raw), err
}
