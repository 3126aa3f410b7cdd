package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

// The life of a context of the sample application, as clients see it: what the node contract asks of kv-store.
func TestContract_SampleApplication(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, nil)
	c := n.context(t, n.installed(t, "kv-store.wasm", testapp.KVStore)).ContextID
	hash := n.stateHash(t, c)
	failure := func(kind, data string) string { return `"type":"` + kind + `","data":` + data }
	for _, step := range []struct {
		method, args, want string // of the answer, or a part of the error
		changes            bool
	}{
		{"get", `{"key":"a"}`, result(`null`), false},                                                                             // node check D27
		{"set", `{"key":"a","value":"1"}`, result(`null`), true},                                                                  // node check D28
		{"get", `{"key":"a"}`, result(`"1"`), false},                                                                              //
		{"entries", `{}`, result(`{"a":"1"}`), false},                                                                             //
		{"len", `{}`, result(`1`), false},                                                                                         //
		{"set", `{"key":"b","value":"\"ü\""}`, result(`null`), true},                                                              //
		{"remove", `{"key":"a"}`, result(`"1"`), true},                                                                            //
		{"len", `{}`, result(`1`), false},                                                                                         //
		{"set_without_commit", `{"key":"c","value":"1"}`, ``, false},                                                              // a call that did not commit writes nothing
		{"missing", `{}`, failure("FunctionCallError", `"method \"missing\" not found"`), false},                                  // node check D30
		{"get_result", `{"key":"x"}`, failure("FunctionCallError", `"the method call returned an error: {`), false},               // node check D31
		{"get_unchecked", `{"key":"x"}`, failure("FunctionCallError", `"guest panicked: key not found`), false},                   // node check D32
		{"set", `{"key":1}`, failure("FunctionCallError", `"guest panicked: Failed to deserialize input from JSON: `), false},     // node check D33
		{"set_then_fail", `{"key":"z","value":"1"}`, failure("FunctionCallError", `"the method call returned an error: `), false}, // node check D40
		{"set_then_panic", `{"key":"z","value":"1"}`, failure("FunctionCallError", `"guest panicked: `), false},
		{"set_then_trap", `{"key":"z","value":"1"}`, `"FunctionCallError"`, false},
		{"eat_memory", `{}`, `"FunctionCallError"`, false}, // node check D41
		{"too_many_events", `{}`, `"FunctionCallError"`, false},
		{"too_large_event", `{}`, `"FunctionCallError"`, false},
		{"call_unknown", `{}`, `"FunctionCallError"`, false},
		{"recurse_forever", `{}`, `"FunctionCallError"`, false},
		{"entries", `{}`, result(`{"b":"\"ü\""}`), false},
	} {
		got := n.execute(t, "admin", c, step.method, step.args)
		if same := got == step.want; !same && (strings.HasPrefix(step.want, `{"jsonrpc"`) || !strings.Contains(got, step.want)) {
			t.Errorf("%s(%s) = %s, want %s", step.method, step.args, got, step.want)
		}
		after := n.stateHash(t, c)
		if (after != hash) != step.changes {
			t.Errorf("%s(%s): the state hash changed: %v", step.method, step.args, after != hash)
		}
		hash = after
	}
	if err := n.stop(); err != nil { // node check D29
		t.Fatal(err)
	}
	n = start(t, dir, nil)
	if got := n.execute(t, "admin", c, "entries", "{}"); got != result(`{"b":"\"ü\""}`) || n.stateHash(t, c) != hash {
		t.Errorf("after a restart: %s", got)
	}
}

