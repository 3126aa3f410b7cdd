package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/metrics"
	"github.com/calimero-network/mero-go/services/auth/internal/openapi"
)

// Document returns the OpenAPI document of the data plane.
func Document(version string) (openapi.Document, error) {
	return openapi.Describe(openapi.Info{
		Title: "mero-auth", Version: version,
		Text: "Forward authentication: wallet and password login, keys, permissions, tokens. Bodies are JSON. An answer is " +
			"`{\"data\": …, \"error\": null}`, a refusal `{\"data\": null, \"error\": \"text for people\"}` with a stable word in `X-Auth-Error` " +
			"where clients must tell the cause. Another method on a path that is here is 405, with the right ones in `Allow`, and any other path 404.",
		ErrorHeader: openapi.Parameter{Name: identity.HeaderError, Text: "stable word for the cause, where there is one"},
		RefusalHeaders: map[int][]openapi.Parameter{
			http.StatusFound:              {{Name: "Location", Text: "the login page, absolute"}},
			http.StatusUnauthorized:       {{Name: "WWW-Authenticate", Text: "Bearer, with the cause (RFC 6750 section 3)"}},
			http.StatusTooManyRequests:    {retryAfter},
			http.StatusServiceUnavailable: {retryAfter},
		},
		Beside: validateRows(),
		Common: map[int]string{
			http.StatusBadRequest:            "the request is malformed or asks for what cannot be; the text says what to mend",
			http.StatusUnauthorized:          "no token (missing_token), a wrong one (invalid_token) or one that has expired (token_expired)",
			http.StatusForbidden:             "permission_denied, token_revoked, or invalid_node: the token is not for this host",
			http.StatusNotFound:              "there is no such thing",
			http.StatusRequestTimeout:        "the body did not arrive in time",
			http.StatusRequestEntityTooLarge: "the body is larger than security.max_body_size",
			http.StatusUnsupportedMediaType:  "the body is not JSON with Content-Type: application/json",
			http.StatusTooManyRequests:       "too many attempts; Retry-After says when to come back",
			http.StatusInternalServerError:   "a fault of the service; the log has it under X-Request-Id",
			http.StatusServiceUnavailable:    "the store or a provider is unavailable; Retry-After says when to come back",
		},
	}, route.Auth, operations())
}

var retryAfter = openapi.Parameter{Name: "Retry-After", Text: "seconds until trying again may help", Integer: true}

// validateRows are what the gate is asked beside the rows of the table. It takes any method in its form for Envoy; these are the
// ones that the node has routes for, and preflights.
func validateRows() []*route.Row {
	rows := []*route.Row{{Method: http.MethodHead, Pattern: gate.Path, Op: "gate.validate", Guard: route.Public}}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		rows = append(rows, &route.Row{Method: method, Pattern: gate.EnvoyPrefix + "/{target...}", Op: "gate.envoy", Guard: route.Public})
	}
	return rows
}

func (s *server) openapi(c echo.Context) error {
	c.Response().Header().Set("Cache-Control", "public, max-age=300")
	return c.Blob(http.StatusOK, "application/json", s.document)
}

// pageQuery are the parameters of lists that come in pages.
var pageQuery = []openapi.Parameter{
	{Name: "limit", Text: "at most so many, 1 to 1000; without it everything", Integer: true},
	{Name: "cursor", Text: "next_cursor of the page before"},
}

// identityHeaders are those of an allowed question.
var identityHeaders = []openapi.Parameter{
	{Name: identity.HeaderKey, Text: "id of the key; empty for a probe, a preflight and on public routes without a token"},
	{Name: identity.HeaderUser, Text: "the same, also for a probe"},
	{Name: identity.HeaderPermissions, Text: "what token, key and root all cover, separated by commas"},
	{Name: identity.HeaderExpires, Text: "end of the token, Unix seconds"},
	{Name: identity.HeaderAssertion, Text: "proof for the node that the gate said so"},
}

// operations describes every operation of the table.
func operations() map[string]openapi.Operation {
	all := map[string]openapi.Operation{}
	for _, part := range []map[string]openapi.Operation{pageOperations(), loginOperations(), serviceOperations(), keyOperations(), clientOperations()} {
		for name, o := range part {
			all[name] = o
		}
	}
	return all
}

