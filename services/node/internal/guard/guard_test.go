package guard_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/guard"
)

var now = time.Unix(1_800_000_000, 0)

// gate is a guard with the key that the gate signs with.
type gate struct {
	*guard.Guard
	keys *assertion.File
}

func newGate(t testing.TB) gate {
	t.Helper()
	path := filepath.Join(t.TempDir(), "assertion.keys")
	if _, err := assertion.Create(path); err != nil {
		t.Fatal(err)
	}
	keys, err := assertion.Open(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return gate{&guard.Guard{
		Table: route.Node, TrustedPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Header: "X-Auth-Key", Assertions: keys, Leeway: 30 * time.Second, MaxTTL: time.Hour, StreamMaxAge: time.Hour,
		Now: func() time.Time { return now },
	}, keys}
}

// claim is what the gate decided about GET /admin-api/blobs?x=1.
func claim() assertion.Claim {
	return assertion.Claim{Key: "k1", Permissions: "blob", Expires: "1800003600", Method: "GET", Target: "/admin-api/blobs?x=1"}
}

// headers are the lines that the proxy sets from the gate's answer.
func (g gate) headers(c assertion.Claim, exp time.Time) []string {
	return []string{
		"X-Auth-Key: " + c.Key, "X-Auth-User: " + c.Key, "X-Auth-Permissions: " + c.Permissions, "X-Auth-Expires: " + c.Expires,
		"X-Auth-Assertion: " + g.keys.Sign(c, exp),
	}
}

func (g gate) good() []string { return g.headers(claim(), now.Add(time.Minute)) }

// arrived reads a request as the server does, from a trusted peer.
func arrived(t testing.TB, line string, headers ...string) *http.Request {
	t.Helper()
	text := line + " HTTP/1.1\r\nHost: node.example.com\r\n" + strings.Join(headers, "\r\n")
	if len(headers) > 0 {
		text += "\r\n"
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text + "\r\n")))
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	r.RemoteAddr = "127.0.0.1:40000"
	return r
}

const blobs = "GET /admin-api/blobs?x=1"

func without(lines []string, name string) []string {
	var out []string
	for _, l := range lines {
		if !strings.HasPrefix(l, name+":") {
			out = append(out, l)
		}
	}
	return out
}

func expectDenied(t *testing.T, err error, code fault.Code, reason string) {
	t.Helper()
	if fault.CodeOf(err) != code || fault.ReasonOf(err) != reason {
		t.Errorf("got %v (%s %q), want %s %q", err, fault.CodeOf(err), fault.ReasonOf(err), code, reason)
	}
}

func TestGrantedRequestPasses(t *testing.T) {
	g := newGate(t)
	d, err := g.Decide(arrived(t, blobs, g.good()...))
	if err != nil {
		t.Fatal(err)
	}
	if d.Caller.Key != "k1" || !d.Caller.Expires.Equal(now.Add(time.Hour)) || d.Caller.Local || d.Match.Row.Op != "blobs.list" {
		t.Errorf("got %+v", d)
	}
	if !d.Caller.Permissions.Allows(permission.MustParse("blob:list")) || d.Caller.Permissions.Admin() {
		t.Error("the caller's permissions are not those of the header")
	}
}

