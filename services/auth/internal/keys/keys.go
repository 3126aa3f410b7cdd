// Package keys administers root and client keys.
//
// A root key is an identity, a client key a delegation of it. Nobody grants what they do not hold, no revoked
// key comes back, and the last administrator cannot be removed.
package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Limits of a key.
const (
	MinMachineLife = time.Minute
	MaxName        = 128 // bytes
)

var (
	errLongName     = fault.New(fault.Invalid, fmt.Sprintf("name is longer than %d bytes", MaxName))
	errNoPermission = fault.New(fault.Invalid, "Key must have at least one permission")
)

// Service is the key administration use case. Set the exported fields before use.
type Service struct {
	Store      *store.Store
	Issuer     *login.Issuer
	MachineMax time.Duration
	MaxClients int // live client keys of one root key, 0 for any number
	Now        func() time.Time
	Log        *slog.Logger

	// NewAccount checks and hashes a password for the account of a name; nil when passwords are switched off. Its errors
	// are those of package provider.
	NewAccount func(ctx context.Context, name, password string) (provider.Proof, error)
}

// RootRequest asks for a root key of an account that an administrator names or whose owner has signed for it.
type RootRequest struct {
	Provider    provider.Provider
	Attempt     provider.Attempt
	TargetURL   string
	Name        string
	Permissions []string      // nil for admin
	ExpiresIn   time.Duration // 0 for never

	// ReplaceRevoked lets the name of a password account whose key was revoked pass to the new key.
	ReplaceRevoked bool
}

// CreateRoot adds a root key. It reports false when a live key of that identity exists already, and changes nothing
// then, a password least of all. A revoked key of that identity is a conflict: it never comes back. The name of a
// password account alone, whose key has a random id, passes to a new key if the request says so. An expired key is a
// conflict, too.
func (s *Service) CreateRoot(ctx context.Context, caller *gate.Session, r RootRequest) (created bool, err error) {
	if !caller.Rights.Admin() {
		return false, fault.New(fault.Forbidden, "only an administrator adds root keys")
	}
	grant, err := s.rootGrant(caller, r)
	if err != nil {
		return false, err
	}
	if grant.Proof, err = identify(ctx, r); err != nil {
		return false, err
	}
	var key store.Key
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		key, created, err = s.addRoot(tx, caller, grant, r.ReplaceRevoked)
		return err
	})
	switch {
	case errors.Is(err, challenge.ErrMethod):
		return false, fault.Wrap(err, fault.Invalid, err.Error())
	case errors.Is(err, store.ErrUsed):
		return false, fault.Wrap(err, fault.Invalid, "the challenge was used already, ask for a new one")
	case errors.Is(err, store.ErrClock):
		return false, fault.Wrap(err, fault.Unavailable, "challenges are not accepted at present, try again")
	}
	if err == nil && created {
		s.Log.InfoContext(ctx, "root key created", "key_id", key.ID, "provider", r.Provider.Name(), "by", caller.KeyID)
	}
	return created, err
}

// rootGrant checks what can be checked of a request without knowing whose key it is.
func (s *Service) rootGrant(caller *gate.Session, r RootRequest) (login.RootGrant, error) {
	grant := login.RootGrant{
		Provider: r.Provider.Name(), Permissions: login.RootPermissions, Name: r.Name, CreatedBy: caller.KeyID, Now: s.Now(),
	}
	var err error
	if grant.NodeURL, err = targetURL(r.TargetURL); err != nil {
		return grant, err
	}
	if len(r.Name) > MaxName {
		return grant, errLongName
	}
	if r.Permissions != nil {
		if grant.Permissions, err = written(r.Permissions); err != nil {
			return grant, err
		}
		if len(grant.Permissions) == 0 {
			return grant, errNoPermission
		}
	}
	switch {
	case r.ExpiresIn == 0:
	case r.ExpiresIn < MinMachineLife:
		return grant, fault.New(fault.Invalid, fmt.Sprintf("expires_in must be at least %d seconds", MinMachineLife/time.Second))
	default:
		grant.ExpiresAt = grant.Now.Add(r.ExpiresIn).Unix()
	}
	return grant, nil
}

