package route

import "strings"

// Node is the table of everything that the node serves.
//
// Requirements without a remark are those of the reference's newest table. "By design" marks what this project
// decides otherwise, "by kind" a route that the reference's table lacks and that gets the permission of the
// routes beside it. What concerns the machine rather than one application is for admin.
var Node = mustTable(publicRows, nodeRows, applicationRows, contextRows, blobRows, aliasRows, groupRows, namespaceRows, streamRows)

// The short forms in which the rows are written. on and alias take "METHOD pattern".

func on(request, op string, needs ...Need) Row {
	method, pattern, _ := strings.Cut(request, " ")
	return Row{Method: method, Pattern: pattern, Op: op, Needs: needs}
}

func guarded(g Guard, request, op string, needs ...Need) Row {
	r := on(request, op, needs...)
	r.Guard = g
	return r
}

func public(request, op string) Row { return guarded(Public, request, op) }

func alias(request, of string) Row {
	r := on(request, "")
	r.AliasOf = of
	return r
}

func need(permission string) Need   { return Need{Permission: permission} }
func inAny(permission string) Need  { return Need{Permission: permission, Scope: ScopeAny} }
func inBody(permission string) Need { return Need{Permission: permission, Scope: ScopeNode} }

var admin = need("admin")

// By design, the whole list of what needs no credential.
var publicRows = []Row{
	public("GET /", "dashboard.root"),
	public("GET /favicon.ico", "dashboard.favicon"),
	public("GET /admin-dashboard", "dashboard.redirect"),
	public("GET /admin-dashboard/{path...}", "dashboard.asset"),
	public("GET /admin-api/health", "node.health"),
	public("GET /admin-api/ready", "node.ready"),
	public("GET /admin-api/is-authed", "node.is-authed"),
	public("GET /admin-api/certificate", "node.certificate"),
}

var nodeRows = []Row{
	on("GET /admin-api/identity", "node.identity", need("namespace:list")),
	on("GET /admin-api/node-info", "node.info", admin),
	on("GET /admin-api/peers", "node.peers", admin),
	on("GET /admin-api/network/status", "node.network", admin),
	on("GET /admin-api/usage", "node.usage", admin),
	on("GET /metrics", "node.metrics", admin), // by design: it names methods and counts contexts

	on("GET /admin-api/tee/info", "tee.info", admin),
	on("POST /admin-api/tee/attest", "tee.attest", admin),
	on("POST /admin-api/tee/verify-quote", "tee.verify", admin),
	alias("POST /admin-api/tee/verify", "POST /admin-api/tee/verify-quote"),
	on("POST /admin-api/tee/fleet-join", "tee.fleet-join", admin),
}

var applicationRows = []Row{
	on("GET /admin-api/applications", "applications.list", need("application:list")),
	on("GET /admin-api/applications/{application_id}", "applications.get", need("application:list[application_id]")),
	on("GET /admin-api/applications/{application_id}/versions", "applications.versions", need("application:list[application_id]")),
	on("GET /admin-api/applications/{application_id}/abi", "applications.abi", need("application:list[application_id]")),           // by kind
	on("DELETE /admin-api/applications/{application_id}", "applications.uninstall", need("application:uninstall[application_id]")), // by kind
	on("POST /admin-api/uninstall-application", "applications.uninstall-by-body", inBody("application:uninstall")),
	on("POST /admin-api/install-application", "applications.install", need("application:install")),
	alias("POST /admin-api/applications/install", "POST /admin-api/install-application"),

	// By design: what reads a path of the node's machine, or comes through the developers' door, is for admin.
	on("POST /admin-api/install-dev-application", "applications.install-dev", admin),
	alias("POST /admin-api/applications/install-dev", "POST /admin-api/install-dev-application"),
	alias("POST /admin-api/dev/install-application", "POST /admin-api/install-dev-application"),
	on("POST /admin-api/dev/install-application-from-url", "applications.install-dev-url", admin),
	alias("GET /admin-api/dev/applications", "GET /admin-api/applications"),
	alias("GET /admin-api/dev/applications/{application_id}", "GET /admin-api/applications/{application_id}"),

	on("GET /admin-api/packages", "packages.list", need("package:list-packages")),
	on("GET /admin-api/packages/{package}/versions", "packages.versions", need("package:list-versions[package]")),
	on("GET /admin-api/packages/{package}/latest", "packages.latest", need("package:get-latest-version[package]")),
}

