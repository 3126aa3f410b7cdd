package route_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/route"
)

// What the documents ask for, written down a second time and with real paths: method, path, and what a caller
// needs there. "any" and "body" stand for the scopes, "own" for the guard of that name; a comma separates
// alternatives.
const nodeRequirements = `
GET    /                                             public
GET    /favicon.ico                                  public
GET    /admin-dashboard                              public
GET    /admin-dashboard/                             public
GET    /admin-dashboard/assets/index-C0ffee.js       public
GET    /admin-api/health                             public
GET    /admin-api/ready                              public
GET    /admin-api/is-authed                          public
GET    /admin-api/certificate                        public

GET    /admin-api/tee/info                           admin
POST   /admin-api/tee/attest                         admin
POST   /admin-api/tee/verify-quote                   admin
POST   /admin-api/tee/verify                         admin
POST   /admin-api/tee/fleet-join                     admin

POST   /admin-api/install-application                application:install
POST   /admin-api/applications/install               application:install
POST   /admin-api/uninstall-application              body application:uninstall
POST   /admin-api/install-dev-application            admin
POST   /admin-api/applications/install-dev           admin
POST   /admin-api/dev/install-application            admin
POST   /admin-api/dev/install-application-from-url   admin
GET    /admin-api/dev/applications                   application:list
GET    /admin-api/dev/applications/a1                application:list[a1]
GET    /admin-api/applications                       application:list
GET    /admin-api/applications/a1                    application:list[a1]
DELETE /admin-api/applications/a1                    application:uninstall[a1]
GET    /admin-api/applications/a1/versions           application:list[a1]
GET    /admin-api/applications/a1/abi                application:list[a1]
GET    /admin-api/packages                           package:list-packages
GET    /admin-api/packages/com.acme.app/versions     package:list-versions[com.acme.app]
GET    /admin-api/packages/com.acme.app/latest       package:get-latest-version[com.acme.app]

GET    /admin-api/contexts                           context:list
POST   /admin-api/contexts                           context:create
GET    /admin-api/contexts/for-application/a1        any context:list
GET    /admin-api/contexts/with-executors/for-application/a1 any context:list
GET    /admin-api/contexts/c1                        context:read[c1]
DELETE /admin-api/contexts/c1                        context:delete[c1]
GET    /admin-api/contexts/c1/identities             context:list[c1]
GET    /admin-api/contexts/c1/identities-owned       context:list[c1]
GET    /admin-api/contexts/c1/storage                context:list[c1]
GET    /admin-api/contexts/c1/group                  context:list[c1]
GET    /admin-api/contexts/c1/client-keys            context:list[c1]
POST   /admin-api/contexts/c1/application            context:application:update[c1]
PUT    /admin-api/contexts/c1/application            context:application:update[c1]
POST   /admin-api/contexts/sync                      body context:sync
POST   /admin-api/contexts/sync/                     body context:sync
POST   /admin-api/contexts/sync/c1                   context:sync[c1]
POST   /admin-api/contexts/c1/sync                   context:sync[c1]
POST   /admin-api/contexts/c1/resync                 context:sync[c1]
POST   /admin-api/contexts/c1/join                   context:join[c1]
POST   /admin-api/contexts/c1/leave                  context:leave[c1]
POST   /admin-api/contexts/c1/invite                 context:invite[c1]
POST   /admin-api/contexts/invite                    body context:invite
POST   /admin-api/contexts/invite_by_open_invitation body context:invite
POST   /admin-api/contexts/join                      body context:join
POST   /admin-api/contexts/join_by_open_invitation   body context:join
POST   /admin-api/contexts/invite-specialized-node   admin
POST   /admin-api/contexts/c1/capabilities/grant     context:capabilities:grant[c1]
POST   /admin-api/contexts/c1/capabilities/revoke    context:capabilities:revoke[c1]
POST   /admin-api/contexts/c1/proposals                          admin
POST   /admin-api/contexts/c1/proposals/create-and-approve       admin
POST   /admin-api/contexts/c1/proposals/approve                  admin
POST   /admin-api/contexts/c1/proposals/get-context-value        admin
POST   /admin-api/contexts/c1/proposals/context-storage-entries  admin
GET    /admin-api/contexts/c1/proposals/count                    admin
GET    /admin-api/contexts/c1/proposals/p1                       admin
GET    /admin-api/contexts/c1/proposals/p1/approvals/count       admin
GET    /admin-api/contexts/c1/proposals/p1/approvals/users       admin
GET    /admin-api/contexts/c1/proxy-contract                     admin

POST   /admin-api/identity/context                   any context:execute
GET    /admin-api/identity                           namespace:list
GET    /admin-api/peers                              admin
GET    /admin-api/network/status                     admin
GET    /admin-api/usage                              admin
GET    /admin-api/node-info                          admin

PUT    /admin-api/blobs                              blob:add:stream
POST   /admin-api/blobs                              blob:add:stream
GET    /admin-api/blobs                              blob:list
GET    /admin-api/blobs/b1                           blob:get[b1]
HEAD   /admin-api/blobs/b1                           blob:get[b1]
GET    /admin-api/blobs/b1/info                      blob:get[b1]
DELETE /admin-api/blobs/b1                           blob:remove[b1]
POST   /blobs/stream                                 blob:add:stream
POST   /blobs/file                                   blob:add:file
POST   /blobs/url                                    blob:add:url
DELETE /blobs/b1                                     blob:remove[b1]

POST   /admin-api/alias/create/context               body context:alias:create:context
POST   /admin-api/alias/create/application           context:alias:create:application
POST   /admin-api/alias/create/identity/c1           context:alias:create:identity[c1]
POST   /admin-api/alias/lookup/context/n             context:alias:lookup:context
POST   /admin-api/alias/lookup/application/n         context:alias:lookup:application
POST   /admin-api/alias/lookup/identity/c1/n         context:alias:lookup:identity[c1]
POST   /admin-api/alias/delete/context/n             context:alias:delete:context
POST   /admin-api/alias/delete/application/n         context:alias:delete:application
POST   /admin-api/alias/delete/identity/c1/n         context:alias:delete:identity[c1]
GET    /admin-api/alias/list/context                 context:alias:list:context
GET    /admin-api/alias/list/application             context:alias:list:application
GET    /admin-api/alias/list/identity/c1             context:alias:list:identity[c1]

GET    /admin-api/groups                             group:list
POST   /admin-api/groups                             group:create
POST   /admin-api/groups/join                        body group:manage
GET    /admin-api/groups/g1                          group:list[g1]
PATCH  /admin-api/groups/g1                          group:manage[g1]
PUT    /admin-api/groups/g1                          group:manage[g1]
DELETE /admin-api/groups/g1                          group:manage[g1]
GET    /admin-api/groups/g1/members                  group:list[g1]
POST   /admin-api/groups/g1/members                  group:manage[g1]
DELETE /admin-api/groups/g1/members                  group:manage[g1]
POST   /admin-api/groups/g1/members/remove           group:manage[g1]
DELETE /admin-api/groups/g1/members/m1               group:manage[g1]
PUT    /admin-api/groups/g1/members/m1/role          group:manage[g1]
PUT    /admin-api/groups/g1/members/m1/roles         group:manage[g1]
GET    /admin-api/groups/g1/members/m1/capabilities  group:list[g1]
PUT    /admin-api/groups/g1/members/m1/capabilities  group:manage[g1]
GET    /admin-api/groups/g1/members/m1/caps          group:list[g1]
PUT    /admin-api/groups/g1/members/m1/caps          group:manage[g1]
PUT    /admin-api/groups/g1/alias                    group:manage[g1]
PUT    /admin-api/groups/g1/aliases                  group:manage[g1]
PUT    /admin-api/groups/g1/members/m1/alias         group:manage[g1]
PUT    /admin-api/groups/g1/members/m1/aliases       group:manage[g1]
GET    /admin-api/groups/g1/metadata                 group:list[g1]
PUT    /admin-api/groups/g1/metadata                 group:manage[g1]
GET    /admin-api/groups/g1/members/m1/metadata      group:list[g1]
PUT    /admin-api/groups/g1/members/m1/metadata      group:manage[g1]
GET    /admin-api/groups/g1/contexts/c1/metadata     group:list[g1]
PUT    /admin-api/groups/g1/contexts/c1/metadata     group:manage[g1]
PUT    /admin-api/groups/g1/members/m1/auto-follow   group:manage[g1]
GET    /admin-api/groups/g1/member-devices           group:list[g1]
GET    /admin-api/groups/g1/contexts                 group:list[g1]
POST   /admin-api/groups/g1/contexts/c1/remove       group:manage[g1]
POST   /admin-api/groups/g1/join-context             group:manage[g1]
GET    /admin-api/groups/g1/contexts/c1/visibility   group:list[g1]
PUT    /admin-api/groups/g1/contexts/c1/visibility   group:manage[g1]
PUT    /admin-api/groups/g1/visibility               group:manage[g1]
GET    /admin-api/groups/g1/contexts/c1/allowlist    group:list[g1]
POST   /admin-api/groups/g1/contexts/c1/allowlist    group:manage[g1]
PUT    /admin-api/groups/g1/allowlist                group:manage[g1]
PUT    /admin-api/groups/g1/settings                 group:manage[g1]
PUT    /admin-api/groups/g1/settings/default-capabilities  group:manage[g1]
PUT    /admin-api/groups/g1/settings/default-visibility    group:manage[g1]
PUT    /admin-api/groups/g1/settings/subgroup-visibility   group:manage[g1]
GET    /admin-api/groups/g1/settings/tee-admission-policy  group:list[g1]
PUT    /admin-api/groups/g1/settings/tee-admission-policy  group:manage[g1]
GET    /admin-api/groups/g1/signing-key              group:list[g1]
POST   /admin-api/groups/g1/signing-key              group:manage[g1]
POST   /admin-api/groups/g1/invite                   group:manage[g1]
POST   /admin-api/groups/g1/join                     group:manage[g1]
POST   /admin-api/groups/g1/join-via-inheritance     group:manage[g1]
POST   /admin-api/groups/g1/leave                    group:manage[g1]
POST   /admin-api/groups/g1/reparent                 group:manage[g1]
GET    /admin-api/groups/g1/subgroups                group:list[g1]
POST   /admin-api/groups/g1/sync                     group:manage[g1]
POST   /admin-api/groups/g1/upgrade                  group:manage[g1]
GET    /admin-api/groups/g1/upgrade/status           group:list[g1]
POST   /admin-api/groups/g1/upgrade/retry            group:manage[g1]
GET    /admin-api/groups/g1/cascade-status           group:list[g1]
GET    /admin-api/groups/g1/migration-status         group:list[g1]
POST   /admin-api/groups/g1/migration/abort          group:manage[g1]
POST   /admin-api/groups/g1/issue-ownership-proof    group:manage[g1]
POST   /admin-api/groups/g1/issue-namespace-ownership-proof group:manage[g1]

GET    /admin-api/namespaces                         namespace:list
POST   /admin-api/namespaces                         namespace:create
GET    /admin-api/namespaces/for-application/a1      any namespace:list
GET    /admin-api/namespaces/n1                      namespace:list[n1]
DELETE /admin-api/namespaces/n1                      namespace:manage[n1]
GET    /admin-api/namespaces/n1/identity             namespace:list[n1]
POST   /admin-api/namespaces/n1/invite               namespace:manage[n1]
POST   /admin-api/namespaces/n1/join                 namespace:manage[n1]
POST   /admin-api/namespaces/n1/leave                namespace:manage[n1]
GET    /admin-api/namespaces/n1/groups               namespace:list[n1]
POST   /admin-api/namespaces/n1/groups               group:create
POST   /admin-api/namespaces/n1/account/pair-init    namespace:manage[n1]
POST   /admin-api/namespaces/n1/account/pair-complete namespace:manage[n1]
POST   /admin-api/namespaces/n1/account/revoke       namespace:manage[n1]

POST   /jsonrpc                                      body context:execute
GET    /ws                                           any context:subscribe, any group:list, any namespace:list
GET    /sse                                          any context:subscribe, any group:list, any namespace:list
POST   /sse/subscription                             any context:subscribe, any group:list, any namespace:list
GET    /sse/session/1234567890123456789              any context:subscribe, any group:list, any namespace:list
GET    /metrics                                      admin
`

