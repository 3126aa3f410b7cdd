package app_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/bundle"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// publisher is the key of the tests' publisher.
var publisher = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))

// sampleBundle makes a signed bundle of a module that does nothing.
func sampleBundle(t *testing.T, pkg, version string) []byte {
	t.Helper()
	manifest := fmt.Sprintf(`{"version":"1.0","package":%q,"appVersion":%q,"minRuntimeVersion":"0.1.0","metadata":{"name":"Sample"},
		"wasm":{"path":"app.wasm"},"abi":{"path":"abi.json"}}`, pkg, version)
	var out bytes.Buffer
	files := map[string][]byte{"app.wasm": bundle.ModuleHeader, "abi.json": []byte(`{"schema_version":"wasm-abi/1"}`)}
	if err := bundle.Pack(&out, []byte(manifest), files, publisher); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func blobID(content []byte) id.ID {
	chunk := hash(content)
	return hash(chunk[:])
}

// posting returns a function that posts JSON below /admin-api.
func (n *node) posting(t *testing.T, permissions string) func(path, body string) answer {
	return func(path, body string) answer {
		t.Helper()
		return n.as(t, permissions, http.MethodPost, "/admin-api"+path, strings.NewReader(body))
	}
}

func (n *node) getting(t *testing.T, permissions string) func(path string) answer {
	return func(path string) answer {
		t.Helper()
		return n.as(t, permissions, http.MethodGet, "/admin-api"+path, nil)
	}
}

// installed installs a file by path and returns the application's id.
func (n *node) installed(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := n.dir.Path(name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	a := n.posting(t, "admin")("/install-dev-application", fmt.Sprintf(`{"path":%q,"metadata":[1,2],"package":null,"version":null}`, path))
	var body struct {
		Data struct{ ApplicationID string }
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.StatusCode != 200 || body.Data.ApplicationID == "" {
		t.Fatalf("install %s: %s %s", name, a.Status, a.body)
	}
	return body.Data.ApplicationID
}

// The application checks of the node contract, with a bundle of our own.
func TestContract_Applications(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	post, get := n.posting(t, "admin"), n.getting(t, "admin")
	content := sampleBundle(t, "com.example.sample", "0.1.0")
	path := n.dir.Path("sample.mpk")

	// node check B7, B8
	app := n.installed(t, "sample.mpk", content)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the source file after the installation: %d bytes, %v", len(got), err)
	}
	if again := n.installed(t, "again.mpk", content); again != app {
		t.Errorf("installed again: %s, want %s", again, app)
	}

	// node check B9
	flipped := bytes.Clone(content)
	flipped[len(flipped)/2] ^= 1
	if err := os.WriteFile(n.dir.Path("flipped.mpk"), flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	files := n.files(t)
	if a := post("/install-dev-application", fmt.Sprintf(`{"path":%q,"metadata":[]}`, n.dir.Path("flipped.mpk"))); a.StatusCode != 400 {
		t.Errorf("a flipped byte: %s %s", a.Status, a.body)
	}
	if got := n.files(t); got != files {
		t.Errorf("a refused bundle left %d files", got-files)
	}

	// node check B11
	signer := bundle.SignerID(publisher.Public().(ed25519.PublicKey))
	entry := fmt.Sprintf(`{"id":%q,"blob":{"bytecode":%q,"compiled":"11111111111111111111111111111111"},"size":%d,"source":%q,"metadata":%s,"signer_id":%q,
		"package":"com.example.sample","version":"0.1.0"}`, app, blobID(content), len(content), "file://"+n.dir.Path("again.mpk"),
		numbers(`{"package":"com.example.sample","version":"0.1.0","name":"Sample"}`), signer)
	expect(t, get("/applications"), 200, `{"data":{"apps":[`+entry+`]}}`)
	expect(t, get("/applications/"+app), 200, `{"data":{"application":`+entry+`}}`)
	expect(t, get("/dev/applications"), 200, `{"data":{"apps":[`+entry+`]}}`)
	expect(t, get("/dev/applications/"+app), 200, `{"data":{"application":`+entry+`}}`)
	expect(t, get("/applications/"+id.ID{9}.String()), 200, `{"data":{"application":null}}`)
	expect(t, get("/applications/x"), 400, `{"error":"Invalid application id"}`)

	// node check B12
	n.installed(t, "newer.mpk", sampleBundle(t, "com.example.sample", "0.10.0"))
	n.installed(t, "older.mpk", sampleBundle(t, "com.example.sample", "0.2.0"))
	expect(t, get("/packages"), 200, `{"packages":["com.example.sample"],"data":{"packages":["com.example.sample"]}}`)
	expect(t, get("/packages/com.example.sample/versions"), 200, `{"versions":["0.1.0","0.2.0","0.10.0"],"data":{"versions":["0.1.0","0.2.0","0.10.0"]}}`)
	expect(t, get("/packages/com.example.sample/latest"), 200, fmt.Sprintf(`{"applicationId":%q,"version":"0.10.0","data":{"applicationId":%q,"version":"0.10.0"}}`, app, app))
	expect(t, get("/packages/com.example.none/versions"), 200, `{"versions":[],"data":{"versions":[]}}`)
	expect(t, get("/packages/com.example.none/latest"), 200, `{"applicationId":null,"version":null,"data":{"applicationId":null,"version":null}}`)

	// node check B13
	sum := hash(content)
	head := n.as(t, "admin", http.MethodHead, "/admin-api/blobs/"+blobID(content).String(), nil)
	if head.StatusCode != 200 || head.Header.Get("X-Blob-Hash") != hex.EncodeToString(sum[:]) || head.ContentLength != int64(len(content)) {
		t.Errorf("the blob of the bundle: %s %v", head.Status, head.Header)
	}
	expect(t, n.as(t, "admin", http.MethodDelete, "/admin-api/blobs/"+blobID(content).String(), nil), 409, `{"error":"the blob is in use"}`)

	// node check B15
	expect(t, get("/applications/"+app+"/versions"), 200, fmt.Sprintf(`{"data":[{"version":"0.1.0","blobId":%q,"size":%d,"package":"com.example.sample"},
		{"version":"0.2.0","blobId":%q,"size":%d,"package":"com.example.sample"},{"version":"0.10.0","blobId":%q,"size":%d,"package":"com.example.sample"}]}`,
		blobID(content), len(content), blobID(sampleBundle(t, "com.example.sample", "0.2.0")), len(sampleBundle(t, "com.example.sample", "0.2.0")),
		blobID(sampleBundle(t, "com.example.sample", "0.10.0")), len(sampleBundle(t, "com.example.sample", "0.10.0"))))
	expect(t, get("/applications/"+id.ID{9}.String()+"/versions"), 404, `{"error":"application not found"}`)
	expect(t, get("/applications/"+app+"/abi"), 200, `{"data":{"schema_version":"wasm-abi/1"}}`)
	expect(t, get("/applications/"+app+"/abi?service_name=other"), 400, `{"error":"no such service, or several and none was named"}`)
	expect(t, get("/applications/"+id.ID{9}.String()+"/abi"), 404, `{"error":"application not found"}`)
	bare := n.installed(t, "bare.wasm", bundle.ModuleHeader)
	expect(t, get("/applications/"+bare+"/abi"), 400, `{"error":"the application does not describe its interface"}`)

	// node check B14
	for _, gone := range []string{app, bare} {
		expect(t, n.as(t, "admin", http.MethodDelete, "/admin-api/applications/"+gone, nil), 200, fmt.Sprintf(`{"data":{"applicationId":%q}}`, gone))
		expect(t, n.as(t, "admin", http.MethodDelete, "/admin-api/applications/"+gone, nil), 404, `{"error":"application not found"}`)
	}
	expect(t, get("/applications"), 200, `{"data":{"apps":[]}}`)
	expect(t, get("/blobs"), 200, `{"data":{"blobs":[]}}`)
	if got := n.files(t); got != 0 {
		t.Errorf("%d chunks are left of applications that are gone", got)
	}
}

// numbers is a text as clients get byte strings.
func numbers(text string) string {
	list := make([]int, len(text))
	for i := range len(text) {
		list[i] = int(text[i])
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// node check B10
func TestContract_InstallByURL(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Apps.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	content := sampleBundle(t, "com.example.sample", "0.1.0")
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch filepath.Ext(r.URL.Path) {
		case ".mpk":
			_, _ = w.Write(content)
		case ".wasm":
			_, _ = w.Write(bundle.ModuleHeader)
		default:
			http.NotFound(w, r)
		}
	}))
	defer registry.Close()
	post, get := n.posting(t, "application:install"), n.getting(t, "application:list")
	body := func(path, more string) string {
		return fmt.Sprintf(`{"url":%q,"metadata":[]%s}`, registry.URL+path, more)
	}
	wrong := id.ID{1}.String()
	expect(t, post("/install-application", body("/a.mpk", `,"hash":"`+wrong+`"`)), 400, `{"error":"blob hash mismatch"}`)
	expect(t, post("/install-application", body("/a.mpk", `,"hash":"`+id.ID{}.String()+`"`)), 400, `{"error":"blob hash mismatch"}`)
	expect(t, post("/install-application", body("/absent", "")), 503, `{"error":"the download failed: the server answers 404"}`)
	expect(t, get("/applications"), 200, `{"data":{"apps":[]}}`)
	if got := n.files(t); got != 0 {
		t.Errorf("refused downloads left %d chunks", got)
	}
	for _, path := range []string{"/install-application", "/applications/install"} {
		for _, file := range []string{"/a.mpk?token=secret", "/a.wasm"} {
			if a := post(path, body(file, `,"hash":null,"package":"com.example.other","version":"9.9.9"`)); a.StatusCode != 200 {
				t.Errorf("%s of %s: %s %s", path, file, a.Status, a.body)
			}
		}
	}
	if a := n.posting(t, "admin")("/dev/install-application-from-url", body("/a.mpk", "")); a.StatusCode != 200 {
		t.Errorf("developers' install by URL: %s %s", a.Status, a.body)
	}
	list := get("/applications").body
	if strings.Count(list, `"id":`) != 2 || !strings.Contains(list, `"package":"com.example.sample"`) || strings.Contains(list, "9.9.9") {
		t.Errorf("applications: %s", list)
	}
	if strings.Contains(list, "secret") || n.log.contains("secret") {
		t.Error("the query of the URL shows in the list or in the log")
	}
	if !n.log.contains("download complete") || !n.log.contains("application installed") {
		t.Error("the log does not tell of downloads and installations")
	}
}

func TestInstall_SSRFToTheNodesOwnNetwork(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	hit := false
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit = true }))
	defer internal.Close()
	post := n.posting(t, "application:install")
	any32 := id.ID{1}.String()
	for _, url := range []string{internal.URL, strings.Replace(internal.URL, "127.0.0.1", "localhost", 1), "http://169.254.169.254/latest/meta-data/", "http://[::1]/", n.url("/admin-api/health")} {
		a := post("/install-application", fmt.Sprintf(`{"url":%q,"hash":%q,"metadata":[]}`, url, any32))
		if strings.Contains(url, "localhost") { // a name: what the resolver says of it is the node's own business
			expect(t, a, 503, `{"error":"the download failed"}`)
			continue
		}
		expect(t, a, 400, `{"error":"the address is not permitted: it is not one of the public internet"}`)
	}
	if hit {
		t.Error("a request got through")
	}
	expect(t, post("/install-application", `{"url":"http://example.com/a.mpk","metadata":[]}`), 400, `{"error":"the address is not permitted: plain http needs the hash of the content"}`)
	expect(t, post("/install-application", `{"url":"file:///etc/passwd","metadata":[]}`), 400, `{"error":"the URL is not acceptable: want http or https"}`)
}

