package app_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/node/internal/config"
)

func signingKey(t *testing.T, first byte) assertion.SigningKey {
	t.Helper()
	seed := make([]byte, 32)
	for i := range seed {
		seed[i] = first + byte(i*i)
	}
	k, err := assertion.NewSigningKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signed sends a request as the gate lets it through, with what sign makes of the claim.
func (n *node) signed(t *testing.T, sign func(assertion.Claim, time.Time) string) int {
	t.Helper()
	r := request(t, http.MethodGet, n.url("/admin-api/blobs"), nil)
	n.grant(r, "k1", "blob")
	c := assertion.Claim{Key: "k1", Permissions: "blob", Expires: r.Header.Get(identity.HeaderExpires), Method: r.Method, Target: r.URL.RequestURI()}
	r.Header.Set(identity.HeaderAssertion, sign(c, time.Now().Add(time.Minute)))
	return do(t, r).StatusCode
}

// keyPublisher is a gate that publishes its keys, or answers 503 while it has none.
func keyPublisher(t *testing.T) (server *httptest.Server, publish func(...assertion.PublicKey)) {
	t.Helper()
	var text atomic.Pointer[[]byte]
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if set := text.Load(); set != nil {
			_, _ = w.Write(*set)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	return server, func(keys ...assertion.PublicKey) {
		set := assertion.FormatJWKS(keys...)
		text.Store(&set)
	}
}

// TestPublishedKeys_FromAFile: the node serves on public keys alone, so whoever takes over the node cannot sign.
func TestPublishedKeys_FromAFile(t *testing.T) {
	key, next := signingKey(t, 1), signingKey(t, 2)
	dir := t.TempDir()
	path := filepath.Join(dir, "jwks.json")
	writeJWKS(t, path, key.Public())
	n := start(t, dir, func(c *config.Config) {
		c.Server.Proxy.AssertionKeyFile, c.Server.Proxy.AssertionJWKSFile = "", "jwks.json"
	})
	if got := n.signed(t, key.Sign); got != 200 {
		t.Errorf("signed by the gate: %d", got)
	}
	for what, sign := range map[string]func(assertion.Claim, time.Time) string{
		"by another key":           next.Sign,
		"with the shared key (v1)": n.keys.Sign,
		"for another permission": func(c assertion.Claim, exp time.Time) string {
			c.Permissions = "admin"
			return key.Sign(c, exp)
		},
		"not at all": func(assertion.Claim, time.Time) string { return "" },
	} {
		if got := n.signed(t, sign); got != 401 {
			t.Errorf("signed %s: %d, want 401", what, got)
		}
	}
	writeJWKS(t, path, next.Public())
	if err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := n.signed(t, next.Sign); got != 200 {
		t.Errorf("signed by the new key: %d", got)
	}
	if got := n.signed(t, key.Sign); got != 401 {
		t.Errorf("signed by the key that was withdrawn: %d, want 401", got)
	}
}

func writeJWKS(t *testing.T, path string, keys ...assertion.PublicKey) {
	t.Helper()
	if err := os.WriteFile(path, assertion.FormatJWKS(keys...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPublishedKeys_GateStartsAfterTheNode: the node is up, says why it serves nobody, and serves when the gate is there.
func TestPublishedKeys_GateStartsAfterTheNode(t *testing.T) {
	key := signingKey(t, 1)
	gate, publish := keyPublisher(t)
	n := start(t, t.TempDir(), func(c *config.Config) {
		c.Server.Proxy.AssertionKeyFile, c.Server.Proxy.AssertionJWKSURL = "", gate.URL+"/auth/keys"
	})
	n.log.await("the gate's keys could not be read")
	if got := n.signed(t, key.Sign); got != 401 {
		t.Errorf("before the gate is there: %d, want 401", got)
	}
	if n.log.contains("INSECURE") {
		t.Error("plain http on this host is called insecure")
	}
	publish(key.Public())
	if err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := n.signed(t, key.Sign); got != 200 {
		t.Errorf("when the gate is there: %d", got)
	}
	gate.Close()
	if got := n.signed(t, key.Sign); got != 200 {
		t.Errorf("when the gate's keys cannot be read any more: %d, want the known ones to be good", got)
	}
}

func TestPublishedKeys_PlainHTTPIsLoud(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) {
		c.Server.Proxy.AssertionKeyFile, c.Server.Proxy.AssertionJWKSURL = "", "http://0.0.0.0:1/auth/keys"
	})
	if !n.log.contains("INSECURE unless the network to the gate is") {
		t.Error("keys from another host over plain http are not called insecure")
	}
}

func TestPublishedKeys_FileMustBeThere(t *testing.T) {
	for name, file := range map[string]string{"absent": "none.json", "no set": "assertion.keys"} {
		err := fail(t, t.TempDir(), func(c *config.Config) {
			c.Server.Proxy.AssertionKeyFile, c.Server.Proxy.AssertionJWKSFile = "", file
		})
		if err == nil {
			t.Errorf("%s: it starts", name)
		}
	}
}