const authRequirements = `
GET    /auth/login                       public
GET    /auth/assets/index-C0ffee.css     public
GET    /auth/favicon.ico                 public
GET    /auth/callback                    public
GET    /auth/challenge                   public
GET    /auth/providers                   public
POST   /auth/token                       public
POST   /auth/refresh                     public
POST   /auth/mock-token                  public
GET    /auth/validate                    public
HEAD   /auth/validate                    public
POST   /auth/validate                    public
GET    /auth/health                      public
GET    /auth/identity                    public
GET    /auth/keys                        public
GET    /auth/openapi.json                public
GET    /admin                            public
GET    /admin/                           public
GET    /admin/identity                   token
GET    /admin/metrics                    admin
GET    /admin/audit                      admin
GET    /admin/keys                       keys:list
POST   /admin/keys                       admin
DELETE /admin/keys/k1                    keys:delete
GET    /admin/keys/k1/permissions        keys:permissions:get[k1]
PUT    /admin/keys/k1/permissions        admin
PATCH  /admin/keys/k1                    admin
GET    /admin/keys/clients               keys:clients:list
DELETE /admin/keys/k1/clients/k2         keys:clients:delete
POST   /admin/client-key                 admin
GET    /admin/keys/k1/sessions           own keys:list
DELETE /admin/keys/k1/sessions/f1        own keys:delete
POST   /admin/revoke                     own keys:delete
`

