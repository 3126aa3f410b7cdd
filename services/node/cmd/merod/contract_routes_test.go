package main_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

// served are the routes that the contract (sections 1 and 2) and the server's document name and this build serves.
// CTX, APP, GROUP and PK stand for what is there, NONE for an id of nothing.
const served = `
GET /admin-api/health
GET /admin-api/ready
GET /admin-api/is-authed
GET /admin-api/certificate
POST /admin-api/install-application
POST /admin-api/install-dev-application
POST /admin-api/applications/install
POST /admin-api/applications/install-dev
POST /admin-api/dev/install-application
POST /admin-api/dev/install-application-from-url
GET /admin-api/dev/applications
GET /admin-api/dev/applications/APP
GET /admin-api/applications
GET /admin-api/applications/APP
GET /admin-api/applications/APP/versions
GET /admin-api/applications/APP/abi
DELETE /admin-api/applications/NONE
POST /admin-api/uninstall-application
GET /admin-api/packages
GET /admin-api/packages/com.example.app/versions
GET /admin-api/packages/com.example.app/latest
GET /admin-api/contexts
GET /admin-api/contexts/for-application/APP
GET /admin-api/contexts/with-executors/for-application/APP
GET /admin-api/contexts/CTX
POST /admin-api/contexts
DELETE /admin-api/contexts/NONE
GET /admin-api/contexts/CTX/identities
GET /admin-api/contexts/CTX/identities-owned
GET /admin-api/contexts/CTX/storage
GET /admin-api/contexts/CTX/group
GET /admin-api/contexts/CTX/client-keys
POST /admin-api/contexts/CTX/application
PUT /admin-api/contexts/CTX/application
POST /admin-api/contexts/sync
POST /admin-api/contexts/sync/
POST /admin-api/contexts/sync/CTX
POST /admin-api/contexts/CTX/sync
POST /admin-api/contexts/CTX/resync
POST /admin-api/contexts/CTX/capabilities/grant
POST /admin-api/contexts/CTX/capabilities/revoke
POST /admin-api/identity/context
GET /admin-api/identity
GET /admin-api/peers
GET /admin-api/network/status
GET /admin-api/usage
GET /admin-api/node-info
PUT /admin-api/blobs
POST /admin-api/blobs
POST /blobs/stream
POST /blobs/file
POST /blobs/url
GET /admin-api/blobs
GET /admin-api/blobs/NONE
HEAD /admin-api/blobs/NONE
GET /admin-api/blobs/NONE/info
DELETE /admin-api/blobs/NONE
DELETE /blobs/NONE
POST /admin-api/alias/create/context
POST /admin-api/alias/create/application
POST /admin-api/alias/create/identity/CTX
POST /admin-api/alias/lookup/context/a
POST /admin-api/alias/lookup/application/a
POST /admin-api/alias/lookup/identity/CTX/a
POST /admin-api/alias/delete/context/a
POST /admin-api/alias/delete/application/a
POST /admin-api/alias/delete/identity/CTX/a
GET /admin-api/alias/list/context
GET /admin-api/alias/list/application
GET /admin-api/alias/list/identity/CTX
GET /admin-api/groups
POST /admin-api/groups
GET /admin-api/groups/GROUP
DELETE /admin-api/groups/` + noGroup + `
GET /admin-api/groups/GROUP/members
GET /admin-api/namespaces
POST /admin-api/namespaces
GET /admin-api/namespaces/GROUP
DELETE /admin-api/namespaces/` + noGroup + `
GET /admin-api/namespaces/for-application/APP
GET /admin-api/namespaces/GROUP/identity
POST /jsonrpc
GET /ws
HEAD /sse
POST /sse/subscription
GET /sse/session/1
GET /metrics
GET /
GET /admin-dashboard`

