package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The process leaves no core file, and what it has in memory and environment is root's, not its user's.
func TestProcessKeepsItsMemory(t *testing.T) {
	t.Parallel()
	binary := buildBinary(t)
	env := environment(t)
	uid := uint32(os.Geteuid())
	var as *syscall.Credential
	if uid == 0 {
		// Everything of root is root's anyway: the service runs as somebody else.
		uid = 65534
		as = &syscall.Credential{Uid: uid, Gid: uid}
		for _, dir := range []string{filepath.Dir(binary), filepath.Dir(storagePath(env))} {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(filepath.Dir(storagePath(env)), int(uid), int(uid)); err != nil {
			t.Fatal(err)
		}
	}
	p := startLimitedAs(t, as, env, binary, "serve")
	proc := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	var core string
	for line := range strings.Lines(string(limits)) {
		if rest, is := strings.CutPrefix(line, "Max core file size"); is {
			core = strings.Join(strings.Fields(rest), " ")
		}
	}
	if core != "0 0 bytes" {
		t.Errorf("core files: %q, want none", core)
	}
	for _, name := range []string{"mem", "environ", "maps"} {
		info, err := os.Stat(proc + name)
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
			t.Errorf("%s belongs to user %d, as which the service runs; want root", name, owner)
		}
	}
	if status, err := os.ReadFile(proc + "status"); err != nil || !strings.Contains(string(status), fmt.Sprintf("Uid:\t%d\t", uid)) {
		t.Errorf("the service does not run as %d: %v", uid, err)
	}
}
