package route_test

import (
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
)

const binding = "context[ctx-1,member-pk-1]"

// appCalls lists, for each permission that existing apps ask for, the calls that it is there for. Calls that name
// a context name ctx-1.
var appCalls = map[string][]string{
	"context:create": {"POST /admin-api/contexts"},
	"context:list": {
		"GET /admin-api/contexts", "HEAD /admin-api/contexts",
		"GET /admin-api/contexts/ctx-1", "GET /admin-api/contexts/ctx-1/identities",
		"GET /admin-api/contexts/ctx-1/identities-owned", "GET /admin-api/contexts/ctx-1/storage",
		"GET /admin-api/contexts/ctx-1/group", "GET /admin-api/contexts/ctx-1/client-keys",
		"GET /admin-api/contexts/for-application/app-1",
		"GET /admin-api/contexts/with-executors/for-application/app-1",
	},
	"context:execute": {
		"POST /jsonrpc", "GET /ws", "GET /sse", "POST /sse/subscription", "GET /sse/session/17",
		"POST /admin-api/contexts/sync", "POST /admin-api/contexts/sync/", "POST /admin-api/contexts/sync/ctx-1",
		"POST /admin-api/contexts/ctx-1/sync", "POST /admin-api/contexts/ctx-1/resync",
		"POST /admin-api/contexts/ctx-1/join", "POST /admin-api/contexts/ctx-1/leave",
		"POST /admin-api/contexts/join", "POST /admin-api/identity/context",
	},
	"context:alias": {
		"POST /admin-api/alias/create/context", "POST /admin-api/alias/create/application",
		"POST /admin-api/alias/create/identity/ctx-1", "POST /admin-api/alias/lookup/context/n",
		"POST /admin-api/alias/lookup/application/n", "POST /admin-api/alias/lookup/identity/ctx-1/n",
		"POST /admin-api/alias/delete/context/n", "POST /admin-api/alias/delete/application/n",
		"POST /admin-api/alias/delete/identity/ctx-1/n", "GET /admin-api/alias/list/context",
		"GET /admin-api/alias/list/application", "GET /admin-api/alias/list/identity/ctx-1",
	},
	"namespace": {
		"GET /admin-api/namespaces", "POST /admin-api/namespaces", "GET /admin-api/namespaces/n1",
		"DELETE /admin-api/namespaces/n1", "GET /admin-api/namespaces/for-application/app-1",
		"GET /admin-api/namespaces/n1/identity", "GET /admin-api/namespaces/n1/groups",
		"POST /admin-api/namespaces/n1/invite", "POST /admin-api/namespaces/n1/join",
		"POST /admin-api/namespaces/n1/leave", "GET /admin-api/identity", "GET /ws", "GET /sse",
	},
	"group": {
		"GET /admin-api/groups", "POST /admin-api/groups", "POST /admin-api/groups/join",
		"POST /admin-api/namespaces/n1/groups", "GET /admin-api/groups/g1", "GET /admin-api/groups/g1/members",
		"POST /admin-api/groups/g1/members", "POST /admin-api/groups/g1/members/remove",
		"PUT /admin-api/groups/g1/members/m1/role", "GET /admin-api/groups/g1/contexts",
		"POST /admin-api/groups/g1/invite", "POST /admin-api/groups/g1/join-context",
		"GET /admin-api/groups/g1/contexts/ctx-1/visibility", "POST /admin-api/groups/g1/upgrade",
		"DELETE /admin-api/groups/g1", "GET /ws", "GET /sse",
	},
	"blob": {
		"PUT /admin-api/blobs", "POST /admin-api/blobs", "GET /admin-api/blobs", "GET /admin-api/blobs/b1",
		"HEAD /admin-api/blobs/b1", "GET /admin-api/blobs/b1/info", "DELETE /admin-api/blobs/b1",
	},
	"application": {
		"GET /admin-api/applications", "GET /admin-api/applications/a1", "GET /admin-api/applications/a1/versions",
		"DELETE /admin-api/applications/a1", "POST /admin-api/install-application",
		"POST /admin-api/uninstall-application", "POST /admin-api/applications/install",
	},
	"package": {
		"GET /admin-api/packages", "GET /admin-api/packages/com.acme/versions", "GET /admin-api/packages/com.acme/latest",
	},
	"package:list-packages":      {"GET /admin-api/packages"},
	"package:list-versions":      {"GET /admin-api/packages/com.acme/versions"},
	"package:get-latest-version": {"GET /admin-api/packages/com.acme/latest"},
}

