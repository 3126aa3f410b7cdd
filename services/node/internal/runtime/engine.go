// Package runtime runs the methods of applications: WebAssembly modules that import the host functions of the module
// "env", as the Rust SDK builds them.
//
// An [Engine] compiles modules and runs calls. A call sees a state, and what it writes stays in memory: [Engine.Run]
// hands it back in the [Outcome], and only if the guest committed. So a call that fails, in whichever way, leaves no
// trace, and whoever runs it can store its writes in one transaction with everything else that belongs to them.
//
// Every call has an instance of its own, with fresh memory, globals and tables: nothing leaks from one call to the
// next. It ends at its limits, each with an error that names it.
package runtime

import (
	"context"
	"io"
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
	// Parallel is how many calls run at once, others wait; 0 is 64.
	Parallel int
	// Limits of every call and module; the zero value is [DefaultLimits].
	Limits Limits
	// Rand is what guests get as random bytes. Required.
	Rand io.Reader
	// Now is what guests get as the time. Required.
	Now func() time.Time
}

// Engine compiles modules and runs calls of their methods. It is safe for concurrent use.
type Engine struct{ options Options }

// New makes an engine.
func New(ctx context.Context, o Options) (*Engine, error) { return &Engine{options: o}, ctx.Err() }

// Close ends the calls that run, with [ErrClosed], and releases everything. It returns when they have ended.
func (e *Engine) Close() error { return nil }

// Module is a compiled module. It stays usable until the engine is closed, whether or not the engine still caches it.
type Module struct{}

// Compile compiles a module, or returns it from the cache. Concurrent calls for one module compile it once.
func (e *Engine) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	return &Module{}, ctx.Err()
}

// Load is Compile for a caller that has a name for the content: key must be a hash of it, as a blob id is. read is
// asked for the content only if the module is not in memory.
func (e *Engine) Load(ctx context.Context, key [32]byte, read func(context.Context) ([]byte, error)) (*Module, error) {
	return &Module{}, ctx.Err()
}

// Methods returns the names of what can be called, in order: the exports of type () -> () with a well-formed name.
func (m *Module) Methods() []string { return nil }

// HasMethod reports whether name can be called.
func (m *Module) HasMethod(name string) bool { return false }

// Run calls a method. The outcome of a failed call holds its logs and duration.
func (e *Engine) Run(ctx context.Context, m *Module, c Call) (Outcome, error) {
	return Outcome{}, ctx.Err()
}
