package route_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
)

func row(method, pattern, op string, needs ...string) route.Row {
	r := route.Row{Method: method, Pattern: pattern, Op: op}
	for _, n := range needs {
		r.Needs = append(r.Needs, route.Need{Permission: n})
	}
	return r
}

func newTable(t testing.TB, rows ...route.Row) *route.Table {
	t.Helper()
	table, err := route.NewTable(rows)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLookup_Precedence(t *testing.T) {
	table := newTable(t,
		row("GET", "/", "root", "admin"),
		row("GET", "/a", "a", "admin"),
		row("GET", "/a/", "a-slash", "admin"),
		row("GET", "/a/b", "literal", "admin"),
		row("GET", "/a/{x}", "one", "admin"),
		row("POST", "/a/{x}", "one-post", "admin"),
		row("GET", "/a/{x}/c", "one-c", "admin"),
		row("GET", "/a/b/{y}", "b-one", "admin"),
		row("GET", "/a/b/c/d", "deep", "admin"),
		row("GET", "/a/{x}/{y}/e", "two-e", "admin"),
		row("GET", "/r/{x}", "r-one", "admin"),
		row("GET", "/r/{path...}", "r-rest", "admin"),
		row("GET", "/r/{x}/t/", "r-slash", "admin"),
	)
	tests := []struct {
		method, path, op string
		params           map[string]string
	}{
		{"GET", "/", "root", nil},
		{"GET", "/a", "a", nil},
		{"GET", "/a/", "a-slash", nil},
		{"GET", "/a/b", "literal", map[string]string{"x": ""}},
		{"HEAD", "/a/b", "literal", nil},
		{"POST", "/a/b", "one-post", map[string]string{"x": "b"}},
		{"GET", "/a/z", "one", map[string]string{"x": "z", "y": ""}},
		{"GET", "/a/b/c", "b-one", map[string]string{"y": "c"}},
		{"GET", "/a/z/c", "one-c", map[string]string{"x": "z"}},
		{"GET", "/a/b/c/d", "deep", nil},
		{"GET", "/a/b/c/e", "two-e", map[string]string{"x": "b", "y": "c"}},
		{"GET", "/r/z", "r-one", map[string]string{"x": "z"}},
		{"GET", "/r/", "r-rest", map[string]string{"path": ""}},
		{"GET", "/r/a,b", "r-rest", map[string]string{"path": "a,b"}},
		{"GET", "/r/z/t", "r-rest", map[string]string{"path": "z/t"}},
		{"GET", "/r/z/t/", "r-slash", map[string]string{"x": "z"}},
		{"GET", "/r/z/t/u/", "r-rest", map[string]string{"path": "z/t/u/"}},
	}
	for _, tt := range tests {
		m, ok := table.Lookup(tt.method, tt.path)
		if !ok {
			t.Errorf("Lookup(%s, %s) finds nothing, want %s", tt.method, tt.path, tt.op)
			continue
		}
		if m.Row.Op != tt.op {
			t.Errorf("Lookup(%s, %s) = %s, want %s", tt.method, tt.path, m.Row.Op, tt.op)
		}
		for name, want := range tt.params {
			if got := m.Param(name); got != want {
				t.Errorf("Lookup(%s, %s): parameter %s = %q, want %q", tt.method, tt.path, name, got, want)
			}
		}
	}
	for _, path := range []string{
		"", "a", "/b", "/A", "/a//", "//a", "/a/b/", "/a/z/", "/a/z/d", "/r", "/a/b/c/d/e",
	} {
		if m, ok := table.Lookup("GET", path); ok || m.Row != nil || m.Param("x") != "" {
			t.Errorf("Lookup(GET, %q) = %v, want nothing", path, m.Row)
		}
	}
	for _, method := range []string{
		"get", "Get", "GET ", "", "OPTIONS", "CONNECT", "TRACE", "FOO", "GET,POST", "head", "PATCH", "POST",
	} {
		if m, ok := table.Lookup(method, "/a"); ok || m.Row != nil {
			t.Errorf("Lookup(%q, /a) = %v, want nothing", method, m.Row)
		}
	}
}

// What is no id never becomes the value of a parameter, and nothing that is not canonical matches at all, even
// if a caller forgot to ask Canonical first.
func TestLookup_ParametersAreIDs(t *testing.T) {
	table := newTable(t,
		row("GET", "/c/{id}", "get", "context:read[id]"),
		route.Row{Method: "GET", Pattern: "/pub/{path...}", Op: "pub", Guard: route.Public},
	)
	for _, id := range []string{"a", "A-Z0.9_~", "...", "..a", strings.Repeat("x", 128)} {
		if m, ok := table.Lookup("GET", "/c/"+id); !ok || m.Param("id") != id {
			t.Errorf("Lookup(/c/%s) = %v, %q, want the id", id, ok, m.Param("id"))
		}
	}
	for _, id := range []string{
		"", ".", "..", "a,b", "a%2fb", "a b", "a:b", "a@b", "*", "a;b", "a\\b", "é", "a\x00", "[a]",
		"a/", "a//", strings.Repeat("x", 129),
	} {
		if m, ok := table.Lookup("GET", "/c/"+id); ok {
			t.Errorf("Lookup(/c/%q) matches with id %q", id, m.Param("id"))
		}
	}
	for _, p := range []string{
		"/pub/../c/a", "/pub/a/..", "/pub/./a", "/pub//a", "/pub/a//b", "/pub/%2e%2e/c/a", "/pub/..;/c/a",
		"/pub/a\\..\\c", "/pub/a#b", "/pub/a?b", "/pub/a\x00", "/pub//",
	} {
		if _, ok := table.Lookup("GET", p); ok {
			t.Errorf("Lookup(%q) matches the public rest", p)
		}
	}
}

func TestMethods(t *testing.T) {
	table := newTable(t,
		row("GET", "/a/{x}", "get", "admin"), row("DELETE", "/a/{x}", "delete", "admin"),
		row("PUT", "/a/b", "put", "admin"), row("POST", "/c", "post", "admin"),
	)
	tests := map[string][]string{
		"/a/z": {"DELETE", "GET", "HEAD"},
		"/a/b": {"DELETE", "GET", "HEAD", "PUT"},
		"/c":   {"POST"},
		"/d":   nil,
	}
	for path, want := range tests {
		if got := table.Methods(path); !slices.Equal(got, want) {
			t.Errorf("Methods(%s) = %v, want %v", path, got, want)
		}
	}
}

func TestNewTable_Refused(t *testing.T) {
	ok := row("GET", "/ok/{id}", "ok", "context:read[id]")
	public := route.Row{Method: "GET", Pattern: "/p", Op: "p", Guard: route.Public}
	scoped := func(permission string, s route.Scope) route.Row {
		return route.Row{Method: "GET", Pattern: "/x/{id}", Op: "x", Needs: []route.Need{{Permission: permission, Scope: s}}}
	}
	tests := map[string][]route.Row{
		"method HEAD":                     {row("HEAD", "/x", "x", "admin")},
		"method OPTIONS":                  {row("OPTIONS", "/x", "x", "admin")},
		"method in lower case":            {row("get", "/x", "x", "admin")},
		"no method":                       {row("", "/x", "x", "admin")},
		"empty pattern":                   {row("GET", "", "x", "admin")},
		"relative pattern":                {row("GET", "x", "x", "admin")},
		"empty segment":                   {row("GET", "/a//b", "x", "admin")},
		"two slashes at the end":          {row("GET", "/a//", "x", "admin")},
		"dot segment":                     {row("GET", "/a/../b", "x", "admin")},
		"escape in the pattern":           {row("GET", "/a%20b", "x", "admin")},
		"query in the pattern":            {row("GET", "/a?b", "x", "admin")},
		"brace inside a segment":          {row("GET", "/a{b}", "x", "admin")},
		"brace not closed":                {row("GET", "/{a", "x", "admin")},
		"brace not opened":                {row("GET", "/a}", "x", "admin")},
		"text after the brace":            {row("GET", "/{a}b", "x", "admin")},
		"parameter without a name":        {row("GET", "/{}", "x", "admin")},
		"rest without a name":             {row("GET", "/{...}", "x", "admin")},
		"parameter name in upper case":    {row("GET", "/{ID}", "x", "admin")},
		"parameter twice":                 {row("GET", "/{a}/{a}", "x", "admin")},
		"four parameters":                 {row("GET", "/{a}/{b}/{c}/{d}", "x", "admin")},
		"rest in the middle":              {row("GET", "/{a...}/b", "x", "admin")},
		"duplicate":                       {ok, row("GET", "/ok/{id}", "x", "admin")},
		"duplicate under another name":    {ok, row("GET", "/ok/{other}", "x", "admin")},
		"duplicate rest":                  {row("GET", "/a/{b...}", "x", "admin"), row("GET", "/a/{c...}", "y", "admin")},
		"no operation":                    {row("GET", "/x", "", "admin")},
		"operation with a blank":          {row("GET", "/x", "a b", "admin")},
		"operation twice":                 {ok, row("GET", "/x", "ok", "admin")},
		"no need":                         {row("GET", "/x", "x")},
		"public with a need":              {{Method: "GET", Pattern: "/x", Op: "x", Guard: route.Public, Needs: ok.Needs}},
		"any token with a need":           {{Method: "GET", Pattern: "/x", Op: "x", Guard: route.AnyToken, Needs: ok.Needs}},
		"own object without a need":       {{Method: "GET", Pattern: "/x", Op: "x", Guard: route.OwnObject}},
		"unknown permission":              {row("GET", "/x", "x", "context:fly")},
		"empty permission":                {row("GET", "/x", "x", "")},
		"one bad need of two":             {row("GET", "/x", "x", "blob:list", "blob:fly")},
		"parameter of another pattern":    {row("GET", "/x/{a}", "x", "context:read[b]")},
		"literal id":                      {row("GET", "/x", "x", "context:read[ctx-1]")},
		"two fields":                      {row("GET", "/x/{a}/{b}", "x", "context:leave[a,b]")},
		"brackets not closed":             {row("GET", "/x/{a}", "x", "context:read[a")},
		"empty brackets":                  {row("GET", "/x/{a}", "x", "context:read[]")},
		"text after the brackets":         {row("GET", "/x/{a}", "x", "context:read[a]b")},
		"permission that takes no id":     {row("GET", "/x/{a}", "x", "keys:delete[a]")},
		"admin of an id":                  {row("GET", "/x/{a}", "x", "admin[a]")},
		"any scope and an id":             {scoped("context:read[id]", route.ScopeAny)},
		"node's scope and an id":          {scoped("context:read[id]", route.ScopeNode)},
		"alias of nothing":                {ok, {Method: "GET", Pattern: "/x/{id}", AliasOf: "GET /nothing"}},
		"alias of another method":         {ok, {Method: "GET", Pattern: "/x/{id}", AliasOf: "POST /ok/{id}"}},
		"alias of an alias":               {ok, {Method: "GET", Pattern: "/x/{id}", AliasOf: "GET /ok/{id}"}, {Method: "GET", Pattern: "/y/{id}", AliasOf: "GET /x/{id}"}},
		"alias of itself":                 {{Method: "GET", Pattern: "/x", AliasOf: "GET /x"}},
		"alias without the parameter":     {ok, {Method: "GET", Pattern: "/x/{other}", AliasOf: "GET /ok/{id}"}},
		"alias with an operation":         {public, {Method: "GET", Pattern: "/x", AliasOf: "GET /p", Op: "x"}},
		"alias with a need":               {public, {Method: "GET", Pattern: "/x", AliasOf: "GET /p", Needs: ok.Needs}},
		"alias with a guard":              {ok, {Method: "GET", Pattern: "/x/{id}", AliasOf: "GET /ok/{id}", Guard: route.Public}},
		"alias that is a duplicate":       {ok, {Method: "GET", Pattern: "/ok/{x}", AliasOf: "GET /ok/{id}"}},
		"protected row made public again": {ok, {Method: "GET", Pattern: "/ok/{path}", Op: "x", Guard: route.Public}},
	}
	for name, rows := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := route.NewTable(rows); err == nil {
				t.Errorf("NewTable(%+v) = nil error", rows)
			}
		})
	}
	_, err := route.NewTable([]route.Row{row("HEAD", "/x", "x", "admin"), row("GET", "/y", "y", "context:fly")})
	if err == nil || !strings.Contains(err.Error(), "HEAD /x") || !strings.Contains(err.Error(), "context:fly") {
		t.Errorf("NewTable with two problems = %v, want both named", err)
	}
}