var contextRows = []Row{
	on("GET /admin-api/contexts", "contexts.list", need("context:list")),
	on("POST /admin-api/contexts", "contexts.create", need("context:create")),
	// By design: the node answers with the contexts that the caller may see.
	on("GET /admin-api/contexts/for-application/{application_id}", "contexts.for-application", inAny("context:list")),
	on("GET /admin-api/contexts/with-executors/for-application/{application_id}", "contexts.executors", inAny("context:list")),

	on("GET /admin-api/contexts/{context_id}", "contexts.get", need("context:read[context_id]")), // by design
	on("DELETE /admin-api/contexts/{context_id}", "contexts.delete", need("context:delete[context_id]")),
	on("GET /admin-api/contexts/{context_id}/identities", "contexts.identities", need("context:list[context_id]")),
	on("GET /admin-api/contexts/{context_id}/identities-owned", "contexts.identities-owned", need("context:list[context_id]")),
	on("GET /admin-api/contexts/{context_id}/storage", "contexts.storage", need("context:list[context_id]")),
	on("GET /admin-api/contexts/{context_id}/group", "contexts.group", need("context:list[context_id]")),
	on("GET /admin-api/contexts/{context_id}/client-keys", "contexts.client-keys", need("context:list[context_id]")), // by kind
	on("POST /admin-api/contexts/{context_id}/application", "contexts.update", need("context:application:update[context_id]")),
	alias("PUT /admin-api/contexts/{context_id}/application", "POST /admin-api/contexts/{context_id}/application"),
	on("POST /admin-api/contexts/{context_id}/capabilities/grant", "contexts.capabilities.grant", need("context:capabilities:grant[context_id]")),
	on("POST /admin-api/contexts/{context_id}/capabilities/revoke", "contexts.capabilities.revoke", need("context:capabilities:revoke[context_id]")),

	// By design. Without an id all contexts are meant: those that the caller may sync.
	on("POST /admin-api/contexts/sync", "contexts.sync-all", inBody("context:sync")),
	alias("POST /admin-api/contexts/sync/", "POST /admin-api/contexts/sync"),
	on("POST /admin-api/contexts/sync/{context_id}", "contexts.sync", need("context:sync[context_id]")),
	alias("POST /admin-api/contexts/{context_id}/sync", "POST /admin-api/contexts/sync/{context_id}"),
	on("POST /admin-api/contexts/{context_id}/resync", "contexts.resync", need("context:sync[context_id]")),

	// By design, and by kind for invitations whose context is in the path or that are redeemed from a body.
	on("POST /admin-api/contexts/{context_id}/join", "contexts.join", need("context:join[context_id]")),
	on("POST /admin-api/contexts/{context_id}/leave", "contexts.leave", need("context:leave[context_id]")),
	on("POST /admin-api/contexts/{context_id}/invite", "contexts.invite", need("context:invite[context_id]")),
	on("POST /admin-api/contexts/invite", "contexts.invite-by-body", inBody("context:invite")),
	on("POST /admin-api/contexts/invite_by_open_invitation", "contexts.invite-open", inBody("context:invite")),
	on("POST /admin-api/contexts/join", "contexts.join-by-invitation", inBody("context:join")),
	alias("POST /admin-api/contexts/join_by_open_invitation", "POST /admin-api/contexts/join"),
	on("POST /admin-api/contexts/invite-specialized-node", "contexts.invite-specialized-node", admin),
	// The new key pair belongs to no context yet.
	on("POST /admin-api/identity/context", "contexts.new-identity", inAny("context:execute")),

	// Ten routes of the oldest generation, which had a blockchain behind them; no client calls them.
	on("POST /admin-api/contexts/{context_id}/proposals", "proposals.list", admin),
	on("GET /admin-api/contexts/{context_id}/proposals/{path...}", "proposals.read", admin),
	on("POST /admin-api/contexts/{context_id}/proposals/{path...}", "proposals.write", admin),
	on("GET /admin-api/contexts/{context_id}/proxy-contract", "proposals.contract", admin),
}