// node check D44
func TestContract_MigrationOfTheSampleApplication(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	v1, v2 := n.installed(t, "kv-store.wasm", testapp.KVStore), n.installed(t, "kv-store-v2.wasm", testapp.KVStoreV2)
	made := n.context(t, v1)
	c := made.ContextID
	n.execute(t, "admin", c, "set", `{"key":"a","value":"1"}`)
	n.execute(t, "admin", c, "set", `{"key":"b","value":"2"}`)
	hash := n.stateHash(t, c)
	update := func(method string) answer {
		return n.posting(t, "admin")("/contexts/"+c+"/application", fmt.Sprintf(`{"applicationId":%q,"executorPublicKey":%q,"migrateMethod":%q}`, v2, made.MemberPublicKey, method))
	}
	for method, status := range map[string]int{"migrate_and_fail": 400, "not_there": 400, "get_unchecked": 400, "len": 400} {
		if a := update(method); a.StatusCode != status || !strings.HasPrefix(a.body, `{"error":"`) {
			t.Errorf("%s: %s %s", method, a.Status, a.body)
		}
		if got := n.execute(t, "admin", c, "entries", "{}"); got != result(`{"a":"1","b":"2"}`) || n.stateHash(t, c) != hash {
			t.Errorf("after a failed update with %s: %s", method, got)
		}
	}
	expect(t, update("migrate_v1_to_v2"), 200, `{"data":null}`)
	if got := n.stateHash(t, c); got == hash {
		t.Error("the state hash is the old one")
	}
	if got := n.execute(t, "admin", c, "schema_info", "{}"); got != result(`{"schema_version":2,"migrated_from":1}`) {
		t.Errorf("schema_info: %s", got)
	}
	// The hash that the node computed is one that the application goes on from.
	n.execute(t, "admin", c, "set", `{"key":"c","value":"3"}`)
	if got := n.execute(t, "admin", c, "entries", "{}"); got != result(`{"a":"1","b":"2","c":"3"}`) {
		t.Errorf("entries: %s", got)
	}
	if got := decoded[struct{ ApplicationID string }](t, n.getting(t, "admin")("/contexts/"+c)); got.ApplicationID != v2 {
		t.Errorf("the context runs %s, want %s", got.ApplicationID, v2)
	}
}

// node check D39: the loop ends at its time limit, and meanwhile the node answers.
func TestContract_EndlessLoop(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) { c.Execution.TimeLimit = 2 * time.Second })
	app := n.installed(t, "kv-store.wasm", testapp.KVStore)
	spinning, free := n.context(t, app).ContextID, n.context(t, app).ContextID
	loop := request(t, http.MethodPost, n.url("/jsonrpc"), strings.NewReader(fmt.Sprintf(
		`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":"loop_forever"}}`, spinning)))
	loop.Header.Set("Content-Type", "application/json")
	n.grant(loop, "k1", "admin")
	type outcome struct {
		body string
		err  error
	}
	ended := make(chan outcome, 1)
	began := time.Now()
	go func() {
		res, err := client.Do(loop)
		if err != nil {
			ended <- outcome{err: err}
			return
		}
		defer func() { _ = res.Body.Close() }()
		var body struct{ Error json.RawMessage }
		err = json.NewDecoder(res.Body).Decode(&body)
		ended <- outcome{string(body.Error), err}
	}()
	for i := range 20 {
		got := n.execute(t, "admin", free, "set", fmt.Sprintf(`{"key":"%d","value":"x"}`, i))
		for tries := 0; tries < 5 && strings.Contains(got, "ran longer than 2s"); tries++ { // as it is for a machine that stands still
			got = n.execute(t, "admin", free, "set", fmt.Sprintf(`{"key":"%d","value":"x"}`, i))
		}
		if got != result(`null`) {
			t.Errorf("the other context: %s", got)
		}
	}
	o := <-ended
	if o.err != nil || !strings.Contains(o.body, `"FunctionCallError"`) || !strings.Contains(o.body, "ran longer than 2s") || time.Since(began) < 2*time.Second {
		t.Errorf("after %s: %s %v", time.Since(began), o.body, o.err)
	}
	if got := n.execute(t, "admin", spinning, "len", "{}"); got != result("0") {
		t.Errorf("the context of the loop: %s", got)
	}
}

// Calls of other contexts and handlers of events, with the sample.
func TestContract_SampleFollowUps(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	app := n.installed(t, "kv-store.wasm", testapp.KVStore)
	from, to := n.context(t, app).ContextID, n.context(t, app).ContextID
	if got := n.execute(t, "admin", from, "set_with_handler", `{"key":"a","value":"1"}`); got != result("null") {
		t.Errorf("set_with_handler: %s", got)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // the handler runs after the answer
		got := n.execute(t, "admin", from, "handled", `{}`)
		if got == result("1") {
			break
		}
		if got != result("0") || time.Now().After(deadline) {
			t.Fatalf("handled: %s", got)
		}
	}
	if got := n.execute(t, "admin", from, "set_elsewhere", fmt.Sprintf(`{"context":%q,"key":"k","value":"v"}`, to)); got != result("null") {
		t.Errorf("set_elsewhere: %s", got)
	}
	if got := n.execute(t, "admin", to, "get", `{"key":"k"}`); got != result(`"v"`) {
		t.Errorf("there: %s", got)
	}
}