// identify returns whose key is asked for: who signed, when provider_data has a signature, or else the account that it
// names. A signature that is there is never ignored.
func identify(ctx context.Context, r RootRequest) (provider.Proof, error) {
	var data struct {
		Signature *json.RawMessage `json:"signature"`
	}
	if len(r.Attempt.Data) > 0 {
		if err := json.Unmarshal(r.Attempt.Data, &data); err != nil {
			return provider.Proof{}, fault.New(fault.Invalid, "provider_data must be an object")
		}
	}
	ask := r.Provider.Enroll
	if data.Signature != nil {
		ask = r.Provider.Authenticate
	}
	proof, err := ask(ctx, r.Attempt)
	if err = login.Classify(err); fault.CodeOf(err) == fault.Unauthenticated {
		// 401 would tell the administrator's client that its own token is no good.
		return proof, fault.Wrap(err, fault.Invalid, fault.MessageOf(err))
	}
	return proof, err
}

func (s *Service) addRoot(
	tx *store.Tx, caller *gate.Session, grant login.RootGrant, replace bool,
) (key store.Key, created bool, err error) {
	by, err := s.admitted(tx, caller, adminOnly)
	if err != nil {
		return key, false, err
	}
	return s.addRootBy(tx, by, grant, replace)
}

var (
	errWasRevoked  = fault.New(fault.Conflict, "the key of this account was revoked; it is not replaced")
	errNotReplaced = fault.New(fault.Conflict, "the key of this account was revoked; it is not replaced unless replace_revoked is true")
	errHasExpired  = fault.New(fault.Conflict, "the key of this account has expired; it is not replaced, set its expires_at")
)

// addRootBy is addRoot for a caller who was admitted.
func (s *Service) addRootBy(tx *store.Tx, by standing, grant login.RootGrant, replace bool) (key store.Key, created bool, err error) {
	if err := by.mayGrant(grant.Permissions); err != nil {
		return key, false, err
	}
	if err := login.UseChallenge(tx, grant.Provider, grant.Proof, s.Now()); err != nil {
		return key, false, err
	}
	existing, err := keyOf(tx, grant)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return key, false, err
	case existing.Live(s.Now()):
		return existing, false, nil
	case existing.RevokedAt == 0:
		return key, false, errHasExpired
	case grant.Proof.KeyID != "":
		return key, false, errWasRevoked
	case !replace:
		return key, false, errNotReplaced
	default:
		grant.Replaces = existing.ID
	}
	key, err = login.AddRoot(tx, grant)
	return key, err == nil, err
}

// keyOf returns the key of the identity that a root key is asked for, dead or alive, or store.ErrNotFound.
func keyOf(tx *store.Tx, grant login.RootGrant) (store.Key, error) {
	id := grant.Proof.KeyID
	if id == "" {
		account, err := tx.Account(grant.Provider, grant.Proof.Account)
		if err != nil {
			return store.Key{}, err
		}
		id = account.Key
	}
	return tx.Key(id)
}

// ClientRequest asks for a client key.
type ClientRequest struct {
	ContextID       string
	ContextIdentity string
	Permissions     []string
	TargetURL       string
	Name            string
	ExpiresIn       time.Duration // > 0: a machine token of this life
	Peer            string
}

// CreateClient mints a client key for the caller and begins a session of it.
func (s *Service) CreateClient(ctx context.Context, caller *gate.Session, r ClientRequest) (login.Pair, error) {
	if !caller.Rights.Admin() {
		return login.Pair{}, fault.New(fault.Forbidden, "Token does not have admin permissions")
	}
	if _, err := clientPermissions(caller.Rights, r); err != nil {
		return login.Pair{}, err
	}
	nodeURL, err := targetURL(r.TargetURL)
	if err != nil {
		return login.Pair{}, err
	}
	if len(r.Name) > MaxName {
		return login.Pair{}, errLongName
	}
	if r.ExpiresIn != 0 && (r.ExpiresIn < MinMachineLife || r.ExpiresIn > s.MachineMax) {
		return login.Pair{}, fault.New(fault.Invalid, fmt.Sprintf("expires_in must be between %d and %d seconds",
			MinMachineLife/time.Second, s.MachineMax/time.Second))
	}
	key := s.clientKey(caller, r, nodeURL)
	var family store.Family
	err = s.Issuer.Update(ctx, func(tx *store.Tx) (err error) {
		family, err = s.mint(tx, caller, key, r)
		return err
	})
	if err != nil {
		return login.Pair{}, err
	}
	s.Log.InfoContext(ctx, "client key created", "key_id", key.ID, "root_key_id", key.RootKeyID, "by", caller.KeyID)
	return s.Issuer.Deliver(ctx, family)
}

