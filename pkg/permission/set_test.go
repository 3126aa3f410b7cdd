package permission_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
)

// decision is one row: may the holder of the comma-separated list do what is required?
type decision struct {
	list, required string
	want           bool
}

func checkAllows(t *testing.T, rows []decision) {
	t.Helper()
	for _, row := range rows {
		required := permission.Permission{}
		if row.required != "" {
			required = parse(t, row.required)
		}
		if got := permission.NewSet(permission.Split(row.list)).Allows(required); got != row.want {
			t.Errorf("%q allows %q = %v, want %v", row.list, row.required, got, row.want)
		}
	}
}

func TestAllows_Coverage(t *testing.T) {
	checkAllows(t, []decision{
		{"", "context:list", false},
		{"admin", "admin", true},
		{"admin", "", true},
		{"context,blob", "", false},
		{"keys,context,application,package,blob,namespace,group", "admin", false},
		{"context:list", "context:read[c1]", true},
		{"context:list[c1]", "context:read[c1]", true},
		{"context:list[c1]", "context:read[c2]", false},
		{"context:read", "context:list", false},
		{"context:execute[c1]", "context:execute[c1,alice,get]", true},
		{"context:execute[c1]", "context:execute", false},
		{"context:execute[c1,alice]", "context:execute[c1]", false},
		{"context:execute[c1,alice]", "context:execute[c1,bob]", false},
		{"context:execute[,alice]", "context:execute[c1,alice,get]", true},
		{"context:execute[c1]", "context:join[c1]", true},
		{"context:execute[c1]", "context:sync[c1]", true},
		{"context:execute[c1]", "context:leave[c1]", true},
		{"context:execute[c1]", "context:leave[c1,bob]", true},
		{"context:execute[c1]", "context:subscribe[c2]", false},
		{"context:execute[c1]", "context:subscribe", false},
		{"context:execute[c1]", "context:read[c1]", false},
		{"context:execute[c1]", "context:invite[c1]", false},
		{"context:execute[c1]", "context:delete[c1]", false},
		{"context:subscribe", "context:execute", false},
		{"context:execute[c1,alice]", "context:join[c1]", true},
		{"context:execute[c1,alice]", "context:leave[c1,alice]", true},
		{"context:alias", "context:alias:lookup:identity[c1]", true},
		{"alias", "context:alias:create:context", true},
		{"alias:create", "context:alias:create:context", true},
		{"context:alias:create", "context:alias:list:context", false},
		{"context", "context:alias:create:context", true},
		{"context", "application:list", false},
		{"blob:add", "blob:add:url", true},
		{"blob:add:url", "blob:add", false},
		{"package", "package:list-versions[p]", true},
		{"keys", "keys:permissions:update[k]", true},
		{"keys:revoke", "keys:delete", true},
		{"keys:permissions", "keys:permissions:get[k]", true},
		{"keys:permissions:get[k]", "keys:permissions:get", false},
		{"namespace:manage", "namespace:list", false},
		{"group:list[g]", "group:list[g]", true},
	})
}

func TestAllows_MethodLimitedExecuteIsOnlyThatMethod(t *testing.T) {
	checkAllows(t, []decision{
		{"context:execute[c1,,get]", "context:execute[c1,alice,get]", true},
		{"context:execute[c1,,get]", "context:execute[c1,alice,set]", false},
		{"context:execute[c1,,get]", "context:execute[c1,alice]", false},
		{"context:execute[c1,,get]", "context:execute[c1]", false},
		{"context:execute[c1,,get]", "context:subscribe[c1]", false},
		{"context:execute[c1,,get]", "context:join[c1]", false},
		{"context:execute[c1,,get]", "context:leave[c1]", false},
		{"context:execute[c1,,get]", "context:sync[c1]", false},
		{"context:execute[c1,alice]", "context:leave[c1,bob]", false}, // leaving for somebody else
		{"context:execute[c1,alice]", "context:leave[c1]", false},
	})
}

