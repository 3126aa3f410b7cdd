package app_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

func open(c *config.Config) { c.Server.AuthMode = config.AuthNone }

// expect checks status and body; a body that starts with { is compared as JSON.
func expect(t *testing.T, got answer, status int, body string) {
	t.Helper()
	same := got.body == body
	if strings.HasPrefix(body, "{") {
		var a, b any
		same = json.Unmarshal([]byte(got.body), &a) == nil && json.Unmarshal([]byte(body), &b) == nil && reflect.DeepEqual(a, b)
	}
	if got.StatusCode != status || !same {
		t.Errorf("%s %s: %d %q, want %d %q", got.Request.Method, got.Request.URL, got.StatusCode, got.body, status, body)
	}
	if status >= 400 && got.body != "" && got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: error of type %q, want JSON", got.Request.Method, got.Request.URL, got.Header.Get("Content-Type"))
	}
}

// The basic checks of the node contract.
func TestContract_Basics(t *testing.T) {
	n := start(t, t.TempDir(), open)
	get := func(path string) answer { return do(t, request(t, http.MethodGet, n.url(path), nil)) }
	expect(t, get("/admin-api/health"), 200, `{"data":{"status":"alive"}}`)
	expect(t, get("/admin-api/ready"), 200, `{"data":{"status":"ready"}}`)
	expect(t, get("/admin-api/is-authed"), 200, `{"data":{"status":"alive"}}`)
	expect(t, get("/admin-api/certificate"), 404, `{"error":"Certificate not found"}`)
	expect(t, get("/admin-api/x"), 404, `{"error":"no such route"}`)
	expect(t, get("/admin-api/applications"), 501, `{"error":"GET /admin-api/applications is not part of this build"}`)

	wrong := do(t, request(t, http.MethodDelete, n.url("/admin-api/blobs"), nil))
	expect(t, wrong, 405, `{"error":"method not allowed"}`)
	if got := wrong.Header.Get("Allow"); got != "GET, HEAD, POST, PUT, OPTIONS" {
		t.Errorf("Allow = %q", got)
	}
	for path, want := range map[string]string{"/": "302 /admin-dashboard/", "/admin-dashboard": "301 /admin-dashboard/"} {
		a := get(path)
		if got := fmt.Sprint(a.StatusCode, " ", a.Header.Get("Location")); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	options := request(t, http.MethodOptions, n.url("/jsonrpc"), nil)
	options.Header.Set("Origin", "http://localhost:5173")
	if a := do(t, options); a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "X-Auth-Error") {
		t.Errorf("OPTIONS with Origin: %s %v", a.Status, a.Header)
	}
	options.Header.Set("Access-Control-Request-Method", "POST")
	if a := do(t, options); a.StatusCode != 204 || !strings.Contains(a.Header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight: %s %v", a.Status, a.Header)
	}
}

// sample fills the parameters of a pattern.
func sample(pattern string) string {
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		switch {
		case strings.HasSuffix(s, "...}"):
			segments[i] = "deep/path"
		case strings.HasPrefix(s, "{"):
			segments[i] = id.ID{byte(i)}.String()
		}
	}
	return strings.Join(segments, "/")
}

// Every row of the table reaches its own handler, or says that it has none; the router and the guard read every path
// alike.
func TestEveryRouteOfTheTableAnswers(t *testing.T) {
	n := start(t, t.TempDir(), open)
	served := map[string]bool{
		"dashboard.root": true, "dashboard.redirect": true, "node.health": true, "node.ready": true, "node.is-authed": true, "node.certificate": true,
		"node.metrics": true, "blobs.put": true, "blobs.list": true, "blobs.get": true, "blobs.info": true, "blobs.delete": true,
		"contexts.list": true, "contexts.for-application": true, "contexts.get": true, "contexts.new-identity": true,
	}
	for row := range route.Node.All() {
		a := do(t, request(t, row.Method, n.url(sample(row.Pattern)), nil))
		if got := n.log.line(a)["route"].String(); got != row.Pattern {
			t.Errorf("%s: served as %q", row, got)
		}
		switch {
		case served[row.Op] && (a.StatusCode >= 500 || a.StatusCode == 405):
			t.Errorf("%s: %s %s", row, a.Status, a.body)
		case !served[row.Op]:
			expect(t, a, 501, fmt.Sprintf(`{"error":%q}`, row.String()+" is not part of this build"))
		}
	}
}

