package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

func hash(b []byte) id.ID { return sha256.Sum256(b) }

// blobCalls returns a function that calls below /admin-api/blobs.
func (n *node) blobCalls(t *testing.T) func(method, path string, body []byte) answer {
	return func(method, path string, body []byte) answer {
		t.Helper()
		return do(t, request(t, method, n.url("/admin-api/blobs"+path), bytes.NewReader(body)))
	}
}

// The blob checks of the node contract.
// node check C16, C17, C18, C19, C20
func TestContract_Blobs(t *testing.T) {
	n := start(t, t.TempDir(), open)
	send := n.blobCalls(t)
	small := []byte("8 bytes.")
	chunk := hash(small)
	smallID := hash(chunk[:])
	expect(t, send("PUT", "", small), 200, fmt.Sprintf(`{"data":{"blob_id":%q,"size":8}}`, smallID))
	expect(t, send("POST", "", small), 200, fmt.Sprintf(`{"data":{"blob_id":%q,"size":8}}`, smallID))

	big := make([]byte, 3<<20)
	for i := range big {
		big[i] = byte(i >> 10)
	}
	var digests []byte
	for i := range 3 {
		d := hash(big[i<<20 : (i+1)<<20])
		digests = append(digests, d[:]...)
	}
	bigID := hash(digests)
	bigHash := hash(big)
	expect(t, send("PUT", "?hash="+bigHash.String()+"&context_id="+id.ID{7}.String(), big), 200, fmt.Sprintf(`{"data":{"blob_id":%q,"size":3145728}}`, bigID))
	whole := send("GET", "/"+bigID.String()+"?context_id="+id.ID{7}.String(), nil)
	if whole.StatusCode != 200 || whole.body != string(big) {
		t.Errorf("GET: %s, %d bytes", whole.Status, len(whole.body))
	}

	head := send("HEAD", "/"+bigID.String(), nil)
	hexHash := hex.EncodeToString(bigHash[:])
	for name, want := range map[string]string{
		"Content-Length": "3145728", "Content-Type": "application/octet-stream", "ETag": `"` + hexHash + `"`, "Cache-Control": "public, max-age=3600",
		"X-Blob-ID": bigID.String(), "X-Blob-Hash": hexHash, "X-Blob-MIME-Type": "application/octet-stream", "Vary": "Authorization",
	} {
		for method, a := range map[string]answer{"HEAD": head, "GET": whole} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", method, name, got, want)
			}
		}
	}
	if head.StatusCode != 200 || head.body != "" {
		t.Errorf("HEAD: %s %q", head.Status, head.body)
	}
	for _, name := range []string{"X-Blob-ID", "X-Blob-Hash", "X-Blob-MIME-Type", "ETag", "Content-Length"} {
		if !strings.Contains(head.Header.Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s is not exposed to scripts", name)
		}
	}

	var list struct {
		Data struct{ Blobs []map[string]any }
	}
	a := send("GET", "", nil)
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || len(list.Data.Blobs) != 2 || len(list.Data.Blobs[0]) != 2 {
		t.Errorf("list: %s, %v, want the two blobs and no chunks", a.body, err)
	}
	expect(t, send("GET", "/"+bigID.String()+"/info", nil), 200,
		fmt.Sprintf(`{"data":{"blob_id":%q,"size":3145728,"hash":%q,"mime_type":"application/octet-stream","refcount":0}}`, bigID, hexHash))

	expect(t, send("DELETE", "/"+bigID.String(), nil), 200, fmt.Sprintf(`{"blob_id":%q,"deleted":true}`, bigID))
	expect(t, send("HEAD", "/"+bigID.String(), nil), 404, "")
	expect(t, send("GET", "/"+bigID.String(), nil), 404, `{"error":"Blob not found locally or in network"}`)
	expect(t, send("GET", "/"+bigID.String()+"/info", nil), 404, `{"error":"Blob not found locally or in network"}`)
	expect(t, send("DELETE", "/"+bigID.String(), nil), 404, `{"error":"Blob not found"}`)
}

