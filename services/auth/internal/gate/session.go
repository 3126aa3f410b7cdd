package gate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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
	Expires     int64          // Unix seconds; the earliest of token and keys
	Permissions []string       // what token, key and root all cover, verbatim: the list that the node gets
	Rights      Rights         // the three lists on their own, for decisions
	Node        NodeBinding    // host that the token is bound to
	header      sessionHeader  // header values, prepared once
	cells       [3]*store.Cell // family, key, root
	epochs      [3]uint64      // of the cells, read before the records
	secretEpoch uint64         // of the signing secrets, read before the token was verified
	hash        [sha256.Size]byte
	exactExpiry int64 // Unix seconds at which the session is over, leeway included
}

// sessionHeader holds the values of the identity headers in the form that net/http stores them, so that
// writing them allocates nothing.
type sessionHeader struct {
	key, permissions, expires []string
	tooLong                   bool
}

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
	now := s.Now().Unix()
	hash := sha256.Sum256([]byte(raw))
	if found := s.cache.get(&hash); found != nil && found.current(s.SecretEpoch()) {
		if now >= found.exactExpiry {
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
	if now >= session.exactExpiry {
		return nil, errExpired
	}
	session.hash = hash
	s.cache.put(session)
	return session, nil
}

// current reports whether nothing that the session was built from has changed since.
func (s *Session) current(secretEpoch uint64) bool {
	return s.secretEpoch == secretEpoch && s.cells[0].Epoch() == s.epochs[0] &&
		s.cells[1].Epoch() == s.epochs[1] && s.cells[2].Epoch() == s.epochs[2]
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
	session := &Session{KeyID: claims.Subject, Family: claims.Family, Expires: claims.Expires, secretEpoch: secretEpoch}
	session.exactExpiry = claims.Expires + int64(s.Leeway/time.Second)
	lists, err := s.live(ctx, session)
	if err != nil {
		if _, classified := errors.AsType[*fault.Error](err); classified {
			return nil, err
		}
		return nil, fault.Wrap(err, fault.Internal, "read the key")
	}
	session.Permissions = permission.Effective(claims.Permissions, lists...)
	session.Rights = newRights(claims.Permissions, lists)
	session.Node = ParseNodeBinding(claims.NodeURL)
	session.prepare()
	return session, nil
}

func (s *Session) watch(i int, cell *store.Cell) {
	s.cells[i], s.epochs[i] = cell, cell.Epoch()
}

// live checks family, key and root and returns the permission lists that bound the token's.
//
// Each record is read from a snapshot that was taken after its cell, see store.cells: a change that the snapshot
// lacks then outdates the session. Only the key's record tells which root is above it, hence the second snapshot.
func (s *Sessions) live(ctx context.Context, session *Session) (lists [][]string, err error) {
	session.watch(0, s.Store.FamilyCell(session.Family))
	session.watch(1, s.Store.KeyCell(session.KeyID))
	var own, above []string
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		own, err = liveKey(tx, session)
		return err
	})
	if err != nil {
		return nil, err
	}
	if session.KeyType == store.Root {
		session.cells[2], session.epochs[2] = session.cells[1], session.epochs[1]
		return [][]string{own}, nil
	}
	session.watch(2, s.Store.KeyCell(session.RootID))
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		above, err = liveRoot(tx, session)
		return err
	})
	if err != nil {
		return nil, err
	}
	return [][]string{own, above}, nil
}

// liveKey checks family and key and returns the key's permissions.
func liveKey(tx *store.Tx, session *Session) ([]string, error) {
	family, err := tx.Family(session.Family)
	if err := revokedUnless(err, family.RevokedAt == 0 && family.Key == session.KeyID); err != nil {
		return nil, err
	}
	key, err := tx.Key(session.KeyID)
	if err := revokedUnless(err, key.RevokedAt == 0); err != nil {
		return nil, err
	}
	session.KeyType, session.RootID = key.Type, key.ID
	if key.Type != store.Root {
		session.RootID = key.RootKeyID
	}
	session.endAt(key.ExpiresAt)
	own, err := tx.Permissions(key.ID)
	if err != nil {
		return nil, fmt.Errorf("permissions of key %s: %w", key.ID, err)
	}
	return own, nil
}

// liveRoot checks the root key above a client key and returns its permissions.
func liveRoot(tx *store.Tx, session *Session) ([]string, error) {
	root, err := tx.Key(session.RootID)
	if err := revokedUnless(err, root.RevokedAt == 0); err != nil {
		return nil, err
	}
	session.endAt(root.ExpiresAt)
	above, err := tx.Permissions(root.ID)
	if err != nil {
		return nil, fmt.Errorf("permissions of root key %s: %w", root.ID, err)
	}
	return above, nil
}

// endAt shortens the session to the expiry of a key, 0 for none. Keys get no leeway.
func (s *Session) endAt(keyExpires int64) {
	if keyExpires != 0 && keyExpires < s.exactExpiry {
		s.exactExpiry = keyExpires
		s.Expires = min(s.Expires, keyExpires)
	}
}

// revokedUnless turns a missing record or a failed check into the denial that clients know as final.
func revokedUnless(err error, ok bool) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errRevoked
	case err != nil:
		return err
	case !ok:
		return errRevoked
	}
	return nil
}

// prepare renders the header values.
func (s *Session) prepare() {
	joined := permission.Join(s.Permissions)
	s.header.tooLong = len(joined) > maxHeaderPermissions
	s.header.key = []string{s.KeyID}
	s.header.permissions = []string{joined}
	s.header.expires = []string{strconv.FormatInt(s.Expires, 10)}
}

// NodeBinding is the host that a token may be used at. The zero value binds nothing.
type NodeBinding struct{ host, port string }

// ParseNodeBinding reads a node_url claim. Anything but an absolute http(s) URL with a host binds nothing.
func ParseNodeBinding(claim string) NodeBinding {
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
