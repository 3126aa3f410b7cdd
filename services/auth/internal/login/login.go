// Package login exchanges a proof of identity for a pair of tokens, and a refresh token for its successor.
//
//	Token:    provider proves the identity → one transaction consumes the challenge, finds the root key (or makes
//	          the first one, with the bootstrap secret) and stores a new session family → the pair is signed
//	Refresh:  refresh token verified → one transaction compares it with the family's current generation:
//	            current            rotate
//	            previous, in grace the identical successor again (a lost answer)
//	            anything else      reuse: the family is revoked
//	          before it, a provider whose proofs can cease to hold is asked about that of the login
package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// MaxClientName is the longest client_name in bytes.
const MaxClientName = 4 << 10

// RootPermissions are the permissions of the first root key and of root keys that an administrator adds.
var RootPermissions = []string{"admin"}

// Service is the login use case. Set the exported fields before use.
type Service struct {
	Store         *store.Store
	Issuer        *Issuer
	Providers     []provider.Provider // in the order in which they are listed
	Bootstrap     *bootstrap.Service
	RefreshWindow time.Duration // an access token with more life left is refused as still valid
	RefreshGrace  time.Duration
	HostAllowed   func(gate.NodeBinding, string) bool
	Renewed       func(provider string, outcome Renewal) // counts; may be nil
	Now           func() time.Time
	Log           *slog.Logger
}

// Request is one login.
type Request struct {
	AuthMethod   string
	PublicKey    string
	ClientName   string
	ProviderData json.RawMessage
	Peer         string // client address, for the session list and the limits
}

// Provider returns the provider of that name or alias, nil if there is none.
func (s *Service) Provider(name string) provider.Provider {
	for _, p := range s.Providers {
		if p.Name() == name || slices.Contains(p.Aliases(), name) {
			return p
		}
	}
	return nil
}

// Token logs in. Errors are *[fault.Error] or internal.
func (s *Service) Token(ctx context.Context, r Request) (Pair, error) {
	p := s.Provider(r.AuthMethod)
	if p == nil {
		return Pair{}, fault.New(fault.Unauthenticated, "authentication failed: unsupported authentication method")
	}
	secretText, opens, err := s.opens(ctx, r)
	if err != nil {
		return Pair{}, err
	}
	l := proven{Request: r, provider: p.Name(), opens: opens, secret: secretText}
	family, created, err := s.enter(ctx, p, &l)
	if errors.Is(err, errChanged) {
		// Another login renewed the hash, or the password was changed, while this password was checked: check again.
		family, created, err = s.enter(ctx, p, &l)
	}
	if err != nil {
		return Pair{}, err
	}
	if created {
		s.Bootstrap.Closed(ctx)
		s.Log.InfoContext(ctx, "the first root key was created", "key_id", family.Key, "provider", p.Name())
	}
	if l.proof.Changed {
		s.Log.InfoContext(ctx, "a password was changed; the user's other sessions are ended", "key_id", family.Key, "provider", p.Name())
	}
	s.Store.Used(family, s.Now())
	return s.Issuer.Deliver(ctx, family)
}

// enter has the provider prove the identity and begins a session of it. Errors are classified.
func (s *Service) enter(ctx context.Context, p provider.Provider, l *proven) (family store.Family, created bool, err error) {
	l.proof, err = p.Authenticate(ctx, provider.Attempt{
		Method: p.Name(), PublicKey: l.PublicKey, Data: l.ProviderData, Bootstrap: l.opens, UseChallenge: s.UseChallenge,
	})
	if err != nil {
		return family, false, Classify(err)
	}
	err = s.Issuer.Update(ctx, func(tx *store.Tx) (err error) {
		family, created, err = s.begin(tx, *l)
		return err
	})
	if err != nil {
		return store.Family{}, false, tokenFault(err)
	}
	return family, created, nil
}

// UseChallenge is [provider.Attempt.UseChallenge] over the store: of any number of uses of a challenge, one succeeds.
func (s *Service) UseChallenge(ctx context.Context, c challenge.Claims) error {
	err := s.Store.Update(ctx, func(tx *store.Tx) error { return tx.UseChallenge(c.ID, c.Expires, s.Now()) })
	switch {
	case errors.Is(err, store.ErrUsed):
		return fmt.Errorf("%w: %s", provider.ErrRejected, challengeUsed)
	case errors.Is(err, store.ErrClock):
		return fmt.Errorf("%w: %w", provider.ErrUnavailable, err)
	}
	return err
}

