package permission_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
)

// probes are requirements against which fuzzed lists are compared.
func probes(t testing.TB) []permission.Permission {
	t.Helper()
	list := []permission.Permission{{}}
	for s := range strings.FieldsSeq(`
		admin keys keys:create keys:delete keys:permissions:get[k] context context:create context:list context:list[c1]
		context:read[c1] context:read[c2] context:execute context:execute[c1] context:execute[c2]
		context:execute[c1,alice] context:execute[c1,bob] context:execute[c1,alice,get] context:leave[c1,alice]
		context:subscribe[c1] context:alias:lookup:identity[c1] context:alias:create:application blob:add:file
		blob:get[x] application:list package:list-packages namespace:list group:manage[g] context[c1]`) {
		list = append(list, parse(t, s))
	}
	return list
}

// seeds are lists, one permission a line.
var seeds = []string{
	"", "admin", "admin ", "context:list", "context:execute:specific:c1", "context:list:global", "context:execute[c1,alice,get]",
	"context:execute[,alice]", "context[c1]\ncontext:execute", "context[c1,alice]\ncontext", "context[*]\ncontext:read",
	"context[]\ncontext", "context[c1\ncontext\nadmin", "blob,admin", "x],admin,[", "application-binding[a1]\ncontext",
	"alias:create:specific:my-alias", "keys:revoke\nkeys:clients", "context[!]", "CONTEXT[c1]\ncontext", "blob:add:stream\nblob",
	"context:list:specific:global", "context:execute[*,*,*]", "\x00", "\u200badmin", "context[c1]\ncontext[c2]\ncontext:execute",
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	required := probes(f)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := permission.Parse(s)
		set := permission.NewSet([]string{s})
		if err != nil {
			if p != (permission.Permission{}) || err.Error() == "" {
				t.Errorf("Parse(%q) = %v, %q", s, p, err)
			}
			for _, q := range required {
				if set.Allows(q) || set.AllowsAnyScope(q) {
					t.Errorf("%q does not parse (%v), but grants %v", s, err, q)
				}
			}
			return
		}
		if q, err := permission.Parse(p.String()); err != nil || q != p {
			t.Errorf("Parse(%q).String() = %q, which parses to %v, %v", s, p, q, err)
		}
		if !p.Covers(p) {
			t.Errorf("%q does not cover itself", s)
		}
		if len(s) > permission.MaxLength || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q parses", s)
		}
		if got := permission.Split(s); !slices.Equal(got, []string{s}) {
			t.Errorf("%q parses as one permission, but splits into %q", s, got)
		}
		for _, q := range required {
			if set.Allows(q) != (p.Covers(q) && !p.IsBinding()) {
				t.Errorf("%q alone allows %v = %v", s, q, set.Allows(q))
			}
		}
	})
}

// A list means the same after the trip through the header, whatever its strings are.
func FuzzJoinSplit(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	required := probes(f)
	f.Fuzz(func(t *testing.T, lines string) {
		list := strings.Split(lines, "\n")
		header := permission.Join(list)
		if strings.ContainsFunc(header, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("Join(%q) = %q cannot be a header", list, header)
		}
		back := permission.Split(header)
		if again := permission.Join(back); again != header {
			t.Errorf("Join(%q) = %q, again %q", list, header, again)
		}
		before, after := permission.NewSet(list), permission.NewSet(back)
		for _, q := range required {
			if decisions(before, q) != decisions(after, q) {
				t.Errorf("%q and, through the header, %q differ on %v", list, back, q)
			}
		}
		if pieces := permission.Split(lines); strings.Join(pieces, ",") != lines {
			t.Errorf("Split(%q) = %q loses something", lines, pieces)
		}
	})
}

func FuzzEffective(f *testing.F) {
	for i, s := range seeds {
		f.Add(s, seeds[(i+1)%len(seeds)], "admin")
		f.Add(s, s, seeds[(i+5)%len(seeds)])
	}
	f.Add("context[c1]\ncontext:execute", "context[c2]\ncontext:execute", "context")
	required := probes(f)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		lists := [3][]string{strings.Split(a, "\n"), strings.Split(b, "\n"), strings.Split(c, "\n")}
		effective := permission.Effective(lists[0], lists[1:]...)
		got := permission.NewSet(effective)
		for _, l := range lists {
			set := permission.NewSet(l)
			for _, q := range required {
				have, most := decisions(got, q), decisions(set, q)
				for k := range have {
					if have[k] && !most[k] {
						t.Errorf("Effective%q = %q: decision %d on %v is wider than %q", lists, effective, k, q, l)
					}
				}
			}
		}
		if again := permission.Effective(effective, effective); !slices.Equal(again, effective) {
			t.Errorf("Effective%q = %q, once more %q", lists, effective, again)
		}
	})
}
