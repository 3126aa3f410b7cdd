package contexts_test

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// quoted is an id in the form that the probe reads.
func quoted(i id.ID) string { return `"` + hex.EncodeToString(i[:]) + `"` }

// node check D25, D27, D28
func TestCreateAndExecute(t *testing.T) {
	f := open(t, t.TempDir())
	made := f.make()
	x := f.record(made.Context)
	if x.StateHash == (id.ID{}) || len(x.DAGHeads) != 1 || x.Deltas != 1 || x.ApplicationVersion != "1.0.0" || !made.GroupCreated || x.Creator != made.Member {
		t.Errorf("%+v", x)
	}
	if out := f.must(made.Context, "n", ""); out != "1" || f.record(made.Context).StateHash != x.StateHash {
		t.Errorf("n = %s, and the state hash changed: %v", out, f.record(made.Context).StateHash != x.StateHash)
	}
	if out := f.must(made.Context, "add", ""); out != "2" {
		t.Errorf("add = %s", out)
	}
	y := f.record(made.Context)
	if y.StateHash == x.StateHash || y.Deltas != 2 || y.DAGHeads[0] == x.DAGHeads[0] {
		t.Errorf("after add: %+v", y)
	}
	for input, want := range map[string]string{`{"a":1}`: `{"a":1}`, `null`: `null`, ``: ``, `"ü"`: `"ü"`} {
		if got := f.must(made.Context, "echo", input); got != want {
			t.Errorf("echo(%s) = %s", input, got)
		}
	}
	f.verify(made.Context)
}

// node check D40: a call that fails in any way, or did not commit, leaves no trace.
func TestExecute_NoTraceWithoutSuccess(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	made := f.make()
	f.must(made.Context, "add", "")
	before := f.dump(made.Context)
	fails := func(method, text string, cause error) {
		t.Helper()
		_, err := f.call(made.Context, method, `"x"`)
		failed, ok := errors.AsType[*contexts.CallError](err)
		if !ok || !strings.Contains(failed.Text, text) || cause != nil && !errors.Is(err, cause) {
			t.Errorf("%s: %v, want %q", method, err, text)
		}
	}
	for _, tt := range []struct {
		method, text string
		cause        error
	}{
		{"add_and_trap", "unreachable", runtime.ErrTrap},
		{"add_and_fail", `the method call returned an error: {"code":7}`, nil},
		{"unknown", `method "unknown" not found`, runtime.ErrMethodNotFound},
		{"init", `method "init" not found`, runtime.ErrMethodNotFound},
		{"commit_without_artifact", "the method changed the state without a delta for the other nodes", nil},
		{"commit_zero_root", "the method committed no root hash", nil},
		{"propose", "proposals need a blockchain, which this node does not have", nil},
		{"make_blob_and_trap", "unreachable", runtime.ErrTrap},
	} {
		fails(tt.method, tt.text, tt.cause)
	}
	for _, method := range []string{"not_json", "add_not_json"} {
		_, err := f.call(made.Context, method, "")
		if _, ok := errors.AsType[*contexts.OutputError](err); !ok {
			t.Errorf("%s: %v, want an OutputError", method, err)
		}
	}
	if out := f.must(made.Context, "add_without_commit", ""); out != "3" {
		t.Errorf("add_without_commit = %s: it does not see its own write", out)
	}
	f.must(made.Context, "nothing", "")
	f.close()
	f = openWith(t, dir, setup{limit: time.Second}) // for this call alone: on a busy machine the others can need longer
	fails("add_and_spin", "", runtime.ErrTimeLimit)
	if after := f.dump(made.Context); !maps.Equal(before, after) {
		t.Errorf("the state changed:\n%v\n%v", before, after)
	}
	blobs, err := f.blobs.List(f.ctx)
	if err != nil || len(blobs) != 1 {
		t.Errorf("%d blobs, %v, want the module only", len(blobs), err)
	}
	f.verify(made.Context)
}