func TestAllows_Bindings(t *testing.T) {
	checkAllows(t, []decision{
		// A binding grants nothing.
		{"context[c1]", "context:read[c1]", false},
		{"context[c1]", "context:execute[c1]", false},
		{"context[c1]", "context[c1]", false},
		{"application-binding[a1]", "application:list[a1]", false},
		// It narrows whatever names a context.
		{"context[c1],context:execute", "context:execute[c1]", true},
		{"context[c1],context:execute", "context:execute[c2]", false},
		{"context:execute,context[c1]", "context:execute[c2]", false},
		{"context[c1],context:execute[c2]", "context:execute[c2]", false},
		{"context[c1],context", "context:delete[c2]", false},
		{"context[c1],context", "context:capabilities:grant[c2]", false},
		{"context[c1],context", "context:application:update[c2]", false},
		{"context[c1],context", "context:invite[c2]", false},
		{"context[c1],context", "context:subscribe[c2]", false},
		{"context[c1],context:list", "context:list[c2]", false},
		{"context[c1],context:list", "context:read[c2]", false},
		{"context[c1],context:alias", "context:alias:lookup:identity[c2]", false},
		{"context[c1],context:alias", "context:alias:lookup:identity[c1]", true},
		{"context[c1],context:alias", "context:alias:lookup:application[a1]", true},
		// It leaves alone what names none.
		{"context[c1],context:create", "context:create", true},
		{"context[c1],context:list", "context:list", true},
		{"context[c1],context:execute", "context:execute", true},
		{"context[c1],context:alias", "context:alias:create:context", true},
		{"context[c1],blob", "blob:get[c2]", true},
		{"context[c1],namespace", "namespace:manage[c2]", true},
		{"context[c1],keys", "keys:permissions:get[k]", true},
		{"context[c1]", "context:list", false},
		// Identities: the gate does not know them, the node asks again.
		{"context[c1,alice],context:execute", "context:execute[c1]", true},
		{"context[c1,alice],context:execute", "context:execute[c1,alice]", true},
		{"context[c1,alice],context:execute", "context:execute[c1,alice,get]", true},
		{"context[c1,alice],context:execute", "context:execute[c1,bob]", false},
		{"context[c1,alice],context:execute", "context:execute[c2,alice]", false},
		{"context[c1,alice],context:execute", "context:execute[c2]", false},
		{"context[c1,alice],context:execute", "context:leave[c1,bob]", false},
		{"context[c1,alice],context:execute[c1,bob]", "context:execute[c1,bob]", false},
		{"context[c1,alice],context:read", "context:read[c1]", true},
		// Several are alternatives.
		{"context[c1],context[c2],context:read", "context:read[c2]", true},
		{"context[c1],context[c2],context:read", "context:read[c3]", false},
		{"context[c1,alice],context[c2,bob],context:execute", "context:execute[c2,alice]", false},
		{"context[c1,alice],context[c1,bob],context:execute", "context:execute[c1,bob]", true},
		{"context[c1,alice],context[c1],context:execute", "context:execute[c1,carol]", true},
		// Admin beside a binding overrides it.
		{"context[c1],admin", "context:execute[c2]", true},
		// The longer id is another id.
		{"context[c1],context:execute", "context:execute[c11]", false},
		{"context[c11],context:execute", "context:execute[c1]", false},
	})
}

// What looks like a binding but does not parse must not leave the list as wide as if it were not there.
func TestAllows_MalformedBindingDoesNotWiden(t *testing.T) {
	for _, binding := range []string{
		"context[]", "context[,alice]", "context[*,alice]", "context[c1", "context[c1]x", "context[c 1]", "context[c1,a,b]",
		"context[!]", " context[c1]", "Context[c1]", "CONTEXT[*]", "context[c/1]", "context[" + strings.Repeat("c", 300) + "]",
		"context[*] ", "context[[*]]",
	} {
		set := permission.NewSet([]string{binding, "context:execute", "context:create", "blob"})
		for required, want := range map[string]bool{
			"context:execute[c1]": false, "context:execute[c2]": false, "context:create": true, "blob:get[x]": true,
		} {
			if got := set.Allows(parse(t, required)); got != want {
				t.Errorf("%q allows %s = %v, want %v", binding, required, got, want)
			}
		}
	}
	for _, binding := range []string{"application-binding[]", "application-binding[a", "Application-Binding[a1]"} {
		if permission.NewSet([]string{binding, "context"}).AllowsApplication("a1") {
			t.Errorf("%q lets application a1 be used", binding)
		}
	}
}

