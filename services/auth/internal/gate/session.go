package gate

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// maxHeaderPermissions bounds the joined permission list that goes to the node: nginx's default buffer for the
// gate's whole header block is 4 KiB.
const maxHeaderPermissions = 2048

// Session is a verified access token together with the live rights of its key. Only [Sessions.Authenticate]
// makes one; it is immutable and shared between requests.
type Session struct {
	KeyID       string
	KeyType     store.KeyType
	RootID      string // the root key that the rights come from; KeyID for a root key
	Family      string
	Expires     int64             // Unix seconds; the earliest of token and keys
	Permissions []string          // what token, key and root all cover, verbatim: the list that the node gets
	Rights      Rights            // the three lists on their own, for decisions
	Node        NodeBinding       // host that the token is bound to
	header      sessionHeader     // header values, prepared once
	live        *store.LiveFamily // shared by all tokens of the family
	basis       store.Basis       // what the session depends on
	secretEpoch uint64            // of the signing secrets, read before the token was verified
	hash        [sha256.Size]byte
	issuedAt    int64              // of the token, Unix seconds
	exactExpiry int64              // Unix seconds at which the session is over, leeway included
	idle        int64              // seconds without use after which it is over
	lists       [3]*permission.Set // room for Rights
}

// sessionHeader holds the values of the identity headers in the form that net/http stores them, so that
// writing them allocates nothing.
type sessionHeader struct{ key, permissions, expires [1]string }

// fits reports whether the permissions can go into a header.
func (h *sessionHeader) fits() bool { return len(h.permissions[0]) <= maxHeaderPermissions }

// Sessions turns token texts into sessions. It keeps a bounded cache of verified tokens that a change of the
// family, the key, its root or the signing secrets outdates at once. Set the exported fields before use.
type Sessions struct {
	Store       *store.Store
	Tokens      *token.Codec
	SecretEpoch func() uint64 // changes whenever a signing secret comes or goes
	Leeway      time.Duration // tolerance for exp, the codec's
	Now         func() time.Time

	cache        cache
	hits, misses counter
}

// Counts returns how many look-ups the cache answered and how many it did not.
func (s *Sessions) Counts() (hits, misses uint64) { return s.hits.Load(), s.misses.Load() }

// Authenticate verifies an access token and reads the live rights of its key. The error is a *[fault.Error]
// with a reason of package identity, or internal when the store fails.
func (s *Sessions) Authenticate(ctx context.Context, raw string) (*Session, error) {
	return s.authenticate(ctx, raw, s.Now().Unix())
}

// authenticate is Authenticate at a time, in Unix seconds, for callers that have looked at the clock.
func (s *Sessions) authenticate(ctx context.Context, raw string, now int64) (*Session, error) {
	hash := digest(raw)
	// A token from the future is looked at again: the clock was set back since it was verified.
	if found := s.cache.get(&hash); found != nil && found.current(s.SecretEpoch()) && found.issuedAt <= now {
		if !s.use(found, now) {
			return nil, errExpired
		}
		s.hits.Add(1)
		return found, nil
	}
	s.misses.Add(1)
	session, err := s.verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	session.live = s.Store.Hold(session.live)
	if !s.use(session, now) {
		s.Store.Release(session.live)
		return nil, errExpired
	}
	session.hash = hash
	if old := s.cache.put(session); old != nil {
		s.Store.Release(old.live)
	}
	return session, nil
}

// use notes that a session is used now, unless it has expired or was left idle for too long.
func (s *Sessions) use(session *Session, now int64) bool {
	if now >= session.exactExpiry || now-session.live.LastUse() >= session.idle {
		return false
	}
	s.Store.Touch(session.live, now)
	return true
}

// digest returns the SHA-256 of a token. Usual ones are not copied to the heap for it.
func digest(raw string) [sha256.Size]byte {
	var buf [1024]byte
	if len(raw) > len(buf) {
		return sha256.Sum256([]byte(raw))
	}
	return sha256.Sum256(buf[:copy(buf[:], raw)])
}

// current reports whether nothing that the session was built from has changed since.
func (s *Session) current(secretEpoch uint64) bool {
	return s.secretEpoch == secretEpoch && s.basis.Current()
}

