package alias_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/alias"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

var (
	ctx1, ctx2 = id.ID{1}, id.ID{2}
	app1, app2 = id.ID{3}, id.ID{4}
	ann        = id.ID{5}
	code       = id.ID{6}
)

func service(t *testing.T) *alias.Service {
	t.Helper()
	db, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.AddBlob(store.Blob{ID: code}, nil)
		for _, app := range []id.ID{app1, app2} {
			err = errors.Join(err, tx.PutApplication(store.Application{ID: app, Blob: code, Wasm: code}, nil))
		}
		return errors.Join(err, tx.PutContext(store.Context{ID: ctx1, Application: app1}), tx.PutContext(store.Context{ID: ctx2, Application: app2}))
	}); err != nil {
		t.Fatal(err)
	}
	return &alias.Service{Store: db}
}

func as(t *testing.T, list string) context.Context {
	t.Helper()
	list = strings.NewReplacer("C1", ctx1.String(), "A1", app1.String()).Replace(list)
	return caller.With(t.Context(), caller.Caller{Key: "k", Permissions: permission.NewSet(permission.Split(list))})
}

func TestAliases_OfThreeKinds(t *testing.T) {
	s, ctx := service(t), as(t, "context")
	for _, a := range []store.Alias{
		{Kind: alias.Context, Name: "n", Target: ctx1},
		{Kind: alias.Application, Name: "n", Target: app1},
		{Kind: alias.Identity, Scope: ctx1, Name: "n", Target: ann},
		{Kind: alias.Identity, Scope: ctx2, Name: "n", Target: id.ID{6}},
	} {
		if err := s.Create(ctx, a.Kind, a.Scope, a.Name, a.Target); err != nil {
			t.Fatal(err)
		}
		if err := s.Create(ctx, a.Kind, a.Scope, a.Name, a.Target); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("%c: the name again: %v, want a conflict", a.Kind, err)
		}
		if got, err := s.Lookup(ctx, a.Kind, a.Scope, "n"); err != nil || got == nil || *got != a.Target {
			t.Errorf("%c: lookup: %v, %v", a.Kind, got, err)
		}
		if got, err := s.Lookup(ctx, a.Kind, a.Scope, "other"); err != nil || got != nil {
			t.Errorf("%c: unknown: %v, %v", a.Kind, got, err)
		}
		if got, err := s.List(ctx, a.Kind, a.Scope); err != nil || !maps.Equal(got, map[string]id.ID{"n": a.Target}) {
			t.Errorf("%c: list: %v, %v", a.Kind, got, err)
		}
		for text, want := range map[string]id.ID{"n": a.Target, ann.String(): ann} {
			if got, err := s.Resolve(ctx, a.Kind, a.Scope, text); err != nil || got != want {
				t.Errorf("%c: resolve %s: %v, %v", a.Kind, text, got, err)
			}
		}
	}
	for range 2 { // to delete what is gone is no error
		if err := s.Delete(ctx, alias.Context, id.ID{}, "n"); err != nil {
			t.Error(err)
		}
	}
	if got, err := s.Lookup(ctx, alias.Context, id.ID{}, "n"); err != nil || got != nil {
		t.Errorf("after delete: %v, %v", got, err)
	}
	if got, _ := s.Lookup(ctx, alias.Application, id.ID{}, "n"); got == nil {
		t.Error("the same name of another kind is gone too")
	}
}

func TestCreate_Names(t *testing.T) {
	s, ctx := service(t), as(t, "context")
	for _, name := range []string{"a", "A.b_c~d-9", strings.Repeat("x", 50)} {
		if err := s.Create(ctx, alias.Context, id.ID{}, name, ctx1); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", strings.Repeat("x", 51), "a b", "a/b", "a%20b", "ü", "a\x00", "{a}", ctx2.String()} {
		if err := s.Create(ctx, alias.Context, id.ID{}, name, ctx1); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%q: %v, want a refusal", name, err)
		}
		if _, err := s.Resolve(ctx, alias.Context, id.ID{}, name); name != ctx2.String() && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("resolve %q: %v", name, err)
		}
	}
}