// later are those that later parts of the node bring: groups beyond what contexts need, invitations, attestation, the
// dashboard; and the proposals of a generation with a blockchain, which never come.
const later = `
GET /admin-api/tee/info
POST /admin-api/tee/attest
POST /admin-api/tee/verify-quote
POST /admin-api/tee/verify
POST /admin-api/tee/fleet-join
POST /admin-api/contexts/CTX/join
POST /admin-api/contexts/CTX/leave
POST /admin-api/contexts/CTX/invite
POST /admin-api/contexts/invite
POST /admin-api/contexts/invite_by_open_invitation
POST /admin-api/contexts/join
POST /admin-api/contexts/join_by_open_invitation
POST /admin-api/contexts/invite-specialized-node
POST /admin-api/contexts/CTX/proposals
GET /admin-api/contexts/CTX/proposals/1
GET /admin-api/contexts/CTX/proxy-contract
PUT /admin-api/groups/GROUP
PATCH /admin-api/groups/GROUP
POST /admin-api/groups/GROUP/members
POST /admin-api/groups/GROUP/members/remove
DELETE /admin-api/groups/GROUP/members
DELETE /admin-api/groups/GROUP/members/PK
PUT /admin-api/groups/GROUP/members/PK/role
PUT /admin-api/groups/GROUP/members/PK/roles
GET /admin-api/groups/GROUP/members/PK/capabilities
PUT /admin-api/groups/GROUP/members/PK/capabilities
GET /admin-api/groups/GROUP/members/PK/caps
PUT /admin-api/groups/GROUP/members/PK/caps
PUT /admin-api/groups/GROUP/alias
PUT /admin-api/groups/GROUP/aliases
PUT /admin-api/groups/GROUP/members/PK/alias
PUT /admin-api/groups/GROUP/members/PK/aliases
GET /admin-api/groups/GROUP/metadata
PUT /admin-api/groups/GROUP/metadata
GET /admin-api/groups/GROUP/members/PK/metadata
PUT /admin-api/groups/GROUP/members/PK/metadata
GET /admin-api/groups/GROUP/contexts/CTX/metadata
PUT /admin-api/groups/GROUP/contexts/CTX/metadata
PUT /admin-api/groups/GROUP/members/PK/auto-follow
GET /admin-api/groups/GROUP/member-devices
GET /admin-api/groups/GROUP/contexts
POST /admin-api/groups/GROUP/contexts/CTX/remove
POST /admin-api/groups/GROUP/join-context
GET /admin-api/groups/GROUP/contexts/CTX/visibility
PUT /admin-api/groups/GROUP/contexts/CTX/visibility
PUT /admin-api/groups/GROUP/visibility
GET /admin-api/groups/GROUP/contexts/CTX/allowlist
POST /admin-api/groups/GROUP/contexts/CTX/allowlist
PUT /admin-api/groups/GROUP/allowlist
PUT /admin-api/groups/GROUP/settings
PUT /admin-api/groups/GROUP/settings/default-capabilities
PUT /admin-api/groups/GROUP/settings/default-visibility
PUT /admin-api/groups/GROUP/settings/subgroup-visibility
GET /admin-api/groups/GROUP/settings/tee-admission-policy
PUT /admin-api/groups/GROUP/settings/tee-admission-policy
GET /admin-api/groups/GROUP/signing-key
POST /admin-api/groups/GROUP/signing-key
POST /admin-api/groups/GROUP/invite
POST /admin-api/groups/join
POST /admin-api/groups/GROUP/join
POST /admin-api/groups/GROUP/join-via-inheritance
POST /admin-api/groups/GROUP/leave
POST /admin-api/groups/GROUP/reparent
GET /admin-api/groups/GROUP/subgroups
POST /admin-api/groups/GROUP/sync
POST /admin-api/groups/GROUP/upgrade
GET /admin-api/groups/GROUP/upgrade/status
POST /admin-api/groups/GROUP/upgrade/retry
GET /admin-api/groups/GROUP/cascade-status
GET /admin-api/groups/GROUP/migration-status
POST /admin-api/groups/GROUP/migration/abort
POST /admin-api/groups/GROUP/issue-ownership-proof
POST /admin-api/groups/GROUP/issue-namespace-ownership-proof
POST /admin-api/namespaces/GROUP/invite
POST /admin-api/namespaces/GROUP/join
POST /admin-api/namespaces/GROUP/leave
GET /admin-api/namespaces/GROUP/groups
POST /admin-api/namespaces/GROUP/groups
POST /admin-api/namespaces/GROUP/account/pair-init
POST /admin-api/namespaces/GROUP/account/pair-complete
POST /admin-api/namespaces/GROUP/account/revoke
GET /admin-dashboard/
GET /admin-dashboard/assets/index.js
GET /favicon.ico`

