package bolt

import (
	"os"
	"path/filepath"
)

// LooksLikeRocksDB reports whether dir holds a RocksDB database, which is what the reference service leaves behind.
// The caller must refuse it: opening a store beside it would look like an empty service.
func LooksLikeRocksDB(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); err != nil {
		return false
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if ok, _ := filepath.Match("MANIFEST-*", e.Name()); ok {
			return true
		}
	}
	return false
}