// node check C21, C22
func TestBlobs_Refusals(t *testing.T) {
	n := start(t, t.TempDir(), open)
	send := n.blobCalls(t)
	small, other := []byte("8 bytes."), hash([]byte("other")).String()
	for _, method := range []string{"GET", "DELETE"} {
		expect(t, send(method, "/bad-id", nil), 400, `{"error":"Invalid blob ID format"}`)
	}
	expect(t, send("HEAD", "/bad-id", nil), 400, "")
	expect(t, send("PUT", "?hash=zzz", small), 400, `{"error":"The provided hash is not a valid format"}`)
	expect(t, send("PUT", "?context_id=0", small), 400, `{"error":"The provided context_id is not a valid format"}`)
	expect(t, send("PUT", "?hash="+other+"&hash="+other, small), 400, `{"error":"The provided hash is not a valid format"}`)
	expect(t, send("PUT", "?hash="+other+";x", small), 400, `{"error":"the query is malformed"}`)
	files := n.files(t)
	expect(t, send("PUT", "?hash="+other, []byte("something else")), 400, `{"error":"blob hash mismatch"}`)
	if got := n.files(t); got != files {
		t.Errorf("a refused blob left %d files", got-files)
	}
}

// A key that is bound to one context does not announce to another, nor ask there.
func TestBlobs_ContextBeyondABinding(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	mine, other := id.ID{1}.String(), id.ID{2}.String()
	bound := "blob,context[" + mine + "]"
	content := "content"
	path := "/admin-api/blobs/" + blobID([]byte(content)).String()
	for name, tt := range map[string]struct {
		permissions, method, path string
		status                    int
	}{
		"announce to the bound one": {bound, "PUT", "/admin-api/blobs?context_id=" + mine, 200},
		"announce to another":       {bound, "PUT", "/admin-api/blobs?context_id=" + other, 403},
		"announce unbound":          {"blob", "PUT", "/admin-api/blobs?context_id=" + other, 200},
		"without the permission":    {"context", "PUT", "/admin-api/blobs?context_id=" + mine, 403},
		"ask in another":            {bound, "GET", path + "?context_id=" + other, 403},
		"malformed":                 {bound, "GET", path + "?context_id=x", 400},
	} {
		if a := n.as(t, tt.permissions, tt.method, tt.path, strings.NewReader(content)); a.StatusCode != tt.status {
			t.Errorf("%s: %s %s, want %d", name, a.Status, a.body, tt.status)
		}
	}
}

// node check C23
func TestBlobs_DeletingOneKeepsWhatItShares(t *testing.T) {
	n := start(t, t.TempDir(), open)
	send, big := n.blobCalls(t), make([]byte, 1<<20)
	first, second := append(bytes.Clone(big[:1<<20]), 1), append(bytes.Clone(big[:1<<20]), 2)
	var ids []string
	for _, content := range [][]byte{first, second} {
		var put struct {
			Data struct {
				ID string `json:"blob_id"`
			}
		}
		if err := json.Unmarshal([]byte(send("PUT", "", content).body), &put); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, put.Data.ID)
	}
	expect(t, send("DELETE", "/"+ids[0], nil), 200, fmt.Sprintf(`{"blob_id":%q,"deleted":true}`, ids[0]))
	if a := send("GET", "/"+ids[1], nil); a.body != string(second) {
		t.Errorf("the blob that shared a chunk with a deleted one: %s, %d bytes", a.Status, len(a.body))
	}
}

