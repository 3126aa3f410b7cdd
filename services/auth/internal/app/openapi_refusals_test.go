package app_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// described is an operation of the document.
type described struct {
	id, method, path string // path with ids that nobody has
	required         []string
	optional         []string
	body, query      bool
	guarded          bool
	statuses         []string
}

// operations reads the document.
func (c *conversation) operations(t *testing.T) (all []described) {
	t.Helper()
	paths := c.at(t, "/paths")
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		methods := paths[path].(map[string]any)
		for _, method := range slices.Sorted(maps.Keys(methods)) {
			op := methods[method].(map[string]any)
			d := described{
				id: op["operationId"].(string), method: strings.ToUpper(method), guarded: len(op["security"].([]any)) > 0,
				statuses: slices.Sorted(maps.Keys(op["responses"].(map[string]any))),
			}
			for _, member := range list(op["parameters"]) {
				d.query = d.query || member["in"] == "query"
			}
			d.path = strings.NewReplacer("{key_id}", "none", "{client_id}", "none", "{family}", "none").Replace(path)
			if body, has := op["requestBody"].(map[string]any); has {
				d.body = true
				schema := body["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)
				for _, name := range slices.Sorted(maps.Keys(schema["properties"].(map[string]any))) {
					if slices.Contains(texts(schema["required"]), name) {
						d.required = append(d.required, name)
					} else {
						d.optional = append(d.optional, name)
					}
				}
			}
			all = append(all, d)
		}
	}
	return all
}

func list(value any) (all []map[string]any) {
	items, _ := value.([]any)
	for _, item := range items {
		all = append(all, item.(map[string]any))
	}
	return all
}

func texts(value any) (all []string) {
	items, _ := value.([]any)
	for _, item := range items {
		all = append(all, item.(string))
	}
	return all
}

// Every refusal that the document gives an operation can be had from it, and no operation refuses as the document does not
// know: those that many share follow from the row, and an operation without a body has none about bodies.
func TestOpenAPI_RefusalsByRow(t *testing.T) {
	c := newConversation(t, func(c *config.Config) { c.Security.MaxBodySize = 4096 })
	admin := c.first(t).Access
	var weak, revoked tokens
	for _, pair := range []*tokens{&weak, &revoked} {
		c.ask(t, 200, "POST", "/admin/client-key", admin, map[string]any{"permissions": []string{"blob:list"}}, pair)
	}
	c.ask(t, 200, "POST", "/admin/revoke", revoked.Access, nil, nil)
	for _, o := range c.operations(t) {
		if strings.HasPrefix(o.id, "gate.") || o.id == "token.mock" || strings.HasPrefix(o.id, "login.asset") {
			continue // which TestOpenAPI_AnswersFitTheDocument plays
		}
		got := map[string]bool{}
		try := func(want int, suffix, token string, body any) {
			t.Helper()
			status, _, text := c.send(t, o.method, o.path+suffix, token, body)
			if status != want {
				t.Errorf("%s %s: %d %s, want %d", o.method, o.path+suffix, status, text, want)
				return
			}
			c.ask(t, status, o.method, o.path+suffix, token, body, nil)
			got[http.StatusText(status)] = true
		}
		token := ""
		if o.guarded {
			try(http.StatusUnauthorized, "", "", nil)
			try(http.StatusForbidden, "", revoked.Access, nil)
			token = admin
		}
		if o.body {
			try(http.StatusUnsupportedMediaType, "", token, plainText("{}"))
			try(http.StatusRequestEntityTooLarge, "", token, `{"x":"`+strings.Repeat("x", 4096)+`"}`)
			try(http.StatusBadRequest, "", token, "{")
		}
		if o.query {
			nonsense := "?nonsense=1"
			if o.id == "login.challenge" {
				nonsense = "?method=nonsense" // others are ignored, as the reference does
			}
			try(http.StatusBadRequest, nonsense, token, nil)
		}
		if o.guarded && strings.Contains(o.path, "none") {
			var body any
			if o.body {
				body = map[string]any{o.optional[0]: nil}
			}
			try(http.StatusNotFound, "", token, body)
		}
		for status, name := range map[string]string{
			"401": "Unauthorized", "403": "Forbidden", "413": "Request Entity Too Large", "415": "Unsupported Media Type", "405": "Method Not Allowed",
		} {
			if o.id == "token.refresh" && status < "404" {
				continue // its own
			}
			if o.id == "token.issue" && status == "401" {
				continue // its own
			}
			if slices.Contains(o.statuses, status) != got[name] {
				t.Errorf("%s: the document lists %s: %t, it was had: %t", o.id, status, slices.Contains(o.statuses, status), got[name])
			}
		}
	}
}

