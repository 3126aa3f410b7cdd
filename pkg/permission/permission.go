// Package permission is the permission language that keys, tokens, routes and the node share.
//
// A permission names an action and may limit it to one object, one user and one method. It has two
// spellings, which parse to the same value:
//
//	context:execute[ctx-1,alice,set]        resource:action[:sub][id[,user[,method]]]
//	context:execute:specific:ctx-1          resource:action[:sub]:global, resource:action[:sub]:specific:ID
//
// An absent or empty field and * mean "any". A bare resource ("blob") stands for all its actions, "admin" for
// everything. The actions are the rows of one table in actions.go.
//
// # Covering
//
// A permission covers another one when the other asks for nothing more: any id covers every id, an id only the
// same id, and so on for user and method; a limited permission never covers an unlimited one. Across actions a
// bare resource covers its actions, context:list covers context:read, blob:add its kinds, context:alias the
// verbs and kinds of alias, and context:execute covers context:subscribe, context:sync, context:join and
// context:leave of the same context unless it is limited to a method. A limit to a user survives where the
// covered action has a user (context:leave) and is dropped where it has none.
//
// # Bindings
//
// context[ctx] and context[ctx,identity] grant nothing. They narrow the list that holds them: when there is one,
// a context: permission that names a context reaches only the bound contexts (several bindings are
// alternatives). See [Set.Allows] for the exact rule. application-binding[app] does the same for the
// applications whose contexts the node serves, see [Set.AllowsApplication]; the gate cannot judge it.
//
// # Strings that do not parse
//
// They are refused when written ([Validate]) and grant nothing when read. One that looks like a binding must not
// disappear, because dropping it would widen the list: it is read as a binding to a context that does not
// exist, spelled context[!] wherever lists are written out, so that no context is reachable through it. The
// exceptions are context[*] and application-binding[*], which say "any" and hence narrow nothing.
package permission

import "strings"

// Limits of the language and of the lists that are written.
const (
	MaxLength = 256  // bytes of one permission
	MaxID     = 128  // bytes of an id, user or method
	MaxCount  = 64   // permissions of one key
	MaxJoined = 2048 // bytes of a key's permissions as joined by Join
)

// Permission is one parsed permission. It is an immutable value; == compares what it means, not how it was
// spelled. The zero value is no permission: as a grant it covers nothing, as a requirement only admin covers it.
type Permission struct {
	action action
	id     string // "" = any
	user   string // "" = any
	method string // "" = any
}

// String returns the canonical bracket spelling: Parse(p.String()) is p for every p that Parse returned.
// The zero value gives "".
func (p Permission) String() string {
	fields := [...]string{p.id, p.user, p.method}
	n := len(fields)
	for n > 0 && fields[n-1] == "" {
		n--
	}
	words := table[p.action].words
	if n == 0 {
		return words
	}
	return words + "[" + strings.Join(fields[:n], ",") + "]"
}

// Covers reports whether a holder of p may do everything that q stands for. It is reflexive (except for the zero
// value) and transitive. A binding covers only narrower bindings of its kind, and only admin covers admin.
func (p Permission) Covers(q Permission) bool {
	if p.action == admin {
		return true
	}
	if p.action == none {
		return false
	}
	if p.action != q.action {
		var ok bool
		if p, ok = p.as(q.action); !ok {
			return false
		}
	}
	return (p.id == "" || p.id == q.id) &&
		(p.user == "" || p.user == q.user) &&
		(p.method == "" || p.method == q.method)
}

// as returns what p grants of the different action a.
func (p Permission) as(a action) (Permission, bool) {
	if !implied[p.action].has(a) || p.method != "" {
		return Permission{}, false
	}
	p.action = a
	if table[a].fields < fieldsUser {
		p.user = ""
	}
	return p, true
}

// IsBinding reports whether p narrows the list that holds it instead of granting something.
func (p Permission) IsBinding() bool {
	return p.action == contextBinding || p.action == applicationBinding
}

// On returns p limited to the object id, to turn the permission of a route into that of a request. If id is
// empty or not an id, or the action takes none, it returns the zero value, which only admin covers.
func (p Permission) On(id string) Permission {
	if table[p.action].fields < fieldsID || !validID(id) {
		return Permission{}
	}
	p.id = id
	return p
}

// As returns p limited to the acting identity user; the zero value in the cases of [Permission.On].
func (p Permission) As(user string) Permission {
	if table[p.action].fields < fieldsUser || !validID(user) {
		return Permission{}
	}
	p.user = user
	return p
}

// Calling returns p limited to one method of the application; the zero value in the cases of [Permission.On].
func (p Permission) Calling(method string) Permission {
	if table[p.action].fields < fieldsMethod || !validID(method) {
		return Permission{}
	}
	p.method = method
	return p
}

// validID reports whether s is a well-formed id, user or method: 1 to [MaxID] bytes of [A-Za-z0-9._~-].
func validID(s string) bool {
	return s != "" && len(s) <= MaxID && badIDByte(s) < 0
}

// badIDByte returns the offset of the first byte that no id has, or -1.
func badIDByte(s string) int {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			c != '-' && c != '.' && c != '_' && c != '~' {
			return i
		}
	}
	return -1
}
