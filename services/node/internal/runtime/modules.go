package runtime

import (
	"container/list"
	"context"
	"crypto/sha256"
	"sync"

	"github.com/calimero-network/mero-go/services/node/internal/caller"
)

// modules are the compiled modules in memory, those used last first.
type modules struct {
	mu    sync.Mutex
	limit int
	byKey map[[32]byte]*list.Element // of *loading
	used  *list.List
}

// loading is a module, or one that is on its way.
type loading struct {
	key    [32]byte
	ready  chan struct{} // closed when module or err is set
	module *Module
	err    error

	// Guarded by modules.mu.
	waiting int                // how many want it
	begun   bool               // it is read, compiled or done: from here on it is not given up
	giveUp  context.CancelFunc // ends the wait for a compiler
}

func newModules(limit int) *modules {
	return &modules{limit: limit, byKey: map[[32]byte]*list.Element{}, used: list.New()}
}

// get returns what is there under a key. If there is nothing, it is the caller who must load it, with the returned context.
// In any case the caller must call leave.
func (m *modules) get(ctx context.Context, key [32]byte) (_ context.Context, l *loading, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byKey[key]; e != nil {
		m.used.MoveToFront(e)
		l = e.Value.(*loading)
		l.waiting++
		return nil, l, true
	}
	l = &loading{key: key, ready: make(chan struct{}), waiting: 1}
	ctx, l.giveUp = context.WithCancel(context.WithoutCancel(ctx))
	m.byKey[key] = m.used.PushFront(l)
	for m.used.Len() > m.limit {
		m.remove(m.used.Back())
	}
	return ctx, l, false
}

// leave says that somebody does not wait any more. What nobody waits for and no compiler has begun is given up.
func (m *modules) leave(l *loading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.waiting--; l.waiting > 0 || l.begun {
		return
	}
	l.giveUp()
	if e := m.byKey[l.key]; e != nil && e.Value == l {
		m.remove(e)
	}
}

// begin says that a compiler is there. It returns false if the module was given up.
func (m *modules) begin(ctx context.Context, l *loading) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l.begun = ctx.Err() == nil
	return l.begun
}

func (m *modules) remove(e *list.Element) {
	delete(m.byKey, e.Value.(*loading).key)
	m.used.Remove(e)
}

// finish hands the module over to all who wait. A failure is not kept.
func (m *modules) finish(l *loading, module *Module, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l.module, l.err, l.begun = module, err, true
	l.giveUp()
	close(l.ready)
	if err == nil {
		return
	}
	if e := m.byKey[l.key]; e != nil && e.Value == l {
		m.remove(e)
	}
}

// clear forgets everything and gives up what no compiler has begun.
func (m *modules) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.byKey {
		if l := e.Value.(*loading); !l.begun {
			l.giveUp()
		}
	}
	clear(m.byKey)
	m.used.Init()
}

// Compile compiles a module, or returns it from the cache. Concurrent calls for one module compile it once.
func (e *Engine) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	if len(wasm) > e.limits.ModuleSize { // before it is hashed
		return nil, fail(ErrBadModule, "the module has %d bytes, more than %d", len(wasm), e.limits.ModuleSize)
	}
	return e.Load(ctx, sha256.Sum256(wasm), func(context.Context) ([]byte, error) { return wasm, nil })
}

// Load is Compile for a caller that has a name for the content: key must be a hash of it, as a blob id is. read is
// asked for the content only if the module is not in memory. It is not called in the caller's goroutine. Once a compiler is
// at work, a caller whose context ends does not stop it: others may wait for the same module.
//
// The error of read is returned as it is; one engine must not see the same key for two contents.
func (e *Engine) Load(ctx context.Context, key [32]byte, read func(context.Context) ([]byte, error)) (*Module, error) {
	own, l, found := e.modules.get(ctx, key)
	defer e.modules.leave(l)
	if !found {
		if err := e.begin(&e.loading); err != nil {
			e.modules.finish(l, nil, err)
			return nil, err
		}
		go func() {
			defer e.loading.Done()
			module, err := e.load(own, l, read)
			e.modules.finish(l, module, err)
		}()
	}
	select {
	case <-l.ready:
		return l.module, l.err
	case <-ctx.Done():
		return nil, fail(ErrHost, "given up while the module was compiled: %w", ctx.Err())
	case <-e.done:
		return nil, errClosed
	}
}

// load reads and compiles a module when a compiler is free.
func (e *Engine) load(ctx context.Context, l *loading, read func(context.Context) ([]byte, error)) (*Module, error) {
	give, err := e.compiling.Take(ctx, caller.From(ctx).Key, 1)
	if err == nil {
		defer give()
	}
	if err != nil || !e.modules.begin(ctx, l) {
		if e.closed.Load() {
			return nil, errClosed
		}
		return nil, fail(ErrHost, "given up before the module was compiled: %w", context.Canceled)
	}
	ctx = context.WithoutCancel(ctx)
	wasm, err := read(ctx)
	if err != nil {
		return nil, err
	}
	in, err := instrument(wasm, e.limits)
	if err != nil {
		return nil, err
	}
	if in.hidden {
		return nil, fail(ErrBadModule, `the module does not export its memory as "memory"`)
	}
	return e.compile(ctx, in)
}
