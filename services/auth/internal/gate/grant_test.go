package gate_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
)

// TestShortcutsChangeNothing compares what sessions hold, for lists put together at random, with the three lists
// judged one by one and narrowed in full.
func TestShortcutsChangeNothing(t *testing.T) {
	s := authtest.Start(t)
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{
		"admin", "context", "context:list", "context:read[c1]", "context:read[c2]", "context:execute", "context:execute[c1]", "context:execute[c1,u1]",
		"context[c1]", "context[c2]", "context[c1,u1]", "blob", "blob:list", "application:list", "Admin", "nonsense", "context:list", "admin",
	}
	pick := func() []string {
		list := []string{}
		for range random.IntN(4) {
			list = append(list, words[random.IntN(len(words))])
		}
		return list
	}
	requests := []struct{ method, path string }{
		{"GET", "/admin-api/contexts"},
		{"GET", "/admin-api/contexts/c1"},
		{"GET", "/admin-api/contexts/c2"},
		{"DELETE", "/admin-api/contexts/c1"},
		{"GET", "/admin-api/blobs"},
		{"GET", "/admin-api/applications"},
		{"POST", "/jsonrpc"},
		{"GET", "/ws"},
		{"GET", "/no-such-route"},
	}
	equal, unlimited, allowed := 0, 0, 0
	for range 3000 {
		token, key, root := pick(), pick(), pick()
		if random.IntN(2) == 0 {
			token = key
		}
		if random.IntN(2) == 0 {
			root = []string{"admin"}
		}
		if slices.Equal(token, key) {
			equal++
		}
		if slices.Equal(root, []string{"admin"}) {
			unlimited++
		}
		owner := s.Root(t, root...)
		client := s.Mint(t, authtest.Mint{Root: owner.Key, Permissions: key, Token: token})
		session, err := s.Gate.Sessions.Authenticate(t.Context(), client.Access)
		if err != nil {
			t.Fatal(err)
		}
		if want := permission.Effective(token, key, root); !slices.Equal(session.Permissions, want) {
			t.Errorf("token %q key %q root %q: the node gets %q, want %q", token, key, root, session.Permissions, want)
		}
		for _, r := range requests {
			match, _ := route.Node.Lookup(r.method, r.path)
			want := true
			for _, list := range [][]string{token, key, root} {
				want = want && match.Allowed(permission.NewSet(list), true)
			}
			if got := session.Rights.Meets(&match, true); got != want {
				t.Errorf("token %q key %q root %q, %s %s: %v, want %v", token, key, root, r.method, r.path, got, want)
			}
			if want {
				allowed++
			}
		}
	}
	if equal < 1000 || unlimited < 1000 || allowed < 1000 {
		t.Errorf("%d equal lists, %d unlimited roots, %d requests allowed: too few to prove anything", equal, unlimited, allowed)
	}
}