func pageOperations() map[string]openapi.Operation {
	const html = "text/html"
	return map[string]openapi.Operation{
		"login.page":     {Summary: "The login page", Media: html},
		"login.asset":    {Summary: "A file of the login page", Text: "The plain page of this version has none.", Status: http.StatusNotFound},
		"login.favicon":  {Summary: "The icon of the login page", Text: "The plain page of this version has none.", Status: http.StatusNotFound},
		"login.callback": {Summary: "Leads to the login page", Text: "The query goes along.", Status: http.StatusFound},
		"admin.redirect": {Summary: "Leads to the node's dashboard", Status: http.StatusFound},
	}
}

func loginOperations() map[string]openapi.Operation {
	return map[string]openapi.Operation{
		"login.challenge": {
			Summary: "A challenge for a wallet to sign", Answer: challengeBody{}, Limited: true,
			Text:  "It is valid for five minutes and for one login, by the method that it was asked for. Nothing is stored until it is used.",
			Query: []openapi.Parameter{{Name: "method", Text: "the auth_method that alone may use it; without it any"}},
		},
		"login.providers": {Summary: "The ways to log in", Answer: providersBody{}, Stored: true},
		"token.issue": {
			Summary: "Log in", Body: tokenBody{}, Answer: pairBody{}, Limited: true, Stored: true,
			Text: "`provider_data` is for the provider: `username` and `password`; `wallet_address`, `message`, `signature` and, for Ethereum, " +
				"`challenge`. See docs/clients.md.",
			Refuses: map[int]string{
				http.StatusUnauthorized:        "the proof is wrong, or this identity has no key here",
				http.StatusUnprocessableEntity: "a member is empty or too long",
			},
		},
		"token.refresh": {
			Summary: "Exchange a refresh token for its successor", Body: refreshBody{}, Answer: pairBody{}, Limited: true, Stored: true,
			Text: "Every refresh rotates. A repeat within `jwt.refresh_grace` gets the same successor; a later one ends the session (`token_reuse`).",
			Refuses: map[int]string{
				http.StatusUnauthorized:        "the access token is still valid, the refresh token is not, or it was used before (token_reuse)",
				http.StatusForbidden:           "invalid_node: the session is not for this host",
				http.StatusUnprocessableEntity: "a member is empty",
			},
		},
		"token.mock": {Summary: "Tokens for tests", Text: "Answers 404 but in a build with the tag `mock`.", Status: http.StatusNotFound},
		"token.revoke": {
			Summary: "End the presented session, or revoke a key", Body: revokeBody{}, NoBody: true, Answer: doneBody{},
			Refuses: map[int]string{
				http.StatusConflict: "it is the last administrator", http.StatusUnprocessableEntity: "client_id is empty", http.StatusNotFound: "there is no such key",
			},
		},
		"gate.validate": {
			Summary: "May this request reach the node, and as whom?",
			Text: "With `?proxy=nginx|traefik|caddy|haproxy` it is the question of a proxy about the request that its headers describe; only " +
				"`forward.trusted_proxies` may ask. Without, a client asks about its own token. See docs/proxies.md.",
			Query:   []openapi.Parameter{{Name: "proxy", Text: "which proxy asks: nginx, traefik, caddy or haproxy"}},
			Headers: identityHeaders, Answer: "", Means: "it may. Only a probe has a body; the question of a proxy is answered without one",
			Exact: true,
			Refuses: map[int]string{
				http.StatusFound:        "a browser that navigates without a good token, in the forms of Traefik and Caddy, goes to the login page",
				http.StatusUnauthorized: "missing_token, invalid_token, token_expired, token_revoked. Without a body in the form of nginx",
				http.StatusForbidden:    "permission_denied, invalid_node, invalid_target. Without a body in the form of nginx",
			},
		},
		"gate.envoy": {
			Summary: "May this request reach the node, and as whom? Envoy's form",
			Text: "Envoy (`ext_authz` with `path_prefix: " + gate.EnvoyPrefix + "`) asks with the request's own method, Host and headers; its " +
				"target, with the query, follows the prefix as it is. Any method is a question, and forwarding headers are ignored.",
			Headers: identityHeaders, Means: "it may; without a body", Exact: true,
			Refuses: map[int]string{
				http.StatusUnauthorized: "missing_token, invalid_token, token_expired, token_revoked",
				http.StatusForbidden:    "permission_denied, invalid_node, invalid_target",
			},
		},
	}
}

