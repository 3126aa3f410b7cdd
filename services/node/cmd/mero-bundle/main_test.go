package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/bundle"
)

func call(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestKeyPackInspect(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	key, out := at("key.json"), at("a.mpk")
	code, signer, stderr := call("key", key)
	if code != 0 || !strings.HasPrefix(signer, "did:key:z6Mk") {
		t.Fatalf("key: %d %q %q", code, signer, stderr)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v", info.Mode(), err)
	}
	if code, _, _ := call("key", key); code != 1 {
		t.Errorf("a key is replaced: %d", code)
	}
	for name, content := range map[string]string{
		"src/manifest.json": `{"version":"1.0","package":"com.example.a","appVersion":"1.0.0","minRuntimeVersion":"0.1.0","wasm":{"path":"app.wasm"}}`,
		"src/app.wasm":      string(bundle.ModuleHeader), "src/.hidden": "no", "src/.git/config": "no",
	} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := "com.example.a 1.0.0\nsigned by " + signer
	if code, stdout, stderr := call("pack", "-key", key, "-out", out, at("src")); code != 0 || stdout != want {
		t.Errorf("pack: %d %q %q", code, stdout, stderr)
	}
	if code, stdout, stderr := call("inspect", out); code != 0 || stdout != want {
		t.Errorf("inspect: %d %q %q", code, stdout, stderr)
	}
}

func TestRun_Failures(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte(`{"private_key":"AA"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
	}{
		{nil, 2},
		{[]string{"unknown"}, 2},
		{[]string{"key"}, 2},
		{[]string{"pack", dir}, 2},
		{[]string{"pack", "-bad"}, 2},
		{[]string{"inspect"}, 2},
		{[]string{"inspect", file}, 1},
		{[]string{"inspect", filepath.Join(dir, "absent")}, 1},
		{[]string{"pack", "-key", file, "-out", filepath.Join(dir, "out"), dir}, 1},
		{[]string{"pack", "-key", filepath.Join(dir, "absent"), "-out", filepath.Join(dir, "out"), dir}, 1},
	} {
		if code, _, stderr := call(tt.args...); code != tt.code || stderr == "" {
			t.Errorf("%q: %d %q, want %d", tt.args, code, stderr, tt.code)
		}
	}
}
