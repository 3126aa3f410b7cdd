package permission_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
)

func TestCovers_IsInclusionOfOperations(t *testing.T) {
	all := universe(t)
	ops := make([]map[string]bool, len(all))
	for i, v := range all {
		ops[i] = v.operations()
	}
	for i, p := range all {
		for j, q := range all {
			want := true
			for op := range ops[j] {
				want = want && ops[i][op]
			}
			if got := p.parsed.Covers(q.parsed); got != want {
				t.Errorf("%s covers %s = %v, want %v", p.text, q.text, got, want)
			}
		}
	}
}

func TestCovers_IsAPreorder(t *testing.T) {
	var all []permission.Permission
	for _, v := range universe(t) {
		all = append(all, v.parsed)
	}
	for _, s := range []string{
		"context[c1]", "context[c1,alice]", "context[c1,bob]", "context[c2]",
		"application-binding[c1]", "application-binding[c2]",
	} {
		all = append(all, parse(t, s))
	}
	covers := make([][]bool, len(all))
	for i, p := range all {
		covers[i] = make([]bool, len(all))
		for j, q := range all {
			covers[i][j] = p.Covers(q)
		}
		if !covers[i][i] {
			t.Errorf("%v does not cover itself", p)
		}
	}
	for i := range all {
		for j := range all {
			if !covers[i][j] {
				continue
			}
			if i != j && covers[j][i] {
				t.Errorf("%v and %v cover each other, but are not equal", all[i], all[j])
			}
			for k := range all {
				if covers[j][k] && !covers[i][k] {
					t.Errorf("%v covers %v covers %v, but the first does not cover the last", all[i], all[j], all[k])
				}
			}
		}
	}
}

func TestString_ParsesBackOverTheUniverse(t *testing.T) {
	for _, v := range universe(t) {
		if got := v.parsed.String(); got != v.text {
			t.Errorf("Parse(%q).String() = %q", v.text, got)
		}
	}
}

func TestSet_AgreesWithTheModel(t *testing.T) {
	all := universe(t)
	r := rand.New(rand.NewPCG(3, 5))
	allowed := 0
	for range 400 {
		list, held, contexts := draw(r, all, 6)
		set := permission.NewSet(list)
		for _, q := range all {
			want := allowedByModel(held, contexts, q)
			if got := set.Allows(q.parsed); got != want {
				t.Fatalf("%q allows %s = %v, want %v", list, q.text, got, want)
			}
			if want {
				allowed++
			}
			everywhere := want && (set.Admin() || len(contexts) == 0 || !q.action.context)
			if got := set.AllowsEverywhere(q.parsed); got != everywhere {
				t.Fatalf("%q allows %s everywhere = %v, want %v", list, q.text, got, everywhere)
			}
			// What a list holds for some scope is what it would cover for the scope of one of its entries.
			some := slices.ContainsFunc(all, func(v modelValue) bool {
				return v.action.words == q.action.words && allowedByModel(held, nil, v)
			})
			if got := set.AllowsAnyScope(q.parsed); got != some {
				t.Fatalf("%q allows %s in any scope = %v, want %v", list, q.text, got, some)
			}
		}
	}
	if allowed < 1000 {
		t.Fatalf("only %d of the decisions were positive, the test proves little", allowed)
	}
}

func TestSet_IdentitiesAreThoseThatAllows(t *testing.T) {
	all := universe(t)
	r := rand.New(rand.NewPCG(7, 11))
	limited := 0
	for range 2000 {
		list, _, _ := draw(r, all, 4)
		set := permission.NewSet(list)
		for _, s := range []string{"context:execute[c1]", "context:execute[c1,,get]", "context:leave[c2]"} {
			required := parse(t, s)
			ids, unlimited := set.Identities(required)
			// "carol" is in no list: only a list without a limit allows her.
			if got, want := unlimited, set.Allows(required.As("carol")); got != want {
				t.Fatalf("%q: Identities(%s) unlimited = %v, want %v", list, s, got, want)
			}
			if unlimited {
				continue
			}
			var want []string
			for _, user := range []string{"alice", "bob"} {
				if set.Allows(required.As(user)) {
					want = append(want, user)
				}
			}
			if !slices.Equal(ids, want) {
				t.Fatalf("%q: Identities(%s) = %q, want %q", list, s, ids, want)
			}
			limited += len(ids)
		}
	}
	if limited < 100 {
		t.Fatalf("only %d limits were seen, the test proves little", limited)
	}
}

