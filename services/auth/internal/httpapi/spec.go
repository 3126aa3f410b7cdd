package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/metrics"
	"github.com/calimero-network/mero-go/services/auth/internal/openapi"
)

// Document returns the OpenAPI document of the data plane.
func Document(version string) (openapi.Document, error) {
	return openapi.Describe(openapi.Info{
		Title: "mero-auth", Version: version,
		Text: "Forward authentication: wallet and password login, keys, permissions, tokens. Bodies are JSON. An answer is " +
			"`{\"data\": …, \"error\": null}`, a refusal `{\"data\": null, \"error\": \"text for people\"}` with a stable word in `X-Auth-Error` " +
			"where clients must tell the cause.",
		ErrorHeader: openapi.Parameter{Name: identity.HeaderError, Text: "stable word for the cause, where there is one"},
		Common: map[int]string{
			http.StatusBadRequest:            "the request is malformed; the text says what to mend",
			http.StatusUnauthorized:          "no token (missing_token), a wrong one (invalid_token) or one that has expired (token_expired)",
			http.StatusForbidden:             "permission_denied, token_revoked, or invalid_node: the token is not for this host",
			http.StatusNotFound:              "there is no such thing",
			http.StatusMethodNotAllowed:      "the path has other methods, which Allow names",
			http.StatusRequestEntityTooLarge: "the body is larger than security.max_body_size",
			http.StatusUnsupportedMediaType:  "the body is not JSON with Content-Type: application/json",
			http.StatusTooManyRequests:       "too many attempts; Retry-After says when to come back",
			http.StatusInternalServerError:   "a fault of the service; the log has it under X-Request-Id",
			http.StatusServiceUnavailable:    "the store or a provider is unavailable; Retry-After says when to come back",
		},
	}, route.Auth, operations())
}

func (s *server) openapi(c echo.Context) error {
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
			Summary: "A challenge for a wallet to sign", Answer: challengeBody{},
			Text:  "It is valid for five minutes and for one login, by the method that it was asked for. Nothing is stored until it is used.",
			Query: []openapi.Parameter{{Name: "method", Text: "the auth_method that alone may use it; without it any"}},
		},
		"login.providers": {Summary: "The ways to log in", Answer: providersBody{}},
		"token.issue": {
			Summary: "Log in", Body: tokenBody{}, Answer: pairBody{},
			Text: "`provider_data` is for the provider: `username` and `password`; `wallet_address`, `message`, `signature` and, for Ethereum, " +
				"`challenge`. See docs/clients.md.",
			Refuses: map[int]string{
				http.StatusUnauthorized:        "the proof is wrong, or this identity has no key here",
				http.StatusUnprocessableEntity: "a member is empty or too long",
			},
		},
		"token.refresh": {
			Summary: "Exchange a refresh token for its successor", Body: refreshBody{}, Answer: pairBody{},
			Text: "Every refresh rotates. A repeat within `jwt.refresh_grace` gets the same successor; a later one ends the session (`token_reuse`).",
			Refuses: map[int]string{
				http.StatusUnauthorized:        "the access token is still valid, the refresh token is not, or it was used before (token_reuse)",
				http.StatusUnprocessableEntity: "a member is empty",
			},
		},
		"token.mock": {Summary: "Tokens for tests", Text: "Answers 404 but in a build with the tag `mock`.", Status: http.StatusNotFound},
		"token.revoke": {
			Summary: "End the presented session, or revoke a key", Body: revokeBody{}, NoBody: true, Answer: doneBody{},
			Refuses: map[int]string{http.StatusConflict: "it is the last administrator", http.StatusUnprocessableEntity: "client_id is empty"},
		},
		"gate.validate": {
			Summary: "May this request reach the node, and as whom?",
			Text: "With `?proxy=nginx|traefik|caddy|haproxy` it is the question of a proxy about the request that its headers describe; only " +
				"`forward.trusted_proxies` may ask. Without, a client asks about its own token. See docs/proxies.md.",
			Query:   []openapi.Parameter{{Name: "proxy", Text: "which proxy asks"}},
			Headers: identityHeaders,
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
			Refuses: map[int]string{http.StatusConflict: lastAdminKept},
		},
		"keys.change": {
			Summary: "Change the name or the expiry of a key, or the password of its account", Body: updateKeyBody{}, Answer: rootBody{}, Answers: []any{clientBody{}},
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
				http.StatusForbidden: "permission_denied: a permission is beyond the caller's own", http.StatusUnprocessableEntity: "a member is empty",
			},
		},
		"clients.delete": {Summary: "Revoke a client key and its sessions", Answer: revokedBody{}},
	}
}
