package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

// probe is an application that counts, and misbehaves on demand.
func probe(t *testing.T) []byte {
	t.Helper()
	module, err := os.ReadFile("../contexts/testdata/probe.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// created is the answer to the creation of a context.
type created struct {
	ContextID, MemberPublicKey, GroupID string
	GroupCreated                        bool
}

// decoded reads the data of an answer.
func decoded[T any](t *testing.T, a answer) T {
	t.Helper()
	var body struct{ Data T }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.StatusCode != 200 {
		t.Fatalf("%s %s: %s %s", a.Request.Method, a.Request.URL, a.Status, a.body)
	}
	return body.Data
}

// context makes a context of an application in a namespace of its own.
func (n *node) context(t *testing.T, application string) created {
	t.Helper()
	return decoded[created](t, n.posting(t, "admin")("/contexts", fmt.Sprintf(`{"applicationId":%q}`, application)))
}

// rpc posts a JSON-RPC text.
func (n *node) rpc(t *testing.T, permissions, text string) answer {
	t.Helper()
	r := request(t, http.MethodPost, n.url("/jsonrpc"), strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	n.grant(r, "k1", permissions)
	return do(t, r)
}

// execute calls a method and returns the answer.
func (n *node) execute(t *testing.T, permissions, context, method, args string) string {
	t.Helper()
	a := n.rpc(t, permissions, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":%q,"argsJson":%s}}`, context, method, args))
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("execute %s: %s %s", method, a.Status, a.body)
	}
	return strings.TrimSpace(a.body)
}

func result(output string) string {
	return `{"jsonrpc":"2.0","id":1,"result":{"output":` + output + `}}`
}

// stateHash returns the state hash of a context.
func (n *node) stateHash(t *testing.T, context string) string {
	t.Helper()
	return decoded[struct{ ContextStateHash string }](t, n.getting(t, "admin")("/contexts/"+context)).ContextStateHash
}

// The checks of the node contract on namespaces, contexts and execution, in the order of a client's life.
func TestContract_ContextsAndExecution(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	app := n.installed(t, "probe.wasm", probe(t))
	post, get := n.posting(t, "admin"), n.getting(t, "admin")

	expect(t, get("/identity"), 404, `{"error":"the node has no identity before its first namespace"}`)
	ns := decoded[struct{ NamespaceID string }](t, post("/namespaces", fmt.Sprintf(`{"applicationId":%q,"name":"first"}`, app))).NamespaceID
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(ns) { // node check D24
		t.Errorf("namespace id %q", ns)
	}

	// node check D25
	made := decoded[created](t, post("/contexts", fmt.Sprintf(`{"applicationId":%q,"groupId":%q,"initializationParams":[]}`, app, ns)))
	if made.GroupID != ns || made.GroupCreated {
		t.Errorf("made: %+v", made)
	}
	got := decoded[map[string]any](t, get("/contexts/"+made.ContextID))
	if heads, _ := got["dagHeads"].([]any); len(heads) != 1 || got["contextStateHash"] == (id.ID{}).String() || got["applicationId"] != app {
		t.Errorf("context: %v", got)
	}

	// node check D26
	alone := decoded[created](t, post("/contexts", fmt.Sprintf(`{"protocol":"near","applicationId":%q,"contextSeed":null,"initializationParams":[123,125]}`, app)))
	if !alone.GroupCreated || alone.GroupID == ns || len(alone.GroupID) != 64 {
		t.Errorf("without a group: %+v", alone)
	}
	expect(t, get("/contexts/"+alone.ContextID+"/group"), 200, fmt.Sprintf(`{"data":%q}`, alone.GroupID))

	// node checks D27, D28
	before := n.stateHash(t, made.ContextID)
	for _, step := range []struct {
		method, args, want string
		changes            bool
	}{
		{"n", `{}`, result("1"), false},
		{"add", `{}`, result("2"), true},
		{"n", `{}`, result("2"), false},
		{"nothing", `null`, result("null"), false},
		{"echo", `{"b": [1, "x"],  "a":null}`, result(`{"b":[1,"x"],"a":null}`), false},
		{"add_without_commit", `{}`, result("3"), false},
		{"unknown", `{}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"method \"unknown\" not found","type":"FunctionCallError","data":"method \"unknown\" not found"}}`, false},                                            // node check D30
		{"add_and_fail", `{}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"the method call returned an error: {\"code\":7}","type":"FunctionCallError","data":"the method call returned an error: {\"code\":7}"}}`, false}, // node check D31
		{"not_json", `{}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32006,"message":"the method returned what is not JSON","type":"SerdeError","data":{"message":"the method returned what is not JSON"}}}`, false},
	} {
		if got := n.execute(t, "admin", made.ContextID, step.method, step.args); got != step.want {
			t.Errorf("%s(%s) = %s, want %s", step.method, step.args, got, step.want)
		}
		after := n.stateHash(t, made.ContextID)
		if (after != before) != step.changes {
			t.Errorf("%s: the state hash changed: %v", step.method, after != before)
		}
		before = after
	}

	// node check D46
	for _, path := range []string{"identities", "identities-owned"} {
		expect(t, get("/contexts/"+made.ContextID+"/"+path), 200, fmt.Sprintf(`{"data":{"identities":[%q]}}`, made.MemberPublicKey))
		expect(t, get("/contexts/"+id.ID{9}.String()+"/"+path), 404, `{"error":"Context not found"}`)
	}
	expect(t, get("/contexts/"+made.ContextID+"/client-keys"), 200, `{"data":{"clientKeys":[]}}`)
	expect(t, post("/contexts/sync", "{}"), 200, `{"data":null}`)
	expect(t, post("/contexts/sync/", ""), 200, `{"data":null}`)
	expect(t, post("/contexts/sync/"+made.ContextID, ""), 200, `{"data":null}`)
	expect(t, post("/contexts/"+made.ContextID+"/sync", "null"), 200, `{"data":null}`)
	expect(t, post("/contexts/"+made.ContextID+"/resync", `{"force":true}`), 200, fmt.Sprintf(`{"contextId":%q,"resyncStarted":false}`, made.ContextID))
	expect(t, n.rpc(t, "admin", fmt.Sprintf(`{"jsonrpc":"2.0","id":"s","method":"sync_status","params":{"contextId":%q}}`, made.ContextID)), 200,
		fmt.Sprintf(`{"jsonrpc":"2.0","id":"s","result":{"contextId":%q,"isInitialized":true,"syncState":"synced","failureCount":0}}`, made.ContextID))

	executors := fmt.Sprintf(`{"id":%[1]q,"contextId":%[1]q,"application_id":%[2]q,"root_hash":%[3]q,"contextStateHash":%[3]q,"executors":[%[4]q]}`,
		made.ContextID, app, before, made.MemberPublicKey)
	if a := get("/contexts/with-executors/for-application/" + app); !strings.Contains(a.body, executors) {
		t.Errorf("with executors: %s, want %s", a.body, executors)
	}

	// node check D29
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = start(t, dir, nil)
	if got := n.execute(t, "admin", made.ContextID, "n", "{}"); got != result("2") || n.stateHash(t, made.ContextID) != before {
		t.Errorf("after a restart: n = %s, hash %s, want %s", got, n.stateHash(t, made.ContextID), before)
	}

	// node check D45
	gone := n.as(t, "admin", http.MethodDelete, "/admin-api/contexts/"+made.ContextID, strings.NewReader(fmt.Sprintf(`{"requester":%q}`, made.MemberPublicKey)))
	expect(t, gone, 200, `{"data":{"isDeleted":true}}`)
	expect(t, n.getting(t, "admin")("/contexts/"+made.ContextID), 404, `{"error":"Context not found"}`)
	expect(t, n.as(t, "admin", http.MethodDelete, "/admin-api/contexts/"+made.ContextID, nil), 404, `{"error":"Context not found"}`)
	if got := n.execute(t, "admin", made.ContextID, "n", "{}"); !strings.Contains(got, `"ContextNotFound"`) {
		t.Errorf("execute in a deleted context: %s", got)
	}
	if got := n.execute(t, "admin", alone.ContextID, "n", "{}"); got != result("1") {
		t.Errorf("the other context: %s", got)
	}
}

// Whatever is wrong with a request, the answer is JSON that says so, and nothing has changed.
func TestContexts_BadInputChangesNothing(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	app := n.installed(t, "probe.wasm", probe(t))
	made := n.context(t, app)
	get := n.getting(t, "admin")
	lists := []string{"/contexts", "/namespaces", "/groups", "/alias/list/context", "/alias/list/application", "/alias/list/identity/" + made.ContextID, "/contexts/" + made.ContextID + "/storage"}
	snapshot := func() string {
		var all strings.Builder
		for _, path := range lists {
			all.WriteString(get(path).body)
		}
		return all.String()
	}
	before := snapshot()
	unknown, other := id.ID{7}.String(), id.ID{8}.String()
	names := strings.NewReplacer("APP", app, "CTX", made.ContextID, "UNKNOWN", unknown, "OTHER", other, "PK", made.MemberPublicKey, "ZERO", id.ID{}.String())
	for _, tt := range []struct {
		request, body string
		status        int
		message       string
	}{
		{"POST /contexts", ``, 400, "JSON syntax error: "},
		{"POST /contexts", `{`, 400, "JSON syntax error: "},
		{"POST /contexts", `[]`, 400, "Invalid JSON data: "},
		{"POST /contexts", `{}`, 400, "Invalid application id"},
		{"POST /contexts", `{"applicationId":1}`, 400, "Invalid JSON data: "},
		{"POST /contexts", `{"applicationId":"APP","applicationId":"OTHER"}`, 400, "JSON syntax error: "},
		{"POST /contexts", `{"applicationId":"UNKNOWN"}`, 404, "is not installed"},
		{"POST /contexts", `{"applicationId":"APP","groupId":"x"}`, 400, "Invalid group_id: expected hex-encoded 32 bytes"},
		{"POST /contexts", `{"applicationId":"APP","groupId":"` + strings.Repeat("ab", 32) + `"}`, 404, "Group not found"},
		{"POST /contexts", `{"applicationId":"APP","contextSeed":"x"}`, 400, "Invalid contextSeed"},
		{"POST /contexts", `{"applicationId":"APP","identitySecret":"00"}`, 400, "Invalid identitySecret"},
		{"POST /contexts", `{"applicationId":"APP","initializationParams":"e30="}`, 400, "Invalid JSON data: "},
		{"POST /contexts", `{"applicationId":"APP","initializationParams":[256]}`, 400, "Invalid JSON data: "},
		{"POST /contexts", `{"applicationId":"APP","initializationParams":[` + strings.Repeat("1,", 1<<20) + `1]}`, 400, "initializationParams is 1 bytes longer"},
		{"POST /contexts", `{"applicationId":"APP","serviceName":"x"}`, 400, "no such service"},
		{"POST /contexts", strings.Repeat(" ", 8<<20+1024), 413, "the body is too large"},
		{"DELETE /contexts/x", ``, 400, "Invalid context id"},
		{"DELETE /contexts/CTX", `{"requester":"x"}`, 400, "Invalid requester"},
		{"DELETE /contexts/CTX", `{"requester":"OTHER"}`, 403, "may not act as"},
		{"DELETE /contexts/CTX", `{"requester":"ZERO"}`, 403, "may not act as"},
		{"DELETE /contexts/UNKNOWN", ``, 404, "Context not found"},
		{"DELETE /contexts/ZERO", ``, 404, "Context not found"},
		{"POST /contexts/CTX/application", `{}`, 400, "Invalid application id"},
		{"PUT /contexts/CTX/application", `{"applicationId":"UNKNOWN"}`, 404, "is not installed"},
		{"POST /contexts/CTX/application", `{"applicationId":"APP","executorPublicKey":"OTHER"}`, 403, "may not act as"},
		{"PUT /contexts/CTX/application", `{"applicationId":"APP","executorPublicKey":"ZERO"}`, 403, "may not act as"},
		{"POST /contexts/CTX/application", `{"applicationId":"APP","migrateMethod":"migrate_fails"}`, 400, `the method call returned an error: "cannot"`},
		{"POST /contexts/CTX/application", `{"applicationId":"APP","migrateMethod":"migrate_root"}`, 422, "no known layout"},
		{"POST /contexts/UNKNOWN/application", `{"applicationId":"APP"}`, 404, "Context not found"},
		{"POST /contexts/CTX/capabilities/grant", `{"capabilities":[]}`, 400, "capabilities holds 1 to 100 pairs"},
		{"POST /contexts/CTX/capabilities/grant", `{"capabilities":[["PK"]]}`, 400, "pairs of a public key and a capability"},
		{"POST /contexts/CTX/capabilities/grant", `{"capabilities":[["PK","All"]]}`, 400, "unknown capability"},
		{"POST /contexts/CTX/capabilities/revoke", `{"capabilities":[["OTHER","Proxy"]]}`, 400, "no such member"},
		{"POST /contexts/CTX/capabilities/revoke", `{"capabilities":[["PK","Proxy"]],"signer_id":"OTHER"}`, 403, "may not act as"},
		{"POST /contexts/CTX/capabilities/grant", `{"capabilities":[["PK","Proxy"]],"signer_id":"ZERO"}`, 403, "may not act as"},
		{"POST /contexts/CTX/capabilities/revoke", `{"capabilities":[["PK","Proxy"]],"signer_id":"ZERO"}`, 403, "may not act as"},
		{"GET /contexts/CTX/storage?entries=maybe", ``, 400, "entries is true or false"},
		{"GET /contexts/CTX/storage?entries=true&space=all", ``, 400, "space is state or private"},
		{"GET /contexts/CTX/storage?entries=true&from=*", ``, 400, "from is not base64url"},
		{"GET /contexts/CTX/storage?entries=true&limit=0", ``, 400, "limit is a number from 1 to 1000"},
		{"GET /contexts/UNKNOWN/storage", ``, 404, "Context not found"},
		{"GET /contexts/UNKNOWN/client-keys", ``, 404, "Context not found"},
		{"GET /contexts/UNKNOWN/group", ``, 404, "Context not found"},
		{"POST /contexts/sync/UNKNOWN", ``, 404, "Context not found"},
		{"POST /contexts/sync/CTX", `[]`, 400, "Invalid JSON data: "},
		{"POST /contexts/CTX/resync", `{"force":1}`, 400, "Invalid JSON data: "},
		{"POST /alias/create/context", `{"alias":"a b","contextId":"CTX"}`, 400, "an alias has 1 to 50 characters"},
		{"POST /alias/create/context", `{"alias":"","contextId":"CTX"}`, 400, "an alias has 1 to 50 characters"},
		{"POST /alias/create/context", `{"alias":"CTX","contextId":"CTX"}`, 400, "an alias must not look like an id"},
		{"POST /alias/create/context", `{"alias":"a","contextId":"x"}`, 400, "Invalid context id"},
		{"POST /alias/create/application", `{"alias":"a"}`, 400, "Invalid application id"},
		{"POST /alias/create/identity/CTX", `{"alias":"a","identity":"x"}`, 400, "Invalid identity"},
		{"POST /alias/create/identity/x", `{"alias":"a","identity":"PK"}`, 400, "Invalid context id"},
		{"POST /alias/create/context", `{"alias":"a","contextId":"UNKNOWN"}`, 404, "Context not found"},
		{"POST /alias/create/application", `{"alias":"a","applicationId":"UNKNOWN"}`, 404, "is not installed"},
		{"POST /alias/create/identity/UNKNOWN", `{"alias":"a","identity":"PK"}`, 404, "Context not found"},
		{"POST /alias/create/identity/ZERO", `{"alias":"a","identity":"PK"}`, 404, "Context not found"},
		{"POST /contexts", `{"applicationId":"APP","protocol":"` + strings.Repeat("p", 65) + `"}`, 400, "protocol is 1 bytes longer"},
		{"POST /namespaces", `{"applicationId":"UNKNOWN"}`, 404, "is not installed"},
		{"POST /groups", `{"applicationId":"UNKNOWN","appKey":"` + strings.Repeat("ab", 32) + `"}`, 404, "is not installed"},
		{"POST /groups", `{"applicationId":"APP","groupId":"` + strings.Repeat("00", 32) + `"}`, 400, "Invalid group_id"},
		{"POST /groups", `{"applicationId":"APP","appKey":"` + strings.Repeat("00", 32) + `"}`, 400, "Invalid appKey"},
		{"POST /namespaces", `{}`, 400, "Invalid application id"},
		{"POST /namespaces", `{"applicationId":"APP","appKey":"x"}`, 400, "Invalid appKey"},
		{"POST /namespaces", `{"applicationId":"APP","name":"` + strings.Repeat("n", 257) + `"}`, 400, "name is 1 bytes longer"},
		{"POST /groups", `{"applicationId":"APP","upgradePolicy":"Never"}`, 400, "upgradePolicy is"},
		{"POST /groups", `{"applicationId":"APP","groupId":"GROUP"}`, 409, "the group exists already"},
		{"POST /groups", `{"applicationId":"APP","parentGroupId":"GROUP"}`, 501, "subgroups are not part of this build"},
		{"GET /groups?limit=-1", ``, 400, "limit is not a number that can be"},
		{"GET /groups/x", ``, 400, "Invalid group_id: expected hex-encoded 32 bytes"},
		{"GET /groups/" + strings.Repeat("ab", 32), ``, 404, "Group not found"},
		{"DELETE /namespaces/GROUP", ``, 409, "the group still has contexts"},
		{"DELETE /groups/GROUP", ``, 409, "the group still has contexts"},
	} {
		resolve := func(s string) string { return strings.ReplaceAll(names.Replace(s), "GROUP", made.GroupID) }
		method, path, _ := strings.Cut(resolve(tt.request), " ")
		a := n.as(t, "admin", method, "/admin-api"+path, strings.NewReader(resolve(tt.body)))
		var failure struct{ Error string }
		err := json.Unmarshal([]byte(a.body), &failure)
		if a.StatusCode != tt.status || err != nil || !strings.Contains(failure.Error, tt.message) || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %.60s: %s %s, want %d %q", tt.request, tt.body, a.Status, a.body, tt.status, tt.message)
		}
	}
	if after := snapshot(); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
}

// Older clients read the hash of a context under another name.
func TestWireProfile_NamesTheHash(t *testing.T) {
	for profile, names := range map[string][2]string{config.Wire011: {"contextStateHash", "rootHash"}, config.Wire010: {"rootHash", "contextStateHash"}} {
		n := start(t, t.TempDir(), func(c *config.Config) { c.Server.WireProfile = profile })
		c := n.context(t, n.installed(t, "probe.wasm", probe(t))).ContextID
		get := n.getting(t, "admin")
		one := decoded[map[string]any](t, get("/contexts/"+c))
		list := decoded[struct{ Contexts []map[string]any }](t, get("/contexts")).Contexts
		for _, entry := range append(list, one) {
			if hash, _ := entry[names[0]].(string); len(hash) < 32 {
				t.Errorf("%s: %v, want %s", profile, entry, names[0])
			}
			if _, there := entry[names[1]]; there || entry["id"] != c {
				t.Errorf("%s: %v, and not %s", profile, entry, names[1])
			}
		}
		if len(list) != 1 {
			t.Errorf("%s: %v", profile, list)
		}
	}
}

func TestRPC_Transport(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	c := n.context(t, n.installed(t, "probe.wasm", probe(t))).ContextID
	call := func(id string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0",%s"method":"execute","params":{"contextId":%q,"method":"add"}}`, id, c)
	}
	for _, tt := range []struct {
		body   string
		status int
		want   string
	}{
		{`{`, 400, `"ParseError"`},
		{`{"id":1,"method":"execute"}`, 422, `"ParseError"`},
		{`{"jsonrpc":"2.0","id":1,"method":"nothing"}`, 200, `"ParseError"`},
		{`[]`, 200, `{"jsonrpc":"2.0","id":null`},
		{call(``), 200, ``}, // a notification: 2
		{`[` + call(`"id":1,`) + `,` + call(``) + `,` + call(`"id":"c",`) + `]`, 200, `[{"jsonrpc":"2.0","id":1,"result":{"output":3}},{"jsonrpc":"2.0","id":"c","result":{"output":5}}]`}, // node check D38
		{call(`"id":9,`), 200, `{"jsonrpc":"2.0","id":9,"result":{"output":6}}`},
	} {
		a := n.rpc(t, "admin", tt.body)
		if a.StatusCode != tt.status || !strings.Contains(a.body, tt.want) || (tt.want == "") != (a.body == "") {
			t.Errorf("%s: %s %s, want %d %s", tt.body, a.Status, a.body, tt.status, tt.want)
		}
	}
	// A page of another origin can make a browser send this without a preflight.
	simple := request(t, http.MethodPost, n.url("/jsonrpc"), strings.NewReader(call(`"id":1,`)))
	simple.Header.Set("Content-Type", "text/plain")
	n.grant(simple, "k1", "admin")
	expect(t, do(t, simple), 415, `{"error":"the body must be application/json"}`)
	large := n.rpc(t, "admin", `{"jsonrpc":"2.0","id":1,"method":"execute","params":{"x":"`+strings.Repeat("x", httpapi.MaxRPCBody)+`"}}`)
	expect(t, large, 413, `{"error":"the body is too large"}`)
	// Ten megabytes of arguments are allowed, and reach the application, which has a buffer of 64 KiB.
	big := n.execute(t, "admin", c, "echo", `"`+strings.Repeat("x", 9<<20)+`"`)
	if !strings.Contains(big, "FunctionCallError") {
		t.Errorf("large arguments: %.200s", big)
	}
	if got := n.execute(t, "admin", c, "n", "{}"); got != result("6") {
		t.Errorf("n = %s: what was refused has run", got)
	}
}

// A call whose client has left is no success: it is logged and counted as 499.
func TestRPC_ClientLeaves(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Execution.TimeLimit = time.Minute })
	c := n.context(t, n.installed(t, "kv-store.wasm", testapp.KVStore)).ContextID
	ctx, cancel := context.WithCancel(t.Context())
	r := request(t, http.MethodPost, n.url("/jsonrpc"), strings.NewReader(
		fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":"loop_forever"}}`, c))).WithContext(ctx)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(reqctx.HeaderRequestID, "leaves-soon-1")
	n.grant(r, "k1", "admin")
	ended := make(chan error, 1)
	go func() {
		res, err := client.Do(r)
		if err == nil {
			_ = res.Body.Close()
		}
		ended <- err
	}()
	running := func() float64 {
		return scrape(t, n.as(t, "admin", http.MethodGet, "/metrics", nil).body, "http_requests_in_flight", nil)
	}
	for deadline := time.Now().Add(patience); running() < 2; time.Sleep(time.Millisecond) { // with the scrape
		if time.Now().After(deadline) {
			t.Fatal("the call does not reach the node")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("the client: %v", err)
	}
	line := n.log.line(answer{Response: &http.Response{Header: http.Header{reqctx.HeaderRequestID: {"leaves-soon-1"}}}})
	if line["status"].Int64() != 499 || line["route"].String() != "/jsonrpc" {
		t.Errorf("the line of the call: %v", line)
	}
	text := n.as(t, "admin", http.MethodGet, "/metrics", nil).body
	labels := func(class string) map[string]string {
		return map[string]string{"method": "POST", "path": "/jsonrpc", "status": class}
	}
	if failed, good := scrape(t, text, "http_requests_total", labels("4xx")), scrape(t, text, "http_requests_total", labels("2xx")); failed != 1 || good != 0 {
		t.Errorf("%v calls of class 4xx and %v of class 2xx, want 1 and 0", failed, good)
	}
}

// A key that may call one method in one context as one identity can do that, and nothing else.
func TestRPC_LimitedKeyCannotReachAnythingElse(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	app := n.installed(t, "probe.wasm", probe(t))
	mine, other := n.context(t, app), n.context(t, app)
	decoded[any](t, n.posting(t, "admin")("/alias/create/context", fmt.Sprintf(`{"alias":"other","contextId":%q}`, other.ContextID)))
	limited := fmt.Sprintf("context:execute[%s,%s,n]", mine.ContextID, mine.MemberPublicKey)
	if got := n.execute(t, limited, mine.ContextID, "n", "{}"); got != result("1") {
		t.Errorf("what it may: %s", got)
	}
	const unauthorized, unknown = "Unauthorized", "ParseError" // an alias tells nothing, not even that it is one
	for name, x := range map[string]struct{ params, refusal string }{
		"another method":      {fmt.Sprintf(`{"contextId":%q,"method":"add"}`, mine.ContextID), unauthorized},
		"another context":     {fmt.Sprintf(`{"contextId":%q,"method":"n"}`, other.ContextID), unauthorized},
		"through an alias":    {`{"contextId":"other","method":"n"}`, unknown},
		"as another identity": {fmt.Sprintf(`{"contextId":%q,"method":"n","executorPublicKey":%q}`, mine.ContextID, other.MemberPublicKey), unauthorized},
	} {
		text := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":%s}`, x.params)
		for form, body := range map[string]string{"alone": text, "in a batch": `[` + text + `]`} {
			if a := n.rpc(t, limited, body); !strings.Contains(a.body, `"type":"`+x.refusal+`"`) || strings.Contains(a.body, "result") || x.refusal == unknown && strings.Contains(a.body, other.ContextID) {
				t.Errorf("%s, %s: %s %s", name, form, a.Status, a.body)
			}
		}
	}
	bound := "context[" + mine.ContextID + "],context,namespace,group,application"
	for request, status := range map[string]int{
		"GET /contexts/" + mine.ContextID + "/storage":                              200,
		"GET /contexts/" + other.ContextID + "/storage":                             403,
		"GET /contexts/" + other.ContextID + "/identities":                          403,
		"DELETE /contexts/" + other.ContextID:                                       403,
		"POST /contexts/" + other.ContextID + "/application":                        403,
		"POST /contexts/sync/" + other.ContextID:                                    403,
		"GET /alias/list/identity/" + other.ContextID:                               403,
		"GET /contexts/" + mine.ContextID + "/storage?entries=true":                 403,
		"POST /alias/lookup/identity/" + other.ContextID + "/x":                     403,
		"POST /contexts/" + mine.ContextID + "/capabilities/grant?of=another":       400,
		"POST /contexts/" + other.ContextID + "/capabilities/grant?of=another":      403,
		"GET /contexts/with-executors/for-application/" + app + "?only=mine":        200,
		"POST /alias/create/identity/" + other.ContextID + "?body=is-not-read-then": 403,
	} {
		method, path, _ := strings.Cut(request, " ")
		a := n.as(t, bound, method, "/admin-api"+path, strings.NewReader("{}"))
		if a.StatusCode != status || strings.Contains(a.body, other.MemberPublicKey) {
			t.Errorf("%s: %s %s, want %d", request, a.Status, a.body, status)
		}
	}
	if a := n.getting(t, bound)("/contexts"); strings.Contains(a.body, other.ContextID) || !strings.Contains(a.body, mine.ContextID) {
		t.Errorf("the list: %s", a.body)
	}
	if a := n.getting(t, bound)("/alias/list/context"); a.body != "{\"data\":{}}\n" {
		t.Errorf("the aliases: %s", a.body)
	}
	for _, c := range []string{mine.ContextID, other.ContextID} {
		if got := n.execute(t, "admin", c, "n", "{}"); got != result("1") {
			t.Errorf("n = %s: what was refused has run", got)
		}
	}
}

// What a bundle's binding to an application leaves out of reach is neither shown nor used.
func TestContexts_ApplicationBindingNarrows(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	mine := n.installed(t, "probe.wasm", probe(t))
	others := n.installed(t, "again.wasm", append(probe(t), 0, 3, 1, 'x', 0)) // with a custom section, so another application
	a, b := n.context(t, mine), n.context(t, others)
	bound := "application-binding[" + mine + "],context,namespace,group"
	get := n.getting(t, bound)
	for _, path := range []string{"/contexts", "/contexts/for-application/" + others, "/namespaces", "/namespaces/for-application/" + others, "/groups"} {
		if body := get(path).body; strings.Contains(body, b.ContextID) || strings.Contains(body, b.GroupID) {
			t.Errorf("%s shows another application's: %s", path, body)
		}
	}
	for path, status := range map[string]int{
		"/namespaces/" + a.GroupID: 200, "/namespaces/" + b.GroupID: 403, "/groups/" + b.GroupID: 403, "/groups/" + b.GroupID + "/members": 403,
		"/contexts/" + a.ContextID: 200, "/contexts/" + b.ContextID: 403, "/contexts/" + b.ContextID + "/identities-owned": 403,
	} {
		if got := get(path); got.StatusCode != status {
			t.Errorf("%s: %s, want %d", path, got.Status, status)
		}
	}
	post := n.posting(t, bound)
	for path, body := range map[string]string{
		"/contexts":   fmt.Sprintf(`{"applicationId":%q}`, others),
		"/namespaces": fmt.Sprintf(`{"applicationId":%q}`, others),
		"/contexts/" + a.ContextID + "/application": fmt.Sprintf(`{"applicationId":%q}`, others),
	} {
		expect(t, post(path, body), 403, `{"error":"permission denied"}`)
	}
	if got := n.execute(t, bound, b.ContextID, "n", "{}"); !strings.Contains(got, `"Unauthorized"`) {
		t.Errorf("execute: %s", got)
	}
	if got := n.execute(t, bound, a.ContextID, "n", "{}"); got != result("1") {
		t.Errorf("execute in its own: %s", got)
	}
}

// node check D43
func TestContract_Aliases(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	app := n.installed(t, "probe.wasm", probe(t))
	made := n.context(t, app)
	post, get := n.posting(t, "admin"), n.getting(t, "admin")
	for _, tt := range []struct{ kind, scope, member, target string }{
		{"context", "", "contextId", made.ContextID},
		{"application", "", "applicationId", app},
		{"identity", "/" + made.ContextID, "identity", made.MemberPublicKey},
	} {
		create := "/alias/create/" + tt.kind + tt.scope
		body := fmt.Sprintf(`{"alias":"alice",%q:%q}`, tt.member, tt.target)
		expect(t, post(create, body), 200, `{"data":null}`)
		expect(t, post(create, body), 409, `{"error":"alias already exists"}`)
		expect(t, post("/alias/lookup/"+tt.kind+tt.scope+"/alice", ""), 200, fmt.Sprintf(`{"data":{"value":%q}}`, tt.target))
		expect(t, post("/alias/lookup/"+tt.kind+tt.scope+"/bob", "{}"), 200, `{"data":{"value":null}}`)
		expect(t, get("/alias/list/"+tt.kind+tt.scope), 200, fmt.Sprintf(`{"data":{"alice":%q}}`, tt.target))
	}
	substitute := func(args, names string) string {
		return strings.TrimSpace(n.rpc(t, "admin", fmt.Sprintf(
			`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":"alice","method":"echo","executorPublicKey":"alice","argsJson":%s,"substitute":%s}}`, args, names)).body)
	}
	// Every {name} is replaced, in whichever order they occur, and what was put in is not looked at again.
	decoded[any](t, post("/alias/create/identity/"+made.ContextID, fmt.Sprintf(`{"alias":"b","identity":%q}`, id.ID{5})))
	got := substitute(`{"to":["{b}","{alice}","{b}","{other}"]}`, `["alice","b"]`)
	if want := result(fmt.Sprintf(`{"to":[%q,%q,%q,"{other}"]}`, id.ID{5}, made.MemberPublicKey, id.ID{5})); got != want {
		t.Errorf("substituted: %s, want %s", got, want)
	}
	if got := substitute(`{}`, `["nobody"]`); !strings.Contains(got, `"type":"AliasResolutionFailed","data":{"alias":"nobody"}`) {
		t.Errorf("unknown alias: %s", got)
	}
	for range 2 {
		expect(t, post("/alias/delete/context/alice", ""), 200, `{"data":null}`)
	}
	expect(t, get("/alias/list/context"), 200, `{"data":{}}`)
}

func TestGroups_ShapesOfTwoGenerations(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	module := probe(t)
	app := n.installed(t, "probe.wasm", module)
	post, get := n.posting(t, "admin"), n.getting(t, "admin")
	g := decoded[struct{ GroupID string }](t, post("/groups", fmt.Sprintf(`{"applicationId":%q,"upgradePolicy":{"Coordinated":{"deadline":null}},"alias":"old"}`, app))).GroupID
	keys := func(a answer) string {
		object := decoded[map[string]any](t, a)
		var names []string
		for _, name := range []string{"namespaceId", "appKey", "targetApplicationId", "createdAt", "memberCount", "contextCount", "subgroupCount", "name", "appVersion", "upgradePolicy"} {
			if _, ok := object[name]; ok {
				names = append(names, name)
				delete(object, name)
			}
		}
		for name := range object {
			names = append(names, "UNDECLARED "+name)
		}
		return strings.Join(names, " ")
	}
	if got, want := keys(get("/namespaces/"+g)), "namespaceId appKey targetApplicationId createdAt memberCount contextCount subgroupCount name upgradePolicy"; got != want {
		t.Errorf("namespace keys: %s, want %s", got, want)
	}
	info := decoded[map[string]any](t, get("/groups/"+g))
	for key, want := range map[string]any{
		"groupId": g, "targetApplicationId": app, "memberCount": 1.0, "contextCount": 0.0, "defaultCapabilities": 4.0, "upgradePolicy": "Coordinated",
		"alias": "old", "subgroupVisibility": "restricted", "defaultVisibility": "restricted",
	} {
		if info[key] != want {
			t.Errorf("group: %s = %v, want %v", key, info[key], want)
		}
	}
	if hash, _ := info["groupStateHash"].(string); len(hash) != 64 {
		t.Errorf("groupStateHash %q", hash)
	}
	self := decoded[map[string]any](t, get("/identity"))
	expect(t, get("/namespaces/"+g+"/identity"), 200, fmt.Sprintf(`{"data":{"namespaceId":%q,"publicKey":%q}}`, g, self["publicKey"]))
	expect(t, get("/groups/"+g+"/members"), 200, fmt.Sprintf( // node check E47, in part
		`{"members":[{"identity":%q,"role":"Admin"}],"data":[{"identity":%q,"role":"Admin"}],"selfIdentity":%q}`, self["accountId"], self["publicKey"], self["publicKey"]))
	if list := decoded[[]map[string]any](t, get("/groups?offset=0&limit=10")); len(list) != 1 || list[0]["groupId"] != g {
		t.Errorf("groups: %v", list)
	}
	if list := decoded[[]map[string]any](t, get("/groups?offset=1")); len(list) != 0 {
		t.Errorf("the second page: %v", list)
	}
	expect(t, n.as(t, "admin", http.MethodDelete, "/admin-api/groups/"+g, strings.NewReader(`{"requester":"x"}`)), 200, `{"data":{"isDeleted":true}}`)
	expect(t, get("/namespaces"), 200, `{"data":[]}`)
}

func TestStorage_SizeForAllEntriesForAdmin(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	c := n.context(t, n.installed(t, "probe.wasm", probe(t))).ContextID
	path := "/contexts/" + c + "/storage"
	expect(t, n.getting(t, "context:list")(path), 200, `{"data":{"sizeInBytes":9}}`) // the key n and a number of 8 bytes
	expect(t, n.getting(t, "context")(path+"?entries=true"), 403, `{"error":"permission denied"}`)
	value := base64.StdEncoding.EncodeToString([]byte{1, 0, 0, 0, 0, 0, 0, 0})
	expect(t, n.getting(t, "admin")(path+"?entries=true"), 200, fmt.Sprintf(`{"data":{"sizeInBytes":9,"entries":[{"key":"bg==","value":%q}]}}`, value))
	expect(t, n.getting(t, "admin")(path+"?entries=true&space=private"), 200, `{"data":{"sizeInBytes":9}}`)
	n.execute(t, "admin", c, "keep_private", `"mine"`)
	expect(t, n.getting(t, "admin")(path+"?entries=true&space=private&limit=1"), 200, `{"data":{"sizeInBytes":16,"entries":[{"key":"cA==","value":"Im1pbmUi"}]}}`)
	n.execute(t, "admin", c, "put_raw", `"00ff:01"`)
	first := decoded[struct{ Next string }](t, n.getting(t, "admin")(path+"?entries=true&limit=1"))
	expect(t, n.getting(t, "admin")(path+"?entries=true&limit=1&from="+first.Next), 200, `{"data":{"sizeInBytes":19,"entries":[{"key":"bg==","value":"AgAAAAAAAAA="}]}}`)
}
