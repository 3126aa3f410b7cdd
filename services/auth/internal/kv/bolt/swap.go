package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Swap puts the closed store in the file fresh in the place of the one in path, in one step: at no time is there none
// or half of one. What was in path is kept as keep, replacing an older one; it may be damaged. kv.ErrLocked says that
// a process uses it. When there is nothing in path, keep is not made.
func Swap(fresh, path, keep string) error {
	if err := swap(fresh, path, keep); err != nil {
		return fmt.Errorf("replace store %s: %w", path, err)
	}
	return nil
}

func swap(fresh, path, keep string) (err error) {
	old, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0) //nolint:gosec // the configured path
	if errors.Is(err, fs.ErrNotExist) {
		// The link fails where a service has made a store meanwhile; a rename would take it away from that service.
		if err := os.Link(fresh, path); err != nil {
			return err
		}
		return errors.Join(os.Remove(fresh), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	if err := lock(old, defaultTimeout); err != nil {
		return err
	}
	if err := os.Remove(keep); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, keep); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// LockDir takes the exclusive lock of a directory, so that one process at a time prepares a store in it. The lock
// ends with the file that is returned, or with the process.
func LockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir) //nolint:gosec // the configured path
	if err != nil {
		return nil, err
	}
	if err := lock(f, defaultTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("directory %s: %w", dir, err), f.Close())
	}
	return f, nil
}
