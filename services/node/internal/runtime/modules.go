package runtime

import (
	"container/list"
	"context"
	"crypto/sha256"
	"sync"
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
}

func newModules(limit int) *modules {
	return &modules{limit: limit, byKey: map[[32]byte]*list.Element{}, used: list.New()}
}

// get returns what is there under a key. If there is nothing, it is the caller who must load.
func (m *modules) get(key [32]byte) (l *loading, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byKey[key]; e != nil {
		m.used.MoveToFront(e)
		return e.Value.(*loading), true
	}
	l = &loading{key: key, ready: make(chan struct{})}
	m.byKey[key] = m.used.PushFront(l)
	for m.used.Len() > m.limit {
		m.remove(m.used.Back())
	}
	return l, false
}

func (m *modules) remove(e *list.Element) {
	delete(m.byKey, e.Value.(*loading).key)
	m.used.Remove(e)
}

// finish hands the module over to all who wait. A failure is not kept.
func (m *modules) finish(l *loading, module *Module, err error) {
	l.module, l.err = module, err
	close(l.ready)
	if err == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byKey[l.key]; e != nil && e.Value == l {
		m.remove(e)
	}
}

func (m *modules) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
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
// asked for the content only if the module is not in memory. It is not called in the caller's goroutine, and a caller
// whose context ends does not stop it: others may wait for the same module.
//
// The error of read is returned as it is; one engine must not see the same key for two contents.
func (e *Engine) Load(ctx context.Context, key [32]byte, read func(context.Context) ([]byte, error)) (*Module, error) {
	l, found := e.modules.get(key)
	if !found {
		if err := e.begin(); err != nil {
			e.modules.finish(l, nil, err)
			return nil, err
		}
		go func(ctx context.Context) {
			defer e.running.Done()
			module, err := e.load(ctx, read)
			e.modules.finish(l, module, err)
		}(context.WithoutCancel(ctx))
	}
	select {
	case <-l.ready:
		return l.module, l.err
	case <-ctx.Done():
		return nil, fail(ErrHost, "given up while the module was compiled: %w", ctx.Err())
	}
}

// load reads and compiles a module.
func (e *Engine) load(ctx context.Context, read func(context.Context) ([]byte, error)) (*Module, error) {
	select {
	case e.compiling <- struct{}{}:
	case <-e.done:
		return nil, errClosed
	}
	defer func() { <-e.compiling }()
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
	if e.files == nil {
		return newModule(ctx, in, e.limits, "")
	}
	return e.files.compile(ctx, in, e.limits)
}
