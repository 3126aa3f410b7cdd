package gate

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/calimero-network/mero-go/pkg/route"
)

// ErrNarrowed says that a token is still good, but for less or for a shorter time than when it was admitted.
var ErrNarrowed = errors.New("the rights behind the token were narrowed")

// Lease is a session that lasts longer than one request, because its request opened a stream. It keeps the token's
// text in memory, as the open request does anyway. It is safe for concurrent use.
type Lease struct {
	sessions *Sessions
	raw      string
	match    route.Match
	enforced bool
	session  atomic.Pointer[Session]
}

// Lease returns the lease of what [Gate.Guard] returned for r, nil without a session.
func (g *Gate) Lease(r *http.Request, s *Session, match *route.Match) *Lease {
	if s == nil {
		return nil
	}
	path, query, err := route.Canonical(r.RequestURI)
	raw, err := g.credential(r.Header, path, query, err == nil)
	if err != nil {
		return nil
	}
	l := &Lease{sessions: g.Sessions, raw: raw, match: *match, enforced: g.EnforcesPermissions}
	l.session.Store(s)
	return l
}

// Check returns nil while the token would still be admitted with the rights that it had, else the refusal that a
// request would get now, or [ErrNarrowed]. Without a change it costs three atomic loads. It does not count as use of
// the session, and does not look at the time: the session names its end.
func (l *Lease) Check(ctx context.Context) error {
	old := l.session.Load()
	if old.current(l.sessions.SecretEpoch()) {
		return nil
	}
	fresh, err := l.sessions.verify(ctx, l.raw)
	switch {
	case err != nil:
		return err
	case fresh.header.permissions != old.header.permissions || fresh.exactExpiry < old.exactExpiry || !fresh.Rights.Meets(&l.match, l.enforced):
		return ErrNarrowed
	}
	l.session.Store(fresh)
	return nil
}
