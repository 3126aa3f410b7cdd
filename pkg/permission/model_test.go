package permission_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
)

// The model is a second, slower reading of the language, kept apart from the implementation: a permission is the
// set of operations it stands for, and covering is inclusion of sets.

// modelAction is one action of the language.
type modelAction struct {
	words   string
	fields  int // of id, user, method
	context bool
	implies []string
}

// modelActions is the table of the language, written out again.
func modelActions() []modelAction {
	list := []modelAction{
		{words: "admin"},
		{words: "keys"},
		{words: "keys:create"},
		{words: "keys:list"},
		{words: "keys:delete"},
		{words: "keys:clients:list"},
		{words: "keys:clients:delete"},
		{words: "keys:permissions:get", fields: 1},
		{words: "keys:permissions:update", fields: 1},
		{words: "context"},
		{words: "context:create", fields: 1, context: true},
		{words: "context:list", fields: 1, context: true, implies: []string{"context:read"}},
		{words: "context:read", fields: 1, context: true},
		{words: "context:delete", fields: 1, context: true},
		{words: "context:join", fields: 1, context: true},
		{words: "context:leave", fields: 2, context: true},
		{words: "context:invite", fields: 2, context: true},
		{words: "context:execute", fields: 3, context: true, implies: []string{
			"context:subscribe", "context:sync", "context:join", "context:leave",
		}},
		{words: "context:subscribe", fields: 1, context: true},
		{words: "context:sync", fields: 1, context: true},
		{words: "context:capabilities:grant", fields: 1, context: true},
		{words: "context:capabilities:revoke", fields: 1, context: true},
		{words: "context:application:update", fields: 1, context: true},
		{words: "application"},
		{words: "package"},
		{words: "blob"},
		{words: "namespace"},
		{words: "group"},
		{words: "package:list-packages", fields: 1},
		{words: "package:list-versions", fields: 1},
		{words: "package:get-latest-version", fields: 1},
	}
	for resource, verbs := range map[string]string{
		"application": "list install uninstall", "blob": "remove list get",
		"namespace": "create list manage", "group": "create list manage",
	} {
		for verb := range strings.FieldsSeq(verbs) {
			list = append(list, modelAction{words: resource + ":" + verb, fields: 1})
		}
	}
	add := modelAction{words: "blob:add", fields: 1}
	for kind := range strings.FieldsSeq("stream file url") {
		add.implies = append(add.implies, "blob:add:"+kind)
		list = append(list, modelAction{words: "blob:add:" + kind, fields: 1})
	}
	alias := modelAction{words: "context:alias", fields: 1, context: true}
	for verb := range strings.FieldsSeq("create list lookup delete") {
		one := modelAction{words: "context:alias:" + verb, fields: 1, context: true}
		for kind := range strings.FieldsSeq("context application identity") {
			words := one.words + ":" + kind
			one.implies = append(one.implies, words)
			list = append(list, modelAction{words: words, fields: 1, context: kind != "application"})
		}
		alias.implies = append(append(alias.implies, one.words), one.implies...)
		list = append(list, one)
	}
	return append(list, add, alias)
}

// modelValue is one permission of the universe.
type modelValue struct {
	action           modelAction
	id, user, method string
	text             string
	parsed           permission.Permission
}

// universe returns every action with every combination of any and two values in each of its fields.
func universe(t testing.TB) []modelValue {
	t.Helper()
	choices := func(used bool, values ...string) []string {
		if used {
			return append([]string{""}, values...)
		}
		return []string{""}
	}
	var all []modelValue
	for _, a := range modelActions() {
		for _, id := range choices(a.fields > 0, "c1", "c2") {
			for _, user := range choices(a.fields > 1, "alice", "bob") {
				for _, method := range choices(a.fields > 2, "get", "set") {
					v := modelValue{action: a, id: id, user: user, method: method, text: a.words}
					if fields := strings.TrimRight(id+","+user+","+method, ","); fields != "" {
						v.text += "[" + fields + "]"
					}
					v.parsed = parse(t, v.text)
					all = append(all, v)
				}
			}
		}
	}
	return all
}

// operations returns what v stands for. "*" among the values is everything that the universe does not name,
// which only "any" includes.
func (v modelValue) operations() map[string]bool {
	ops := map[string]bool{}
	words := []string{v.action.words}
	if v.method == "" {
		words = append(words, v.action.implies...)
	}
	for _, a := range modelActions() {
		prefix := v.action.words + ":"
		isBare := !strings.Contains(v.action.words, ":")
		if v.action.words == "admin" || isBare && strings.HasPrefix(a.words, prefix) {
			words = append(words, a.words)
		}
	}
	expand := func(used bool, value string, values ...string) []string {
		switch {
		case !used:
			return []string{""}
		case value == "":
			return append(values, "*")
		}
		return []string{value}
	}
	for _, a := range modelActions() {
		for _, w := range words {
			if a.words != w {
				continue
			}
			for _, id := range expand(a.fields > 0, v.id, "c1", "c2") {
				for _, user := range expand(a.fields > 1, v.user, "alice", "bob") {
					for _, method := range expand(a.fields > 2, v.method, "get", "set") {
						ops[strings.Join([]string{w, id, user, method}, " ")] = true
					}
				}
			}
		}
	}
	return ops
}

// allowedByModel is the decision rule of Set.Allows, read from the parts.
func allowedByModel(held []modelValue, contexts [][2]string, required modelValue) bool {
	covered, reached := false, len(contexts) == 0 || required.id == "" || !required.action.context
	for _, h := range held {
		if h.action.words == "admin" {
			return true
		}
		covered = covered || h.parsed.Covers(required.parsed)
	}
	for _, c := range contexts {
		as := c[1] == "" || required.user == "" || c[1] == required.user
		reached = reached || c[0] == required.id && as
	}
	return covered && reached
}

// draw returns a random list with the parts it was made of; bindings come in about half of the lists.
func draw(r *rand.Rand, all []modelValue, size int) (list []string, held []modelValue, contexts [][2]string) {
	for range 1 + r.IntN(size) {
		v := all[r.IntN(len(all))]
		if v.action.words == "admin" && r.IntN(4) > 0 {
			continue // else too many lists hold everything
		}
		held = append(held, v)
		list = append(list, v.text)
	}
	for range r.IntN(3) {
		b := [2]string{[]string{"c1", "c2"}[r.IntN(2)], []string{"", "alice", "bob"}[r.IntN(3)]}
		contexts = append(contexts, b)
		list = append(list, strings.TrimSuffix("context["+b[0]+","+b[1], ",")+"]")
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list, held, contexts
}

func parse(t testing.TB, s string) permission.Permission {
	t.Helper()
	p, err := permission.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
