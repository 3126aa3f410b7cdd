package contexts_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/borsh"
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/group"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/merkle"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// everything counts the records of all contexts and groups.
func (f *fixture) everything() string {
	f.t.Helper()
	var text string
	if err := f.db.View(f.ctx, func(tx *store.Tx) error {
		groups, members := 0, 0
		for g, err := range tx.Groups() {
			if err != nil {
				return err
			}
			groups++
			list, err := tx.Members(g.ID)
			if err != nil {
				return err
			}
			members += len(list)
		}
		a, err := tx.Application(app)
		text = fmt.Sprint(tx.CountContexts(), groups, members, a.Uses, len(tx.DeadContexts()))
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return text
}

func TestCreate_Seeds(t *testing.T) {
	f := open(t, t.TempDir())
	seed, secret := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	made, err := f.Create(f.ctx, contexts.Creation{Application: app, Seed: seed, Identity: secret, Name: "named"})
	if err != nil {
		t.Fatal(err)
	}
	want := id.ID(ed25519.NewKeyFromSeed(secret).Public().(ed25519.PublicKey))
	if made.Member != want || f.record(made.Context).Name != "named" {
		t.Errorf("%+v, want the identity %s", made, want)
	}
	before := f.everything()
	if _, err := f.Create(f.ctx, contexts.Creation{Application: app, Seed: seed}); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("the same seed again: %v, want a conflict", err)
	}
	if after := f.everything(); after != before {
		t.Errorf("%s, then %s", before, after)
	}
	if err := f.Delete(f.ctx, made.Context, id.ID{}); err != nil {
		t.Fatal(err)
	}
	again, err := f.Create(f.ctx, contexts.Creation{Application: app, Seed: seed})
	if err != nil || again.Context != made.Context || again.Member == made.Member {
		t.Errorf("after a deletion: %+v, %v, want the same context and another identity", again, err)
	}
	if got := f.must(again.Context, "n", ""); got != "1" {
		t.Errorf("n = %s: the new context has the state of the old one", got)
	}
	f.verify(again.Context)
}

func TestCreate_InAGroup(t *testing.T) {
	f := open(t, t.TempDir())
	first := f.make()
	second, err := f.Create(f.ctx, contexts.Creation{Application: app, Group: &first.Group})
	if err != nil || second.Group != first.Group || second.GroupCreated {
		t.Errorf("%+v, %v", second, err)
	}
	if x := f.record(second.Context); x.Group != group.Format(first.Group) {
		t.Errorf("group %s", x.Group)
	}
	unknown := id.ID{1}
	if _, err := f.Create(f.ctx, contexts.Creation{Application: app, Group: &unknown}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("unknown group: %v", err)
	}
}

// What does not come to be leaves nothing: no context, no group, no use of the application.
func TestCreate_FailureLeavesNothing(t *testing.T) {
	f := open(t, t.TempDir())
	f.make() // so that there is something
	bad := map[string]id.ID{}
	for i, broken := range []string{"init_fails", "nothing", "n", "add_and_trap", "not_there"} {
		bad[broken] = id.ID{0xb0, byte(i)}
		f.install(bad[broken], renamed(t, "init", broken), "1")
	}
	before := f.everything()
	for name, tt := range map[string]struct {
		creation contexts.Creation
		code     fault.Code
		text     string
	}{
		"returns an error":      {contexts.Creation{Application: bad["init_fails"]}, fault.Invalid, `the method call returned an error: "no"`},
		"commits nothing":       {contexts.Creation{Application: bad["nothing"]}, fault.Invalid, "init committed no state"},
		"returns a value":       {contexts.Creation{Application: bad["n"]}, fault.Invalid, "init returned a value"},
		"traps":                 {contexts.Creation{Application: bad["add_and_trap"]}, fault.Invalid, "unreachable"},
		"has no init":           {contexts.Creation{Application: bad["not_there"]}, fault.Invalid, `method "init" not found`},
		"unknown application":   {contexts.Creation{Application: id.ID{1}}, fault.NotFound, "is not installed"},
		"unknown service":       {contexts.Creation{Application: app, Service: "x"}, fault.Invalid, "no such service"},
		"application out of it": {contexts.Creation{Application: other}, fault.Forbidden, "permission denied"},
	} {
		ctx := f.ctx
		if tt.code == fault.Forbidden {
			ctx = f.as("context:create,application-binding[" + app.String() + "]")
		}
		_, err := f.Create(ctx, tt.creation)
		if fault.CodeOf(err) != tt.code || !strings.Contains(fault.MessageOf(err), tt.text) {
			t.Errorf("%s: %v, want %s %q", name, err, tt.code, tt.text)
		}
	}
	if after := f.everything(); after != before {
		t.Errorf("%s, then %s", before, after)
	}
}

// renamed returns the probe with another method exported under a name. The old one gets the name of the other.
func renamed(t *testing.T, name, other string) []byte {
	t.Helper()
	// Names in the export section are preceded by their length; both are padded to the same one.
	swap := func(module []byte, from, to string) []byte {
		old := append([]byte{byte(len(from))}, from...)
		if bytes.Count(module, old) != 1 {
			t.Fatalf("the probe does not export %s once", from)
		}
		return bytes.Replace(module, old, append([]byte{byte(len(to))}, to...), 1)
	}
	module := bytes.Clone(probe)
	if other == "not_there" {
		return swap(module, name, "gone")
	}
	// The section keeps its size, because the two names change places.
	module = swap(module, name, "\x00\x00\x00\x00")
	module = swap(module, other, name)
	return swap(module, "\x00\x00\x00\x00", other)
}

// node check D45
func TestDelete_EverythingGoes(t *testing.T) {
	f := open(t, t.TempDir())
	made, stays := f.make(), f.make()
	sub := f.bus.NewSubscriber()
	defer sub.Close()
	f.must(made.Context, "add", "")
	before := f.dump(stays.Context)
	bound := f.as("context[" + stays.Context.String() + "],context")
	if _, err := f.Get(bound, deleteContext, made.Context); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("a caller bound elsewhere: %v", err)
	}
	if err := f.Delete(f.ctx, made.Context, id.ID{1}); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("a requester that is not the node's: %v", err)
	}
	if err := f.Delete(f.as("context,application-binding["+other.String()+"]"), made.Context, id.ID{}); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("bound to another application: %v", err)
	}
	if err := f.Delete(f.ctx, made.Context, made.Member); err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(f.ctx, made.Context, id.ID{}); !errors.Is(err, contexts.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	if _, err := f.call(made.Context, "n", ""); !errors.Is(err, contexts.ErrNotFound) {
		t.Errorf("execute: %v", err)
	}
	if err := f.db.View(f.ctx, func(tx *store.Tx) error {
		for range tx.Entries(store.Shared, made.Context, nil) {
			t.Error("an entry is left")
		}
		for d, err := range tx.Deltas(made.Context) {
			t.Errorf("a delta is left: %v, %v", d.ID, err)
		}
		for e, err := range tx.Events(0) {
			if err != nil || !e.Group && e.Subject == made.Context {
				t.Error("an event is left")
			}
		}
		members, err := tx.Identities(made.Context)
		if len(members) > 0 {
			t.Error("an identity is left")
		}
		a, appErr := tx.Application(app)
		if a.Uses != 1 {
			t.Errorf("the application has %d uses, want 1", a.Uses)
		}
		return errors.Join(err, appErr)
	}); err != nil {
		t.Fatal(err)
	}
	after := f.dump(stays.Context)
	delete(before, "events")
	delete(after, "events")
	if !maps.Equal(before, after) {
		t.Errorf("another context changed:\n%v\n%v", before, after)
	}
}

