// Package gate answers the proxy's question: may this request reach the node, and as whom?
//
// The order of a decision is fixed (each step refuses before the next is looked at):
//
//	peer and header family   403 invalid_target
//	preflight, public route  200
//	credential               401 missing_token, invalid_token, token_expired, token_revoked
//	node_url                 403 invalid_node
//	canonical form           403 invalid_target
//	permission               403 permission_denied
//
// Everything fails closed: what is missing, doubled or not understood is a refusal. On the hot path (a token
// that was seen before) nothing touches the disk, takes a lock or logs.
package gate

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
)

// maxCredential is the longest token in bytes; longer ones are refused before they are hashed.
const maxCredential = 8 << 10

// Gate decides. Set the exported fields before use.
type Gate struct {
	Sessions            *Sessions
	Table               *route.Table
	Assertions          Signer
	AssertionTTL        time.Duration
	AssertionBind       assertion.Bind
	TrustedProxies      []netip.Prefix
	QueryTokenPaths     []string
	AllowPreflight      bool
	PlainProxy          Form // what a target on the plain address means; Probe refuses it
	EnforcesPermissions bool // the node checks objects that only it can see
	NodeHosts           []string
	Now                 func() time.Time
	Log                 *slog.Logger

	plainWarned, listWarned warnLimit
}

// Signer signs what the node is told: [assertion.File] with a key that the node shares, or the published keys.
type Signer interface {
	Sign(c assertion.Claim, exp time.Time) string
}

// Decision is an allowed question.
type Decision struct {
	Form      Form
	Session   *Session // nil for a preflight and for a public route without a good credential
	Assertion string   // for the node; empty where the node serves without identity
}

var (
	errNode       = fault.New(fault.Forbidden, "the token is not valid for this host").Because(identity.InvalidNode)
	errPermission = fault.New(fault.Forbidden, "permission denied").Because(identity.PermissionDenied)
)

// Decide answers r. On a refusal the error is a *[fault.Error] with a reason, and Decision.Form says how the
// question was put.
func (g *Gate) Decide(r *http.Request) (Decision, error) {
	form, err := g.parseForm(r)
	if err != nil {
		return Decision{Form: form}, err
	}
	form, t, err := g.resolve(r, form)
	d := Decision{Form: form}
	if err != nil {
		return d, err
	}
	if form == Probe {
		d.Session, err = g.probe(r)
		return d, err
	}
	var match route.Match
	now := g.Now()
	session, open, err := g.judge(r, &t, &match, now)
	if err != nil {
		return d, err
	}
	if d.Session = session; !open {
		d.Assertion = g.assert(session, &t, now.Add(g.AssertionTTL))
	}
	return d, nil
}

// Guard decides about a request to the node, in the process of the node: like Decide, but the target is that of r
// itself and nothing is signed. It fills in the row that the request was judged by; the session is nil on a public
// route without a good credential.
func (g *Gate) Guard(r *http.Request, match *route.Match) (*Session, error) {
	session, _, err := g.judge(r, &target{uri: r.RequestURI, method: r.Method, host: g.RequestHost(r)}, match, g.Now())
	return session, err
}

// judge decides about a target with the credential of r. open says that it needs none: a preflight or a public route.
func (g *Gate) judge(r *http.Request, t *target, match *route.Match, now time.Time) (s *Session, open bool, err error) {
	path, query, canonicalErr := route.Canonical(t.uri)
	canonical := canonicalErr == nil
	if canonical { // what is not canonical has no row and is for admin only
		if g.AllowPreflight && cors.IsPreflight(t.method, r.Header) {
			return nil, true, nil
		}
		if *match, _ = g.Table.Lookup(t.method, path); match.Public() {
			return g.optional(r, t.host), true, nil
		}
	}
	raw, err := g.credential(r.Header, path, query, canonical)
	if err != nil {
		return nil, false, err
	}
	session, err := g.Sessions.authenticate(r.Context(), raw, now.Unix())
	if err != nil {
		return nil, false, err
	}
	switch {
	case !g.HostAllowed(session.Node, t.host):
		return nil, false, errNode
	case !canonical:
		return nil, false, fault.Wrap(canonicalErr, errTarget.Code, errTarget.Message).Because(errTarget.Reason)
	case !session.header.fits():
		return nil, false, g.refuseList(r.Context(), session)
	case !session.Rights.Meets(match, g.EnforcesPermissions):
		return nil, false, errPermission
	}
	return session, false, nil
}

// refuseList refuses a session whose permissions do not fit into a header, and says so to the operator, who alone
// can shorten the list. A cut list could lose a binding, and so widen.
func (g *Gate) refuseList(ctx context.Context, s *Session) error {
	if g.listWarned.ready(g.Now()) {
		g.Log.ErrorContext(ctx, "the permissions of a key do not fit into a header: every request with it is refused",
			"key_id", s.KeyID, "bytes", len(s.header.permissions[0]), "limit", maxHeaderPermissions)
	}
	return errPermission
}

