package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A key for one method of one context as one identity calls that, and nothing else that anybody can think of.
func TestKeyForOneMethodOfOneContextAsOneIdentity(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	app := s.installSample(t)
	one, two := s.room(t, app), s.room(t, app)
	for _, r := range []room{one, two} {
		r.execute(t, "set", `{"key":"a","value":"1"}`, "null")
	}
	key := s.token(t, fmt.Sprintf("context:execute[%s,%s,get]", one.ID, one.Member))
	const get, denied = `{"key":"a"}`, "error Unauthorized"

	for as, name := range map[string]string{"": "nobody", one.Member: "its identity"} {
		if got := one.as(t, key, as, "get", get); got != `"1"` {
			t.Errorf("get as %s: %s", name, got)
		}
	}
	ofAnother := s.token(t, fmt.Sprintf("context:execute[%s,%s,get]", one.ID, two.Member))
	for name, call := range map[string]struct {
		token, as, method, arguments string
		in                           room
	}{
		"another method":                      {key, "", "set", `{"key":"a","value":"2"}`, one},
		"another method, named as":            {key, one.Member, "remove", get, one},
		"a method that begins with it":        {key, "", "get_unchecked", get, one},
		"a method in another case":            {key, "", "Get", get, one},
		"a method with a list in its name":    {key, "", "set],context:execute", get, one},
		"a method that is not there":          {key, "", "missing", get, one},
		"a method that is the node's":         {key, "", "init", `{}`, one},
		"another one that is the node's":      {key, "", "__calimero_sync_next", `{}`, one},
		"the node's in another context":       {key, "", "init", `{}`, two},
		"no method":                           {key, "", "", get, one},
		"another context":                     {key, "", "get", get, two},
		"another context as its own identity": {key, two.Member, "get", get, two},
		"another context as the permitted":    {key, one.Member, "get", get, two},
		"another identity":                    {key, two.Member, "get", get, one},
		"a key of another identity, as none":  {ofAnother, "", "get", get, one},
		"a key of another identity, as one":   {ofAnother, one.Member, "get", get, one},
	} {
		if got := call.in.as(t, call.token, call.as, call.method, call.arguments); !strings.HasPrefix(got, "error ") || got == "error FunctionCallError" {
			t.Errorf("%s: %s, want a refusal before anything runs", name, got)
		}
	}
	inBatch(t, key, one, two)
	refusedRoutes(t, key, one)
	for _, r := range []room{one, two} {
		r.execute(t, "entries", `{}`, `{"a":"1"}`)
	}

	// Over WebSocket: this key opens none, and one that may subscribe as well executes no more there than over HTTP.
	if _, status := s.handshake(t, key); status != http.StatusForbidden {
		t.Errorf("WebSocket: status %d, want 403", status)
	}
	ws := s.socket(t, s.token(t, fmt.Sprintf("context:execute[%s,%s,get]", one.ID, one.Member), "context:subscribe["+two.ID+"]"))
	for name, x := range map[string]struct {
		message map[string]any
		want    string
	}{
		"get":              {one.execution("", "get", get), `"1"`},
		"set":              {one.execution("", "set", `{"key":"a","value":"2"}`), denied},
		"another context":  {two.execution("", "get", get), denied},
		"another identity": {one.execution(two.Member, "get", get), denied},
	} {
		if got := ws.ask(t, x.message); got.output() != x.want {
			t.Errorf("%s over WebSocket: %s, want %s", name, got.output(), x.want)
		}
	}
	if got := ws.ask(t, subscription("", one.ID)); got.Error == nil {
		t.Error("a key that may only call get subscribes over WebSocket")
	}

	// Names of contexts, and of who else is in one, tell this key nothing.
	name := two.name(t)
	own := one
	own.ID = one.name(t)
	if got := own.as(t, key, "", "get", get); got != `"1"` {
		t.Errorf("get in its context by the name of that: %s", got)
	}
	member := "member-" + one.ID[:8]
	s.call(t, "POST", "/admin-api/alias/create/identity/"+one.ID, s.admin, map[string]string{"alias": member, "identity": two.Member}).want(t, http.StatusOK)
	hidden(t, s, ws, key, name, two.ID)
	as := one.execution(member, "get", get)
	hiddenIn(t, func(message map[string]any) string { return s.rpc(t, key, message) }, as, member, two.Member)
}