// decisions are the ways in which a list can widen.
func decisions(set *permission.Set, q permission.Permission) [5]bool {
	return [5]bool{
		set.Allows(q), set.AllowsAnyScope(q), set.AllowsEverywhere(q),
		set.AllowsApplication("a1"), set.MayGrant(q),
	}
}

func TestEffective_NeverWidens(t *testing.T) {
	all := universe(t)
	noise := []string{
		"context[]", "context[*]", "context[c1", "context[a b]", "CONTEXT[c1]", "application-binding[a1]",
		"application-binding[a2]", "application-binding[]", "context:lis", "blob,admin", "context[c1,alice]",
	}
	r := rand.New(rand.NewPCG(13, 17))
	allowed := 0
	for range 1500 {
		var lists [3][]string
		for i := range lists {
			lists[i], _, _ = draw(r, all, 8)
			if r.IntN(3) == 0 {
				lists[i] = append(lists[i], noise[r.IntN(len(noise))])
			}
		}
		if r.IntN(2) == 0 { // related lists, as real ones are
			lists[1] = append(lists[1], lists[0]...)
			lists[2] = append(lists[2], lists[1][r.IntN(len(lists[1])):]...)
		}
		effective := permission.Effective(lists[0], lists[1:]...)
		got := permission.NewSet(effective)
		var each [3]*permission.Set
		for i, l := range lists {
			each[i] = permission.NewSet(l)
		}
		for _, q := range all {
			for k, yes := range decisions(got, q.parsed) {
				if !yes {
					continue
				}
				allowed++
				for i, s := range each {
					if !decisions(s, q.parsed)[k] {
						t.Fatalf("decision %d on %s: Effective%q = %q says yes, list %d says no", k, q.text, lists, effective, i)
					}
				}
			}
		}
	}
	if allowed < 1000 {
		t.Fatalf("only %d of the decisions were positive, the test proves little", allowed)
	}
}

// Where no two permissions overlap by halves, the effective list is exactly what both lists allow.
func TestEffective_LosesNothingOfPlainLists(t *testing.T) {
	all := universe(t)
	var plain []modelValue // with an id where one can be; then one of two covers the other or they are apart
	for _, v := range all {
		if (v.id != "" || v.action.fields == 0) && v.user == "" && v.method == "" && v.action.words != "admin" {
			plain = append(plain, v)
		}
	}
	r := rand.New(rand.NewPCG(19, 23))
	allowed := 0
	for range 500 {
		var lists [2][]string
		for i := range lists {
			for range 1 + r.IntN(30) {
				lists[i] = append(lists[i], plain[r.IntN(len(plain))].text)
			}
			if r.IntN(2) == 0 {
				lists[i] = append(lists[i], "context[c1]")
			}
		}
		effective := permission.Effective(lists[0], lists[1])
		got, a, b := permission.NewSet(effective), permission.NewSet(lists[0]), permission.NewSet(lists[1])
		for _, q := range all {
			want := a.Allows(q.parsed) && b.Allows(q.parsed)
			if got.Allows(q.parsed) != want {
				t.Fatalf("Effective%q = %q allows %s = %v, want %v", lists, effective, q.text, !want, want)
			}
			if want {
				allowed++
			}
		}
	}
	if allowed < 1000 {
		t.Fatalf("only %d of the decisions were positive, the test proves little", allowed)
	}
}
