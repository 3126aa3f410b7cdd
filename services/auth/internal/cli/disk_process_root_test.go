//go:build root

package cli_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// 3: the disk under the real binary fills up. What was issued goes on, nothing is issued that is not stored, a revocation that
// cannot be stored is not acknowledged, and it recovers without a restart. A kill -9 while the disk is full loses nothing.
func TestDiskFills(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=12m,mode=0700"); err != nil {
		t.Fatalf("mount a tmpfs (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	c := newCrash(t, buildBinary(t), 3, 1, "AUTH_STORAGE__PATH="+filepath.Join(disk, "s"), "AUTH_SECRETS__KEY_DIR="+filepath.Join(disk, "k"))
	c.stop()
	p := startLimited(t, c.env, c.binary, "serve") // whose log may complain of the disk
	c.process = &process{url: "http://" + p.data, client: &http.Client{Transport: &http.Transport{}}}
	filler := filepath.Join(disk, "filler")
	mint := func(i int) (pair tokenPair, status int, err error) {
		status, err = c.call("POST", "/admin/client-key", c.admin.Access, map[string]any{"permissions": []string{"blob:list"}, "name": fmt.Sprintf("%0128d", i)}, &pair)
		return pair, status, err
	}
	var issued []tokenPair
	if pair, status, err := mint(0); status == http.StatusOK {
		issued = append(issued, pair)
	} else {
		t.Fatalf("client key: %d %v", status, err)
	}
	fillDisk(t, filler)
	for refused, i := 0, 1; refused < 3; i++ { // free pages of the file may still take the first few
		pair, status, err := mint(i)
		switch {
		case status == http.StatusOK:
			issued = append(issued, pair)
		case status == http.StatusServiceUnavailable && pair.Access == "":
			refused++
		default:
			t.Fatalf("full disk: %d %v, token given: %t", status, err, pair.Access != "")
		}
		if i == 20_000 {
			t.Fatal("a full disk never refused anything")
		}
	}
	valid := func(when string) {
		t.Helper()
		for i, pair := range append(issued, c.admin) {
			if status, err := c.call("GET", "/auth/validate", pair.Access, nil, nil); status != http.StatusOK {
				t.Fatalf("%s, token %d: %d %v", when, i, status, err)
			}
		}
	}
	valid("while the disk is full")
	// What is small may still fit. Acknowledged is what holds.
	ended := issued[0]
	issued = issued[1:]
	status, err := c.call("POST", "/admin/revoke", ended.Access, nil, nil)
	want := map[int]int{http.StatusOK: http.StatusUnauthorized, http.StatusServiceUnavailable: http.StatusOK}[status]
	over := func(when string) {
		t.Helper()
		if got, err := c.call("GET", "/auth/validate", ended.Access, nil, nil); got != want {
			t.Errorf("%s, a session whose end was answered with %d: %d %v, want %d", when, status, got, err, want)
		}
	}
	if want == 0 {
		t.Fatalf("a revocation on a full disk: %d %v, want 200 or 503", status, err)
	}
	over("while the disk is full")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	pair, minted, err := mint(-1)
	if minted != http.StatusOK {
		t.Fatalf("with space again: %d %v, want a token without a restart", minted, err)
	}
	issued = append(issued, pair)
	valid("with space again")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err == nil {
		t.Error("it was killed, and ended well")
	}
	c.start(t)
	valid("after a kill -9")
	over("after a kill -9")
}

// fillDisk takes all the space that is left.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
