package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/owner"
)

// open prepares the file and hands it to bbolt.
func (db *DB) open(opts Options) error {
	dir := filepath.Dir(db.path)
	if err := makeDir(dir); err != nil {
		return err
	}
	if err := checkDir(dir, opts.Log); err != nil {
		return err
	}
	if _, err := os.Lstat(db.path); errors.Is(err, fs.ErrNotExist) {
		if err := create(db.path); err != nil {
			return err
		}
	}
	err := guard(func() (err error) {
		db.bolt, err = bbolt.Open(db.path, 0o600, &bbolt.Options{
			OpenFile: func(path string, _ int, _ os.FileMode) (*os.File, error) {
				db.file, err = openFile(path, opts)
				return db.file, err
			},
			Timeout:         opts.Timeout, // unused, the file comes locked; without it a surprise would hang
			FreelistType:    bbolt.FreelistMapType,
			InitialMmapSize: mapSize,
			NoStatistics:    true,
		})
		return err
	})
	if err != nil {
		if db.file != nil {
			_ = db.file.Close() // bbolt did, unless it panicked
		}
		return err
	}
	db.bolt.AllocSize = growStep
	return nil
}

// makeDir makes dir and what is missing above it, and sees to it that the entries survive a power cut.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDir(filepath.Dir(dir)); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// checkDir refuses a directory in which others can swap the file. The modes of a directory that exists are not
// ours to change: it may be /tmp.
func checkDir(dir string, log *slog.Logger) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	mode := info.Mode()
	switch {
	case !mode.IsDir():
		return fmt.Errorf("%s: %w", dir, syscall.ENOTDIR)
	case mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0:
		return fmt.Errorf("%w: everybody may write to its directory (mode %v); chmod 700 or use a subdirectory", ErrUnsafe, mode)
	case mode.Perm()&0o077 != 0:
		log.WarnContext(context.Background(), "the directory of the store is open to other users, chmod 700 is better",
			"dir", dir, "mode", mode.String())
	}
	return nil
}

// create makes an empty store under another name and links it to path when it is whole, so that a file of that
// name is never half made. Somebody else's file of that name wins. A crash in between leaves a .new-* file.
func create(path string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := errors.Join(owner.Adopt(f), f.Close()); err != nil {
		return err
	}
	empty, err := bbolt.Open(f.Name(), 0o600, nil)
	if err != nil {
		return err
	}
	if err := empty.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the configured directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openFile returns the locked and inspected file. A file that was replaced while we waited for its lock is left
// alone: what was written to it would be lost.
func openFile(path string, opts Options) (*os.File, error) {
	for {
		f, err := lockFile(path, opts)
		if err != nil {
			return nil, err
		}
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Lstat(path); err == nil && os.SameFile(mine, there) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

func lockFile(path string, opts Options) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0) //nolint:gosec // the configured path
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%w: it is a symbolic link", ErrUnsafe)
	}
	if err != nil {
		return nil, err
	}
	err = inspect(f, opts)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// inspect locks the file and refuses what bbolt would stumble over.
func inspect(f *os.File, opts Options) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is no regular file (mode %v)", ErrNotDatabase, info.Mode())
	}
	if err := lock(f, opts.Timeout); err != nil {
		return err
	}
	if info, err = f.Stat(); err != nil { // another process may have changed it before it let go
		return err
	}
	m, err := readMeta(f, info.Size())
	if err != nil {
		return err
	}
	if err := verify(f, m, m.freelist == noFreelist); err != nil {
		return err
	}
	if m.alone {
		opts.Log.ErrorContext(context.Background(),
			"one of the two meta pages of the store is damaged and the other is used: the last commit may be missing, restore a backup if it matters",
			"file", f.Name(), "commit", m.txid)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		if err := f.Chmod(0o600); err != nil {
			return fmt.Errorf("%w: mode %v: %w", ErrUnsafe, mode, err)
		}
		opts.Log.WarnContext(context.Background(), "the store was open to other users and is closed to them now",
			"file", f.Name(), "mode", mode.String())
	}
	return nil
}

// lockInterval is how often a held lock is tried.
const lockInterval = 25 * time.Millisecond

// lock takes the exclusive lock that bbolt uses. bbolt takes it again, which changes nothing.
func lock(f *os.File, timeout time.Duration) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	retry := time.NewTicker(lockInterval)
	defer retry.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-retry.C:
		case <-deadline.C:
			return fmt.Errorf("%w (waited %v)", kv.ErrLocked, timeout)
		}
	}
}
