// Package route holds the one route table: which request needs which permission.
//
// The gate, the embedded guard and merod all judge by it, and merod and mero-auth register their handlers from
// it, so that none of them can know a route or a requirement that the others do not.
//
// A request is judged in three steps:
//
//	path, _, err := route.Canonical(target) // one reading, or refused
//	m, _ := route.Node.Lookup(method, path) // the row, or none
//	ok := m.Allowed(set, enforced)          // what the row needs; without a row: admin
//
// The zero [Match], which Lookup returns for what it does not know, is for admin only. So is a row whose
// permission cannot name the id that the path holds.
//
// # Patterns
//
// A pattern is a canonical path in which a whole segment may be a parameter, {name}, and the last one may be
// {name...}, which takes the rest of the path, also an empty one. A parameter matches 1 to 128 bytes of
// [A-Za-z0-9._~-], but not "." and "..". Case counts. A slash at the end counts: /x and /x/ are two paths. Where
// several rows of the method match, the first segment in which they differ decides: literal before parameter,
// parameter before rest. HEAD is judged as GET; OPTIONS has no rows.
package route

import (
	"github.com/calimero-network/mero-go/pkg/permission"
)

// Guard says who may call a route.
type Guard uint8

const (
	// ByPermission asks for one of the row's needs. The zero value.
	ByPermission Guard = iota
	// Public asks for nothing. A valid credential still yields an identity.
	Public
	// AnyToken asks for a valid access token, with any or no permissions.
	AnyToken
	// OwnObject is AnyToken for what belongs to the caller's own key, and ByPermission for what belongs to
	// another one. [Match.Allowed] lets every token through; the handler, which alone knows whose the object
	// is, asks [Match.AllowedOnOthers].
	OwnObject
)

// Scope says where the object of a need is found, and so who can check a permission that is limited to one.
type Scope uint8

const (
	// ScopePath looks for the object in the path: it is the parameter in the need's brackets. A need without
	// brackets is about all objects, and only an unlimited permission meets it. The zero value.
	ScopePath Scope = iota
	// ScopeAny is content with a permission for any object: the node answers with what the caller may see, or
	// the request concerns no object yet.
	ScopeAny
	// ScopeNode leaves the object to the node, because it is in the body or has to be resolved. As ScopeAny if
	// the node checks the permission again on the resolved object, which its handler then must do; otherwise
	// only a permission for all objects will do.
	ScopeNode
)

// Need is one way to be allowed on a row.
type Need struct {
	// Permission is a permission without fields (context:list), or one whose only field is the name of a
	// parameter of the pattern (context:read[context_id]).
	Permission string
	Scope      Scope
}

// Row is one route.
type Row struct {
	Method  string // GET, POST, PUT, PATCH or DELETE
	Pattern string
	// Op is the stable name of the operation, under which handlers are registered: "blobs.put". It is unique
	// but for aliases, which take the Op of the row that they stand for.
	Op string
	// AliasOf is "METHOD pattern" of the row that this one is another spelling of: same handler, same Guard
	// and Needs. An alias may have further parameters.
	AliasOf string
	Guard   Guard
	Needs   []Need // any one of them is enough

	required []requirement // Needs, prepared by NewTable
	params   []string      // the names of the pattern's parameters in order
}

// String returns "METHOD pattern".
func (r *Row) String() string { return r.Method + " " + r.Pattern }

// requirement is a prepared Need.
type requirement struct {
	permission permission.Permission
	scope      Scope
	param      int // index of the parameter that limits it, -1 if none
}

// maxParams is the number of parameters that a pattern may have.
const maxParams = 3

// maxParam is the length of the longest value of a parameter in bytes; ids are no longer.
const maxParam = permission.MaxID

// Match is a request's row with the values of its parameters.
type Match struct {
	Row    *Row // nil if no row matches
	values [maxParams]string
}

// Param returns the value of a parameter of the row's pattern, or "" if the pattern has none of that name.
func (m *Match) Param(name string) string {
	if m.Row == nil {
		return ""
	}
	for i, p := range m.Row.params {
		if p == name {
			return m.values[i]
		}
	}
	return ""
}

// Public reports whether the request needs no credential.
func (m *Match) Public() bool { return m.Row != nil && m.Row.Guard == Public }

// Required returns the permissions of which one is enough, with the values of the path filled in; "admin" where nothing
// else will do. It is for people: decisions are made by [Match.Allowed].
func (m *Match) Required() []string {
	if m.Row == nil || len(m.Row.required) == 0 {
		return []string{"admin"}
	}
	texts := make([]string, 0, len(m.Row.required))
	for i := range m.Row.required {
		n := &m.Row.required[i]
		switch {
		case n.param < 0 || n.scope != ScopePath:
			texts = append(texts, n.permission.String())
		case n.permission.On(m.values[n.param]) != (permission.Permission{}):
			texts = append(texts, n.permission.On(m.values[n.param]).String())
		}
	}
	if len(texts) == 0 { // the path holds no id that a permission could name
		return []string{"admin"}
	}
	return texts
}

// Allowed decides whether the holder of a valid token with the given permissions may make the request. enforced
// says that the node will check the permissions again once it knows which objects are meant (design: our
// merod; node.enforces_permissions at the gate). Without a row only admin is allowed.
func (m *Match) Allowed(set *permission.Set, enforced bool) bool {
	if m.Row != nil && m.Row.Guard != ByPermission {
		return true
	}
	return m.AllowedOnOthers(set, enforced)
}

// AllowedOnOthers decides by the row's needs alone, for the handler of an [OwnObject] row once it knows that the
// object is another key's. A row without needs leaves it to admin.
func (m *Match) AllowedOnOthers(set *permission.Set, enforced bool) bool {
	if set.Admin() {
		return true
	}
	if m.Row == nil {
		return false
	}
	for i := range m.Row.required {
		if m.meets(&m.Row.required[i], set, enforced) {
			return true
		}
	}
	return false
}

func (m *Match) meets(n *requirement, set *permission.Set, enforced bool) bool {
	required := n.permission
	switch {
	case n.scope == ScopeAny, n.scope == ScopeNode && enforced:
		return set.AllowsAnyScope(required)
	case n.scope == ScopeNode:
		return set.AllowsEverywhere(required)
	case n.param >= 0:
		required = required.On(m.values[n.param]) // the zero value, for admin only, if that is no id
	}
	return set.Allows(required)
}
