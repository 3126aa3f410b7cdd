package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// files are the compiled modules on disk: a directory for each module, named by the hash of what is compiled, in which
// the compiler keeps its files by its version and the processor. A directory's time is that of its last use.
type files struct {
	dir   string
	limit int64
	now   func() time.Time

	mu sync.Mutex // held by the one that counts and removes
}

func openFiles(dir string, limit int64, now func() time.Time) (*files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache of compiled modules: %w", err)
	}
	return &files{dir: dir, limit: limit, now: now}, nil
}

// compile compiles a module, or reads its machine code from disk. The cache never makes it fail: files that are
// damaged, or cannot be written, cost time only.
func (f *files) compile(ctx context.Context, in *instrumented, limits Limits) (*Module, error) {
	sum := sha256.Sum256(in.wasm)
	dir := filepath.Join(f.dir, hex.EncodeToString(sum[:]))
	m, err := newModule(ctx, in, limits, dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return newModule(ctx, in, limits, "")
	}
	now := f.now()
	_ = os.Chtimes(dir, now, now) // the file system may not keep times: then the order is that of compiling
	f.trim(dir)
	return m, nil
}

// entry is the directory of one module.
type entry struct {
	path string
	used time.Time
	size int64
}

// trim removes what was not used for the longest time until the rest is within the limit. One directory stays.
func (f *files) trim(stays string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dirs, err := os.ReadDir(f.dir)
	if err != nil {
		return
	}
	entries, total := make([]entry, 0, len(dirs)), int64(0)
	for _, d := range dirs {
		e := entry{path: filepath.Join(f.dir, d.Name())}
		if info, err := d.Info(); err == nil {
			e.used = info.ModTime()
		}
		e.size = size(e.path)
		entries = append(entries, e)
		total += e.size
	}
	slices.SortFunc(entries, func(a, b entry) int { return a.used.Compare(b.used) })
	for _, e := range entries {
		if total <= f.limit {
			return
		}
		if e.path != stays && os.RemoveAll(e.path) == nil {
			total -= e.size
		}
	}
}

// size returns how much the files under a path hold. What vanishes meanwhile does not count.
func size(path string) (total int64) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		if info, err := d.Info(); err == nil && !d.IsDir() {
			total += info.Size()
		}
		return nil
	})
	return total
}
