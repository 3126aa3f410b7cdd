package main_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/bundle"
)

// publish writes a bundle of a package into a directory and returns its path. Every build of it has a module of its own.
func publish(t *testing.T, dir, pkg string, build int) (string, error) {
	t.Helper()
	module := append(bytes.Clone(bundle.ModuleHeader), 0, 9, 4)
	module = append(module, fmt.Sprintf("name%s%03d", pkg[len(pkg)-1:], build%1000)...)
	manifest := fmt.Sprintf(`{"version":"1.0","package":%q,"appVersion":"1.%d.0","minRuntimeVersion":"0.1.0","wasm":{"path":"app.wasm"}}`, pkg, build%3)
	var out bytes.Buffer
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if err := bundle.Pack(&out, []byte(manifest), map[string][]byte{"app.wasm": module}, key); err != nil {
		return "", err
	}
	path := filepath.Join(dir, pkg+".mpk")
	return path, os.WriteFile(path, out.Bytes(), 0o600)
}

// api calls below /admin-api and decodes the member "data".
func (p *process) api(t *testing.T, method, path string, body []byte, v any) (int, error) {
	admin := process{url: strings.TrimSuffix(p.url, "/blobs")}
	status, text, err := admin.call(t, method, path, body)
	if err == nil && status == http.StatusOK {
		err = json.Unmarshal(text, &struct{ Data any }{v})
	}
	return status, err
}

// installer installs builds of its own package, and removes it now and then, until the node is gone. It keeps the id of
// the application, "" if it is removed, and whether the last call was interrupted.
type installer struct {
	pkg     string
	build   int
	app     string
	unknown bool
}

func (i *installer) work(t *testing.T, p *process, dir string, calls *atomic.Int64) {
	for {
		i.unknown = true
		if i.build++; i.build%5 == 0 && i.app != "" {
			if status, err := p.api(t, http.MethodDelete, "/applications/"+i.app, nil, nil); err != nil {
				return
			} else if status != http.StatusOK {
				t.Errorf("%s: removal: status %d", i.pkg, status)
			}
			i.app, i.unknown = "", false
			calls.Add(1)
			continue
		}
		path, err := publish(t, dir, i.pkg, i.build)
		if err != nil {
			t.Errorf("publish: %v", err)
			return
		}
		var installed struct{ ApplicationID string }
		status, err := p.api(t, http.MethodPost, "/install-dev-application", fmt.Appendf(nil, `{"path":%q}`, path), &installed)
		if err != nil {
			return
		}
		if status != http.StatusOK {
			t.Errorf("%s: installation: status %d", i.pkg, status)
		}
		i.app, i.unknown = installed.ApplicationID, false
		calls.Add(1)
	}
}

// checkInstalled compares a restarted node with what the installers know, and the blobs with the applications.
func checkInstalled(t *testing.T, p *process, dir string, all []*installer) {
	t.Helper()
	get := func(path string, v any) {
		t.Helper()
		if status, err := p.api(t, http.MethodGet, path, nil, v); err != nil || status != http.StatusOK {
			t.Fatalf("%s: status %d, %v", path, status, err)
		}
	}
	var list struct {
		Apps []struct{ ID, Package string }
	}
	get("/applications", &list)
	found, versions := map[string]string{}, 0
	for _, app := range list.Apps {
		found[app.Package] = app.ID
		var inventory []struct{ BlobID string }
		get("/applications/"+app.ID+"/versions", &inventory)
		if versions += len(inventory); len(inventory) == 0 {
			t.Errorf("%s has no version", app.Package)
		}
	}
	for _, i := range all {
		if got := found[i.pkg]; got != i.app && !i.unknown {
			t.Errorf("%s is %q, acknowledged was %q", i.pkg, got, i.app)
		}
		i.app, i.unknown = found[i.pkg], false
	}
	var blobs struct {
		Blobs []struct {
			ID string `json:"blob_id"`
		}
	}
	get("/blobs", &blobs)
	if got, want := len(blobs.Blobs), 2*versions; got != want { // bundle and module
		t.Errorf("%d blobs for %d versions, want %d", got, versions, want)
	}
	for _, b := range blobs.Blobs {
		if status, _, err := p.call(t, http.MethodGet, "/"+b.ID, nil); err != nil || status != http.StatusOK {
			t.Errorf("blob %s: status %d, %v", b.ID, status, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "*", "*"))
	if err != nil || len(files) != len(blobs.Blobs) { // each is one chunk
		t.Errorf("%d files for %d blobs, %v", len(files), len(blobs.Blobs), err)
	}
	if uploads, err := os.ReadDir(filepath.Join(dir, "blobs", "uploads")); err != nil || len(uploads) > 0 {
		t.Errorf("uploads after the restart: %v, %v", uploads, err)
	}
}

// An installation that a kill interrupts is there as a whole or leaves nothing.
func TestKilledNode_InstallsAsAWholeOrNotAtAll(t *testing.T) {
	bin, home := build(t), t.TempDir()
	all := []*installer{{pkg: "com.example.a"}, {pkg: "com.example.b"}, {pkg: "com.example.c"}}
	for round := range rounds / 2 {
		p := start(t, bin, home)
		checkInstalled(t, p, filepath.Join(home, "n"), all)
		var wg sync.WaitGroup
		var calls atomic.Int64
		for _, i := range all {
			wg.Go(func() { i.work(t, p, home, &calls) })
		}
		for calls.Load() < 6 && !t.Failed() {
			runtime.Gosched()
		}
		for range round * 4000 {
			runtime.Gosched()
		}
		if err := p.end(syscall.SIGKILL); err == nil {
			t.Error("the node ended by itself")
		}
		wg.Wait()
	}
	p := start(t, bin, home)
	checkInstalled(t, p, filepath.Join(home, "n"), all)
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}
