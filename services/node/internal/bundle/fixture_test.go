package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/json"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/bundle"
)

// key is the key of the tests' publisher.
var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// module is the smallest module there is.
var module = bundle.ModuleHeader

const manifest = `{"version":"1.0","package":"com.example.app","appVersion":"1.2.3","minRuntimeVersion":"0.1.0",
	"metadata":{"name":"App","tags":["a"],"extra":1},"links":{"docs":"https://example.com"},
	"wasm":{"path":"app.wasm"},"abi":{"path":"abi.json"},"migrations":[{"path":"migrations/1.wasm"}]}`

func files() map[string][]byte {
	return map[string][]byte{"app.wasm": module, "abi.json": []byte(`{}`), "migrations/1.wasm": []byte("any")}
}

func pack(t testing.TB, manifest string, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := bundle.Pack(&out, []byte(manifest), files, key); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sign returns the text of a manifest that is signed whatever it says: edit changes its members first.
func sign(t testing.TB, edit func(map[string]any)) []byte {
	t.Helper()
	text, err := bundle.Sign([]byte(manifest), files(), key)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	edit(members)
	delete(members, "signature")
	text, err = json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	if members["signature"], err = bundle.SignText(text, key); err != nil {
		t.Fatal(err)
	}
	if text, err = json.Marshal(members); err != nil {
		t.Fatal(err)
	}
	return text
}

// entry is one entry of a hand-made archive.
type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644}, content}
}

// archive packs entries as they are.
func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return zip(t, out.Bytes())
}

func zip(t testing.TB, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// signedFiles are the entries of a good bundle.
func signedFiles(t testing.TB) []entry {
	t.Helper()
	all := []entry{file("manifest.json", string(sign(t, func(map[string]any) {})))}
	for path, content := range files() {
		all = append(all, file(path, string(content)))
	}
	return all
}
