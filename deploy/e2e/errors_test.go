package e2e

import (
	"strings"
	"testing"
)

// Whatever nginx answers itself has the JSON form of the services, its own pages never appear.
func TestEveryErrorOfNginxIsJSON(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key := s.token(t, "blob:list")
	get := func(target string, lines ...string) []byte {
		return request("GET "+target+" HTTP/1.1", append([]string{"Host: " + s.hostOf(t), "Connection: close"}, lines...)...)
	}
	for _, c := range []struct {
		name    string
		payload []byte
		status  int
		text    string
	}{
		{"internal location of the gate", get("/_mero/gate"), 404, "Not found"},
		{"the same with a token", get("/_mero/gate", "Authorization: Bearer "+key), 404, "Not found"},
		{"internal location of errors", get("/_mero/malformed"), 404, "Not found"},
		{"forms of validate for other proxies", get("/auth/validate/envoy/x"), 404, "Not found"},
		{"TRACE", request("TRACE /admin-api/blobs HTTP/1.1", "Host: x", "Connection: close"), 405, "Method not allowed"},
		{"TRACE of the gate", request("TRACE /_mero/gate HTTP/1.1", "Host: x", "Connection: close"), 405, "Method not allowed"},
		{"two tokens", get("/admin-api/blobs", "Authorization: Bearer "+key, "Authorization: Bearer "+key), 400, "Malformed request"},
		{"no host", request("GET /admin-api/blobs HTTP/1.1", "Connection: close"), 400, "Malformed request"},
		{"a host that is none", request("GET /admin-api/blobs HTTP/1.1", "Host: a/b", "Connection: close"), 400, "Malformed request"},
		{"no target", request("GET  HTTP/1.1", "Host: x"), 400, "Malformed request"},
		{"a path above the root", get("/../x"), 400, "Malformed request"},
		{"a header of 40 KiB", get("/admin-api/blobs", "Cookie: "+strings.Repeat("c", 40<<10)), 400, "Malformed request"},
		{"a target of 40 KiB", get("/admin-api/blobs?" + strings.Repeat("c", 40<<10)), 414, "The request target is too long"},
		{"a length that is none", get("/admin-api/blobs", "Content-Length: x"), 400, "Malformed request"},
		{"length and chunks", get("/admin-api/blobs", "Content-Length: 1", "Transfer-Encoding: chunked"), 400, "Malformed request"},
		{"an unknown encoding", get("/admin-api/blobs", "Transfer-Encoding: zip"), 501, "Not implemented"},
		{"a version to come", request("GET / HTTP/3.0", "Host: x"), 505, "HTTP version not supported"},
		{"an open target", get("/admin-api//blobs", "Authorization: Bearer "+key), 403, "The request target is not acceptable"},
	} {
		answers := exchange(t, s.hostOf(t), c.payload)
		if len(answers) != 1 || answers[0].status != c.status {
			t.Errorf("%s: answers %v, want one %d", c.name, statuses(answers), c.status)
			continue
		}
		a := answers[0]
		if got := errorText(a.body); got != c.text {
			t.Errorf("%s: %s, want %q", c.name, got, c.text)
		}
		if kind := a.header.Get("Content-Type"); kind != "application/json" || strings.Contains(strings.ToLower(string(a.body)), "nginx") {
			t.Errorf("%s: Content-Type %q, body %.200q", c.name, kind, a.body)
		}
	}
}
