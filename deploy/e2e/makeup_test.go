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

// blocks returns the lines of shell of a page, in the order of the page.
func (u *stranger) blocks(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(u.dir, page))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		all = append(all, block[1])
	}
	return all
}

// block returns the first lines of shell of a page that begin so.
func (u *stranger) block(t *testing.T, page, beginning string) string {
	t.Helper()
	for _, block := range u.blocks(t, page) {
		if strings.HasPrefix(block, beginning) {
			return block
		}
	}
	t.Fatalf("%s has no block of shell that begins with %q", page, beginning)
	return ""
}

// replaced is text with old replaced, which must be there.
func replaced(t *testing.T, text, old, by string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("the lines do not hold %q:\n%s", old, text)
	}
	return strings.ReplaceAll(text, old, by)
}

func TestStrangerClonesRunsAndPastes(t *testing.T) {
	t.Parallel()
	u := clone(t)
	s := &site{URL: u.url, secrets: stack.NewSecrets(), http: newHTTPClient()}

	started := time.Now()
	u.make(t, "up")
	t.Logf("make up took %.1f s", time.Since(started).Seconds())

	lines := replaced(t, u.block(t, "README.md", "URL="), "URL=http://localhost:8080\n", "URL="+u.url+"\n")
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

// The recipes begin where the README ends: a stack that `make up` has started natively, and the account of the README.
func TestRecipesWorkWhenPasted(t *testing.T) {
	t.Parallel()
	u := clone(t)
	u.make(t, "up")
	home := t.TempDir() // of the session that the command keeps
	u.env = append(u.env, "XDG_CONFIG_HOME="+home)
	password := filepath.Join(home, "password")
	if err := os.WriteFile(password, []byte("correct horse battery"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Nobody sits at a terminal here, so the password comes from a file.
	const login, fromFile = "mero-auth token login --user admin", " --password-file "
	firstLogin := login + fromFile + password + " --bootstrap-secret-file <(make -s bootstrap-secret)"
	recipe := u.block(t, "docs/recipes.md", ". .mero/env")
	out, set := u.paste(t, ". .mero/env\n"+firstLogin+"\n"+replaced(t, recipe, login, login+fromFile+password), "TOKEN")
	if !strings.Contains(out, `{"data":{"blobs":[]}}`) || strings.Count(set["TOKEN"], ".") != 2 || strings.Contains(out, "is no setting") {
		t.Errorf("the recipe for a machine's token prints\n%s", out)
	}
	var host strings.Builder
	for _, beginning := range []string{". .mero/env               #", "mero-auth secrets rotate --kind all", "mero-auth secrets rotate --kind access,refresh --now", "mero-auth backup auth-"} {
		for line := range strings.Lines(u.block(t, "docs/recipes.md", beginning)) {
			if !strings.HasPrefix(line, "docker ") {
				host.WriteString(strings.Replace(line, "\n", " && echo done || echo failed\n", 1))
			}
		}
	}
	// A comment would hide what is added behind it.
	lines := regexp.MustCompile(`(?m)\s+#.*?( && echo done)`).ReplaceAllString(host.String(), "$1")
	out, _ = u.paste(t, lines)
	if done := strings.Count(out, "done\n"); done < strings.Count(lines, "mero-auth ") || strings.Contains(out, "failed\n") {
		t.Errorf("the recipes on the host\n%sprint\n%s", lines, out)
	}
	u.make(t, "down")
	restore := u.block(t, "docs/recipes.md", "systemctl stop mero-auth")
	restore = regexp.MustCompile(`(?m)^systemctl.*\n`).ReplaceAllString(restore, "")
	u.paste(t, ". .mero/env\n"+replaced(t, restore, "auth-2026-03-01.backup", "auth-*.backup"))
	u.make(t, "up")
	out, _ = u.paste(t, replaced(t, recipe, login, login+fromFile+password))
	if !strings.Contains(out, `{"data":{"blobs":[]}}`) {
		t.Errorf("after the restore the recipe for a machine's token prints\n%s", out)
	}
}

// The page about the node begins with three ways to run it, which can be pasted one after the other.
func TestPageOfTheNodeWorksWhenPasted(t *testing.T) {
	t.Parallel()
	u := clone(t)
	addr := freeport.Addr()
	port := addr[strings.LastIndexByte(addr, ':'):]
	u.env = append(u.env, "MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/"+port[1:], "AUTH_LISTEN_ADDR="+freeport.Addr(), "AUTH_ADMIN_ADDR="+freeport.Addr())
	lines := "trap 'kill $(jobs -p); wait' EXIT\n" + strings.Join(u.blocks(t, "docs/node.md")[:3], "echo next\n") + "echo next\n" + u.block(t, "docs/node.md", "URL=")
	out, set := u.paste(t, replaced(t, lines, "localhost:2528", "localhost"+port), "ROOT")
	parts := strings.Split(out, "next\n")
	if len(parts) != 4 {
		t.Fatalf("the pasted lines print\n%s", out)
	}
	for i, want := range []string{`"blobs":[{`, `"error":`, "\n", `{"data":{"blobs":[]}}`} {
		if !strings.Contains(parts[i], want) {
			t.Errorf("the lines of block %d do not print %s:\n%s", i+1, want, parts[i])
		}
	}
	if !regexp.MustCompile(`(?m)^([0-9A-Z]{4}-){5}[0-9A-Z]{4}$`).MatchString(parts[2]) {
		t.Errorf("the third block prints no one-time secret:\n%s", parts[2])
	}
	if strings.Count(set["ROOT"], ".") != 2 {
		t.Errorf("the block with the login makes no token:\n%s", out)
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
