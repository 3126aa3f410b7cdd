package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// spellings are the ways to write a header that some server on the way could take for the real one.
func spellings(name, value string) map[string][]string {
	return map[string][]string{
		"exact":           {name + ": " + value},
		"lower case":      {strings.ToLower(name) + ": " + value},
		"upper case":      {strings.ToUpper(name) + ": " + value},
		"underscores":     {strings.ReplaceAll(name, "-", "_") + ": " + value},
		"dots":            {strings.ReplaceAll(name, "-", ".") + ": " + value},
		"mixed":           {strings.Replace(name, "-", "_", 1) + ": " + value},
		"twice":           {name + ": " + value, name + ": " + value},
		"two cases":       {name + ": " + value, strings.ToLower(name) + ": " + value},
		"space at end":    {name + " : " + value},
		"tab at end":      {name + "\t: " + value},
		"folded":          {"X-Other: 1", " " + name + ": " + value},
		"empty, then set": {name + ":", name + ": " + value},
		"NUL in name":     {name + "\x00: " + value},
		"CR before":       {"X-Other: 1\r" + name + ": " + value},
		"LF before":       {"X-Other: 1\n" + name + ": " + value},
		"other":           {"X-Forwarded-User: " + value, "Remote-User: " + value},
	}
}

// framings are the ways to put such a header into what a client sends; token is an Authorization line or nothing.
func framings(target, host string, token, spoof []string, connection string) map[string][]byte {
	common := append([]string{"Host: " + host}, token...)
	lines := append(append([]string(nil), common...), spoof...)
	last := append(append([]string(nil), lines...), "Connection: close")
	hop := append(append([]string(nil), lines...), "Connection: close, "+connection)
	chunked := request("PUT "+target+" HTTP/1.1", append(append([]string(nil), common...), "Transfer-Encoding: chunked", "Connection: close")...)
	announced := request("PUT "+target+" HTTP/1.1", append(append([]string(nil), common...),
		"Transfer-Encoding: chunked", "Connection: close", "Trailer: "+connection, "TE: trailers")...)
	trailer := "5\r\nhello\r\n0\r\n" + strings.Join(spoof, "\r\n") + "\r\n\r\n"
	pipelined := append(request("GET "+target+" HTTP/1.1", common...), request("GET "+target+" HTTP/1.1", append([]string{"Host: " + host, "Connection: close"}, spoof...)...)...)
	smuggled := requestWithBody("GET "+target+" HTTP/1.1", string(request("GET "+target+" HTTP/1.1", append([]string{"Host: " + host}, spoof...)...)), last...)
	return map[string][]byte{
		"plain":                   request("GET "+target+" HTTP/1.1", last...),
		"HTTP/1.0":                request("GET "+target+" HTTP/1.0", last...),
		"HTTP/1.0 without Host":   request("GET "+target+" HTTP/1.0", append(append([]string(nil), token...), spoof...)...),
		"absolute form":           request("GET http://"+host+target+" HTTP/1.1", last...),
		"absolute form elsewhere": request("GET http://evil.example"+target+" HTTP/1.1", last...),
		"hop-by-hop":              request("GET "+target+" HTTP/1.1", hop...),
		"trailer":                 append(chunked, trailer...),
		"announced trailer":       append(announced, trailer...),
		"pipelined":               pipelined,
		"in the body of a GET":    smuggled,
		"length and chunks": append(request("GET "+target+" HTTP/1.1", append(append([]string(nil), last...),
			"Content-Length: 5", "Transfer-Encoding: chunked")...), "0\r\n\r\n"+string(request("GET "+target+" HTTP/1.1", lines...))...),
		"preflight": request("OPTIONS "+target+" HTTP/1.1", append([]string{"Origin: " + appOrigin, "Access-Control-Request-Method: DELETE"}, last...)...),
		"upgrade": request("GET "+target+" HTTP/1.1", append(append([]string(nil), lines...),
			"Connection: Upgrade, "+connection, "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")...),
	}
}

// TestScenarioAttackClientNamesItselfRoot sends an administrator's identity in every spelling and framing: without a
// token, which must be refused, and with a token that may only list blobs, which must get no further than that.
func TestScenarioAttackClientNamesItselfRoot(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	key, root := s.token(t, "blob:list"), claims(t, s.first.Access).Subject
	forged := map[string]string{"X-Auth-Key": root, "X-Auth-User": root, "X-Auth-Permissions": "admin", "X-Auth-Expires": "9999999999"}
	var names, all []string
	for name, value := range forged {
		names = append(names, name)
		all = append(all, name+": "+value)
	}
	attacks := map[string][]string{"all": all}
	for spelling := range spellings("X-Auth-Key", root) {
		var lines []string
		for name, value := range forged {
			lines = append(lines, spellings(name, value)[spelling]...)
		}
		attacks[spelling] = lines
	}
	attacks["other families"] = []string{
		"X-Original-URI: /admin-api/health", "X-Original-Method: GET", "X-Forwarded-Uri: /admin-api/health", "X-Forwarded-Method: GET",
		"X-Rewrite-Url: /admin-api/health", "X-HTTP-Method-Override: GET", "X-Method-Override: GET", "Forwarded: for=127.0.0.1;host=localhost",
		"X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "X-Forwarded-Prefix: /admin-api/health",
	}
	bearer := []string{"Authorization: Bearer " + key}
	for name, spoof := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for framing, payload := range framings("/admin-api/contexts", s.hostOf(t), nil, spoof, strings.Join(names, ", ")) {
				s.attack(t, framing+" without token", payload)
			}
			for framing, payload := range framings("/admin-api/contexts", s.hostOf(t), bearer, spoof, strings.Join(names, ", ")+", Authorization") {
				s.attack(t, framing+" with a token that may not", payload)
			}
		})
	}
}

