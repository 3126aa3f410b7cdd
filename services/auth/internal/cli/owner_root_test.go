//go:build root

package cli_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCommandsAsRoot_LeaveTheFilesToTheService runs every command that writes, as root, on the store of another user.
func TestCommandsAsRoot_LeaveTheFilesToTheService(t *testing.T) {
	env := environment(t)
	serve(t, env).stop()
	const uid = 65534
	dirs := []string{storagePath(env), storagePath(env) + ".key"}
	each := func(do func(path string)) {
		t.Helper()
		for _, dir := range dirs {
			err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
				if err == nil {
					do(path)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	each(func(path string) {
		if err := os.Lchown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	})
	backup := filepath.Join(t.TempDir(), "backup")
	for _, line := range []string{
		"secrets rotate --kind all", "secrets rotate --kind all --now", "secrets rotate --kind assertion", "secrets rotate --kind master", "keys recover",
		"backup " + backup, "restore --force " + backup, "secrets reset --yes",
	} {
		succeed(t, env, strings.Fields(line)...)
		each(func(path string) {
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != uid {
				t.Errorf("after %q %s belongs to %d:%d", line, path, st.Uid, st.Gid)
			}
		})
	}
}
