package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
)

// state is a stored state in memory.
type state map[string][]byte

func (s state) Get(_ context.Context, key []byte) ([]byte, bool, error) {
	v, ok := s[string(key)]
	return v, ok, nil
}

func (s state) apply(writes []runtime.Write) {
	for _, w := range writes {
		if w.Remove {
			delete(s, string(w.Key))
		} else {
			s[string(w.Key)] = w.Value
		}
	}
}

// ones are random bytes that are not.
type ones struct{}

func (ones) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte{1}, len(p)))
	return len(p), nil
}

var now = time.Unix(1_700_000_000, 123456789)

// newEngine makes an engine; change may change its options.
func newEngine(t testing.TB, change func(*runtime.Options)) *runtime.Engine {
	t.Helper()
	o := runtime.Options{Rand: ones{}, Now: func() time.Time { return now }, Limits: runtime.DefaultLimits()}
	if change != nil {
		change(&o)
	}
	e, err := runtime.New(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func compile(t testing.TB, e *runtime.Engine, source string) *runtime.Module {
	t.Helper()
	m, err := e.Compile(context.Background(), assemble(t, source))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run compiles source and calls its method "run".
func run(t testing.TB, source string) (runtime.Outcome, error) {
	t.Helper()
	e := newEngine(t, nil)
	return e.Run(context.Background(), compile(t, e, source), runtime.Call{Method: "run"})
}

func wantError(t *testing.T, err, reason error, text string) {
	t.Helper()
	if !errors.Is(err, reason) || err.Error() != text {
		t.Errorf("error = %v, want %q (%v)", err, text, reason)
	}
}

var (
	aContext  = id.ID{1, 2, 3}
	aExecutor = id.ID{4, 5, 6}
)

// endless are guests whose "run" never ends by itself.
var endless = map[string]string{
	"a loop": `
func run
loop
br 0
end
end func`,
	"a loop with a result": `
func run locals i
loop i
i32.const 1
br_if 0
i32.const 7
br 0
end
drop
end func`,
	"recursion that never gets deep": `
func fib i>i
local.get 0
i32.const 2
i32.lt_u
if i
i32.const 1
else
local.get 0
i32.const 1
i32.sub
call fib
local.get 0
i32.const 2
i32.sub
call fib
i32.add
end
end func
func run
i32.const 90
call fib
drop
end func`,
	"recursion through a table": `
table 1
func twice i
local.get 0
if
local.get 0
i32.const 1
i32.sub
i32.const 0
call_indirect i
local.get 0
i32.const 1
i32.sub
i32.const 0
call_indirect i
end
end func
func run
i32.const 90
call twice
end func`,
	"calls of the host": `
import env.register_len I>I
func run
loop
i64.const 1
call env.register_len
drop
br 0
end
end func`,
	"filling the memory": `
memory 1000
func run
loop
i32.const 0
i32.const 7
i32.const 65000000
memory.fill
br 0
end
end func`,
	"the start function": `
start forever
func forever
loop
br 0
end
end func
func run
end func`,
	"the preparation of merging": `
func __calimero_register_merge
loop
br 0
end
end func
func run
end func`,
}

// node check D39
func TestEndlessGuestEndsAtTheTimeLimit(t *testing.T) {
	e := newEngine(t, func(o *runtime.Options) { o.Limits.Time = 50 * time.Millisecond })
	for name, source := range endless {
		t.Run(name, func(t *testing.T) {
			_, err := e.Run(t.Context(), compile(t, e, source), runtime.Call{Method: "run"})
			wantError(t, err, runtime.ErrTimeLimit, "the method ran longer than 50ms")
		})
	}
}

// Guests that compute on all cores neither stop the garbage collector nor other calls.
func TestEndlessGuestsLeaveOthersRunning(t *testing.T) {
	e := newEngine(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	hogs := 2 * goruntime.GOMAXPROCS(0)
	ended := make(chan error, hogs)
	for _, source := range []string{endless["a loop"], endless["recursion that never gets deep"]} {
		m := compile(t, e, source)
		for range hogs / 2 {
			go func() {
				_, err := e.Run(ctx, m, runtime.Call{Method: "run"})
				ended <- err
			}()
		}
	}
	quick := compile(t, e, "func run\nend func")
	for range 20 {
		goruntime.GC()
		if _, err := e.Run(t.Context(), quick, runtime.Call{Method: "run"}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	for range hogs {
		if err := <-ended; !errors.Is(err, runtime.ErrHost) || !errors.Is(err, context.Canceled) {
			t.Errorf("a call whose caller gave up ended with %v", err)
		}
	}
}

func TestCallerGivesUp(t *testing.T) {
	e := newEngine(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := e.Run(ctx, compile(t, e, endless["a loop"]), runtime.Call{Method: "run"})
	if !errors.Is(err, runtime.ErrHost) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, runtime.ErrTimeLimit) {
		t.Errorf("error = %v, want the caller's deadline", err)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	e := newEngine(t, func(o *runtime.Options) { o.Parallel = 4 })
	m := compile(t, e, `
import env.storage_read II>i
memory 1
desc 0 0 1
func run
i64.const 0
i64.const 0
call env.storage_read
drop
loop
br 0
end
end func`)
	begun, ended := make(chan struct{}, 4), make(chan error, 4)
	for range 4 {
		go func() {
			_, err := e.Run(context.Background(), m, runtime.Call{Method: "run", State: signal(begun)})
			ended <- err
		}()
	}
	<-begun // two run, two wait for a place: half of all are for others
	<-begun
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := <-ended; !errors.Is(err, runtime.ErrClosed) {
			t.Errorf("error = %v, want ErrClosed", err)
		}
	}
	if _, err := e.Run(context.Background(), m, runtime.Call{Method: "run"}); !errors.Is(err, runtime.ErrClosed) {
		t.Errorf("a call after Close: %v", err)
	}
	if _, err := e.Compile(context.Background(), assemble(t, "func other\nend func")); !errors.Is(err, runtime.ErrClosed) {
		t.Errorf("Compile after Close: %v", err)
	}
}

// signal is a state that tells when it is read.
type signal chan struct{}

func (s signal) Get(context.Context, []byte) ([]byte, bool, error) {
	s <- struct{}{}
	return nil, false, nil
}

func TestParallelIsALimit(t *testing.T) {
	e := newEngine(t, func(o *runtime.Options) { o.Parallel = 1 })
	m := compile(t, e, endless["a loop"])
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := e.Run(ctx, m, runtime.Call{Method: "run"})
		ended <- err
	}()
	short, cancelShort := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancelShort()
	quick := compile(t, e, "func run\nend func")
	deadline := time.Now().Add(10 * time.Second)
	for { // until the other has the only place
		if _, err := e.Run(short, quick, runtime.Call{Method: "run"}); err != nil {
			if !errors.Is(err, runtime.ErrHost) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error = %v, want the caller's deadline", err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("two calls run at once")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := e.Run(t.Context(), quick, runtime.Call{Method: "run"}); err != nil {
		t.Error(err)
	}
}

// Whatever one account has running, the calls of others get their place.
func TestPlaces_NoAccountKeepsOutTheOthers(t *testing.T) {
	e := newEngine(t, func(o *runtime.Options) { o.Parallel = 4 })
	loop, quick := compile(t, e, endless["a loop"]), compile(t, e, "func run\nend func")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 20)
	for range 20 {
		go func() {
			_, err := e.Run(ctx, loop, runtime.Call{Method: "run", Account: "greedy"})
			ended <- err
		}()
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // until it has all that it gets
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := e.Run(short, quick, runtime.Call{Method: "run", Account: "greedy"})
		cancel()
		if err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the account has no bound")
		}
	}
	for i := range 50 {
		if _, err := e.Run(t.Context(), quick, runtime.Call{Method: "run", Account: string(rune('a' + i%3))}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	for range 20 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want the caller's end", err)
		}
	}
	if _, err := e.Run(t.Context(), quick, runtime.Call{Method: "run", Account: "greedy"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// What all calls hold together has a bound, and what has ended counts no more.
func TestMemory_OfAllCallsHasABound(t *testing.T) {
	e := newEngine(t, func(o *runtime.Options) { o.Memory = 4 << 20 })
	const grow = "memory 1\nfunc run\ni32.const %d\nmemory.grow\ni32.const -1\ni32.ne\nif\nelse\nunreachable\nend\nend func"
	fits, large := compile(t, e, fmt.Sprintf(grow, 40)), compile(t, e, fmt.Sprintf(grow, 80)) // 2.5 MiB and 5 MiB
	writes := compile(t, e, `
import env.storage_write III>i
memory 40
desc 0 64 8
desc 16 64 2500000
func run
i64.const 0
i64.const 16
i64.const 1
call env.storage_write
drop
end func`)
	reads := compile(t, e, `
import env.input I
memory 1
func run
i64.const 1
call env.input
i64.const 2
call env.input
end func`)
	for range 3 { // what one has held is there for the next
		for name, tt := range map[string]struct {
			module *runtime.Module
			input  int
			want   error
		}{
			"fits": {fits, 0, nil}, "grows too far": {large, 0, runtime.ErrHostLimit}, "writes too much": {writes, 0, runtime.ErrHostLimit},
			"reads what fits": {reads, 1 << 20, nil}, "reads too much": {reads, 3 << 20, runtime.ErrHostLimit},
		} {
			_, err := e.Run(t.Context(), tt.module, runtime.Call{Method: "run", Input: make([]byte, tt.input)})
			if !errors.Is(err, tt.want) || tt.want != nil && err.Error() != "the node has no more memory for calls now" {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
			if held := e.Held(); held != 0 {
				t.Fatalf("%s: %d bytes are held by nobody", name, held)
			}
		}
	}
	holding := compile(t, e, `
import env.storage_read II>i
memory 1
desc 0 0 1
func run
i32.const 40
memory.grow
drop
i64.const 0
i64.const 0
call env.storage_read
drop
loop
br 0
end
end func`)
	ctx, cancel := context.WithCancel(t.Context())
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		_, err := e.Run(ctx, holding, runtime.Call{Method: "run", State: signal(begun)})
		ended <- err
	}()
	<-begun
	if _, err := e.Run(t.Context(), fits, runtime.Call{Method: "run"}); !errors.Is(err, runtime.ErrHostLimit) {
		t.Errorf("beside another call: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the other call ended with %v", err)
	}
	if _, err := e.Run(t.Context(), fits, runtime.Call{Method: "run"}); err != nil {
		t.Errorf("after the other call: %v", err)
	}
}

func TestStackLimit(t *testing.T) {
	for name, source := range map[string]string{
		"recursion":        "func run\ncall run\nend func",
		"mutual recursion": "func a\ncall run\nend func\nfunc run\ncall a\nend func",
		"many locals":      "func run locals " + strings.Repeat("I", 30_000) + "\ncall leaf\nend func\nfunc leaf\nend func",
		"through a table":  "table 1\nfunc run\ni32.const 0\ncall_indirect\nend func",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, source)
			wantError(t, err, runtime.ErrStackLimit, "the guest's calls are nested too deeply")
		})
	}
}

// Every way out of a function gives its stack back.
func TestStackIsGivenBack(t *testing.T) {
	_, err := run(t, `
func way i>i locals I
local.get 0
i32.eqz
if
i32.const 5
return
end
block i
local.get 0
i32.const 1
i32.sub
call leaf
i32.const 7
local.get 0
br_if 1
drop
br 0
end
end func
func leaf i>i
loop
end
local.get 0
end func
func run locals i
loop
i32.const 0
call way
drop
i32.const 1
call way
drop
local.get 0
i32.const 1
i32.add
local.tee 0
i32.const 100000
i32.ne
br_if 0
end
end func`)
	if err != nil {
		t.Error(err)
	}
}

// node check D41
func TestMemoryLimit(t *testing.T) {
	grow := func(pages int, then string) string {
		return fmt.Sprintf("memory 1\nfunc run\ni32.const %d\nmemory.grow\ni32.const -1\ni32.ne\nif\nelse\n%s\nend\nend func", pages, then)
	}
	if _, err := run(t, grow(1023, "unreachable")); err != nil {
		t.Errorf("64 MiB: %v", err)
	}
	if _, err := run(t, grow(1024, "nop")); err != nil {
		t.Errorf("a guest that takes a no: %v", err)
	}
	_, err := run(t, grow(1024, "unreachable"))
	wantError(t, err, runtime.ErrMemoryLimit, "the guest needs more memory than 1024 pages: unreachable")
	_, err = run(t, "memory 1 2\nfunc run\ni32.const 5\nmemory.grow\ndrop\nunreachable\nend func")
	wantError(t, err, runtime.ErrTrap, "the guest trapped: unreachable") // it was its own limit

	e := newEngine(t, nil)
	_, err = e.Compile(t.Context(), assemble(t, "memory 1025\nfunc run\nend func"))
	wantError(t, err, runtime.ErrBadModule, "the module cannot be read: section 5: its memory begins with 1025 pages, more than 1024")
}

func TestTableLimit(t *testing.T) {
	_, err := run(t, `
table 1
func run
ref.null
i32.const 131071
table.grow 0
i32.const -1
i32.ne
if
else
unreachable
end
ref.null
i32.const 1
table.grow 0
i32.const -1
i32.eq
if
else
unreachable
end
end func`)
	if err != nil {
		t.Error(err)
	}
}

// Nothing that a call does to its memory, globals and table is there in the next one.
func TestStateDoesNotLeakBetweenCalls(t *testing.T) {
	e := newEngine(t, nil)
	m := compile(t, e, `
memory 2
global 0
table 1
func run locals i
# the last word of the memory, a word of the data and a global must be as they were
i32.const 131068
i32.load
i32.const 16
i32.load
i32.const 1684234849
i32.ne
global.get 0
i32.add
i32.add
if
unreachable
end
# a page that is new must be empty
i32.const 1
memory.grow
i32.const 2
i32.ne
if
unreachable
end
i32.const 196604
i32.load
if
unreachable
end
# change all of it
i32.const 0
i32.const 170
i32.const 196608
memory.fill
i32.const 1
global.set 0
ref.null
i32.const 5
table.grow 0
i32.const 1
i32.ne
if
unreachable
end
end func
func trap
i32.const 0
i32.const 85
i32.const 131072
memory.fill
i32.const 9
global.set 0
unreachable
end func
data 16 "abcd"`)
	for i := range 200 {
		if _, err := e.Run(t.Context(), m, runtime.Call{Method: "run"}); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		if _, err := e.Run(t.Context(), m, runtime.Call{Method: "trap"}); !errors.Is(err, runtime.ErrTrap) {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func TestTraps(t *testing.T) {
	for source, text := range map[string]string{
		"func run\nunreachable\nend func":                                                 "the guest trapped: unreachable",
		"func run\ni32.const 1\ni32.const 0\ni32.div_u\ndrop\nend func":                   "the guest trapped: integer divide by zero",
		"memory 1\nfunc run\ni32.const 65533\ni32.load\ndrop\nend func":                   "the guest trapped: out of bounds memory access",
		"memory 1\ndata 65530 \"beyond it\"\nfunc run\nend func":                          "the guest trapped: out of bounds memory access",
		"memory 1\ndata -1 \"before it\"\nfunc run\nend func":                             "the guest trapped: out of bounds memory access",
		"table 1\nfunc run\ni32.const 1\ncall_indirect\nend func":                         "the guest trapped: invalid table access",
		"table 1\nfunc run\ni32.const 0\ni32.const 0\ncall_indirect i >i\ndrop\nend func": "the guest trapped: indirect call type mismatch",
		"start bad\nfunc bad\nunreachable\nend func\nfunc run\nend func":                  "the guest trapped: unreachable",
	} {
		_, err := run(t, source)
		wantError(t, err, runtime.ErrTrap, text)
	}
}

// node check D30
func TestMethods(t *testing.T) {
	e := newEngine(t, nil)
	long := strings.Repeat("x", 256)
	m := compile(t, e, "memory 1\nfunc init\nend func\nfunc A_9\nend func\nfunc arg i\nend func\nfunc result >i\ni32.const 1\nend func\nfunc a-b\nend func\nfunc "+
		long+"\nend func\nfunc "+long+"x\nend func\nfunc __calimero_sync_next\nend func")
	if got, want := fmt.Sprint(m.Methods()), fmt.Sprint([]string{"A_9", "__calimero_sync_next", "init", long}); got != want {
		t.Errorf("methods %s, want %s", got, want)
	}
	for name, want := range map[string]error{
		"init": nil, "A_9": nil, long: nil,
		"x": runtime.ErrMethodNotFound, "memory": runtime.ErrMethodNotFound,
		"arg": runtime.ErrMethodType, "result": runtime.ErrMethodType,
		"": runtime.ErrMethodName, "a-b": runtime.ErrMethodName, long + "x": runtime.ErrMethodName, "init\x00": runtime.ErrMethodName, "\xff": runtime.ErrMethodName,
	} {
		_, err := e.Run(t.Context(), m, runtime.Call{Method: name})
		if !errors.Is(err, want) || m.HasMethod(name) != (want == nil) {
			t.Errorf("%.20q: error %v, HasMethod %t; want %v", name, err, m.HasMethod(name), want)
		}
	}
	_, err := e.Run(t.Context(), m, runtime.Call{Method: "x"})
	wantError(t, err, runtime.ErrMethodNotFound, `method "x" not found`)
}

// A module that asks for what the host does not have links, and traps only when it calls it.
func TestUnknownImports(t *testing.T) {
	e := newEngine(t, nil)
	m := compile(t, e, `
import env.js_crdt_map_new i>i
import env.storage_read i>I
import env.storage_index_set II>i
import wasi_snapshot_preview1.fd_write iiii>i
import mero.0 I
import env.storage_read fF>f
memory 1
func run
end func
func collection
i32.const 0
call env.js_crdt_map_new
drop
end func
func index
i64.const 0
i64.const 0
call env.storage_index_set
drop
end func
func wasi
i32.const 0
i32.const 0
i32.const 0
i32.const 0
call wasi_snapshot_preview1.fd_write
drop
end func
func ours
i64.const 0
call mero.0
end func`)
	if _, err := e.Run(t.Context(), m, runtime.Call{Method: "run"}); err != nil {
		t.Errorf("a method that calls nothing unknown: %v", err)
	}
	for method, text := range map[string]string{
		"collection": `the host has no function "js_crdt_map_new" in "env"`,
		"index":      `the host has no function "storage_index_set" in "env"`,
		"wasi":       `the host has no function "fd_write" in "wasi_snapshot_preview1"`,
		"ours":       `the host has no function "0" in "mero"`,
	} {
		_, err := e.Run(t.Context(), m, runtime.Call{Method: method})
		wantError(t, err, runtime.ErrUnsupported, text)
	}
	m = compile(t, e, "import env.storage_read i>I\nfunc run\ni32.const 0\ncall env.storage_read\ndrop\nend func")
	_, err := e.Run(t.Context(), m, runtime.Call{Method: "run"})
	wantError(t, err, runtime.ErrUnsupported, `the host's function "storage_read" in "env" is of another type`)
}

func TestBadModules(t *testing.T) {
	e := newEngine(t, nil)
	good := assemble(t, "memory 1\nglobal 1\nfunc run\nglobal.get 0\ndrop\nend func")
	for name, tt := range map[string]struct {
		wasm []byte
		text string
	}{
		"nothing":          {nil, "the module cannot be read: it does not begin as WebAssembly version 1 does"},
		"text":             {[]byte("(module)"), "the module cannot be read: it does not begin as WebAssembly version 1 does"},
		"a component":      {[]byte("\x00asm\x0d\x00\x01\x00"), "the module cannot be read: it does not begin as WebAssembly version 1 does"},
		"truncated":        {good[:len(good)-3], "the module cannot be read: it ends too early"},
		"too large":        {make([]byte, 10<<20+1), "the module has 10485761 bytes, more than 10485760"},
		"a hidden memory":  {assemble(t, "memory 1 private\nfunc run\nend func"), `the module does not export its memory as "memory"`},
		"wrong types":      {assemble(t, "func run\ni32.const 1\ni64.const 1\ni32.add\ndrop\nend func"), ""},
		"our fuel":         {assemble(t, "global 1\nfunc run\ni32.const 0\nglobal.set 1\nend func"), "the module cannot be read: section 10: a global index is out of range"},
		"too many locals":  {bytes.Replace(assemble(t, "func run locals i\nend func"), []byte{1, 1, 0x7f}, []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f}, 1), ""},
		"two memories":     {bytes.Replace(good, []byte{5, 3, 1, 0, 1}, []byte{5, 5, 2, 0, 1, 0, 1}, 1), "the module cannot be read: section 5: it has more than one memory"},
		"an import of one": {append(good[:8:8], 2, 15, 1, 3, 'e', 'n', 'v', 6, 'm', 'e', 'm', 'o', 'r', 'y', 2, 0, 1), `the module cannot be read: section 2: it imports "memory" from "env", which is no function`},
		"deep nesting":     {assemble(t, "func run\n"+strings.Repeat("block\n", 10_000)+strings.Repeat("end\n", 10_000)+"end func"), "the module cannot be read: section 10: more than 10000 blocks are nested"},
		"complexity":       {assemble(t, "func run\n"+strings.Repeat("loop\nend\n", 5_900)+"end func"), "the module cannot be read: section 10: its functions are too complex to be compiled"},
		"a huge table":     {assemble(t, "table 131073\nfunc run\nend func"), "the module cannot be read: section 4: a table has more than 131072 elements"},
		"a huge function":  {assemble(t, "func run\n"+strings.Repeat("nop\n", 1<<19)+"end func"), "the module cannot be read: section 10: a function has more than 524288 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := e.Compile(t.Context(), tt.wasm)
			if !errors.Is(err, runtime.ErrBadModule) || tt.text != "" && err.Error() != tt.text {
				t.Errorf("error = %v, want %q", err, tt.text)
			}
		})
	}
	if _, err := e.Compile(t.Context(), good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestRegisterMergeRunsFirst(t *testing.T) {
	mem, _ := described("merge", "run")
	merge := func(body string) string {
		return mem + "import env.log_utf8 I\nimport env.panic I\nglobal 0\nfunc __calimero_register_merge\ni64.const 0\ncall env.log_utf8\ni32.const 1\nglobal.set 0\n" +
			body + "\nend func\nfunc run\ni64.const 16\ncall env.log_utf8\nglobal.get 0\nif\ni64.const 16\ncall env.log_utf8\nend\nend func"
	}
	for body, want := range map[string][]string{
		"nop":                                {"merge", "run", "run"},
		"unreachable":                        {"run"}, // what it did before is undone
		"i64.const 0\ncall env.panic":        {"run"},
		"i64.const 99999999\ncall env.panic": {"run"},
	} {
		out, err := run(t, merge(body))
		if err != nil || fmt.Sprint(out.Logs) != fmt.Sprint(want) {
			t.Errorf("merge %q: logs %q, %v; want %q", body, out.Logs, err, want)
		}
	}
}

func TestNewWantsItsOptions(t *testing.T) {
	if _, err := runtime.New(t.Context(), runtime.Options{}); err == nil {
		t.Error("an engine without time and randomness")
	}
}
