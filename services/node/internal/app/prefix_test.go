package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/node/internal/config"
)

const prefix = "/a/node1"

// Below the prefix there is everything, and outside of it nothing.
func TestPathPrefix_OneAddressForEveryRoute(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { open(c); c.Server.PathPrefix = prefix })
	for target, status := range map[string]int{
		"/admin-api/health": 200, "/admin-api/ready": 200, "/admin-api/contexts": 200, "/admin-api/contexts?limit=1": 200, "/metrics": 200,
		"/": 302, "/admin-dashboard": 301, "/admin-api/nothing": 404, "//admin-api/health": 404, "/..%2fadmin-api/health": 404, prefix + "/admin-api/health": 404,
	} {
		a := do(t, request(t, http.MethodGet, n.url(prefix+target), nil))
		if a.StatusCode != status {
			t.Errorf("%s below the prefix: %s %s, want %d", target, a.Status, a.body, status)
		}
		if to := a.Header.Get("Location"); status/100 == 3 && to != prefix+"/admin-dashboard/" {
			t.Errorf("%s: redirected to %q", target, to)
		}
	}
	for _, target := range []string{
		"/", "/admin-api/health", "/admin-api/contexts", "/metrics", "/jsonrpc", "/ws", "/sse", "/admin-dashboard", prefix, prefix + "?x", "/a", "/a/", "/a/node10/admin-api/health",
		"/a%2fnode1/admin-api/health", "/a//node1/admin-api/health", "/x/.." + prefix + "/admin-api/health", "/A/node1/admin-api/health",
	} {
		a := do(t, request(t, http.MethodGet, n.url(target), nil))
		expect(t, a, 404, `{"error":"no such route"}`)
		if a.Header.Get("X-Request-Id") == "" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", target, a.Header)
		}
	}
	rpc := request(t, http.MethodPost, n.url(prefix+"/jsonrpc"), strings.NewReader(`[]`))
	rpc.Header.Set("Content-Type", "application/json")
	if a := do(t, rpc); a.StatusCode != 200 {
		t.Errorf("/jsonrpc: %s", a.Status)
	}
	if a := do(t, request(t, http.MethodHead, n.url(prefix+"/sse"), nil)); a.StatusCode != 200 {
		t.Errorf("/sse: %s", a.Status)
	}
	handshake := "GET " + prefix + "/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if a := raw(t, n.addr, http.MethodGet, []byte(handshake)); a.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("/ws: %s", a.Status)
	}
}

// The gate's signature is over the target that reached the gate, and that is the one that reached the node: with the prefix.
func TestPathPrefix_AssertionCoversWhatArrived(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Server.PathPrefix = prefix })
	if a := n.as(t, "context:list", http.MethodGet, prefix+"/admin-api/contexts", nil); a.StatusCode != 200 {
		t.Errorf("signed as it arrived: %s %s", a.Status, a.body)
	}
	if a := n.as(t, "blob", http.MethodGet, prefix+"/admin-api/contexts", nil); a.StatusCode != 403 {
		t.Errorf("without the permission of the route: %s", a.Status)
	}
	for _, signed := range []string{"/admin-api/contexts", prefix + "/admin-api/blobs", prefix + "/admin-api/contexts?x", prefix + prefix + "/admin-api/contexts"} {
		other := request(t, http.MethodGet, n.url(signed), nil)
		n.grant(other, "k1", "admin")
		r := request(t, http.MethodGet, n.url(prefix+"/admin-api/contexts"), nil)
		r.Header = other.Header
		if a := do(t, r); a.StatusCode != 401 {
			t.Errorf("replayed from %s: %s, want 401", signed, a.Status)
		}
	}
	if a := do(t, request(t, http.MethodGet, n.url(prefix+"/admin-api/health"), nil)); a.StatusCode != 200 {
		t.Errorf("a public route: %s", a.Status)
	}
	n.log.await("the gate's route table knows no prefix")
}

// A proxy that asks the gate without the prefix binds the assertion to the identity.
func TestPathPrefix_AssertionBoundToTheIdentity(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Server.PathPrefix, c.Server.Proxy.AssertionBind = prefix, "identity" })
	r := request(t, http.MethodGet, n.url(prefix+"/admin-api/contexts"), nil)
	n.grant(r, "k1", "context:list")
	r.Header.Set(identity.HeaderAssertion, n.keys.Sign(assertion.Claim{
		Bind: assertion.BindIdentity, Key: "k1", Permissions: "context:list", Expires: r.Header.Get(identity.HeaderExpires),
	}, time.Now().Add(time.Minute)))
	if a := do(t, r); a.StatusCode != 200 {
		t.Errorf("%s %s", a.Status, a.body)
	}
	if n.log.contains("knows no prefix") {
		t.Error("warned of what does not concern this binding")
	}
}
