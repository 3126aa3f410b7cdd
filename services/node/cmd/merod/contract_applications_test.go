package main_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/bundle"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

var basics = []check{
	{"A1", func(t *testing.T, g *group) {
		expect(t, g.anyone(t, "GET", "/admin-api/health"), 200, `{"data":{"status":"alive"}}`)
	}},
	{"A2", func(t *testing.T, g *group) {
		expect(t, g.anyone(t, "GET", "/admin-api/is-authed"), 200, `{"data":{"status":"alive"}}`)
	}},
	{"A3", func(t *testing.T, g *group) {
		expect(t, g.anyone(t, "GET", "/admin-api/ready"), 200, `{"data":{"status":"ready"}}`)
	}},
	{"A4", func(t *testing.T, g *group) { // this node speaks no TLS
		expect(t, g.anyone(t, "GET", "/admin-api/certificate"), 404, `{"error":"Certificate not found"}`)
	}},
	{"A5", func(t *testing.T, g *group) {
		for _, preflight := range []bool{false, true} {
			r := g.request(t, "OPTIONS", "/jsonrpc", nil)
			r.Header.Set("Origin", "https://app.example.com")
			if preflight {
				r.Header.Set("Access-Control-Request-Method", "POST")
			} else { // what is no preflight needs an identity, as every request
				g.grant(r, "k1", "admin", never)
			}
			a := g.do(t, r)
			h := a.Header
			if a.StatusCode < 200 || a.StatusCode > 299 || h.Get("Access-Control-Allow-Origin") == "" || !strings.Contains(strings.ToLower(h.Get("Access-Control-Expose-Headers")), "x-auth-error") {
				t.Errorf("preflight %v: %s %v", preflight, a.Status, h)
			}
			if preflight && (!strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") || h.Get("Access-Control-Allow-Headers") == "") {
				t.Errorf("preflight: %v", h)
			}
		}
	}},
	{"A6", func(t *testing.T, g *group) {
		expect(t, g.get(t, "/x"), 404, `{"error":"no such route"}`)
		expect(t, g.remove(t, "/blobs"), 405, `{"error":"method not allowed"}`)
	}},
}

// publisher is the key of the tests' publisher.
var publisher = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, ed25519.SeedSize))

const (
	samplePackage = "com.example.kv-store"
	samplePath    = "sample.mpk"
)

