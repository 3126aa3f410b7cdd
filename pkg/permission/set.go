package permission

import (
	"slices"
	"strings"
)

// Set is a list of permissions prepared for many decisions. It is immutable and safe for concurrent use; its
// methods do not allocate, except Identities.
type Set struct {
	admin        bool
	actions      actionSet    // the actions of grants
	grants       []Permission // sorted; with what they grant of actions that have fewer fields
	contexts     []Permission // context bindings, sorted; empty = not bound
	applications []Permission // application bindings, sorted; empty = not bound
}

// NewSet prepares a list. Strings that do not parse grant nothing; a malformed binding leaves nothing reachable
// through it (see the package comment).
func NewSet(list []string) *Set {
	s := &Set{grants: make([]Permission, 0, len(list))}
	for _, text := range list {
		if p, _, ok := read(text); ok {
			s.add(p)
		}
	}
	for _, list := range []*[]Permission{&s.grants, &s.contexts, &s.applications} {
		slices.SortFunc(*list, compare)
		*list = slices.Compact(*list)
	}
	for i := range s.grants {
		s.actions.add(s.grants[i].action)
	}
	return s
}

// add puts p where it belongs, with what it grants of narrower actions that lookups would not find.
func (s *Set) add(p Permission) {
	switch p.action {
	case admin:
		s.admin = true
	case contextBinding:
		s.contexts = append(s.contexts, p)
	case applicationBinding:
		s.applications = append(s.applications, p)
	default:
		s.grants = append(s.grants, p)
		for a := range implied[p.action].all {
			if q, ok := p.as(a); ok && table[a].fields < table[p.action].fields {
				s.grants = append(s.grants, q)
			}
		}
	}
}

// Admin reports whether the list holds admin, which covers everything and overrides the bindings beside it.
func (s *Set) Admin() bool { return s.admin }

// Allows decides a request: some permission of the list covers required, and the context bindings do not
// exclude it. Nothing requires a binding, so a required binding, like the zero value, is for admin only.
//
// The bindings exclude what names another context, or the bound one with another identity. What names no
// context (context:create, context:list, what a path does not tell) is not excluded here, and neither is what
// names the bound context without saying as which identity: the gate sees only the path, and the node asks
// again with everything resolved. See [Set.AllowsEverywhere] where nobody asks again.
func (s *Set) Allows(required Permission) bool {
	return s.admin || s.covers(required) && s.reaches(required)
}

// AllowsAnyScope reports whether the list holds the action of required at least for some object, user and method.
// It is for routes whose object only the node knows (POST /jsonrpc); whatever limits required has itself are
// ignored, and so are bindings.
func (s *Set) AllowsAnyScope(required Permission) bool {
	return s.admin || !s.actions.and(candidates[required.action]).empty()
}

// AllowsEverywhere is [Set.Allows] for a requirement that must hold for all contexts, because nobody will check
// later which one is meant: a list with a context binding never meets one that is about contexts.
func (s *Set) AllowsEverywhere(required Permission) bool {
	return s.admin || s.covers(required) && (len(s.contexts) == 0 || !table[required.action].context)
}

// AllowsApplication reports whether the application bindings of the list let its holder use contexts of the
// application id.
func (s *Set) AllowsApplication(id string) bool {
	return s.admin || len(s.applications) == 0 ||
		contains(s.applications, Permission{action: applicationBinding, id: id})
}

// AllowsContext reports whether the context bindings of the list leave the context id in reach, whatever the list grants
// there. It is for requests whose own permission is not about contexts and that name one all the same.
func (s *Set) AllowsContext(id string) bool {
	if s.admin || len(s.contexts) == 0 {
		return true
	}
	i, bound := slices.BinarySearchFunc(s.contexts, Permission{action: contextBinding, id: id}, compare)
	return bound || i < len(s.contexts) && s.contexts[i].id == id
}

