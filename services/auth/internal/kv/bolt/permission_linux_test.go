package bolt_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpen_PermissionIsNotDamage pins that a file which cannot be opened is never taken for a damaged one, which
// somebody would replace by a backup.
func TestOpen_PermissionIsNotDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "auth.db")
	if err := os.WriteFile(path, valid(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	withoutPrivilege(t, func() { wantRefused(t, path, fs.ErrPermission, "") })
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	withoutPrivilege(t, func() { wantRefused(t, filepath.Join(dir, "new.db"), fs.ErrPermission, "") })
}

// withoutPrivilege runs fn as somebody who is bound by the modes of files: root's file accesses go by another user.
func withoutPrivilege(t *testing.T, fn func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := unix.SetfsuidRetUid(0); err != nil {
				t.Fatal(err)
			}
		}()
	}
	fn()
}
