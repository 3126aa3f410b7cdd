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

	"github.com/calimero-network/mero-go/pkg/buildinfo"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/gatekey"
	"github.com/calimero-network/mero-go/services/auth/internal/highwater"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Offline is what the commands of an operator can do with a store that no service uses.
type Offline struct {
	*operate.Service
	db kv.DB
}

// Close releases the store.
func (o Offline) Close() error { return o.db.Close() }

// OpenOffline opens the store of a configuration for the commands of an operator, with its secrets.
func OpenOffline(ctx context.Context, cfg config.Config, log *slog.Logger) (Offline, error) {
	db, records, err := openRecords(ctx, cfg, log)
	if err != nil {
		return Offline{}, err
	}
	s, err := openOperate(ctx, cfg, db, records, time.Now, log)
	if err != nil {
		return Offline{}, errors.Join(err, db.Close())
	}
	return Offline{s, db}, nil
}

// DatabasePath is the file of the store.
func DatabasePath(cfg config.Config) string { return filepath.Join(cfg.Storage.Path, DatabaseName) }

// MarkPath is the file of the store's mark, which stays where it is when the store is copied.
func MarkPath(cfg config.Config) string { return filepath.Join(cfg.Secrets.KeyDir, highwater.FileName) }

// openRecords opens a store that exists.
func openRecords(ctx context.Context, cfg config.Config, log *slog.Logger) (kv.DB, *store.Store, error) {
	if _, err := os.Stat(DatabasePath(cfg)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("there is no store in %s yet: start mero-auth once, or set storage.path as the service does", cfg.Storage.Path)
	}
	db, err := openStorage(cfg.Storage, log)
	if err != nil {
		return nil, nil, err
	}
	records, err := store.Open(ctx, db)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, records, nil
}

// openOperate opens the master key, the signing secrets and the keys that gate and node share.
func openOperate(ctx context.Context, cfg config.Config, db kv.DB, records *store.Store, now func() time.Time, log *slog.Logger) (*operate.Service, error) {
	if err := os.MkdirAll(cfg.Secrets.KeyDir, 0o700); err != nil {
		return nil, fmt.Errorf("secrets.key_dir: %w", err)
	}
	keyring, master, err := operate.OpenSecrets(ctx, db, MasterSource(cfg), secret.Options{
		Now: now, Rotation: cfg.Secrets.Rotation, Grace: cfg.Secrets.Grace, Log: log, Audit: records.Audit,
	})
	if err != nil {
		return nil, err
	}
	shared, err := gatekey.OpenShared(cfg.Assertion.KeyFile, now, log)
	if err != nil {
		return nil, fmt.Errorf("assertion.key_file: %w", err)
	}
	var mark *highwater.Mark
	if cfg.Storage.Type != "memory" {
		mark = &highwater.Mark{DB: db, File: MarkPath(cfg), Log: log}
	}
	return &operate.Service{
		DB: db, Mark: mark, Records: records, Secrets: keyring, Master: master,
		Shared: shared, Published: gatekey.NewPublished(keyring, cfg.Assertion.JWKSFile), Bootstrap: openBootstrap(cfg, records, now, log),
		Lifetimes: map[secret.Kind]time.Duration{
			secret.Access: max(cfg.JWT.AccessExpiry, cfg.JWT.MachineMax), secret.Refresh: cfg.JWT.RefreshExpiry,
			secret.Challenge: challenge.Lifetime, secret.CSRF: challenge.Lifetime, secret.JWKS: secret.PublishedGrace,
		},
		Program: "mero-auth " + buildinfo.Version, Now: now, Log: log,
	}, nil
}

// MasterSource says where the configuration has the master key.
func MasterSource(cfg config.Config) operate.MasterSource {
	return operate.MasterSource{Text: cfg.Secrets.MasterKey.Reveal(), File: cfg.Secrets.MasterKeyFile}
}

func openBootstrap(cfg config.Config, records *store.Store, now func() time.Time, log *slog.Logger) *bootstrap.Service {
	return &bootstrap.Service{
		Store: records, Dir: cfg.Storage.Path, Mode: cfg.Bootstrap.Mode, Configured: cfg.Bootstrap.Secret.Reveal(), Now: now, Log: log,
	}
}

// ShowBootstrap shows the bootstrap secret of a store that no service uses. It needs no master key.
func ShowBootstrap(ctx context.Context, cfg config.Config, renew bool, log *slog.Logger) (shown bootstrap.Shown, err error) {
	db, records, err := openRecords(ctx, cfg, log)
	if err != nil {
		return shown, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return openBootstrap(cfg, records, time.Now, log).Show(ctx, renew)
}

// ResetSecrets is [operate.ResetSecrets] for the store of a configuration, which no service may use.
func ResetSecrets(ctx context.Context, cfg config.Config, from []secret.Exported, log *slog.Logger) (err error) {
	db, _, err := openRecords(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return operate.ResetSecrets(ctx, db, MasterSource(cfg), from, time.Now())
}
