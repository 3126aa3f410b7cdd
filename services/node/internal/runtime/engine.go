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
	// Parallel is how many calls run at once, half of them for one account at most; others wait. 0 is 256.
	Parallel int
	// Memory bounds what the calls that run hold together, in bytes; 0 is 2 GiB. See [Engine.Run].
	Memory int64
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

	told atomic.Int64 // the latest time that a guest was told, in Unix nanoseconds

	modules   *modules
	files     *files        // nil without a directory
	compiling chan struct{} // holds an element for each module that is being compiled
	calling   *slots

	memory int64        // how much calls may hold
	held   atomic.Int64 // how much they do

	mu      sync.Mutex // guards closed against running
	closed  atomic.Bool
	done    chan struct{} // closed with the engine
	running sync.WaitGroup
}

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
		compiling: make(chan struct{}, 2),
		calling:   newSlots(orDefault(o.Parallel, 256)),
		memory:    orDefault(o.Memory, 2<<30),
		done:      make(chan struct{}),
	}
	if o.CacheDir != "" {
		var err error
		if e.files, err = openFiles(o.CacheDir, orDefault(o.CacheSize, 1<<30), o.Now); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func orDefault[T int | int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// Close ends the calls that run, with [ErrClosed], and releases everything. It returns when they have ended.
func (e *Engine) Close() error {
	e.mu.Lock()
	if !e.closed.Swap(true) {
		close(e.done)
	}
	e.mu.Unlock()
	e.running.Wait()
	e.modules.clear()
	return nil
}

var errClosed = fail(ErrClosed, "the engine is closed")

// begin registers something that Close waits for.
func (e *Engine) begin() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed.Load() {
		return errClosed
	}
	e.running.Add(1)
	return nil
}

// time is what guests are told: Unix nanoseconds, later each time, also when the clock is set back. Applications decide by
// it which of two writes is the last one.
func (e *Engine) time() int64 {
	for {
		last := e.told.Load()
		next := max(last+1, e.now().UnixNano())
		if e.told.CompareAndSwap(last, next) {
			return next
		}
	}
}

// TellAfter makes all times that guests are told from now on later than one, in Unix nanoseconds.
func (e *Engine) TellAfter(last int64) {
	for told := e.told.Load(); told < last && !e.told.CompareAndSwap(told, last); told = e.told.Load() {
	}
}

// Run calls a method. The outcome of a failed call holds its logs and times.
//
// The call ends when ctx does, with [ErrHost] and the cause, or at the time limit, with [ErrTimeLimit]. What it holds in
// memory, registers and writes counts as long as it runs. If all calls together would hold more than the engine may, it
// gets no more of it: its memory does not grow, or it ends with [ErrHostLimit]. The memory that a module begins with is
// always there.
func (e *Engine) Run(ctx context.Context, m *Module, c Call) (Outcome, error) {
	if err := m.check(c.Method); err != nil {
		return Outcome{}, err
	}
	if err := e.begin(); err != nil {
		return Outcome{}, err
	}
	defer e.running.Done()
	if err := e.calling.acquire(ctx, c.Account, e.done); err != nil {
		return Outcome{}, err
	}
	defer e.calling.release(c.Account)

	begun := e.now()
	limited, cancel := context.WithTimeout(ctx, e.limits.Time)
	defer cancel()
	v := &invocation{Context: limited, caller: ctx, engine: e, call: c}
	defer v.releaseMemory()
	err := m.run(v)
	v.closeBlobs()
	out := v.outcome(err)
	out.Duration = e.now().Sub(begun)
	return out, err
}