func TestInstall_BadBodies(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	post := n.posting(t, "admin")
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct{ path, body, want string }{
		{"/install-application", `{}`, "url is required"},
		{"/install-application", `{"metadata":[]}`, "url is required"},
		{"/install-dev-application", `{"url":"https://example.com/a.mpk"}`, "path is required"},
		{"/install-application", `{"url":"` + long + `","package":"` + long + `"}`, "Validation errors: url must not be longer than 2048 bytes; package must not be longer than 128 bytes"},
		{"/install-application", `{"url":"https://example.com/a","version":"` + long + `"}`, "version must not be longer than 64 bytes"},
		{"/install-application", `{"url":"https://example.com/a","metadata":[` + strings.Repeat("1,", 65536) + `1]}`, "metadata must not be longer than 65536 bytes"},
		{"/install-dev-application", `{"path":"/` + long + `"}`, "path must not be longer than 4096 bytes"},
		{"/install-application", `{"url":"https://example.com/a","hash":"zz"}`, "Invalid hash"},
		{"/install-dev-application", `{"path":"a.mpk"}`, "the path is not acceptable: want an absolute path"},
		{"/install-dev-application", `{"path":"/etc/passwd"}`, "the path is not acceptable: it is outside of the directories that may be installed from"},
		{"/install-dev-application", `{"path":` + fmt.Sprintf("%q", n.dir.Path("absent.mpk")) + `}`, "application file not found at " + n.dir.Path("absent.mpk")},
		{"/install-dev-application", `{"path":` + fmt.Sprintf("%q", n.dir.Path("assertion.keys")) + `}`, "neither a bundle nor a WebAssembly module"},
		{"/uninstall-application", `{"applicationId":"x"}`, "Invalid application id"},
		{"/uninstall-application", `{}`, "Invalid application id"},
	} {
		expect(t, post(tt.path, tt.body), 400, fmt.Sprintf(`{"error":%q}`, tt.want))
	}
	for _, body := range []string{"", "null", "[]", `{"url":`, `{"url":1}`, `{"url":"a","url":"b"}`, `{"URL":"a"}`, `{"url":"https://example.com/a","metadata":"AQI="}`, `{"url":"https://example.com/a","metadata":[256]}`} {
		if a := post("/install-application", body); a.StatusCode != 400 || !strings.Contains(a.body, "JSON") {
			t.Errorf("body %q: %s %s", body, a.Status, a.body)
		}
	}
}

