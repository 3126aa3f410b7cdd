package assertion

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// fileMode is the mode of a key file that we make: the node may run as another user of the same group.
	fileMode fs.FileMode = 0o640
	// refusedBits are the modes that let a stranger read the key, or somebody other than the owner replace it.
	// Whoever can do either can speak to the node as any user.
	refusedBits fs.FileMode = 0o027

	maxFile = maxKeys * (kidLen + 1 + keyText + 1)

	// rereadEvery bounds how often an unknown kid makes us read the file again.
	rereadEvery = time.Second
)

// Create makes a key file with one new key if path does not exist, and reports whether it did. It never
// replaces a file: of several processes that start at once, one makes the file and all find the same key.
// The file appears with its full content and mode 0640, and is on disk when Create returns.
//
// The folder must exist, and its file system must know hard links: a link fails when its name is taken,
// where a rename would overwrite the key that another process already uses.
func Create(path string) (made bool, err error) {
	if _, err := os.Lstat(path); err == nil {
		return false, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("assertion key file: %w", err)
	}
	dir := filepath.Dir(path)
	tmp, err := writeTemp(dir, FormatKeys(GenerateKey()))
	if err != nil {
		return false, fmt.Errorf("assertion key file: %w", err)
	}
	defer func() { _ = os.Remove(tmp) }()
	if err := os.Link(tmp, path); errors.Is(err, fs.ErrExist) {
		return false, nil // another process was first
	} else if err != nil {
		return false, fmt.Errorf("assertion key file: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return true, fmt.Errorf("assertion key file: %w", err)
	}
	return true, nil
}

// Replace puts keys in the place of those in the key file at path, in one step: whoever reads it finds the old
// keys or the new ones. The file keeps its mode and its group, which let the node read it.
func Replace(path string, keys ...Key) error {
	if _, err := NewRing(keys...); err != nil {
		return err
	}
	old, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("assertion key file: %w", err)
	}
	tmp, err := writeTemp(filepath.Dir(path), FormatKeys(keys...))
	if err != nil {
		return fmt.Errorf("assertion key file: %w", err)
	}
	err = keepAccess(tmp, old)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("assertion key file: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("assertion key file: %w", err)
	}
	return nil
}

// keepAccess gives the new file the owner, the group and the mode of the old one.
func keepAccess(path string, old fs.FileInfo) error {
	made, err := os.Stat(path)
	if err != nil {
		return err
	}
	was, knownOld := old.Sys().(*syscall.Stat_t)
	is, knownNew := made.Sys().(*syscall.Stat_t)
	if knownOld && knownNew && (was.Uid != is.Uid || was.Gid != is.Gid) {
		if err := os.Chown(path, int(was.Uid), int(was.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(path, old.Mode().Perm()) // after the change of owner, which clears bits
}

// writeTemp writes data to a new file of dir, flushes it and returns its name. On error nothing is left behind.
func writeTemp(dir string, data []byte) (name string, err error) {
	f, err := os.CreateTemp(dir, ".assertion-*")
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := f.Chmod(fileMode); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator's own configuration names the folder
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// File is the ring of a key file. It is safe for concurrent use; signing and verifying take no lock unless
// an assertion names a key that the ring lacks.
type File struct {
	path string
	now  func() time.Time
	ring atomic.Pointer[Ring]

	mu       sync.Mutex // serialises reading
	lastRead time.Time
}

// Open reads the key file at path. It refuses one that others may read or write, or that the group may write
// (want mode 0640 or narrower). The clock decides when an unknown kid may cause another reading.
func Open(path string, now func() time.Time) (*File, error) {
	f := &File{path: path, now: now}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload reads the file again, for SIGHUP. On error the ring stays as it was.
func (f *File) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read()
}

// read replaces the ring; f.mu is held.
func (f *File) read() error {
	f.lastRead = f.now()
	text, err := readKeyFile(f.path)
	if err != nil {
		return err
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	ring, err := NewRing(keys...)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.ring.Store(ring)
	return nil
}

func readKeyFile(path string) (text []byte, err error) {
	h, err := os.Open(path) //nolint:gosec // the operator's own configuration names the file
	if err != nil {
		return nil, fmt.Errorf("assertion key file: %w", err)
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	st, err := h.Stat()
	if err != nil {
		return nil, fmt.Errorf("assertion key file: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrKeyFile)
	}
	if st.Mode().Perm()&refusedBits != 0 {
		return nil, fmt.Errorf("%s: %w: mode %04o lets others read or change the key; want %04o or narrower",
			path, ErrKeyFile, st.Mode().Perm(), fileMode)
	}
	text, err = io.ReadAll(io.LimitReader(h, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("assertion key file: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes", path, ErrKeyFile, maxFile)
	}
	return text, nil
}

// Ring returns the ring as last read.
func (f *File) Ring() *Ring { return f.ring.Load() }

// Sign signs with the ring as last read; see [Ring.Sign].
func (f *File) Sign(c Claim, exp time.Time) string { return f.ring.Load().Sign(c, exp) }

// Verify is [Ring.Verify] at the file's clock. An assertion by an unknown key makes it read the file again, at
// most once a second, because the gate may have rotated; if that fails the error says why.
func (f *File) Verify(header string, c Claim, leeway, maxTTL time.Duration) error {
	ring := f.ring.Load()
	err := ring.Verify(header, c, f.now(), leeway, maxTTL)
	if !errors.Is(err, ErrUnknownKey) {
		return err
	}
	fresh, readErr := f.refresh(ring)
	if readErr != nil {
		return fmt.Errorf("%w (%w)", err, readErr)
	}
	if fresh == ring {
		return err
	}
	return fresh.Verify(header, c, f.now(), leeway, maxTTL)
}

// refresh returns the ring that replaced stale, after reading the file if nobody did within the last second.
func (f *File) refresh(stale *Ring) (*Ring, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ring := f.ring.Load(); ring != stale {
		return ring, nil // replaced while we waited
	}
	if since := f.now().Sub(f.lastRead); since >= 0 && since < rereadEvery {
		return stale, nil
	}
	if err := f.read(); err != nil {
		return nil, err
	}
	return f.ring.Load(), nil
}
