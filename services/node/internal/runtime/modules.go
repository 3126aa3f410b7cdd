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
	waiting int                           // how many want it
	queued  map[string]context.CancelFunc // ends the waits for a compiler, one for each key that wants it
	begun   bool                          // a compiler is there: from here on it is not given up
}

func newModules(limit int) *modules {
	return &modules{limit: limit, byKey: map[[32]byte]*list.Element{}, used: list.New()}
}

// get returns what is there under a key, or is on its way. If ctx is not nil, the caller must see to its loading with it: no
// compiler is at work yet, and nobody of the caller's own places waits for one, but perhaps others whose places are taken.
// The caller must call leave in any case.
func (m *modules) get(asked context.Context, who string, key [32]byte) (l *loading, ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.byKey[key]
	if e != nil {
		m.used.MoveToFront(e)
	} else {
		e = m.used.PushFront(&loading{key: key, ready: make(chan struct{}), queued: map[string]context.CancelFunc{}})
		m.byKey[key] = e
		for m.used.Len() > m.limit {
			m.remove(m.used.Back())
		}
	}
	l = e.Value.(*loading)
	l.waiting++
	if l.begun || l.queued[who] != nil {
		return l, nil
	}
	ctx, l.queued[who] = context.WithCancel(context.WithoutCancel(asked))
	return l, ctx
}

// leave says that somebody does not wait any more. What nobody waits for and no compiler has begun is given up.
func (m *modules) leave(l *loading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.waiting--; l.waiting > 0 || l.begun {
		return
	}
	l.begun = true
	l.leaveQueues()
	if e := m.byKey[l.key]; e != nil && e.Value == l {
		m.remove(e)
	}
}

// begin says that a compiler is there. It returns false if there was one before, or the module was given up.
func (m *modules) begin(l *loading) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.begun {
		return false
	}
	l.begun = true
	l.leaveQueues()
	return true
}

func (l *loading) leaveQueues() {
	for _, cancel := range l.queued {
		cancel()
	}
	l.queued = nil
}

func (m *modules) remove(e *list.Element) {
	delete(m.byKey, e.Value.(*loading).key)
	m.used.Remove(e)
}

// finish hands the module over to all who wait. A failure is not kept.
func (m *modules) finish(l *loading, module *Module, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l.module, l.err = module, err
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
			l.begun = true
			l.leaveQueues()
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
	who := caller.From(ctx).Key
	l, own := e.modules.get(ctx, who, key)
	defer e.modules.leave(l)
	if own != nil {
		if err := e.begin(&e.loading); err != nil {
			return nil, err
		}
		go func() {
			defer e.loading.Done()
			give, err := e.compiling.Take(own, who, 1)
			if err != nil {
				return // another one has begun, or nobody waits any more
			}
			defer give()
			if e.modules.begin(l) {
				module, err := e.load(context.WithoutCancel(own), read)
				e.modules.finish(l, module, err)
			}
		}()
	}
	select {
	case <-l.ready:
		return l.module, l.err
	default:
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

// load reads and compiles a module.
func (e *Engine) load(ctx context.Context, read func(context.Context) ([]byte, error)) (*Module, error) {
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