// attack sends bytes that ask for what their sender may not have.
func (s *site) attack(t *testing.T, name string, payload []byte) {
	t.Helper()
	for i, a := range exchange(t, s.hostOf(t), payload) {
		preflight := strings.HasPrefix(name, "preflight") && a.status == http.StatusNoContent && len(a.body) == 0
		if !preflight && (a.status < 400 || a.status >= 500) {
			t.Errorf("%s: answer %d is %d, body %.100q; sent\n%s", name, i, a.status, a.body, payload)
		}
	}
}

// TestAttackSpoofedIdentityNeverArrives sends the same attacks with a token that may do what it asks for, so that requests
// do reach the node, and looks at the wire: every one carries the caller's own identity.
func TestAttackSpoofedIdentityNeverArrives(t *testing.T) {
	t.Parallel()
	s := recording(t)
	key := s.token(t, "blob")
	callers := []identity{s.identityOf(t, key)}
	names := strings.Join(identityHeaders, ", ")
	bearer := []string{"Authorization: Bearer " + key}
	replayed := s.recordedAssertion(t, key)
	before := len(s.local.NodeLink.Requests())
	for _, forged := range []struct{ name, value string }{
		{"X-Auth-Key", "root"},
		{"X-Auth-User", "root"},
		{"X-Auth-Permissions", "admin"},
		{"X-Auth-Expires", "9999999999"},
		{"X-Auth-Assertion", replayed},
		{"X-Original-URI", "/admin-api/health"},
		{"X-Forwarded-Uri", "/admin-api/health"},
		{"X-Forwarded-Method", "GET"},
		{"X-HTTP-Method-Override", "DELETE"},
		{"X-Rewrite-Url", "/admin-api/health"},
		{"X-Forwarded-For", "203.0.113.9"},
		{"X-Real-IP", "203.0.113.9"},
		{"X-Forwarded-Proto", "https"},
	} {
		t.Run(forged.name, func(t *testing.T) {
			t.Parallel()
			for spelling, lines := range spellings(forged.name, forged.value) {
				for framing, payload := range framings("/admin-api/blobs", s.hostOf(t), bearer, lines, names) {
					for i, a := range exchange(t, s.hostOf(t), payload) {
						if i > 0 && isSuccess(a) {
							t.Errorf("%s, %s: the request behind the first one passes without a token", spelling, framing)
						}
					}
				}
			}
		})
	}
	t.Cleanup(func() {
		atNode, identified := checkLinks(t, s.local, callers)
		t.Logf("%d requests reached the node, %d of them with an identity", atNode-before, identified)
		if identified < 500 {
			t.Errorf("only %d requests reached the node with an identity: the attacks do not show much", identified)
		}
	})
}

// TestAttackForeignIdentityNeverArrives sends every header by which some software in front of a service says who calls and
// from where, one by one and all at once, to both services.
func TestAttackForeignIdentityNeverArrives(t *testing.T) {
	t.Parallel()
	s := recording(t)
	key := s.token(t, "blob")
	callers := []identity{s.identityOf(t, key)}
	attacks := [][]string{nil}
	for _, name := range foreign {
		attacks = append(attacks, []string{name + ": root"})
		attacks[0] = append(attacks[0], name+": root")
	}
	for _, lines := range attacks {
		lines = append([]string{"Host: " + s.hostOf(t), "Connection: close", "Authorization: Bearer " + key}, lines...)
		for _, target := range []string{"/admin-api/blobs", "/admin/identity"} {
			for _, a := range exchange(t, s.hostOf(t), request("GET "+target+" HTTP/1.1", lines...)) {
				if a.status != http.StatusOK {
					t.Errorf("%s with %q: status %d", target, lines[3:], a.status)
				}
			}
		}
	}
	if atNode, identified := checkLinks(t, s.local, callers); identified < len(attacks) {
		t.Errorf("%d requests reached the node, %d of them with an identity; %d were sent", atNode, identified, len(attacks))
	}
	arrived := 0
	for _, r := range s.local.AuthLink.Requests() {
		if r.Target != "/admin/identity" {
			continue
		}
		arrived++
		for _, name := range foreign {
			if values := r.Values(name); len(values) > 0 {
				t.Errorf("mero-auth got %s %q", name, values)
			}
		}
	}
	if arrived < len(attacks) {
		t.Errorf("%d requests reached mero-auth, %d were sent", arrived, len(attacks))
	}
}

// recordedAssertion returns an assertion that nginx has just passed on for the caller.
func (a *administered) recordedAssertion(t *testing.T, token string) string {
	t.Helper()
	r := a.recordedRequest(t, "GET", "/admin-api/blobs", token)
	return first(r.Values("X-Auth-Assertion"))
}
