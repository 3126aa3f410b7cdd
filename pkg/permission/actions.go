package permission

import (
	"math/bits"
	"slices"
	"strings"
)

// action is an index into table.
type action uint8

// The actions that the code treats specially; all others are rows without a name in Go.
const (
	none action = iota
	admin
	contextBinding
	applicationBinding
	firstOrdinary
)

// How many of (id, user, method) an action takes.
const (
	fieldsNone = iota
	fieldsID
	fieldsUser
	fieldsMethod
)

// row describes one action.
type row struct {
	words   string   // canonical spelling without brackets
	also    []string // other spellings of the same
	fields  int      // which of id, user, method may be limited
	under   []string // the wider actions that cover it; its bare resource need not be named
	context bool     // its id names a context, so context bindings narrow it
}

// table holds every action. A new permission is one line here.
var table = [...]row{
	none:               {},
	admin:              {words: "admin"},
	contextBinding:     {words: "context", fields: fieldsUser},
	applicationBinding: {words: "application-binding", fields: fieldsID},

	firstOrdinary: {words: "keys"},
	{words: "keys:create"},
	{words: "keys:list"},
	{words: "keys:delete", also: []string{"keys:revoke"}},
	{words: "keys:clients:list", also: []string{"keys:clients"}},
	{words: "keys:clients:delete"},
	{words: "keys:permissions:get", also: []string{"keys:permissions"}, fields: fieldsID},
	{words: "keys:permissions:update", fields: fieldsID},

	{words: "context"},
	{words: "context:create", fields: fieldsID, context: true},
	{words: "context:list", fields: fieldsID, context: true},
	{words: "context:read", fields: fieldsID, context: true, under: []string{"context:list"}},
	{words: "context:delete", fields: fieldsID, context: true},
	{words: "context:execute", fields: fieldsMethod, context: true},
	{words: "context:join", fields: fieldsID, context: true, under: []string{"context:execute"}},
	{words: "context:leave", fields: fieldsUser, context: true, under: []string{"context:execute"}},
	{words: "context:subscribe", fields: fieldsID, context: true, under: []string{"context:execute"}},
	{words: "context:sync", fields: fieldsID, context: true, under: []string{"context:execute"}},
	{words: "context:invite", fields: fieldsUser, context: true},
	{words: "context:capabilities:grant", fields: fieldsID, context: true},
	{words: "context:capabilities:revoke", fields: fieldsID, context: true},
	{words: "context:application:update", fields: fieldsID, context: true},

	// The id of an identity alias is the context it lives in; without a kind it may be that too. Aliases of
	// applications are the only ones whose id never leads to a context.
	{words: "context:alias", also: []string{"alias"}, fields: fieldsID, context: true},
	{words: "context:alias:create", also: []string{"alias:create"}, fields: fieldsID, context: true, under: []string{"context:alias"}},
	{words: "context:alias:create:context", fields: fieldsID, context: true, under: []string{"context:alias:create"}},
	{words: "context:alias:create:application", fields: fieldsID, under: []string{"context:alias:create"}},
	{words: "context:alias:create:identity", fields: fieldsID, context: true, under: []string{"context:alias:create"}},
	{words: "context:alias:list", also: []string{"alias:list"}, fields: fieldsID, context: true, under: []string{"context:alias"}},
	{words: "context:alias:list:context", fields: fieldsID, context: true, under: []string{"context:alias:list"}},
	{words: "context:alias:list:application", fields: fieldsID, under: []string{"context:alias:list"}},
	{words: "context:alias:list:identity", fields: fieldsID, context: true, under: []string{"context:alias:list"}},
	{words: "context:alias:lookup", also: []string{"alias:lookup"}, fields: fieldsID, context: true, under: []string{"context:alias"}},
	{words: "context:alias:lookup:context", fields: fieldsID, context: true, under: []string{"context:alias:lookup"}},
	{words: "context:alias:lookup:application", fields: fieldsID, under: []string{"context:alias:lookup"}},
	{words: "context:alias:lookup:identity", fields: fieldsID, context: true, under: []string{"context:alias:lookup"}},
	{words: "context:alias:delete", also: []string{"alias:delete"}, fields: fieldsID, context: true, under: []string{"context:alias"}},
	{words: "context:alias:delete:context", fields: fieldsID, context: true, under: []string{"context:alias:delete"}},
	{words: "context:alias:delete:application", fields: fieldsID, under: []string{"context:alias:delete"}},
	{words: "context:alias:delete:identity", fields: fieldsID, context: true, under: []string{"context:alias:delete"}},

	{words: "application"},
	{words: "application:list", fields: fieldsID},
	{words: "application:install", fields: fieldsID},
	{words: "application:uninstall", fields: fieldsID},

	{words: "package"},
	{words: "package:list-packages", fields: fieldsID},
	{words: "package:list-versions", fields: fieldsID},
	{words: "package:get-latest-version", fields: fieldsID},

	{words: "blob"},
	{words: "blob:add", fields: fieldsID},
	{words: "blob:add:stream", fields: fieldsID, under: []string{"blob:add"}},
	{words: "blob:add:file", fields: fieldsID, under: []string{"blob:add"}},
	{words: "blob:add:url", fields: fieldsID, under: []string{"blob:add"}},
	{words: "blob:remove", fields: fieldsID},
	{words: "blob:list", fields: fieldsID},
	{words: "blob:get", fields: fieldsID},

	{words: "namespace"},
	{words: "namespace:create", fields: fieldsID},
	{words: "namespace:list", fields: fieldsID},
	{words: "namespace:manage", fields: fieldsID},

	{words: "group"},
	{words: "group:create", fields: fieldsID},
	{words: "group:list", fields: fieldsID},
	{words: "group:manage", fields: fieldsID},
}

