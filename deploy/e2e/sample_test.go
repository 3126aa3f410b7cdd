package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// bundled packs the sample application as a publisher does, once for all tests, and returns the path of the bundle.
var bundled = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(runDir, "bundle")
	if err := os.MkdirAll(filepath.Join(dir, "app"), 0o700); err != nil {
		return "", err
	}
	for _, name := range []string{"manifest.json", "kv-store.wasm", "kv-store.abi.json"} {
		content, err := os.ReadFile(filepath.Join(programs.Root, "services", "node", "testapp", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "app", name), content, 0o600)
		}
		if err != nil {
			return "", err
		}
	}
	key, bundle := filepath.Join(dir, "key.json"), filepath.Join(dir, "kv-store.mpk")
	for _, args := range [][]string{{"key", key}, {"pack", "-key", key, "-out", bundle, filepath.Join(dir, "app")}} {
		if out, err := exec.Command(programs.Bundle, args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("mero-bundle %v: %w\n%s", args, err, out)
		}
	}
	return bundle, nil
})

// installSample installs the sample application from a path below the node's home, and returns its id.
func (a *administered) installSample(t *testing.T) string {
	t.Helper()
	bundle, err := bundled()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(a.local.Dir, "data", fmt.Sprintf("kv-store-%d.mpk", requests.Add(1)))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var made struct {
		ID string `json:"applicationId"`
	}
	if err := a.call(t, "POST", "/admin-api/install-dev-application", a.admin, map[string]any{"path": path, "metadata": []int{}}).data(&made); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// room is a context of the sample application.
type room struct {
	*administered
	ID     string `json:"contextId"`
	Member string `json:"memberPublicKey"`
	Group  string `json:"groupId"`
}

// room makes a context of an application.
func (a *administered) room(t *testing.T, application string) room {
	t.Helper()
	r := room{administered: a}
	if err := a.call(t, "POST", "/admin-api/contexts", a.admin, map[string]any{"applicationId": application}).data(&r); err != nil {
		t.Fatal(err)
	}
	if r.ID == "" || r.Member == "" || r.Group == "" {
		t.Fatalf("a new context without an id, a member or a group: %+v", r)
	}
	return r
}

// execution is a JSON-RPC call of a method. Arguments are JSON; as may be empty.
func (r room) execution(as, method, arguments string) map[string]any {
	params := map[string]any{"contextId": r.ID, "method": method, "argsJson": json.RawMessage(arguments)}
	if as != "" {
		params["executorPublicKey"] = as
	}
	return map[string]any{"jsonrpc": "2.0", "id": 1, "method": "execute", "params": params}
}

// reply is an answer of JSON-RPC: an output, or the type of an error.
type reply struct {
	Result *struct {
		Output json.RawMessage `json:"output"`
	} `json:"result"`
	Error *struct {
		Type string `json:"type"`
	} `json:"error"`
}

// output returns what a call returned, or "error " and its type.
func (r reply) output() string {
	switch {
	case r.Result != nil && r.Error == nil:
		return string(r.Result.Output)
	case r.Error != nil && r.Result == nil:
		return "error " + r.Error.Type
	}
	return fmt.Sprintf("neither or both of result and error: %+v", r)
}

// as calls a method as an identity over JSON-RPC and returns its output or its error's type.
func (r room) as(t *testing.T, token, as, method, arguments string) string {
	t.Helper()
	a := r.call(t, "POST", "/jsonrpc", token, r.execution(as, method, arguments)).want(t, http.StatusOK)
	var got reply
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatalf("%s: %v: %s", method, err, a.body)
	}
	return got.output()
}

// execute calls a method with an administrator's token, which must succeed.
func (r room) execute(t *testing.T, method, arguments, want string) {
	t.Helper()
	if got := r.as(t, r.admin, "", method, arguments); got != want {
		t.Errorf("%s(%s) = %s, want %s", method, arguments, got, want)
	}
}
