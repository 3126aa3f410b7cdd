package contexts_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
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
	f := openLimited(t, t.TempDir(), brief())
	made := f.make()
	f.must(made.Context, "add", "")
	before := f.dump(made.Context)
	for _, tt := range []struct {
		method, text string
		cause        error
	}{
		{"add_and_trap", "unreachable", runtime.ErrTrap},
		{"add_and_fail", `the method call returned an error: {"code":7}`, nil},
		{"add_and_spin", "", runtime.ErrTimeLimit},
		{"unknown", `method "unknown" not found`, runtime.ErrMethodNotFound},
		{"init", `method "init" not found`, runtime.ErrMethodNotFound},
		{"commit_without_artifact", "the method changed the state without a delta for the other nodes", nil},
		{"commit_zero_root", "the method committed no root hash", nil},
		{"propose", "proposals need a blockchain, which this node does not have", nil},
		{"make_blob_and_trap", "unreachable", runtime.ErrTrap},
	} {
		_, err := f.call(made.Context, tt.method, `"x"`)
		failed, ok := errors.AsType[*contexts.CallError](err)
		if !ok || !strings.Contains(failed.Text, tt.text) || tt.cause != nil && !errors.Is(err, tt.cause) {
			t.Errorf("%s: %v, want %q", tt.method, err, tt.text)
		}
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
	if err != nil {
		return key, err
	}
	return key, f.db.Update(f.ctx, func(tx *store.Tx) error {
		i, err := tx.Identity(id.ID{}, key)
		if err != nil {
			return err
		}
		i.Context = c
		return tx.PutIdentity(i)
	})
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
