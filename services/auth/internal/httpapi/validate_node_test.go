package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// nodeBindings says at which hosts a token bound to node_url may be used.
var nodeBindings = []struct {
	nodeURL string
	yes, no []string
}{
	{
		"https://node.example.com",
		[]string{"node.example.com", "NODE.Example.COM", "node.example.com:443"},
		[]string{
			"", "node.example.com:80", "node.example.com:8443", "node.example.com.", "evil.example.com", "example.com", "xnode.example.com",
			"node.example.com.evil.com", "evil.com/node.example.com", "node.example.com@evil.com", "evil.com#node.example.com",
			"node.example.com, evil.com", "node.example.com:443:443", "[node.example.com]", "auth", "auth:3001", "AUTH", "localhost", "127.0.0.1",
			"node.example.com:x", "https://node.example.com", "[node.example.com]:443", "[]", "[", "]", ":443", ":",
		},
	},
	{"http://node.example.com", []string{"node.example.com", "node.example.com:80"}, []string{"node.example.com:443", "node.example.com:8080"}},
	{
		"https://node.example.com:8443",
		[]string{"node.example.com", "node.example.com:8443"},
		[]string{"node.example.com:443", "node.example.com:84430", "node.example.com:08443"},
	},
	{"http://[::1]:2528", []string{"[::1]", "[::1]:2528"}, []string{"[::1]:80", "::1", "[::2]:2528", "localhost:2528"}},
	{"http://127.0.0.1:8080", []string{"127.0.0.1:8080", "127.0.0.1"}, []string{"127.0.0.1:8081", "localhost:8080", "127.0.0.2:8080"}},
	{"https://NODE.example.com", []string{"node.example.com"}, []string{"auth"}},
	// Without an http(s) host a claim binds nothing.
	{"ftp://node.example.com", []string{"", "anything", "auth:3001"}, nil},
	{"node.example.com", []string{"", "anything"}, nil},
	{"https://", []string{"", "anything"}, nil},
}

// TestTokenIsBoundToItsNode asks for each binding at each host in every form, and as a probe.
func TestTokenIsBoundToItsNode(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	for _, c := range nodeBindings {
		token := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"context:list"}, NodeURL: c.nodeURL})
		check := func(host string, want bool) {
			for _, form := range []string{"nginx", "traefik", "caddy", "haproxy"} {
				what := form + ": " + c.nodeURL + " at " + host
				got := s.Ask(t, authtest.Question{Form: form, Target: contexts, Host: host, Token: token.Access})
				if want {
					allowed(t, what, got, token, "context:list")
				} else {
					refused(t, what, got, http.StatusForbidden, identity.InvalidNode)
				}
			}
			if host == "" {
				return // an absent header; a Host line cannot be absent
			}
			got := s.Ask(t, authtest.Question{Token: token.Access, Headers: []string{"X-Forwarded-Host: " + host}})
			if want && got.Status != http.StatusOK || !want && got.Reason() != identity.InvalidNode {
				t.Errorf("probe: %s at %q: got %v, want allowed %v", c.nodeURL, host, got, want)
			}
		}
		for _, host := range c.yes {
			check(host, true)
		}
		for _, host := range c.no {
			check(host, false)
		}
	}
}

// TestNoHeaderSkipsTheNodeCheck: the host comes from the pinned family and nothing else. Reference: upstream let a
// token through when X-Forwarded-Host or Host was "auth", which any client can send.
func TestNoHeaderSkipsTheNodeCheck(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	token := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"context:list"}, NodeURL: "https://node.example.com"})
	for what, lines := range map[string][]string{
		"the other family's host":        {"X-Forwarded-Host: node.example.com"},
		"Host":                           {"Host: node.example.com"},
		"Forwarded":                      {"Forwarded: host=node.example.com"},
		"X-Host and X-Forwarded-Server":  {"X-Host: node.example.com", "X-Forwarded-Server: node.example.com"},
		"the service's name in Host":     {"Host: auth"},
		"the service's name, other host": {"X-Forwarded-Host: auth:3001"},
	} {
		got := s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Host: "evil.example.com", Token: token.Access, Headers: lines})
		refused(t, what, got, http.StatusForbidden, identity.InvalidNode)
		got = s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: token.Access, Headers: lines})
		refused(t, what+", no host member", got, http.StatusForbidden, identity.InvalidNode)
	}
	envoy := authtest.Question{Address: "/auth/validate/envoy" + contexts, Token: token.Access, Headers: []string{"Host: node.example.com", "X-Forwarded-Host: evil"}}
	allowed(t, "envoy at its host", s.Ask(t, envoy), token, "context:list")
	envoy.Headers = []string{"Host: evil.example.com", "X-Forwarded-Host: node.example.com"}
	refused(t, "envoy at another", s.Ask(t, envoy), http.StatusForbidden, identity.InvalidNode)
}