// What a page's form sends, and what the node downloads, become the same blob as a bare body.
func TestBlobs_FromFormAndURL(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Apps.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	content := []byte("content")
	stored := fmt.Sprintf(`{"data":{"blob_id":%q,"size":7}}`, blobID(content))
	wrong := hash([]byte("other")).String()
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
	defer source.Close()

	form := func(permissions, query, body string) answer {
		r := request(t, http.MethodPost, n.url("/blobs/file"+query), strings.NewReader(strings.ReplaceAll(body, "\n", "\r\n")))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=B")
		n.grant(r, "k1", permissions)
		return do(t, r)
	}
	const field, end = "--B\nContent-Disposition: form-data; name=\"note\"\n\nx\n", "--B--\n"
	file := "--B\nContent-Disposition: form-data; name=\"f\"; filename=\"../../etc/passwd\"\n\ncontent\n"
	mine, other := id.ID{1}.String(), id.ID{2}.String()
	expect(t, form("blob:add:file", "?hash="+wrong, file+end), 400, `{"error":"blob hash mismatch"}`)
	expect(t, form("blob:add:file", "?hash=x", file+end), 400, `{"error":"The provided hash is not a valid format"}`)
	expect(t, form("blob:add:file", "", field+end), 400, `{"error":"the form holds no file"}`)
	expect(t, form("blob:add:file", "", file), 400, `{"error":"the body ended before its time"}`)
	expect(t, form("blob:add:file", "", "--B\nno header\n\nx\n"+end), 400, `{"error":"the form is malformed"}`)
	expect(t, form("blob:add:stream", "", file+end), 403, `{"error":"permission denied"}`)
	expect(t, form("blob:add:file,context["+mine+"]", "?context_id="+other, file+end), 403, `{"error":"permission denied"}`)
	expect(t, n.as(t, "blob:add:file", http.MethodPost, "/blobs/file", bytes.NewReader(content)), 415, `{"error":"the body must be multipart/form-data"}`)

	address := func(permissions, url, more string) answer {
		return n.as(t, permissions, http.MethodPost, "/blobs/url", strings.NewReader(fmt.Sprintf(`{"url":%q%s}`, url, more)))
	}
	hashed := fmt.Sprintf(`,"hash":%q`, hash(content))
	expect(t, address("blob:add:url", source.URL, `,"hash":"`+wrong+`"`), 400, `{"error":"blob hash mismatch"}`)
	expect(t, address("blob:add:url", source.URL, `,"hash":"x"`), 400, `{"error":"The provided hash is not a valid format"}`)
	expect(t, address("blob:add:url", "", ""), 400, `{"error":"url is required"}`)
	expect(t, address("blob:add:file", source.URL, hashed), 403, `{"error":"permission denied"}`)
	expect(t, address("blob:add:url,context["+mine+"]", source.URL, hashed+`,"context_id":"`+other+`"`), 403, `{"error":"permission denied"}`)
	for _, inside := range []string{"http://192.168.0.1/", "http://[::1]/", "http://169.254.169.254/", "file:///etc/passwd"} {
		if a := address("blob:add:url", inside, hashed); a.StatusCode != 400 {
			t.Errorf("server-side request forgery, %s: %s %s", inside, a.Status, a.body)
		}
	}
	expect(t, n.as(t, "admin", http.MethodGet, "/admin-api/blobs", nil), 200, `{"data":{"blobs":[]}}`)
	if got := n.files(t); got != 0 {
		t.Errorf("what was refused left %d files", got)
	}

	expect(t, form("blob:add:file", "?hash="+hash(content).String(), field+file+end), 200, stored)
	expect(t, n.as(t, "admin", http.MethodDelete, "/admin-api/blobs/"+blobID(content).String(), nil), 200, fmt.Sprintf(`{"blob_id":%q,"deleted":true}`, blobID(content)))
	expect(t, address("blob:add:url", source.URL, hashed), 200, stored)
	if a := n.as(t, "blob", http.MethodGet, "/admin-api/blobs/"+blobID(content).String(), nil); a.body != string(content) {
		t.Errorf("the download: %s %q", a.Status, a.body)
	}
}

