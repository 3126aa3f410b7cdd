package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Faults by their number in the list of docs/testing.md, with the real binary. The list names the others.

// kids runs `secrets list` on a store that is not in use and returns the kid of every secret with its kind.
func (c *crash) kids(t *testing.T) (kids []string, stderr string, err error) {
	t.Helper()
	stdout, stderr, err := c.run(t, "secrets", "list", "--json")
	if err != nil {
		return nil, stderr, err
	}
	var listed []struct{ Kind, KID string }
	if err := json.Unmarshal([]byte(stdout), &listed); err != nil {
		t.Fatalf("secrets list: %v: %s", err, stdout)
	}
	for _, s := range listed {
		kids = append(kids, s.Kind+" "+s.KID)
	}
	slices.Sort(kids)
	return kids, stderr, nil
}

// 6: one byte of any page of the store flips. It is refused, or it opens with the secrets that it had: never with new
// ones.
func TestFlippedByteInEachPage(t *testing.T) {
	t.Parallel()
	flipBytes(t, 3, 1)
}

// flipBytes flips a byte of each page so often, and then until a store was refused and one was opened: what a byte means is
// another thing in each store.
func flipBytes(t *testing.T, seed uint64, rounds int) {
	t.Helper()
	c := newCrash(t, buildBinary(t), seed, 1)
	c.stop()
	path := filepath.Join(storagePath(c.env), "auth.db")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := c.kids(t)
	if err != nil || len(want) < 4 {
		t.Fatalf("secrets of the good store: %q, %v", want, err)
	}
	random := rand.New(rand.NewPCG(seed, 0))
	refused, opened := 0, 0
	for n, pages := 0, len(good)/os.Getpagesize(); n < rounds*pages || refused == 0 || opened == 0; n++ {
		if n == (rounds+50)*pages {
			t.Fatalf("%d refused, %d opened: the test has lost its sense", refused, opened)
		}
		page := n % pages * os.Getpagesize()
		damaged := bytes.Clone(good)
		used := len(bytes.TrimRight(good[page:page+os.Getpagesize()], "\x00"))
		if used == 0 {
			continue
		}
		at := page + random.IntN(used)
		damaged[at] ^= 1 << random.IntN(8)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		got, stderr, err := c.kids(t)
		switch {
		case err == nil && slices.Equal(got, want):
			opened++
		case err == nil:
			t.Errorf("byte %d: it opens with the secrets %q, want %q", at, got, want)
		case stderr == "" || strings.Contains(stderr, "goroutine"):
			t.Errorf("byte %d: %v without a word, or with a panic: %s", at, err, stderr)
		default:
			refused++
		}
	}
	t.Logf("%d refused, %d opened", refused, opened)
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	c.start(t)
	if status, err := c.call("GET", "/auth/validate", c.admin.Access, nil, nil); status != http.StatusOK {
		t.Errorf("the good file again: %d %v", status, err)
	}
}

// 7 and 9: what is no store, or one that another process has, is refused within five seconds, and left as it is.
func TestStoresThatAreNone(t *testing.T) {
	t.Parallel()
	c := newCrash(t, buildBinary(t), 4, 1)
	path := filepath.Join(storagePath(c.env), "auth.db")
	refused := func(what string, words ...string) {
		t.Helper()
		began := time.Now()
		_, stderr, err := c.run(t, "serve")
		exited, isExit := errors.AsType[*exec.ExitError](err)
		if !isExit || exited.ExitCode() != 1 || time.Since(began) > 25*time.Second || strings.Contains(stderr, "goroutine") {
			t.Errorf("%s: %v after %v\n%s", what, err, time.Since(began), stderr)
		}
		for _, word := range words {
			if !strings.Contains(stderr, word) {
				t.Errorf("%s: the error does not say %q: %s", what, word, stderr)
			}
		}
	}
	refused("a second process", "auth.db", "another process")
	if status, err := c.call("GET", "/auth/validate", c.admin.Access, nil, nil); status != http.StatusOK {
		t.Errorf("the first process after the second: %d %v", status, err)
	}
	c.stop()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(good, "\x00")) // the file is larger than what it holds
	for what, content := range map[string][]byte{
		"an empty file": {}, "half a file": good[:used/2], "all but the last page": good[:used-os.Getpagesize()], "a page": good[:os.Getpagesize()], "text": []byte(strings.Repeat("not a store\n", 1000)),
		"zeros": make([]byte, len(good)), "both meta pages damaged": slices.Concat(bytes.Repeat([]byte{0xff}, 2*os.Getpagesize()), good[2*os.Getpagesize():]),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(what, "auth.db")
		if is, err := os.ReadFile(path); err != nil || !bytes.Equal(is, content) {
			t.Errorf("%s: the refused file was changed, %v", what, err)
		}
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	refused("a directory", "auth.db")
	if err := errors.Join(os.Remove(path), os.WriteFile(path, good, 0o600)); err != nil {
		t.Fatal(err)
	}
	c.start(t)
	if status, err := c.call("GET", "/auth/validate", c.admin.Access, nil, nil); status != http.StatusOK {
		t.Errorf("the good file again: %d %v", status, err)
	}
}