// noGroup is the id of no group.
const noGroup = "0707070707070707070707070707070707070707070707070707070707070707"

var unknown = id.ID{7}.String()

// world makes what the routes are about, and returns a function that names it in a text.
func (g *group) world(t *testing.T) (named func(string) string) {
	t.Helper()
	g.app, _ = g.install(t, "kv-store.wasm", testapp.KVStore)
	g.made = g.context(t, g.app)
	return strings.NewReplacer("CTX", g.made.ContextID, "APP", g.app, "GROUP", g.made.GroupID, "PK", g.made.MemberPublicKey, "NONE", unknown).Replace
}

// everything is what clients can see of a node.
func (g *group) everything(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	all.WriteString(g.state(t, g.made.ContextID))
	for _, path := range []string{
		"/applications", "/packages", "/contexts", "/blobs", "/groups", "/namespaces", "/alias/list/context", "/alias/list/application",
		"/alias/list/identity/" + g.made.ContextID, "/contexts/" + g.made.ContextID + "/identities",
	} {
		all.WriteString(g.get(t, path).body)
	}
	return all.String()
}

// Every documented route has its row: what is served answers, also to an empty request, what comes later says 501, and
// nothing is unknown.
func TestContract_DocumentedRoutes(t *testing.T) {
	g := newGroup(t, build(t))
	named := g.world(t)
	documented := map[string]bool{}
	walk := func(list string, judge func(line string, a answer) bool) {
		for line := range strings.Lines(strings.TrimSpace(list)) {
			line = strings.TrimSpace(line)
			method, path, _ := strings.Cut(named(line), " ")
			if m, ok := route.Node.Lookup(method, path); ok {
				documented[m.Row.String()] = true
			} else {
				t.Errorf("%s has no row", line)
			}
			a := g.as(t, "admin", method, path, "")
			if !judge(line, a) {
				t.Errorf("%s: %s %s", line, a.Status, a.body)
			}
			if a.StatusCode >= 400 && method != "HEAD" && !json.Valid([]byte(a.body)) {
				t.Errorf("%s: the error is not JSON: %s", line, a.body)
			}
		}
	}
	g.client.CheckRedirect = asItIs
	walk(served, func(_ string, a answer) bool {
		return a.StatusCode < 500 && a.StatusCode != 405 && !strings.Contains(a.body, "no such route")
	})
	walk(later, func(_ string, a answer) bool { return a.StatusCode == 501 && strings.HasPrefix(a.body, `{"error":"`) })
	// And the other way round: the table has no row that the lists forget.
	var forgotten []string
	for row := range route.Node.All() {
		if !documented[row.String()] {
			forgotten = append(forgotten, row.String())
		}
	}
	if want := []string{"POST /admin-api/contexts/{context_id}/proposals/{path...}"}; !slices.Equal(forgotten, want) {
		t.Errorf("rows that no list names: %q", forgotten)
	}
}

