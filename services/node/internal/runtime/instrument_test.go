package runtime_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/calimero-network/mero-go/services/node/internal/runtime"
)

// modulesOfWazero calls fn with the modules in a directory of wazero's source, by their paths in it.
func modulesOfWazero(t *testing.T, dir string, fn func(name string, wasm []byte)) (n int) {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(strings.TrimSpace(string(root)), dir)
	err = filepath.WalkDir(at, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".wasm") {
			return err
		}
		wasm, err := os.ReadFile(path)
		n++
		fn(strings.TrimPrefix(path, at), wasm)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// suite calls fn with the modules of versions of the WebAssembly test suite, which ship with wazero.
func suite(t *testing.T, versions []string, fn func(name string, wasm []byte)) {
	t.Helper()
	n := 0
	for _, v := range versions {
		n += modulesOfWazero(t, "internal/integration_test/spectest/"+v+"/testdata", func(name string, wasm []byte) { fn(v+name, wasm) })
	}
	if n < 4500 {
		t.Fatalf("the suite has %d modules", n)
	}
}

// What Rust, TinyGo, Zig and C compilers make is within the bounds, whatever it imports.
func TestModulesOfCompilers(t *testing.T) {
	e := newEngine(t, nil)
	n := 0
	modulesOfWazero(t, ".", func(name string, wasm []byte) {
		if len(wasm) < 40_000 || containsAny(name, "spectest", "fuzzcases") {
			return
		}
		n++
		if _, err := e.Compile(t.Context(), wasm); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	if n < 10 {
		t.Errorf("%d modules", n)
	}
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}

// The meters make no valid module invalid and no invalid one valid, but for the differences that are meant.
func TestInstrumentedModulesAreAsValidAsBefore(t *testing.T) {
	rt := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer rt.Close(context.Background())
	valid := func(wasm []byte) error {
		m, err := rt.CompileModule(t.Context(), wasm)
		if err == nil {
			m.Close(t.Context())
		}
		return err
	}
	both := 0
	suite(t, []string{"v1", "v2"}, func(name string, wasm []byte) {
		before := valid(wasm)
		metered, refused := runtime.Instrument(wasm)
		if refused != nil {
			if !errors.Is(refused, runtime.ErrBadModule) {
				t.Errorf("%s: %v is no ErrBadModule", name, refused)
			}
			if before == nil && !containsAny(refused.Error(),
				"which is no function",                    // imports of memories, tables and globals
				"pages, more than", "elements, more than", // our limits
				"a table has more than", "its memory begins", //
				"instruction 0xfc 0x80 is unknown", // padded numbers of instructions
			) {
				t.Errorf("%s: refused: %v", name, refused)
			}
			return
		}
		after := valid(metered)
		switch {
		case before == nil && after != nil:
			t.Errorf("%s: broken: %v", name, after)
		case before == nil:
			both++
		case after == nil && !containsAny(before.Error(), "custom section", `for export["a"]`): // which are dropped
			t.Errorf("%s: it was %v, and now it compiles", name, before)
		}
	})
	if both < 2000 {
		t.Errorf("%d valid modules", both)
	}
}

// What a module computes, and how it fails, is the same with and without the meters.
func TestInstrumentedModulesDoTheSame(t *testing.T) {
	plain := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().WithMemoryLimitPages(1024))
	defer plain.Close(context.Background())
	e := newEngine(t, func(o *runtime.Options) { o.Limits.StackSize = 1 << 20 })
	calls, n := 0, 0
	suite(t, []string{"v2"}, func(name string, wasm []byte) {
		if n++; n%2 == 0 { // half of them are done in half of the time
			return
		}
		compiled, err := plain.CompileModule(t.Context(), wasm)
		if err != nil {
			return
		}
		defer compiled.Close(t.Context())
		if len(compiled.ImportedFunctions())+len(compiled.ImportedMemories()) != 0 {
			return
		}
		before, err := plain.InstantiateModule(t.Context(), compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
		if err != nil {
			return
		}
		defer before.Close(t.Context())
		module, err := e.Compile(t.Context(), wasm)
		if err != nil {
			return // see the test above
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		after, err := e.NewInstance(ctx, module, runtime.Call{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		defer after.Close()
		names := make([]string, 0, len(compiled.ExportedFunctions()))
		for fn := range compiled.ExportedFunctions() {
			names = append(names, fn)
		}
		slices.Sort(names) // calls change globals and memory
		for _, fn := range names {
			types, results := compiled.ExportedFunctions()[fn].ParamTypes(), compiled.ExportedFunctions()[fn].ResultTypes()
			if containsAny(fn, "runaway", "compute_radix", "fac-ssa") { // without an end, or with one in a hundred years
				continue
			}
			for _, arg := range []uint64{0, 1, 7} {
				calls++
				args := arguments(types, arg)
				want, wantErr := before.ExportedFunction(fn).Call(t.Context(), args...)
				got, gotErr := after.Call(fn, args...)
				hideReferences(results, got, want)
				if !slices.Equal(got, want) || trapText(gotErr) != trapText(wantErr) {
					t.Fatalf("%s: %s(%v) = %v, %v, want %v, %v", name, fn, args, got, gotErr, want, wantErr)
				}
			}
		}
	})
	if calls < 4000 {
		t.Errorf("%d calls", calls)
	}
}

// arguments are small enough for functions that count down from them.
func arguments(types []api.ValueType, v uint64) []uint64 {
	args := make([]uint64, 0, len(types))
	for i, t := range types {
		switch t {
		case api.ValueTypeI32, api.ValueTypeF32:
			args = append(args, uint64(uint32(v))+uint64(i))
		case api.ValueTypeI64, api.ValueTypeF64:
			args = append(args, v)
		case api.ValueTypeExternref, 0x70:
			args = append(args, 0)
		default: // a vector takes two
			args = append(args, v, v)
		}
	}
	return args
}

// hideReferences makes all references but null equal: they are addresses.
func hideReferences(types []api.ValueType, values ...[]uint64) {
	for i, t := range types {
		for _, v := range values {
			if (t == 0x70 || t == api.ValueTypeExternref) && len(v) == len(types) {
				v[i] = min(v[i], 1)
			}
		}
	}
}

// trapText is the reason of a trap.
func trapText(err error) string {
	if err == nil {
		return ""
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	for _, prefix := range []string{"wasm error: ", "the guest trapped: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}