// How long a request may go on is what gate and token say, and the difference that clocks may have.
func TestGrantedRequestHasAnEnd(t *testing.T) {
	g := newGate(t)
	for name, tt := range map[string]struct {
		expires       string
		exp           time.Duration // of the assertion
		vouched, ends time.Duration
	}{
		"usual":                      {"1800003600", time.Minute, 90 * time.Second, time.Hour + 30*time.Second},
		"an old assertion":           {"1800003600", -10 * time.Second, 20 * time.Second, time.Hour + 30*time.Second},
		"expired by the node's time": {"1799999000", time.Minute, 90 * time.Second, 30 * time.Second},
		"not dated":                  {"", time.Minute, 90 * time.Second, 90 * time.Second},
	} {
		c := claim()
		c.Expires = tt.expires
		d, err := g.Decide(arrived(t, blobs, g.headers(c, now.Add(tt.exp))...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !d.Caller.Vouched.Equal(now.Add(tt.vouched)) || !d.Caller.Ends.Equal(now.Add(tt.ends)) {
			t.Errorf("%s: vouched for until %v, ends %v; want %v and %v later than %v", name, d.Caller.Vouched, d.Caller.Ends, tt.vouched, tt.ends, now)
		}
	}
	g.Assertions = nil
	g.AllowedHosts = []string{"node.example.com"}
	d, err := g.Decide(arrived(t, blobs, "X-Auth-Key: k1", "X-Auth-Permissions: blob"))
	if err != nil || !d.Caller.Vouched.IsZero() || !d.Caller.Ends.Equal(now.Add(g.StreamMaxAge)) {
		t.Errorf("without assertions: %+v, %v", d.Caller, err)
	}
}

func TestDirectCallWithoutHeaders(t *testing.T) {
	_, err := newGate(t).Decide(arrived(t, blobs, "Authorization: Bearer a.b.c"))
	expectDenied(t, err, fault.Unauthenticated, identity.MissingToken)
}

func TestUntrustedPeer_GoodHeadersChangeNothing(t *testing.T) {
	g := newGate(t)
	for _, peer := range []string{"10.0.0.1:1", "192.168.1.1:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1", "", "@", "127.0.0.1"} {
		r := arrived(t, blobs, append(g.good(), "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1")...)
		r.RemoteAddr = peer
		if _, err := g.Decide(r); fault.CodeOf(err) != fault.Unauthenticated {
			t.Errorf("peer %q: %v, want unauthenticated", peer, err)
		}
	}
	for _, peer := range []string{"127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"} {
		r := arrived(t, blobs, g.good()...)
		r.RemoteAddr = peer
		if _, err := g.Decide(r); err != nil {
			t.Errorf("peer %q: %v", peer, err)
		}
	}
}

// The attacks on the identity headers. Each changes the lines of a granted request.
func TestHeaders_Attacks(t *testing.T) {
	for name, change := range map[string]func([]string) []string{
		"key replaced":               func(h []string) []string { h[0] = "X-Auth-Key: root"; return h },
		"key and user replaced":      func(h []string) []string { h[0], h[1] = "X-Auth-Key: root", "X-Auth-User: root"; return h },
		"user replaced":              func(h []string) []string { h[1] = "X-Auth-User: root"; return h },
		"user empty":                 func(h []string) []string { h[1] = "X-Auth-User:"; return h },
		"permissions widened":        func(h []string) []string { h[2] = "X-Auth-Permissions: admin"; return h },
		"permissions removed":        func(h []string) []string { return without(h, "X-Auth-Permissions") },
		"life prolonged":             func(h []string) []string { h[3] = "X-Auth-Expires: 9999999999"; return h },
		"expiry removed":             func(h []string) []string { return without(h, "X-Auth-Expires") },
		"key removed by Connection":  func(h []string) []string { return append(without(h, "X-Auth-Key"), "Connection: X-Auth-Key") },
		"key doubled, equal":         func(h []string) []string { return append(h, "X-Auth-Key: k1") },
		"key doubled, other":         func(h []string) []string { return append(h, "X-Auth-Key: root") },
		"key doubled, lower case":    func(h []string) []string { return append(h, "x-auth-key: root") },
		"key with a list":            func(h []string) []string { h[0] = "X-Auth-Key: k1, root"; return h },
		"key empty":                  func(h []string) []string { h[0] = "X-Auth-Key:"; return h },
		"key with a blank":           func(h []string) []string { h[0] = "X-Auth-Key: k 1"; return h },
		"key too long":               func(h []string) []string { h[0] = "X-Auth-Key: " + strings.Repeat("k", 129); return h },
		"user doubled":               func(h []string) []string { return append(h, "X-Auth-User: k1") },
		"permissions doubled":        func(h []string) []string { return append(h, "X-Auth-Permissions: admin") },
		"permissions doubled, first": func(h []string) []string { return append([]string{"X-Auth-Permissions: admin"}, h...) },
		"expiry doubled":             func(h []string) []string { return append(h, "X-Auth-Expires: 9999999999") },
		"assertion doubled":          func(h []string) []string { return append(h, h[4]) },
		"alias with underscores":     func(h []string) []string { return append(h, "X_Auth_Key: root") },
		"alias with dots":            func(h []string) []string { return append(h, "X.Auth.Key: root") },
		"alias mixed":                func(h []string) []string { return append(h, "x_AUTH-key: root") },
		"alias odd":                  func(h []string) []string { return append(h, "X!Auth~Key: root") },
		"alias of the permissions":   func(h []string) []string { return append(h, "X_Auth_Permissions: admin") },
		"alias of the assertion":     func(h []string) []string { return append(h, "X.Auth-Assertion: v1") },
		"alias alone":                func(h []string) []string { return append(without(h, "X-Auth-Key"), "X_Auth_Key: k1") },
		"trailer announced":          func(h []string) []string { return append(h, "Trailer: X-Auth-Key") },
		"trailer announced, chunked": func(h []string) []string {
			return append(h, "Transfer-Encoding: chunked", "Trailer: Foo, x-auth-permissions")
		},
		"trailer alias announced": func(h []string) []string { return append(h, "Transfer-Encoding: chunked", "Trailer: X_Auth_Key") },
		"placeholder as key":      func(h []string) []string { h[0] = "X-Auth-Key: {http.reverse_proxy.header.X-Auth-Key}"; return h },
		"placeholder as permissions": func(h []string) []string {
			h[2] = "X-Auth-Permissions: {http.reverse_proxy.header.X-Auth-Permissions}"
			return h
		},
		"assertion missing":           func(h []string) []string { return without(h, "X-Auth-Assertion") },
		"assertion empty":             func(h []string) []string { h[4] = "X-Auth-Assertion:"; return h },
		"assertion cut":               func(h []string) []string { h[4] = h[4][:len(h[4])-1]; return h },
		"assertion of another format": func(h []string) []string { h[4] = strings.Replace(h[4], "v1.", "v2.", 1); return h },
		"only an assertion":           func(h []string) []string { return h[4:] },
	} {
		g := newGate(t)
		d, err := g.Decide(arrived(t, blobs, change(g.good())...))
		if fault.CodeOf(err) != fault.Unauthenticated || d.Caller.Key != "" {
			t.Errorf("%s: %v, caller %q, want unauthenticated", name, err, d.Caller.Key)
		}
	}
}

func TestHeaders_OtherNamesAreNotOurs(t *testing.T) {
	g := newGate(t)
	lines := append(g.good(), "XAuthKey: root", "X--Auth-Key: root", "X-Auth-Keys: root", "Y-Auth-Key: root", "X-Auth-Error: x", "X-Forwarded-User: root", "Connection: X-Auth-Key")
	d, err := g.Decide(arrived(t, blobs, lines...))
	if err != nil || d.Caller.Key != "k1" {
		t.Errorf("got %q, %v", d.Caller.Key, err)
	}
}

func TestAssertion_ReplayedForAnotherRequest(t *testing.T) {
	g := newGate(t)
	c := claim()
	c.Permissions = "admin"
	lines := g.headers(c, now.Add(time.Minute))
	for _, line := range []string{
		"HEAD /admin-api/blobs?x=1", "PUT /admin-api/blobs?x=1", "GET /admin-api/blobs", "GET /admin-api/blobs?x=2", "GET /admin-api/blobs?x=1&y", "GET /admin-api/contexts", "GET /admin-api/blobs?X=1",
	} {
		_, err := g.Decide(arrived(t, line, lines...))
		if !errors.Is(err, assertion.ErrBadMAC) {
			t.Errorf("%s: %v, want ErrBadMAC", line, err)
		}
		expectDenied(t, err, fault.Unauthenticated, identity.InvalidToken)
	}
}

func TestAssertion_MethodOverrideIsNotHonoured(t *testing.T) {
	g := newGate(t)
	lines := append(g.good(), "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "X-Forwarded-Method: DELETE")
	d, err := g.Decide(arrived(t, blobs, lines...))
	if err != nil || d.Match.Row.Op != "blobs.list" {
		t.Errorf("GET with an override: %v, %v, want the row of GET", d.Match.Row, err)
	}
	c := claim()
	c.Method, c.Target, c.Permissions = "DELETE", "/admin-api/blobs/x", "admin"
	_, err = g.Decide(arrived(t, "POST /admin-api/blobs/x", append(g.headers(c, now.Add(time.Minute)), "X-HTTP-Method-Override: DELETE")...))
	expectDenied(t, err, fault.Unauthenticated, identity.InvalidToken)
}

func TestAssertion_Times(t *testing.T) {
	g := newGate(t)
	for _, tt := range []struct {
		name string
		exp  time.Time
		want error
	}{
		{"within leeway", now.Add(-30 * time.Second), nil},
		{"expired", now.Add(-31 * time.Second), assertion.ErrExpired},
		{"long expired", now.Add(-24 * time.Hour), assertion.ErrExpired},
		{"longest", now.Add(time.Hour + 30*time.Second), nil},
		{"too far in the future", now.Add(time.Hour + 31*time.Second), assertion.ErrTooFar},
	} {
		if _, err := g.Decide(arrived(t, blobs, g.headers(claim(), tt.exp)...)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestAssertion_ForeignKey(t *testing.T) {
	g, other := newGate(t), newGate(t)
	_, err := g.Decide(arrived(t, blobs, other.good()...))
	if !errors.Is(err, assertion.ErrUnknownKey) {
		t.Errorf("got %v, want ErrUnknownKey", err)
	}
	expectDenied(t, err, fault.Unauthenticated, identity.InvalidToken)
}

func TestAssertion_BoundToTheIdentityOnly(t *testing.T) {
	g := newGate(t)
	c := claim()
	c.Bind, c.Target = assertion.BindIdentity, "/rewritten"
	lines := g.headers(c, now.Add(time.Minute))
	if _, err := g.Decide(arrived(t, blobs, lines...)); err == nil {
		t.Error("a node that binds to requests takes an assertion that does not")
	}
	g.Bind = assertion.BindIdentity
	if _, err := g.Decide(arrived(t, blobs, lines...)); err != nil {
		t.Error(err)
	}
	if _, err := g.Decide(arrived(t, blobs, g.good()...)); err == nil {
		t.Error("a node that binds to identities takes an assertion that binds to a request")
	}
}

func TestExpires_MalformedEvenIfSigned(t *testing.T) {
	g := newGate(t)
	for _, expires := range []string{"soon", "-1", "0", "1.5", "99999999999999999999"} {
		c := claim()
		c.Expires = expires
		if _, err := g.Decide(arrived(t, blobs, g.headers(c, now.Add(time.Minute))...)); fault.CodeOf(err) != fault.Unauthenticated {
			t.Errorf("%q: %v, want unauthenticated", expires, err)
		}
	}
	c := claim()
	c.Expires = ""
	d, err := g.Decide(arrived(t, blobs, g.headers(c, now.Add(time.Minute))...))
	if err != nil || !d.Caller.Expires.IsZero() {
		t.Errorf("unknown expiry: %v, %v, want the zero time", d.Caller.Expires, err)
	}
}

func TestPermissions(t *testing.T) {
	g := newGate(t)
	for _, tt := range []struct {
		line, permissions string
		allowed           bool
	}{
		{"GET /admin-api/blobs", "blob:list", true},
		{"HEAD /admin-api/blobs", "blob:list", true},
		{"GET /admin-api/blobs", "", false},
		{"GET /admin-api/blobs", "blob:get", false},
		{"GET /admin-api/blobs", "ADMIN", false},
		{"DELETE /admin-api/blobs/x", "blob:list", false},
		{"DELETE /admin-api/blobs/x", "blob:remove[x]", true},
		{"DELETE /admin-api/blobs/x", "blob:remove[y]", false},
		{"PUT /admin-api/blobs", "blob:add:stream", true},
		{"PUT /admin-api/blobs", "blob:add:file", false},
		{"GET /admin-api/contexts", "context[c1],context:list", true},
		{"GET /admin-api/contexts/c2", "context[c1],context:list", false},
		{"GET /metrics", "blob,context,application", false},
		{"GET /metrics", "admin", true},
		{"GET /no/such/route", "context,blob", false},
		{"GET /no/such/route", "admin", true},
		{"FOO /admin-api/blobs", "blob", false},
		{"get /admin-api/blobs", "blob", false},
		{"POST /admin-api/health", "blob", false},
		{"OPTIONS /admin-api/blobs", "blob", false},
	} {
		method, target, _ := strings.Cut(tt.line, " ")
		c := assertion.Claim{Key: "k1", Permissions: tt.permissions, Method: method, Target: target}
		_, err := g.Decide(arrived(t, tt.line, g.headers(c, now.Add(time.Minute))...))
		if tt.allowed && err != nil {
			t.Errorf("%s with %q: %v", tt.line, tt.permissions, err)
		}
		if !tt.allowed && (fault.CodeOf(err) != fault.Forbidden || fault.ReasonOf(err) != identity.PermissionDenied) {
			t.Errorf("%s with %q: %v, want permission_denied", tt.line, tt.permissions, err)
		}
	}
}

func TestPublicRoute_HeadersGiveNoIdentity(t *testing.T) {
	g := newGate(t)
	for _, line := range []string{"GET /admin-api/health", "HEAD /admin-api/health", "GET /admin-api/ready?x", "GET /", "GET /admin-dashboard/a/b.js"} {
		r := arrived(t, line, "X-Auth-Key: root", "X-Auth-Key: evil", "X_Auth_Key: root", "X-Auth-Permissions: admin")
		r.RemoteAddr = "203.0.113.7:1"
		d, err := g.Decide(r)
		if err != nil || d.Caller.Key != "" || d.Caller.Permissions != nil || d.Match.Row == nil {
			t.Errorf("%s: %+v, %v, want served to nobody in particular", line, d.Caller, err)
		}
	}
	for _, line := range []string{"POST /admin-api/health", "PUT /", "DELETE /admin-dashboard/", "TRACE /admin-api/health", "OPTIONS /admin-api/health", "head /admin-api/health"} {
		_, err := g.Decide(arrived(t, line))
		expectDenied(t, err, fault.Unauthenticated, identity.MissingToken)
	}
}

func TestTarget_EncodedPublicPathIsNoRoute(t *testing.T) {
	g := newGate(t)
	for _, target := range []string{
		"/admin-api%2fhealth", "//admin-api//health", "/admin-api//health", "/admin-api/./health", "/admin-api/health/../blobs",
		"/admin-api/%68ealth", "/admin-api/health;x", "/admin-api/blobs/..", "/admin-api\\health", "/admin-dashboard/%2e%2e/admin-api/blobs",
		"http://node.example.com/admin-api/health", "/admin-api/health%00",
	} {
		c := assertion.Claim{Key: "k1", Permissions: "admin", Method: "GET", Target: target}
		_, err := g.Decide(arrived(t, "GET "+target, g.headers(c, now.Add(time.Minute))...))
		expectDenied(t, err, fault.NotFound, "")
	}
	for _, target := range []string{"/admin-api/HEALTH", "/Admin-Api/health", "/admin-api/health/", "/admin-api/healthz"} {
		_, err := g.Decide(arrived(t, "GET "+target))
		expectDenied(t, err, fault.Unauthenticated, identity.MissingToken)
	}
}

func TestPreflight_OnlyARealOne(t *testing.T) {
	g := newGate(t)
	real := []string{"Origin: https://a.example", "Access-Control-Request-Method: DELETE"}
	d, err := g.Decide(arrived(t, "OPTIONS /admin-api/blobs/x", real...))
	if err != nil || !d.Preflight || d.Match.Row != nil {
		t.Errorf("real preflight: %+v, %v", d, err)
	}
	for name, r := range map[string]*http.Request{
		"without method": arrived(t, "OPTIONS /admin-api/blobs", real[0]),
		"without origin": arrived(t, "OPTIONS /admin-api/blobs", real[1]),
		"two origins":    arrived(t, "OPTIONS /admin-api/blobs", append(real, "Origin: https://b.example")...),
		"GET":            arrived(t, "GET /admin-api/blobs", real...),
	} {
		if d, err := g.Decide(r); d.Preflight || fault.CodeOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %+v, %v, want unauthenticated", name, d, err)
		}
	}
}

func TestOtherTrustedHeader(t *testing.T) {
	g := newGate(t)
	g.Header = "Remote-User"
	lines := append(without(without(g.good(), "X-Auth-Key"), "X-Auth-User"), "Remote-User: k1")
	if d, err := g.Decide(arrived(t, blobs, lines...)); err != nil || d.Caller.Key != "k1" {
		t.Errorf("got %q, %v", d.Caller.Key, err)
	}
	for name, further := range map[string]string{
		"alias": "Remote_User: root", "second": "Remote-User: k1", "other key": "X-Auth-Key: root", "other user": "X-Auth-User: root", "trailer": "Trailer: remote-user",
	} {
		if _, err := g.Decide(arrived(t, blobs, append(lines, further)...)); fault.CodeOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v, want unauthenticated", name, err)
		}
	}
	if _, err := g.Decide(arrived(t, blobs, g.good()...)); fault.CodeOf(err) != fault.Unauthenticated {
		t.Errorf("without the configured header: %v", err)
	}
}

func TestWithoutAssertions_HostIsChecked(t *testing.T) {
	g := newGate(t)
	g.Assertions = nil
	g.AllowedHosts = []string{"node.example.com", "*.Mero.example"}
	lines := []string{"X-Auth-Key: k1", "X-Auth-User: k1", "X-Auth-Permissions: blob", "X-Auth-Expires: 9999999999"}
	for host, allowed := range map[string]bool{
		"node.example.com": true, "NODE.example.com:8080": true, "a.mero.example": true, "a.b.mero.example:1": true, "localhost:1": true, "127.0.0.1": true, "[::1]:2528": true, "[::1]": true,
		"mero.example": false, "evil.example": false, "node.example.com.evil.example": false, "xnode.example.com": false, "": false, "10.0.0.1": false, "localhost.evil.example": false, "evilmero.example": false,
	} {
		r := arrived(t, blobs, lines...)
		r.Host = host
		d, err := g.Decide(r)
		if allowed && (err != nil || d.Caller.Key != "k1") {
			t.Errorf("Host %q: %v", host, err)
		}
		if !allowed && (fault.CodeOf(err) != fault.Forbidden || fault.ReasonOf(err) != identity.InvalidTarget) {
			t.Errorf("Host %q: %v, want invalid_target", host, err)
		}
		if allowed && !d.Caller.Expires.Equal(now.Add(time.Hour)) {
			t.Errorf("the client's own X-Auth-Expires is believed: %v", d.Caller.Expires)
		}
	}
	placeholder := append(without(lines, "X-Auth-Permissions"), "X-Auth-Permissions: {http.reverse_proxy.header.X-Auth-Permissions}")
	if _, err := g.Decide(arrived(t, blobs, placeholder...)); fault.CodeOf(err) != fault.Unauthenticated {
		t.Errorf("placeholder as permissions: %v, want unauthenticated", err)
	}
	r := arrived(t, blobs, append(lines, "X-Auth-Key: root")...)
	if _, err := g.Decide(r); fault.CodeOf(err) != fault.Unauthenticated {
		t.Errorf("doubled key without assertions: %v", err)
	}
}

func TestNone_ForeignHostAndOrigin(t *testing.T) {
	g := newGate(t)
	g.Open, g.Assertions = true, nil
	for _, tt := range []struct {
		host, origin string
		allowed      bool
	}{
		{"localhost:2528", "", true},
		{"127.0.0.1:2528", "http://localhost:5173", true},
		{"[::1]:2528", "http://[::1]:2528", true},
		{"127.0.0.2", "tauri://localhost", true},
		{"rebound.evil.example:2528", "", false},
		{"rebound.evil.example:2528", "http://rebound.evil.example:2528", false},
		{"localhost.evil.example", "", false},
		{"127.0.0.1.nip.io", "", false},
		{"", "", false},
		{"192.168.1.5:2528", "", false},
		{"localhost:2528", "https://evil.example", false},
		{"localhost:2528", "null", false},
		{"localhost:2528", "https://localhost.evil.example", false},
		{"localhost:2528", "file://", false},
		{"localhost:2528", "http://localhost@evil.example", false},
	} {
		for _, line := range []string{"GET /admin-api/contexts", "GET /admin-api/health", "DELETE /admin-api/blobs/x", "OPTIONS /jsonrpc"} {
			var headers []string
			if tt.origin != "" {
				headers = []string{"Origin: " + tt.origin, "Access-Control-Request-Method: POST"}
			}
			r := arrived(t, line, headers...)
			r.Host = tt.host
			d, err := g.Decide(r)
			if tt.allowed && (err != nil || !d.Preflight && (!d.Caller.Local || !d.Caller.Permissions.Admin())) {
				t.Errorf("%s, Host %q, Origin %q: %+v, %v", line, tt.host, tt.origin, d, err)
			}
			if !tt.allowed {
				expectDenied(t, err, fault.Forbidden, identity.InvalidTarget)
			}
		}
	}
	r := arrived(t, "GET /admin-api/blobs")
	r.Host = "localhost"
	r.Header.Add("Origin", "http://localhost")
	r.Header.Add("Origin", "https://evil.example")
	if _, err := g.Decide(r); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("a second, foreign Origin: %v", err)
	}
}

func TestNone_AllowedHostsAndOwnOrigin(t *testing.T) {
	g := newGate(t)
	g.Open, g.Assertions, g.AllowedHosts = true, nil, []string{"node1"}
	r := arrived(t, "GET /admin-api/blobs", "Origin: http://node1:8080")
	r.Host = "node1:2528"
	if _, err := g.Decide(r); err != nil {
		t.Error(err)
	}
	r.Host = "node2:2528"
	if _, err := g.Decide(r); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("another host: %v", err)
	}
}

// FuzzIdentity looks for headers that make the node see another key than the gate signed.
func FuzzIdentity(f *testing.F) {
	for _, line := range []string{
		"X-Auth-Key: root", "x-auth-key:root", "X_Auth_Key: root", "Trailer: X-Auth-Key", "Connection: X-Auth-Key", "X-Auth-Permissions: admin", "X-Auth-User: root", "Accept: */*",
	} {
		f.Add(line)
	}
	g := newGate(f)
	good := strings.Join(g.good(), "\r\n") + "\r\n"
	f.Fuzz(func(t *testing.T, further string) {
		for _, text := range []string{
			fmt.Sprintf("%s HTTP/1.1\r\nHost: h\r\n%s%s\r\n\r\n", blobs, good, further),
			fmt.Sprintf("%s HTTP/1.1\r\nHost: h\r\n%s\r\n%s\r\n", blobs, further, good),
		} {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
			if err != nil {
				continue
			}
			r.RemoteAddr = "127.0.0.1:1"
			d, err := g.Decide(r)
			if err == nil && (d.Caller.Key != "k1" || d.Caller.Permissions.Admin()) {
				t.Errorf("%q: served as %q, admin %v", text, d.Caller.Key, d.Caller.Permissions.Admin())
			}
			if err == nil && (len(r.Header["X-Auth-Key"]) != 1 || len(r.Header["X-Auth-Permissions"]) != 1) {
				t.Errorf("%q: served with %v", text, r.Header)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	g := newGate(b)
	r := arrived(b, blobs, append(g.good(), "User-Agent: x", "Accept: */*", "Authorization: Bearer x", "X-Forwarded-For: 1.2.3.4", "X-Request-Id: a")...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Decide(r); err != nil {
			b.Fatal(err)
		}
	}
}