// name gives a context an alias.
func (r room) name(t *testing.T) string {
	t.Helper()
	name := "alias-" + r.ID[:8]
	r.call(t, "POST", "/admin-api/alias/create/context", r.admin, map[string]any{"name": name, "alias": name, "value": map[string]string{"contextId": r.ID}, "contextId": r.ID}).want(t, http.StatusOK)
	return name
}

// rpc posts a message and returns the text of the answer.
func (a *administered) rpc(t *testing.T, token string, message map[string]any) string {
	t.Helper()
	return string(a.call(t, "POST", "/jsonrpc", token, message).want(t, http.StatusOK).body)
}

// hidden names a context to whoever may not use it, in every message that takes a name.
func hidden(t *testing.T, s *administered, ws socket, key, name, id string) {
	t.Helper()
	post := func(message map[string]any) string { return s.rpc(t, key, message) }
	overSocket := func(message map[string]any) string { return ws.askText(t, message) }
	call := room{administered: s, ID: name}.execution("", "get", `{"key":"a"}`)
	status := map[string]any{"jsonrpc": "2.0", "id": 1, "method": "sync_status", "params": map[string]any{"contextId": name}}
	hiddenIn(t, post, call, name, id)
	hiddenIn(t, post, status, name, id)
	hiddenIn(t, overSocket, call, name, id)
	hiddenIn(t, overSocket, subscription("", name), name, id)
	batch := string(s.call(t, "POST", "/jsonrpc", key, []any{call, status}).want(t, http.StatusOK).body)
	if strings.Contains(batch, id) || strings.Count(batch, name) != 4 { // message and data of both
		t.Errorf("a batch with the name of another context: %s", batch)
	}
}

// hiddenIn sends a message with a name of what the caller may not use: the answer is that for a name that nobody gave, and
// does not hold the id behind it.
func hiddenIn(t *testing.T, send func(map[string]any) string, message map[string]any, name, id string) {
	t.Helper()
	const unknown = "nosuchname"
	text, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	var guess map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), name, unknown)), &guess); err != nil {
		t.Fatal(err)
	}
	got, want := send(message), send(guess)
	if strings.Contains(got, id) || !strings.Contains(got, `"error"`) || strings.ReplaceAll(got, name, unknown) != want {
		t.Errorf("%s: %s; and for an unknown name: %s", text, got, want)
	}
}

// inBatch calls what is permitted beside what is not: each element is decided by itself.
func inBatch(t *testing.T, key string, one, two room) {
	t.Helper()
	const get = `{"key":"a"}`
	notification := one.execution("", "set", `{"key":"a","value":"3"}`)
	delete(notification, "id")
	batch := []map[string]any{
		one.execution("", "get", get), one.execution("", "set", `{"key":"a","value":"2"}`), two.execution("", "get", get),
		one.execution(two.Member, "get", get), notification, one.execution(one.Member, "get", get),
	}
	var got []reply
	if err := json.Unmarshal(one.call(t, "POST", "/jsonrpc", key, batch).want(t, http.StatusOK).body, &got); err != nil {
		t.Fatal(err)
	}
	var outputs []string
	for _, r := range got {
		outputs = append(outputs, r.output())
	}
	const denied = "error Unauthorized"
	if want := []string{`"1"`, denied, denied, denied, `"1"`}; !slices.Equal(outputs, want) {
		t.Errorf("batch: %q, want %q", outputs, want)
	}
	if status := one.as(t, key, "", "sync_status", `{}`); !strings.HasPrefix(status, "error ") {
		t.Errorf("a method named like a procedure of the node: %s", status)
	}
}

