//go:build root

package audit_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
)

// On a disk that fills up in the middle of a line, every line in the file is whole all the same.
func TestFile_DiskFillsUp(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "audit.jsonl")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 960<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, stop := start(t, open(t, path))
	for i := range 1000 {
		e := event(i)
		e.Detail = strings.Repeat("x", i%200)
		c.Add(e)
	}
	deadline := time.Now().Add(time.Minute)
	for c.Dropped() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the disk does not fill up")
		}
		runtime.Gosched()
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		c.Add(event(1000 + i))
	}
	stop()
	written, missing := uint64(0), uint64(0)
	for _, e := range lines(t, path) {
		if e.Action == audit.LoggedIn {
			written++
		} else {
			missing += e.Count
		}
	}
	if written+missing != 1020 || missing == 0 {
		t.Errorf("%d events and %d missing ones in the file, want 1020 together; %d dropped", written, missing, c.Dropped())
	}
}
