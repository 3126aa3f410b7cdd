package runtime_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

// reasons are all that an error of this package may be.
var reasons = []error{
	runtime.ErrBadModule, runtime.ErrMethodNotFound, runtime.ErrMethodName, runtime.ErrMethodType, runtime.ErrPanic, runtime.ErrTrap,
	runtime.ErrUnsupported, runtime.ErrTimeLimit, runtime.ErrMemoryLimit, runtime.ErrStackLimit, runtime.ErrHostLimit,
}

func explained(err error) bool {
	for _, r := range reasons {
		if errors.Is(err, r) {
			return true
		}
	}
	return err == nil
}

// fuzzLimits keep one run of a fuzzer short and small.
func fuzzLimits(o *runtime.Options) {
	o.Limits.Time = 100 * time.Millisecond
	o.Limits.ModuleSize = 1 << 16
	o.Limits.MemoryPages = 64
	o.Modules = 1
}

// Whatever a module is, it compiles or is refused, and its methods end, each with a reason that is the guest's.
func FuzzCompile(f *testing.F) {
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	for _, source := range endless {
		f.Add(assemble(f, source))
	}
	f.Add(assemble(f, "import env.commit II\nimport env.js_crdt_map_new i>i\nmemory 1\ntable 2 3\nglobal 1\ndata 0 \"abc\"\nstart s\nfunc s\nend func\nfunc run >i locals II\nblock i\ni32.const 1\nreturn\nend\nend func"))
	f.Add(assemble(f, "memory 1\ndata -1 \"before it\"\nfunc run\nend func"))
	f.Add(testapp.KVStore)
	f.Fuzz(func(t *testing.T, wasm []byte) {
		e := newEngine(t, fuzzLimits)
		m, err := e.Compile(context.Background(), wasm)
		if err != nil {
			if !errors.Is(err, runtime.ErrBadModule) {
				t.Fatalf("%v is no ErrBadModule", err)
			}
			return
		}
		for i, method := range m.Methods() {
			if i == 3 {
				return
			}
			_, err := e.Run(context.Background(), m, runtime.Call{
				Method: method, Input: wasm, State: state{}, Private: state{}, Blobs: newBlobs(), Directory: people{aContext, aExecutor},
			})
			if !explained(err) {
				t.Fatalf("%s: %v", method, err)
			}
		}
	})
}

// FuzzHost calls functions of the host one after the other, with whatever arguments, over whatever memory.
func FuzzHost(f *testing.F) {
	functions := runtime.EnvFunctions()
	// call writes a call as the target reads it.
	call := func(name string, args ...uint64) []byte {
		for i, fn := range functions {
			if fn.Name == name {
				b := []byte{byte(i)}
				for _, a := range args {
					b = binary.LittleEndian.AppendUint64(b, a)
				}
				return b
			}
		}
		panic(name)
	}
	memory := append(desc(64, 32), desc(0, ^uint64(0))...)
	memory = append(append(memory, desc(1<<63, 1)...), make([]byte, 100)...)
	for _, fn := range functions {
		f.Add(memory, call(fn.Name, make([]uint64, len(fn.Params))...))
		huge := make([]uint64, len(fn.Params))
		for i := range huge {
			huge[i] = ^uint64(0) - uint64(i)
		}
		f.Add(memory, call(fn.Name, huge...))
	}
	f.Add(memory, append(call("storage_write", 0, 0, 1), append(call("storage_read", 0, 1), call("read_register", 1, 0)...)...))
	f.Add(memory, append(call("blob_create"), append(call("blob_write", 1, 0), call("blob_close", 1, 0)...)...))
	f.Add(memory, append(call("persist_root_state", 0, 1, ^uint64(0)), append(call("flush_delta"), call("commit", 0, 0)...)...))

	wasm := passThrough(f)
	e := newEngine(f, func(o *runtime.Options) {
		o.Limits.ValueSize, o.Limits.BlobTotal = 1<<16, 1<<20
	})
	m, err := e.Compile(context.Background(), wasm)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, memory, calls []byte) {
		g, err := e.NewInstance(context.Background(), m, runtime.Call{
			Input: memory, State: state{}, Private: state{}, Blobs: newBlobs(), Directory: people{aContext, aExecutor},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		g.Memory().Write(0, memory[:min(len(memory), 1<<20)])
		for range 50 {
			if len(calls) == 0 {
				break
			}
			fn := functions[int(calls[0])%len(functions)]
			calls = calls[1:]
			args := make([]uint64, len(fn.Params))
			for i := range args {
				var b [8]byte
				calls = calls[copy(b[:], calls):]
				args[i] = binary.LittleEndian.Uint64(b[:])
			}
			if _, err := g.Call(fn.Name, args...); !explained(err) {
				t.Fatalf("%s%x: %v", fn.Name, args, err)
			}
		}
		g.Outcome()
	})
}
