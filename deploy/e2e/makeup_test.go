package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
	"github.com/calimero-network/mero-go/pkg/freeport"
)

// stranger is somebody who has just cloned the repository.
type stranger struct {
	dir string // the clone
	env []string
	url string
}

// clone clones the repository at HEAD and chooses the ports of a native run. Whatever `make up` starts ends with the test.
func clone(t *testing.T) *stranger {
	t.Helper()
	dir := filepath.Join(runDir, fmt.Sprintf("clone%d", stacks.Add(1)))
	out, err := exec.CommandContext(t.Context(), "git", "clone", "--quiet", "--no-hardlinks", programs.Root, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	p := freeport.Port()
	u := &stranger{dir: dir, url: "http://localhost:" + p}
	for _, entry := range os.Environ() {
		// As from a shell: no settings of ours, and not the flags of a make that may run these tests.
		if name, _, _ := strings.Cut(entry, "="); !strings.HasPrefix(name, "AUTH_") && !strings.HasPrefix(name, "MERO") && !strings.HasPrefix(name, "MAKE") && name != "MFLAGS" {
			u.env = append(u.env, entry)
		}
	}
	u.env = append(u.env, "MERO_RUN=native", "MERO_PORT="+p, "MERO_NATIVE_AUTH_PORT="+freeport.Port(),
		"MERO_NATIVE_OPS_PORT="+freeport.Port(), "MERO_NATIVE_NODE_PORT="+freeport.Port())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if out, err := u.command(ctx, "make", "down").CombinedOutput(); err != nil {
			t.Errorf("make down: %v\n%s", err, out)
		}
	})
	return u
}

func (u *stranger) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = u.dir, u.env
	return cmd
}

// make runs a target and returns what it printed.
func (u *stranger) make(t *testing.T, target string) string {
	t.Helper()
	out, err := u.command(t.Context(), "make", target).CombinedOutput()
	if err != nil {
		t.Fatalf("make %s: %v\n%s", target, err, out)
	}
	return string(out)
}

// paste runs lines in a shell, as somebody pastes them, and returns what they printed and the variables that they set.
func (u *stranger) paste(t *testing.T, lines string, variables ...string) (string, map[string]string) {
	t.Helper()
	const mark = "variable "
	var script strings.Builder
	script.WriteString(lines)
	for _, name := range variables {
		fmt.Fprintf(&script, "\nprintf '\\n%s%s=%%s\\n' \"$%s\"", mark, name, name)
	}
	out, err := u.command(t.Context(), "bash", "-c", script.String()).CombinedOutput()
	if err != nil {
		t.Fatalf("the pasted lines: %v\n%s", err, out)
	}
	set := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		if name, value, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), mark), "="); found && strings.HasPrefix(line, mark) {
			set[name] = value
		}
	}
	return string(out), set
}

// readmeLines returns the README's walk-through with curl.
func readmeLines(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(block[1], "curl") && strings.HasPrefix(block[1], "URL=") {
			return block[1]
		}
	}
	t.Fatal("README.md has no block of shell that begins with URL= and calls curl")
	return ""
}

func TestStrangerClonesRunsAndPastes(t *testing.T) {
	t.Parallel()
	u := clone(t)
	s := &site{URL: u.url, secrets: stack.NewSecrets(), http: newHTTPClient()}

	started := time.Now()
	u.make(t, "up")
	t.Logf("make up took %.1f s", time.Since(started).Seconds())

	lines := strings.Replace(readmeLines(t, u.dir), "URL=http://localhost:8080", "URL="+u.url, 1)
	if !strings.HasPrefix(lines, "URL="+u.url) {
		t.Fatalf("the README's lines do not begin with the default address:\n%s", lines)
	}
	out, set := u.paste(t, lines, "ROOT", "APP")
	for want, times := range map[string]int{
		`{"data":{"blobs":[]}}`: 1, "Permission denied": 1, "HTTP/1.1 401": 1, "missing_token": 1,
		`"result":{"output":null}`: 1, `"result":{"output":"hello"}`: 2, `"type":"Unauthorized"`: 1,
	} {
		if got := strings.Count(out, want); got != times {
			t.Errorf("the README's lines print %q %d times, want %d:\n%s", want, got, times, out)
		}
	}
	root, app := set["ROOT"], set["APP"]
	if strings.Count(root, ".") != 2 || strings.Count(app, ".") != 2 {
		t.Fatalf("the README's lines make no tokens:\n%s", out)
	}
	content := random(100_000)
	s.call(t, "PUT", "/admin-api/blobs", root, content).want(t, http.StatusOK)
	second := u.make(t, "up")
	if !strings.Contains(second, "already runs") {
		t.Errorf("make up on a running stack prints\n%s", second)
	}

	u.make(t, "down")
	u.nothingListens(t)
	u.make(t, "up")
	s.call(t, "GET", "/admin-api/blobs", app, nil).want(t, http.StatusOK)
	if got := s.call(t, "GET", "/admin-api/blobs/"+blobID(content), root, nil).want(t, http.StatusOK); !bytes.Equal(got.body, content) {
		t.Error("the blob has changed over make down and make up")
	}

	u.make(t, "clean")
	u.nothingListens(t)
	if _, err := os.Stat(filepath.Join(u.dir, ".mero")); !os.IsNotExist(err) {
		t.Errorf(".mero after make clean: %v", err)
	}
	if out, err := u.command(t.Context(), "git", "status", "--porcelain", "--ignored").Output(); err != nil || len(out) > 0 {
		t.Errorf("after make clean: %v, %s", err, out)
	}
}

// The lines that `make up` prints are those of the README with everything filled in.
func TestLinesThatMakeUpPrintsWorkWhenPasted(t *testing.T) {
	t.Parallel()
	u := clone(t)
	printed := u.make(t, "up")
	var lines []string
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "ROOT=") || strings.HasPrefix(line, "APP=") || strings.HasPrefix(line, "curl ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) != 3 || !strings.Contains(printed, u.url) {
		t.Fatalf("make up prints no three lines to paste:\n%s", printed)
	}
	out, _ := u.paste(t, strings.Join(lines, "\n"))
	if !strings.Contains(out, "HTTP/1.1 200") || !strings.Contains(out, `{"data":{"blobs":[]}}`) {
		t.Errorf("the lines that make up prints give\n%s", out)
	}
}

// nothingListens fails the test when a port of the stack still answers.
func (u *stranger) nothingListens(t *testing.T) {
	t.Helper()
	for _, entry := range u.env {
		name, port, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "MERO_") || !strings.HasSuffix(name, "PORT") {
			continue
		}
		if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			t.Errorf("something still listens on %s", entry)
		}
	}
}