func TestAllows_BindingToAnyNarrowsNothing(t *testing.T) {
	set := permission.NewSet([]string{"context[*]", "application-binding[*]", "context:read"})
	if !set.Allows(parse(t, "context:read[c1]")) || !set.AllowsApplication("a1") {
		t.Error("a binding to any context or application narrows")
	}
}

func TestAllowsAnyScope(t *testing.T) {
	for _, row := range []decision{
		{"context:execute[c1]", "context:execute", true},
		{"context:execute[c1,alice,get]", "context:execute", true},
		{"context:execute[c1,alice,get]", "context:execute[c2]", true}, // its own limits are ignored
		{"context:execute[c1,alice]", "context:subscribe", true},
		{"context:execute[c1,alice,get]", "context:subscribe", false},
		{"context:list[c1]", "context:read", true},
		{"context:read[c1]", "context:list", false},
		{"context", "context:invite", true},
		{"context:alias[x]", "context:alias:list:context", true},
		{"blob:add:file[x]", "blob:add", false},
		{"context[c1]", "context:execute", false},
		{"context[c1],context:execute", "context:execute", true},
		{"group:list[g]", "group:list", true},
		{"group:list[g]", "namespace:list", false},
		{"admin", "admin", true},
		{"context", "admin", false},
		{"context,keys", "context[c1]", false},
	} {
		if got := permission.NewSet(permission.Split(row.list)).AllowsAnyScope(parse(t, row.required)); got != row.want {
			t.Errorf("%q allows %q in some scope = %v, want %v", row.list, row.required, got, row.want)
		}
	}
	if permission.NewSet([]string{"context"}).AllowsAnyScope(permission.Permission{}) {
		t.Error("the zero requirement is met without admin")
	}
}

// A node that does not enforce permissions would run a bound key's call in any context.
func TestAllowsEverywhere_RefusesBoundLists(t *testing.T) {
	for _, row := range []decision{
		{"context:execute", "context:execute", true},
		{"context:execute[c1]", "context:execute", false},
		{"context[c1],context:execute", "context:execute", false},
		{"context[c1],admin", "context:execute", true},
		{"context[c1],blob", "blob:list", true},
		{"context[],context:execute", "context:execute", false},
	} {
		if got := permission.NewSet(permission.Split(row.list)).AllowsEverywhere(parse(t, row.required)); got != row.want {
			t.Errorf("%q allows %q everywhere = %v, want %v", row.list, row.required, got, row.want)
		}
	}
}

func TestAllowsApplication(t *testing.T) {
	for _, row := range []decision{
		{"context", "a1", true},
		{"application-binding[a1],context", "a1", true},
		{"application-binding[a1],context", "a2", false},
		{"application-binding[a1],application-binding[a2],context", "a2", true},
		{"application-binding[a1],admin", "a2", true},
	} {
		if got := permission.NewSet(permission.Split(row.list)).AllowsApplication(row.required); got != row.want {
			t.Errorf("%q allows application %q = %v, want %v", row.list, row.required, got, row.want)
		}
	}
}

func TestAllowsContext(t *testing.T) {
	for _, row := range []decision{
		{"", "c1", true},
		{"blob", "c1", true},
		{"context[c1]", "c1", true},
		{"context[c1,alice]", "c1", true},
		{"context[c1]", "c2", false},
		{"context[c1]", "c", false},
		{"context[c1,alice]", "c0", false},
		{"context[c0],context[c2,bob]", "c1", false},
		{"context[c0],context[c2,bob]", "c2", true},
		{"context:execute[c2]", "c1", true}, // no binding
		{"context[!]", "c1", false},
		{"context[c2],admin", "c1", true},
		{"application-binding[a]", "c1", true},
	} {
		if got := permission.NewSet(permission.Split(row.list)).AllowsContext(row.required); got != row.want {
			t.Errorf("%q allows context %q = %v, want %v", row.list, row.required, got, row.want)
		}
	}
}

