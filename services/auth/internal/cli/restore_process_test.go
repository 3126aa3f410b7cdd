package cli_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
)

// run runs a command of the binary to its end.
func (c *crash) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.binary, args...)
	var out, errs strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func (c *crash) must(t *testing.T, args ...string) {
	t.Helper()
	if _, stderr, err := c.run(t, args...); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, stderr)
	}
}

// killed runs a command and kills it after a while. It reports whether the command had ended before.
func (c *crash) killed(t *testing.T, after time.Duration, args ...string) (ended bool) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), c.binary, args...)
	cmd.Env = c.env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // the error says that it has ended
	defer timer.Stop()
	err := cmd.Wait()
	exited, isExit := errors.AsType[*exec.ExitError](err)
	if isExit && exited.Exited() {
		t.Fatalf("%q: %v", args, err)
	}
	return err == nil
}

func (c *crash) stop() {
	c.process.kill()
	<-c.process.gone
}

// TestRestore_SessionsGoOn is the whole way with the real binary: a backup of the running service, a lost disk, a restore.
func TestRestore_SessionsGoOn(t *testing.T) {
	t.Parallel()
	c := newCrash(t, buildBinary(t), 1, 1)
	file := filepath.Join(t.TempDir(), "auth.backup")
	refresh := func(p tokenPair) (tokenPair, int) {
		t.Helper()
		next, status, _ := c.refresh(p)
		return next, status
	}
	var early tokenPair
	if status, err := c.call("POST", "/auth/token", "", login("worker-0", ""), &early); status != http.StatusOK {
		t.Fatalf("login: %d %v", status, err)
	}
	c.must(t, "backup", file)
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode of the backup: %v, %v", info.Mode(), err)
	}
	var late tokenPair
	if status, err := c.call("POST", "/auth/token", "", login("worker-0", ""), &late); status != http.StatusOK {
		t.Fatalf("login: %d %v", status, err)
	}
	if stdout, stderr, err := c.run(t, "restore", "--force", file); err == nil || !strings.Contains(stderr, "is running") {
		t.Errorf("restore under a running service: %v %q %q", err, stdout, stderr)
	}
	c.stop()
	if err := os.RemoveAll(storagePath(c.env)); err != nil {
		t.Fatal(err)
	}
	c.must(t, "restore", file)
	c.start(t)
	for what, pair := range map[string]tokenPair{"the administrator": c.admin, "the worker": early} {
		if status, err := c.call("GET", "/auth/validate", pair.Access, nil, nil); status != http.StatusOK {
			t.Errorf("%s's access token: %d %v", what, status, err)
		}
		if next, status := refresh(pair); status != http.StatusOK || subject(t, next.Access) != subject(t, pair.Access) {
			t.Errorf("%s's refresh: %d", what, status)
		}
	}
	if status, _ := c.call("GET", "/auth/validate", late.Access, nil, nil); status != http.StatusUnauthorized {
		t.Errorf("a session from after the backup: %d, want 401", status)
	}
	if status, err := c.call("POST", "/auth/token", "", login("worker-0", ""), &late); status != http.StatusOK {
		t.Errorf("login after the restore: %d %v", status, err)
	}

	// The same on another host, whose master key is another.
	c.stop()
	other := &crash{binary: c.binary, env: environment(t)}
	other.start(t)
	other.stop()
	if _, stderr, err := other.run(t, "restore", "--force", file); err == nil || !strings.Contains(stderr, "another master key") || !strings.Contains(stderr, "Lost master key") {
		t.Errorf("with a wrong master key: %v %q", err, stderr)
	}
	other.start(t) // unharmed
}

