package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
)

// lines returns the decoded lines of a file, all of which must be whole.
func lines(t *testing.T, path string) (events []audit.Event) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 0 && !bytes.HasSuffix(raw, []byte("\n")) {
		t.Errorf("the file ends with a part of a line: %q", raw[max(0, len(raw)-80):])
	}
	for line := range strings.Lines(string(raw)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := audit.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// logBuffer is a log that another goroutine writes.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs a copy to f and returns it with the function that ends it.
func start(t *testing.T, f *os.File) (c *audit.File, log *logBuffer, stop func()) {
	t.Helper()
	log = new(logBuffer)
	c = audit.NewFile(f, func() time.Time { return noon }, slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return c, log, stop
}

func event(n int) audit.Event {
	return audit.Event{ID: uint64(n), Time: noon, Action: audit.LoggedIn, Outcome: audit.Success, Subject: fmt.Sprintf("s%d", n)}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	c, _, stop := start(t, open(t, path))
	for i := range 100 {
		c.Add(event(i))
	}
	stop() // writes what is queued
	got := lines(t, path)
	if len(got) != 100 || got[42] != event(42) {
		t.Errorf("%d lines, line 42 is %+v", len(got), got[min(42, len(got)-1)])
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("file: %v, %v, want mode 0600", info.Mode(), err)
	}
	c, _, stop = start(t, open(t, path)) // a restart appends
	c.Add(event(100))
	stop()
	if got := lines(t, path); len(got) != 101 || got[100] != event(100) || c.Dropped() != 0 {
		t.Errorf("%d lines after a restart, %d dropped", len(got), c.Dropped())
	}
}

// What rotates logs moves the file and asks for a new one: no line is lost on the way.
func TestFile_Reopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	c, _, stop := start(t, open(t, path))
	for i := range 300 {
		c.Add(event(i))
		if i%100 == 50 {
			if err := os.Rename(path, fmt.Sprintf("%s.%d", path, i)); err != nil {
				t.Fatal(err)
			}
			c.Use(t.Context(), open(t, path))
		}
	}
	stop()
	seen := map[string]int{}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 4 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, file := range files {
		for _, e := range lines(t, file) {
			seen[e.Subject]++
		}
	}
	for i := range 300 {
		if n := seen[event(i).Subject]; n != 1 {
			t.Fatalf("event %d is in the files %d times", i, n)
		}
	}
	c, _, stop = start(t, open(t, path))
	c.Use(t.Context(), nil)
	c.Add(event(1000))
	stop()
	if last := lines(t, path); last[len(last)-1].Subject == event(1000).Subject {
		t.Error("a copy that was switched off is written")
	}
}

// A disk that is full neither blocks nor fails anything. When there is room again, the file says what it lacks.
func TestFile_DiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	c, log, stop := start(t, full)
	for i := range 50 {
		c.Add(event(i))
	}
	deadline := time.Now().Add(time.Minute)
	for c.Dropped() < 50 {
		if time.Now().After(deadline) {
			t.Fatalf("%d lines counted as dropped, want 50", c.Dropped())
		}
		runtime.Gosched()
	}
	c.Use(t.Context(), open(t, path))
	c.Add(event(50))
	c.Add(event(51))
	stop()
	got := lines(t, path)
	if len(got) != 3 || got[0].Action != "audit.file_gap" || got[0].Count != 50 || got[1] != event(50) || got[2] != event(51) {
		t.Errorf("lines %+v, want the gap of 50 and two events", got)
	}
	if n := strings.Count(log.String(), "no space left on device"); n != 1 {
		t.Errorf("the log tells of the full disk %d times within a minute, want once: %s", n, log)
	}
}

// A file that takes nothing (here: a pipe that nobody reads) never holds up whoever makes the change.
func TestFile_NeverBlocks(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c, _, stop := start(t, write)
	const events = 20_000 // more than queue and pipe hold
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range events {
			c.Add(event(i))
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("Add waits for the file")
	}
	if c.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	if err := read.Close(); err != nil { // the stuck write fails
		t.Fatal(err)
	}
	stop()
}

// Attack: put a link, a device or a pipe where the file is to be.
func TestOpenFile_Refuses(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, dir, "/dev/null", filepath.Join(dir, "absent", "file")} {
		if f, err := audit.OpenFile(path); err == nil {
			t.Errorf("%s is opened", path)
			_ = f.Close()
		}
	}
	if raw, err := os.ReadFile(target); err != nil || string(raw) != "precious" {
		t.Errorf("the link's target holds %q, %v", raw, err)
	}
}
