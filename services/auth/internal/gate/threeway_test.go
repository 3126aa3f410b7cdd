package gate_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
)

// TestEveryRouteAsksTokenKeyAndRoot goes through all routes of the node and all ways in which token, key and root can hold
// what the route needs or everything but that: the request passes if and only if all three hold it. A list that is
// narrowed after the token was cached is judged the same.
func TestEveryRouteAsksTokenKeyAndRoot(t *testing.T) {
	s := authtest.Start(t)
	asked := 0
	for row := range route.Node.All() {
		if row.Guard == route.Public {
			continue
		}
		target := concrete(row.Pattern)
		match, found := route.Node.Lookup(row.Method, target)
		if !found {
			t.Fatalf("%s: %s has no row", row, target)
		}
		for _, need := range needs(&match) {
			for holders := range 8 {
				lists := [3][]string{}
				for i := range lists {
					if lists[i] = []string{"keys:list"}; holders>>i&1 == 1 {
						lists[i] = []string{"keys:list", need}
					}
				}
				root := s.Root(t, lists[2]...)
				client := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: lists[1], Token: lists[0]})
				r := question(t, row.Method, target, client.Access)
				what := fmt.Sprintf("%s %s with %q held by token, key, root: %03b", row.Method, target, need, holders)
				for _, seen := range []string{"new", "cached"} {
					_, err := s.Gate.Decide(r)
					if allowed := holders == 7; allowed != (err == nil) || (!allowed && fault.ReasonOf(err) != identity.PermissionDenied) {
						t.Errorf("%s, %s token: %v", what, seen, err)
					}
					asked++
				}
				if holders != 7 {
					continue
				}
				for i, id := range []string{client.Key, root.Key} {
					s.SetPermissions(t, id, "keys:list")
					if _, err := s.Gate.Decide(r); fault.ReasonOf(err) != identity.PermissionDenied {
						t.Errorf("%s, then taken from list %d: %v", what, i+1, err)
					}
					s.SetPermissions(t, id, lists[1]...)
					if _, err := s.Gate.Decide(r); err != nil {
						t.Errorf("%s, then given back: %v", what, err)
					}
				}
			}
		}
	}
	if asked < 100*16 {
		t.Errorf("only %d questions", asked)
	}
	// A root key is its own root: two lists.
	for holders := range 4 {
		lists := [2][]string{}
		for i := range lists {
			if lists[i] = []string{"keys:list"}; holders>>i&1 == 1 {
				lists[i] = []string{"context:list"}
			}
		}
		token := s.Mint(t, authtest.Mint{Permissions: lists[1], Token: lists[0]})
		if _, err := s.Gate.Decide(question(t, http.MethodGet, "/admin-api/contexts", token.Access)); (holders == 3) != (err == nil) {
			t.Errorf("a root key, %02b: %v", holders, err)
		}
	}
}

// concrete fills in the parameters of a pattern.
func concrete(pattern string) string {
	segments := strings.Split(pattern, "/")
	for i, segment := range segments {
		if strings.HasPrefix(segment, "{") {
			segments[i] = "x1"
		}
	}
	return strings.Join(segments, "/")
}

// needs returns the permissions each of which is enough for a request.
func needs(m *route.Match) []string {
	var all []string
	for _, n := range m.Row.Needs {
		words, field, limited := strings.Cut(n.Permission, "[")
		if limited {
			words += "[" + m.Param(strings.TrimSuffix(field, "]")) + "]"
		}
		all = append(all, words)
	}
	return append(all, "admin")
}
