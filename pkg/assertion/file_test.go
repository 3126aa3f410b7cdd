package assertion_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
)

// clock is a settable time source.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func writeKeys(t *testing.T, path string, keys ...assertion.Key) {
	t.Helper()
	if err := os.WriteFile(path, assertion.FormatKeys(keys...), 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "assertion.keys")
	made, err := assertion.Create(path)
	if err != nil || !made {
		t.Fatalf("Create = %v, %v, want true", made, err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o640 {
		t.Errorf("mode %v, want 0640", st.Mode())
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := assertion.ParseKeys(before); err != nil || len(keys) != 1 {
		t.Errorf("the new file holds %d keys, %v; want 1", len(keys), err)
	}

	made, err = assertion.Create(path)
	if err != nil || made {
		t.Errorf("second Create = %v, %v, want false", made, err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the second Create changed the file")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the folder holds %v, want only the key file", entries)
	}
}

// A key file that is there stays, however broken: replacing it would silently disconnect gate and node.
func TestCreate_NeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), dangling); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, dangling, dir} {
		if made, err := assertion.Create(path); made || err != nil {
			t.Errorf("Create(%s) = %v, %v, want false, nil", path, made, err)
		}
	}
	if st, err := os.Stat(empty); err != nil || st.Size() != 0 {
		t.Errorf("the empty file was changed: %v, %v", st, err)
	}
	if made, err := assertion.Create(filepath.Join(dir, "missing", "keys")); made || err == nil {
		t.Errorf("Create in a missing folder = %v, %v, want an error", made, err)
	}
}

func TestCreate_RaceHasOneWinner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assertion.keys")
	const n = 32
	var (
		wg    sync.WaitGroup
		start = make(chan struct{})
		made  = make([]bool, n)
		seen  = make([][]byte, n)
		errs  = make([]error, n)
	)
	for i := range n {
		wg.Go(func() {
			<-start
			if made[i], errs[i] = assertion.Create(path); errs[i] == nil {
				seen[i], errs[i] = os.ReadFile(path)
			}
		})
	}
	close(start)
	wg.Wait()
	winners := 0
	for i := range n {
		if errs[i] != nil {
			t.Fatalf("process %d: %v", i, errs[i])
		}
		if made[i] {
			winners++
		}
		if !bytes.Equal(seen[i], seen[0]) {
			t.Errorf("process %d saw another key than process 0", i)
		}
	}
	if winners != 1 {
		t.Errorf("%d processes made the file, want 1", winners)
	}
}

