package shortdir_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/shortdir"
)

func TestNew(t *testing.T) {
	for name, base := range map[string]string{"as it is": os.TempDir(), "a long TMPDIR": filepath.Join(t.TempDir(), strings.Repeat("x", 80))} {
		if err := os.MkdirAll(base, 0o700); err != nil {
			t.Fatal(err)
		}
		var dir string
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", base)
			dir = shortdir.New(t)
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "mero-auth-control-of-a-node.sock"))
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: the directory is still there: %v", name, err)
		}
	}
}
