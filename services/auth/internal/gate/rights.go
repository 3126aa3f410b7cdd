package gate

import (
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
)

// Rights are the lists that bound what a token may do: its own, its key's and, for a client key, the root's.
// Something is allowed when each list allows it. Without a list nothing is.
type Rights []*permission.Set

// Admin reports whether every list holds admin.
func (r Rights) Admin() bool {
	for _, set := range r {
		if !set.Admin() {
			return false
		}
	}
	return len(r) > 0
}

// Allows reports whether every list covers required.
func (r Rights) Allows(required permission.Permission) bool {
	for _, set := range r {
		if !set.Allows(required) {
			return false
		}
	}
	return len(r) > 0
}

// MayGrant reports whether every list may hand p on: nobody grants what they do not hold.
func (r Rights) MayGrant(p permission.Permission) bool {
	for _, set := range r {
		if !set.MayGrant(p) {
			return false
		}
	}
	return len(r) > 0
}

// Meets reports whether every list meets what the row of a request asks for; see [route.Match.Allowed].
func (r Rights) Meets(m *route.Match, enforced bool) bool {
	for _, set := range r {
		if !m.Allowed(set, enforced) {
			return false
		}
	}
	return len(r) > 0
}
