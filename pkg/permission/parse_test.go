package permission_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
)

// The grammar of the reference (its types.rs, every row) and what we make of each form: the canonical spelling,
// or "" where we refuse. Refused are the forms whose tail the reference ignores, which turns limits into
// unlimited grants.
func TestParse_ReferenceGrammar(t *testing.T) {
	rows := []struct{ in, want string }{
		{"admin", "admin"},
		{"admin:*", ""},
		{"admin:read", ""},
		{"admin[x]", ""},
		{"application", "application"},
		{"application:list[a]", "application:list[a]"},
		{"application:install[a]", "application:install[a]"},
		{"application:uninstall[a]", "application:uninstall[a]"},
		{"application:list[a,b]", ""}, // there: resource a, "user" b
		{"application:list[a,]", ""},  // there: how it prints application:list[a]
		{"package", "package"},
		{"package:list-packages[p]", "package:list-packages[p]"},
		{"package:list-versions[p]", "package:list-versions[p]"},
		{"package:get-latest-version[p]", "package:get-latest-version[p]"},
		{"blob", "blob"},
		{"blob:add", "blob:add"},
		{"blob:add:stream", "blob:add:stream"},
		{"blob:add:file", "blob:add:file"},
		{"blob:add:url", "blob:add:url"},
		{"blob:remove[b]", "blob:remove[b]"},
		{"blob:list[b]", "blob:list[b]"},
		{"blob:get[b]", "blob:get[b]"},
		{"context[c]", "context[c]"},
		{"context:create[c]", "context:create[c]"},
		{"context:list[c]", "context:list[c]"},
		{"context:delete[c]", "context:delete[c]"},
		{"context:leave[c,u]", "context:leave[c,u]"},
		{"context:invite[c,u]", "context:invite[c,u]"},
		{"context:execute[c,u,m]", "context:execute[c,u,m]"},
		{"context:execute[c,]", "context:execute[c]"},
		{"context:execute[c, u]", ""}, // there: trimmed
		{"context:execute[c]x", ""},   // there: the tail is ignored
		{"context:capabilities", ""},
		{"context:capabilities:grant[c]", "context:capabilities:grant[c]"},
		{"context:capabilities:revoke[c]", "context:capabilities:revoke[c]"},
		{"context:application:update[c]", "context:application:update[c]"},
		{"context:alias[x]", "context:alias[x]"},
		{"keys", "keys"},
		{"keys:create", "keys:create"},
		{"keys:list", "keys:list"},
		{"keys:delete", "keys:delete"},
		{"keys:revoke", "keys:delete"},
		{"keys:clients", "keys:clients:list"},
		{"keys:clients:list", "keys:clients:list"},
		{"keys:clients:delete", "keys:clients:delete"},
		{"keys:permissions", "keys:permissions:get"},
		{"keys:permissions[k]", "keys:permissions:get[k]"},
		{"keys:permissions:get[k]", "keys:permissions:get[k]"},
		{"keys:permissions:update[k]", "keys:permissions:update[k]"},
		{"context:read:global", "context:read"},                              // there: unknown
		{"context:execute:specific:c", "context:execute[c]"},                 // there: unlimited
		{"application:install:global", "application:install"},                // there: the tail is ignored
		{"alias:create:specific:my-alias", "context:alias:create[my-alias]"}, // there: unknown
		{"context:create:anything", ""},                                      // there: unlimited
	}
	for _, resource := range []string{"namespace", "group"} {
		rows = append(rows, struct{ in, want string }{resource, resource})
		for _, verb := range []string{"create", "list", "manage"} {
			s := resource + ":" + verb + "[x]"
			rows = append(rows, struct{ in, want string }{s, s})
		}
	}
	for _, verb := range []string{"create", "list", "lookup", "delete"} {
		for _, kind := range []string{"context", "application", "identity"} {
			s := "context:alias:" + verb + ":" + kind + "[x]"
			rows = append(rows, struct{ in, want string }{s, s})
		}
	}
	for _, row := range rows {
		p, err := permission.Parse(row.in)
		if got := p.String(); got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("Parse(%q) = %q, %v, want %q", row.in, got, err, row.want)
		}
	}
}