// A name is not given to what is not there, and goes with what it stands for.
func TestAliases_OfWhatIsThere(t *testing.T) {
	s, ctx := service(t), as(t, "context")
	gone := id.ID{9}
	for name, tt := range map[string]struct {
		kind          alias.Kind
		scope, target id.ID
		code          fault.Code
		text          string
	}{
		"context":                 {alias.Context, id.ID{}, gone, fault.NotFound, "Context not found"},
		"zero context":            {alias.Context, id.ID{}, id.ID{}, fault.NotFound, "Context not found"},
		"application":             {alias.Application, id.ID{}, gone, fault.NotFound, "application " + gone.String() + " is not installed"},
		"identity in no context":  {alias.Identity, gone, ann, fault.NotFound, "Context not found"},
		"identity under zero":     {alias.Identity, id.ID{}, ann, fault.NotFound, "Context not found"},
		"the identity of nobody":  {alias.Identity, ctx1, id.ID{}, fault.Invalid, "Invalid identity"},
		"an application as a one": {alias.Context, id.ID{}, app1, fault.NotFound, "Context not found"},
	} {
		if err := s.Create(ctx, tt.kind, tt.scope, "n", tt.target); fault.CodeOf(err) != tt.code || fault.MessageOf(err) != tt.text {
			t.Errorf("%s: %v, want %s %q", name, err, tt.code, tt.text)
		}
		if got, err := s.Lookup(ctx, tt.kind, tt.scope, "n"); err != nil || got != nil {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	for name, app := range map[string]id.ID{"one": app1, "also-one": app1, "two": app2} {
		if err := s.Create(ctx, alias.Application, id.ID{}, name, app); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Store.Update(ctx, func(tx *store.Tx) error { return tx.RemoveApplication(app1) }); err != nil {
		t.Fatal(err)
	}
	if got, err := s.List(ctx, alias.Application, id.ID{}); err != nil || !maps.Equal(got, map[string]id.ID{"two": app2}) {
		t.Errorf("after the application was removed: %v, %v", got, err)
	}
}

// What a binding keeps out of reach has no names either.
func TestAliases_BindingsNarrow(t *testing.T) {
	s := service(t)
	for name, c := range map[string]id.ID{"one": ctx1, "two": ctx2} {
		if err := s.Create(as(t, "context"), alias.Context, id.ID{}, name, c); err != nil {
			t.Fatal(err)
		}
		if err := s.Create(as(t, "context"), alias.Identity, c, "ann", ann); err != nil {
			t.Fatal(err)
		}
	}
	for _, list := range []string{"context[C1],context", "application-binding[A1],context"} {
		ctx := as(t, list)
		if got, err := s.List(ctx, alias.Context, id.ID{}); err != nil || !maps.Equal(got, map[string]id.ID{"one": ctx1}) {
			t.Errorf("%s: list %v, %v", list, got, err)
		}
		if got, err := s.Lookup(ctx, alias.Context, id.ID{}, "two"); err != nil || got != nil {
			t.Errorf("%s: lookup of the other context: %v, %v", list, got, err)
		}
		if got, err := s.Lookup(ctx, alias.Identity, ctx2, "ann"); err != nil || got != nil {
			t.Errorf("%s: lookup in the other context: %v, %v", list, got, err)
		}
		for name, err := range map[string]error{
			"create":           s.Create(ctx, alias.Context, id.ID{}, "more", ctx2),
			"create in it":     s.Create(ctx, alias.Identity, ctx2, "more", ann),
			"limited creation": s.Create(as(t, "context:alias:create:context[C1]"), alias.Context, id.ID{}, "more", ctx2),
		} {
			if fault.CodeOf(err) != fault.Forbidden {
				t.Errorf("%s: %s: %v, want a refusal", list, name, err)
			}
		}
		for name, x := range map[string]struct {
			kind  alias.Kind
			scope id.ID
			text  string
		}{
			"a context": {alias.Context, id.ID{}, "two"}, "a context, unknown": {alias.Context, id.ID{}, "nosuch"},
			"an identity": {alias.Identity, ctx2, "ann"}, "an identity, unknown": {alias.Identity, ctx2, "nosuch"},
		} {
			if got, err := s.Resolve(ctx, x.kind, x.scope, x.text); !errors.Is(err, store.ErrNotFound) || got != (id.ID{}) {
				t.Errorf("%s: resolve %s: %v, %v", list, name, got, err)
			}
			if err := s.Delete(ctx, x.kind, x.scope, x.text); err != nil { // nothing says which of them are there
				t.Errorf("%s: delete %s: %v", list, name, err)
			}
		}
		for _, a := range []store.Alias{{Kind: alias.Context, Name: "two", Target: ctx2}, {Kind: alias.Identity, Scope: ctx2, Name: "ann", Target: ann}} {
			if got, err := s.Lookup(as(t, "context"), a.Kind, a.Scope, a.Name); err != nil || got == nil || *got != a.Target {
				t.Errorf("%s: the name that was to be deleted: %v, %v", list, got, err)
			}
		}
		if err := s.Create(ctx, alias.Context, id.ID{}, "mine", ctx1); err != nil {
			t.Errorf("%s: %v", list, err)
		}
		if err := s.Delete(ctx, alias.Context, id.ID{}, "mine"); err != nil {
			t.Errorf("%s: %v", list, err)
		}
	}
	bound := as(t, "application-binding[A1],context")
	if err := s.Create(bound, alias.Application, id.ID{}, "other", app2); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("a name for another application: %v", err)
	}
}