// UseChallenge uses up the challenge that a proof by a provider answered, if it did: see [store.Tx.UseChallenge]. One that
// was issued for another method is challenge.ErrMethod.
func UseChallenge(tx *store.Tx, providerName string, proof provider.Proof, now time.Time) error {
	if proof.Challenge == nil {
		return nil
	}
	if err := proof.Challenge.For(providerName); err != nil {
		return err
	}
	return tx.UseChallenge(proof.Challenge.ID, proof.Challenge.Expires, now)
}

const challengeUsed = "the challenge was used already, ask for a new one"

// proven is a login whose identity the provider has proved.
type proven struct {
	Request
	provider string
	proof    provider.Proof
	opens    bool   // may create the first root key
	secret   string // with which it may
}

// begin uses the challenge up, finds the root key, or creates the first one, and stores a new session of it.
func (s *Service) begin(tx *store.Tx, l proven) (family store.Family, created bool, err error) {
	if err := UseChallenge(tx, l.provider, l.proof, s.Now()); err != nil {
		return family, false, err
	}
	key, err := s.rootKey(tx, l.proof.KeyID)
	if errors.Is(err, store.ErrNotFound) && l.opens {
		created = true
		key, err = s.firstKey(tx, l)
	} else if err == nil && l.opens {
		err = s.promote(tx, key, l)
	}
	if err != nil {
		return family, false, err
	}
	if key.NodeURL != "" && !sameHost(key.NodeURL, l.ClientName) {
		return family, false, errOtherNode
	}
	if err := s.renewHash(tx, l.provider, l.proof); err != nil {
		return family, false, err
	}
	permissions, err := tx.Permissions(key.ID)
	if err != nil {
		return family, false, err
	}
	family = s.Issuer.Begin(Grant{
		Key: key.ID, Permissions: permissions, NodeURL: gate.NodeURL(l.ClientName),
		ClientName: withoutSecrets(l.ClientName), Peer: l.Peer,
		Provider: l.provider, Renewal: l.proof.Renewal,
	})
	if err := s.Issuer.Cover(tx, family); err != nil {
		return family, false, err
	}
	if err := tx.CreateFamily(family); err != nil {
		return family, false, err
	}
	return family, created, tx.Audit(audit.Event{
		Time: s.Now(), Action: audit.LoggedIn, Actor: key.ID, Subject: family.ID, Detail: "provider " + l.provider,
	})
}

// opens reports whether this login may create the first root key, and the secret that it presented.
func (s *Service) opens(ctx context.Context, r Request) (presented string, open bool, err error) {
	var data struct {
		Secret string `json:"bootstrap_secret"`
	}
	if err := json.Unmarshal(r.ProviderData, &data); err != nil {
		return "", false, fault.New(fault.Invalid, "provider_data must be an object, and its bootstrap_secret a string")
	}
	err = s.Bootstrap.Check(ctx, r.Peer, data.Secret)
	switch {
	case err == nil:
		return data.Secret, true, nil
	case errors.Is(err, bootstrap.ErrClosed):
		return "", false, nil // clients may keep sending the secret of old
	case errors.Is(err, bootstrap.ErrLimited):
		return "", false, &fault.Error{Code: fault.RateLimited, Message: err.Error(), RetryAfter: time.Minute}
	case data.Secret == "" && errors.Is(err, bootstrap.ErrWrong):
		return "", false, fault.New(fault.Unauthenticated, "authentication failed: no root key exists yet; the first login needs "+
			"provider_data.bootstrap_secret (run `mero-auth bootstrap show` on the host)")
	case errors.Is(err, bootstrap.ErrWrong), errors.Is(err, bootstrap.ErrLapsed):
		return "", false, fault.New(fault.Unauthenticated, "authentication failed: "+err.Error())
	}
	return "", false, err
}

var (
	errNotAuthorized = fault.New(fault.Unauthenticated, "authentication failed: this identity has no key on this node")
	errOtherNode     = fault.New(fault.Unauthenticated, "authentication failed: the key is not valid for this node")
	errChanged       = fault.New(fault.Unauthenticated, "authentication failed: the password was changed meanwhile")
	errKeyExpired    = fault.New(fault.Unauthenticated, "authentication failed: the key has expired")
	errKeyRevoked    = fault.New(fault.Unauthenticated, "authentication failed: the key has been revoked")
)

