package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

var execution = []check{
	{"D24", func(t *testing.T, g *group) {
		g.app, _ = g.install(t, "kv-store.wasm", testapp.KVStore)
		g.namespace = decoded[struct{ NamespaceID string }](t, g.send(t, "/namespaces", fmt.Sprintf(`{"applicationId":%q,"name":"first"}`, g.app))).NamespaceID
		if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(g.namespace) {
			t.Errorf("namespace %q", g.namespace)
		}
	}},
	{"D25", func(t *testing.T, g *group) {
		g.made = decoded[created](t, g.send(t, "/contexts", fmt.Sprintf(`{"applicationId":%q,"groupId":%q,"initializationParams":[]}`, g.app, g.namespace)))
		if g.made.GroupID != g.namespace || g.made.GroupCreated {
			t.Errorf("created %+v", g.made)
		}
		got := decoded[map[string]any](t, g.get(t, "/contexts/"+g.made.ContextID))
		if heads, _ := got["dagHeads"].([]any); len(heads) != 1 || got["contextStateHash"] == zero() || got["applicationId"] != g.app || got["id"] != g.made.ContextID {
			t.Errorf("context %v", got)
		}
	}},
	{"D26", func(t *testing.T, g *group) {
		made := g.context(t, g.app)
		if !made.GroupCreated || made.GroupID == g.namespace || len(made.GroupID) != 64 {
			t.Errorf("created %+v", made)
		}
	}},
	{"D27", func(t *testing.T, g *group) {
		c := g.context(t, g.app).ContextID
		g.output(t, c, "set", `{"key":"a","value":"1"}`, "null")
		g.output(t, c, "get", `{"key":"a"}`, `"1"`)
		g.output(t, c, "entries", `{}`, `{"a":"1"}`)
		g.output(t, c, "len", `{}`, "1")
		g.output(t, c, "remove", `{"key":"a"}`, `"1"`)
		g.output(t, c, "get", `{"key":"a"}`, "null")
		// What an application logs comes with the answer. Without any there is no member for it.
		for _, m := range []struct{ method, want string }{
			{"log", `{"jsonrpc":"2.0","id":1,"result":{"output":null,"logs":["hello"]}}`}, {"len", `{"jsonrpc":"2.0","id":1,"result":{"output":0}}`},
		} {
			if text := g.rpc(t, call(c, m.method, `{"text":"hello"}`)); !equalJSON(text, m.want) {
				t.Errorf("%s: %s, want %s", m.method, text, m.want)
			}
		}
		// Handlers of events run after the answer.
		g.output(t, c, "set_with_handler", `{"key":"b","value":"1"}`, "null")
		g.becomes(t, c, "handled", "1")
	}},
	{"D28", func(t *testing.T, g *group) {
		before := g.hash(t, g.made.ContextID)
		g.output(t, g.made.ContextID, "set", `{"key":"kept","value":"1"}`, "null")
		after := g.hash(t, g.made.ContextID)
		g.output(t, g.made.ContextID, "get", `{"key":"kept"}`, `"1"`)
		if got := g.hash(t, g.made.ContextID); after == before || got != after {
			t.Errorf("the hash was %s, %s after set, %s after get", before, after, got)
		}
	}},
	{"D29", func(t *testing.T, g *group) {
		before := g.state(t, g.made.ContextID)
		g.restart(t)
		if after := g.state(t, g.made.ContextID); after != before {
			t.Errorf("the restart changed\n%s to\n%s", before, after)
		}
		g.output(t, g.made.ContextID, "get", `{"key":"kept"}`, `"1"`)
	}},
	{"D30", func(t *testing.T, g *group) {
		g.fails(t, g.made.ContextID, "missing", "{}", `method "missing" not found`)
		g.fails(t, g.made.ContextID, "__calimero_sync_next", "[]", `method "__calimero_sync_next" not found`) // a client must not write past the application
		g.fails(t, g.made.ContextID, "init", "{}", `method "init" not found`)
	}},
	{"D31", func(t *testing.T, g *group) {
		g.fails(t, g.made.ContextID, "get_result", `{"key":"x"}`, `the method call returned an error: {"kind":"NotFound","data":"x"}`)
	}},
	{"D32", func(t *testing.T, g *group) {
		g.fails(t, g.made.ContextID, "get_unchecked", `{"key":"x"}`, "guest panicked: key not found: x at kv_store.c:")
		app, _ := g.install(t, "probe.wasm", g.probe(t)) // what was logged before a call failed comes with its error
		c := g.context(t, app).ContextID
		for method, text := range map[string]string{"say_and_trap": "the guest trapped: unreachable", "say_and_fail": `the method call returned an error: "no"`} {
			want, err := json.Marshal(map[string]any{"code": -32000, "message": text, "type": "FunctionCallError", "data": text, "logs": []string{`"before"`}})
			if err != nil {
				t.Fatal(err)
			}
			if got := g.rpc(t, call(c, method, `"before"`)); !equalJSON(got, `{"jsonrpc":"2.0","id":1,"error":`+string(want)+`}`) {
				t.Errorf("%s: %s, want %s", method, got, want)
			}
		}
	}},
	{"D33", func(t *testing.T, g *group) {
		g.fails(t, g.made.ContextID, "set", `{"key":1}`, "guest panicked: Failed to deserialize input from JSON: invalid type")
	}},
	{"D34", func(t *testing.T, g *group) {
		for _, c := range []string{id.ID{9}.String(), zero()} {
			if o := g.execute(t, c, "get", "{}"); !o.readable() || o.Error.Type != "ContextNotFound" {
				t.Errorf("a context that is not there: %+v", o)
			}
		}
		for _, foreign := range []string{id.ID{8}.String(), zero()} {
			var o outcome
			text := g.rpc(t, as(g.made.ContextID, foreign, "len"))
			want := fmt.Sprintf(`{"context_id":%q,"public_key":%q}`, g.made.ContextID, foreign)
			if err := json.Unmarshal([]byte(text), &o); err != nil || !o.readable() || o.Error.Type != "Unauthorized" || !equalJSON(string(o.Error.Data), want) {
				t.Errorf("a foreign executor: %s, want Unauthorized with %s", text, want)
			}
		}
		requester := fmt.Sprintf(`{"requester":%q}`, zero())
		refused(t, g.as(t, "admin", "DELETE", "/admin-api/contexts/"+g.made.ContextID, requester), "may not act as "+zero())
	}},
	{"D35", func(t *testing.T, g *group) { // and with the one that is its own
		g.output(t, g.made.ContextID, "len", "{}", "1")
		text := g.rpc(t, as(g.made.ContextID, g.made.MemberPublicKey, "len"))
		if !equalJSON(text, `{"jsonrpc":"2.0","id":1,"result":{"output":1}}`) {
			t.Errorf("with its own executor: %s", text)
		}
	}},
	{"D36", func(t *testing.T, g *group) {
		for _, v := range []string{`"a\"b"`, `7`, `18446744073709551615`, `null`} {
			text := g.rpc(t, strings.Replace(call(g.made.ContextID, "len", "{}"), `"id":1`, `"id":`+v, 1))
			var got struct{ ID, Result json.RawMessage }
			if err := json.Unmarshal([]byte(text), &got); err != nil || string(got.ID) != v || !equalJSON(string(got.Result), `{"output":1}`) {
				t.Errorf("id %s: %s", v, text)
			}
		}
	}},
	{"D37", func(t *testing.T, g *group) {
		var o outcome
		text := g.rpc(t, `{"jsonrpc":"2.0","id":1,"method":"mutate","params":{}}`)
		if err := json.Unmarshal([]byte(text), &o); err != nil || !o.readable() || o.Error.Type != "ParseError" {
			t.Errorf("an unknown method: %s", text)
		}
	}},
	{"D38", func(t *testing.T, g *group) {
		one := call(g.made.ContextID, "len", "{}")
		text := g.rpc(t, "["+one+","+strings.Replace(one, `"id":1`, `"id":"b"`, 1)+","+strings.Replace(one, "len", "missing", 1)+"]")
		var got []outcome
		if err := json.Unmarshal([]byte(text), &got); err != nil || len(got) != 3 || got[1].ID != "b" || got[1].Result == nil || got[2].Error == nil {
			t.Errorf("a batch of three: %s", text)
		}
	}},
	{"D39", func(t *testing.T, g *group) {
		brief := newGroup(t, g.bin, "MEROD_EXECUTION__TIME_LIMIT=2s") // no other check has as little time
		brief.app, _ = brief.install(t, "kv-store.wasm", testapp.KVStore)
		for range attempts {
			if brief.endlessLoop(t) {
				return
			}
		}
		t.Error("while a loop runs, the node answers nobody else")
	}},
	{"D40", func(t *testing.T, g *group) {
		for method, text := range map[string]string{
			"set_then_trap":  "the guest trapped: unreachable",
			"set_then_panic": "guest panicked: set_then_panic at kv_store.c:",
			"set_then_fail":  `the method call returned an error: {"kind":"Refused","data":"set_then_fail"}`,
		} {
			g.fails(t, g.made.ContextID, method, `{"key":"z","value":"1"}`, text)
		}
		g.output(t, g.made.ContextID, "set_without_commit", `{"key":"z","value":"1"}`, "null") // nor does a call that does not commit
		g.output(t, g.made.ContextID, "get", `{"key":"z"}`, "null")
	}},
	{"D41", func(t *testing.T, g *group) {
		for method, text := range map[string]string{
			"eat_memory":      "the guest needs more memory than 1024 pages",
			"too_many_events": "a call has at most 100 events",
			"too_large_event": "the limit of the size of an event's data is 16384, and the guest asked for 16385",
			"call_unknown":    `the host has no function "js_crdt_map_new" in "env"`,
			"recurse_forever": "the guest's calls are nested too deeply",
			"out_of_bounds":   "invalid memory access",
		} {
			g.fails(t, g.made.ContextID, method, "{}", text)
		}
	}},
	{"D42", parallelSets},
	{"D43", aliases},
	{"D44", migration},
	{"D45", func(t *testing.T, g *group) {
		c := g.context(t, g.app).ContextID
		expect(t, g.remove(t, "/contexts/"+c), 200, `{"data":{"isDeleted":true}}`)
		expect(t, g.get(t, "/contexts/"+c), 404, `{"error":"Context not found"}`)
		expect(t, g.remove(t, "/contexts/"+c), 404, `{"error":"Context not found"}`)
		if o := g.execute(t, c, "len", "{}"); o.Error == nil || o.Error.Type != "ContextNotFound" {
			t.Errorf("execute in a deleted context: %+v", o)
		}
	}},
	{"D46", func(t *testing.T, g *group) {
		// A member that lives elsewhere is an identity of the context and not one of the node's own.
		member := id.ID{4}.String()
		g.output(t, g.made.ContextID, "add_member", fmt.Sprintf(`{"member":%q}`, member), "null")
		both := decoded[struct{ Identities []string }](t, g.get(t, "/contexts/"+g.made.ContextID+"/identities")).Identities
		if len(both) != 2 || !strings.Contains(fmt.Sprint(both), g.made.MemberPublicKey) || !strings.Contains(fmt.Sprint(both), member) {
			t.Errorf("identities %v, want %s and %s", both, g.made.MemberPublicKey, member)
		}
		expect(t, g.get(t, "/contexts/"+g.made.ContextID+"/identities-owned"), 200, fmt.Sprintf(`{"data":{"identities":[%q]}}`, g.made.MemberPublicKey))
		expect(t, g.get(t, "/contexts/"+id.ID{9}.String()+"/identities"), 404, `{"error":"Context not found"}`)

		// An identity that was made beforehand is nobody anywhere until an application takes it in. Then the node acts as it.
		key := decoded[struct{ PublicKey string }](t, g.send(t, "/identity/context", "")).PublicKey
		who := as(g.made.ContextID, key, "who")
		if got := g.rpc(t, who); !strings.Contains(got, `"Unauthorized"`) {
			t.Errorf("before it is a member: %s", got)
		}
		g.output(t, g.made.ContextID, "add_member", fmt.Sprintf(`{"member":%q}`, key), "null")
		want := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":{"output":{"context":%q,"executor":%q}}}`, g.made.ContextID, key)
		for range 2 {
			if got := g.rpc(t, who); !equalJSON(got, want) {
				t.Errorf("as the new member: %s, want %s", got, want)
			}
			owned := decoded[struct{ Identities []string }](t, g.get(t, "/contexts/"+g.made.ContextID+"/identities-owned")).Identities
			if len(owned) != 2 || !slices.Contains(owned, key) || !slices.Contains(owned, g.made.MemberPublicKey) {
				t.Errorf("owned: %v, want %s and %s", owned, g.made.MemberPublicKey, key)
			}
			g.restart(t)
		}
		g.output(t, g.made.ContextID, "remove_member", fmt.Sprintf(`{"member":%q}`, key), "null")
		if got := g.rpc(t, who); !strings.Contains(got, `"Unauthorized"`) {
			t.Errorf("after it was removed: %s", got)
		}
	}},
}