var deleteContext = permission.MustParse("context:delete")

// node check D44
func TestUpdate_PointerOrMigration(t *testing.T) {
	f := open(t, t.TempDir())
	made := f.make()
	c := made.Context
	f.must(c, "add", "")
	sub := f.bus.NewSubscriber()
	defer sub.Close()
	sub.Subscribe(event.OfContext(c))
	state := f.record(c)
	before := f.dump(c)
	for name, tt := range map[string]struct {
		update contexts.Update
		code   fault.Code
		text   string
	}{
		"returns an error":      {contexts.Update{Application: other, Migrate: "migrate_fails"}, fault.Invalid, `returned an error: "cannot"`},
		"traps":                 {contexts.Update{Application: other, Migrate: "migrate_traps"}, fault.Invalid, "unreachable"},
		"does nothing":          {contexts.Update{Application: other, Migrate: "migrate_nothing"}, fault.Invalid, "neither returned a new root nor committed"},
		"has no tree":           {contexts.Update{Application: other, Migrate: "migrate_root"}, fault.Unprocessable, "no known layout"},
		"unknown method":        {contexts.Update{Application: other, Migrate: "gone"}, fault.Invalid, "not found"},
		"unknown application":   {contexts.Update{Application: id.ID{1}}, fault.NotFound, "is not installed"},
		"executor of no one":    {contexts.Update{Application: other, Executor: id.ID{1}}, fault.Forbidden, "may not act"},
		"another's application": {contexts.Update{Application: other}, fault.Forbidden, "permission denied"},
	} {
		ctx := f.ctx
		if name == "another's application" {
			ctx = f.as("context,application-binding[" + app.String() + "]")
		}
		tt.update.Context = c
		err := f.Update(ctx, tt.update)
		if fault.CodeOf(err) != tt.code || !strings.Contains(fault.MessageOf(err), tt.text) {
			t.Errorf("%s: %v, want %s %q", name, err, tt.code, tt.text)
		}
	}
	if after := f.dump(c); !maps.Equal(before, after) {
		t.Errorf("a failed update changed something:\n%v\n%v", before, after)
	}
	if err := f.Update(f.ctx, contexts.Update{Context: id.ID{9}, Application: other}); !errors.Is(err, contexts.ErrNotFound) {
		t.Errorf("unknown context: %v", err)
	}

	if err := f.Update(f.ctx, contexts.Update{Context: c, Application: other, Executor: made.Member}); err != nil {
		t.Fatal(err)
	}
	moved := f.record(c)
	if moved.Application != other || moved.ApplicationVersion != "2.0.0" || moved.StateHash != state.StateHash || moved.Deltas != state.Deltas {
		t.Errorf("after an update without migration: %+v", moved)
	}
	if err := f.Update(f.ctx, contexts.Update{Context: c, Application: app, Migrate: "migrate"}); err != nil {
		t.Fatal(err)
	}
	migrated := f.record(c)
	if migrated.Application != app || migrated.StateHash == state.StateHash || migrated.Deltas != state.Deltas+1 {
		t.Errorf("after a migration: %+v", migrated)
	}
	if d := f.head(c); d.Kind != store.MigrationDelta || d.Application != app || d.Author != made.Member {
		t.Errorf("its delta: %+v", d)
	}
	if got := f.must(c, "migrated", "") + f.must(c, "n", ""); got != "12" {
		t.Errorf("migrated and n = %s, want 1 and the old 2", got)
	}
	f.verify(c)
	for _, want := range []string{
		`"type":"AppVersionChanged","data":{"fromVersion":"1.0.0","toVersion":"2.0.0"}`,
		`"type":"AppVersionChanged","data":{"fromVersion":"2.0.0","toVersion":"1.0.0"}`,
		`"newRoot":"` + migrated.StateHash.String() + `"`,
	} {
		for found := false; !found; { // the call before may be among them
			m, err := sub.Next(t.Context())
			if err != nil {
				t.Fatalf("%v, want %s", err, want)
			}
			found = strings.Contains(string(m.JSON), want)
		}
	}
	if uses := f.everything(); !strings.HasPrefix(uses, "1 1 1 1 ") {
		t.Errorf("uses: %s", uses)
	}
}

