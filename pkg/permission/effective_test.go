package permission_test

import (
	"slices"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
)

func TestEffective_Lists(t *testing.T) {
	for _, c := range []struct{ name, token, key, want string }{
		{
			"equal lists stay verbatim and in order",
			"context:create,context:list:global,context:execute:specific:c1,context:read[*]",
			"context:create,context:list:global,context:execute:specific:c1,context:read[*]",
			"context:create,context:list:global,context:execute:specific:c1,context:read[*]",
		},
		{"the token's order and spelling win", "blob:list:global,context:list", "context:list[*],blob:list", "blob:list:global,context:list"},
		{"admin above leaves the token", "context:list,blob", "admin", "context:list,blob"},
		{"admin token takes the key's", "admin", "context:list,blob", "context:list,blob"},
		{"the narrower of the two", "context:execute,blob:add:file", "context:execute:specific:c1,blob", "context:execute:specific:c1,blob:add:file"},
		{"a wide one is replaced by all within it", "blob", "blob:list,context:list,blob:get[x]", "blob:list,blob:get[x]"},
		{"implied actions count", "context:execute", "context:subscribe[c1]", "context:subscribe[c1]"},
		{"nothing in common", "context:list", "blob", ""},
		{"a withdrawn permission goes", "context:list,blob", "blob", "blob"},
		{"a new permission of the key does not come", "context:list", "context:list,blob", "context:list"},
		{"half overlaps are lost", "context:execute[c1]", "context:execute[,alice]", ""},
		{"one value is kept once", "blob:list,blob:list:global,blob:list", "admin", "blob:list"},
		{"twice within one is kept once", "context:read,context:list", "context:read[c1]", "context:read[c1]"},
		{"nonsense goes", "nonsense,context:lis,blob", "admin,nonsense", "blob"},
		{"empty token", "", "admin", ""},
		{"empty key", "admin", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := permission.Effective(permission.Split(c.token), permission.Split(c.key))
			if want := permission.Split(c.want); !slices.Equal(got, want) {
				t.Errorf("Effective(%q, %q) = %q, want %q", c.token, c.key, got, want)
			}
			if got == nil {
				t.Error("the result is nil, JSON would say null")
			}
		})
	}
}

func TestEffective_Bindings(t *testing.T) {
	for _, c := range []struct{ name, token, key, want string }{
		{"of the token only", "blob,context[c1],context:read", "context,blob", "blob,context[c1],context:read"},
		{"of the key only", "context:read,blob", "context:read,context[c1],blob", "context[c1],context:read,blob"},
		{"of both, the same", "context[c1],context:read", "context[c1],context:read", "context[c1],context:read"},
		{"of both, the key's narrower", "context[c1],context:read", "context[c1,alice],context:read", "context[c1,alice],context:read"},
		{"of both, the token's narrower", "context[c1,alice],context:read", "context[c1],context:read", "context[c1,alice],context:read"},
		{"of both, some in common", "context[c1],context[c2],context:read", "context[c2],context[c3],context:read", "context[c2],context:read"},
		{"kept beside admin", "context[c1],admin", "context:read", "context[c1],context:read"},
		{"admin on both sides", "context[c1],admin", "admin", "context[c1],admin"},
		{"of applications", "application-binding[a1],context", "application-binding[a1],application-binding[a2],context", "application-binding[a1],context"},
		{"kinds are apart", "context[c1],context", "application-binding[a1],context", "application-binding[a1],context[c1],context"},
		{"to any narrows nothing and goes", "context[*],context:read", "context:read", "context:read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := permission.Effective(permission.Split(c.token), permission.Split(c.key))
			if want := permission.Split(c.want); !slices.Equal(got, want) {
				t.Errorf("Effective(%q, %q) = %q, want %q", c.token, c.key, got, want)
			}
		})
	}
}

// Several bindings in one list are alternatives, so putting the bindings of two lists together would open what
// neither list alone allows.
func TestEffective_BindingsOfTwoListsAreNoAlternatives(t *testing.T) {
	for _, lists := range [][]string{
		{"context[c1],context:execute", "context[c2],context:execute"},
		{"context[c1,alice],context:execute", "context[c1,bob],context:execute"},
		{"application-binding[a1],context:execute", "application-binding[a2],context:execute"},
		{"context[c1],admin", "context[c2],context:execute"},
	} {
		effective := permission.Effective(permission.Split(lists[0]), permission.Split(lists[1]))
		for name, list := range map[string][]string{
			"as it is":             effective,
			"through the header":   permission.Split(permission.Join(effective)),
			"once more":            permission.Effective(effective),
			"with another list":    permission.Effective(effective, []string{"context:execute"}),
			"with the first again": permission.Effective(effective, permission.Split(lists[0])),
		} {
			set := permission.NewSet(list)
			for _, s := range []string{
				"context:execute[c1]", "context:execute[c2]", "context:execute[c1,alice]", "context:execute[c1,bob]",
			} {
				apps := set.AllowsApplication("a1") || set.AllowsApplication("a2")
				if set.Allows(parse(t, s)) && apps {
					t.Errorf("%q %s = %q allows %s", lists, name, list, s)
				}
			}
		}
	}
}

func TestEffective_MalformedBindingSurvivesTheHeader(t *testing.T) {
	for _, binding := range []string{"context[c1", "context[],admin", "context[c1]x,blob", "CONTEXT[c1]", "context[c1\n]"} {
		list := []string{binding, "context:execute"}
		for name, lists := range map[string][2][]string{
			"token": {list, {"context:execute", "blob"}},
			"key":   {{"context:execute", "blob"}, list},
		} {
			effective := permission.Effective(lists[0], lists[1])
			set := permission.NewSet(permission.Split(permission.Join(effective)))
			if set.Allows(parse(t, "context:execute[c1]")) || set.Admin() || set.Allows(parse(t, "blob:list")) {
				t.Errorf("%q in the %s gives %q", binding, name, effective)
			}
		}
	}
}

func TestEffective_FollowsTheLiveRoot(t *testing.T) {
	token := []string{"context:list", "context:execute", "blob:list"}
	for _, c := range []struct {
		name      string
		key, root []string
		want      []string
	}{
		{"unchanged", token, []string{"admin"}, token},
		{"root reduced", token, []string{"context:list"}, []string{"context:list"}},
		{"key and root reduced", []string{"context:execute[c1]", "blob"}, []string{"context[c1]", "context"}, []string{"context[c1]", "context:execute[c1]"}},
		{"root emptied", token, nil, []string{}},
	} {
		if got := permission.Effective(token, c.key, c.root); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