var blobRows = []Row{
	on("PUT /admin-api/blobs", "blobs.put", need("blob:add:stream")),
	alias("POST /admin-api/blobs", "PUT /admin-api/blobs"),
	alias("POST /blobs/stream", "PUT /admin-api/blobs"),
	on("POST /blobs/file", "blobs.add-file", need("blob:add:file")),
	on("POST /blobs/url", "blobs.add-url", need("blob:add:url")),
	on("GET /admin-api/blobs", "blobs.list", need("blob:list")),
	on("GET /admin-api/blobs/{blob_id}", "blobs.get", need("blob:get[blob_id]")),
	on("GET /admin-api/blobs/{blob_id}/info", "blobs.info", need("blob:get[blob_id]")), // by kind
	on("DELETE /admin-api/blobs/{blob_id}", "blobs.delete", need("blob:remove[blob_id]")),
	alias("DELETE /blobs/{blob_id}", "DELETE /admin-api/blobs/{blob_id}"),
}

// The aliases of identities live in a context, which the path names. What creates an alias of a context names
// it in the body.
var aliasRows = []Row{
	on("POST /admin-api/alias/create/context", "aliases.create-context", inBody("context:alias:create:context")),
	on("POST /admin-api/alias/create/application", "aliases.create-application", need("context:alias:create:application")),
	on("POST /admin-api/alias/create/identity/{context_id}", "aliases.create-identity", need("context:alias:create:identity[context_id]")),
	on("POST /admin-api/alias/lookup/context/{name}", "aliases.lookup-context", need("context:alias:lookup:context")),
	on("POST /admin-api/alias/lookup/application/{name}", "aliases.lookup-application", need("context:alias:lookup:application")),
	on("POST /admin-api/alias/lookup/identity/{context_id}/{name}", "aliases.lookup-identity", need("context:alias:lookup:identity[context_id]")),
	on("POST /admin-api/alias/delete/context/{name}", "aliases.delete-context", need("context:alias:delete:context")),
	on("POST /admin-api/alias/delete/application/{name}", "aliases.delete-application", need("context:alias:delete:application")),
	on("POST /admin-api/alias/delete/identity/{context_id}/{name}", "aliases.delete-identity", need("context:alias:delete:identity[context_id]")),
	on("GET /admin-api/alias/list/context", "aliases.list-contexts", need("context:alias:list:context")),
	on("GET /admin-api/alias/list/application", "aliases.list-applications", need("context:alias:list:application")),
	on("GET /admin-api/alias/list/identity/{context_id}", "aliases.list-identities", need("context:alias:list:identity[context_id]")),
}

// By design: what is called or subscribed to is in the body or comes later on the connection.
var streamRows = []Row{
	on("POST /jsonrpc", "rpc.execute", inBody("context:execute")),
	on("GET /ws", "stream.websocket", toSubscribe...),
	on("GET /sse", "stream.events", toSubscribe...),
	on("POST /sse/subscription", "stream.subscription", toSubscribe...),
	on("GET /sse/session/{session_id}", "stream.session", toSubscribe...),
}

var toSubscribe = []Need{inAny("context:subscribe"), inAny("group:list"), inAny("namespace:list")}