// sampleBundle is a signed bundle of the sample application.
func sampleBundle(t *testing.T, version string) []byte {
	t.Helper()
	manifest := fmt.Sprintf(`{"version":"1.0","package":%q,"appVersion":%q,"minRuntimeVersion":"0.1.0","metadata":{"name":"Sample"},
		"wasm":{"path":"app.wasm"},"abi":{"path":"abi.json"}}`, samplePackage, version)
	var out bytes.Buffer
	files := map[string][]byte{"app.wasm": testapp.KVStore, "abi.json": testapp.KVStoreABI}
	if err := bundle.Pack(&out, []byte(manifest), files, publisher); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// tampered is a bundle in whose manifest one byte of the name is another one.
func tampered(t *testing.T, content []byte) []byte {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	in := tar.NewReader(unzipped)
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	changed := false
	for {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		file, err := io.ReadAll(io.LimitReader(in, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		if head.Name == "manifest.json" {
			other := bytes.Replace(file, []byte("Sample"), []byte("Simple"), 1)
			changed, file = !bytes.Equal(other, file), other
		}
		if err := errors.Join(w.WriteHeader(head), func() error { _, err := w.Write(file); return err }()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil || !changed {
		t.Fatalf("tampering: %v, changed %v", err, changed)
	}
	return out.Bytes()
}

// borshText is a text in borsh: its length in four bytes and its bytes.
func borshText(s string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func sum(b []byte) id.ID { return sha256.Sum256(b) }

var applications = []check{
	{"B7", func(t *testing.T, g *group) {
		content := sampleBundle(t, "0.1.0")
		app, file := g.install(t, samplePath, content)
		signer := bundle.SignerID(publisher.Public().(ed25519.PublicKey))
		if want := sum(append(borshText(samplePackage), borshText(signer)...)).String(); app != want {
			t.Errorf("application id %s, want %s", app, want)
		}
		if kept, err := os.ReadFile(file); err != nil || !bytes.Equal(kept, content) {
			t.Errorf("the source file after the installation: %d bytes, %v", len(kept), err)
		}
		g.app = app
	}},
	{"B8", func(t *testing.T, g *group) {
		before := g.get(t, "/applications").body
		if again, _ := g.install(t, samplePath, sampleBundle(t, "0.1.0")); again != g.app {
			t.Errorf("installed again: %s, want %s", again, g.app)
		}
		expect(t, g.get(t, "/applications"), 200, before)
	}},
	{"B9", func(t *testing.T, g *group) {
		before := g.get(t, "/applications").body + g.get(t, "/blobs").body
		file := g.file(t, "tampered.mpk", tampered(t, sampleBundle(t, "9.9.9")))
		refused(t, g.send(t, "/install-dev-application", fmt.Sprintf(`{"path":%q,"metadata":[]}`, file)), "the bundle's signature is not valid")
		if after := g.get(t, "/applications").body + g.get(t, "/blobs").body; after != before {
			t.Errorf("the refused bundle changed\n%s to\n%s", before, after)
		}
	}},
	{"B10", installByURL},
	{"B11", func(t *testing.T, g *group) {
		entry := decoded[struct{ Application map[string]any }](t, g.get(t, "/applications/"+g.app)).Application
		for key, want := range map[string]any{"id": g.app, "package": samplePackage, "version": "0.1.0", "size": float64(len(sampleBundle(t, "0.1.0")))} {
			if entry[key] != want {
				t.Errorf("%s = %v, want %v", key, entry[key], want)
			}
		}
		for key := range entry { // clients fail at a key that they do not know
			if !strings.Contains(" id blob size source metadata signer_id package version services ", " "+key+" ") {
				t.Errorf("undeclared key %s", key)
			}
		}
		listed := false
		for _, a := range decoded[struct{ Apps []map[string]any }](t, g.get(t, "/applications")).Apps {
			listed = listed || a["id"] == g.app && a["package"] == samplePackage
		}
		if !listed {
			t.Error("the application is not listed")
		}
		expect(t, g.get(t, "/applications/"+id.ID{9}.String()), 200, `{"data":{"application":null}}`)
		expect(t, g.get(t, "/applications/x"), 400, `{"error":"Invalid application id"}`)
	}},
	{"B12", func(t *testing.T, g *group) {
		g.install(t, "newer.mpk", sampleBundle(t, "0.10.0"))
		g.install(t, "older.mpk", sampleBundle(t, "0.2.0"))
		expect(t, g.get(t, "/packages"), 200, fmt.Sprintf(`{"packages":[%[1]q],"data":{"packages":[%[1]q]}}`, samplePackage))
		expect(t, g.get(t, "/packages/"+samplePackage+"/versions"), 200, `{"versions":["0.1.0","0.2.0","0.10.0"],"data":{"versions":["0.1.0","0.2.0","0.10.0"]}}`)
		expect(t, g.get(t, "/packages/"+samplePackage+"/latest"), 200, fmt.Sprintf(`{"applicationId":%[1]q,"version":"0.10.0","data":{"applicationId":%[1]q,"version":"0.10.0"}}`, g.app))
		expect(t, g.get(t, "/packages/com.example.none/latest"), 200, `{"applicationId":null,"version":null,"data":{"applicationId":null,"version":null}}`)
	}},
	{"B13", func(t *testing.T, g *group) { // of the newest version
		content := sampleBundle(t, "0.10.0")
		digest := sha256.Sum256(content)
		head := g.as(t, "admin", "HEAD", "/admin-api/blobs/"+blobID(content), "")
		if head.StatusCode != 200 || head.ContentLength != int64(len(content)) || head.Header.Get("X-Blob-Hash") != hex.EncodeToString(digest[:]) {
			t.Errorf("the blob of the bundle: %s %v", head.Status, head.Header)
		}
		expect(t, g.remove(t, "/blobs/"+blobID(content)), 409, `{"error":"the blob is in use"}`)
	}},
	{"B15", func(t *testing.T, g *group) {
		expect(t, g.get(t, "/applications/"+g.app+"/abi"), 200, `{"data":`+string(testapp.KVStoreABI)+`}`)
		refused(t, g.get(t, "/applications/"+g.app+"/abi?service_name=other"), "service")
		bare, _ := g.install(t, "bare.wasm", bundle.ModuleHeader)
		expect(t, g.get(t, "/applications/"+bare+"/abi"), 400, `{"error":"the application does not describe its interface"}`)
		g.remove(t, "/applications/"+bare)
		var want []string
		for _, v := range []string{"0.1.0", "0.2.0", "0.10.0"} {
			content := sampleBundle(t, v)
			want = append(want, fmt.Sprintf(`{"version":%q,"blobId":%q,"size":%d,"package":%q}`, v, blobID(content), len(content), samplePackage))
		}
		expect(t, g.get(t, "/applications/"+g.app+"/versions"), 200, `{"data":[`+strings.Join(want, ",")+`]}`)
	}},
	{"B14", func(t *testing.T, g *group) {
		made := g.context(t, g.app)
		refused(t, g.remove(t, "/applications/"+g.app), "a context runs the application")
		expect(t, g.remove(t, "/contexts/"+made.ContextID), 200, `{"data":{"isDeleted":true}}`)
		expect(t, g.remove(t, "/namespaces/"+made.GroupID), 200, `{"data":{"isDeleted":true}}`)
		expect(t, g.remove(t, "/applications/"+g.app), 200, fmt.Sprintf(`{"data":{"applicationId":%q}}`, g.app))
		expect(t, g.remove(t, "/applications/"+g.app), 404, `{"error":"application not found"}`)
		expect(t, g.get(t, "/applications"), 200, `{"data":{"apps":[]}}`)
		expect(t, g.get(t, "/blobs"), 200, `{"data":{"blobs":[]}}`)
	}},
}

// installByURL installs a bundle and a module from a registry.
func installByURL(t *testing.T, g *group) {
	content := sampleBundle(t, "0.1.0")
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path.Ext(r.URL.Path) {
		case ".mpk":
			_, _ = w.Write(content)
		case ".wasm":
			_, _ = w.Write(testapp.KVStoreV2)
		default:
			http.NotFound(w, r)
		}
	}))
	defer registry.Close()
	install := func(file string, hash id.ID) answer {
		return g.as(t, "application:install", "POST", "/admin-api/install-application", fmt.Sprintf(`{"url":%q,"hash":%q,"metadata":[]}`, registry.URL+file, hash))
	}
	before := g.get(t, "/applications").body + g.get(t, "/blobs").body
	expect(t, install("/a.wasm", id.ID{1}), 400, `{"error":"blob hash mismatch"}`)
	expect(t, install("/a.mpk", id.ID{1}), 400, `{"error":"blob hash mismatch"}`)
	if a := install("/absent", sum(content)); a.StatusCode != 503 || !strings.HasPrefix(a.body, `{"error":"`) {
		t.Errorf("a download that failed: %s %s", a.Status, a.body)
	}
	if after := g.get(t, "/applications").body + g.get(t, "/blobs").body; after != before {
		t.Errorf("refused installations changed\n%s to\n%s", before, after)
	}
	if got := decoded[struct{ ApplicationID string }](t, install("/a.mpk", sum(content))).ApplicationID; got != g.app {
		t.Errorf("the bundle: %s, want %s", got, g.app)
	}
	bare := decoded[struct{ ApplicationID string }](t, install("/a.wasm", sum(testapp.KVStoreV2))).ApplicationID
	// The id of a module is the hash of where it is from and what it is.
	var text []byte
	blob, err := id.Parse(blobID(testapp.KVStoreV2))
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, blob[:]...)
	text = binary.LittleEndian.AppendUint64(text, uint64(len(testapp.KVStoreV2)))
	text = append(text, borshText(registry.URL+"/a.wasm")...)
	text = append(text, borshText("")...)
	if want := sum(text).String(); bare != want {
		t.Errorf("the module: %s, want %s", bare, want)
	}
	expect(t, g.remove(t, "/applications/"+bare), 200, fmt.Sprintf(`{"data":{"applicationId":%q}}`, bare))
}

// threeMiB is content of three chunks, each of which is another one.
var threeMiB = func() []byte {
	b := make([]byte, 3<<20)
	for i := range b {
		b[i] = byte(i >> 20)
	}
	return b
}()

var blobs = []check{
	{"C16", func(t *testing.T, g *group) {
		content := []byte("8 bytes.")
		expect(t, g.put(t, "", content), 200, fmt.Sprintf(`{"data":{"blob_id":%q,"size":8}}`, blobID(content)))
	}},
	{"C17", func(t *testing.T, g *group) {
		hash := sum(threeMiB)
		expect(t, g.put(t, "?hash="+hash.String(), threeMiB), 200, fmt.Sprintf(`{"data":{"blob_id":%q,"size":3145728}}`, blobID(threeMiB)))
		if a := g.get(t, "/blobs/"+blobID(threeMiB)); a.StatusCode != 200 || a.body != string(threeMiB) {
			t.Errorf("GET: %s, %d bytes", a.Status, len(a.body))
		}
	}},
	{"C18", func(t *testing.T, g *group) {
		a, hash := g.as(t, "admin", "HEAD", "/admin-api/blobs/"+blobID(threeMiB), ""), sum(threeMiB)
		for name, want := range map[string]string{
			"Content-Length": "3145728", "Content-Type": "application/octet-stream", "ETag": `"` + hex.EncodeToString(hash[:]) + `"`, "Cache-Control": "public, max-age=3600",
			"X-Blob-ID": blobID(threeMiB), "X-Blob-Hash": hex.EncodeToString(hash[:]), "X-Blob-MIME-Type": "application/octet-stream",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		for _, name := range []string{"X-Blob-ID", "X-Blob-Hash", "X-Blob-MIME-Type", "ETag", "Content-Length"} {
			if !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), name) {
				t.Errorf("%s is not exposed to pages", name)
			}
		}
	}},
	{"C19", func(t *testing.T, g *group) {
		if list := decoded[struct{ Blobs []map[string]any }](t, g.get(t, "/blobs")).Blobs; len(list) != 2 || len(list[0]) != 2 {
			t.Errorf("%v, want the two blobs and no chunks", list)
		}
	}},
	{"C20", func(t *testing.T, g *group) {
		expect(t, g.remove(t, "/blobs/"+blobID(threeMiB)), 200, fmt.Sprintf(`{"blob_id":%q,"deleted":true}`, blobID(threeMiB)))
		expect(t, g.as(t, "admin", "HEAD", "/admin-api/blobs/"+blobID(threeMiB), ""), 404, "")
		expect(t, g.remove(t, "/blobs/"+blobID(threeMiB)), 404, `{"error":"Blob not found"}`)
	}},
	{"C21", func(t *testing.T, g *group) {
		expect(t, g.get(t, "/blobs/bad-id"), 400, `{"error":"Invalid blob ID format"}`)
		expect(t, g.remove(t, "/blobs/bad-id"), 400, `{"error":"Invalid blob ID format"}`)
		expect(t, g.get(t, "/blobs/bad-id/info"), 400, `{"error":"Invalid blob ID format"}`)
	}},
	{"C22", func(t *testing.T, g *group) {
		before := g.get(t, "/blobs").body
		expect(t, g.put(t, "?hash="+id.ID{1}.String(), []byte("other")), 400, `{"error":"blob hash mismatch"}`)
		expect(t, g.put(t, "?hash=zzz", []byte("other")), 400, `{"error":"The provided hash is not a valid format"}`)
		expect(t, g.put(t, "?context_id=zzz", []byte("other")), 400, `{"error":"The provided context_id is not a valid format"}`)
		expect(t, g.get(t, "/blobs"), 200, before)
	}},
	{"C23", func(t *testing.T, g *group) {
		first, second := append(threeMiB[:1<<20:1<<20], 1), append(threeMiB[:1<<20:1<<20], 2)
		g.put(t, "", first)
		g.put(t, "", second)
		expect(t, g.remove(t, "/blobs/"+blobID(first)), 200, fmt.Sprintf(`{"blob_id":%q,"deleted":true}`, blobID(first)))
		if a := g.get(t, "/blobs/"+blobID(second)); a.StatusCode != 200 || a.body != string(second) {
			t.Errorf("what shared a chunk with a deleted blob: %s, %d bytes", a.Status, len(a.body))
		}
	}},
}
