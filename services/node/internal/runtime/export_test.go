package runtime

import "context"

// Instrument is what happens to a module before it is compiled.
func Instrument(wasm []byte) ([]byte, error) {
	m, err := instrument(wasm, DefaultLimits())
	if err != nil {
		return nil, err
	}
	return m.wasm, nil
}

// Instance is an instance of a module that lives on between calls of functions of any type.
type Instance struct {
	v    *invocation
	call func(name string, args ...uint64) ([]uint64, error)
}

// NewInstance makes an instance under the limits of e.
func (e *Engine) NewInstance(ctx context.Context, m *Module) (*Instance, error) {
	v := &invocation{Context: ctx, caller: ctx, engine: e}
	mod, err := m.instantiate(v)
	if err != nil {
		return nil, err
	}
	return &Instance{v, func(name string, args ...uint64) ([]uint64, error) {
		v.failure = nil
		results, err := mod.ExportedFunction(name).Call(v, args...)
		if err != nil {
			err = v.explain(err)
		}
		return results, err
	}}, nil
}

// Call calls an exported function.
func (i *Instance) Call(name string, args ...uint64) ([]uint64, error) { return i.call(name, args...) }
