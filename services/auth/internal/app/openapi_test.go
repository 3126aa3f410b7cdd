package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
)

var updateDocs = flag.Bool("update", false, "write docs/api.md")

const apiPage = "../../../../docs/api.md"

// The page for people is made from the document that the service serves.
func TestAPIPage(t *testing.T) {
	document, err := httpapi.Document("(this version)")
	if err != nil {
		t.Fatal(err)
	}
	want := document.Markdown()
	if *updateDocs {
		if err := os.WriteFile(apiPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(apiPage)
	if err != nil || string(got) != want {
		t.Errorf("docs/api.md is not what the service says of itself (%v); run: go test ./internal/app -run TestAPIPage -update", err)
	}
}

// conversation checks every answer that it gets against the document.
type conversation struct {
	*instance
	document map[string]any
	compiler *jsonschema.Compiler
	seen     map[string]bool // "operation status"
}

func newConversation(t *testing.T, changes ...func(*config.Config)) *conversation {
	t.Helper()
	changes = append(changes, func(c *config.Config) { c.Providers.EthWallet = true })
	i := run(t, settings(t, changes...))
	c := &conversation{instance: i, compiler: jsonschema.NewCompiler(), seen: map[string]bool{}}
	status, header, body := c.send(t, http.MethodGet, "/auth/openapi.json", "", nil)
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		t.Fatalf("/auth/openapi.json: %d, %s", status, body)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	c.document = parsed.(map[string]any)
	if err := c.compiler.AddResource("api.json", parsed); err != nil {
		t.Fatal(err)
	}
	return c
}

// plainText is a body that is sent as text/plain.
type plainText string

func (c *conversation) send(t *testing.T, method, target, token string, body any) (status int, header http.Header, text []byte) {
	t.Helper()
	var payload io.Reader = http.NoBody
	if text, is := body.(string); is {
		payload = strings.NewReader(text)
	} else if text, is := body.(plainText); is {
		payload = strings.NewReader(string(text))
	} else if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.url+target, payload)
	if err != nil {
		t.Fatal(err)
	}
	switch _, isPlain := body.(plainText); {
	case isPlain:
		req.Header.Set("Content-Type", "text/plain")
	case body != nil:
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err = io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, text
}

// ask sends a request, checks status and document, and decodes data.
func (c *conversation) ask(t *testing.T, status int, method, target, token string, body, data any) {
	t.Helper()
	got, header, text := c.send(t, method, target, token, body)
	if got != status {
		t.Fatalf("%s %s: %d, want %d: %s", method, target, got, status, text)
	}
	op, pattern := c.row(t, method, target)
	c.seen[op+" "+strconv.Itoa(status)] = true
	pointer := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(pattern) + "/" + strings.ToLower(method) + "/responses/" + strconv.Itoa(status)
	answer := c.at(t, pointer)
	if answer == nil {
		t.Errorf("%s %s answers %d, which the document does not know", method, target, status)
		return
	}
	if ref, is := answer["$ref"].(string); is {
		pointer = strings.TrimPrefix(ref, "#")
		answer = c.at(t, pointer)
	}
	content, hasContent := answer["content"].(map[string]any)
	switch {
	case !hasContent && len(text) > 0:
		t.Errorf("%s %s: %d has a body that the document does not describe: %s", method, target, status, text)
		return
	case !hasContent, method == http.MethodHead:
		return
	case len(text) == 0 && strings.Contains(target, "?proxy="):
		return // the document says that proxies get none
	}
	media, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	if _, known := content[media]; !known {
		t.Errorf("%s %s answers %d with %q, the document knows %v", method, target, status, media, slices.Collect(maps.Keys(content)))
		return
	}
	if media != "application/json" || op == "service.openapi" {
		return
	}
	schema, err := c.compiler.Compile("api.json#" + pointer + "/content/application~1json/schema")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s %s: %v in %s", method, target, err, text)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s %s: %d does not fit the document: %v\n%s", method, target, status, err, text)
	}
	if data != nil {
		if err := json.Unmarshal(text, &struct {
			Data any `json:"data"`
		}{data}); err != nil {
			t.Fatal(err)
		}
	}
}

