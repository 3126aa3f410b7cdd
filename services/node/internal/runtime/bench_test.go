package runtime_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

// The same calls of the sample application through the engine, and through a bare wazero loop. A bare loop compiles
// the module once and makes an instance for each call, as the application needs it; it has a map for its state, no
// limits but, where it says so, wazero's own check of the context, and keeps what every call writes.

var benchCalls = []struct{ method, input string }{
	{"get", `{"key":"key5"}`},
	{"set", `{"key":"key5","value":"another value"}`},
}

const benchEntries = 100

func BenchmarkEngine(b *testing.B) {
	e := newEngine(b, nil)
	m, err := e.Compile(context.Background(), testapp.KVStore)
	if err != nil {
		b.Fatal(err)
	}
	stored := state{}
	call := func(method, input string) runtime.Outcome {
		out, err := e.Run(context.Background(), m, runtime.Call{Method: method, Input: []byte(input), Context: aContext, State: stored, Private: state{}})
		if err != nil || out.Failed {
			b.Fatal(err, string(out.Returned))
		}
		stored.apply(out.Writes)
		return out
	}
	call("init", "")
	for i := range benchEntries {
		call("set", fmt.Sprintf(`{"key":"key%d","value":"value"}`, i))
	}
	for _, c := range benchCalls {
		b.Run(c.method, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call(c.method, c.input)
			}
		})
	}
}

func BenchmarkBareWazero(b *testing.B) {
	for name, checked := range map[string]bool{"unlimited": false, "context checked": true} {
		b.Run(name, func(b *testing.B) {
			h := newBareHost(b, testapp.KVStore, checked)
			h.call("init", "")
			for i := range benchEntries {
				h.call("set", fmt.Sprintf(`{"key":"key%d","value":"value"}`, i))
			}
			for _, c := range benchCalls {
				b.Run(c.method, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						h.call(c.method, c.input)
					}
				})
			}
		})
	}
}

// bareHost is as little as the sample application needs.
type bareHost struct {
	tb       testing.TB
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	state    map[string][]byte
	regs     map[uint64][]byte
	input    []byte
	returned []byte
}

func newBareHost(tb testing.TB, wasm []byte, checked bool) *bareHost {
	tb.Helper()
	ctx := context.Background()
	h := &bareHost{tb: tb, state: map[string][]byte{}, regs: map[uint64][]byte{}}
	h.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(1024).WithCloseOnContextDone(checked))
	tb.Cleanup(func() { h.runtime.Close(ctx) })
	var err error
	if h.compiled, err = h.runtime.CompileModule(ctx, wasm); err != nil {
		tb.Fatal(err)
	}
	host := h.runtime.NewHostModuleBuilder("env")
	for _, f := range h.compiled.ImportedFunctions() {
		_, name, _ := f.Import()
		host.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, mod api.Module, stack []uint64) {
			h.serve(name, mod.Memory(), stack)
		}), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	if _, err = host.Instantiate(ctx); err != nil {
		tb.Fatal(err)
	}
	return h
}

func (h *bareHost) call(method, input string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	instance, err := h.runtime.InstantiateModule(ctx, h.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		h.tb.Fatal(err)
	}
	defer instance.Close(ctx)
	clear(h.regs)
	h.input = []byte(input)
	if _, err := instance.ExportedFunction(method).Call(ctx); err != nil {
		h.tb.Fatal(err)
	}
}

func (h *bareHost) serve(name string, mem api.Memory, stack []uint64) {
	buf := func(p uint64) []byte {
		d, _ := mem.Read(uint32(p), 16)
		b, _ := mem.Read(uint32(binary.LittleEndian.Uint64(d)), uint32(binary.LittleEndian.Uint64(d[8:])))
		return b
	}
	found := func(ok bool) {
		stack[0] = 0
		if ok {
			stack[0] = 1
		}
	}
	switch name {
	case "input":
		h.regs[stack[0]] = h.input
	case "context_id":
		h.regs[stack[0]] = make([]byte, id.Size)
	case "register_len":
		stack[0] = uint64(len(h.regs[stack[0]]))
	case "read_register":
		copy(buf(stack[1]), h.regs[stack[0]])
		stack[0] = 1
	case "storage_read":
		v, ok := h.state[string(buf(stack[0]))]
		if ok {
			h.regs[stack[1]] = v
		}
		found(ok)
	case "storage_write":
		key := string(buf(stack[0]))
		old, ok := h.state[key]
		h.state[key] = bytes.Clone(buf(stack[1]))
		if ok {
			h.regs[stack[2]] = old
		}
		found(ok)
	case "storage_remove":
		key := string(buf(stack[0]))
		_, ok := h.state[key]
		delete(h.state, key)
		found(ok)
	case "value_return":
		h.returned = bytes.Clone(buf(stack[0] + 8))
	case "time_now":
		binary.LittleEndian.PutUint64(buf(stack[0]), uint64(now.UnixNano()))
	case "emit", "commit":
		buf(stack[0])
	default:
		h.tb.Fatalf("%s was called", name)
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		e := newEngine(b, nil)
		if _, err := e.Compile(context.Background(), testapp.KVStore); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompileFromDisk(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		e := newEngine(b, func(o *runtime.Options) { o.CacheDir = dir })
		if _, err := e.Compile(context.Background(), testapp.KVStore); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInstrument(b *testing.B) {
	b.SetBytes(int64(len(testapp.KVStore)))
	for b.Loop() {
		if _, err := runtime.Instrument(testapp.KVStore); err != nil {
			b.Fatal(err)
		}
	}
}
