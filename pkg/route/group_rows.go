package route

// Everything of one group needs group:list of it to read and group:manage to write.
var groupRows = []Row{
	on("GET /admin-api/groups", "groups.list", need("group:list")),
	on("POST /admin-api/groups", "groups.create", need("group:create")),
	on("POST /admin-api/groups/join", "groups.join-by-invitation", inBody("group:manage")), // the invitation names the group

	readGroup("", "groups.get"),
	writeGroup("PUT", "", "groups.update"),
	groupAlias("PATCH", "", "PUT", ""),
	writeGroup("DELETE", "", "groups.delete"),
	writeGroup("POST", "/join", "groups.join"),
	writeGroup("POST", "/leave", "groups.leave"),
	writeGroup("POST", "/invite", "groups.invite"),
	writeGroup("POST", "/join-context", "groups.join-context"),
	writeGroup("POST", "/join-via-inheritance", "groups.join-inherited"),
	writeGroup("POST", "/reparent", "groups.reparent"),
	writeGroup("POST", "/sync", "groups.sync"),
	readGroup("/subgroups", "groups.subgroups"),
	readGroup("/member-devices", "groups.member-devices"),
	writeGroup("PUT", "/alias", "groups.alias"),
	groupAlias("PUT", "/aliases", "PUT", "/alias"),
	readGroup("/metadata", "groups.metadata.get"),
	writeGroup("PUT", "/metadata", "groups.metadata.put"),
	readGroup("/signing-key", "groups.signing-key.get"),
	writeGroup("POST", "/signing-key", "groups.signing-key.put"),
	writeGroup("POST", "/issue-ownership-proof", "groups.ownership-proof"),
	writeGroup("POST", "/issue-namespace-ownership-proof", "groups.namespace-ownership-proof"),

	readGroup("/members", "groups.members.list"),
	writeGroup("POST", "/members", "groups.members.add"),
	writeGroup("POST", "/members/remove", "groups.members.remove"),
	groupAlias("DELETE", "/members", "POST", "/members/remove"),
	groupAlias("DELETE", "/members/{member_id}", "POST", "/members/remove"),
	writeGroup("PUT", "/members/{member_id}/role", "groups.members.role"),
	groupAlias("PUT", "/members/{member_id}/roles", "PUT", "/members/{member_id}/role"),
	readGroup("/members/{member_id}/capabilities", "groups.members.capabilities.get"),
	writeGroup("PUT", "/members/{member_id}/capabilities", "groups.members.capabilities.put"),
	groupAlias("GET", "/members/{member_id}/caps", "GET", "/members/{member_id}/capabilities"),
	groupAlias("PUT", "/members/{member_id}/caps", "PUT", "/members/{member_id}/capabilities"),
	writeGroup("PUT", "/members/{member_id}/alias", "groups.members.alias"),
	groupAlias("PUT", "/members/{member_id}/aliases", "PUT", "/members/{member_id}/alias"),
	readGroup("/members/{member_id}/metadata", "groups.members.metadata.get"),
	writeGroup("PUT", "/members/{member_id}/metadata", "groups.members.metadata.put"),
	writeGroup("PUT", "/members/{member_id}/auto-follow", "groups.members.auto-follow"),

	readGroup("/contexts", "groups.contexts.list"),
	writeGroup("POST", "/contexts/{context_id}/remove", "groups.contexts.remove"),
	readGroup("/contexts/{context_id}/metadata", "groups.contexts.metadata.get"),
	writeGroup("PUT", "/contexts/{context_id}/metadata", "groups.contexts.metadata.put"),
	readGroup("/contexts/{context_id}/visibility", "groups.contexts.visibility.get"),
	writeGroup("PUT", "/contexts/{context_id}/visibility", "groups.contexts.visibility.put"),
	readGroup("/contexts/{context_id}/allowlist", "groups.contexts.allowlist.get"),
	writeGroup("POST", "/contexts/{context_id}/allowlist", "groups.contexts.allowlist.change"),

	writeGroup("PUT", "/settings", "groups.settings"),
	writeGroup("PUT", "/settings/default-capabilities", "groups.settings.default-capabilities"),
	writeGroup("PUT", "/settings/default-visibility", "groups.settings.default-visibility"),
	writeGroup("PUT", "/settings/subgroup-visibility", "groups.settings.subgroup-visibility"),
	readGroup("/settings/tee-admission-policy", "groups.settings.tee-admission-policy.get"),
	writeGroup("PUT", "/settings/tee-admission-policy", "groups.settings.tee-admission-policy.put"),
	writeGroup("PUT", "/visibility", "groups.visibility"),
	writeGroup("PUT", "/allowlist", "groups.allowlist"),

	writeGroup("POST", "/upgrade", "groups.upgrade"),
	writeGroup("POST", "/upgrade/retry", "groups.upgrade.retry"),
	readGroup("/upgrade/status", "groups.upgrade.status"),
	readGroup("/cascade-status", "groups.cascade-status"),
	readGroup("/migration-status", "groups.migration-status"),
	writeGroup("POST", "/migration/abort", "groups.migration.abort"),
}

const oneGroup = "/admin-api/groups/{group_id}"

func readGroup(below, op string) Row {
	return on("GET "+oneGroup+below, op, need("group:list[group_id]"))
}

func writeGroup(method, below, op string) Row {
	return on(method+" "+oneGroup+below, op, need("group:manage[group_id]"))
}

func groupAlias(method, below, ofMethod, ofBelow string) Row {
	return alias(method+" "+oneGroup+below, ofMethod+" "+oneGroup+ofBelow)
}

var namespaceRows = []Row{
	on("GET /admin-api/namespaces", "namespaces.list", need("namespace:list")),
	on("POST /admin-api/namespaces", "namespaces.create", need("namespace:create")),
	// As with contexts: the node answers with the namespaces that the caller may see.
	on("GET /admin-api/namespaces/for-application/{application_id}", "namespaces.for-application", inAny("namespace:list")),
	on("GET /admin-api/namespaces/{namespace_id}", "namespaces.get", need("namespace:list[namespace_id]")),
	on("DELETE /admin-api/namespaces/{namespace_id}", "namespaces.delete", need("namespace:manage[namespace_id]")),
	on("GET /admin-api/namespaces/{namespace_id}/identity", "namespaces.identity", need("namespace:list[namespace_id]")),
	on("POST /admin-api/namespaces/{namespace_id}/invite", "namespaces.invite", need("namespace:manage[namespace_id]")),
	on("POST /admin-api/namespaces/{namespace_id}/join", "namespaces.join", need("namespace:manage[namespace_id]")),
	on("POST /admin-api/namespaces/{namespace_id}/leave", "namespaces.leave", need("namespace:manage[namespace_id]")),
	on("GET /admin-api/namespaces/{namespace_id}/groups", "namespaces.groups.list", need("namespace:list[namespace_id]")),
	on("POST /admin-api/namespaces/{namespace_id}/groups", "namespaces.groups.create", need("group:create")),

	// By kind.
	on("POST /admin-api/namespaces/{namespace_id}/account/pair-init", "namespaces.account.pair-init", need("namespace:manage[namespace_id]")),
	on("POST /admin-api/namespaces/{namespace_id}/account/pair-complete", "namespaces.account.pair-complete", need("namespace:manage[namespace_id]")),
	on("POST /admin-api/namespaces/{namespace_id}/account/revoke", "namespaces.account.revoke", need("namespace:manage[namespace_id]")),
}