func TestMatch_Scopes(t *testing.T) {
	need := func(p string, s route.Scope) []route.Need { return []route.Need{{Permission: p, Scope: s}} }
	table := newTable(t,
		row("GET", "/path/{id}", "path", "context:read[id]"),
		row("GET", "/all", "all", "context:list"),
		row("GET", "/either", "either", "blob:list", "group:list"),
		row("GET", "/admin", "admin", "admin"),
		route.Row{Method: "GET", Pattern: "/any", Op: "any", Needs: need("context:subscribe", route.ScopeAny)},
		route.Row{Method: "GET", Pattern: "/node", Op: "node", Needs: need("context:execute", route.ScopeNode)},
		route.Row{Method: "GET", Pattern: "/token", Op: "token", Guard: route.AnyToken},
		route.Row{Method: "GET", Pattern: "/public", Op: "public", Guard: route.Public},
		route.Row{Method: "GET", Pattern: "/own", Op: "own", Guard: route.OwnObject, Needs: need("keys:list", 0)},
	)
	tests := []struct {
		path, held         string
		enforced, trusting bool // Allowed when the node enforces, and when it does not
	}{
		{"/path/c1", "context:read[c1]", true, true},
		{"/path/c2", "context:read[c1]", false, false},
		{"/path/c2", "context:read", true, true},
		{"/path/c2", "context[c1],context:read", false, false},
		{"/path/c1", "context[c1],context:read", true, true},
		{"/path/c2", "context[c1],context:read,admin", true, true},
		{"/path/c1", "", false, false},
		{"/path/c1", "blob", false, false},
		{"/all", "context:list", true, true},
		{"/all", "context:list[c1]", false, false},
		{"/all", "context[c1],context:list", true, true},
		{"/either", "blob:list", true, true},
		{"/either", "group:list", true, true},
		{"/either", "group:list[g]", false, false},
		{"/either", "context:list", false, false},
		{"/admin", "context,blob,keys,application,package,group,namespace,alias", false, false},
		{"/admin", "admin", true, true},
		{"/any", "context:subscribe[c1]", true, true},
		{"/any", "context:execute[c1]", true, true},
		{"/any", "context:list", false, false},
		{"/node", "context:execute", true, true},
		{"/node", "context:execute[c1]", true, false},
		{"/node", "context:execute[c1,u,get]", true, false},
		{"/node", "context[c1],context:execute", true, false}, // nobody would narrow it
		{"/node", "context:read", false, false},
		{"/token", "", true, true},
		{"/public", "", true, true},
		{"/own", "", true, true},
		{"/nothing", "context,blob,keys", false, false},
		{"/nothing", "admin", true, true},
	}
	for _, tt := range tests {
		set := permission.NewSet(permission.Split(tt.held))
		m, _ := table.Lookup("GET", tt.path)
		if got := m.Allowed(set, true); got != tt.enforced {
			t.Errorf("%s with %q, node enforces: Allowed = %v, want %v", tt.path, tt.held, got, tt.enforced)
		}
		if got := m.Allowed(set, false); got != tt.trusting {
			t.Errorf("%s with %q, node trusts: Allowed = %v, want %v", tt.path, tt.held, got, tt.trusting)
		}
		if got, want := m.Public(), tt.path == "/public"; got != want {
			t.Errorf("%s: Public = %v, want %v", tt.path, got, want)
		}
	}
	own, _ := table.Lookup("GET", "/own")
	for held, want := range map[string]bool{"": false, "keys:delete": false, "keys:list": true, "keys": true, "admin": true} {
		if got := own.AllowedOnOthers(permission.NewSet(permission.Split(held)), true); got != want {
			t.Errorf("AllowedOnOthers with %q = %v, want %v", held, got, want)
		}
	}
}
