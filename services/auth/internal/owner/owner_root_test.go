//go:build root

package owner_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/owner"
)

func TestAdopt(t *testing.T) {
	for _, uid := range []int{0, 65534} {
		dir := t.TempDir()
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(dir, "file"))
		if err != nil {
			t.Fatal(err)
		}
		if err := owner.Adopt(f); err != nil {
			t.Error(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != uid {
			t.Errorf("the file in a directory of %d belongs to %d:%d", uid, st.Uid, st.Gid)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
