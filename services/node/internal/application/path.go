package application

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// openFile opens a file that may be installed, by its clean path. Links are followed as long as they stay below the same directory. What
// lies outside gets the same error whether it exists or not.
func (s *Service) openFile(path string) (*os.File, error) {
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("%w: want an absolute path", ErrPath)
	}
	for _, root := range s.Paths {
		if rel, err := filepath.Rel(root, path); err == nil && filepath.IsLocal(rel) {
			return openBelow(root, path)
		}
	}
	return nil, fmt.Errorf("%w: it is outside of the directories that may be installed from", ErrPath)
}

// openBelow opens a regular file below root. Both are resolved first, because an absolute link that stays below root
// is fine; opening then happens relative to root, so that no link made meanwhile leads out of it.
func openBelow(root, path string) (*os.File, error) {
	missing := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return fmt.Errorf("%w at %s", ErrNoFile, path)
		}
		return fmt.Errorf("%w: %s cannot be read", ErrPath, path)
	}
	resolvedRoot, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, missing(err)
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, missing(err)
	}
	rel, err := filepath.Rel(resolvedRoot, resolved)
	if err != nil || !filepath.IsLocal(rel) {
		return nil, fmt.Errorf("%w: it leads out of the directories that may be installed from", ErrPath)
	}
	dir, err := os.OpenRoot(resolvedRoot)
	if err != nil {
		return nil, missing(err)
	}
	defer func() { _ = dir.Close() }()
	// Before it is opened, because opening a device can do something, and a pipe can block; after it, because only then
	// it is certain to be the same file.
	if err := regular(dir.Lstat(rel)); err != nil {
		return nil, err
	}
	f, err := dir.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, missing(err)
	}
	if err := regular(f.Stat()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func regular(info fs.FileInfo, err error) error {
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is not a regular file", ErrPath)
	}
	return nil
}