// refusedRoutes asks for everything about a context that is not the call of a method.
func refusedRoutes(t *testing.T, key string, r room) {
	t.Helper()
	context := "/admin-api/contexts/" + r.ID
	for _, route := range []string{
		"GET " + context, "DELETE " + context, "GET " + context + "/identities", "GET " + context + "/identities-owned", "GET " + context + "/storage",
		"GET " + context + "/group", "GET " + context + "/client-keys", "POST " + context + "/application", "PUT " + context + "/application",
		"POST " + context + "/capabilities/grant", "POST " + context + "/capabilities/revoke", "POST " + context + "/sync", "POST " + context + "/resync",
		"POST " + context + "/join", "POST " + context + "/leave", "POST " + context + "/invite", "POST /admin-api/contexts/sync/" + r.ID,
		"POST /admin-api/contexts/sync", "POST /admin-api/contexts/invite", "POST /admin-api/contexts/join",
		"GET /admin-api/contexts", "POST /admin-api/contexts", "GET /admin-api/applications", "GET /admin-api/packages", "GET /admin-api/blobs",
		"PUT /admin-api/blobs", "GET /admin-api/namespaces", "GET /admin-api/groups/" + r.Group, "GET /admin-api/identity", "GET /admin-api/peers",
		"POST /admin-api/identity/context", "POST /admin-api/install-application", "POST /admin-api/install-dev-application",
		"GET /metrics", "GET /sse", "GET /ws", "POST /sse/subscription", "GET /admin-api/alias/list/context",
		"GET /admin/keys", "POST /admin/keys", "POST /admin/client-key", "GET /admin/audit", "GET /admin/metrics",
	} {
		method, target, _ := strings.Cut(route, " ")
		var body any
		if method != "GET" {
			body = map[string]any{}
		}
		if a := r.call(t, method, target, key, body); a.status != http.StatusForbidden || a.header.Get("X-Auth-Error") != "permission_denied" {
			t.Errorf("%s: status %d, reason %q, want 403: %.200s", route, a.status, a.header.Get("X-Auth-Error"), a.body)
		}
	}
}

// Whatever else a bound key holds, it reaches one context.
func TestKeyBoundToAContextReachesNoOther(t *testing.T) {
	t.Parallel()
	s := scenario(t)
	app := s.installSample(t)
	one, two := s.room(t, app), s.room(t, app)
	key := s.token(t, "context["+one.ID+"]", "context", "context:execute", "context:execute["+two.ID+"]", "application", "package", "blob", "namespace", "group")

	if got := one.as(t, key, "", "set", `{"key":"a","value":"1"}`); got != "null" {
		t.Errorf("set in the bound context: %s", got)
	}
	for _, as := range []string{"", one.Member, two.Member} {
		if got := two.as(t, key, as, "get", `{"key":"a"}`); got != "error Unauthorized" {
			t.Errorf("get in another context as %q: %s", as, got)
		}
	}
	// A call from one context into another is the caller's, too.
	one.as(t, key, "", "set_elsewhere", fmt.Sprintf(`{"context":%q,"key":"through","value":"the back door"}`, two.ID))
	two.execute(t, "entries", `{}`, `{}`)
	status := s.call(t, "POST", "/jsonrpc", key, map[string]any{"jsonrpc": "2.0", "id": 1, "method": "sync_status", "params": map[string]any{"contextId": two.ID}})
	if strings.Contains(string(status.body), `"result"`) {
		t.Errorf("sync_status of another context: %s", status.body)
	}

	boundLists(t, key, one, two)
	context := "/admin-api/contexts/" + two.ID
	for _, route := range []string{
		"GET " + context, "DELETE " + context, "GET " + context + "/identities", "GET " + context + "/identities-owned", "GET " + context + "/storage",
		"GET " + context + "/group", "GET " + context + "/client-keys", "POST " + context + "/application", "POST " + context + "/sync",
		"POST " + context + "/capabilities/grant", "POST " + context + "/join", "POST " + context + "/leave", "POST " + context + "/invite",
	} {
		method, target, _ := strings.Cut(route, " ")
		refused(t, s.call(t, method, target, key, nil), permissionDenied)
	}
	s.call(t, "GET", "/admin-api/contexts/"+one.ID, key, nil).want(t, http.StatusOK)
	s.call(t, "GET", context, s.admin, nil).want(t, http.StatusOK)

	// An admin's alias for the other context leads nowhere else.
	aliased := two
	aliased.ID = two.name(t)
	if got := aliased.as(t, s.admin, "", "len", `{}`); got != "0" {
		t.Errorf("an administrator through an alias: %s", got)
	}
	withAliases := s.token(t, "context["+one.ID+"]", "context", "alias")
	for _, token := range []string{key, withAliases} {
		hidden(t, s, s.socket(t, token), token, aliased.ID, two.ID)
		for _, answer := range []string{"lookup", "delete"} {
			target := "/admin-api/alias/" + answer + "/context/"
			got, want := s.call(t, "POST", target+aliased.ID, token, nil).want(t, http.StatusOK), s.call(t, "POST", target+"nosuchname", token, nil).want(t, http.StatusOK)
			if !bytes.Equal(got.body, want.body) {
				t.Errorf("%s of another context's name: %s, of none: %s", answer, got.body, want.body)
			}
		}
		if got := s.call(t, "GET", "/admin-api/alias/list/context", token, nil).want(t, http.StatusOK).body; bytes.Contains(got, []byte(aliased.ID)) || bytes.Contains(got, []byte(two.ID)) {
			t.Errorf("the names of contexts: %s", got)
		}
	}
	if got := aliased.as(t, s.admin, "", "len", `{}`); got != "0" {
		t.Errorf("an administrator through the alias afterwards: %s", got)
	}
	boundStreams(t, key, one, two)
}