func TestParse_SpellingsOfOneValue(t *testing.T) {
	for _, same := range [][]string{
		{"context:execute", "context:execute:global", "context:execute[*]", "context:execute[,]", "context:execute[*,*,*]", "context:execute[,,]"},
		{"context:execute[c]", "context:execute:specific:c", "context:execute[c,]", "context:execute[c,*,]"},
		{"context:execute[,alice]", "context:execute[*,alice]", "context:execute[,alice,*]"},
		{"context:execute[,,get]", "context:execute[*,*,get]"},
		{"context[c]", "context[c,]", "context[c,*]"},
		{"context:alias", "alias", "context:alias:global", "context:alias[*]"},
		{"context:alias:create", "alias:create", "alias:create:global"},
		{"context:alias:list", "alias:list"},
		{"context:alias:lookup", "alias:lookup"},
		{"context:alias:delete[x]", "alias:delete[x]", "alias:delete:specific:x"},
		{"keys:delete", "keys:revoke", "keys:delete:global", "keys:revoke:global"},
		{"keys:clients:list", "keys:clients", "keys:clients:global"},
		{"keys:permissions:get[k]", "keys:permissions:specific:k", "keys:permissions[k]"},
		{"blob:add:file[x]", "blob:add:file:specific:x"},
		{"context:read[global]", "context:read[global]"},
	} {
		want := parse(t, same[0])
		for _, s := range same {
			if got := parse(t, s); got != want {
				t.Errorf("Parse(%q) = %v, want %v", s, got, want)
			}
		}
		if got := want.String(); got != same[0] {
			t.Errorf("the canonical spelling of %q is %q", same[0], got)
		}
	}
}

func TestParse_RefusedWithPlaceAndReason(t *testing.T) {
	for _, c := range []struct {
		in      string
		offset  int
		problem string
	}{
		{"", 0, "empty"},
		{strings.Repeat("a", 257), 256, "longer than 256 bytes"},
		{" admin", 0, "byte 0x20 is not allowed"},
		{"admin ", 5, "byte 0x20 is not allowed"},
		{"admin\u200b", 5, "byte 0xe2 is not allowed"},
		{"application:list\nadmin", 16, "byte 0x0a is not allowed"},
		{"context:list\x7f", 12, "byte 0x7f is not allowed"},
		{"contex:list", 0, `unknown resource "contex"`},
		{"application:list,admin", 12, `unknown word "list,admin" after "application"`},
		{"context:lis", 8, `unknown word "lis" after "context"`},
		{"context:list:all", 13, `unknown word "all" after "context:list"`},
		{"context:alias:create:blob", 21, `unknown word "blob" after "context:alias:create"`},
		{"alias:create:context", 13, `unknown word "context" after "alias:create"`},
		{"context:capabilities", 20, "a word is missing after context:capabilities"},
		{"context:", 8, "empty word"},
		{":list", 0, "empty word"},
		{"context::global", 8, "empty word"},
		{"context:global", 8, `unknown word "global" after "context"`},
		{"admin:global", 6, `unknown word "global" after "admin"`},
		{"context:list:specific", 13, `unknown word "specific" after "context:list"`},
		{"context:list:specific:", 22, "ids are 1 to 128 bytes of A-Z a-z 0-9 . _ ~ -"},
		{"context:list:specific:*", 22, "ids are 1 to 128 bytes of A-Z a-z 0-9 . _ ~ -"},
		{"context:list:specific:a:b", 23, "ids are 1 to 128 bytes of A-Z a-z 0-9 . _ ~ -"},
		{"context:list:specific:global", 22, "specific:global contradicts itself"},
		{"context:specific:c", 7, "context takes no id"},
		{"keys:create:specific:x", 11, "keys:create takes no id"},
		{"keys:create[x]", 11, "keys:create takes no id"},
		{"keys:create[*]", 11, "keys:create takes no id"},
		{"blob[x]", 4, "blob takes no id"},
		{"alias[x]", 5, "alias takes no id"},
		{"admin[*]", 5, "admin takes no id"},
		{"contexts[c]", 0, `unknown resource "contexts"`},
		{"context:list[", 13, "missing ]"},
		{"context:list[a", 14, "missing ]"},
		{"context:list]a[", 12, "] without ["},
		{"context:list[a]x", 15, "text after ]"},
		{"context:list[a]]", 15, "text after ]"},
		{"context:list[a][b]", 15, "text after ]"},
		{"context:list[]", 13, "empty brackets; leave them out for any"},
		{"context:list[a[b]", 14, "ids are 1 to 128 bytes of A-Z a-z 0-9 . _ ~ -"},
		{"context:list[a/b]", 14, "ids are 1 to 128 bytes of A-Z a-z 0-9 . _ ~ -"},
		{"context:list[a%2fb]", 14, "ids are 1 to 128 bytes of A-Z a-z 0-9 . _ ~ -"},
		{"context:list[a*]", 14, "ids are 1 to 128 bytes of A-Z a-z 0-9 . _ ~ -"},
		{"context:list[" + strings.Repeat("a", 129) + "]", 13, "ids are 1 to 128 bytes of A-Z a-z 0-9 . _ ~ -"},
		{"context:list[a,b]", 15, "too many fields, context:list takes 1"},
		{"context:invite[a,b,c]", 19, "too many fields, context:invite takes 2"},
		{"context:execute[a,b,c,]", 22, "too many fields, context:execute takes 3"},
		{"context:execute:global[a]", 16, `unknown word "global" after "context:execute"`},
		{"context[]", 8, "empty brackets; leave them out for any"},
		{"context[*]", 8, "a binding names its object"},
		{"context[,alice]", 8, "a binding names its object"},
		{"context[c,alice,get]", 16, "too many fields, context takes 2"},
		{"application-binding", 19, "a binding names its object in brackets"},
		{"application-binding[*]", 20, "a binding names its object"},
		{"application-binding[a,b]", 22, "too many fields, application-binding takes 1"},
	} {
		p, err := permission.Parse(c.in)
		var syntax *permission.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("Parse(%q) = %v, %v, want a SyntaxError", c.in, p, err)
			continue
		}
		if syntax.Input != c.in || syntax.Offset != c.offset || syntax.Problem != c.problem {
			t.Errorf("Parse(%q): byte %d: %s, want byte %d: %s", c.in, syntax.Offset, syntax.Problem, c.offset, c.problem)
		}
		if p != (permission.Permission{}) {
			t.Errorf("Parse(%q) = %v beside the error", c.in, p)
		}
	}
}