// as is a call as an identity.
func as(context, identity, method string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":%q,"argsJson":{},"executorPublicKey":%q}}`, context, method, identity)
}

// becomes waits until a method returns what is to come of an event's handler.
func (g *group) becomes(t *testing.T, context, method, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		o := g.execute(t, context, method, "{}")
		if o.Result != nil && string(o.Result.Output) == want {
			return
		}
		if o.Result == nil || time.Now().After(deadline) {
			t.Fatalf("%s: %+v, want %s", method, o, want)
		}
	}
}

// probe is the application of the tests.
func (g *group) probe(t *testing.T) []byte {
	t.Helper()
	module, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// endlessLoop runs into the time limit of two seconds. It reports whether the node answered meanwhile, or whether no call
// but the loop could be made in that time.
func (g *group) endlessLoop(t *testing.T) bool {
	t.Helper()
	spinning, free := g.context(t, g.app).ContextID, g.context(t, g.app).ContextID
	r := g.request(t, "POST", "/jsonrpc", strings.NewReader(call(spinning, "loop_forever", "{}")))
	g.grant(r, "k1", "admin", never)
	ended := make(chan string, 1)
	began := time.Now()
	go func() {
		a, err := g.try(r)
		ended <- fmt.Sprint(a.body, err)
	}()
	answered := 0
	for len(ended) == 0 {
		switch o := g.execute(t, free, "len", "{}"); {
		case o.Result != nil && string(o.Result.Output) == "0":
			answered++
		case o.Error == nil || !strings.Contains(string(o.Error.Data), tooLong): // as it is for a machine that stands still
			t.Errorf("the other context: %+v", o)
		}
	}
	if got := <-ended; !strings.Contains(got, `"FunctionCallError"`) || !strings.Contains(got, tooLong) {
		t.Errorf("the loop: %s", got)
	}
	if took := time.Since(began); took < 2*time.Second || took > 28*time.Second { // the default limit is 30 s
		t.Errorf("the loop ended after %s; its limit is 2s", took)
	}
	g.output(t, spinning, "len", "{}", "0")
	return answered >= 2
}

const tooLong = "ran longer than 2s"

// parallelSets writes a hundred keys at the same time: each write comes after another one, and none is lost.
func parallelSets(t *testing.T, g *group) {
	c := g.context(t, g.app).ContextID
	var wg sync.WaitGroup
	for i := range 100 {
		r := g.request(t, "POST", "/jsonrpc", strings.NewReader(call(c, "set", fmt.Sprintf(`{"key":"%d","value":"x"}`, i))))
		g.grant(r, "k1", "admin", never)
		wg.Go(func() {
			if a, err := g.try(r); err != nil || !equalJSON(a.body, `{"jsonrpc":"2.0","id":1,"result":{"output":null}}`) {
				t.Errorf("set %d: %s %v", i, a.body, err)
			}
		})
	}
	wg.Wait()
	g.output(t, c, "len", "{}", "100")
	if heads, _ := decoded[map[string]any](t, g.get(t, "/contexts/"+c))["dagHeads"].([]any); len(heads) != 1 {
		t.Errorf("%d heads after serial writes", len(heads))
	}
}

func aliases(t *testing.T, g *group) {
	for _, kind := range []struct{ path, member, target string }{
		{"context", "contextId", g.made.ContextID},
		{"application", "applicationId", g.app},
		{"identity/" + g.made.ContextID, "identity", g.made.MemberPublicKey},
	} {
		body := fmt.Sprintf(`{"alias":"alice",%q:%q}`, kind.member, kind.target)
		expect(t, g.send(t, "/alias/create/"+kind.path, body), 200, `{"data":null}`)
		expect(t, g.send(t, "/alias/create/"+kind.path, body), 409, `{"error":"alias already exists"}`)
		expect(t, g.send(t, "/alias/lookup/"+kind.path+"/alice", ""), 200, fmt.Sprintf(`{"data":{"value":%q}}`, kind.target))
		expect(t, g.send(t, "/alias/lookup/"+kind.path+"/bob", ""), 200, `{"data":{"value":null}}`)
		expect(t, g.get(t, "/alias/list/"+kind.path), 200, fmt.Sprintf(`{"data":{"alice":%q}}`, kind.target))
	}
	text := g.rpc(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":"set","argsJson":{"key":"to","value":"{alice}"},"substitute":["alice"]}}`, g.made.ContextID))
	if !equalJSON(text, `{"jsonrpc":"2.0","id":1,"result":{"output":null}}`) {
		t.Errorf("with a substitute: %s", text)
	}
	g.output(t, g.made.ContextID, "get", `{"key":"to"}`, fmt.Sprintf("%q", g.made.MemberPublicKey))
	for _, path := range []string{"context", "application", "identity/" + g.made.ContextID} {
		for range 2 { // once or twice is the same
			expect(t, g.send(t, "/alias/delete/"+path+"/alice", ""), 200, `{"data":null}`)
		}
		expect(t, g.get(t, "/alias/list/"+path), 200, `{"data":{}}`)
	}
}

// migration moves a context to the next version of its application.
func migration(t *testing.T, g *group) {
	next, _ := g.install(t, "kv-store-v2.wasm", testapp.KVStoreV2)
	made := g.context(t, g.app)
	c := made.ContextID
	g.output(t, c, "set", `{"key":"a","value":"1"}`, "null")
	before := g.state(t, c)
	update := func(method string) answer {
		return g.send(t, "/contexts/"+c+"/application", fmt.Sprintf(`{"applicationId":%q,"executorPublicKey":%q,"migrateMethod":%q}`, next, made.MemberPublicKey, method))
	}
	for method, text := range map[string]string{
		"migrate_and_fail": `the method call returned an error: {"kind":"Refused","data":"migrate_and_fail"}`, "not_there": `method "not_there" not found`, "get_unchecked": "guest panicked: ",
	} {
		refused(t, update(method), text)
		if after := g.state(t, c); after != before {
			t.Errorf("%s failed and changed\n%s to\n%s", method, before, after)
		}
	}
	old := g.hash(t, c)
	expect(t, update("migrate_v1_to_v2"), 200, `{"data":null}`)
	g.output(t, c, "schema_info", "{}", `{"schema_version":2,"migrated_from":1}`)
	g.output(t, c, "entries", "{}", `{"a":"1"}`)
	if g.hash(t, c) == old {
		t.Error("the state hash is the old one")
	}
}