func serviceOperations() map[string]openapi.Operation {
	return map[string]openapi.Operation{
		"service.health":   {Summary: "Is somebody there?", Text: "Always 200. Readiness is at /readyz of the operators' listener.", Answer: healthBody{}},
		"service.identity": {Summary: "What this service is", Answer: identityBody{}},
		"admin.identity":   {Summary: "What this service is", Answer: identityBody{}},
		"service.jwks": {
			Summary: "The public keys of assertions", Text: "A JSON Web Key Set (RFC 7517), without the envelope.", Media: "application/jwk-set+json",
		},
		"service.openapi": {Summary: "This document", Media: "application/json"},
		"admin.metrics":   {Summary: "Counters since the start", Answer: metrics.Totals{}},
		"admin.audit": {
			Summary: "Who changed what", Answer: auditBody{},
			Text: "Oldest first from `since` or after `cursor`; without either the newest.",
			Query: []openapi.Parameter{
				{Name: "since", Text: "Unix seconds, or a time like 2026-01-31T12:00:00Z"},
				{Name: "limit", Text: "at most so many", Integer: true},
				{Name: "cursor", Text: "next_cursor of the answer before"},
			},
		},
	}
}

func keyOperations() map[string]openapi.Operation {
	const lastAdminKept = "it is the last administrator"
	return map[string]openapi.Operation{
		"keys.list": {Summary: "The root keys", Query: pageQuery, Answer: []rootBody{}, Paged: true, Text: "Revoked ones included."},
		"keys.create": {
			Summary: "Add a root key", Body: createRootBody{}, Answer: createdBody{},
			Text: "By a proof of possession, or by the account alone: then whoever proves it can log in. A live key of the identity stays as " +
				"it is, and so does its password. The name of a password account whose key was revoked passes to a new key if `replace_revoked` is true.",
			Refuses: map[int]string{http.StatusConflict: "the identity has a key that was revoked or has expired", http.StatusUnprocessableEntity: "a member is empty"},
		},
		"keys.delete": {
			Summary: "Revoke a root key, its client keys and all their sessions", Answer: revokedBody{},
			Refuses: map[int]string{http.StatusConflict: lastAdminKept, http.StatusBadRequest: "it is the id of a client key"},
		},
		"keys.change": {
			Limited: true, Summary: "Change the name or the expiry of a key, or the password of its account", Body: updateKeyBody{}, Answer: rootBody{}, Answers: []any{clientBody{}},
			Text:    "What is absent stays as it is. A new password ends all sessions of the key, those of the caller too if the key is theirs.",
			Refuses: map[int]string{http.StatusConflict: lastAdminKept},
		},
		"keys.permissions.get": {Summary: "The permissions of a key", Answer: permissionsBody{}},
		"keys.permissions.change": {
			Summary: "Change the permissions of a key", Body: changePermissionsBody{}, Answer: permissionsBody{},
			Text:    "What is removed is refused from the next request on. Nobody grants what they do not hold.",
			Refuses: map[int]string{http.StatusConflict: lastAdminKept},
		},
		"sessions.list": {Summary: "The sessions of a key", Query: pageQuery, Answer: []sessionBody{}, Paged: true},
		"sessions.delete": {
			Summary: "End a session", Answer: endedBody{}, Text: "Its tokens are refused from the next request on.",
		},
	}
}

func clientOperations() map[string]openapi.Operation {
	return map[string]openapi.Operation{
		"clients.list": {Summary: "The client keys", Query: pageQuery, Answer: []clientBody{}, Paged: true, Text: "Revoked ones included."},
		"clients.create": {
			Summary: "Make a client key and its tokens", Body: createClientBody{}, Answer: pairBody{},
			Text: "With `expires_in` a machine token: one access token that lives as long as the key, and an empty refresh token.",
			Refuses: map[int]string{
				http.StatusBadRequest: "the request is malformed, or a permission is beyond the caller's own",
				http.StatusConflict:   "the root key has as many live client keys as security.max_clients_per_root allows",
			},
		},
		"clients.delete": {
			Summary: "Revoke a client key and its sessions", Answer: revokedBody{},
			Refuses: map[int]string{http.StatusBadRequest: "the client key is another root key's"},
		},
	}
}