func TestExecute_KeepsBlobsAndPrivateEntries(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	c := f.make().Context
	f.must(c, "make_blob", `"content"`)
	f.must(c, "keep_private", `"mine"`)
	before := f.record(c).StateHash
	if got := f.must(c, "kept_private", ""); got != `"mine"` || f.record(c).StateHash != before {
		t.Errorf("private: %s", got)
	}
	blobs, err := f.blobs.List(f.ctx)
	if err != nil || len(blobs) != 2 {
		t.Errorf("%d blobs, %v, want the module and one more", len(blobs), err)
	}
	f.close()
	f = open(t, dir)
	if got := f.must(c, "kept_private", ""); got != `"mine"` {
		t.Errorf("private after a restart: %s", got)
	}
	f.verify(c)
}

// node check D34, D35
func TestExecute_Executors(t *testing.T) {
	f := open(t, t.TempDir())
	made := f.make()
	second, err := newMember(f, made.Context)
	if err != nil {
		t.Fatal(err)
	}
	foreign := id.ID{0xff}
	f.must(made.Context, "add_member", quoted(foreign))
	names := strings.NewReplacer("C", made.Context.String(), "FIRST", made.Member.String(), "SECOND", second.String(), "APP", app.String())
	for _, tt := range []struct {
		permissions string
		executor    id.ID
		method      string
		allowed     bool
	}{
		{"context:execute", id.ID{}, "n", true},
		{"context:execute", second, "n", true},
		{"context:execute", foreign, "n", false}, // a member, but not this node's
		{"context:execute", id.ID{1}, "n", false},
		{"admin", foreign, "n", false},
		{"context:execute[C,SECOND]", id.ID{}, "n", true}, // the only one that it may be
		{"context:execute[C,SECOND]", second, "n", true},
		{"context:execute[C,SECOND]", made.Member, "n", false},
		{"context:execute[C,FIRST,n]", id.ID{}, "n", true},
		{"context:execute[C,FIRST,n]", id.ID{}, "add", false},
		{"context:execute[C,FIRST,n]", second, "n", false},
		{"context[C,SECOND],context:execute", id.ID{}, "add", true},
		{"context[C,SECOND],context:execute", made.Member, "add", false},
		{"context[APP],context:execute", id.ID{}, "n", false},
		{"application-binding[APP],context:execute", id.ID{}, "n", true},
		{"application-binding[C],context:execute", id.ID{}, "n", false},
		{"context:list,blob", id.ID{}, "n", false},
	} {
		before := f.record(made.Context).StateHash
		_, err := f.Execute(f.as(names.Replace(tt.permissions)), contexts.Call{Context: made.Context, Executor: tt.executor, Method: tt.method})
		refused, is := errors.AsType[*contexts.UnauthorizedError](err)
		switch {
		case tt.allowed && err != nil:
			t.Errorf("%s as %s: %v", tt.permissions, tt.executor, err)
		case !tt.allowed && (!is || refused.Context != made.Context || refused.PublicKey != tt.executor || fault.CodeOf(err) != fault.Forbidden):
			t.Errorf("%s as %s: %v, want a refusal with both ids", tt.permissions, tt.executor, err)
		case !tt.allowed && f.record(made.Context).StateHash != before:
			t.Errorf("%s as %s: refused, and the state changed", tt.permissions, tt.executor)
		}
	}
	// Whose call it was is in the log.
	if _, err := f.Execute(f.ctx, contexts.Call{Context: made.Context, Executor: second, Method: "add"}); err != nil {
		t.Fatal(err)
	}
	if d := f.head(made.Context); d.Author != second || d.Kind != store.CallDelta || d.Application != app {
		t.Errorf("%+v, want %s as the author", d, second)
	}
}

// newMember gives a context a second identity of this node.
func newMember(f *fixture, c id.ID) (id.ID, error) {
	key, err := f.NewIdentity(f.ctx)
	if err == nil {
		_, err = f.call(c, "add_member", quoted(key))
	}
	return key, err
}