// mark fills a store that is not in use with records that all say the same, so that a mixture would be noticed.
func mark(t *testing.T, env []string, text string, records int) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(storagePath(env), "auth.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx kv.Tx) error {
		for i := range records {
			if err := tx.Put("mark", fmt.Sprintf("%06d", i), []byte(text+strings.Repeat(".", 100))); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// marked returns what the records say and how many there are.
func marked(t *testing.T, env []string) (texts []string, records int) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(storagePath(env), "auth.db"), bolt.Options{})
	if err != nil {
		t.Fatalf("the store does not open: %v", err)
	}
	err = db.View(t.Context(), func(tx kv.Tx) error {
		texts, records = nil, 0
		for _, raw := range tx.Scan("mark", "") {
			records++
			if text := strings.TrimRight(string(raw), "."); !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
		return nil
	})
	if err = errors.Join(err, db.Check(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return texts, records
}

// TestKill9_DuringRestore: whenever the restore dies, the store is the old one or the new one, and it starts.
func TestKill9_DuringRestore(t *testing.T) {
	t.Parallel()
	killRestores(t, 7, 4, 4000)
}

// killRestores kills at least so many restores, until both outcomes were seen.
func killRestores(t *testing.T, seed uint64, least, records int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	c := &crash{binary: buildBinary(t), env: environment(t)}
	c.start(t)
	c.stop()
	file := filepath.Join(t.TempDir(), "auth.backup")
	mark(t, c.env, "new", records)
	c.must(t, "backup", file)
	began := time.Now()
	c.must(t, "restore", "--force", file)
	lasts := time.Since(began)
	outcomes := map[string]int{}
	for i := 0; i < least || outcomes["new"] == 0 || outcomes["old"] == 0; i++ {
		if i == least+40 {
			t.Fatalf("of all restores %v: want both", outcomes)
		}
		mark(t, c.env, "old", records)
		c.killed(t, time.Duration(float64(lasts)*1.2*random.Float64()), "restore", "--force", file)
		texts, n := marked(t, c.env)
		if len(texts) != 1 || n != records {
			t.Fatalf("after the kill the store holds %d records that say %q", n, texts)
		}
		outcomes[texts[0]]++
		c.must(t, "secrets", "list")
		switch { // the machine may be faster or slower now than it was when the measure was taken
		case outcomes["new"] == 0:
			lasts += lasts / 4
		case outcomes["old"] == 0:
			lasts -= lasts / 4
		}
	}
	c.must(t, "restore", "--force", file)
	if texts, n := marked(t, c.env); len(texts) != 1 || texts[0] != "new" || n != records {
		t.Errorf("a restore after all that: %d records that say %q", n, texts)
	}
	entries, err := filepath.Glob(filepath.Join(storagePath(c.env), "*"))
	if err != nil || slices.ContainsFunc(entries, func(e string) bool { return strings.Contains(e, "restoring") }) {
		t.Errorf("left behind: %q, %v", entries, err)
	}
	t.Logf("%v", outcomes)
}

// TestKill9_DuringTheChangeOfTheMasterKey: whenever it dies, the store opens with the keys that are there, and holds the
// same secrets.
func TestKill9_DuringTheChangeOfTheMasterKey(t *testing.T) {
	t.Parallel()
	killMasterChanges(t, 8, 10)
}

func killMasterChanges(t *testing.T, seed uint64, kills int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	c := &crash{binary: buildBinary(t), env: environment(t)}
	c.start(t)
	c.stop()
	key := storagePath(c.env) + ".key/master.key"
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want, _, err := c.run(t, "secrets", "list")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.must(t, "secrets", "rotate", "--kind", "master")
	lasts := time.Since(began)
	changed := 0
	for i := range kills {
		before := read()
		ended := c.killed(t, time.Duration(float64(lasts)*random.Float64()), "secrets", "rotate", "--kind", "master")
		got, stderr, err := c.run(t, "secrets", "list")
		if err != nil || got != want {
			t.Fatalf("after kill %d: %v\n%s\n%s", i, err, got, stderr)
		}
		if read() != before {
			changed++
		} else if ended {
			t.Error("the change was acknowledged and did not happen")
		}
	}
	t.Logf("%d of %d changes happened", changed, kills)
	c.start(t)
}