// boundLists looks for the other context in every list that the bound key may see.
func boundLists(t *testing.T, key string, one, two room) {
	t.Helper()
	for _, target := range []string{
		"/admin-api/contexts", "/admin-api/contexts/for-application/", "/admin-api/contexts/with-executors/for-application/",
	} {
		if strings.HasSuffix(target, "/") {
			var of struct {
				Application string `json:"applicationId"`
			}
			if err := one.call(t, "GET", "/admin-api/contexts/"+one.ID, key, nil).data(&of); err != nil {
				t.Fatal(err)
			}
			target += of.Application
		}
		body := string(one.call(t, "GET", target, key, nil).want(t, http.StatusOK).body)
		if !strings.Contains(body, one.ID) || strings.Contains(body, two.ID) {
			t.Errorf("GET %s names the bound context: %v, the other: %v", target, strings.Contains(body, one.ID), strings.Contains(body, two.ID))
		}
	}
}

// boundStreams subscribes to the other context and listens for its events.
func boundStreams(t *testing.T, key string, one, two room) {
	t.Helper()
	ws, sse := one.socket(t, key), one.events(t, key, "")
	for _, contexts := range [][]string{{two.ID}, {one.ID, two.ID}} {
		if got := ws.ask(t, subscription("", contexts...)); got.Error == nil {
			t.Errorf("WebSocket subscribes to %d contexts with another among them", len(contexts))
		}
		one.call(t, "POST", "/sse/subscription", key, subscription(sse.session, contexts...)).want(t, http.StatusForbidden)
	}
	if got := ws.ask(t, two.execution("", "get", `{"key":"a"}`)); got.output() != "error Unauthorized" {
		t.Errorf("get in another context over WebSocket: %s", got.output())
	}
	if got := ws.ask(t, subscription("", one.ID)); got.Error != nil {
		t.Errorf("WebSocket does not subscribe to the bound context: %+v", got.Error)
	}
	one.call(t, "POST", "/sse/subscription", key, subscription(sse.session, one.ID)).want(t, http.StatusOK)
	two.execute(t, "set", `{"key":"secret","value":"x"}`, "null")
	one.execute(t, "set", `{"key":"b","value":"2"}`, "null")
	want := one.ID + ` Inserted {"key":"b","value":"2"}`
	var viaSocket, viaStream mutation
	ws.next(t, &viaSocket)
	sse.next(t, &viaStream)
	if viaSocket.text() != want || viaStream.text() != want {
		t.Errorf("the first event is %s over WebSocket and %s over SSE, want %s", viaSocket.text(), viaStream.text(), want)
	}
}