// What a key may do with applications, on what the request turns out to mean.
func TestApplications_Permissions(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	app, other := n.installed(t, "a.mpk", sampleBundle(t, "com.example.a", "1.0.0")), n.installed(t, "b.mpk", sampleBundle(t, "com.example.b", "1.0.0"))
	del := func(permissions, path string) answer {
		t.Helper()
		return n.as(t, permissions, http.MethodDelete, "/admin-api"+path, nil)
	}
	byBody := func(permissions, app string) answer {
		t.Helper()
		return n.posting(t, permissions)("/uninstall-application", fmt.Sprintf(`{"applicationId":%q}`, app))
	}
	path := fmt.Sprintf(`{"path":%q}`, n.dir.Path("a.mpk"))
	bound := "application,package,application-binding[" + app + "]"
	for name, a := range map[string]answer{
		"list without the permission":                  n.getting(t, "blob")("/applications"),
		"get with a permission for another":            n.getting(t, "application:list["+other+"]")("/applications/" + app),
		"get beyond a binding":                         n.getting(t, bound)("/applications/" + other),
		"get of what is not there beyond a binding":    n.getting(t, bound)("/applications/" + id.ID{9}.String()),
		"versions beyond a binding":                    n.getting(t, bound)("/applications/" + other + "/versions"),
		"abi beyond a binding":                         n.getting(t, bound)("/applications/" + other + "/abi"),
		"install with a list permission":               n.posting(t, "application:list")("/install-application", `{"url":"https://example.com/a"}`),
		"install by path without admin":                n.posting(t, "application")("/install-dev-application", path),
		"install by path under its alias":              n.posting(t, "application")("/applications/install-dev", path),
		"install by path under the older alias":        n.posting(t, "application")("/dev/install-application", path),
		"developers' install by URL without admin":     n.posting(t, "application")("/dev/install-application-from-url", `{"url":"https://example.com/a"}`),
		"uninstall with a permission for another":      del("application:uninstall["+other+"]", "/applications/"+app),
		"uninstall beyond a binding":                   del(bound, "/applications/"+other),
		"uninstall by body with one for another":       byBody("application:uninstall["+other+"]", app),
		"uninstall by body beyond a binding":           byBody(bound, other),
		"uninstall by body without the permission":     byBody("application:install", app),
		"versions of a package with one for another":   n.getting(t, "package:list-versions[com.example.b]")("/packages/com.example.a/versions"),
		"latest of a package without the permission":   n.getting(t, "package:list-packages")("/packages/com.example.a/latest"),
		"packages with a permission for applications":  n.getting(t, "application")("/packages"),
		"uninstall with a permission to list packages": del("package", "/applications/"+app),
	} {
		if a.StatusCode != 403 || a.Header.Get("X-Auth-Error") != "permission_denied" {
			t.Errorf("%s: %s %s", name, a.Status, a.body)
		}
	}
	if list := n.getting(t, bound)("/applications").body; !strings.Contains(list, app) || strings.Contains(list, other) {
		t.Errorf("the list of a bound key: %s", list)
	}
	expect(t, n.getting(t, bound)("/packages"), 200, `{"packages":["com.example.a"],"data":{"packages":["com.example.a"]}}`)
	expect(t, n.getting(t, bound)("/packages/com.example.b/versions"), 200, `{"versions":[],"data":{"versions":[]}}`)
	expect(t, n.getting(t, bound)("/packages/com.example.b/latest"), 200, `{"applicationId":null,"version":null,"data":{"applicationId":null,"version":null}}`)
	for _, a := range []answer{
		n.getting(t, "application:list["+app+"]")("/applications/" + app),
		n.getting(t, "package:list-versions[com.example.a]")("/packages/com.example.a/versions"),
		byBody("application:uninstall["+app+"]", app),
		del("application:uninstall["+other+"]", "/applications/"+other),
	} {
		if a.StatusCode != 200 {
			t.Errorf("%s: %s %s", a.Request.URL.Path, a.Status, a.body)
		}
	}
}