// requirement writes what a match asks for as the lists above do.
func requirement(m *route.Match) string {
	if m.Row == nil {
		return "unknown"
	}
	switch m.Row.Guard {
	case route.Public:
		return "public"
	case route.AnyToken:
		return "token"
	}
	var needs []string
	for _, n := range m.Row.Needs {
		text := n.Permission
		if words, field, limited := strings.Cut(text, "["); limited {
			text = words + "[" + m.Param(strings.TrimSuffix(field, "]")) + "]"
		}
		switch n.Scope {
		case route.ScopeAny:
			text = "any " + text
		case route.ScopeNode:
			text = "body " + text
		case route.ScopePath:
		}
		needs = append(needs, text)
	}
	text := strings.Join(needs, ", ")
	if m.Row.Guard == route.OwnObject {
		text = "own " + text
	}
	return text
}

func TestTables_HoldWhatTheDocumentsAsk(t *testing.T) {
	for _, tt := range []struct {
		name  string
		table *route.Table
		list  string
	}{
		{"node", route.Node, nodeRequirements},
		{"auth", route.Auth, authRequirements},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := make(map[*route.Row]bool)
			for line := range strings.Lines(tt.list) {
				fields := strings.Fields(line)
				if len(fields) == 0 {
					continue
				}
				method, path, want := fields[0], fields[1], strings.Join(fields[2:], " ")
				if _, _, err := route.Canonical(path); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				m, _ := tt.table.Lookup(method, path)
				if got := requirement(&m); got != want {
					t.Errorf("%s %s needs %q, want %q", method, path, got, want)
				}
				seen[m.Row] = true
			}
			for r := range tt.table.All() {
				if !seen[r] {
					t.Errorf("the row %s is not in the list above", r)
				}
			}
		})
	}
}

