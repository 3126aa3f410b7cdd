// Package runtime runs the methods of applications: WebAssembly modules that import the host functions of the module
// "env", as the Rust SDK builds them.
//
// An [Engine] compiles modules and runs calls. A call sees a state, and what it writes stays in memory: [Engine.Run]
// hands it back in the [Outcome], and only if the guest committed. So a call that fails, in whichever way, leaves no
// trace, and whoever runs it can store its writes in one transaction with everything else that belongs to them.
//
// Every call has an instance of its own, with fresh memory, globals and tables: nothing leaks from one call to the
// next. It ends at its limits, each with an error that names it. Modules are instrumented for that before they are
// compiled: every loop and every call of a function is counted.
package runtime

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/quota"
)

// Options configure an [Engine].
type Options struct {
	// CacheDir keeps compiled modules over restarts; it is created if absent. Empty: in memory only. Whoever can
	// write to it can run code in the node.
	CacheDir string
	// CacheSize bounds the files in CacheDir, in bytes; 0 is 1 GiB.
	CacheSize int64
	// Modules is how many compiled modules stay in memory; 0 is 64.
	Modules int
	// Parallel is how many calls run at once, others wait; 0 is 64.
	Parallel int
	// Limits of every call and module; the zero value is [DefaultLimits].
	Limits Limits
	// Rand is what guests get as random bytes; it is read concurrently. Required.
	Rand io.Reader
	// Now is what guests get as the time. Required.
	Now func() time.Time
}

// Engine compiles modules and runs calls of their methods. It is safe for concurrent use.
type Engine struct {
	limits Limits
	rand   io.Reader
	now    func() time.Time

	modules   *modules
	compile   func(context.Context, *instrumented) (*Module, error)
	compiling *quota.Pool   // a place for each module that is being compiled
	calling   chan struct{} // holds an element for each call that runs

	mu      sync.Mutex // guards closed against running
	closed  atomic.Bool
	done    chan struct{}  // closed with the engine
	running sync.WaitGroup // calls
	loading sync.WaitGroup // modules that are read or compiled
}

// The places of the compiler. One caller never has both, so that whoever comes with hard modules holds up itself alone.
const (
	compilers       = 2
	compilersOfAKey = 1
)

// compileGrace is how long Close waits for the compiler, which cannot be interrupted.
const compileGrace = time.Second

// New makes an engine.
func New(_ context.Context, o Options) (*Engine, error) {
	if o.Rand == nil || o.Now == nil {
		return nil, errors.New("runtime: Rand and Now are required")
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	e := &Engine{
		limits: o.Limits, rand: o.Rand, now: o.Now,
		modules:   newModules(orDefault(o.Modules, 64)),
		compiling: quota.New(compilers, compilersOfAKey, 0),
		calling:   make(chan struct{}, orDefault(o.Parallel, 64)),
		done:      make(chan struct{}),
	}
	e.compile = func(ctx context.Context, in *instrumented) (*Module, error) { return newModule(ctx, in, e.limits, "") }
	if o.CacheDir != "" {
		files, err := openFiles(o.CacheDir, orDefault(o.CacheSize, 1<<30), o.Now)
		if err != nil {
			return nil, err
		}
		e.compile = func(ctx context.Context, in *instrumented) (*Module, error) { return files.compile(ctx, in, e.limits) }
	}
	return e, nil
}

func orDefault[T int | int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// Close ends the calls that run, with [ErrClosed], and releases everything. It returns when they have ended. A module that
// is being compiled is left alone after a moment: nothing waits for it any more, and what the compiler writes is a file
// that is either whole or not there.
func (e *Engine) Close() error {
	e.mu.Lock()
	if !e.closed.Swap(true) {
		close(e.done)
	}
	e.mu.Unlock()
	e.running.Wait()
	e.modules.clear()
	compiled := make(chan struct{})
	go func() {
		e.loading.Wait()
		close(compiled)
	}()
	grace := time.NewTimer(compileGrace)
	defer grace.Stop()
	select {
	case <-compiled:
	case <-grace.C:
	}
	return nil
}

var errClosed = fail(ErrClosed, "the engine is closed")

// begin registers something that Close waits for.
func (e *Engine) begin(group *sync.WaitGroup) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed.Load() {
		return errClosed
	}
	group.Add(1)
	return nil
}

// acquire takes a place. The caller gives it back by receiving.
func (e *Engine) acquire(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	default:
	}
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fail(ErrHost, "the call was given up while it waited: %w", ctx.Err())
	case <-e.done:
		return errClosed
	}
}

// Run calls a method. The outcome of a failed call holds its logs and duration.
//
// The call ends when ctx does, with [ErrHost] and the cause, or at the time limit, with [ErrTimeLimit].
func (e *Engine) Run(ctx context.Context, m *Module, c Call) (Outcome, error) {
	if err := m.check(c.Method); err != nil {
		return Outcome{}, err
	}
	if err := e.begin(&e.running); err != nil {
		return Outcome{}, err
	}
	defer e.running.Done()
	if err := e.acquire(ctx, e.calling); err != nil {
		return Outcome{}, err
	}
	defer func() { <-e.calling }()

	begun := e.now()
	limited, cancel := context.WithTimeout(ctx, e.limits.Time)
	defer cancel()
	v := &invocation{Context: limited, caller: ctx, engine: e, call: c}
	err := m.run(v)
	v.closeBlobs()
	out := v.outcome(err)
	out.Duration = e.now().Sub(begun)
	return out, err
}