// A state with the index of the Rust SDK gets the root that the method returns.
func TestUpdate_MigrationOfAMerkleTree(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	rootEntry := id.ID(bytes.Repeat([]byte("v"), 32))
	entry := append([]byte("the old root"), rootEntry[:]...)
	own, none := sha256.Sum256(entry), sha256.Sum256(nil)
	full := sha256.Sum256(own[:])
	root := sha256.Sum256(append(none[:], full[:]...))
	index := func(entity, parent *id.ID, child *[32]byte, full, own [32]byte) []byte {
		var e borsh.Encoder
		e.Fixed(entity[:])
		e.Option(parent != nil)
		if parent != nil {
			e.Fixed(parent[:])
		}
		e.Option(child != nil)
		if child != nil {
			e.Len(1)
			e.Fixed(rootEntry[:])
			e.Fixed(child[:])
			e.Fixed(make([]byte, 17)) // times, public
		}
		e.Fixed(full[:])
		e.Fixed(own[:])
		e.Fixed(make([]byte, 17))
		e.Option(false)
		text, err := e.Finish()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	put := func(key, value []byte) {
		f.must(c, "put_raw", `"`+hex.EncodeToString(key)+":"+hex.EncodeToString(value)+`"`)
	}
	put(merkle.ValueKey(rootEntry), entry)
	put(merkle.IndexKey(rootEntry), index(&rootEntry, &c, nil, full, own))
	put(merkle.IndexKey(c), index(&c, nil, &full, root, none))
	f.must(c, "set_root", quoted(root))
	if err := f.Update(f.ctx, contexts.Update{Context: c, Application: other, Migrate: "migrate_root"}); err != nil {
		t.Fatal(err)
	}
	own = sha256.Sum256(append([]byte("the new root"), rootEntry[:]...))
	full = sha256.Sum256(own[:])
	root = sha256.Sum256(append(none[:], full[:]...))
	if x := f.record(c); x.StateHash != root || x.Application != other {
		t.Errorf("%+v, want the hash %s", x, id.ID(root))
	}
	f.verify(c)
}

func TestGrant(t *testing.T) {
	f := open(t, t.TempDir())
	made := f.make()
	second, err := newMember(f, made.Context)
	if err != nil {
		t.Fatal(err)
	}
	grant := func(signer id.ID, revoke bool, members map[id.ID]contexts.Capability) error {
		return f.Grant(f.ctx, contexts.Grant{Context: made.Context, Signer: signer, Members: members, Revoke: revoke})
	}
	app2 := contexts.Update{Context: made.Context, Application: other, Executor: second}
	refused := func(err error) bool { return fault.CodeOf(err) == fault.Forbidden }
	if err := f.Update(f.ctx, app2); !refused(err) {
		t.Errorf("a member without the capability changes the application: %v", err)
	}
	if err := grant(second, false, map[id.ID]contexts.Capability{second: contexts.ManageApplication}); !refused(err) {
		t.Errorf("a member without the capability grants it to itself: %v", err)
	}
	if err := grant(id.ID{}, false, map[id.ID]contexts.Capability{second: contexts.ManageApplication, {1}: contexts.Proxy}); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("a grant for no member: %v", err)
	}
	if err := f.Update(f.ctx, app2); !refused(err) {
		t.Errorf("half of a refused grant happened: %v", err)
	}
	if err := grant(made.Member, false, map[id.ID]contexts.Capability{second: contexts.ManageApplication}); err != nil {
		t.Fatal(err)
	}
	if err := f.Update(f.ctx, app2); err != nil {
		t.Errorf("with the capability: %v", err)
	}
	if err := grant(made.Member, true, map[id.ID]contexts.Capability{second: contexts.ManageApplication}); err != nil {
		t.Fatal(err)
	}
	if err := f.Update(f.ctx, app2); !refused(err) {
		t.Errorf("after the revocation: %v", err)
	}
	if _, err := contexts.ParseCapability("Everything"); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("unknown capability: %v", err)
	}
}

func TestEntries_AreForAdministrators(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	f.must(c, "keep_private", `"mine"`)
	if _, _, err := f.Entries(f.as("context"), c, store.Shared, nil, 10); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("without admin: %v", err)
	}
	list, next, err := f.Entries(f.ctx, c, store.Private, nil, 10)
	if err != nil || next != nil || len(list) != 1 || string(list[0].Key) != "p" || string(list[0].Value) != `"mine"` {
		t.Errorf("%q %q %v", list, next, err)
	}
	f.must(c, "put_raw", `"00:01"`)
	first, next, err := f.Entries(f.ctx, c, store.Shared, nil, 1)
	if err != nil || len(first) != 1 || next == nil {
		t.Fatalf("%q %q %v", first, next, err)
	}
	second, next, err := f.Entries(f.ctx, c, store.Shared, next, 1)
	if err != nil || len(second) != 1 || next != nil || string(second[0].Key) <= string(first[0].Key) {
		t.Errorf("second page: %q %q %v", second, next, err)
	}
	if _, _, err := f.Entries(f.ctx, id.ID{1}, store.Shared, nil, 1); !errors.Is(err, contexts.ErrNotFound) {
		t.Errorf("unknown context: %v", err)
	}
}
