// Package guard decides whether a request reaches a handler, and as whom.
//
// In auth mode proxy the decision falls in this order, and the first step that applies ends it:
//
//  1. A real CORS preflight is answered by the transport; no handler is reached.
//  2. A target that is not canonical has no route: 404, never a redirect to another spelling.
//  3. A public route is served to GET and HEAD without an identity, whatever headers came along.
//  4. A peer that is not trusted is nobody: 401.
//  5. The identity headers must name one key in one way (headers.go): 401.
//  6. The gate's assertion must cover exactly these headers, this method and this raw target: 401. Where
//     assertions are not required, the Host header must be an allowed one instead: 403.
//  7. The permissions must allow the route, by the same table as at the gate: 403. A request without a route is
//     for admin.
//
// In auth mode embedded steps 3 to 7 are those of mero-auth's gate, which runs in this process: a public route shows a
// good credential's identity and asks for none, everything else needs a bearer token, for this host, whose key allows the
// route. No header speaks for the caller: all that could be taken for an identity is removed.
//
// In auth mode none everybody who reaches the listener is the operator, so the checks are against web pages that
// make a browser on the same machine call it: a foreign Host (DNS rebinding) or Origin is 403, before all else.
//
// X-Forwarded-*, Forwarded, method overrides and trailers are never read.
package guard

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
)

// Guard holds the rules of one listener. Its fields are set before the first decision and not changed; it is
// then safe for concurrent use.
type Guard struct {
	Table *route.Table
	// Prefix was removed from the target of the requests, after they arrived: the gate has seen it.
	Prefix string
	// Open selects auth mode none.
	Open bool
	// Embedded selects auth mode embedded: it decides about the request and fills in the row that it did so by.
	Embedded func(r *http.Request, match *route.Match) (caller.Caller, error)
	// TrustedPeers may send identity headers.
	TrustedPeers []netip.Prefix
	// Header is the name of the header with the key id.
	Header string
	// Assertions verifies the gate's signatures; nil if none are required.
	Assertions Verifier
	Bind       assertion.Bind
	Leeway     time.Duration // difference of the clocks that is tolerated
	MaxTTL     time.Duration // longest validity of an assertion
	// AllowedHosts may be named by Host besides loopback names, where Host is checked.
	AllowedHosts []string
	// StreamMaxAge stands in for the token's expiry where that is not signed.
	StreamMaxAge time.Duration
	Now          func() time.Time
}

// Verifier checks assertions of one version: [assertion.File] those of version 1 with a key that the gate shares,
// [assertion.Published] those of version 2 with the gate's public keys.
type Verifier interface {
	Verify(header string, c assertion.Claim, leeway, maxTTL time.Duration) error
}

// Decision is what a request may do.
type Decision struct {
	// Preflight says that the request is to be answered by the CORS rules alone.
	Preflight bool
	Match     route.Match
	Caller    caller.Caller
}

// Decide judges a request by what arrived; it reads no body. In auth mode embedded it removes the identity headers of r,
// and a failure of the store is an error of class Internal. Else the error is a [*fault.Error] of class NotFound,
// Unauthenticated or Forbidden; its Reason is the word for X-Auth-Error, its cause is for the log and free of
// secrets. The Match of the returned decision is valid also with an error, for the log.
func (g *Guard) Decide(r *http.Request) (Decision, error) {
	var d Decision
	if g.Open {
		if err := g.local(r); err != nil {
			return d, err
		}
	}
	if cors.IsPreflight(r.Method, r.Header) {
		d.Preflight = true
		return d, nil
	}
	if g.Embedded != nil {
		DropIdentity(r.Header)
		var err error
		d.Caller, err = g.Embedded(r, &d.Match)
		return d, err
	}
	path, _, err := route.Canonical(r.RequestURI)
	if err != nil {
		return d, fault.Wrap(err, fault.NotFound, "no such route")
	}
	d.Match, _ = g.Table.Lookup(r.Method, path)
	switch {
	case g.Open:
		d.Caller = caller.Caller{Permissions: operator, Local: true}
		return d, nil
	case d.Match.Public() && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return d, nil
	}
	if d.Caller, err = g.identify(r); err != nil {
		return d, err
	}
	if !d.Match.Allowed(d.Caller.Permissions, true) {
		return d, fault.New(fault.Forbidden, "permission denied").Because(identity.PermissionDenied)
	}
	return d, nil
}

var operator = permission.NewSet([]string{"admin"})

// identify runs steps 4 to 6.
func (g *Guard) identify(r *http.Request) (caller.Caller, error) {
	if !g.trusted(r.RemoteAddr) {
		return caller.Caller{}, refuse(identity.MissingToken, fmt.Errorf("%w: %s", errPeer, r.RemoteAddr))
	}
	h, err := readHeaders(r, g.Header)
	if err != nil {
		reason := identity.InvalidToken
		if h.empty() {
			reason = identity.MissingToken
		}
		return caller.Caller{}, refuse(reason, err)
	}
	c := caller.Caller{Key: h.key, Permissions: permission.NewSet(permission.Split(h.permissions))}
	if g.Assertions == nil {
		if err := g.host(r, g.AllowedHosts); err != nil {
			return caller.Caller{}, err
		}
		// Nobody vouches for X-Auth-Expires here.
		c.Expires = g.Now().Add(g.StreamMaxAge)
		return c, nil
	}
	claim := assertion.Claim{
		Bind: g.Bind, Key: h.key, Permissions: h.permissions, Expires: h.expires, Method: r.Method, Target: g.Prefix + r.RequestURI,
	}
	if err := g.Assertions.Verify(h.assertion, claim, g.Leeway, g.MaxTTL); err != nil {
		return caller.Caller{}, refuse(identity.InvalidToken, err)
	}
	if h.expires != "" {
		seconds, err := strconv.ParseInt(h.expires, 10, 64)
		if err != nil || seconds <= 0 {
			return caller.Caller{}, refuse(identity.InvalidToken, fmt.Errorf("%s is no Unix time", identity.HeaderExpires))
		}
		c.Expires = time.Unix(seconds, 0)
	}
	return c, nil
}

func refuse(reason string, cause error) error {
	return fault.Wrap(cause, fault.Unauthenticated, "authentication required").Because(reason)
}

// trusted reports whether a peer address (host:port) may send identity headers.
func (g *Guard) trusted(remote string) bool {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	ip := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(g.TrustedPeers, func(p netip.Prefix) bool { return p.Contains(ip) })
}