func TestSyntaxError_QuotesAndCuts(t *testing.T) {
	_, err := permission.Parse("ad\nmin")
	if got, want := err.Error(), `permission "ad\nmin": byte 2: byte 0x0a is not allowed`; got != want {
		t.Errorf("error = %s, want %s", got, want)
	}
	_, err = permission.Parse(strings.Repeat("a", 1<<20))
	if n := len(err.Error()); n > 400 {
		t.Errorf("the error about a long string is %d bytes long", n)
	}
}

func TestParse_LongestForms(t *testing.T) {
	id := strings.Repeat("x", permission.MaxID)
	for _, s := range []string{
		"context:list[" + id + "]",
		"alias:create[" + id + "]",
		"context:execute[," + id + "," + strings.Repeat("m", 256-len("context:execute[,,]")-permission.MaxID) + "]",
	} {
		p := parse(t, s)
		if q, err := permission.Parse(p.String()); err != nil || q != p {
			t.Errorf("Parse(%q) = %v, %v, want %v", p.String(), q, err, p)
		}
	}
}

func TestMustParse_PanicsOnNonsense(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	permission.MustParse("nonsense")
}

// Every requirement of the reference's route table.
func TestParse_RouteTableRequirements(t *testing.T) {
	for s := range strings.FieldsSeq(`
		admin context:execute application:list application:install application:uninstall package:list-packages
		context:list context:create keys:list keys:create keys:delete keys:clients:list keys:clients:delete
		blob:add:stream blob:add:file blob:add:url blob:list
		application:list[id] application:uninstall[id] context:list[id] context:delete[id]
		context:capabilities:grant[id] context:capabilities:revoke[id] context:application:update[id]
		context:list[app] blob:remove[id] blob:get[id] keys:permissions:get[id] keys:permissions:update[id]
		package:list-versions[p] package:get-latest-version[p]
		context:leave[id] context:invite[id] context:execute[id]
		context:read[id] context:join[id] context:sync[id] context:subscribe context:join context:sync context:invite
		namespace:list namespace:create namespace:list[a] namespace:manage[id]
		group:create group:manage group:list group:list[id] group:manage[id]
		context:alias:create:context context:alias:create:application context:alias:create:identity
		context:alias:lookup:context context:alias:lookup:application context:alias:lookup:identity
		context:alias:delete:context context:alias:delete:application context:alias:delete:identity
		context:alias:list:context context:alias:list:application context:alias:list:identity`) {
		if p := parse(t, s); p.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, p)
		}
	}
}
