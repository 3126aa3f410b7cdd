package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

func open(c *config.Config) { c.Server.AuthMode = config.AuthNone }

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

// node check A1, A2, A3, A4, A5, A6
func TestContract_Basics(t *testing.T) {
	n := start(t, t.TempDir(), open)
	get := func(path string) answer { return do(t, request(t, http.MethodGet, n.url(path), nil)) }
	expect(t, get("/admin-api/health"), 200, `{"data":{"status":"alive"}}`)
	expect(t, get("/admin-api/ready"), 200, `{"data":{"status":"ready"}}`)
	expect(t, get("/admin-api/is-authed"), 200, `{"data":{"status":"alive"}}`)
	expect(t, get("/admin-api/certificate"), 404, `{"error":"Certificate not found"}`)
	expect(t, get("/admin-api/x"), 404, `{"error":"no such route"}`)
	expect(t, get("/admin-api/tee/info"), 501, `{"error":"GET /admin-api/tee/info is not part of this build"}`)

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

func TestEveryRouteOfTheTableAnswers(t *testing.T) {
	n := start(t, t.TempDir(), open)
	served := map[string]bool{
		"dashboard.root": true, "dashboard.redirect": true, "node.health": true, "node.ready": true, "node.is-authed": true, "node.certificate": true,
		"node.metrics": true, "node.info": true, "node.peers": true, "node.network": true, "node.usage": true, "blobs.put": true, "blobs.add-file": true, "blobs.add-url": true, "blobs.list": true, "blobs.get": true, "blobs.info": true, "blobs.delete": true,
	}
	// These take the ids and bodies of the walk as wrong or unknown, with an answer of their own.
	for _, surface := range []string{"contexts.", "aliases.", "rpc.", "stream."} {
		for row := range route.Node.All() {
			if strings.HasPrefix(row.Op, surface) {
				served[row.Op] = true
			}
		}
	}
	for _, later := range []string{
		"contexts.join", "contexts.leave", "contexts.invite", "contexts.invite-by-body", "contexts.invite-open",
		"contexts.join-by-invitation", "contexts.invite-specialized-node",
	} {
		delete(served, later)
	}
	for _, op := range []string{
		"namespaces.list", "namespaces.create", "namespaces.for-application", "namespaces.get", "namespaces.delete", "namespaces.identity",
		"groups.list", "groups.create", "groups.get", "groups.delete", "groups.members.list", "node.identity",
	} {
		served[op] = true
	}
	for row := range route.Node.All() {
		if strings.HasPrefix(row.Op, "applications.") || strings.HasPrefix(row.Op, "packages.") || strings.HasPrefix(row.Op, "stream.") {
			served[row.Op] = true
		}
		method := row.Method
		if row.Op == "stream.events" {
			method = http.MethodHead // the answer to GET does not end
		}
		a := do(t, request(t, method, n.url(sample(row.Pattern)), nil))
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
	raw(t, n.addr, http.MethodGet, []byte("GET /admin-api//blobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) // two readings: 404, no refusal
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
		{"http_denials_total", map[string]string{"code": ""}, 0},
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
