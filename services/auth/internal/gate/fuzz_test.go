package gate_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
)

// FuzzForwarded puts forwarded targets, methods and hosts to the gate in every form. Whoever is let through asked for a
// canonical target whose row the grant covers, or which is public; without a token, for a public one alone.
func FuzzForwarded(f *testing.F) {
	raw, err := os.ReadFile("../httpapi/testdata/uri_cases.json")
	if err != nil {
		f.Fatal(err)
	}
	var corpus struct {
		Cases []struct{ Headers [][2]json.RawMessage }
	}
	if err := json.Unmarshal(raw, &corpus); err != nil {
		f.Fatal(err)
	}
	for i, c := range corpus.Cases {
		uri, method := "", "GET"
		for _, h := range c.Headers {
			var name, value string
			if json.Unmarshal(h[0], &name) != nil || json.Unmarshal(h[1], &value) != nil {
				continue // a long value is compressed
			}
			switch name = strings.ToLower(name); {
			case strings.HasSuffix(name, "-uri"):
				uri = value
			case strings.HasSuffix(name, "-method"):
				method = value
			}
		}
		f.Add(byte(i), uri, method, "node.example", "")
	}
	f.Add(byte(0), "/ws?token={token}", "GET", "node.example", "")
	f.Add(byte(1), "/admin-api/contexts", "OPTIONS", "node.example", "https://app.example")
	s := authtest.Start(f)
	token := s.Client(f, s.Root(f, "admin"), "context:list").Access
	grant := permission.NewSet([]string{"context:list"})
	f.Fuzz(func(t *testing.T, form byte, uri, method, host, origin string) {
		uri = strings.ReplaceAll(uri, "{token}", token)
		for _, bearer := range []string{"", token} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/auth/validate", http.NoBody)
			r.RemoteAddr = "127.0.0.1:40000"
			name := []string{"nginx", "traefik", "caddy", "haproxy", "envoy"}[int(form)%5]
			r.URL.RawQuery, r.RequestURI = "proxy="+name, "/auth/validate?proxy="+name
			switch name {
			case "nginx":
				r.Header = http.Header{"X-Original-Uri": {uri}, "X-Original-Method": {method}, "X-Original-Host": {host}}
			case "envoy":
				r.URL.RawQuery, r.RequestURI, r.Method, r.Host = "", "/auth/validate/envoy"+uri, method, host
			default:
				r.Header = http.Header{"X-Forwarded-Uri": {uri}, "X-Forwarded-Method": {method}, "X-Forwarded-Host": {host}}
			}
			if bearer != "" {
				r.Header.Set("Authorization", "Bearer "+bearer)
			}
			if origin != "" {
				r.Header.Set("Origin", origin)
				r.Header.Set("Access-Control-Request-Method", "GET")
			}
			decision, err := s.Gate.Decide(r)
			if err != nil {
				continue
			}
			path, query, bad := route.Canonical(uri)
			if bad != nil {
				t.Fatalf("%s: %q passes, which is not canonical: %v", name, uri, bad)
			}
			match, _ := route.Node.Lookup(method, path)
			preflight := method == http.MethodOptions && origin != ""
			inQuery := strings.Contains(query, "token=") && (path == "/ws" || path == "/sse")
			switch {
			case preflight || match.Public():
			case bearer == "" && !inQuery:
				t.Fatalf("%s: %s %q passes without a token: %+v", name, method, uri, decision)
			case !match.Allowed(grant, true):
				t.Fatalf("%s: %s %q passes with context:list", name, method, uri)
			}
		}
	})
}