// A key that is bound to one application cannot bring in another, although only the bundle tells which one it is.
func TestInstall_BeyondABinding(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Apps.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	app := n.installed(t, "a.mpk", sampleBundle(t, "com.example.a", "1.0.0"))
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(sampleBundle(t, "com.example."+r.URL.Path[1:2], "2.0.0"))
	}))
	defer registry.Close()
	post := n.posting(t, "application:install,application-binding["+app+"]")
	expect(t, post("/install-application", fmt.Sprintf(`{"url":"%s/b.mpk"}`, registry.URL)), 403, `{"error":"permission denied"}`)
	expect(t, post("/install-application", fmt.Sprintf(`{"url":"%s/a.mpk"}`, registry.URL)), 200, fmt.Sprintf(`{"data":{"applicationId":%q}}`, app))
	expect(t, n.getting(t, "admin")("/packages"), 200, `{"packages":["com.example.a"],"data":{"packages":["com.example.a"]}}`)
}

func TestApplications_SurviveARestart(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	app := n.installed(t, "a.mpk", sampleBundle(t, "com.example.a", "1.0.0"))
	before := n.getting(t, "admin")("/applications").body
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = start(t, dir, func(c *config.Config) {}) // the key file is there already
	if after := n.getting(t, "admin")("/applications").body; after != before || !strings.Contains(after, app) {
		t.Errorf("after the restart: %s, want %s", after, before)
	}
	if a := n.getting(t, "admin")("/applications/" + app + "/abi"); a.StatusCode != 200 {
		t.Errorf("the interface after the restart: %s", a.Status)
	}
}

// In auth mode none the operator's own files can be installed from anywhere, as the tools of developers do.
func TestInstall_PathsByMode(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "a.wasm")
	if err := os.WriteFile(elsewhere, bundle.ModuleHeader, 0o600); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"path":%q,"metadata":[]}`, elsewhere)
	for name, tt := range map[string]struct {
		change func(*config.Config)
		status int
	}{
		"none":                          {open, 200},
		"none with directories":         {func(c *config.Config) { open(c); c.Apps.Paths = []string{"/nowhere"} }, 400},
		"proxy":                         {nil, 400},
		"proxy with the file's own one": {func(c *config.Config) { c.Apps.Paths = []string{filepath.Dir(elsewhere)} }, 200},
	} {
		// Two levels, so that the node's home is not the directory of all tests.
		n := start(t, filepath.Join(makeDir(t), "node"), tt.change)
		if a := n.posting(t, "admin")("/install-dev-application", body); a.StatusCode != tt.status {
			t.Errorf("%s: %s %s, want %d", name, a.Status, a.body, tt.status)
		}
	}
}

func makeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "node"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