// row returns the operation of a request and its path in the document.
func (c *conversation) row(t *testing.T, method, target string) (op, pattern string) {
	t.Helper()
	path, _, _ := strings.Cut(target, "?")
	if strings.HasPrefix(path, "/auth/validate/envoy/") {
		return "gate.envoy", "/auth/validate/envoy/{target}"
	}
	match, found := route.Auth.Lookup(method, path)
	if !found {
		t.Fatalf("%s %s has no row", method, target)
	}
	return match.Row.Op, strings.Replace(match.Row.Pattern, "...}", "}", 1)
}

// at follows a JSON pointer through the document.
func (c *conversation) at(t *testing.T, pointer string) map[string]any {
	t.Helper()
	here := c.document
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		next, is := here[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)].(map[string]any)
		if !is {
			return nil
		}
		here = next
	}
	return here
}

// Every operation of the document answers as the document says, and the document knows every answer. (That each route
// is described and each description has a route is checked whenever the document is made.)
func TestOpenAPI_AnswersFitTheDocument(t *testing.T) {
	c := newConversation(t)
	admin := c.first(t).Access
	post, get, put, del, patch := http.MethodPost, http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPatch

	for _, path := range []string{"/auth/login", "/auth/challenge", "/auth/providers", "/auth/health", "/auth/identity", "/auth/keys", "/auth/openapi.json"} {
		c.ask(t, 200, get, path, "", nil, nil)
	}
	c.ask(t, 302, get, "/auth/callback?callback-url=x", "", nil, nil)
	c.ask(t, 302, get, "/admin", "", nil, nil)
	c.ask(t, 302, get, "/admin/", "", nil, nil)
	c.ask(t, 404, get, "/auth/assets/x.js", "", nil, nil)
	c.ask(t, 404, get, "/auth/favicon.ico", "", nil, nil)
	c.ask(t, 404, post, "/auth/mock-token", "", map[string]any{"client_name": "ci"}, nil)

	login := map[string]any{
		"auth_method": "user_password", "public_key": "alice", "client_name": "test", "timestamp": 1,
		"provider_data": map[string]any{"username": "alice", "password": "correct horse"},
	}
	var pair tokens
	c.ask(t, 200, post, "/auth/token", "", login, &pair)
	login["provider_data"] = map[string]any{"username": "alice", "password": "wrong"}
	c.ask(t, 401, post, "/auth/token", "", login, nil)
	login["client_name"] = ""
	c.ask(t, 422, post, "/auth/token", "", login, nil)
	c.ask(t, 400, post, "/auth/token", "", "{", nil)
	c.ask(t, 401, post, "/auth/refresh", "", map[string]any{"access_token": pair.Access, "refresh_token": pair.Refresh}, nil)
	c.ask(t, 200, get, "/auth/validate", admin, nil, nil)
	c.ask(t, 200, post, "/auth/validate", admin, nil, nil)
	c.ask(t, 200, http.MethodHead, "/auth/validate", admin, nil, nil)
	c.ask(t, 401, get, "/auth/validate", "", nil, nil)
	for _, method := range []string{get, post, put, del, patch, http.MethodHead, http.MethodOptions} {
		c.ask(t, 200, method, "/auth/validate/envoy/admin-api/contexts?x=y", admin, nil, nil)
	}
	c.ask(t, 401, get, "/auth/validate/envoy/admin-api/contexts", "", nil, nil)
	c.ask(t, 403, get, "/auth/validate/envoy/admin-api%2fcontexts", admin, nil, nil)
	c.ask(t, 403, get, "/auth/validate?proxy=traefik", admin, nil, nil)

	c.ask(t, 200, get, "/admin/identity", admin, nil, nil)
	c.ask(t, 401, get, "/admin/identity", "", nil, nil)
	c.ask(t, 200, get, "/admin/metrics", admin, nil, nil)
	c.ask(t, 200, get, "/admin/audit?limit=5", admin, nil, nil)
	c.ask(t, 400, get, "/admin/audit?limit=none", admin, nil, nil)

	type root struct {
		KeyID string `json:"key_id"`
	}
	var roots []root
	c.ask(t, 200, get, "/admin/keys", admin, nil, &roots)
	own := roots[0].KeyID
	bob := map[string]any{"auth_method": "user_password", "public_key": "bob", "provider_data": map[string]any{"username": "bob", "password": "another password"}}
	c.ask(t, 200, post, "/admin/keys", admin, bob, nil)
	c.ask(t, 200, post, "/admin/keys", admin, bob, nil)
	c.ask(t, 200, get, "/admin/keys?limit=1", admin, nil, nil)
	c.ask(t, 200, get, "/admin/keys", admin, nil, &roots)
	other := roots[slices.IndexFunc(roots, func(k root) bool { return k.KeyID != own })].KeyID
	c.ask(t, 200, get, "/admin/keys/"+other+"/permissions", admin, nil, nil)
	c.ask(t, 200, put, "/admin/keys/"+other+"/permissions", admin, map[string]any{"add": []string{"blob"}, "remove": []string{"admin"}}, nil)
	c.ask(t, 400, put, "/admin/keys/"+other+"/permissions", admin, map[string]any{"add": []string{"nonsense"}}, nil)
	c.ask(t, 409, put, "/admin/keys/"+own+"/permissions", admin, map[string]any{"add": []string{"blob"}, "remove": []string{"admin"}}, nil)
	c.ask(t, 200, patch, "/admin/keys/"+other, admin, map[string]any{"name": "Bob", "password": "a third password"}, nil)
	c.ask(t, 400, patch, "/admin/keys/"+other, admin, map[string]any{"password": "short"}, nil)
	c.ask(t, 409, del, "/admin/keys/"+own, admin, nil, nil)
	c.ask(t, 404, del, "/admin/keys/none", admin, nil, nil)

	var client tokens
	c.ask(t, 200, post, "/admin/client-key", admin, map[string]any{"permissions": []string{"blob:list"}, "name": "backup", "expires_in": 3600}, &client)
	c.ask(t, 403, get, "/admin/keys", client.Access, nil, nil)
	var clients []struct {
		ClientID string `json:"client_id"`
	}
	c.ask(t, 200, get, "/admin/keys/clients", admin, nil, &clients)
	c.ask(t, 200, patch, "/admin/keys/"+clients[0].ClientID, admin, map[string]any{"name": "nightly"}, nil)
	c.ask(t, 200, del, "/admin/keys/"+own+"/clients/"+clients[0].ClientID, admin, nil, nil)
	c.ask(t, 404, del, "/admin/keys/"+own+"/clients/none", admin, nil, nil)

	type session struct {
		Family  string
		Current bool
	}
	var sessions []session
	c.ask(t, 200, get, "/admin/keys/"+own+"/sessions", admin, nil, &sessions)
	ended := sessions[slices.IndexFunc(sessions, func(s session) bool { return !s.Current })].Family
	c.ask(t, 200, del, "/admin/keys/"+own+"/sessions/"+ended, admin, nil, nil)
	c.ask(t, 200, del, "/admin/keys/"+other, admin, nil, nil)
	c.clock.Advance(2 * 3600 * 1e9)
	c.ask(t, 401, get, "/admin/identity", admin, nil, nil)
	var again tokens
	login["client_name"], login["provider_data"] = "test", map[string]any{"username": "alice", "password": "correct horse"}
	c.ask(t, 200, post, "/auth/token", "", login, &again)
	c.clock.Advance(2 * 3600 * 1e9)
	c.ask(t, 200, post, "/auth/refresh", "", map[string]any{"access_token": again.Access, "refresh_token": again.Refresh}, &again)
	c.ask(t, 200, post, "/admin/revoke", again.Access, nil, nil)
	c.ask(t, 403, get, "/admin/identity", again.Access, nil, nil)

	for row := range route.Auth.All() {
		good := slices.ContainsFunc(slices.Collect(maps.Keys(c.seen)), func(s string) bool {
			op, status, _ := strings.Cut(s, " ")
			return op == row.Op && (status < "4" || row.Op == "token.mock" || strings.HasPrefix(row.Op, "login."))
		})
		if !good {
			t.Errorf("%s was never answered as its callers hope", row.Op)
		}
	}
}
