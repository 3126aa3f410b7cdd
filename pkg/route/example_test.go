package route_test

import (
	"fmt"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
)

func Example() {
	held := permission.NewSet([]string{"context:list", "context:delete[ctx-1]"})
	for _, request := range [][2]string{
		{"GET", "/admin-api/contexts?limit=10"},
		{"DELETE", "/admin-api/contexts/ctx-1"},
		{"DELETE", "/admin-api/contexts/ctx-2"},
		{"GET", "/admin-api/health"},
		{"GET", "/admin-api/health/../contexts"},
		{"GET", "/admin-api/unknown"},
	} {
		method, target := request[0], request[1]
		path, _, err := route.Canonical(target)
		if err != nil {
			fmt.Println(method, target, "-", err)
			continue
		}
		m, _ := route.Node.Lookup(method, path)
		fmt.Println(method, target, "- public", m.Public(), "allowed", m.Allowed(held, true))
	}
	// Output:
	// GET /admin-api/contexts?limit=10 - public false allowed true
	// DELETE /admin-api/contexts/ctx-1 - public false allowed true
	// DELETE /admin-api/contexts/ctx-2 - public false allowed false
	// GET /admin-api/health - public true allowed true
	// GET /admin-api/health/../contexts - request target is not canonical: dot segment
	// GET /admin-api/unknown - public false allowed false
}