func TestBlobs_RangesAndConditions(t *testing.T) {
	n := start(t, t.TempDir(), open)
	content := []byte("<html><script>alert(1)</script>")
	chunk := hash(content)
	path := n.url("/admin-api/blobs/" + id.ID(sha256.Sum256(chunk[:])).String())
	do(t, request(t, http.MethodPut, n.url("/admin-api/blobs"), bytes.NewReader(content)))
	etag := `"` + hex.EncodeToString(chunk[:]) + `"`
	whole, unsatisfiable := string(content), `{"error":"Requested Range Not Satisfiable"}`+"\n"
	for _, tt := range []struct {
		name    string
		headers map[string]string
		status  int
		body    string
		part    string // Content-Range
	}{
		{"single", map[string]string{"Range": "bytes=6-13"}, 206, "<script>", "bytes 6-13/31"},
		{"suffix", map[string]string{"Range": "bytes=-9"}, 206, "</script>", "bytes 22-30/31"},
		{"long suffix", map[string]string{"Range": "bytes=-99"}, 206, whole, "bytes 0-30/31"},
		{"open", map[string]string{"Range": "bytes=22-"}, 206, "</script>", "bytes 22-30/31"},
		{"beyond the end", map[string]string{"Range": "bytes=22-999"}, 206, "</script>", "bytes 22-30/31"},
		{"one byte", map[string]string{"Range": "bytes=0-0"}, 206, "<", "bytes 0-0/31"},
		{"behind the end", map[string]string{"Range": "bytes=31-"}, 416, unsatisfiable, "bytes */31"},
		{"empty suffix", map[string]string{"Range": "bytes=-0"}, 416, unsatisfiable, "bytes */31"},
		{"backwards", map[string]string{"Range": "bytes=9-3"}, 416, unsatisfiable, "bytes */31"},
		{"no number", map[string]string{"Range": "bytes=a-b"}, 416, unsatisfiable, "bytes */31"},
		{"overflow", map[string]string{"Range": "bytes=99999999999999999999-"}, 416, unsatisfiable, "bytes */31"},
		{"several", map[string]string{"Range": "bytes=0-1,4-5"}, 200, whole, ""},
		{"several that overlap", map[string]string{"Range": "bytes=0-,0-,0-,0-"}, 200, whole, ""},
		{"If-Range matches", map[string]string{"Range": "bytes=0-5", "If-Range": etag}, 206, "<html>", "bytes 0-5/31"},
		{"If-Range differs", map[string]string{"Range": "bytes=0-5", "If-Range": `"other"`}, 200, whole, ""},
		{"If-Range is weak", map[string]string{"Range": "bytes=0-5", "If-Range": "W/" + etag}, 200, whole, ""},
		{"If-Range is a date", map[string]string{"Range": "bytes=0-5", "If-Range": "Sat, 29 Oct 1994 19:43:31 GMT"}, 200, whole, ""},
		{"If-None-Match matches", map[string]string{"If-None-Match": etag}, 304, "", ""},
		{"If-None-Match differs", map[string]string{"If-None-Match": `"other"`}, 200, whole, ""},
		{"If-Match differs", map[string]string{"If-Match": `"other"`}, 412, `{"error":"Precondition Failed"}` + "\n", ""},
		{"If-None-Match before Range", map[string]string{"If-None-Match": etag, "Range": "bytes=0-5"}, 304, "", ""},
	} {
		r := request(t, http.MethodGet, path, nil)
		for name, value := range tt.headers {
			r.Header.Set(name, value)
		}
		a := do(t, r)
		if a.StatusCode != tt.status || a.body != tt.body || a.Header.Get("Content-Range") != tt.part {
			t.Errorf("%s: %s %q %q, want %d %q %q", tt.name, a.Status, a.body, a.Header.Get("Content-Range"), tt.status, tt.body, tt.part)
		}
		if got := a.Header.Get("Content-Type"); a.StatusCode >= 400 && (got != "application/json" || a.Header.Get("Etag") != "" || a.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%s: an error with %v", tt.name, a.Header)
		}
		if want := "bytes"; (a.StatusCode == 200 || a.StatusCode == 206) && a.Header.Get("Accept-Ranges") != want {
			t.Errorf("%s: Accept-Ranges = %q", tt.name, a.Header.Get("Accept-Ranges"))
		}
	}
	head := request(t, http.MethodHead, path, nil)
	head.Header.Set("Range", "bytes=0-5") // means nothing there
	if a := do(t, head); a.StatusCode != 200 || a.ContentLength != 31 || a.Header.Get("Etag") != etag {
		t.Errorf("HEAD with a range: %s, %d bytes, %v", a.Status, a.ContentLength, a.Header)
	}

	// An uploaded page must not become a page of the dashboard's origin.
	a := do(t, request(t, http.MethodGet, path, nil))
	if a.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("headers of an uploaded page: %v", a.Header)
	}
}

func TestBlobs_Limit(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { open(c); c.Blobstore.MaxBlobSize = 10 })
	put := func(body io.Reader) answer { return do(t, request(t, http.MethodPut, n.url("/admin-api/blobs"), body)) }
	if a := put(strings.NewReader("0123456789")); a.StatusCode != 200 {
		t.Errorf("at the limit: %s", a.Status)
	}
	files := n.files(t)
	expect(t, put(strings.NewReader("0123456789a")), 413, `{"error":"the blob is larger than the node's limit"}`)
	expect(t, put(io.MultiReader(strings.NewReader("0123456789a"))), 413, `{"error":"the blob is larger than the node's limit"}`) // without a length
	if got := n.files(t); got != files {
		t.Errorf("a refused blob left %d files", got-files)
	}
}
