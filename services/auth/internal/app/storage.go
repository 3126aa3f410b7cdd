package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
)

// DatabaseName is the file of the store in the storage directory.
const DatabaseName = "auth.db"

// openStorage opens the configured backend. A new backend is a case here and a package under kv.
func openStorage(c config.Storage, log *slog.Logger) (kv.DB, error) {
	if err := os.MkdirAll(c.Path, 0o700); err != nil {
		return nil, fmt.Errorf("storage.path: %w", err)
	}
	switch c.Type {
	case "memory":
		return memory.New(), nil
	case "bbolt":
		if bolt.LooksLikeRocksDB(c.Path) {
			return nil, fmt.Errorf("storage.path: %s holds a RocksDB of the reference service, which is not read: "+
				"choose an empty directory and see docs/migration.md", c.Path)
		}
		return bolt.Open(filepath.Join(c.Path, DatabaseName), bolt.Options{Log: log})
	}
	return nil, fmt.Errorf("storage.type: unknown backend %q", c.Type)
}
