// Package owner keeps files readable for the service when root makes them.
//
// Operators run commands as root on the host, and the service runs as another user. A key or a store that root made
// would be closed to the service at its next start.
package owner

import (
	"fmt"
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