// rootKey returns the live root key of an identity; store.ErrNotFound when there is no record at all.
func (s *Service) rootKey(tx *store.Tx, id string) (store.Key, error) {
	if id == "" {
		return store.Key{}, store.ErrNotFound
	}
	key, err := tx.Key(id)
	switch {
	case err != nil:
		return store.Key{}, err
	case key.Type != store.Root || key.RevokedAt != 0:
		return store.Key{}, errKeyRevoked
	case !key.Live(s.Now()):
		return store.Key{}, errKeyExpired
	}
	return key, nil
}

// firstKey creates the first root key and closes the bootstrap.
func (s *Service) firstKey(tx *store.Tx, l proven) (store.Key, error) {
	if err := s.Bootstrap.Consume(tx, l.secret); err != nil {
		return store.Key{}, err
	}
	key, err := AddRoot(tx, RootGrant{Provider: l.provider, Proof: l.proof, Permissions: RootPermissions, Now: s.Now()})
	if err != nil {
		return key, err
	}
	return key, tx.Audit(audit.Event{Time: s.Now(), Action: audit.BootstrapUsed, Actor: key.ID, Subject: key.ID})
}

// promote makes the key of a known identity an administrator's, for whoever recovers with the secret of the host.
func (s *Service) promote(tx *store.Tx, key store.Key, l proven) error {
	switch err := s.Bootstrap.Consume(tx, l.secret); {
	case errors.Is(err, bootstrap.ErrClosed):
		return nil // another login has used it; this one goes on as what it is
	case err != nil:
		return err
	}
	if err := tx.SetPermissions(key.ID, RootPermissions); err != nil {
		return err
	}
	return errors.Join(
		tx.Audit(audit.Event{Time: s.Now(), Action: audit.BootstrapUsed, Actor: key.ID, Subject: key.ID}),
		tx.Audit(audit.Event{
			Time: s.Now(), Action: audit.PermissionsChanged, Actor: key.ID, Subject: key.ID,
			Detail: "recovered; permissions " + permission.Join(RootPermissions),
		}),
	)
}

// Classify turns a provider's refusal into the answer.
func Classify(err error) error {
	switch {
	case errors.Is(err, provider.ErrRejected):
		return fault.Wrap(err, fault.Unauthenticated, err.Error())
	case errors.Is(err, provider.ErrMalformed), errors.Is(err, provider.ErrDisabled):
		return fault.Wrap(err, fault.Invalid, err.Error())
	case errors.Is(err, provider.ErrUnavailable):
		return &fault.Error{Code: fault.Unavailable, Message: "the authentication provider is unavailable, try again", RetryAfter: 5 * time.Second, Err: err}
	}
	return err
}

// tokenFault turns what the login transaction refused into the answer.
func tokenFault(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, bootstrap.ErrClosed):
		return errNotAuthorized
	case errors.Is(err, store.ErrUsed):
		return fault.Wrap(err, fault.Unauthenticated, "authentication failed: "+challengeUsed)
	case errors.Is(err, challenge.ErrMethod):
		return fault.Wrap(err, fault.Unauthenticated, "authentication failed: "+err.Error())
	case errors.Is(err, store.ErrClock):
		return Classify(fmt.Errorf("%w: %w", provider.ErrUnavailable, err))
	case errors.Is(err, store.ErrExists):
		return errKeyRevoked
	case errors.Is(err, bootstrap.ErrWrong):
		return fault.Wrap(err, fault.Unauthenticated, "authentication failed: wrong bootstrap secret")
	}
	return err
}

// sameHost reports whether client_name is an address at the host of a key's node binding. An address that the
// token could not be bound to (ftp://host, //host) is none: the key would yield a token for every host.
func sameHost(nodeURL, clientName string) bool {
	named, err := url.Parse(gate.NodeURL(clientName))
	return err == nil && gate.ParseNodeBinding(nodeURL).Matches(named.Host)
}

// withoutSecrets drops from a client's address what may hold tokens or a password: query, fragment and the user before
// the host.
func withoutSecrets(clientName string) string {
	if i := strings.IndexAny(clientName, "?#"); i >= 0 {
		clientName = clientName[:i]
	}
	scheme, rest, isAddress := strings.Cut(clientName, "//")
	if !isAddress {
		return clientName
	}
	host := len(rest)
	if i := strings.IndexAny(rest, `/\`); i >= 0 {
		host = i
	}
	return scheme + "//" + rest[strings.LastIndexByte(rest[:host], '@')+1:]
}