// node check D46: an identity that the node made beforehand brings its keys along into the context that takes it in.
func TestExecute_MembersBringTheirKeys(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	made, elsewhere := f.make(), f.make().Context
	key, err := f.NewIdentity(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	as := func(c id.ID) (string, error) {
		r, err := f.Execute(f.ctx, contexts.Call{Context: c, Executor: key, Method: "who"})
		return string(r.Output), err
	}
	if _, err := as(made.Context); err == nil {
		t.Error("the key acts before it is a member")
	}
	if _, err := f.call(made.Context, "add_member_and_trap", quoted(key)); err == nil {
		t.Fatal("the call did not fail")
	}
	before := f.waiting()
	if len(before) != 1 || before[0].PublicKey != key {
		t.Fatalf("under the zero context: %v", before)
	}
	f.must(made.Context, "add_remove_add_member", quoted(key))
	if got := f.waiting(); len(got) != 0 {
		t.Errorf("still under the zero context: %v", got)
	}
	for range 2 { // as it is in memory, and after a restart
		if got, err := as(made.Context); err != nil || got != quoted(key) {
			t.Errorf("executed as %s: %v", got, err)
		}
		if owned, err := f.Identities(f.ctx, listContext, made.Context, true); err != nil || len(owned) != 2 || !slices.Contains(owned, key) {
			t.Errorf("owned: %v %v", owned, err)
		}
		f.close()
		f = open(t, dir)
	}
	var moved store.Identity
	if err := f.db.View(f.ctx, func(tx *store.Tx) (err error) { moved, err = tx.Identity(made.Context, key); return err }); err != nil {
		t.Fatal(err)
	}
	if !moved.Private.Equal(before[0].Private) || !bytes.Equal(moved.SenderKey, before[0].SenderKey) {
		t.Error("the keys are not those that were made")
	}
	// It is in use: no other context gets the keys with the name.
	f.must(elsewhere, "add_member", quoted(key))
	if got, err := as(elsewhere); err == nil {
		t.Errorf("executed as %s in a context that only named it", got)
	}
	f.verify(made.Context)
}

// Two contexts that take the same identity in at the same time do not both get its keys.
func TestExecute_KeysGoToOneContextOnly(t *testing.T) {
	f := open(t, t.TempDir())
	a, b := f.make().Context, f.make().Context
	key, err := f.NewIdentity(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	hold, entered := make(chan struct{}), make(chan struct{})
	first := f.db.Enqueue(func(*store.Tx) error { close(entered); <-hold; return nil })
	<-entered
	results := make(chan error, 2)
	for _, c := range []id.ID{a, b} {
		go func() { _, err := f.call(c, "add_member", quoted(key)); results <- err }()
	}
	waitFor(t, func() bool { return f.Staged(a) == 1 && f.Staged(b) == 1 })
	close(hold)
	one, other := <-results, <-results
	if err := first.Wait(); err != nil || (one == nil) == (other == nil) {
		t.Errorf("%v; %v and %v, want one success", err, one, other)
	}
	if failed := cmp.Or(one, other); fault.CodeOf(failed) != fault.Unavailable {
		t.Errorf("the other: %v, want one that says to try again", failed)
	}
	owners := 0
	for _, c := range []id.ID{a, b} {
		if _, err := f.Execute(f.ctx, contexts.Call{Context: c, Executor: key, Method: "n"}); err == nil {
			owners++
		}
		f.verify(c)
	}
	if owners != 1 {
		t.Errorf("the key acts in %d contexts", owners)
	}
}

// waiting returns the identities under the zero context.
func (f *fixture) waiting() []store.Identity {
	f.t.Helper()
	var list []store.Identity
	if err := f.db.View(f.ctx, func(tx *store.Tx) (err error) { list, err = tx.Identities(id.ID{}); return err }); err != nil {
		f.t.Fatal(err)
	}
	return list
}

// A member is a change of its own, whatever else a call leaves as it was.
func TestExecute_AMemberIsAChange(t *testing.T) {
	f := open(t, t.TempDir())
	c, key := f.make().Context, id.ID{0xfd}
	before := f.record(c)
	f.must(c, "add_member_quietly", quoted(key))
	list, err := f.Identities(f.ctx, listContext, c, false)
	if err != nil || !slices.Contains(list, key) {
		t.Errorf("members %v %v, want %s among them", list, err, key)
	}
	after := f.record(c)
	if after.StateHash != before.StateHash || after.Deltas != before.Deltas+1 {
		t.Errorf("%+v, then %+v: want the same state and one delta more", before, after)
	}
	f.must(c, "add_member_quietly", quoted(key)) // it is one already
	if got := f.record(c); got.Deltas != after.Deltas {
		t.Errorf("%d deltas, want %d", got.Deltas, after.Deltas)
	}
	f.verify(c)
}

// No context has the zero id, although that of one that is not there reads as zero.
func TestZeroContext_DoesNotExist(t *testing.T) {
	f := open(t, t.TempDir())
	f.make()
	_, execute := f.call(id.ID{}, "n", "")
	for name, err := range map[string]error{
		"execute": execute,
		"admits":  f.Admits(f.ctx, contexts.Call{Method: "n"}),
		"delete":  f.Delete(f.ctx, id.ID{}, id.ID{}),
		"update":  f.Update(f.ctx, contexts.Update{Application: other}),
		"grant":   f.Grant(f.ctx, contexts.Grant{Members: map[id.ID]contexts.Capability{{1}: contexts.Proxy}}),
	} {
		if !errors.Is(err, contexts.ErrNotFound) {
			t.Errorf("%s: %v, want %v", name, err, contexts.ErrNotFound)
		}
	}
}

func TestExecute_Logs(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	for method, want := range map[string][]string{
		"say": {`"ü"`, "and more"}, "say_and_trap": {`"ü"`}, "say_and_fail": {`"ü"`}, "n": nil,
	} {
		before := f.log.String()
		ctx := reqctx.WithRequestID(f.ctx, "request-1")
		r, _ := f.Execute(ctx, contexts.Call{Context: c, Method: method, Input: []byte(`"ü"`)})
		if !slices.Equal(r.Logs, want) {
			t.Errorf("%s: logs %q, want %q", method, r.Logs, want)
		}
		line := strings.TrimPrefix(f.log.String(), before)
		if want == nil {
			if line != "" {
				t.Errorf("%s: %s", method, line)
			}
			continue
		}
		var got struct {
			Level, Msg, Context, Method string
			Lines                       []string
			RequestID                   string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Errorf("%s: %q: %v", method, line, err)
		}
		if got.Level != "INFO" || got.Context != c.String() || got.Method != method || got.RequestID != "request-1" || !slices.Equal(got.Lines, want) {
			t.Errorf("%s: %+v, want %q", method, got, want)
		}
	}
}

// The caller gets all that was logged, the node's log a part of bounded size.
func TestExecute_LogsAreCutInTheNodesLog(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	long := `"` + strings.Repeat("ü", 8000) + `"` // 16002 bytes of at most 16384, and 8 more
	f.must(c, "say", long)
	if got := f.log.String(); !strings.Contains(got, "and more") || strings.Contains(got, "cut_bytes") {
		t.Errorf("what fits was cut: %d bytes", len(got))
	}
	before := f.log.String()
	r, err := f.Execute(f.ctx, contexts.Call{Context: c, Method: "say", Input: []byte(`"x` + strings.Repeat("ü", 8190) + `"`)}) // 16383 and 8
	if err != nil || len(r.Logs) != 2 || len(r.Logs[0]) != 16383 {
		t.Fatalf("logs %d, %v", len(r.Logs), err)
	}
	if line := strings.TrimPrefix(f.log.String(), before); !strings.Contains(line, `,"a"],"cut_bytes":7}`) {
		t.Errorf("the line ends with %q", line[max(0, len(line)-60):])
	}
}

// What applications are told as the time goes on from what is on disk, whatever the clock says after a restart.
func TestExecute_TimeGoesOnAfterARestart(t *testing.T) {
	dir, clock := t.TempDir(), time.Unix(2_000_000_000, 0)
	set := setup{limit: 10 * time.Second, now: func() time.Time { return clock }}
	f := openWith(t, dir, set)
	c := f.make().Context
	first := f.must(c, "add_and_tell_time", "")
	if first != "2000000000000000000" {
		t.Errorf("time %s", first)
	}
	f.close()
	clock = time.Unix(1_900_000_000, 0)
	f = openWith(t, dir, set)
	if got := f.must(c, "add_and_tell_time", ""); got != "2000000000000000001" {
		t.Errorf("time %s after %s: the clock was set back", got, first)
	}
}

// head returns the newest delta of a context.
func (f *fixture) head(c id.ID) store.Delta {
	f.t.Helper()
	var d store.Delta
	if err := f.db.View(f.ctx, func(tx *store.Tx) error {
		x, err := tx.Context(c)
		if err == nil {
			d, err = tx.Delta(c, x.DAGHeads[0])
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return d
}

func TestExecute_MembersThatTheApplicationChanges(t *testing.T) {
	f := open(t, t.TempDir())
	made := f.make()
	key := id.ID{0xfe}
	read := func(owned bool) string {
		list, err := f.Identities(f.ctx, listContext, made.Context, owned)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(list)
	}
	f.must(made.Context, "add_member", quoted(key))
	f.must(made.Context, "add_member", quoted(key))
	if got, want := read(false), fmt.Sprint([]id.ID{made.Member, key}); got != want && got != fmt.Sprint([]id.ID{key, made.Member}) {
		t.Errorf("members %s, want %s", got, want)
	}
	if got := read(true); got != fmt.Sprint([]id.ID{made.Member}) { // node check D46
		t.Errorf("owned: %s", got)
	}
	f.must(made.Context, "remove_member", quoted(key))
	if got := read(false); got != fmt.Sprint([]id.ID{made.Member}) {
		t.Errorf("members %s, want the creator only", got)
	}
	if _, err := f.call(made.Context, "remove_member", quoted(made.Member)); err == nil {
		t.Error("the creator can be removed")
	}
	second, err := newMember(f, made.Context)
	if err != nil {
		t.Fatal(err)
	}
	asSecond := contexts.Call{Context: made.Context, Executor: second, Method: "add_member", Input: []byte(quoted(key))}
	if _, err := f.Execute(f.ctx, asSecond); err == nil {
		t.Error("a member without the capability changes the members")
	}
	if err := f.Grant(f.ctx, contexts.Grant{Context: made.Context, Members: map[id.ID]contexts.Capability{second: contexts.ManageMembers}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Execute(f.ctx, asSecond); err != nil {
		t.Error(err)
	}
	f.verify(made.Context)
}

func TestEvents_LeaveAfterTheCommitAndOnlyThen(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	sub := f.bus.NewSubscriber()
	defer sub.Close()
	sub.Subscribe(event.OfContext(c))
	for _, method := range []string{"add_and_trap", "add_and_fail", "add_without_commit", "n"} {
		_, _ = f.call(c, method, `"x"`)
	}
	f.must(c, "add_and_tell", `{"a":1}`)
	added := f.record(c).StateHash
	f.must(c, "tell", `2`)
	f.must(c, "add", "")
	for _, want := range []string{
		`"newRoot":"` + added.String() + `","events":[{"kind":"Added","data":[123,34,97,34,58,49,125]`,
		`"newRoot":"` + added.String() + `","events":[{"kind":"Told","data":[50]`,
		`"newRoot":"` + f.record(c).StateHash.String() + `","events":[]`,
	} {
		m, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(m.JSON), want) {
			t.Errorf("%s, want %s", m.JSON, want)
		}
	}
}