// probe answers the plain form: who is this token?
func (g *Gate) probe(r *http.Request) (*Session, error) {
	raw, err := g.credential(r.Header, "", "", false)
	if err != nil {
		return nil, err
	}
	session, err := g.Admit(r.Context(), raw, g.RequestHost(r))
	switch {
	case err != nil:
		return nil, err
	case !session.header.fits():
		return nil, g.refuseList(r.Context(), session)
	case g.PlainProxy != Probe:
		return nil, nil // a proxy that lost the target must not learn an identity to inject
	}
	return session, nil
}

// Admit verifies a credential that was presented to mero-auth itself, at host.
func (g *Gate) Admit(ctx context.Context, raw, host string) (*Session, error) {
	session, err := g.Sessions.Authenticate(ctx, raw)
	if err != nil {
		return nil, err
	}
	if !g.HostAllowed(session.Node, host) {
		return nil, errNode
	}
	return session, nil
}

// optional returns the caller's session on a route that needs none.
func (g *Gate) optional(r *http.Request, host string) *Session {
	raw, err := g.credential(r.Header, "", "", false)
	if err != nil {
		return nil
	}
	session, err := g.Sessions.Authenticate(r.Context(), raw)
	if err != nil || !g.HostAllowed(session.Node, host) || !session.header.fits() {
		return nil
	}
	return session
}

// Bearer returns the token of the Authorization header.
func (g *Gate) Bearer(h http.Header) (string, error) { return g.credential(h, "", "", false) }

// credential returns the one token of the question: the Bearer of Authorization or, on the paths of streams
// whose browser clients cannot set headers, the token parameter of the target (RFC 6750 sections 2.1, 2.3).
func (g *Gate) credential(h http.Header, path, query string, canonical bool) (string, error) {
	values := h["Authorization"]
	if len(values) > 1 {
		return "", errInvalid
	}
	if len(values) == 1 {
		scheme, rest, _ := strings.Cut(strings.Trim(values[0], " \t"), " ")
		if strings.EqualFold(scheme, "Bearer") {
			return credentialText(strings.Trim(rest, " \t"))
		}
	}
	if canonical && query != "" {
		for _, allowed := range g.QueryTokenPaths {
			if path == allowed {
				return queryToken(query)
			}
		}
	}
	return "", errMissing
}

// queryToken returns the value of the one token parameter, compared byte for byte: a token needs no escapes,
// and a reader that decodes names could see another one.
func queryToken(query string) (string, error) {
	text, found := "", false
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(pair, "="); name == "token" {
			if found {
				return "", errInvalid
			}
			text, found = value, true
		}
	}
	if !found {
		return "", errMissing
	}
	return credentialText(text)
}

func credentialText(text string) (string, error) {
	if text == "" || len(text) > maxCredential {
		return "", errInvalid
	}
	return text, nil
}

// assert signs what the node will be told, for the method and target that it will receive, until exp.
func (g *Gate) assert(s *Session, t *target, exp time.Time) string {
	return g.Assertions.Sign(assertion.Claim{
		Bind:        g.AssertionBind,
		Key:         s.KeyID,
		Permissions: s.header.permissions[0],
		Expires:     s.header.expires[0],
		Method:      t.method,
		Target:      t.uri,
	}, exp)
}

var none = []string{""}

// WriteIdentity sets every identity header of an allowed question, empty where unknown, so that a proxy that
// copies only what it finds can never pass a client's own value on. To a probe the key and the assertion stay
// empty: a node behind a proxy that asks the probe by mistake refuses everybody.
func (d Decision) WriteIdentity(h http.Header) {
	key, user, permissions, expires, proof := none, none, none, none, none
	if d.Session != nil {
		header := &d.Session.header
		user, permissions, expires = header.key[:], header.permissions[:], header.expires[:]
		if d.Form != Probe {
			key = user
		}
		if d.Assertion != "" {
			proof = []string{d.Assertion}
		}
	}
	h[identity.HeaderKey], h[identity.HeaderUser] = key, user
	h[identity.HeaderPermissions], h[identity.HeaderExpires] = permissions, expires
	h[identity.HeaderAssertion] = proof
}

// WriteAdmin sets the headers with which answers of the administration routes name the caller.
func (s *Session) WriteAdmin(h http.Header) {
	h[identity.HeaderUser] = s.header.key[:]
	if len(s.Permissions) > 0 && s.header.fits() {
		h[identity.HeaderPermissions] = s.header.permissions[:]
	}
}
