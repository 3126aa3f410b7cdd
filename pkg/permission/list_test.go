package permission_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
)

func repeat(s string, n int) []string { return slices.Repeat([]string{s}, n) }

// joined returns permissions that take n bytes together, commas included.
func joined(n int) []string {
	const each = 100 // with the comma
	list := repeat("context:read["+strings.Repeat("r", each-len("context:read[],"))+"]", n/each-1)
	rest := n - len(list)*each - len("context:execute[c,]")
	return append(list, "context:execute["+strings.Repeat("c", rest/2+rest%2)+","+strings.Repeat("u", rest/2+1)+"]")
}

func TestValidate_Limits(t *testing.T) {
	for _, c := range []struct {
		name string
		list []string
		want error
	}{
		{"none", nil, nil},
		{"64", repeat("blob", 64), nil},
		{"65", repeat("blob", 65), permission.ErrTooMany},
		{"2048 bytes", joined(2048), nil},
		{"2049 bytes", joined(2049), permission.ErrTooLong},
	} {
		if err := permission.Validate(c.list); !errors.Is(err, c.want) {
			t.Errorf("%s (%d joined): %v, want %v", c.name, len(strings.Join(c.list, ",")), err, c.want)
		}
	}
}

func TestValidate_NamesEveryBadString(t *testing.T) {
	err := permission.Validate([]string{"blob", "contex:list", "admin", "a,admin"})
	var syntax *permission.SyntaxError
	if !errors.As(err, &syntax) || syntax.Input != "contex:list" {
		t.Fatalf("err = %v", err)
	}
	for _, part := range []string{"permissions[1]", "contex", "permissions[3]", "a,admin"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"admin", []string{"admin"}},
		{"a,b", []string{"a", "b"}},
		{"context[c,u],context:execute[c,u,m],blob", []string{"context[c,u]", "context:execute[c,u,m]", "blob"}},
		{",", []string{"", ""}},
		{"a,,b", []string{"a", "", "b"}},
		{"context[c,admin", []string{"context[c,admin"}},
		{"a],b", []string{"a]", "b"}},
		{"[[a],b", []string{"[[a]", "b"}},
	} {
		if got := permission.Split(c.in); !slices.Equal(got, c.want) {
			t.Errorf("Split(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestJoin_SplitUndoesIt(t *testing.T) {
	var list []string
	for _, v := range universe(t) {
		list = append(list, v.text)
	}
	if got := permission.Split(permission.Join(list)); !slices.Equal(got, list) {
		t.Errorf("Split(Join(%q)) = %q", list, got)
	}
}

// A comma or bracket inside a string must not come back as a grant of its own, or swallow a binding.
func TestJoin_NothingIsSmuggledThroughTheHeader(t *testing.T) {
	for _, c := range []struct {
		list []string
		want string
	}{
		{[]string{"application:list,admin"}, ""},
		{[]string{"blob", "x],admin,[", "context:list"}, "blob,context:list"},
		{[]string{"blob[", "context[c1]", "context:execute"}, "context[c1],context:execute"},
		{[]string{"blob\r\nX-Auth-Key: root"}, ""},
		{[]string{"", "blob", ""}, "blob"},
		{[]string{"context[c1],admin,context[c2]", "context:execute"}, "context[!],context:execute"},
		{[]string{"application-binding[", "context"}, "application-binding[!],context"},
	} {
		if got := permission.Join(c.list); got != c.want {
			t.Errorf("Join(%q) = %q, want %q", c.list, got, c.want)
		}
	}
}