// What follows from the table.
var (
	spellings  = spell()          // words to action, bindings excluded
	implied    = imply()          // [a] = the other actions that a covers
	candidates = inverse(implied) // [a] = the actions whose entries in a Set can cover a
)

func spell() map[string]action {
	m := map[string]action{table[admin].words: admin}
	for a := firstOrdinary; int(a) < len(table); a++ {
		m[table[a].words] = a
		for _, other := range table[a].also {
			m[other] = a
		}
	}
	return m
}

// imply follows the table's "under" links and the bare resources, transitively.
func imply() [len(table)]actionSet {
	words := spell()
	var sets [len(table)]actionSet
	var mark func(wider, a action)
	mark = func(wider, a action) {
		sets[wider].add(a)
		for _, w := range table[wider].under {
			mark(words[w], a)
		}
	}
	for a := firstOrdinary; int(a) < len(table); a++ {
		if resource, _, bare := strings.Cut(table[a].words, ":"); bare {
			sets[words[resource]].add(a)
		}
		for _, w := range table[a].under {
			mark(words[w], a)
		}
	}
	return sets
}

// inverse leaves out the pairs that lose a field: NewSet writes those out as entries of their own.
func inverse(sets [len(table)]actionSet) [len(table)]actionSet {
	var inv [len(table)]actionSet
	for a := firstOrdinary; int(a) < len(table); a++ {
		inv[a].add(a)
		for b := range sets[a].all {
			if table[a].fields <= table[b].fields {
				inv[b].add(a)
			}
		}
	}
	return inv
}

// resources are the known first words, for error messages.
func resources() []string {
	var names []string
	for w := range spellings {
		first, _, _ := strings.Cut(w, ":")
		names = append(names, first)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// actionSet is a set of actions as bits.
type actionSet [2]uint64

func (s *actionSet) add(a action)     { s[a/64] |= 1 << (a % 64) }
func (s actionSet) has(a action) bool { return s[a/64]&(1<<(a%64)) != 0 }

func (s actionSet) and(t actionSet) actionSet { return actionSet{s[0] & t[0], s[1] & t[1]} }
func (s actionSet) empty() bool               { return s[0]|s[1] == 0 }

// all yields the members in order.
func (s actionSet) all(yield func(action) bool) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			if !yield(action(i*64 + bits.TrailingZeros64(w))) { //nolint:gosec // at most 127
				return
			}
		}
	}
}