func allowed(t *testing.T, call string, enforced bool, grants ...string) bool {
	t.Helper()
	method, target, _ := strings.Cut(call, " ")
	path, _, err := route.Canonical(target)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	m, ok := route.Node.Lookup(method, path)
	if !ok {
		t.Fatalf("%s has no row", call)
	}
	return m.Allowed(permission.NewSet(grants), enforced)
}

func TestGrantSetsOfApps(t *testing.T) {
	for grant, calls := range appCalls {
		for _, call := range calls {
			if !allowed(t, call, true, grant) {
				t.Errorf("%s refuses %s", grant, call)
			}
			if !allowed(t, call, true, binding, grant) {
				t.Errorf("%s behind %s refuses %s", grant, binding, call)
			}
			if allowed(t, call, true) || allowed(t, call, true, binding) {
				t.Errorf("%s is allowed without %s", call, grant)
			}
		}
	}
}

func TestGrantSets_BoundToAnotherContext(t *testing.T) {
	for grant, calls := range appCalls {
		for _, call := range calls {
			if !strings.Contains(call, "ctx-1") || strings.Contains(call, "/groups/") {
				continue // names no context, or one only as a part of a group
			}
			other := strings.ReplaceAll(call, "ctx-1", "ctx-2")
			if allowed(t, other, true, binding, grant) {
				t.Errorf("%s behind %s allows %s", grant, binding, other)
			}
			if !allowed(t, other, true, binding, grant, "admin") {
				t.Errorf("admin beside the binding refuses %s", other)
			}
		}
	}
}

// A node that checks nothing must not be handed a call whose context is in the body, unless every context will do.
func TestGrantSets_NodeThatDoesNotEnforce(t *testing.T) {
	for _, call := range []string{
		"POST /jsonrpc", "POST /admin-api/contexts/sync", "POST /admin-api/contexts/join",
	} {
		if !allowed(t, call, false, "context:execute") {
			t.Errorf("context:execute refuses %s", call)
		}
		for _, grants := range [][]string{
			{binding, "context:execute"}, {"context:execute[ctx-1]"}, {"context:execute[,,get]"},
		} {
			if allowed(t, call, false, grants...) {
				t.Errorf("%v allows %s", grants, call)
			}
		}
	}
	if allowed(t, "POST /admin-api/contexts/invite", false, "context:invite[ctx-1]") {
		t.Error("context:invite[ctx-1] allows any invitation on a node that does not look at it")
	}
}

func TestGrantSets_WhatTheReferencesTestsSay(t *testing.T) {
	trio := []string{"context:create", "context:list", "context:execute"}
	extended := append([]string{"namespace", "group", "blob", "context:alias"}, trio...)
	for _, call := range []string{"GET /admin-api/namespaces", "POST /admin-api/namespaces"} {
		if allowed(t, call, true, trio...) {
			t.Errorf("%v allows %s", trio, call)
		}
		if !allowed(t, call, true, extended...) {
			t.Errorf("%v refuses %s", extended, call)
		}
	}
	scoped := []string{"context:create[app-1]", "context:list[app-1]"}
	for _, call := range []string{"GET /admin-api/contexts", "POST /admin-api/contexts", "POST /jsonrpc"} {
		if allowed(t, call, true, scoped...) {
			t.Errorf("%v allows %s", scoped, call)
		}
	}
	unknown, _ := route.Node.Lookup("GET", "/admin-api/x")
	if unknown.Allowed(permission.NewSet(append(extended, "context", "application", "package", "keys")), true) {
		t.Error("an unknown route is allowed without admin")
	}
	if !unknown.Allowed(permission.NewSet([]string{"admin"}), true) {
		t.Error("an unknown route is refused to admin")
	}
}

// DELETE of a blob is what the README's example key may not do.
func TestGrantSets_ReadOnlyKeyCannotWrite(t *testing.T) {
	for _, call := range []string{
		"DELETE /admin-api/blobs/x", "PUT /admin-api/blobs", "POST /admin-api/blobs", "GET /admin-api/blobs/x",
	} {
		if allowed(t, call, true, "blob:list") {
			t.Errorf("blob:list allows %s", call)
		}
	}
	if !allowed(t, "GET /admin-api/blobs", true, "blob:list") {
		t.Error("blob:list refuses GET /admin-api/blobs")
	}
}