func TestTables_Aliases(t *testing.T) {
	for _, table := range []*route.Table{route.Node, route.Auth} {
		byName := make(map[string]*route.Row)
		for r := range table.All() {
			byName[r.String()] = r
		}
		for r := range table.All() {
			if r.AliasOf == "" {
				continue
			}
			of := byName[r.AliasOf]
			if of == nil {
				t.Errorf("%s stands for %q, which does not exist", r, r.AliasOf)
				continue
			}
			if r.Op != of.Op || r.Guard != of.Guard || !slices.Equal(r.Needs, of.Needs) {
				t.Errorf("%s is %s, %v, %v; the row it stands for is %s, %v, %v", r, r.Op, r.Guard, r.Needs, of.Op, of.Guard, of.Needs)
			}
			for _, name := range params(of.Pattern) {
				if !slices.Contains(params(r.Pattern), name) {
					t.Errorf("%s lacks the parameter %s of %s", r, name, of)
				}
			}
		}
	}
}

func params(pattern string) []string {
	var names []string
	for s := range strings.SplitSeq(pattern, "/") {
		if name, ok := strings.CutPrefix(s, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

// On the node only reads are public: nothing that changes state may be reached without a credential.
func TestNode_PublicRowsOnlyRead(t *testing.T) {
	for r := range route.Node.All() {
		if r.Guard == route.Public && r.Method != "GET" {
			t.Errorf("%s is public", r)
		}
		if r.Guard == route.AnyToken || r.Guard == route.OwnObject {
			t.Errorf("%s has a guard that the gate cannot complete", r)
		}
	}
}

func TestNode_TrapsOfTheReference(t *testing.T) {
	tests := map[string]string{ // path → what GET needs
		"/admin":                              "unknown",
		"/admin/":                             "unknown",
		"/admin/keys":                         "unknown",
		"/auth/login":                         "unknown",
		"/public":                             "unknown",
		"/publicity":                          "unknown",
		"/contexts":                           "unknown", // no fallback by first segment
		"/contexts/c1":                        "unknown",
		"/applications":                       "unknown",
		"/keys":                               "unknown",
		"/blobs/b1":                           "unknown",
		"/admin-api":                          "unknown",
		"/admin-api/":                         "unknown",
		"/admin-api/contexts/":                "unknown",
		"/admin-api/contexts/c1/":             "unknown",
		"/admin-api/contexts/c1/x":            "unknown",
		"/admin-api/health/":                  "unknown",
		"/admin-api/health/x":                 "unknown",
		"/admin-api/healthz":                  "unknown",
		"/admin-api/Health":                   "unknown",
		"/ADMIN-API/contexts":                 "unknown",
		"/admin-dashboard-evil":               "unknown",
		"/Admin-Dashboard/":                   "unknown",
		"/favicon.ico/":                       "unknown",
		"/metrics/":                           "unknown",
		"/ws/":                                "unknown",
		"/sse/":                               "unknown",
		"/sse/other":                          "unknown",
		"/admin-api/groups/g1/settings":       "unknown", // write only
		"/admin-api/contexts/sync":            "context:read[sync]",
		"/admin-api/contexts/for-application": "context:read[for-application]",
	}
	for path, want := range tests {
		m, _ := route.Node.Lookup("GET", path)
		if got := requirement(&m); got != want {
			t.Errorf("GET %s needs %q, want %q", path, got, want)
		}
	}
}
