package gatekey_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/auth/internal/gatekey"
)

var quiet = slog.New(slog.DiscardHandler)

// clock is moved by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t *testing.T, path string, now func() time.Time) *gatekey.Shared {
	t.Helper()
	s, err := gatekey.OpenShared(path, now, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kids returns the ids in the file, as a node reads it.
func kids(t *testing.T, path string) (ids []string) {
	t.Helper()
	f, err := assertion.Open(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range f.Ring().Keys() {
		ids = append(ids, k.ID())
	}
	return ids
}

func wantKids(t *testing.T, when, path string, want ...string) {
	t.Helper()
	if got := kids(t, path); !slices.Equal(got, want) {
		t.Errorf("%s: the file holds %q, want %q", when, got, want)
	}
}

func step(t *testing.T, s *gatekey.Shared) time.Duration {
	t.Helper()
	d, err := s.Step(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func rotate(t *testing.T, s *gatekey.Shared, atOnce bool) string {
	t.Helper()
	kid, err := s.Rotate(t.Context(), atOnce)
	if err != nil {
		t.Fatal(err)
	}
	return kid
}

func TestOpenShared_MakesFileAndDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(dir, "assertion.keys")
	first := kidsOf(open(t, path, time.Now))
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("mode of the directory %v, %v, want 0750", info.Mode(), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode of the file %v, %v, want 0640", info.Mode(), err)
	}
	if again := kidsOf(open(t, path, time.Now)); !slices.Equal(again, first) {
		t.Errorf("opened again it holds %q, want %q", again, first)
	}
}

func kidsOf(s *gatekey.Shared) (ids []string) {
	for _, k := range s.File().Ring().Keys() {
		ids = append(ids, k.ID())
	}
	return ids
}

// TestRotate is a whole rotation. Between any two steps the process ends and another goes on.
func TestRotate(t *testing.T) {
	c, path := newClock(), filepath.Join(t.TempDir(), "assertion.keys")
	s := open(t, path, c.Now)
	old := kids(t, path)[0]
	if d := step(t, s); d != 0 {
		t.Errorf("without a rotation the next step is in %v", d)
	}
	next := rotate(t, s, false)
	wantKids(t, "appended", path, old, next)
	if got := kidsOf(s); !slices.Equal(got, []string{old, next}) {
		t.Errorf("the process signs with %q", got)
	}
	for _, tt := range []struct {
		pass time.Duration
		want []string
	}{
		{29 * time.Second, []string{old, next}},
		{time.Second, []string{next, old}},
		{61*time.Minute - time.Second, []string{next, old}},
		{time.Second, []string{next}},
		{time.Hour, []string{next}},
	} {
		c.advance(tt.pass)
		s = open(t, path, c.Now)
		step(t, s)
		wantKids(t, fmt.Sprint("after ", tt.pass), path, tt.want...)
		if got := kidsOf(s); !slices.Equal(got, tt.want) {
			t.Errorf("after %v the process signs with %q, want %q", tt.pass, got, tt.want)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestRotate_AtOnce(t *testing.T) {
	c, path := newClock(), filepath.Join(t.TempDir(), "assertion.keys")
	s := open(t, path, c.Now)
	rotate(t, s, false)
	only := rotate(t, s, true)
	wantKids(t, "at once", path, only)
	c.advance(2 * time.Hour)
	step(t, s)
	wantKids(t, "later", path, only)
}

// TestRotate_AgainMeanwhile: a key that has not signed yet is replaced by the next one and never signs.
func TestRotate_AgainMeanwhile(t *testing.T) {
	c, path := newClock(), filepath.Join(t.TempDir(), "assertion.keys")
	s := open(t, path, c.Now)
	old := kids(t, path)[0]
	rotate(t, s, false)
	c.advance(10 * time.Second)
	second := rotate(t, s, false)
	wantKids(t, "two rotations", path, old, second)
	c.advance(30 * time.Second)
	step(t, s)
	third := rotate(t, s, false)
	wantKids(t, "a third while the first is being dropped", path, second, old, third)
	c.advance(61 * time.Minute)
	step(t, s)
	wantKids(t, "the first is dropped", path, third, second)
	c.advance(61 * time.Minute)
	step(t, s)
	wantKids(t, "in the end", path, third)
}

// TestRotate_KeysOfTheOwnerStay: whoever keeps further keys in the file (of another gate) finds them there.
func TestRotate_KeysOfTheOwnerStay(t *testing.T) {
	c, path := newClock(), filepath.Join(t.TempDir(), "assertion.keys")
	s := open(t, path, c.Now)
	other := assertion.GenerateKey()
	first := s.File().Ring().Keys()[0]
	if err := assertion.Replace(path, first, other); err != nil {
		t.Fatal(err)
	}
	next := rotate(t, s, false)
	wantKids(t, "appended", path, first.ID(), other.ID(), next)
	c.advance(time.Minute)
	step(t, s)
	c.advance(2 * time.Hour)
	step(t, s)
	wantKids(t, "in the end", path, next, other.ID())
}

// TestStep_ProcessDiedWithinAStep makes each state that kill -9 between two writes of a step leaves.
func TestStep_ProcessDiedWithinAStep(t *testing.T) {
	c, path := newClock(), filepath.Join(t.TempDir(), "assertion.keys")
	plan := path + ".rotation"
	s := open(t, path, c.Now)
	a := s.File().Ring().Keys()[0]
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(plan, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	planned := func(when string, want bool) {
		t.Helper()
		if _, err := os.Stat(plan); (err == nil) != want {
			t.Errorf("%s: the plan is there: %t, want %t", when, err == nil, want)
		}
	}
	b := assertion.GenerateKey()
	at := func(d time.Duration) int64 { return c.Now().Add(d).Unix() }

	write(fmt.Sprintf(`{"v":1,"promote":{"kid":%q,"at":%d}}`, b.ID(), at(30*time.Second)))
	c.advance(time.Minute)
	step(t, open(t, path, c.Now))
	wantKids(t, "the plan was written, the key not", path, a.ID())
	planned("the plan was written, the key not", false)

	if err := assertion.Replace(path, b, a); err != nil {
		t.Fatal(err)
	}
	write(fmt.Sprintf(`{"v":1,"promote":{"kid":%q,"at":%d}}`, b.ID(), at(-time.Second)))
	step(t, open(t, path, c.Now))
	wantKids(t, "the key is first already", path, b.ID(), a.ID())
	c.advance(61 * time.Minute)
	step(t, open(t, path, c.Now))
	wantKids(t, "and then the old one goes", path, b.ID())
	planned("in the end", false)

	write(fmt.Sprintf(`{"v":1,"drop":[{"kid":%q,"at":%d}]}`, a.ID(), at(-time.Second)))
	step(t, open(t, path, c.Now))
	wantKids(t, "the old key is out of the file already", path, b.ID())
	planned("the old key is out of the file already", false)

	write(fmt.Sprintf(`{"v":1,"drop":[{"kid":%q,"at":%d}]}`, b.ID(), at(-time.Second)))
	step(t, open(t, path, c.Now))
	wantKids(t, "a plan to drop the key that signs", path, b.ID())

	for _, bad := range []string{"", "x", `{"v":2}`, strings.Repeat(" ", 10_000)} {
		write(bad)
		if _, err := open(t, path, c.Now).Step(t.Context()); err == nil || !strings.Contains(err.Error(), plan) {
			t.Errorf("a plan %.10q: %v, want an error that names the file", bad, err)
		}
		wantKids(t, "a damaged plan", path, b.ID())
	}
}

func TestRotate_FullFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assertion.keys")
	s := open(t, path, time.Now)
	var keys []assertion.Key
	for range 16 {
		keys = append(keys, assertion.GenerateKey())
	}
	if err := assertion.Replace(path, keys...); err != nil {
		t.Fatal(err)
	}
	before := kids(t, path)
	if kid, err := s.Rotate(t.Context(), false); err == nil {
		t.Errorf("a seventeenth key %s", kid)
	}
	wantKids(t, "refused", path, before...)
	rotate(t, s, true)
}

// TestRun does in time what Step does when told, and takes part in rotations that come later.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assertion.keys")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, time.Now)
		old := kids(t, path)[0]
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx)
		}()
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		pass(3 * time.Hour)
		next := rotate(t, s, false)
		pass(29 * time.Second)
		wantKids(t, "after 29 s", path, old, next)
		pass(2 * time.Second)
		wantKids(t, "after 31 s", path, next, old)
		pass(61*time.Minute - 3*time.Second)
		wantKids(t, "before the grace is over", path, next, old)
		pass(4 * time.Second)
		wantKids(t, "after the grace", path, next)
		cancel()
		<-ended
	})
}

func TestRun_FailureIsLoggedAndRepeated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assertion.keys")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s, err := gatekey.OpenShared(path, time.Now, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		next := rotate(t, s, false)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx)
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		cancel()
		<-ended
		if got := kids(t, path)[0]; got != next {
			t.Errorf("%s is first, want %s", got, next)
		}
		if !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("log = %q", log.String())
		}
	})
}

func TestList(t *testing.T) {
	c, path := newClock(), filepath.Join(t.TempDir(), "assertion.keys")
	s := open(t, path, c.Now)
	states := func() (out []string) {
		t.Helper()
		list, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list {
			out = append(out, fmt.Sprint(k.State, " ", !k.From.IsZero(), " ", !k.Until.IsZero()))
		}
		return out
	}
	rotate(t, s, false)
	if got, want := states(), []string{"signing false false", "coming true false"}; !slices.Equal(got, want) {
		t.Errorf("appended: %q, want %q", got, want)
	}
	c.advance(time.Minute)
	step(t, s)
	if got, want := states(), []string{"signing false false", "verifying false true"}; !slices.Equal(got, want) {
		t.Errorf("promoted: %q, want %q", got, want)
	}
}