// The gate never answers a proxy with what a proxy makes a 500 of, and the document does not say so either.
func TestOpenAPI_GateRefusesWith401And403Alone(t *testing.T) {
	c := newConversation(t)
	seen := 0
	for _, o := range c.operations(t) {
		if !strings.HasPrefix(o.id, "gate.") {
			continue
		}
		seen++
		want := []string{"200", "401", "403", "500"}
		if strings.HasPrefix(o.id, "gate.validate") {
			want = []string{"200", "302", "401", "403", "500"}
		}
		if !slices.Equal(o.statuses, want) {
			t.Errorf("%s %s: %v, want %v", o.method, o.path, o.statuses, want)
		}
	}
	if seen != 10 {
		t.Errorf("%d operations of the gate, want 3 and 7 for Envoy", seen)
	}
}

// The document says 429 of what is limited and of nothing else.
func TestOpenAPI_Limits(t *testing.T) {
	c := newConversation(t, func(c *config.Config) { c.Security.RateLimit = config.RateLimit{RPM: 1, Burst: 1} })
	for _, o := range c.operations(t) {
		if o.id == "keys.change" { // a new password costs what a login costs
			continue
		}
		if o.guarded || strings.Contains(o.path, "{") {
			if slices.Contains(o.statuses, "429") {
				t.Errorf("%s is not limited by address, and the document says so", o.id)
			}
			continue
		}
		limited := false
		for range 3 {
			var body any
			if o.body {
				body = "{"
			}
			status, _, _ := c.send(t, o.method, o.path, "", body)
			limited = limited || status == http.StatusTooManyRequests
		}
		if limited != slices.Contains(o.statuses, "429") {
			t.Errorf("%s: limited %t, documented %t", o.id, limited, !limited)
		}
	}
}

// A member that is required is not null, and one that is not may be.
func TestOpenAPI_Null(t *testing.T) {
	c := newConversation(t)
	first := c.first(t)
	good := map[string]map[string]any{
		"token.issue": {
			"auth_method": "user_password", "public_key": "alice", "client_name": "test", "timestamp": 1,
			"provider_data": map[string]any{"username": "alice", "password": "correct horse"},
		},
		"token.refresh": {"access_token": first.Access, "refresh_token": first.Refresh},
		"keys.create":   {"auth_method": "user_password", "public_key": "bob", "provider_data": map[string]any{"username": "bob", "password": "another password"}},
	}
	for _, o := range c.operations(t) {
		if !o.body || o.id == "token.mock" {
			continue
		}
		token := ""
		if o.guarded {
			pair, status := c.login(t, "alice", "correct horse", "")
			if status != http.StatusOK {
				t.Fatalf("login: %d", status)
			}
			token = pair.Access
		}
		if len(o.required) > 0 && good[o.id] == nil {
			t.Errorf("%s: the test has no body for it", o.id)
			continue
		}
		for _, name := range o.required {
			body := maps.Clone(good[o.id])
			body[name] = nil
			if status, _, text := c.send(t, o.method, o.path, token, body); status != http.StatusBadRequest {
				t.Errorf("%s with %s null: %d %s, want 400", o.id, name, status, text)
			}
			if c.fitsBody(t, o, body) {
				t.Errorf("%s: the document allows null for %s", o.id, name)
			}
		}
		for _, name := range o.optional {
			body := maps.Clone(good[o.id])
			if body == nil {
				body = map[string]any{}
			}
			body[name] = nil
			status, _, text := c.send(t, o.method, o.path, token, body)
			if fits := c.fitsBody(t, o, body); fits == (status == http.StatusBadRequest) {
				t.Errorf("%s with %s null: %d %s; the document allows it: %t", o.id, name, status, text, fits)
			}
		}
	}
}

// fitsBody reports whether the document accepts a body.
func (c *conversation) fitsBody(t *testing.T, o described, body map[string]any) bool {
	t.Helper()
	_, pattern := c.row(t, o.method, o.path)
	pointer := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(pattern) + "/" + strings.ToLower(o.method) + "/requestBody/content/application~1json/schema"
	schema, err := c.compiler.Compile("api.json#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(body) == nil
}