var (
	errMissing = fault.New(fault.Unauthenticated, "no token provided").Because(identity.MissingToken)
	errInvalid = fault.New(fault.Unauthenticated, "invalid token").Because(identity.InvalidToken)
	errExpired = fault.New(fault.Unauthenticated, "token has expired").Because(identity.TokenExpired)
	errRevoked = fault.New(fault.Unauthenticated, "token has been revoked").Because(identity.TokenRevoked)
)

func (s *Sessions) verify(ctx context.Context, raw string) (*Session, error) {
	secretEpoch := s.SecretEpoch()
	verified, err := s.Tokens.Verify(raw, token.KindAccess)
	switch {
	case errors.Is(err, token.ErrExpired):
		return nil, errExpired
	case err != nil:
		return nil, fault.Wrap(err, fault.Unauthenticated, errInvalid.Message).Because(identity.InvalidToken)
	}
	claims := verified.Claims()
	live, err := s.Store.Live(ctx, claims.Family, claims.Subject)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrRevoked):
		return nil, errRevoked
	case err != nil:
		return nil, fault.Wrap(err, fault.Internal, "read the key")
	}
	session := &Session{
		KeyID: live.Key.ID, KeyType: live.Key.Type, RootID: live.Root.ID, Family: live.Family.ID, Expires: claims.Expires,
		Node: ParseNodeBinding(claims.NodeURL), live: live.Family, basis: live.Basis, secretEpoch: secretEpoch,
		idle: s.Store.Limits.Span(live.Family.Machine),
	}
	session.issuedAt = claims.IssuedAt
	session.exactExpiry = claims.Expires + int64(s.Leeway/time.Second)
	session.endAt(live.Key.ExpiresAt)
	session.endAt(live.Root.ExpiresAt)
	session.endAt(s.Store.Limits.End(live.Family.Created, live.Family.Machine))
	session.grant(claims.Permissions, live.Key, live.Root)
	session.header.key[0], session.header.expires[0] = session.KeyID, strconv.FormatInt(session.Expires, 10)
	return session, nil
}

// grant works out what the token, the key and the root above it allow together, and renders it for the header. In most
// sessions the token repeats the key's list and the root may do everything: then the key's record has it all.
func (s *Session) grant(token []string, key, root *store.LiveKey) {
	s.Rights = s.lists[:0]
	var bounds [][]string
	if !slices.Equal(token, key.Permissions) {
		s.Rights = append(s.Rights, permission.NewSet(token))
		bounds = append(bounds, key.Permissions)
	}
	s.Rights = append(s.Rights, key.Set)
	if root != key && !slices.Equal(root.Permissions, unlimited) {
		s.Rights = append(s.Rights, root.Set)
		bounds = append(bounds, root.Permissions)
	}
	s.Permissions, s.header.permissions[0] = key.Effective, key.Joined
	if len(bounds) > 0 {
		s.Permissions = permission.Effective(token, bounds...)
		s.header.permissions[0] = permission.Join(s.Permissions)
	}
}

// unlimited is a list that takes nothing away from any other, bindings included.
var unlimited = []string{"admin"}

// endAt shortens the session to the expiry of a key or to its greatest age, 0 for none. They get no leeway.
func (s *Session) endAt(end int64) {
	if end != 0 && end < s.exactExpiry {
		s.exactExpiry = end
		s.Expires = min(s.Expires, end)
	}
}

// NodeBinding is the host that a token may be used at. The zero value binds nothing.
type NodeBinding struct{ host, port string }

// ParseNodeBinding reads a node_url claim. Anything but an absolute http(s) URL with a host binds nothing.
func ParseNodeBinding(claim string) NodeBinding {
	if claim == "" {
		return NodeBinding{}
	}
	u, ok := parseHTTPURL(claim)
	if !ok {
		return NodeBinding{}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return NodeBinding{host: strings.ToLower(u.Hostname()), port: port}
}

// Bound reports whether the token is bound to a host at all.
func (b NodeBinding) Bound() bool { return b.host != "" }

// Matches reports whether host ("name" or "name:port", as in a Host header) is the bound one. Names compare
// without case; ports only when host has one.
func (b NodeBinding) Matches(host string) bool {
	name, port := splitHost(host)
	return name != "" && strings.EqualFold(name, b.host) && (port == "" || port == b.port)
}
