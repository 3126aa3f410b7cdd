package application_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/bundle"
	"github.com/calimero-network/mero-go/services/node/internal/fetch"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// fixture is a service in a directory of its own, with a directory of files that may be installed.
type fixture struct {
	*application.Service
	dir, files string
}

func open(t testing.TB) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{dir: dir, files: filepath.Join(dir, "files")}
	if err := os.Mkdir(f.files, 0o700); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	blobs, err := blob.Open(t.Context(), filepath.Join(dir, "blobs"), db, 0, log)
	if err != nil {
		t.Fatal(err)
	}
	client := fetch.New(fetch.Settings{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, MaxSize: 1 << 20, Timeout: time.Minute}, nil, time.Now, log)
	var clock atomic.Int64 // seconds
	f.Service = &application.Service{
		Store: db, Blobs: blobs, Fetch: client, Paths: []string{f.files}, MaxSize: 1 << 20, MaxModule: 1 << 16,
		Now: func() time.Time { return time.Unix(clock.Add(1), 0).UTC() }, Log: log,
	}
	return f
}

func (f *fixture) write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(f.files, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f *fixture) install(t testing.TB, name string, content []byte) application.Application {
	t.Helper()
	app, err := f.InstallPath(t.Context(), f.write(t, name, content), application.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// chunks counts the files below the blob directory.
func (f *fixture) chunks(t testing.TB) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(f.dir, "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// empty fails the test unless nothing is left of whatever was tried.
func (f *fixture) empty(t testing.TB, name string) {
	t.Helper()
	apps, err := f.List(t.Context())
	blobs, err2 := f.Blobs.List(t.Context())
	uploads, err3 := os.ReadDir(filepath.Join(f.dir, "blobs", "uploads"))
	if n := f.chunks(t); errors.Join(err, err2, err3) != nil || len(apps)+len(blobs)+len(uploads)+n > 0 {
		t.Errorf("%s left %d applications, %d blobs, %d uploads, %d chunks, %v", name, len(apps), len(blobs), len(uploads), n, errors.Join(err, err2, err3))
	}
}

func signer(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// module makes a module that differs from others of another name.
func module(name string) []byte {
	return append(bytes.Clone(bundle.ModuleHeader), section("name", name)...)
}

func section(name, content string) []byte {
	body := append(binary.AppendUvarint(nil, uint64(len(name))), name+content...)
	return append(binary.AppendUvarint([]byte{0}, uint64(len(body))), body...)
}

// pack makes a bundle with one module.
func pack(t testing.TB, version, name string, key ed25519.PrivateKey) []byte {
	t.Helper()
	manifest := fmt.Sprintf(`{"version":"1.0","package":"com.example.app","appVersion":%q,"minRuntimeVersion":"0.1.0",
		"metadata":{"name":"App"},"wasm":{"path":"app.wasm"},"abi":{"path":"abi.json"}}`, version)
	return packed(t, manifest, map[string][]byte{"app.wasm": module(name), "abi.json": []byte(`{"schema_version":"wasm-abi/1"}`)}, key)
}

func packed(t testing.TB, manifest string, files map[string][]byte, key ed25519.PrivateKey) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := bundle.Pack(&out, []byte(manifest), files, key); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestInstallPath_Bundle(t *testing.T) {
	f := open(t)
	content := pack(t, "1.0.0", "one", signer(1))
	path := f.write(t, "app.mpk", content)
	app, err := f.InstallPath(t.Context(), path, application.Options{Metadata: []byte("ignored")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Get(t.Context(), app.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Package != "com.example.app" || got.Version != "1.0.0" || got.SignerID != bundle.SignerID(signer(1).Public().(ed25519.PublicKey)) ||
		got.Size != int64(len(content)) || got.Source != "file://"+path || string(got.Metadata) != `{"package":"com.example.app","version":"1.0.0","name":"App"}` {
		t.Errorf("application: %+v", got)
	}
	if wasm, err := f.Bytecode(t.Context(), app.ID); err != nil || !bytes.Equal(wasm, module("one")) {
		t.Errorf("Bytecode = %q, %v", wasm, err)
	}
	if abi, err := f.ABI(t.Context(), app.ID, ""); err != nil || string(abi) != `{"schema_version":"wasm-abi/1"}` {
		t.Errorf("ABI = %s, %v", abi, err)
	}
	// The reference deletes the file that it has installed.
	if still, err := os.ReadFile(path); err != nil || !bytes.Equal(still, content) {
		t.Errorf("the caller's file: %d bytes, %v", len(still), err)
	}
	if again := f.install(t, "copy.mpk", content); again.ID != app.ID || again.Blob != app.Blob {
		t.Errorf("installed again it is %+v", again)
	}
}

func TestInstallPath_Module(t *testing.T) {
	f := open(t)
	content := append(module("m"), section("calimero_abi_v1", `{"methods":[]}`)...)
	path := f.write(t, "m.wasm", content)
	app, err := f.InstallPath(t.Context(), path, application.Options{Metadata: []byte{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	if app.Wasm != app.Blob || app.Package != "" || app.SignerID != "" || !bytes.Equal(app.Metadata, []byte{1, 2}) {
		t.Errorf("application: %+v", app)
	}
	if abi, err := f.ABI(t.Context(), app.ID, ""); err != nil || string(abi) != `{"methods":[]}` {
		t.Errorf("ABI = %s, %v", abi, err)
	}
	if _, err := f.ABI(t.Context(), app.ID, "other"); !errors.Is(err, application.ErrNoService) {
		t.Errorf("ABI of a service that is not there: %v", err)
	}
	plain := f.install(t, "plain.wasm", module("p"))
	if _, err := f.ABI(t.Context(), plain.ID, ""); !errors.Is(err, application.ErrNoABI) {
		t.Errorf("ABI of a module without one: %v", err)
	}
	// The id is made of everything: another place is another application that shares the blob.
	copied := f.install(t, "copy.wasm", content)
	if copied.ID == app.ID || copied.Blob != app.Blob {
		t.Errorf("from another place: %+v", copied)
	}
}

func TestInstallPath_Services(t *testing.T) {
	f := open(t)
	manifest := `{"version":"1.0","package":"com.example.multi","appVersion":"1.0.0","minRuntimeVersion":"0.1.0",
		"services":[{"name":"chat","wasm":{"path":"chat.wasm"},"abi":{"path":"chat.json"}},{"name":"files","wasm":{"path":"files.wasm"}},{"name":"also","wasm":{"path":"files.wasm"}}]}`
	app := f.install(t, "multi.mpk", packed(t, manifest, map[string][]byte{
		"chat.wasm": module("chat"), "chat.json": []byte(`{"of":"chat"}`), "files.wasm": append(module("files"), section("calimero_abi_v1", `{"of":"files"}`)...),
	}, signer(1)))
	if len(app.Services) != 3 || app.Wasm != (id.ID{}) {
		t.Fatalf("application: %+v", app)
	}
	for service, want := range map[string]string{"chat": `{"of":"chat"}`, "files": `{"of":"files"}`, "also": `{"of":"files"}`} {
		if abi, err := f.ABI(t.Context(), app.ID, service); err != nil || string(abi) != want {
			t.Errorf("ABI of %s = %s, %v", service, abi, err)
		}
		wasm, ok := app.Module(service)
		if text, err := f.Module(t.Context(), wasm); !ok || err != nil || !bytes.HasPrefix(text, bundle.ModuleHeader) {
			t.Errorf("module of %s: %t, %q, %v", service, ok, text, err)
		}
	}
	for _, ask := range []func() error{
		func() error { _, err := f.ABI(t.Context(), app.ID, ""); return err },
		func() error { _, err := f.Bytecode(t.Context(), app.ID); return err },
	} {
		if err := ask(); !errors.Is(err, application.ErrNoService) {
			t.Errorf("without naming one of several services: %v", err)
		}
	}
	if err := f.Uninstall(t.Context(), app.ID); err != nil {
		t.Fatal(err)
	}
	f.empty(t, "uninstalling")
}

func TestInstall_RefusalsChangeNothing(t *testing.T) {
	f := open(t)
	good := pack(t, "1.0.0", "one", signer(1))
	big := packed(t, `{"package":"a","appVersion":"1.0.0","minRuntimeVersion":"0.1.0","wasm":{"path":"app.wasm"}}`,
		map[string][]byte{"app.wasm": append(module("x"), section("pad", strings.Repeat("0123456789abcdef", 1<<13))...)}, signer(1))
	flip := func(b []byte) []byte {
		// One bit of the manifest, packed again as it was.
		return repack(t, b, func(name string, content []byte) []byte {
			if name == "manifest.json" {
				return bytes.Replace(content, []byte("1.0.0"), []byte("1.0.1"), 1)
			}
			return content
		})
	}
	wrong := id.ID{1}
	for _, tt := range []struct {
		name, file string
		content    []byte
		options    application.Options
		want       error
	}{
		{"flipped bit of the manifest", "a.mpk", flip(good), application.Options{}, bundle.ErrSignature},
		{"another module", "a.mpk", repack(t, good, func(name string, content []byte) []byte {
			if name == "app.wasm" {
				return module("two")
			}
			return content
		}), application.Options{}, bundle.ErrArtifact},
		{"cut short", "a.mpk", good[:len(good)/2], application.Options{}, bundle.ErrArchive},
		{"a module named as a bundle", "a.mpk", module("x"), application.Options{}, application.ErrFormat},
		{"neither", "a.wasm", []byte("#!/bin/sh"), application.Options{}, application.ErrFormat},
		{"nothing", "a.wasm", nil, application.Options{}, application.ErrFormat},
		{"header only in part", "a.wasm", bundle.ModuleHeader[:7], application.Options{}, application.ErrFormat},
		{"damaged module", "a.wasm", append(module("x"), 1, 9), application.Options{}, bundle.ErrModule},
		{"damaged module in a bundle", "a.mpk", packed(t, `{"package":"a","appVersion":"1.0.0","minRuntimeVersion":"0.1.0","wasm":{"path":"app.wasm"}}`,
			map[string][]byte{"app.wasm": []byte("no module")}, signer(1)), application.Options{}, bundle.ErrModule},
		{"description that is no JSON", "a.mpk", packed(t, `{"package":"a","appVersion":"1.0.0","minRuntimeVersion":"0.1.0","wasm":{"path":"app.wasm"},"abi":{"path":"abi.json"}}`,
			map[string][]byte{"app.wasm": module("x"), "abi.json": []byte("{")}, signer(1)), application.Options{}, bundle.ErrArtifact},
		{"one file as module and description", "a.mpk", packed(t, `{"package":"a","appVersion":"1.0.0","minRuntimeVersion":"0.1.0","wasm":{"path":"app.wasm"},"abi":{"path":"app.wasm"}}`,
			map[string][]byte{"app.wasm": module("x")}, signer(1)), application.Options{}, bundle.ErrManifest},
		{"newer runtime", "a.mpk", packed(t, `{"package":"a","appVersion":"1.0.0","minRuntimeVersion":"99.0.0","wasm":{"path":"app.wasm"}}`,
			map[string][]byte{"app.wasm": module("x")}, signer(1)), application.Options{}, bundle.ErrRuntime},
		{"large module in a bundle", "a.mpk", big, application.Options{}, application.ErrTooLarge},
		{"large module", "a.wasm", append(module("x"), section("pad", strings.Repeat("x", 1<<17))...), application.Options{}, application.ErrTooLarge},
		{"large file", "a.wasm", append(module("x"), section("pad", strings.Repeat("x", 1<<20))...), application.Options{}, application.ErrTooLarge},
		{"wrong hash", "a.mpk", good, application.Options{Hash: &wrong}, blob.ErrMismatch},
		{"not permitted", "a.mpk", good, application.Options{Permit: func(id.ID) error { return os.ErrPermission }}, os.ErrPermission},
	} {
		path := f.write(t, tt.file, tt.content)
		if _, err := f.InstallPath(t.Context(), path, tt.options); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		f.empty(t, tt.name)
	}
}

// repack changes files of a bundle and leaves everything else as it is.
func repack(t *testing.T, b []byte, edit func(name string, content []byte) []byte) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	packer := gzip.NewWriter(&out)
	from, to := tar.NewReader(zip), tar.NewWriter(packer)
	for {
		h, err := from.Next()
		if err != nil {
			break
		}
		var content bytes.Buffer
		_, err = content.ReadFrom(from)
		changed := edit(h.Name, content.Bytes())
		h.Size = int64(len(changed))
		if err := errors.Join(err, to.WriteHeader(h)); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(changed); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(to.Close(), packer.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestInstallPath_OnlyRegularFilesBelowTheDirectories(t *testing.T) {
	f := open(t)
	inside := f.write(t, "app.wasm", module("x"))
	outside := filepath.Join(f.dir, "outside.wasm")
	if err := os.WriteFile(outside, module("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(f.files, name) }
	for name, target := range map[string]string{"out": outside, "out-relative": "../outside.wasm", "in-absolute": inside, "in-relative": "app.wasm", "dir": f.dir, "loop": "loop", "null": "/dev/null"} {
		if err := os.Symlink(target, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		outside:                              application.ErrPath,
		"/etc/passwd":                        application.ErrPath,
		"/etc/absent":                        application.ErrPath, // says nothing about what exists
		f.files + "/../outside.wasm":         application.ErrPath,
		f.files + "-else/app.wasm":           application.ErrPath,
		"app.wasm":                           application.ErrPath,
		"":                                   application.ErrPath,
		inside + "\x00.mpk":                  application.ErrPath,
		at("out"):                            application.ErrPath,
		at("out-relative"):                   application.ErrPath,
		at("dir/outside.wasm"):               application.ErrPath,
		at("loop"):                           application.ErrPath,
		at("null"):                           application.ErrPath,
		at("pipe"):                           application.ErrPath, // and does not wait for a writer
		f.files:                              application.ErrPath,
		at("absent.wasm"):                    application.ErrNoFile,
		at("app.wasm/x"):                     application.ErrNoFile,
		at(strings.Repeat("x", 300)):         application.ErrPath,
		filepath.Join("/proc", "self", "fd"): application.ErrPath,
	} {
		if _, err := f.InstallPath(t.Context(), path, application.Options{}); !errors.Is(err, want) {
			t.Errorf("%.80q: %v, want %v", path, err, want)
		}
	}
	f.empty(t, "refused paths")
	for _, name := range []string{"app.wasm", "in-absolute", "in-relative"} {
		if _, err := f.InstallPath(t.Context(), at(name), application.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInstallURL(t *testing.T) {
	f := open(t)
	content, wasm := pack(t, "1.0.0", "one", signer(1)), module("m")
	mux := http.NewServeMux()
	serve := func(path string, b []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
	}
	serve("/app.mpk", content)
	serve("/m.wasm", wasm)
	serve("/download", content)
	serve("/page.mpk", []byte("<html>not here</html>"))
	serve("/large.wasm", append(module("x"), section("pad", strings.Repeat("x", 1<<20))...))
	s := httptest.NewServer(mux)
	defer s.Close()
	sum := id.ID(sha256.Sum256(content))
	wrong := id.ID{1}
	for path, tt := range map[string]struct {
		hash *id.ID
		want error
	}{
		"/app.mpk?x": {&wrong, blob.ErrMismatch}, "/absent.mpk": {nil, fetch.StatusError(404)}, "/page.mpk": {nil, application.ErrFormat}, "/large.wasm": {nil, fetch.ErrTooLarge},
	} {
		if _, err := f.InstallURL(t.Context(), s.URL+path, application.Options{Hash: tt.hash}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", path, err, tt.want)
		}
		f.empty(t, path)
	}
	if _, err := f.InstallURL(t.Context(), "http://[::1]/x", application.Options{}); !errors.Is(err, fetch.ErrRefused) {
		t.Errorf("an address that is not permitted: %v", err)
	}
	app, err := f.InstallURL(t.Context(), s.URL+"/app.mpk?signature=secret#x", application.Options{Hash: &sum})
	if err != nil || app.Source != s.URL+"/app.mpk" {
		t.Errorf("bundle: %+v, %v", app, err)
	}
	if again, err := f.InstallURL(t.Context(), s.URL+"/download", application.Options{}); err != nil || again.ID != app.ID {
		t.Errorf("a bundle without the name of one: %+v, %v", again, err)
	}
	if app, err := f.InstallURL(t.Context(), s.URL+"/m.wasm", application.Options{}); err != nil || app.Wasm == (id.ID{}) || app.Package != "" {
		t.Errorf("module: %+v, %v", app, err)
	}
}

func TestInstallURL_InterruptedLeavesNothing(t *testing.T) {
	f := open(t)
	content := pack(t, "1.0.0", "one", signer(1))
	arrived, release := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(content[:100])
		w.(http.Flusher).Flush()
		close(arrived)
		<-release
	}))
	defer s.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := f.InstallURL(ctx, s.URL+"/app.mpk", application.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	f.empty(t, "an interrupted download")
}

func TestVersions(t *testing.T) {
	f := open(t)
	one, two := f.install(t, "1.mpk", pack(t, "1.9.0", "one", signer(1))), f.install(t, "2.mpk", pack(t, "1.10.0", "two", signer(1)))
	if one.ID != two.ID {
		t.Fatal("another version is another application")
	}
	if other := f.install(t, "3.mpk", pack(t, "1.10.0", "two", signer(2))); other.ID == one.ID {
		t.Error("another signer's is the same application")
	}
	texts := func() (all []string) {
		t.Helper()
		list, err := f.Versions(t.Context(), one.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			all = append(all, v.Version)
		}
		return all
	}
	if got := strings.Join(texts(), " "); got != "1.9.0 1.10.0" {
		t.Errorf("versions: %s", got)
	}
	f.install(t, "1.mpk", pack(t, "1.9.0", "one", signer(1)))
	if got, err := f.Get(t.Context(), one.ID); err != nil || got.Version != "1.9.0" {
		t.Errorf("after the older one was installed again: %+v, %v", got, err)
	}

	// A context runs 1.10.0, which is then built anew under the same name.
	use := func(app application.Application, delta int) {
		t.Helper()
		if err := f.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.UseApplication(app.ID, app.Blob, delta) }); err != nil {
			t.Fatal(err)
		}
	}
	use(two, 1)
	anew := f.install(t, "2.mpk", pack(t, "1.10.0", "anew", signer(1)))
	if got := strings.Join(texts(), " "); got != "1.9.0 1.10.0" || anew.Blob == two.Blob {
		t.Errorf("versions: %s", got)
	}
	if wasm, err := f.Module(t.Context(), two.Wasm); err != nil || !bytes.Equal(wasm, module("two")) {
		t.Errorf("what the context runs: %q, %v", wasm, err)
	}
	if err := f.Uninstall(t.Context(), one.ID); !errors.Is(err, application.ErrInUse) {
		t.Errorf("uninstalled under a context: %v", err)
	}
	if err := f.Blobs.Delete(t.Context(), two.Wasm); !errors.Is(err, blob.ErrInUse) {
		t.Errorf("its module deleted: %v", err)
	}
	use(two, -1)
	if _, err := f.Version(t.Context(), two.ID, two.Blob); !errors.Is(err, application.ErrNotFound) {
		t.Errorf("a superseded version that nobody runs: %v", err)
	}
	// The other signer's application is byte for byte another bundle with the same module, which therefore stays.
	if _, err := f.Module(t.Context(), two.Wasm); err != nil {
		t.Errorf("a module that another application needs: %v", err)
	}
	if err := f.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.UseApplication(two.ID, two.Blob, 1) }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a version that is gone is used: %v", err)
	}
}

func TestUninstall(t *testing.T) {
	f := open(t)
	app := f.install(t, "a.mpk", pack(t, "1.0.0", "one", signer(1)))
	f.install(t, "b.mpk", pack(t, "2.0.0", "two", signer(1)))
	for _, blobID := range []id.ID{app.Blob, app.Wasm} {
		if err := f.Blobs.Delete(t.Context(), blobID); !errors.Is(err, blob.ErrInUse) {
			t.Errorf("a blob of an installed application is deleted: %v", err)
		}
	}
	if err := f.Uninstall(t.Context(), app.ID); err != nil {
		t.Fatal(err)
	}
	f.empty(t, "uninstalling")
	if err := f.Uninstall(t.Context(), app.ID); !errors.Is(err, application.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
}

// What somebody uploaded is theirs, whatever applications come and go.
func TestUninstall_KeepsUploadedBlobs(t *testing.T) {
	for name, uploadFirst := range map[string]bool{"uploaded before": true, "uploaded after": false} {
		f := open(t)
		content := module("m")
		upload := func() {
			if _, err := f.Blobs.Put(t.Context(), bytes.NewReader(content), nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if uploadFirst {
			upload()
		}
		app := f.install(t, "m.wasm", content)
		if !uploadFirst {
			upload()
		}
		if err := f.Uninstall(t.Context(), app.ID); err != nil {
			t.Fatal(err)
		}
		if info, err := f.Blobs.Info(t.Context(), app.Blob); err != nil || info.Uses != 0 {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
		if err := f.Blobs.Delete(t.Context(), app.Blob); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.empty(t, name)
	}
}

// Whatever the order in which installations and removals of one application come, its blobs and its entry agree.
func TestConcurrentInstallAndUninstall(t *testing.T) {
	f := open(t)
	var paths []string
	for i := range 3 {
		paths = append(paths, f.write(t, fmt.Sprintf("%d.mpk", i), pack(t, fmt.Sprintf("1.%d.0", i%2), fmt.Sprint("module ", i), signer(1))))
	}
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for round := range 6 {
				app, err := f.InstallPath(t.Context(), paths[(worker+round)%len(paths)], application.Options{})
				if err != nil {
					t.Errorf("install: %v", err)
				}
				if (worker+round)%2 == 0 {
					if err := f.Uninstall(t.Context(), app.ID); err != nil && !errors.Is(err, application.ErrNotFound) {
						t.Errorf("uninstall: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	all, err := f.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if wasm, err := f.Module(t.Context(), a.Wasm); err != nil || !bytes.HasPrefix(wasm, bundle.ModuleHeader) {
			t.Errorf("module of %s: %q, %v", a.Version, wasm, err)
		}
	}
	if blobs, err := f.Blobs.List(t.Context()); err != nil || len(blobs) != 2*len(all) {
		t.Errorf("%d blobs for %d versions, %v", len(blobs), len(all), err)
	}
	if len(all) > 0 {
		if err := f.Uninstall(t.Context(), all[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	f.empty(t, "the last removal")
}

func BenchmarkInstall(b *testing.B) {
	f := open(b)
	path := f.write(b, "a.mpk", pack(b, "1.0.0", strings.Repeat("x", 1000), signer(1)))
	for b.Loop() {
		if _, err := f.InstallPath(b.Context(), path, application.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