func TestOpen_Refused(t *testing.T) {
	dir := t.TempDir()
	clk := &clock{t: at}
	good := assertion.FormatKeys(testKey(t, 0))
	file := func(name string, mode fs.FileMode, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, mode := range []fs.FileMode{0o640, 0o600, 0o440, 0o400} {
		if _, err := assertion.Open(file(fmt.Sprintf("ok-%o", mode), mode, good), clk.now); err != nil {
			t.Errorf("Open of a file of mode %o: %v", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o644, 0o660, 0o642, 0o641, 0o666, 0o777} {
		_, err := assertion.Open(file(fmt.Sprintf("bad-%o", mode), mode, good), clk.now)
		if !errors.Is(err, assertion.ErrKeyFile) {
			t.Errorf("Open of a file of mode %o = %v, want ErrKeyFile", mode, err)
		}
	}
	if _, err := assertion.Open(file("large", 0o600, bytes.Repeat([]byte("x"), 1<<20)), clk.now); !errors.Is(err, assertion.ErrKeyFile) {
		t.Errorf("Open of a large file = %v, want ErrKeyFile", err)
	}
	if _, err := assertion.Open(dir, clk.now); !errors.Is(err, assertion.ErrKeyFile) {
		t.Errorf("Open of a folder = %v, want ErrKeyFile", err)
	}
	if _, err := assertion.Open(filepath.Join(dir, "none"), clk.now); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a missing file = %v, want fs.ErrNotExist", err)
	}
}

func TestFile_Reload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	clk := &clock{t: at}
	first, second := testKey(t, 0), testKey(t, 1)
	writeKeys(t, path, first)
	f, err := assertion.Open(path, clk.now)
	if err != nil {
		t.Fatal(err)
	}
	writeKeys(t, path, second, first)
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := f.Sign(claim, exp); got != testRing(t, second).Sign(claim, exp) {
		t.Errorf("after Reload Sign = %q, want the new first key %s", got, second.ID())
	}
	if err := os.WriteFile(path, []byte("broken"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); !errors.Is(err, assertion.ErrKeyFile) {
		t.Errorf("Reload of a broken file = %v, want ErrKeyFile", err)
	}
	if got := f.Ring().Keys(); len(got) != 2 || got[0] != second {
		t.Errorf("a failed Reload left the keys %v, want both", got)
	}
}

func TestFile_RereadsOnUnknownKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	clk := &clock{t: at}
	first, second, third := testKey(t, 0), testKey(t, 1), testKey(t, 2)
	writeKeys(t, path, first)
	f, err := assertion.Open(path, clk.now)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(k assertion.Key) error {
		return f.Verify(testRing(t, k).Sign(claim, exp), claim, leeway, maxTTL)
	}

	writeKeys(t, path, second, first)
	if err := verify(second); !errors.Is(err, assertion.ErrUnknownKey) {
		t.Errorf("within a second of the last reading: %v, want ErrUnknownKey", err)
	}
	clk.advance(999 * time.Millisecond)
	if err := verify(second); !errors.Is(err, assertion.ErrUnknownKey) {
		t.Errorf("999 ms after the last reading: %v, want ErrUnknownKey", err)
	}
	clk.advance(time.Millisecond)
	if err := verify(second); err != nil {
		t.Errorf("a second after the last reading: %v, want nil", err)
	}
	if err := verify(first); err != nil {
		t.Errorf("the older key of the ring: %v, want nil", err)
	}

	// A flood of unknown keys reads the file once: what is written right after that stays unseen.
	clk.advance(time.Second)
	if err := verify(third); !errors.Is(err, assertion.ErrUnknownKey) {
		t.Errorf("a key that is in no file: %v, want ErrUnknownKey", err)
	}
	writeKeys(t, path, third, second)
	for range 100 {
		if err := verify(third); !errors.Is(err, assertion.ErrUnknownKey) {
			t.Fatalf("during the flood: %v, want ErrUnknownKey", err)
		}
	}
	clk.advance(time.Second)
	if err := verify(third); err != nil {
		t.Errorf("after the flood: %v, want nil", err)
	}
	if err := verify(first); !errors.Is(err, assertion.ErrUnknownKey) {
		t.Errorf("the key that was dropped: %v, want ErrUnknownKey", err)
	}
}

// A clock that was set back must not keep the new key out for as long as it went back.
func TestFile_ClockSetBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	clk := &clock{t: at}
	first, second := testKey(t, 0), testKey(t, 1)
	writeKeys(t, path, first)
	f, err := assertion.Open(path, clk.now)
	if err != nil {
		t.Fatal(err)
	}
	writeKeys(t, path, second, first)
	clk.advance(-time.Hour)
	header := testRing(t, second).Sign(claim, clk.now().Add(time.Minute))
	if err := f.Verify(header, claim, leeway, maxTTL); err != nil {
		t.Errorf("Verify after the clock went back = %v, want nil", err)
	}
}

func TestFile_UnreadableWhenKeyIsUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	clk := &clock{t: at}
	first, second := testKey(t, 0), testKey(t, 1)
	writeKeys(t, path, first)
	f, err := assertion.Open(path, clk.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	clk.advance(time.Second)
	err = f.Verify(testRing(t, second).Sign(claim, exp), claim, leeway, maxTTL)
	if !errors.Is(err, assertion.ErrUnknownKey) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Verify with the file gone = %v, want ErrUnknownKey and the reason", err)
	}
	if err := f.Verify(f.Sign(claim, exp), claim, leeway, maxTTL); err != nil {
		t.Errorf("the keys in memory: %v, want nil", err)
	}
}

// Requests that arrive together right after a rotation all pass: those that wait for the reader use its ring,
// although the second in which nobody reads again has begun.
func TestFile_ConcurrentRotation(t *testing.T) {
	const n = 16
	path := filepath.Join(t.TempDir(), "keys")
	first, second := testKey(t, 0), testKey(t, 1)
	writeKeys(t, path, first)

	// Verify asks for the time after it took the ring. The clock holds the first n that ask until all have.
	var (
		together sync.WaitGroup
		calls    atomic.Int32
		holding  atomic.Bool
	)
	together.Add(n)
	now := func() time.Time {
		if holding.Load() && calls.Add(1) <= n {
			together.Done()
			together.Wait()
		}
		if holding.Load() {
			return at.Add(time.Second)
		}
		return at
	}
	f, err := assertion.Open(path, now)
	if err != nil {
		t.Fatal(err)
	}
	writeKeys(t, path, second, first)
	holding.Store(true)
	header := testRing(t, second).Sign(claim, exp)
	errs := make(chan error, n)
	for range n {
		go func() { errs <- f.Verify(header, claim, leeway, maxTTL) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Errorf("Verify during the rotation = %v, want nil", err)
		}
	}
}