func TestSurfaceThatIsOffHasNoRoutes(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) {
		open(c)
		c.Server.JSONRPC.Enabled, c.Server.WebSocket.Enabled, c.Server.SSE.Enabled, c.Server.Admin.Enabled = false, false, false, false
	})
	for _, line := range []string{"POST /jsonrpc", "GET /jsonrpc", "GET /ws", "GET /sse", "GET /admin-api/health", "GET /admin-dashboard/", "PUT /admin-api/blobs", "OPTIONS /jsonrpc"} {
		method, path, _ := strings.Cut(line, " ")
		expect(t, do(t, request(t, method, n.url(path), nil)), 404, `{"error":"no such route"}`)
	}
	if a := do(t, request(t, http.MethodGet, n.url("/metrics"), nil)); a.StatusCode != 200 {
		t.Errorf("/metrics: %s", a.Status)
	}
}

func hash(b []byte) id.ID { return sha256.Sum256(b) }

// The blob checks of the node contract.
func TestContract_Blobs(t *testing.T) {
	n := start(t, t.TempDir(), open)
	send := func(method, path string, body []byte) answer {
		return do(t, request(t, method, n.url("/admin-api/blobs"+path), bytes.NewReader(body)))
	}
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

	for _, method := range []string{"GET", "DELETE"} {
		expect(t, send(method, "/bad-id", nil), 400, `{"error":"Invalid blob ID format"}`)
	}
	expect(t, send("HEAD", "/bad-id", nil), 400, "")
	expect(t, send("PUT", "?hash=zzz", small), 400, `{"error":"The provided hash is not a valid format"}`)
	expect(t, send("PUT", "?context_id=0", small), 400, `{"error":"The provided context_id is not a valid format"}`)
	expect(t, send("PUT", "?hash="+bigHash.String()+"&hash="+bigHash.String(), small), 400, `{"error":"The provided hash is not a valid format"}`)
	expect(t, send("PUT", "?hash="+bigHash.String()+";x", small), 400, `{"error":"the query is malformed"}`)
	files := n.files(t)
	expect(t, send("PUT", "?hash="+bigHash.String(), []byte("something else")), 400, `{"error":"blob hash mismatch"}`)
	if got := n.files(t); got != files {
		t.Errorf("a refused blob left %d files", got-files)
	}

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

func TestBlobs_RangesAndConditions(t *testing.T) {
	n := start(t, t.TempDir(), open)
	content := []byte("<html><script>alert(1)</script>")
	chunk := hash(content)
	path := n.url("/admin-api/blobs/" + id.ID(sha256.Sum256(chunk[:])).String())
	do(t, request(t, http.MethodPut, n.url("/admin-api/blobs"), bytes.NewReader(content)))
	etag := `"` + hex.EncodeToString(chunk[:]) + `"`
	for _, tt := range []struct {
		header, value string
		status        int
		body          string
	}{
		{"Range", "bytes=6-13", 206, "<script>"},
		{"Range", "bytes=-9", 206, "</script>"},
		{"Range", "bytes=100-", 416, ""},
		{"If-None-Match", etag, 304, ""},
		{"If-None-Match", `"other"`, 200, string(content)},
		{"If-Range", `"other"`, 200, string(content)},
	} {
		r := request(t, http.MethodGet, path, nil)
		r.Header.Set(tt.header, tt.value)
		if tt.header == "If-Range" {
			r.Header.Set("Range", "bytes=0-1")
		}
		a := do(t, r)
		if a.StatusCode != tt.status || a.body != tt.body && tt.status != 416 {
			t.Errorf("%s: %s: %s %q, want %d %q", tt.header, tt.value, a.Status, a.body, tt.status, tt.body)
		}
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

// seeded starts a node whose database holds contexts.
func seeded(t *testing.T, change func(*config.Config), contexts ...store.Context) *node {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(home.Dir(dir).Path("data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, c := range contexts {
			if err := tx.PutContext(c); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return start(t, dir, change)
}

func TestContexts_ExactKeys(t *testing.T) {
	bare := store.Context{ID: id.ID{1}, Application: id.ID{2}, StateHash: id.ID{3}}
	full := store.Context{ID: id.ID{2}, Application: id.ID{9}, StateHash: id.ID{4}, DAGHeads: []id.ID{{255, 1}}, Service: "svc", ApplicationVersion: "0.1.0", Group: strings.Repeat("ab", 32)}
	n := seeded(t, open, bare, full)
	get := func(path string) answer {
		return do(t, request(t, http.MethodGet, n.url("/admin-api/contexts"+path), nil))
	}
	bareJSON := fmt.Sprintf(`{"id":%q,"applicationId":%q,"contextStateHash":%q}`, bare.ID, bare.Application, bare.StateHash)
	head := "[255,1" + strings.Repeat(",0", 30) + "]"
	fullJSON := fmt.Sprintf(`{"id":%q,"applicationId":%q,"contextStateHash":%q,"serviceName":"svc","dagHeads":[%s],"applicationVersion":"0.1.0"`, full.ID, full.Application, full.StateHash, head)
	expect(t, get(""), 200, `{"data":{"contexts":[`+bareJSON+","+fullJSON+`,"groupId":"`+full.Group+`"}]}}`)
	expect(t, get("/for-application/"+bare.Application.String()), 200, `{"data":{"contexts":[`+bareJSON+`]}}`)
	expect(t, get("/for-application/"+id.ID{77}.String()), 200, `{"data":{"contexts":[]}}`)
	expect(t, get("/for-application/x"), 400, `{"error":"Invalid application id"}`)
	expect(t, get("/"+full.ID.String()), 200, `{"data":`+fullJSON+`}}`) // the group only in lists
	expect(t, get("/"+id.ID{77}.String()), 404, `{"error":"Context not found"}`)
	expect(t, get("/x"), 400, `{"error":"Invalid context id"}`)
}

func TestContexts_EmptyListIsAList(t *testing.T) {
	n := start(t, t.TempDir(), open)
	expect(t, do(t, request(t, http.MethodGet, n.url("/admin-api/contexts"), nil)), 200, `{"data":{"contexts":[]}}`)
}

func TestContexts_BindingHidesTheOthers(t *testing.T) {
	one, two := store.Context{ID: id.ID{1}, Application: id.ID{8}}, store.Context{ID: id.ID{2}, Application: id.ID{9}}
	n := seeded(t, nil, one, two)
	for permissions, want := range map[string][]id.ID{
		"context:list": {one.ID, two.ID},
		"context":      {one.ID, two.ID},
		"admin":        {one.ID, two.ID},
		"context[" + two.ID.String() + "],context:list":                      {two.ID},
		"context[" + id.ID{7}.String() + "],context:list":                    {},
		"application-binding[" + one.Application.String() + "],context:list": {one.ID},
	} {
		a := n.as(t, permissions, http.MethodGet, "/admin-api/contexts", nil)
		var list struct {
			Data struct{ Contexts []struct{ ID id.ID } }
		}
		if err := json.Unmarshal([]byte(a.body), &list); err != nil {
			t.Fatalf("%s: %s %s", permissions, a.Status, a.body)
		}
		got := []id.ID{}
		for _, c := range list.Data.Contexts {
			got = append(got, c.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s sees %v, want %v", permissions, got, want)
		}
	}
	bound := "context[" + two.ID.String() + "],context:list"
	if a := n.as(t, bound, http.MethodGet, "/admin-api/contexts/"+two.ID.String(), nil); a.StatusCode != 200 {
		t.Errorf("the bound context: %s %s", a.Status, a.body)
	}
	for name, permissions := range map[string]string{"context binding": bound, "application binding": "application-binding[" + two.Application.String() + "],context"} {
		a := n.as(t, permissions, http.MethodGet, "/admin-api/contexts/"+one.ID.String(), nil)
		expect(t, a, 403, `{"error":"permission denied"}`)
		if a.Header.Get(identity.HeaderError) != identity.PermissionDenied {
			t.Errorf("%s: X-Auth-Error = %q", name, a.Header.Get(identity.HeaderError))
		}
	}
}

func TestNewIdentity_IsStoredUnderTheZeroContext(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, open)
	keys := map[id.ID]bool{}
	for _, body := range []string{"", "null", "{}", `{"future":1}`, " \n"} {
		a := do(t, request(t, http.MethodPost, n.url("/admin-api/identity/context"), strings.NewReader(body)))
		var made struct {
			Data struct {
				PublicKey id.ID `json:"publicKey"`
			}
		}
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.StatusCode != 200 {
			t.Fatalf("%q: %s %s", body, a.Status, a.body)
		}
		keys[made.Data.PublicKey] = true
	}
	if len(keys) != 5 {
		t.Errorf("%d keys from 5 calls", len(keys))
	}
	for _, body := range []string{"{", "[]", `"x"`, "{} {}", strings.Repeat(" ", 1<<20) + "{}"} {
		a := do(t, request(t, http.MethodPost, n.url("/admin-api/identity/context"), strings.NewReader(body)))
		if want := map[bool]int{true: 413, false: 400}[len(body) > 1000]; a.StatusCode != want || !strings.HasPrefix(a.body, `{"error":"`) {
			t.Errorf("%.20q: %s %s, want %d", body, a.Status, a.body, want)
		}
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(home.Dir(dir).Path("data"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.View(t.Context(), func(tx *store.Tx) error {
		for key := range keys {
			i, err := tx.Identity(id.ID{}, key)
			if err != nil || !bytes.Equal(i.Private.Public().(ed25519.PublicKey), key[:]) {
				t.Errorf("%s: %v", key, err)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// scrape reads metrics with Prometheus' own parser and returns the sum of a family's values with the given labels.
func scrape(t *testing.T, text, family string, labels map[string]string) float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, m := range families[family].GetMetric() {
		matched := 0
		for _, l := range m.GetLabel() {
			if labels[l.GetName()] == l.GetValue() {
				matched++
			}
		}
		if matched == len(labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func TestMetrics(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Server.MetricsAddr = "127.0.0.1:0" })
	separate := "http://" + n.MetricsAddr().String()
	read := func() string {
		a := do(t, request(t, http.MethodGet, separate+"/metrics", nil))
		if a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") {
			t.Fatalf("%s %s", a.Status, a.Header.Get("Content-Type"))
		}
		return a.body
	}
	before := read()
	n.as(t, "blob", http.MethodPut, "/admin-api/blobs", strings.NewReader("12345"))
	blobID := id.ID{5}.String()
	n.as(t, "blob", http.MethodGet, "/admin-api/blobs/"+blobID, nil)
	do(t, request(t, http.MethodGet, n.url("/admin-api/blobs"), nil))
	do(t, request(t, "SECRETMETHOD", n.url("/private/path"), nil))
	after := read()
	for _, tt := range []struct {
		family string
		labels map[string]string
		moved  float64
	}{
		{"http_requests_total", map[string]string{"method": "PUT", "path": "/admin-api/blobs", "status": "2xx"}, 1},
		{"http_requests_total", map[string]string{"method": "GET", "path": "/admin-api/blobs/{blob_id}", "status": "4xx"}, 1},
		{"http_requests_total", map[string]string{"method": "other", "path": "unmatched", "status": "4xx"}, 1},
		{"http_request_duration_seconds", map[string]string{"method": "PUT", "path": "/admin-api/blobs"}, 1},
		{"http_denials_total", map[string]string{"code": "missing_token"}, 2},
		{"merod_blobs", nil, 1},
		{"merod_blob_bytes", nil, 5},
		{"merod_blob_uploaded_bytes_total", nil, 5},
		{"merod_contexts", nil, 0},
	} {
		if got := scrape(t, after, tt.family, tt.labels) - scrape(t, before, tt.family, tt.labels); got != tt.moved {
			t.Errorf("%s%v moved by %v, want %v", tt.family, tt.labels, got, tt.moved)
		}
	}
	for _, chosen := range []string{blobID, "SECRETMETHOD", "/private"} {
		if strings.Contains(after, chosen) {
			t.Errorf("what a caller chose became a label: %q", chosen)
		}
	}
	if a := do(t, request(t, http.MethodGet, separate+"/admin-api/health", nil)); a.StatusCode != 404 {
		t.Errorf("the metrics listener serves more than metrics: %s", a.Status)
	}

	// On the main listener they are for admin.
	expect(t, n.as(t, "blob,context,application", http.MethodGet, "/metrics", nil), 403, `{"error":"permission denied"}`)
	if a := n.as(t, "admin", http.MethodGet, "/metrics", nil); a.StatusCode != 200 || scrape(t, a.body, "merod_blobs", nil) != 1 {
		t.Errorf("/metrics for admin: %s", a.Status)
	}
}

func TestAccessLog_ShowsRouteAndKeyButNoSecrets(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	r := request(t, http.MethodGet, n.url("/admin-api/blobs?token=s3cret-query"), nil)
	r.Header.Set("Authorization", "Bearer s3cret-token")
	n.grant(r, "k1", "blob:list")
	a := do(t, r)
	line := n.log.line(a)
	if a.StatusCode != 200 || line["route"].String() != "/admin-api/blobs" || line["key"].String() != "k1" || line["status"].Int64() != 200 || line["method"].String() != "GET" {
		t.Errorf("%s, line %v", a.Status, line)
	}
	forged := request(t, http.MethodGet, n.url("/admin-api/blobs?token=s3cret-query"), nil)
	n.grant(forged, "k1", "blob:list")
	signature := forged.Header.Get(identity.HeaderAssertion)
	forged.Header.Set(identity.HeaderKey, "root")
	forged.Header.Set(identity.HeaderUser, "root")
	denied := do(t, forged)
	expect(t, denied, 401, `{"error":"authentication required"}`)
	if got := n.log.line(denied)["error"].String(); !strings.Contains(got, "signature does not cover this request") {
		t.Errorf("the log does not say why: %q", got)
	}
	if denied.Header.Get(identity.HeaderError) != identity.InvalidToken || denied.Header.Get("WWW-Authenticate") == "" || denied.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("headers of the refusal: %v", denied.Header)
	}
	for _, secret := range []string{"s3cret", signature} {
		if n.log.contains(secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}