// mint stores a client key and a session of it. What a key mints does not outlive it.
func (s *Service) mint(tx *store.Tx, caller *gate.Session, key store.Key, r ClientRequest) (family store.Family, err error) {
	minter, err := s.admitted(tx, caller, adminOnly)
	if err != nil {
		return family, err
	}
	permissions, err := clientPermissions(minter.rights, r)
	if err != nil {
		return family, err
	}
	if err := s.roomForClient(tx, key.RootKeyID); err != nil {
		return family, err
	}
	life := r.ExpiresIn
	if end := minter.key.ExpiresAt; end != 0 && (key.ExpiresAt == 0 || key.ExpiresAt > end) {
		key.ExpiresAt = end
		if life > 0 {
			life = time.Unix(end, 0).Sub(s.Now())
		}
	}
	if err := tx.CreateKey(key, permissions); err != nil {
		return family, err
	}
	event := audit.Event{
		Time: s.Now(), Action: audit.ClientCreated, Actor: caller.KeyID, Subject: key.ID,
		Detail: "root key " + key.RootKeyID + "; permissions " + permission.Join(permissions),
	}
	if key.Machine {
		event.Detail = "machine token; " + event.Detail
	}
	if err := tx.Audit(event); err != nil {
		return family, err
	}
	family = s.Issuer.Begin(login.Grant{
		Key: key.ID, Permissions: permissions, NodeURL: key.NodeURL, ClientName: key.Name, Peer: r.Peer, Machine: life,
	})
	if err := s.Issuer.Cover(tx, family); err != nil {
		return family, err
	}
	return family, tx.CreateFamily(family)
}

// roomForClient refuses another client key of a root key that has as many live ones as it may: a program that mints a key
// for each of its runs and revokes none would grow the store for ever.
func (s *Service) roomForClient(tx *store.Tx, root string) error {
	if s.MaxClients <= 0 {
		return nil
	}
	live, err := tx.LiveClients(root, s.MaxClients, s.Now())
	if err == nil && live >= s.MaxClients {
		return fault.New(fault.Conflict, fmt.Sprintf("the root key has %d live client keys already (security.max_clients_per_root): revoke some first", live))
	}
	return err
}

func (s *Service) clientKey(caller *gate.Session, r ClientRequest, nodeURL string) store.Key {
	now := s.Now()
	key := store.Key{
		ID: uuid.NewString(), Type: store.Client, CreatedAt: now.Unix(), NodeURL: nodeURL,
		RootKeyID: caller.RootID, Name: r.Name, CreatedBy: caller.KeyID,
	}
	if caller.KeyType == store.Client {
		key.MintedBy = caller.KeyID
	}
	if key.Name == "" {
		key.Name = fmt.Sprintf("Context Client - %s (%s)", r.ContextID, r.ContextIdentity)
	}
	if r.ExpiresIn > 0 {
		key.Machine, key.ExpiresAt = true, now.Add(r.ExpiresIn).Unix()
	}
	return key
}

// clientPermissions builds the list of a new client key: the binding to its context first, then what was asked
// for, verbatim and in order. Whatever the caller does not hold is refused.
func clientPermissions(held gate.Rights, r ClientRequest) ([]string, error) {
	var list []string
	if r.ContextID != "" || r.ContextIdentity != "" {
		bound, err := permission.Binding(r.ContextID, r.ContextIdentity)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "context_id, and context_identity if given, must be identifiers")
		}
		list = append(list, bound.String())
	}
	for _, text := range r.Permissions {
		if slices.Contains(list, text) {
			continue
		}
		p, err := permission.Parse(text)
		if err != nil || !held.MayGrant(p) {
			return nil, fault.Wrap(err, fault.Invalid, "Root key does not have permission: "+html.EscapeString(text))
		}
		list = append(list, text)
	}
	if err := permission.Validate(list); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, err.Error())
	}
	return list, nil
}

func targetURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	reduced := gate.NodeURL(text)
	if full, err := url.Parse(text); reduced == "" || err != nil || full.User != nil {
		return "", fault.New(fault.Invalid, "target_node_url must be an absolute http(s) URL without user and password")
	}
	return reduced, nil
}
