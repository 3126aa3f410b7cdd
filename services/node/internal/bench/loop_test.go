package bench_test

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// loop calls methods of a module as the least host that can: a fresh instance for each call, what it writes in a map,
// no limits, no checks, nothing on disk.
type loop struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	mem     api.Memory
	regs    map[uint64][]byte
	state   map[string][]byte
	input   []byte
	output  []byte
}

func newLoop(t testing.TB, code []byte) *loop {
	t.Helper()
	ctx := context.Background()
	b := &loop{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true)), state: map[string][]byte{}}
	t.Cleanup(func() { _ = b.runtime.Close(ctx) })
	var err error
	if b.module, err = b.runtime.CompileModule(ctx, code); err != nil {
		t.Fatal(err)
	}
	if err := b.link(ctx); err != nil {
		t.Fatal(err)
	}
	b.call(t, "init", nil)
	return b
}

// link gives the module what it imports: the functions of storage, and nothing for the rest.
func (b *loop) link(ctx context.Context) error {
	env := b.runtime.NewHostModuleBuilder("env")
	for _, f := range b.module.ImportedFunctions() {
		_, name, _ := f.Import()
		env.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, stack []uint64) {
			b.mem = m.Memory()
			b.host(name, stack)
		}), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	_, err := env.Instantiate(ctx)
	return err
}

func (b *loop) host(name string, stack []uint64) {
	switch name {
	case "context_id", "executor_id":
		b.regs[stack[0]] = make([]byte, 32)
	case "time_now":
		binary.LittleEndian.PutUint64(b.buffer(stack[0]), 1)
	case "input":
		b.regs[stack[0]] = b.input
	case "register_len":
		v, ok := b.regs[stack[0]]
		if stack[0] = uint64(len(v)); !ok {
			stack[0] = ^uint64(0)
		}
	case "read_register":
		copy(b.buffer(stack[1]), b.regs[stack[0]])
		stack[0] = 1
	case "storage_read":
		v, ok := b.state[string(b.buffer(stack[0]))]
		b.found(stack, 1, v, ok)
	case "storage_write":
		key := string(b.buffer(stack[0]))
		old, ok := b.state[key]
		b.state[key] = append([]byte(nil), b.buffer(stack[1])...)
		b.found(stack, 2, old, ok)
	case "storage_remove":
		key := string(b.buffer(stack[0]))
		old, ok := b.state[key]
		delete(b.state, key)
		b.found(stack, 1, old, ok)
	case "value_return":
		b.output = append([]byte(nil), b.buffer(stack[0]+8)...)
	}
}

// found answers a function of storage.
func (b *loop) found(stack []uint64, register int, v []byte, ok bool) {
	if !ok {
		stack[0] = 0
		return
	}
	b.regs[stack[register]] = v
	stack[0] = 1
}

// buffer returns the memory that a descriptor names.
func (b *loop) buffer(at uint64) []byte {
	d, _ := b.mem.Read(uint32(at), 16)
	v, _ := b.mem.Read(uint32(binary.LittleEndian.Uint64(d)), uint32(binary.LittleEndian.Uint64(d[8:])))
	return v
}

func (b *loop) call(t testing.TB, method string, input []byte) {
	t.Helper()
	ctx := context.Background()
	b.regs, b.input = map[uint64][]byte{}, input
	m, err := b.runtime.InstantiateModule(ctx, b.module, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.ExportedFunction(method).Call(ctx); err != nil {
		t.Fatalf("%s in the bare loop: %v", method, err)
	}
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