// TestProbeHost: X-Forwarded-Host counts from a proxy alone.
func TestProbeHost(t *testing.T) {
	s := authtest.Start(t, authtest.Trusting("127.0.0.9/32"))
	root := s.Root(t, "admin")
	token := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"context:list"}, NodeURL: "https://node.example.com"})
	for _, c := range []struct {
		from  string
		lines []string
		want  bool
	}{
		{"127.0.0.10", []string{"Host: node.example.com"}, true},
		{"127.0.0.10", []string{"Host: evil.example", "X-Forwarded-Host: node.example.com"}, false},
		{"127.0.0.10", []string{"Host: node.example.com", "X-Forwarded-Host: evil.example"}, true},
		{"127.0.0.9", []string{"Host: node.example.com"}, true},
		{"127.0.0.9", []string{"Host: auth", "X-Forwarded-Host: node.example.com"}, true},
		{"127.0.0.9", []string{"Host: node.example.com", "X-Forwarded-Host: evil.example"}, false},
		{"127.0.0.9", []string{"Host: node.example.com", "X-Forwarded-Host:"}, false},
		{"127.0.0.9", []string{"Host: node.example.com", "X-Forwarded-Host: node.example.com", "X-Forwarded-Host: node.example.com"}, false},
	} {
		got := s.Ask(t, authtest.Question{Token: token.Access, From: c.from, Headers: c.lines})
		if c.want && got.Status != http.StatusOK || !c.want && got.Reason() != identity.InvalidNode {
			t.Errorf("%s %q: got %v, want allowed %v", c.from, c.lines, got, c.want)
		}
	}
}

// TestNodeHostsReplaceTheRequest: with jwt.node_hosts the gate knows for which hosts it stands, and no header counts.
func TestNodeHostsReplaceTheRequest(t *testing.T) {
	s := authtest.Start(t, func(c *config.Config) { c.JWT.NodeHosts = []string{"node.example.com", "other.example.com:8443"} })
	root := s.Root(t, "admin")
	for nodeURL, want := range map[string]bool{
		"https://node.example.com":       true,
		"https://node.example.com:8443":  true, // the configured host names no port
		"https://other.example.com:8443": true,
		"https://other.example.com":      false,
		"https://third.example.com":      false,
		"":                               true,
	} {
		token := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"context:list"}, NodeURL: nodeURL})
		for _, host := range []string{"", "node.example.com", "third.example.com"} {
			got := s.Ask(t, authtest.Question{Form: "caddy", Target: contexts, Host: host, Token: token.Access})
			what := nodeURL + " at " + host
			if want {
				allowed(t, what, got, token, "context:list")
			} else {
				refused(t, what, got, http.StatusForbidden, identity.InvalidNode)
			}
		}
	}
}

// TestOrderOfRefusals: which of several faults is named, as clients and operators rely on it.
func TestOrderOfRefusals(t *testing.T) {
	s := authtest.Start(t, authtest.Trusting("127.0.0.9/32"))
	root := s.Root(t, "admin")
	bound := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"blob:list"}, NodeURL: "https://node.example.com"})
	ask := func(from, target, host, token string) authtest.Answer {
		return s.Ask(t, authtest.Question{Form: "nginx", From: from, Target: target, Host: host, Token: token})
	}
	refused(t, "peer before credential", ask("127.0.0.10", contexts, "", ""), http.StatusForbidden, identity.InvalidTarget)
	refused(t, "credential before node and form", ask("127.0.0.9", "//x", "evil", ""), http.StatusUnauthorized, identity.MissingToken)
	refused(t, "node before form", ask("127.0.0.9", "//x", "evil", bound.Access), http.StatusForbidden, identity.InvalidNode)
	refused(t, "form before permission", ask("127.0.0.9", "//x", "node.example.com", bound.Access), http.StatusForbidden, identity.InvalidTarget)
	refused(t, "permission", ask("127.0.0.9", contexts, "node.example.com", bound.Access), http.StatusForbidden, identity.PermissionDenied)
	nobody(t, "public before credential", ask("127.0.0.9", "/admin-api/health", "evil", bound.Access))
}
