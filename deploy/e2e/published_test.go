package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// publishing is a stack whose node holds no key that signs: the gate signs with Ed25519, and the node reads the public
// keys from the file that the gate keeps.
func publishing(t *testing.T) *administered {
	t.Helper()
	return loggedIn(t, start(t, stack.Settings{
		Record: true,
		Auth:   map[string]string{"AUTH_ASSERTION__ALGORITHM": "ed25519", "AUTH_ASSERTION__JWKS_FILE": "data/link/jwks.json"},
		Node: map[string]string{
			"MEROD_SERVER__PROXY__ASSERTION_KEY_FILE":  "",
			"MEROD_SERVER__PROXY__ASSERTION_JWKS_FILE": "../link/jwks.json",
		},
	}))
}

func TestPublishedKeys(t *testing.T) {
	t.Parallel()
	a := publishing(t)
	key := a.token(t, "context:list", "blob:list")
	r := a.recordedRequest(t, http.MethodGet, "/admin-api/contexts", key)
	assertion := r.Values("X-Auth-Assertion")
	if len(assertion) != 1 || !strings.HasPrefix(assertion[0], "v2.") {
		t.Fatalf("the node got the assertions %q, want one of version 2", assertion)
	}
	node := a.local.NodeAddr
	if got := direct(t, node, r); got.status != http.StatusOK {
		t.Errorf("what the gate signed: %d", got.status)
	}
	refusedByNode(t, "another permission", direct(t, node, with(r, "X-Auth-Permissions", "admin")))
	refusedByNode(t, "no assertion", direct(t, node, with(r, "X-Auth-Assertion", "")))
	refusedByNode(t, "relabelled as version 1", direct(t, node, with(r, "X-Auth-Assertion", "v1"+assertion[0][2:])))

	published := a.call(t, http.MethodGet, "/auth/keys", "", nil)
	file, err := os.ReadFile(filepath.Join(a.local.Dir, "data", "link", "jwks.json"))
	if err != nil || string(published.body) != string(file) {
		t.Errorf("/auth/keys answers %d %q, the file holds %q, %v", published.status, published.body, file, err)
	}

	// A rotation at once: the node reads the new key by itself, and what the old one signed is void then.
	if _, err := a.local.Operate(t.Context(), "secrets", "rotate", "--kind", "jwks", "--now"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; { // it looks at most once a second, and has just read them
		got := a.call(t, http.MethodGet, "/admin-api/contexts", key, nil)
		if got.status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			got.want(t, http.StatusOK)
		}
	}
	refusedByNode(t, "signed by the key that was withdrawn", direct(t, node, r))
}
