package runtime

import (
	"context"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// Instrument is what happens to a module before it is compiled.
func Instrument(wasm []byte) ([]byte, error) {
	m, err := instrument(wasm, DefaultLimits())
	if err != nil {
		return nil, err
	}
	return m.wasm, nil
}

// Held is what calls hold of the engine's memory.
func (e *Engine) Held() int64 { return e.held.Load() }

// EnvFunction is a function that the host has.
type EnvFunction struct {
	Name            string
	Params, Results []byte
}

// EnvFunctions returns the functions that the host has, by their names.
func EnvFunctions() (list []EnvFunction) {
	for name, f := range env {
		list = append(list, EnvFunction{name, f.params, f.results})
	}
	slices.SortFunc(list, func(a, b EnvFunction) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Instance is an instance that lives on between calls of its functions, which may be of any type. All of them are one
// call to the host.
type Instance struct {
	v   *invocation
	mod api.Module
}

// NewInstance makes an instance under the limits of e.
func (e *Engine) NewInstance(ctx context.Context, m *Module, c Call) (*Instance, error) {
	v := &invocation{Context: ctx, caller: ctx, engine: e, call: c}
	mod, err := m.instantiate(v)
	if err != nil {
		return nil, err
	}
	return &Instance{v, mod}, nil
}

// Call calls an exported function.
func (i *Instance) Call(name string, args ...uint64) ([]uint64, error) {
	i.v.failure = nil
	results, err := i.mod.ExportedFunction(name).Call(i.v, args...)
	if err != nil {
		err = i.v.explain(err)
	}
	return results, err
}

// Memory returns the guest's memory.
func (i *Instance) Memory() api.Memory { return i.mod.Memory() }

// Outcome is what the calls so far did.
func (i *Instance) Outcome() Outcome { return i.v.outcome(nil) }

// Close ends the call.
func (i *Instance) Close() {
	i.v.closeBlobs()
	_ = i.mod.Close(i.v)
}
