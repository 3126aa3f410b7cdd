package route

// Auth is the table of everything that the auth service serves on its data plane, in its own process or
// embedded in the node. The form of /auth/validate for Envoy, which takes any method and has the original target
// in its path, is not a row: it must be recognised before the table is asked.
var Auth = mustTable(authRows, adminRows)

var authRows = []Row{
	public("GET /auth/login", "login.page"),
	public("GET /auth/assets/{path...}", "login.asset"),
	public("GET /auth/favicon.ico", "login.favicon"),
	public("GET /auth/callback", "login.callback"), // the reference's demonstration page; redirects to the login page
	public("GET /auth/challenge", "login.challenge"),
	public("GET /auth/providers", "login.providers"),
	public("POST /auth/token", "token.issue"),
	public("POST /auth/refresh", "token.refresh"),
	public("POST /auth/mock-token", "token.mock"), // answers only in a build for tests
	public("GET /auth/validate", "gate.validate"), // judges the credential itself
	alias("POST /auth/validate", "GET /auth/validate"),
	public("GET /auth/health", "service.health"),
	public("GET /auth/identity", "service.identity"),
	public("GET /auth/keys", "service.jwks"),
	public("GET /auth/openapi.json", "service.openapi"),
}

// By design, §3.6: the engine of the gate with the full path, so that the permissions that the reference meant
// are the ones that hold.
var adminRows = []Row{
	public("GET /admin", "admin.redirect"),
	alias("GET /admin/", "GET /admin"),
	guarded(AnyToken, "GET /admin/identity", "admin.identity"),
	on("GET /admin/metrics", "admin.metrics", admin),
	on("GET /admin/audit", "admin.audit", admin),

	on("GET /admin/keys", "keys.list", need("keys:list")),
	on("POST /admin/keys", "keys.create", admin),
	on("PATCH /admin/keys/{key_id}", "keys.change", admin), // name and expiry
	on("DELETE /admin/keys/{key_id}", "keys.delete", need("keys:delete")),
	on("GET /admin/keys/{key_id}/permissions", "keys.permissions.get", need("keys:permissions:get[key_id]")),
	on("PUT /admin/keys/{key_id}/permissions", "keys.permissions.change", admin),
	on("GET /admin/keys/clients", "clients.list", need("keys:clients:list")),
	on("DELETE /admin/keys/{key_id}/clients/{client_id}", "clients.delete", need("keys:clients:delete")),
	on("POST /admin/client-key", "clients.create", admin),

	guarded(OwnObject, "GET /admin/keys/{key_id}/sessions", "sessions.list", need("keys:list")),
	guarded(OwnObject, "DELETE /admin/keys/{key_id}/sessions/{family}", "sessions.delete", need("keys:delete")),
	// Without a body, or with the caller's own key id, it ends the presented session.
	guarded(OwnObject, "POST /admin/revoke", "token.revoke", need("keys:delete")),
}
