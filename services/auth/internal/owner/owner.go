// Package owner keeps files readable for the service when root makes them.
//
// Operators run commands as root on the host, and the service runs as another user. A key or a store that root made
// would be closed to the service at its next start.
package owner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Adopt gives a file that root has made to the owner of its directory. Of other users the system makes sure that they
// make files for themselves.
func Adopt(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	dir, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	st, known := dir.Sys().(*syscall.Stat_t)
	if !known || st.Uid == 0 {
		return nil
	}
	if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("give %s to the owner of its directory: %w", f.Name(), err)
	}
	return nil
}

// Replace gives a file other content in one step: whoever reads it, also after a crash, finds the old or the new one. The file
// belongs to the owner of its directory.
func Replace(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), Adopt(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
