package testapp_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

var now = time.Unix(1_700_000_000, 0)

func newEngine(t testing.TB) *runtime.Engine {
	t.Helper()
	return newEngineWith(t, runtime.DefaultLimits())
}

func newEngineWith(t testing.TB, limits runtime.Limits) *runtime.Engine {
	t.Helper()
	e, err := runtime.New(context.Background(), runtime.Options{Rand: rand.Reader, Now: func() time.Time { return now }, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// state is what a context has stored.
type state map[string][]byte

func (s state) Get(_ context.Context, key []byte) ([]byte, bool, error) {
	v, ok := s[string(key)]
	return v, ok, nil
}

func (s state) apply(writes []runtime.Write) {
	for _, w := range writes {
		if w.Remove {
			delete(s, string(w.Key))
		} else {
			s[string(w.Key)] = w.Value
		}
	}
}

// kv is a context of the sample application.
type kv struct {
	t       testing.TB
	engine  *runtime.Engine
	module  *runtime.Module
	call    runtime.Call
	shared  state
	private state
	root    id.ID
}

func newKV(t testing.TB, e *runtime.Engine, wasm []byte) *kv {
	t.Helper()
	m, err := e.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	k := &kv{t: t, engine: e, module: m, shared: state{}, private: state{}}
	k.call = runtime.Call{Context: id.ID{1}, Executor: id.ID{2}, State: k.shared, Private: k.private}
	k.do("init", "")
	return k
}

// try runs a method and stores what it committed.
func (k *kv) try(method, input string) (runtime.Outcome, error) {
	k.t.Helper()
	c := k.call
	c.Method, c.Input = method, []byte(input)
	out, err := k.engine.Run(k.t.Context(), k.module, c)
	if err == nil && out.Committed {
		k.shared.apply(out.Writes)
		k.private.apply(out.PrivateWrites)
		k.root = out.Root
	}
	return out, err
}

// do runs a method that must work.
func (k *kv) do(method, input string) runtime.Outcome {
	k.t.Helper()
	out, err := k.try(method, input)
	if err != nil || out.Failed {
		k.t.Fatalf("%s(%s): %v %s", method, input, err, out.Returned)
	}
	return out
}

func (k *kv) want(method, input, output string) {
	k.t.Helper()
	if got := string(k.do(method, input).Returned); got != output {
		k.t.Errorf("%s(%s) = %s, want %s", method, input, got, output)
	}
}

func entry(key, value string) string {
	b, _ := json.Marshal(map[string]string{"key": key, "value": value})
	return string(b)
}

// node check D27
// node check D28
func TestKVStore(t *testing.T) {
	k := newKV(t, newEngine(t), testapp.KVStore)
	k.want("len", "", "0")
	k.want("entries", "", "{}")
	empty := k.root

	out := k.do("set", entry("a", "1"))
	if len(out.Returned) != 0 || len(out.Events) != 1 || out.Events[0].Kind != "Inserted" || string(out.Events[0].Data) != entry("a", "1") || out.Events[0].Handler != "" {
		t.Errorf("set: %+v", out)
	}
	one := k.root
	if one == empty || len(out.Artifact) == 0 {
		t.Error("set changed neither hash nor artifact")
	}
	k.want("get", `{"key":"a"}`, `"1"`)
	k.want("get", `{"key":"b"}`, `null`)
	k.want("get_result", `{"key":"a"}`, `"1"`)
	k.want("get_unchecked", ` { "other" : [1,{"x":"}"}] , "key" : "\u0061" } `, `"1"`)
	if k.root != one {
		t.Error("get changed the hash")
	}
	if out = k.do("set", entry("a", "2")); out.Events[0].Kind != "Updated" || k.root == one {
		t.Errorf("set again: %+v", out)
	}
	k.do("set", entry("a", "1"))
	if k.root != one {
		t.Error("the same content has another hash")
	}
	k.do("set", entry("b", "zw\u00f6lf \"\\\n\u0001\U0001f600"))
	k.want("len", "{}", "2")
	k.want("remove", `{"key":"a"}`, `"1"`)
	k.want("remove", `{"key":"a"}`, `null`)
	k.want("entries", "{}", `{"b":"zw`+"\u00f6"+`lf \"\\\u000a\u0001`+"\U0001f600"+`"}`)
	if out = k.do("clear", "{}"); out.Events[0].Kind != "Cleared" || k.root != empty {
		t.Errorf("clear: %+v, root %s, want %s", out, k.root, empty)
	}
	if _, err := k.try("init", ""); !errors.Is(err, runtime.ErrPanic) {
		t.Errorf("init again: %v", err)
	}
}

// The application agrees with a map, and equal contents have equal hashes.
func TestKVStoreAgainstAMap(t *testing.T) {
	k := newKV(t, newEngine(t), testapp.KVStore)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	want, roots := map[string]string{}, map[string]id.ID{}
	for i := range 400 {
		key, value := "key"+strconv.Itoa(r.IntN(6)), strconv.Itoa(r.IntN(2))
		switch n := r.IntN(20); {
		case n == 0:
			clear(want)
			k.do("clear", "")
		case n < 8:
			delete(want, key)
			k.do("remove", entry(key, ""))
		default:
			want[key] = value
			k.do("set", entry(key, value))
		}
		var got map[string]string
		if err := json.Unmarshal(k.do("entries", "").Returned, &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("step %d: %v, want %v (%v)", i, got, want, err)
		}
		content := fmt.Sprint(want)
		if root, known := roots[content]; known && root != k.root {
			t.Fatalf("step %d: %s has two hashes", i, content)
		}
		roots[content] = k.root
	}
}

// Another node that applies the artifacts comes to the same state.
func TestArtifactsReplicate(t *testing.T) {
	e := newEngine(t)
	a, b := newKV(t, e, testapp.KVStore), newKV(t, e, testapp.KVStore)
	for _, c := range [][2]string{
		{"set", entry("a", "1")},
		{"set", entry("b", "2")},
		{"set", entry("a", "3")},
		{"remove", `{"key":"b"}`},
		{"on_inserted", `{"key":"a"}`},
		{"set", entry("c", "4")},
		{"clear", ""},
		{"set", entry("d", "5")},
	} {
		out := a.do(c[0], c[1])
		b.do("__calimero_sync_next", string(out.Artifact))
		if a.root != b.root {
			t.Fatalf("after %s(%s) the hashes differ", c[0], c[1])
		}
	}
	b.want("entries", "", `{"d":"5"}`)
	b.want("handled", "", "1")
}

// A call that fails, in whichever way, leaves no trace.
//
// node check D31
// node check D32
// node check D33
// node check D40
func TestFailingCallsLeaveNoTrace(t *testing.T) {
	k := newKV(t, newEngine(t), testapp.KVStore)
	k.do("set", entry("a", "1"))
	for _, tt := range []struct {
		method, input string
		reason        error
		text          string
	}{
		{"set_then_panic", entry("a", "2"), runtime.ErrPanic, "guest panicked: set_then_panic at kv_store.c:"},
		{"set_then_trap", entry("a", "2"), runtime.ErrTrap, "the guest trapped: unreachable"},
		{"commit_twice", entry("a", "2"), runtime.ErrTrap, "the method committed twice"},
		{"get_unchecked", `{"key":"x"}`, runtime.ErrPanic, "guest panicked: key not found: x at kv_store.c:"},
		{"set", `{"key":"a","value":2}`, runtime.ErrPanic, "guest panicked: Failed to deserialize input from JSON: invalid type: expected a string for `value` at "},
		{"set", `{"key":"a"}`, runtime.ErrPanic, "guest panicked: Failed to deserialize input from JSON: missing field `value` at "},
		{"set", "[]", runtime.ErrPanic, "guest panicked: Failed to deserialize input from JSON: it is not an object at "},
		{"recurse_forever", "", runtime.ErrStackLimit, "the guest's calls are nested too deeply"},
		{"eat_memory", "", runtime.ErrMemoryLimit, "the guest needs more memory than 1024 pages: unreachable"},
		{"too_many_events", "", runtime.ErrHostLimit, "a call has at most 100 events"},
		{"too_large_event", "", runtime.ErrHostLimit, "the limit of the size of an event's data is 16384, and the guest asked for 16385"},
		{"out_of_bounds", "", runtime.ErrTrap, "invalid memory access"},
		{"call_unknown", "", runtime.ErrUnsupported, `the host has no function "js_crdt_map_new" in "env"`},
		{"no_such_method", "", runtime.ErrMethodNotFound, `method "no_such_method" not found`},
	} {
		out, err := k.try(tt.method, tt.input)
		if !errors.Is(err, tt.reason) || !strings.HasPrefix(err.Error(), tt.text) {
			t.Errorf("%s(%s): %v, want %q", tt.method, tt.input, err, tt.text)
		}
		if out.Committed || len(out.Writes)+len(out.Events)+len(out.Artifact) != 0 {
			t.Errorf("%s: %+v", tt.method, out)
		}
	}
	k.runsTooLong("loop_forever")
	for method, want := range map[string]string{
		"set_then_fail": `{"kind":"Refused","data":"set_then_fail"}`,
		"get_result":    `{"kind":"NotFound","data":"x"}`,
	} {
		out, err := k.try(method, entry("x", "2"))
		if err != nil || !out.Failed || string(out.Returned) != want || out.Committed || len(out.Writes)+len(out.Events) != 0 {
			t.Errorf("%s: %+v, %v", method, out, err)
		}
	}
	if out := k.do("set_without_commit", entry("x", "2")); len(out.Writes) != 0 || len(out.Events) != 1 {
		t.Errorf("set_without_commit: %+v", out)
	}
	k.want("entries", "", `{"a":"1"}`)
}

// runsTooLong calls a method on an engine of its own: no other call has as little time as this one.
func (k *kv) runsTooLong(method string) {
	k.t.Helper()
	limits := runtime.DefaultLimits()
	limits.Time = time.Second
	brief := *k
	brief.engine = newEngineWith(k.t, limits)
	var err error
	if brief.module, err = brief.engine.Compile(k.t.Context(), testapp.KVStore); err != nil {
		k.t.Fatal(err)
	}
	out, err := brief.try(method, "")
	if want := "the method ran longer than 1s"; !errors.Is(err, runtime.ErrTimeLimit) || !strings.HasPrefix(err.Error(), want) {
		k.t.Errorf("%s: %v, want %q", method, err, want)
	}
	if out.Committed || len(out.Writes)+len(out.Events)+len(out.Artifact) != 0 {
		k.t.Errorf("%s: %+v", method, out)
	}
}

func TestPrivateStorage(t *testing.T) {
	k := newKV(t, newEngine(t), testapp.KVStore)
	before := k.root
	out := k.do("private_set", entry("secret", "s"))
	if len(out.PrivateWrites) != 1 || k.root != before || bytes.Contains(out.Artifact, []byte("secret")) {
		t.Errorf("private_set: %+v", out)
	}
	k.want("private_get", `{"key":"secret"}`, `"s"`)
	k.want("private_get", `{"key":"other"}`, "null")
	k.want("get", `{"key":"secret"}`, "null")
}

func TestHandlerAndCallOfAnotherContext(t *testing.T) {
	k := newKV(t, newEngine(t), testapp.KVStore)
	out := k.do("set_with_handler", entry("a", "1"))
	if len(out.Events) != 1 || out.Events[0].Handler != "on_inserted" {
		t.Fatalf("events %+v", out.Events)
	}
	out = k.do(out.Events[0].Handler, string(out.Events[0].Data))
	if fmt.Sprint(out.Logs) != "[a]" {
		t.Errorf("logs %q", out.Logs)
	}
	k.want("handled", "", "1")

	other := id.ID(bytes.Repeat([]byte{9}, 32))
	out = k.do("set_elsewhere", `{"context":"`+other.String()+`","key":"k","value":"v"}`)
	if len(out.XCalls) != 1 || out.XCalls[0].Context != other || out.XCalls[0].Function != "set" || string(out.XCalls[0].Params) != entry("k", "v") || out.Committed {
		t.Errorf("set_elsewhere: %+v", out)
	}
	if _, err := k.try("set_elsewhere", `{"context":"0OIl","key":"k","value":"v"}`); !errors.Is(err, runtime.ErrPanic) {
		t.Errorf("set_elsewhere with a bad id: %v", err)
	}
}

func TestHostFacts(t *testing.T) {
	k := newKV(t, newEngine(t), testapp.KVStore)
	k.call.Executor = id.ID(bytes.Repeat([]byte{0xff}, 32))
	k.call.Directory = directory{k.call.Executor, {}}
	k.want("who", "", `{"context":"`+k.call.Context.String()+`","executor":"JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG"}`)
	k.want("members", "", `["JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG","11111111111111111111111111111111"]`)
	k.want("resolve", `{"alias":"first"}`, `"JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG"`)
	k.want("resolve", `{"alias":"other"}`, "null")
	k.want("time", "", "1700000000000000001") // later than at init, though the clock stands still
	a, b := k.do("random", "").Returned, k.do("random", "").Returned
	if bytes.Equal(a, b) {
		t.Errorf("random twice: %s", a)
	}
	if out := k.do("log", `{"text":"hello"}`); fmt.Sprint(out.Logs) != "[hello]" {
		t.Errorf("logs %q", out.Logs)
	}
	member := id.ID{7}
	out := k.do("add_member", `{"member":"`+member.String()+`"}`)
	if want := (runtime.ContextChange{Kind: runtime.AddMember, Member: member}); len(out.Changes) != 1 || out.Changes[0].Kind != want.Kind || out.Changes[0].Member != member {
		t.Errorf("add_member: %+v", out.Changes)
	}
	if out = k.do("remove_member", `{"member":"`+member.String()+`"}`); out.Changes[0].Kind != runtime.RemoveMember {
		t.Errorf("remove_member: %+v", out.Changes)
	}
}

type directory []id.ID

func (d directory) Members(context.Context) ([]id.ID, error)      { return d, nil }
func (d directory) IsMember(context.Context, id.ID) (bool, error) { return false, nil }
func (d directory) ResolveAlias(_ context.Context, name string) (id.ID, bool, error) {
	return d[0], name == "first", nil
}

func TestBlobs(t *testing.T) {
	k := newKV(t, newEngine(t), testapp.KVStore)
	k.call.Blobs = blobs{}
	data := strings.Repeat("0123456789abcdef", 10_000)
	blob := string(k.do("blob_put", `{"data":"`+data+`"}`).Returned)
	k.want("blob_get", `{"id":`+blob+`}`, `"`+data+`"`)
	k.want("blob_get", `{"id":"11111111111111111111111111111111"}`, `""`)
}

// blobs are blobs in memory, named by the SHA-256 of their content.
type blobs map[id.ID][]byte

func (b blobs) Open(_ context.Context, blob id.ID) (io.ReadCloser, bool, error) {
	data, ok := b[blob]
	return io.NopCloser(bytes.NewReader(data)), ok, nil
}

func (b blobs) Create(context.Context) (runtime.BlobWriter, error)   { return &blobWriter{to: b}, nil }
func (b blobs) Announce(context.Context, id.ID, id.ID) (bool, error) { return false, nil }

type blobWriter struct {
	bytes.Buffer
	to blobs
}

func (w *blobWriter) Finish(context.Context) (id.ID, error) {
	blob := id.ID(sha256.Sum256(w.Bytes()))
	w.to[blob] = w.Bytes()
	return blob, nil
}
func (w *blobWriter) Discard() {}

// What the node does with the result of a migration is tested where it does it: here it only takes its place.
func TestMigration(t *testing.T) {
	e := newEngine(t)
	k := newKV(t, e, testapp.KVStore)
	k.do("set", entry("a", "1"))
	v2, err := e.Compile(t.Context(), testapp.KVStoreV2)
	if err != nil {
		t.Fatal(err)
	}
	v1 := k.module
	k.module = v2
	if _, err := k.try("get", `{"key":"a"}`); !errors.Is(err, runtime.ErrPanic) || !strings.Contains(err.Error(), "must be migrated first") {
		t.Errorf("before the migration: %v", err)
	}
	if out, err := k.try("migrate_and_fail", ""); err != nil || !out.Failed {
		t.Errorf("migrate_and_fail: %+v, %v", out, err)
	}
	out := k.do("migrate_v1_to_v2", "")
	if out.Committed || len(out.Writes) != 0 {
		t.Errorf("the migration wrote: %+v", out)
	}
	root := bytes.Repeat([]byte{0x76}, 32)
	key := sha256.Sum256(append([]byte{1}, root...))
	k.shared[string(key[:])] = append(out.Returned, root...)
	k.want("schema_info", "", `{"schema_version":2,"migrated_from":1}`)
	k.want("entries", "", `{"a":"1"}`)
	k.do("set", entry("b", "2"))
	if _, err := k.try("migrate_v1_to_v2", ""); !errors.Is(err, runtime.ErrPanic) {
		t.Errorf("a second migration: %v", err)
	}
	k.module = v1
	if _, err := k.try("get", `{"key":"a"}`); !errors.Is(err, runtime.ErrPanic) {
		t.Errorf("the old version with the new state: %v", err)
	}
}
