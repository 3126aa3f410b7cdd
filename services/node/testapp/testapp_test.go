package testapp_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/testapp"
)

// The modules in this directory are what the source compiles to.
func TestModulesAreWhatTheSourceCompilesTo(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "../../../deploy/scripts/app.sh", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, have := range map[string][]byte{"kv-store.wasm": testapp.KVStore, "kv-store-v2.wasm": testapp.KVStoreV2} {
		compiled, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(compiled, have) {
			t.Errorf("%s is not what the source compiles to: run deploy/scripts/app.sh services/node/testapp", name)
		}
	}
}

// The ABIs name the methods that the modules have.
func TestABIsNameTheMethods(t *testing.T) {
	e := newEngine(t)
	for name, app := range map[string]struct{ wasm, abi []byte }{
		"v1": {testapp.KVStore, testapp.KVStoreABI},
		"v2": {testapp.KVStoreV2, testapp.KVStoreV2ABI},
	} {
		var abi struct {
			SchemaVersion string `json:"schema_version"`
			Methods       []struct{ Name string }
		}
		if err := json.Unmarshal(app.abi, &abi); err != nil || abi.SchemaVersion != "wasm-abi/1" {
			t.Fatalf("%s: schema %q, %v", name, abi.SchemaVersion, err)
		}
		methods := []string{"__calimero_sync_next"}
		for _, m := range abi.Methods {
			methods = append(methods, m.Name)
		}
		m, err := e.Compile(t.Context(), app.wasm)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(m.Methods(), " "), strings.Join(slices.Sorted(slices.Values(methods)), " "); got != want {
			t.Errorf("%s: the module has %s, the ABI %s", name, got, want)
		}
	}
}