// MayGrant reports whether the holder of the list may put p into the list of a key below its own: it holds p
// itself, or p is a binding that stays within its own. The holder's bindings need not be repeated there, as
// every decision asks the lists of both keys. The zero value is nobody's to grant.
func (s *Set) MayGrant(p Permission) bool {
	switch {
	case p.action == none:
		return false
	case s.admin:
		return true
	case p.action == contextBinding:
		return len(s.contexts) == 0 || contains(s.contexts, p) || contains(s.contexts, Permission{action: contextBinding, id: p.id})
	case p.action == applicationBinding:
		return len(s.applications) == 0 || contains(s.applications, p)
	default:
		return s.Allows(p)
	}
}

// Identities tells the node as whom the holder may do what required stands for, when the request names no
// identity: unlimited is true if any will do, otherwise ids are the identities for which Allows(required.As(id))
// holds, sorted; none means that it is not allowed at all.
func (s *Set) Identities(required Permission) (ids []string, unlimited bool) {
	if table[required.action].fields < fieldsUser || required.user != "" {
		return nil, s.Allows(required)
	}
	bound := len(s.contexts) > 0 && required.id != "" && !contains(s.contexts, Permission{action: contextBinding, id: required.id})
	if s.admin || s.covers(required) && !bound {
		return nil, true
	}
	for _, held := range [][]Permission{s.grants, s.contexts} {
		for _, p := range held {
			if p.user != "" && !slices.Contains(ids, p.user) {
				ids = append(ids, p.user)
			}
		}
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !s.Allows(required.As(id)) })
	slices.Sort(ids)
	return ids, false
}

// Reaches reports whether the context bindings of the list leave an identity of a context in reach of its holder. It
// says nothing about what the holder may do there; that is for actions that name no identity but are done as one.
func (s *Set) Reaches(context, identity string) bool {
	return s.admin || s.reaches(Permission{action: spellings["context:execute"], id: context, user: identity})
}

// reaches reports whether the context bindings leave required in reach.
func (s *Set) reaches(required Permission) bool {
	if len(s.contexts) == 0 || required.id == "" || !table[required.action].context {
		return true
	}
	wanted := Permission{action: contextBinding, id: required.id}
	i, found := slices.BinarySearchFunc(s.contexts, wanted, compare)
	switch {
	case found:
		return true // bound to the context as anyone
	case required.user == "":
		return i < len(s.contexts) && s.contexts[i].id == required.id
	default:
		wanted.user = required.user
		return contains(s.contexts, wanted)
	}
}

// covers reports whether one of the grants covers required. It looks up each of the few entries that would.
func (s *Set) covers(required Permission) bool {
	for a := range s.actions.and(candidates[required.action]).all {
		if s.holds(a, required) {
			return true
		}
	}
	return false
}

// holds reports whether an entry with action a, which covers required's action, is at least as wide.
func (s *Set) holds(a action, required Permission) bool {
	wider := Permission{action: a}
	for {
		if contains(s.grants, wider) {
			return true
		}
		if !wider.next(required, table[a].fields) {
			return false
		}
	}
}

// next steps through the combinations of "any" and required's own value in the first n fields, as an odometer
// does, and reports false after the last one.
func (p *Permission) next(required Permission, n int) bool {
	digits := [...]*string{&p.id, &p.user, &p.method}
	values := [...]string{required.id, required.user, required.method}
	for i, digit := range digits[:n] {
		if *digit == "" && values[i] != "" {
			*digit = values[i]
			return true
		}
		*digit = ""
	}
	return false
}

func contains(sorted []Permission, p Permission) bool {
	_, found := slices.BinarySearchFunc(sorted, p, compare)
	return found
}

// compare orders by action, id, user, method.
func compare(p, q Permission) int {
	if c := int(p.action) - int(q.action); c != 0 {
		return c
	}
	if c := strings.Compare(p.id, q.id); c != 0 {
		return c
	}
	if c := strings.Compare(p.user, q.user); c != 0 {
		return c
	}
	return strings.Compare(p.method, q.method)
}