func TestMayGrant_NobodyGrantsWhatTheyDoNotHold(t *testing.T) {
	for _, row := range []decision{
		{"keys:create", "admin", false},
		{"keys:permissions:update", "admin", false},
		{"keys,context,blob", "admin", false},
		{"admin", "admin", true},
		{"admin", "context[c1,alice]", true},
		{"context:execute[c1]", "context:execute", false},
		{"context:execute[c1]", "context:execute[c2]", false},
		{"context:execute[c1]", "context:execute[c1,alice]", true},
		{"context:execute", "context:subscribe[c1]", true},
		{"context:execute", "context[c1]", true}, // narrows, so anybody may
		{"context:execute", "application-binding[a1]", true},
		{"context[c1],context:execute", "context[c1]", true},
		{"context[c1],context:execute", "context[c1,alice]", true},
		{"context[c1,alice],context:execute", "context[c1,alice]", true},
		{"context[c1,alice],context:execute", "context[c1]", false},
		{"context[c1,alice],context:execute", "context[c1,bob]", false},
		{"context[c1],context:execute", "context[c2]", false},
		{"context[c1],context:execute", "context:execute[c2]", false},
		{"context[c1],context:execute", "context:execute", true}, // stays under the holder's binding
		{"application-binding[a1],context", "application-binding[a1]", true},
		{"application-binding[a1],context", "application-binding[a2]", false},
	} {
		if got := permission.NewSet(permission.Split(row.list)).MayGrant(parse(t, row.required)); got != row.want {
			t.Errorf("the holder of %q may grant %q = %v, want %v", row.list, row.required, got, row.want)
		}
	}
	if permission.NewSet([]string{"admin"}).MayGrant(permission.Permission{}) {
		t.Error("what does not parse may be granted")
	}
}

func TestIdentities(t *testing.T) {
	for _, c := range []struct {
		list, required string
		ids            []string
		unlimited      bool
	}{
		{"context:execute", "context:execute[c1]", nil, true},
		{"context[c1],context:execute", "context:execute[c1]", nil, true},
		{"context[c1,alice],admin", "context:execute[c1]", nil, true},
		{"context[c1,alice],context:execute", "context:execute[c1,,get]", []string{"alice"}, false},
		{"context[c1,alice],context[c2,bob],context:execute", "context:execute[c1]", []string{"alice"}, false},
		{"context:execute[c1,bob],context:execute[c1,alice,get]", "context:execute[c1,,get]", []string{"alice", "bob"}, false},
		{"context:execute[c1,bob],context:execute[c1,alice,get]", "context:execute[c1]", []string{"bob"}, false},
		{"context[c2],context:execute", "context:execute[c1]", nil, false},
		{"blob", "context:execute[c1]", nil, false},
		{"context:subscribe", "context:subscribe[c1]", nil, true},                    // has no user
		{"context[c1,alice],context:execute", "context:execute[c1,bob]", nil, false}, // names one already
	} {
		ids, unlimited := permission.NewSet(permission.Split(c.list)).Identities(parse(t, c.required))
		if !slices.Equal(ids, c.ids) || unlimited != c.unlimited {
			t.Errorf("%q: Identities(%s) = %q, %v, want %q, %v", c.list, c.required, ids, unlimited, c.ids, c.unlimited)
		}
	}
}

func TestRequirement_BadScopeIsForAdminOnly(t *testing.T) {
	execute := parse(t, "context:execute")
	if got, want := execute.On("c1").As("alice").Calling("get"), parse(t, "context:execute[c1,alice,get]"); got != want {
		t.Errorf("the scoped requirement is %v, want %v", got, want)
	}
	all := permission.NewSet([]string{"context", "keys"})
	for name, required := range map[string]permission.Permission{
		"empty id":             execute.On(""),
		"star":                 execute.On("*"),
		"slash":                execute.On("a/b"),
		"empty user":           execute.On("c1").As(""),
		"method with a comma":  execute.On("c1").As("alice").Calling("a,b"),
		"user after a bad id":  execute.On("").As("alice"),
		"id where none is":     parse(t, "keys:delete").On("k"),
		"user where none is":   parse(t, "context:read").On("c1").As("alice"),
		"method where none is": parse(t, "context:leave").On("c1").As("alice").Calling("get"),
		"bare resource":        parse(t, "context").On("c1"),
	} {
		if required != (permission.Permission{}) || all.Allows(required) {
			t.Errorf("%s: the requirement is %q", name, required)
		}
	}
}

