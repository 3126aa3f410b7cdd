// Package shortdir makes the directories in which tests have Unix sockets.
package shortdir

import (
	"os"
	"testing"
)

// longest is how many bytes of a directory for temporary files leave enough of the 107 that the path of a Unix socket may
// have (unix(7)).
const longest = 40

// New returns an empty directory with a short path, which t removes at its end. [testing.T.TempDir] has the test's name in
// its path, and with it the path of a socket would be too long.
func New(t testing.TB) string {
	t.Helper()
	base := os.TempDir()
	if len(base) > longest {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "m") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
