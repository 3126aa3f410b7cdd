package runtime

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// maxMethod is the length of the longest name of a method.
const maxMethod = 256

// registerMerge is called before the method, where a module exports it. It prepares the merging of states.
const registerMerge = "__calimero_register_merge"

// Module is a compiled module. It stays usable until the engine is closed, whether or not the engine still caches it.
type Module struct {
	// Each module has a runtime of its own, so that its imports can be of any type and everything it needs goes
	// when nobody holds it any more.
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	exports  map[string]funcType
	methods  []string
	merges   bool

	limits   Limits
	memories sync.Pool // of []byte, all zero: memories of calls that have ended
}

// Methods returns the names of what can be called, in order: the exports of type () -> () with a well-formed name.
func (m *Module) Methods() []string { return slices.Clone(m.methods) }

// HasMethod reports whether name can be called.
func (m *Module) HasMethod(name string) bool { return m.check(name) == nil }

// check says why a method cannot be called.
func (m *Module) check(name string) error {
	if !isMethodName(name) {
		return fail(ErrMethodName, "a method has a name of 1 to %d letters, digits and underscores", maxMethod)
	}
	t, ok := m.exports[name]
	switch {
	case !ok:
		return fail(ErrMethodNotFound, "method %q not found", name)
	case !t.empty():
		return fail(ErrMethodType, "method %q has arguments or results of its own and cannot be called", name)
	}
	return nil
}

func isMethodName(s string) bool {
	if len(s) == 0 || len(s) > maxMethod {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// moduleConfig makes an instance without a name, so that there can be many, and without looking for "_start". Nothing
// of the system can be reached from it; without a source of randomness of ours, wazero would make and seed one each time.
var moduleConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(strings.NewReader(""))

// newModule compiles an instrumented module. With dir, the machine code is read from there if it is there, and
// written there otherwise.
func newModule(ctx context.Context, in *instrumented, limits Limits, dir string) (_ *Module, err error) {
	// The memory limit is our own (see memory), to tell a guest that ran into it. Function bodies are checked.
	config := wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false)
	if dir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(dir)
		if err != nil {
			return nil, fmt.Errorf("cache of compiled modules: %w", err)
		}
		config = config.WithCompilationCache(cache)
	}
	m := &Module{runtime: wazero.NewRuntimeWithConfig(ctx, config), exports: in.exports, limits: limits}
	defer func() {
		if r := recover(); r != nil {
			err = fail(ErrBadModule, "the module cannot be compiled: %v", r)
		}
		if err != nil {
			m.close(ctx)
		}
	}()
	if err := m.link(ctx, in.imports); err != nil {
		return nil, fail(ErrBadModule, "the module cannot be linked: %w", err)
	}
	if m.compiled, err = m.runtime.CompileModule(ctx, in.wasm); err != nil {
		return nil, fail(ErrBadModule, "the module cannot be compiled: %w", err)
	}
	for name, t := range m.exports {
		if t.empty() && isMethodName(name) {
			m.methods = append(m.methods, name)
		}
	}
	slices.Sort(m.methods)
	_, m.merges = slices.BinarySearch(m.methods, registerMerge)
	return m, nil
}

// close is for a module that nobody runs. One that goes out of use is collected with everything it has.
func (m *Module) close(ctx context.Context) { _ = m.runtime.Close(ctx) }

// link provides what the module imports, each import under its number.
func (m *Module) link(ctx context.Context, imports []functionImport) error {
	host := m.runtime.NewHostModuleBuilder(hostModule)
	export := func(i int, t funcType, fn func(*invocation, []uint64)) {
		host.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
			v := invocationOf(ctx)
			v.enter(mod)
			fn(v, stack)
		}), t.params, t.results).Export(importName(i))
	}
	for i, f := range imports {
		export(i, f.funcType, hostFunction(f))
	}
	export(len(imports), tickType, func(_ *invocation, stack []uint64) {
		goruntime.Gosched() // a guest that computes shares its core in much smaller parts than goroutines do
		stack[0] = fuel
	})
	export(len(imports)+1, overflowType, func(v *invocation, _ []uint64) {
		v.abort(fail(ErrStackLimit, "the guest's calls are nested too deeply"))
	})
	_, err := host.Instantiate(ctx)
	return err
}

// run runs the call of v in a fresh instance.
func (m *Module) run(v *invocation) error {
	instance, err := m.instantiate(v)
	if err != nil {
		return err
	}
	if m.merges {
		err := v.try(instance.ExportedFunction(registerMerge))
		switch {
		case err == nil:
		case errors.Is(err, ErrTimeLimit), errors.Is(err, ErrHost), errors.Is(err, ErrClosed):
			_ = instance.Close(v)
			return err
		default:
			// Ignored, as is whatever it did.
			_ = instance.Close(v)
			v.reset()
			if instance, err = m.instantiate(v); err != nil {
				return err
			}
		}
	}
	defer func() { _ = instance.Close(v) }()
	return v.try(instance.ExportedFunction(v.call.Method))
}

// instantiate makes an instance, which runs the module's start function.
func (m *Module) instantiate(v *invocation) (api.Module, error) {
	v.memory = &memory{module: m, call: v}
	ctx := experimental.WithMemoryAllocator(v, v.memory)
	instance, err := m.runtime.InstantiateModule(ctx, m.compiled, moduleConfig)
	if err != nil {
		return nil, v.explain(err)
	}
	return instance, nil
}

// trapPrefix is what comes before the reason of a trap, unless there is no instance yet: data beyond the memory is
// reported as outside, behind the number of its segment.
const (
	trapPrefix = "wasm error: "
	outside    = "out of bounds memory access"
)

// explain turns the error of a call that ended early into one of ours.
func (v *invocation) explain(err error) error {
	if v.failure != nil {
		return v.failure
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	segment, text, trapped := strings.Cut(text, trapPrefix)
	switch {
	case !trapped && strings.HasSuffix(segment, "]: "+outside):
		return fail(ErrTrap, "the guest trapped: %s", outside)
	case !trapped:
		return fail(ErrHost, "the host failed during the call: %w", err)
	case text == "stack overflow":
		return fail(ErrStackLimit, "the guest's calls are nested too deeply")
	case v.memory.short:
		return errNoMemory
	case v.memory.refused:
		return fail(ErrMemoryLimit, "the guest needs more memory than %d pages: %s", v.engine.limits.MemoryPages, text)
	default:
		return fail(ErrTrap, "the guest trapped: %s", text)
	}
}
