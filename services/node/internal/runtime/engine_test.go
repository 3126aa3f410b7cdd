package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
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
	_         = sync.Mutex{}
	_         = strings.Cut
)

func TestSmoke(t *testing.T) {
	mem, at := described("hello", strings.Repeat("r", 32), "artifact", "key", "value")
	_ = at
	out, err := run(t, mem+`
import env.log_utf8 I
import env.commit II
import env.storage_write III>i
func run
i64.const 0
call env.log_utf8
i64.const 48
i64.const 64
i64.const 1
call env.storage_write
drop
i64.const 16
i64.const 32
call env.commit
end func
`)
	t.Logf("%+v %v", out, err)
	for _, src := range []string{
		"func run\nloop\nbr 0\nend\nend func",
		"func run\ncall run\nend func",
		"memory 1\nfunc run\nloop\ni32.const 100\nmemory.grow\ni32.const -1\ni32.ne\nbr_if 0\nend\nunreachable\nend func",
		"import env.js_crdt_map_new i>i\nfunc run\ni32.const 0\ncall env.js_crdt_map_new\ndrop\nend func",
	} {
		e := newEngine(t, func(o *runtime.Options) { o.Limits.Time = 200 * time.Millisecond })
		b := time.Now()
		_, err = e.Run(context.Background(), compile(t, e, src), runtime.Call{Method: "run"})
		t.Log(err, time.Since(b))
	}
}
