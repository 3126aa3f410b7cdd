package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/runtime"
)

// numbered are modules that differ.
func numbered(t testing.TB, i int) []byte {
	return assemble(t, fmt.Sprintf("global %d\nfunc run\nend func", i))
}

func TestOneModuleIsCompiledOnce(t *testing.T) {
	e := newEngine(t, nil)
	var reads atomic.Int32
	wasm, key, release := numbered(t, 1), [32]byte{1}, make(chan struct{})
	var group sync.WaitGroup
	modules := make([]*runtime.Module, 20)
	for i := range modules {
		group.Go(func() {
			var err error
			modules[i], err = e.Load(t.Context(), key, func(context.Context) ([]byte, error) {
				reads.Add(1)
				<-release
				return wasm, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	group.Wait()
	if reads.Load() != 1 {
		t.Errorf("read %d times", reads.Load())
	}
	for _, m := range modules {
		if m != modules[0] {
			t.Error("not the same module")
		}
	}
}

// A caller that gives up does not take the module from those who still wait.
func TestCallerGivesUpWhileAModuleIsRead(t *testing.T) {
	e := newEngine(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	wasm, reading, release := numbered(t, 1), make(chan struct{}), make(chan struct{})
	read := func(ctx context.Context) ([]byte, error) {
		close(reading)
		<-release
		return wasm, ctx.Err()
	}
	gaveUp := make(chan error)
	go func() {
		_, err := e.Load(ctx, [32]byte{1}, read)
		gaveUp <- err
	}()
	<-reading
	cancel()
	if err := <-gaveUp; !errors.Is(err, runtime.ErrHost) || !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the caller's", err)
	}
	waiting := make(chan error)
	go func() {
		_, err := e.Load(t.Context(), [32]byte{1}, read)
		waiting <- err
	}()
	close(release)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

func TestFailuresAreNotCached(t *testing.T) {
	e := newEngine(t, nil)
	wrong := errors.New("no such blob")
	load := func(wasm []byte, err error) error {
		_, got := e.Load(t.Context(), [32]byte{1}, func(context.Context) ([]byte, error) { return wasm, err })
		return got
	}
	if err := load(nil, wrong); !errors.Is(err, wrong) || err.Error() != wrong.Error() {
		t.Errorf("error = %v, want that of reading", err)
	}
	if err := load([]byte("text"), nil); !errors.Is(err, runtime.ErrBadModule) {
		t.Errorf("error = %v", err)
	}
	if err := load(numbered(t, 1), nil); err != nil {
		t.Errorf("error = %v", err)
	}
	if err := load(nil, wrong); err != nil {
		t.Errorf("the module was read again: %v", err)
	}
}

// The modules used last stay; one that was dropped still runs for whoever holds it.
func TestModulesInMemoryAreBounded(t *testing.T) {
	e := newEngine(t, func(o *runtime.Options) { o.Modules = 2 })
	reads := map[int]int{}
	load := func(i int) *runtime.Module {
		m, err := e.Load(t.Context(), [32]byte{byte(i)}, func(context.Context) ([]byte, error) {
			reads[i]++
			return numbered(t, i), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := load(1)
	load(2)
	load(1)
	load(3) // drops 2
	load(1)
	load(2) // drops 3
	load(3)
	if got := fmt.Sprint(reads); got != "map[1:1 2:2 3:2]" {
		t.Errorf("reads %s", got)
	}
	if _, err := e.Run(t.Context(), first, runtime.Call{Method: "run"}); err != nil {
		t.Error(err)
	}
}

// cached returns the files of the cache.
func cached(t testing.TB, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func compileIn(t testing.TB, dir string, wasm []byte) {
	t.Helper()
	e := newEngine(t, func(o *runtime.Options) { o.CacheDir = dir })
	m, err := e.Compile(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(context.Background(), m, runtime.Call{Method: "run"}); err != nil {
		t.Fatal(err)
	}
}

// Compiled modules outlive the process; a damaged file costs time only.
func TestCompiledModulesOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "compiled")
	wasm := numbered(t, 1)
	compileIn(t, dir, wasm)
	files := cached(t, dir)
	if len(files) != 1 {
		t.Fatalf("files %q", files)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(files[0])
	compileIn(t, dir, wasm)
	if after, err := os.Stat(files[0]); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the file was written again: %v", err)
	}
	for name, content := range map[string][]byte{
		"empty": nil, "cut": whole[:len(whole)/2], "one byte short": whole[:len(whole)-1], "noise": []byte(strings.Repeat("x", len(whole))),
		"a wrong length": append(append([]byte{}, whole[:40]...), strings.Repeat("\xff", 60)...),
	} {
		if files = cached(t, dir); len(files) == 1 {
			if err := os.WriteFile(files[0], content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		compileIn(t, dir, wasm)
		compileIn(t, dir, wasm)
		if files = cached(t, dir); len(files) != 1 {
			t.Errorf("%s: files %q", name, files)
		}
	}
}

// A directory that cannot be written does not keep modules from running.
func TestCacheOnAFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "compiled")
	e := newEngine(t, func(o *runtime.Options) { o.CacheDir = dir })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in its place
		t.Fatal(err)
	}
	if _, err := e.Compile(t.Context(), numbered(t, 1)); err != nil {
		t.Error(err)
	}
	if _, err := runtime.New(t.Context(), runtime.Options{CacheDir: dir, Rand: ones{}, Now: time.Now}); err == nil {
		t.Error("an engine with a file as its directory")
	}
}

// What was not used for the longest time goes.
func TestCompiledModulesOnDiskAreBounded(t *testing.T) {
	dir := t.TempDir()
	compileIn(t, dir, numbered(t, 1))
	info, err := os.Stat(cached(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	clock := now
	engine := func() *runtime.Engine {
		return newEngine(t, func(o *runtime.Options) {
			o.CacheDir, o.CacheSize = dir, 3*info.Size()+info.Size()/2
			o.Now = func() time.Time {
				clock = clock.Add(time.Second)
				return clock
			}
		})
	}
	for _, i := range []int{1, 2, 3, 1, 4} { // 2 is the oldest when 4 comes
		if _, err := engine().Compile(t.Context(), numbered(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(cached(t, dir)); n != 3 {
		t.Fatalf("%d files", n)
	}
	before := cached(t, dir)
	for _, i := range []int{1, 3, 4} {
		if _, err := engine().Compile(t.Context(), numbered(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	if after := cached(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("files %q, want those that were used last: %q", after, before)
	}
}

// The machine code of modules that nobody holds is given back.
func TestDroppedModulesAreReleased(t *testing.T) {
	e := newEngine(t, func(o *runtime.Options) { o.Modules = 1 })
	var code strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&code, "global.get 0\ni32.const %d\ni32.add\nglobal.set 0\n", i)
	}
	one := int64(0) // of a module; the most, because what another test has left may be given back meanwhile
	load := func(i int) *runtime.Module {
		wasm, before := assemble(t, fmt.Sprintf("global %d\nfunc run\n%send func", i, code.String())), executable(t)
		m, err := e.Compile(t.Context(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		one = max(one, executable(t)-before)
		return m
	}
	before := settled(t)
	held := load(0)
	for i := range 12 {
		load(i + 1)
	}
	if one < 20_000 {
		t.Errorf("%d bytes of machine code for a module", one)
	}
	// The collector hands dead modules over to a goroutine, whose turn may come later.
	for deadline := time.Now().Add(time.Minute); settled(t)-before > 5*one; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of machine code after 12 modules of %d", settled(t)-before, one)
		}
	}
	if _, err := e.Run(t.Context(), held, runtime.Call{Method: "run"}); err != nil {
		t.Errorf("the module that is held: %v", err)
	}
}

// settled is the size of the executable memory when the garbage is collected.
func settled(t *testing.T) (n int64) {
	t.Helper()
	for same := 0; same < 5; same++ {
		goruntime.GC()
		if now := executable(t); now != n {
			n, same = now, 0
		}
	}
	return n
}

// executable is the size of the executable memory of the process that belongs to no file.
func executable(t *testing.T) (n int64) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		f := strings.Fields(line)
		if len(f) != 5 || !strings.Contains(f[1], "x") {
			continue
		}
		if _, err := fmt.Sscanf(f[0], "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		n += to - from
	}
	return n
}