// The lists that existing apps ask for, as they are and behind a binding.
func TestGrantSets_OfExistingApps(t *testing.T) {
	trio := []string{"context:create", "context:list", "context:execute"}
	full := append(slices.Clone(trio), "context:alias", "namespace", "group", "blob", "application",
		"package:list-packages", "package:list-versions", "package:get-latest-version")
	inContext := func(id string) (s []string) {
		for _, action := range []string{"execute", "read", "list", "subscribe", "join", "leave", "sync"} {
			s = append(s, fmt.Sprintf("context:%s[%s]", action, id))
		}
		return s
	}
	anywhere := []string{"context:create", "context:list", "context:execute", "context:join", "context:sync"}
	rest := []string{
		"context:alias:create:context", "context:alias:lookup:identity[ctx-1]", "namespace:list", "namespace:create",
		"namespace:manage[n]", "group:create", "group:list[g]", "group:manage[g]", "blob:add:stream", "blob:get[b]",
		"blob:remove[b]", "application:list", "application:install", "package:list-packages", "package:list-versions[p]",
	}
	for _, list := range [][]string{trio, full} {
		if err := permission.Validate(list); err != nil {
			t.Fatal(err)
		}
		free := permission.NewSet(list)
		bound := permission.NewSet(append([]string{"context[ctx-1,member-pk-1]"}, list...))
		for _, s := range slices.Concat(anywhere, inContext("ctx-1")) {
			if p := parse(t, s); !free.Allows(p) || !bound.Allows(p) {
				t.Errorf("%q: %s allowed free %v, bound %v", list, s, free.Allows(p), bound.Allows(p))
			}
		}
		for _, s := range inContext("ctx-2") {
			if p := parse(t, s); !free.Allows(p) || bound.Allows(p) {
				t.Errorf("%q: %s in another context allowed free %v, bound %v", list, s, free.Allows(p), bound.Allows(p))
			}
		}
		hasRest := len(list) == len(full)
		for _, s := range rest {
			if p := parse(t, s); free.Allows(p) != hasRest || bound.Allows(p) != hasRest {
				t.Errorf("%q: %s allowed free %v, bound %v, want %v", list, s, free.Allows(p), bound.Allows(p), hasRest)
			}
		}
		for _, s := range []string{"admin", "keys:list", "context:delete[ctx-1]", "context:invite[ctx-1]"} {
			if p := parse(t, s); free.Allows(p) || bound.Allows(p) {
				t.Errorf("%q allows %s", list, s)
			}
		}
	}
}

func TestSet_DecisionsDoNotAllocate(t *testing.T) {
	set := permission.NewSet([]string{"context[c1,alice]", "context:execute", "context:list", "blob:add[x]"})
	required := parse(t, "context:execute")
	if n := testing.AllocsPerRun(100, func() {
		p := required.On("c1").As("alice").Calling("get")
		_ = set.Allows(p) && set.AllowsAnyScope(p) && set.AllowsEverywhere(p) && set.AllowsApplication("a") && set.AllowsContext("c") && set.MayGrant(p)
	}); n != 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}

func TestReaches_OnlyBindingsCount(t *testing.T) {
	for _, c := range []struct {
		list              string
		context, identity string
		want              bool
	}{
		{"", "c1", "alice", true},
		{"blob", "c1", "", true},
		{"context[c1],blob", "c1", "alice", true},
		{"context[c1],blob", "c2", "alice", false},
		{"context[c1],blob", "c2", "", false},
		{"context[c1,alice],context", "c1", "alice", true},
		{"context[c1,alice],context", "c1", "bob", false},
		{"context[c1,alice],context", "c1", "", true},
		{"context[c1,alice],admin", "c2", "bob", true},
		{"context[,context", "c1", "", false},
	} {
		if got := permission.NewSet(permission.Split(c.list)).Reaches(c.context, c.identity); got != c.want {
			t.Errorf("%q reaches %s as %q = %v, want %v", c.list, c.context, c.identity, got, c.want)
		}
	}
}