// Bad input gets an error in JSON and changes nothing.
func TestContract_BadInputChangesNothing(t *testing.T) {
	g := newGroup(t, build(t))
	named := g.world(t)
	before := g.everything(t)
	bodies := map[string][]string{ // what is wrong with any body, and what with this one's
		"POST /admin-api/install-application":                      {`{}`, `{"url":1,"metadata":[]}`, `{"url":"ftp://x/a","metadata":[]}`, `{"url":"https://10.0.0.1/a.mpk","metadata":[]}`, `{"url":"https://x.example/a","metadata":[256]}`, `{"url":"https://x.example/a","hash":"x","metadata":[]}`},
		"POST /admin-api/install-dev-application":                  {`{}`, `{"path":"relative.wasm","metadata":[]}`, `{"path":"/etc/passwd","metadata":[]}`, `{"path":"` + strings.Repeat("/x", 3000) + `","metadata":[]}`},
		"POST /admin-api/dev/install-application-from-url":         {`{}`, `{"url":"file:///etc/passwd","metadata":[]}`},
		"POST /admin-api/uninstall-application":                    {`{}`, `{"applicationId":"x"}`, `{"applicationId":"APP"}`},
		"POST /admin-api/contexts":                                 {`{}`, `{"applicationId":"x"}`, `{"applicationId":"NONE"}`, `{"applicationId":"APP","groupId":"x"}`, `{"applicationId":"APP","groupId":"` + noGroup + `"}`, `{"applicationId":"APP","initializationParams":"x"}`},
		"POST /admin-api/contexts/CTX/application":                 {`{}`, `{"applicationId":"NONE","executorPublicKey":"PK"}`, `{"applicationId":"APP","executorPublicKey":"NONE"}`},
		"POST /admin-api/contexts/NONE/application":                {`{"applicationId":"APP","executorPublicKey":"PK"}`},
		"POST /admin-api/contexts/CTX/capabilities/grant":          {`{}`, `{"capabilities":[["PK","Nonsense"]],"signer_id":"PK"}`, `{"capabilities":[["x","Proxy"]],"signer_id":"PK"}`},
		"POST /admin-api/contexts/CTX/capabilities/revoke":         {`{}`, `{"capabilities":[["PK"]],"signer_id":"PK"}`},
		"POST /admin-api/alias/create/context":                     {`{}`, `{"alias":"","contextId":"CTX"}`, `{"alias":"a b","contextId":"CTX"}`, `{"alias":"` + strings.Repeat("a", 51) + `","contextId":"CTX"}`, `{"alias":"a","contextId":"x"}`},
		"POST /admin-api/alias/create/application":                 {`{}`, `{"alias":"a","applicationId":7}`},
		"POST /admin-api/alias/create/identity/CTX":                {`{}`, `{"alias":"a","identity":"x"}`},
		"POST /admin-api/groups":                                   {`{}`, `{"applicationId":"x"}`, `{"applicationId":"APP","groupId":"x"}`},
		"POST /admin-api/namespaces":                               {`{}`, `{"applicationId":"x"}`},
		"POST /blobs/url":                                          {`{}`, `{"url":"file:///etc/passwd"}`, `{"url":"https://127.0.0.1/x"}`, `{"url":"https://x.example/a","hash":"x"}`},
		"POST /blobs/file":                                         {`{}`},
		"POST /sse/subscription":                                   {`{}`, `{"id":"x","method":"subscribe","params":{}}`},
		"DELETE /admin-api/contexts/CTX":                           nil,
		"POST /admin-api/contexts/CTX/resync":                      nil,
		"PUT /admin-api/blobs?hash=x":                              {`{}`},
		"PUT /admin-api/blobs?context_id=x":                        {`{}`},
		"GET /admin-api/contexts/x":                                {``},
		"DELETE /admin-api/contexts/x":                             {``},
		"GET /admin-api/contexts/CTX/storage?entries=x":            {``},
		"GET /admin-api/contexts/for-application/x":                {``},
		"GET /admin-api/contexts/with-executors/for-application/x": {``},
		"GET /admin-api/groups/x":                                  {``},
		"GET /admin-api/groups?limit=x":                            {``},
		"DELETE /admin-api/groups/x":                               {``},
		"GET /admin-api/namespaces/x":                              {``},
		"DELETE /admin-api/namespaces/x":                           {``},
		"DELETE /admin-api/applications/x":                         {``},
		"POST /admin-api/contexts/sync/x":                          {``},
		"POST /admin-api/contexts/sync/NONE":                       {``},
		"POST /admin-api/alias/lookup/identity/x/a":                {``},
		"GET /admin-api/alias/list/identity/x":                     {``},
	}
	for request, wrong := range bodies {
		method, path, _ := strings.Cut(named(request), " ")
		if len(wrong) == 0 || wrong[0] == `{}` && !strings.Contains(path, "?") {
			wrong = append(wrong, `{`, `[]`, `"x"`, "\xff")
		}
		for _, body := range wrong {
			if a := g.as(t, "admin", method, path, named(body)); a.StatusCode < 400 || a.StatusCode >= 500 || !isError(a.body) || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %.80q: %s %s", request, body, a.Status, a.body)
			}
		}
	}
	if after := g.everything(t); after != before {
		t.Errorf("bad input changed\n%s to\n%s", before, after)
	}
}

// isError reports whether a body is the contract's error: its text, or an object of a stream's.
func isError(body string) bool {
	var e struct{ Error any }
	return json.Unmarshal([]byte(body), &e) == nil && e.Error != nil && fmt.Sprint(e.Error) != ""
}
