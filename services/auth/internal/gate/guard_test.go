package gate_test

import (
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
)

// direct is a request to the node itself.
func direct(method, target, token string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	r.RequestURI, r.RemoteAddr, r.Host = target, "203.0.113.9:4000", "node.example"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// TestGuard_JudgesTheRequestItself: no header that a proxy would send moves the target, the method, the host or the
// identity, and the order of the refusals is that behind a proxy.
func TestGuard_JudgesTheRequestItself(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	client := s.Client(t, root, "blob:list")
	bound := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"blob:list"}, NodeURL: "https://other.example"})
	spoof := []string{
		"X-Original-Uri", "/admin-api/health", "X-Original-Method", "GET", "X-Forwarded-Uri", "/admin-api/health", "X-Forwarded-Method", "GET",
		"X-Forwarded-Host", "other.example", "X-Original-Host", "other.example", "X-Auth-Key", root.Key, "X-Auth-Permissions", "admin",
	}
	for _, tt := range []struct {
		method, target, token string
		reason                string // "" for an allowed request
		key                   string
	}{
		{"GET", "/admin-api/blobs", client.Access, "", client.Key},
		{"HEAD", "/admin-api/blobs", client.Access, "", client.Key},
		{"GET", "/admin-api/contexts", client.Access, identity.PermissionDenied, ""},
		{"POST", "/admin-api/health", "", identity.MissingToken, ""},
		{"GET", "/admin-api/health", "", "", ""},
		{"GET", "/admin-api/health", client.Access, "", client.Key},
		{"GET", "/admin-api/health", client.Access + "x", "", ""},
		{"GET", "/admin-api/blobs", "", identity.MissingToken, ""},
		{"GET", "/admin-api/blobs", client.Refresh, identity.InvalidToken, ""},
		{"GET", "/admin-api/blobs", bound.Access, identity.InvalidNode, ""},
		{"GET", "//admin-api/blobs", "", identity.MissingToken, ""},
		{"GET", "//admin-api/blobs", root.Access, identity.InvalidTarget, ""},
		{"GET", "/admin-api/../admin-api/health", client.Access, identity.InvalidTarget, ""},
		{"GET", "/unknown", client.Access, identity.PermissionDenied, ""},
		{"GET", "/unknown", root.Access, "", root.Key},
		{"OPTIONS", "/admin-api/blobs", client.Access, identity.PermissionDenied, ""},
		{"GET", "/ws?token=" + root.Access, "", "", root.Key},
		{"GET", "/sse?x=1&token=" + root.Access, "", "", root.Key},
		{"GET", "/admin-api/blobs?token=" + root.Access, "", identity.MissingToken, ""},
		{"GET", "/ws?token=" + root.Access, client.Refresh, identity.InvalidToken, ""},
	} {
		var match route.Match
		session, err := s.Gate.Guard(direct(tt.method, tt.target, tt.token, spoof...), &match)
		key := ""
		if session != nil {
			key = session.KeyID
		}
		if fault.ReasonOf(err) != tt.reason || (err == nil) != (tt.reason == "") || key != tt.key {
			t.Errorf("%s %.40s: %q, %v, want %q, reason %q", tt.method, tt.target, key, err, tt.key, tt.reason)
		}
	}
}

// TestLease: whatever takes rights away ends a lease with the reason that a request would get, and what takes none away
// does not.
func TestLease(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	ask := func(err error) string {
		switch {
		case err == nil:
			return "good"
		case errors.Is(err, gate.ErrNarrowed):
			return "narrowed"
		}
		return fault.ReasonOf(err)
	}
	for _, tt := range []struct {
		name, want string
		change     func(of authtest.Token)
	}{
		{"nothing", "good", func(authtest.Token) {}},
		{"another key revoked", "good", func(authtest.Token) { s.RevokeKey(t, s.Client(t, root, "blob").Key) }},
		{"time passes", "good", func(authtest.Token) { s.Clock.Advance(time.Minute) }}, // the end is the caller's to watch
		{"widened", "good", func(of authtest.Token) { s.SetPermissions(t, of.Key, "context:subscribe", "blob:list", "blob:add") }},
		{"session revoked", identity.TokenRevoked, func(of authtest.Token) { s.RevokeFamily(t, of.Family) }},
		{"key revoked", identity.TokenRevoked, func(of authtest.Token) { s.RevokeKey(t, of.Key) }},
		{"narrowed", "narrowed", func(of authtest.Token) { s.SetPermissions(t, of.Key, "blob:list") }},
		{"narrowed beside the stream's right", "narrowed", func(of authtest.Token) { s.SetPermissions(t, of.Key, "context:subscribe") }},
	} {
		token := s.Client(t, root, "context:subscribe", "blob:list")
		r := direct("GET", "/ws", token.Access)
		var match route.Match
		session, err := s.Gate.Guard(r, &match)
		if err != nil {
			t.Fatal(err)
		}
		lease := s.Gate.Lease(r, session, &match)
		if got := ask(lease.Check(t.Context())); got != "good" {
			t.Fatalf("%s, before: %s", tt.name, got)
		}
		tt.change(token)
		for range 2 { // also when it was asked before
			if got := ask(lease.Check(t.Context())); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
	}
	if s.Gate.Lease(direct("GET", "/admin-api/health", ""), nil, &route.Match{}) != nil {
		t.Error("a lease of nobody")
	}
}

// TestLease_StoreFails: when nobody can tell, the lease is not good.
func TestLease_StoreFails(t *testing.T) {
	s := authtest.Start(t)
	token := s.Client(t, s.Root(t, "admin"), "context:subscribe")
	r := direct("GET", "/ws", token.Access)
	var match route.Match
	session, err := s.Gate.Guard(r, &match)
	if err != nil {
		t.Fatal(err)
	}
	lease := s.Gate.Lease(r, session, &match)
	s.RevokeFamily(t, token.Family)
	s.Break(t)
	if err := lease.Check(t.Context()); err == nil {
		t.Error("good, though the store is gone")
	}
}

func TestLease_CheckAllocatesNothing(t *testing.T) {
	s := authtest.Start(t)
	r := direct("GET", "/ws", s.Root(t, "admin").Access)
	var match route.Match
	session, err := s.Gate.Guard(r, &match)
	if err != nil {
		t.Fatal(err)
	}
	lease := s.Gate.Lease(r, session, &match)
	n := math.Inf(1)
	for range 10 { // the service beside allocates, too
		n = min(n, testing.AllocsPerRun(100, func() { _ = lease.Check(t.Context()) }))
	}
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}
