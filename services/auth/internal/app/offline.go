package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// ShowBootstrap shows the bootstrap secret of a store that no service uses.
func ShowBootstrap(ctx context.Context, cfg config.Config, renew bool, log *slog.Logger) (shown bootstrap.Shown, err error) {
	if _, err := os.Stat(filepath.Join(cfg.Storage.Path, DatabaseName)); errors.Is(err, fs.ErrNotExist) {
		return shown, fmt.Errorf("there is no store in %s yet: start mero-auth once, or set storage.path as the service does", cfg.Storage.Path)
	}
	db, err := openStorage(cfg.Storage, log)
	if err != nil {
		return shown, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	records, err := store.Open(ctx, db)
	if err != nil {
		return shown, err
	}
	b := bootstrap.Service{
		Store: records, Dir: cfg.Storage.Path, Mode: cfg.Bootstrap.Mode, Configured: cfg.Bootstrap.Secret.Reveal(), Now: time.Now, Log: log,
	}
	return b.Show(ctx, renew)
}
