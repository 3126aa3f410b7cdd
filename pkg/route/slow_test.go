package route_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/route"
)

// slow is an obvious matcher: it compares every row and keeps the best.
func slow(rows []route.Row, method, path string) (op string, values []string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	best := ""
	for _, r := range rows {
		kinds, vals, ok := slowMatch(r.Pattern, path)
		if ok && r.Method == method && (best == "" || kinds < best) {
			best, op, values = kinds, r.Op, vals
		}
	}
	return op, values
}

// slowMatch also returns a string of one letter for each segment, which sorts better matches first.
func slowMatch(pattern, path string) (kinds string, values []string, ok bool) {
	want, have := strings.Split(pattern, "/")[1:], strings.Split(path, "/")[1:]
	for i, w := range want {
		switch {
		case strings.HasSuffix(w, "...}"):
			if len(have) <= i {
				return "", nil, false
			}
			return kinds + "c", append(values, strings.Join(have[i:], "/")), true
		case len(have) <= i:
			return "", nil, false
		case strings.HasPrefix(w, "{"):
			if !slowID(have[i]) {
				return "", nil, false
			}
			kinds, values = kinds+"b", append(values, have[i])
		case w != have[i]:
			return "", nil, false
		default:
			kinds += "a"
		}
	}
	return kinds, values, len(have) == len(want)
}

func slowID(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 128 &&
		strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") == ""
}

// randomRows returns a table over a tiny alphabet, so that rows overlap often.
func randomRows(rnd *rand.Rand) []route.Row {
	segments := []string{"a", "b", "{p}", "{q}", "ab"}
	var rows []route.Row
	shapes := map[string]bool{}
	for range 40 {
		var pattern strings.Builder
		seen := map[string]bool{}
		for range 1 + rnd.IntN(4) {
			s := segments[rnd.IntN(len(segments))]
			if strings.HasPrefix(s, "{") && seen[s] {
				s = "a"
			}
			seen[s] = true
			pattern.WriteString("/" + s)
		}
		switch rnd.IntN(6) {
		case 0:
			pattern.WriteString("/{rest...}")
		case 1:
			pattern.WriteString("/")
		}
		r := row([]string{"GET", "POST"}[rnd.IntN(2)], pattern.String(), fmt.Sprintf("op%d", len(rows)), "admin")
		shape := strings.ReplaceAll(r.String(), "{q}", "{p}")
		if !shapes[shape] {
			shapes[shape] = true
			rows = append(rows, r)
		}
	}
	return rows
}

func TestLookup_AgreesWithSlowMatcher(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "b", "c", "ab", "", "a,b", "ccc"}
	matched := 0
	for range 40 {
		rows := randomRows(rnd)
		table := newTable(t, rows...)
		for range 2000 {
			var path strings.Builder
			for range 1 + rnd.IntN(6) {
				path.WriteString("/" + words[rnd.IntN(len(words))])
			}
			p := path.String()
			if _, _, err := route.Canonical(p); err != nil {
				continue
			}
			method := []string{"GET", "POST", "HEAD", "PUT"}[rnd.IntN(4)]
			if compare(t, table, rows, method, p) {
				matched++
			}
		}
	}
	if matched < 10_000 {
		t.Errorf("only %d lookups matched: the test proves little", matched)
	}
}

// compare reports whether the path has a row; it fails the test when both matchers disagree.
func compare(t *testing.T, table *route.Table, rows []route.Row, method, path string) bool {
	t.Helper()
	op, values := slow(rows, method, path)
	m, ok := table.Lookup(method, path)
	if ok != (op != "") || ok && m.Row.Op != op {
		t.Fatalf("Lookup(%s, %s) = %v %v, the slow matcher says %q", method, path, ok, m.Row, op)
	}
	if !ok {
		return false
	}
	var got []string
	for s := range strings.SplitSeq(m.Row.Pattern, "/") {
		if name, isParam := strings.CutPrefix(s, "{"); isParam {
			got = append(got, m.Param(strings.TrimSuffix(strings.TrimSuffix(name, "}"), "...")))
		}
	}
	if !slices.Equal(got, values) {
		t.Fatalf("Lookup(%s, %s) of %s has the values %q, the slow matcher %q", method, path, m.Row, got, values)
	}
	return true
}

// On the real tables both matchers agree, and only canonical paths match.
func FuzzLookup(f *testing.F) {
	tables := []*route.Table{route.Node, route.Auth}
	rows := make([][]route.Row, len(tables))
	for i, table := range tables {
		for r := range table.All() {
			c := *r
			c.Op = r.String() // aliases share theirs
			rows[i] = append(rows[i], c)
			f.Add(r.Method, strings.NewReplacer("{", "", "}", "", "...", "").Replace(r.Pattern))
		}
	}
	f.Add("GET", "/admin-dashboard/../admin-api/contexts")
	f.Add("GET", "/admin-dashboard//")
	f.Add("get", "/")
	f.Fuzz(func(t *testing.T, method, path string) {
		_, _, err := route.Canonical(path)
		canonical := err == nil && !strings.Contains(path, "?")
		for i, table := range tables {
			m, ok := table.Lookup(method, path)
			if ok && !canonical {
				t.Fatalf("Lookup(%q, %q) = %s, though the path is not canonical", method, path, m.Row)
			}
			if !canonical {
				continue
			}
			op, _ := slow(rows[i], method, path)
			if ok != (op != "") || ok && m.Row.String() != op {
				t.Fatalf("Lookup(%q, %q) = %v %v, the slow matcher says %q", method, path, ok, m.Row, op)
			}
		}
	})
}