// 2: the service dies somewhere in the rotation of its secrets. It starts with secrets that are whole, and no token in
// its grace is refused.
func TestKill9_DuringRotation(t *testing.T) {
	t.Parallel()
	killRotations(t, 9, 8)
}

// killRotations kills so often, and then until a rotation was completed.
func killRotations(t *testing.T, seed uint64, kills int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	c := newCrash(t, buildBinary(t), seed, 1)
	pairs := []tokenPair{c.admin}
	completed := 0
	for round := 0; round < kills || completed == 0; round++ {
		if round == kills+20 {
			t.Fatal("no rotation was completed")
		}
		var stop atomic.Bool
		rotating, done := make(chan struct{}), make(chan int, 1)
		go func() {
			n := 0
			defer func() { done <- n }()
			close(rotating)
			for !stop.Load() { // through the running service; once that is gone, on its store
				cmd := exec.CommandContext(context.WithoutCancel(t.Context()), c.binary, "secrets", "rotate", "--kind", "access")
				if cmd.Env = c.env; cmd.Run() == nil {
					n++
				}
			}
		}()
		<-rotating
		// One takes as long as the disk does: when none was completed it gets more time.
		timer := time.NewTimer(time.Duration((20+random.IntN(150))*(1+max(0, round-kills+1))) * time.Millisecond)
		<-timer.C
		c.stop()
		stop.Store(true)
		completed += <-done
		c.start(t)
		for i, pair := range pairs {
			if status, err := c.call("GET", "/auth/validate", pair.Access, nil, nil); status != http.StatusOK {
				t.Fatalf("a token of before kill %d: %d %v", i, status, err)
			}
			if _, status, err := c.refresh(pair); status != http.StatusOK {
				t.Fatalf("the refresh of a token of before kill %d: %d %v", i, status, err)
			}
		}
		pairs = nil
		for range 2 {
			var pair tokenPair
			if status, err := c.call("POST", "/auth/token", "", login("worker-0", ""), &pair); status != http.StatusOK {
				t.Fatalf("login: %d %v", status, err)
			}
			pairs = append(pairs, pair)
		}
	}
}

// 8: a store that goes back in time brings back what was revoked since, as docs/recipes.md says; what it says to do ends
// it, and what was revoked before the backup stays revoked.
func TestStoreThatGoesBack(t *testing.T) {
	t.Parallel()
	c := newCrash(t, buildBinary(t), 10, 1)
	file := filepath.Join(t.TempDir(), "auth.backup")
	pairs := make([]tokenPair, 2)
	for i := range pairs {
		if status, err := c.call("POST", "/auth/token", "", login("worker-0", ""), &pairs[i]); status != http.StatusOK {
			t.Fatalf("login: %d %v", status, err)
		}
	}
	end := func(i int) {
		t.Helper()
		if status, err := c.call("POST", "/admin/revoke", pairs[i].Access, nil, nil); status != http.StatusOK {
			t.Fatalf("revoke: %d %v", status, err)
		}
	}
	want := func(when string, early, late int) {
		t.Helper()
		for i, want := range []int{early, late} {
			if status, err := c.call("GET", "/auth/validate", pairs[i].Access, nil, nil); status != want {
				t.Errorf("%s, session %d: %d %v, want %d", when, i, status, err, want)
			}
		}
	}
	end(0)
	c.must(t, "backup", file)
	end(1)
	want("before the restore", http.StatusUnauthorized, http.StatusUnauthorized)
	c.stop()
	c.must(t, "restore", "--force", file)
	c.start(t)
	want("after the restore", http.StatusUnauthorized, http.StatusOK)
	c.must(t, "secrets", "rotate", "--kind", "access,refresh", "--now")
	want("after the rotation", http.StatusUnauthorized, http.StatusUnauthorized)
	if _, status, err := c.refresh(pairs[1]); status != http.StatusUnauthorized {
		t.Errorf("its refresh: %d %v", status, err)
	}
}
