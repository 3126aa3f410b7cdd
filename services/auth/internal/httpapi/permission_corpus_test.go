package httpapi_test

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
)

// permissionCorpus is the corpus of the permission language; package permission tests it below the HTTP surface.
const permissionCorpus = "../../../../pkg/permission/testdata/permission_cases.json"

type permissionCase struct {
	ID       string
	Granted  []string
	Required string
	Expect   string
	Storable bool
}

// routeOf returns a request to the node that needs the required permission, "" if no single request does.
func routeOf(required string) (method, target string) {
	id := func(prefix string) string {
		rest, found := strings.CutPrefix(required, prefix+":specific:")
		if !found {
			rest, found = strings.CutPrefix(required, prefix+"[")
			rest = strings.TrimSuffix(rest, "]")
		}
		if !found || rest == "" || strings.ContainsAny(rest, ":%") {
			return ""
		}
		return rest
	}
	switch required {
	case "context:list", "context:list:global":
		return http.MethodGet, "/admin-api/contexts"
	case "context:create":
		return http.MethodPost, "/admin-api/contexts"
	case "context:execute":
		return http.MethodPost, "/jsonrpc"
	case "context:alias:create:context":
		return http.MethodPost, "/admin-api/alias/create/context"
	case "admin":
		return http.MethodGet, "/admin-api/peers"
	}
	for prefix, path := range map[string]string{
		"context:read": "/admin-api/contexts/", "application:list": "/admin-api/applications/", "blob:get": "/admin-api/blobs/",
	} {
		if value := id(prefix); value != "" {
			return http.MethodGet, path + value
		}
	}
	return "", ""
}

// withoutRoute are the cases whose permission no single request to the node asks for: contexts are executed in by
// their id in a body, keys are administered at mero-auth (TestMatrix), and the rest is no permission at all.
var withoutRoute = []string{
	"basic-04", "basic-05", "basic-06", "scope-specific-other", "scope-specific-no-value", "scope-specific-empty-value",
	"scope-required-empty-value", "scope-value-colon-required-short", "scope-five-parts", "scope-value-slash", "admin-all",
	"admin-keys", "wild-required-star", "resource-only-package", "resource-only-keys", "h-blob-sub-other", "h-alias-seed", "br-id",
	"br-unclosed", "br-trailing", "br-space", "bind-other", "exec-implies-subscribe",
}

// TestPermissionCorpus_AtTheGate puts every case of the corpus to the running service: what is not storable is refused
// when a client key asks for it, and a key that holds the list all the same (written past the API) is allowed exactly
// what the case says.
func TestPermissionCorpus_AtTheGate(t *testing.T) {
	raw, err := os.ReadFile(permissionCorpus)
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct{ Cases []permissionCase }
	if err := json.Unmarshal(raw, &corpus); err != nil {
		t.Fatal(err)
	}
	if len(corpus.Cases) != 77 {
		t.Fatalf("%d cases, want 77", len(corpus.Cases))
	}
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	var unrouted []string
	for _, c := range corpus.Cases {
		body, err := json.Marshal(map[string]any{"permissions": c.Granted})
		if err != nil {
			t.Fatal(err)
		}
		want := http.StatusBadRequest
		if c.Storable && permission.Validate(c.Granted) == nil { // the corpus knows no limits of length
			want = http.StatusOK
		}
		if got := postAs(t, s, root.Access, "/admin/client-key", string(body)); got != want {
			t.Errorf("%s: a client key with %.200q: %d, want %d", c.ID, c.Granted, got, want)
		}
		method, target := routeOf(c.Required)
		if target == "" {
			unrouted = append(unrouted, c.ID)
			continue
		}
		key := s.Client(t, root, "admin")
		s.SetPermissions(t, key.Key, c.Granted...)
		answer := s.Ask(t, authtest.Question{Form: "nginx", Method: method, Target: target, Token: key.Access})
		want = http.StatusForbidden
		if c.Expect == "allow" && len(permission.Join(c.Granted)) <= permission.MaxJoined {
			want = http.StatusOK
		}
		if answer.Status != want {
			t.Errorf("%s: %.200q for %s %s (%s): %d, want %d", c.ID, c.Granted, method, target, c.Required, answer.Status, want)
		}
	}
	if !slices.Equal(unrouted, withoutRoute) {
		t.Errorf("cases without a route:\n%q\nwant\n%q", unrouted, withoutRoute)
	}
}

// postAs sends a JSON body with a token and returns the status.
func postAs(t *testing.T, s *authtest.Service, token, path, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}
