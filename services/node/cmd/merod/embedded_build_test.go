package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const authModule = "mero-go/services/auth"

// TestNoEmbed_HoldsNoCodeOfAuth: a merod built with the tag noembed has nothing of mero-auth in it, and says so.
func TestNoEmbed_HoldsNoCodeOfAuth(t *testing.T) {
	deps := func(tags ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "go", append(append([]string{"list", "-deps"}, tags...), ".")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if !strings.Contains(deps(), authModule+"/embed") {
		t.Error("the usual build lacks embedded authentication")
	}
	for line := range strings.Lines(deps("-tags", "noembed")) {
		for _, not := range []string{authModule, "lestrrat-go/jwx", "go-ethereum"} {
			if strings.Contains(line, not) {
				t.Errorf("a noembed build holds %s", line)
			}
		}
	}
	bin := filepath.Join(t.TempDir(), "merod")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "noembed", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	code, err := os.ReadFile(bin)
	if err != nil || bytes.Contains(code, []byte(authModule+"/internal")) {
		t.Errorf("the binary names packages of mero-auth (%v)", err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "--home", t.TempDir(), "-n", "n", "run", "--init", "--auth-mode", "embedded")
	cmd.Env = []string{"MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/0"}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "this build has no embedded authentication") {
		t.Errorf("run: %v, %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), bin, "auth").CombinedOutput(); err == nil {
		t.Errorf("merod auth: %s", out)
	}
}
