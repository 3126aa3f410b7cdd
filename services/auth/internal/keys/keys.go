// Package keys administers root and client keys.
//
// A root key is an identity, a client key a delegation of it. Nobody grants what they do not hold, no revoked
// key comes back, and the last administrator cannot be removed.
package keys

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Limits of a client key.
const (
	MinMachineLife = time.Minute
	MaxName        = 128 // bytes
)

// Service is the key administration use case. Set the exported fields before use.
type Service struct {
	Store      *store.Store
	Issuer     *login.Issuer
	MachineMax time.Duration
	Now        func() time.Time
	Log        *slog.Logger
}

// Listed is a key with its permissions.
type Listed struct {
	store.Key
	Permissions []string
	Valid       bool // live, and its root key too
}

// List returns all keys of a type, revoked ones included, in the order of their ids.
func (s *Service) List(ctx context.Context, t store.KeyType) ([]Listed, error) {
	var all []Listed
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		all = nil
		now := s.Now()
		live := map[string]bool{} // root keys seen
		for k, err := range tx.Keys(t) {
			if err != nil {
				return err
			}
			item := Listed{Key: k, Valid: k.Live(now)}
			if t == store.Client {
				rootLive, known := live[k.RootKeyID]
				if !known {
					root, err := tx.Key(k.RootKeyID)
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						return err
					}
					rootLive = err == nil && root.Live(now)
					live[k.RootKeyID] = rootLive
				}
				item.Valid = item.Valid && rootLive
			}
			if item.Permissions, err = tx.Permissions(k.ID); err != nil {
				return err
			}
			all = append(all, item)
		}
		return nil
	})
	return all, err
}

// RootRequest asks for a root key of an account that an administrator names.
type RootRequest struct {
	Provider  provider.Provider
	Attempt   provider.Attempt
	TargetURL string
}

// CreateRoot adds a root key with admin rights. It reports false when a live key of that identity exists
// already, and changes nothing then. A revoked key of that identity is a conflict: it never comes back.
func (s *Service) CreateRoot(ctx context.Context, caller *gate.Session, r RootRequest) (created bool, err error) {
	if !caller.Rights.Admin() {
		return false, fault.New(fault.Forbidden, "only an administrator adds root keys")
	}
	nodeURL, err := targetURL(r.TargetURL)
	if err != nil {
		return false, err
	}
	proof, err := r.Provider.Enroll(ctx, r.Attempt)
	if err != nil {
		return false, login.Classify(err)
	}
	var key store.Key
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		created = false
		if _, err := s.admitted(tx, caller); err != nil {
			return err
		}
		existing, err := tx.Key(proof.KeyID)
		if proof.KeyID != "" && err == nil && existing.Live(s.Now()) {
			return nil
		}
		key, err = login.AddRoot(tx, login.RootGrant{
			Provider: r.Provider.Name(), Proof: proof, Permissions: login.RootPermissions, NodeURL: nodeURL,
			CreatedBy: caller.KeyID, Now: s.Now(),
		})
		created = err == nil
		return err
	})
	if errors.Is(err, store.ErrExists) {
		return false, fault.Wrap(err, fault.Conflict, "a key of this account exists already or was revoked; it is not replaced")
	}
	if err == nil && created {
		s.Log.InfoContext(ctx, "root key created", "key_id", key.ID, "provider", r.Provider.Name(), "by", caller.KeyID)
	}
	return created, err
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
	permissions, err := clientPermissions(caller, r)
	if err != nil {
		return login.Pair{}, err
	}
	nodeURL, err := targetURL(r.TargetURL)
	if err != nil {
		return login.Pair{}, err
	}
	if len(r.Name) > MaxName {
		return login.Pair{}, fault.New(fault.Invalid, fmt.Sprintf("name is longer than %d bytes", MaxName))
	}
	if r.ExpiresIn != 0 && (r.ExpiresIn < MinMachineLife || r.ExpiresIn > s.MachineMax) {
		return login.Pair{}, fault.New(fault.Invalid, fmt.Sprintf("expires_in must be between %d and %d seconds",
			MinMachineLife/time.Second, s.MachineMax/time.Second))
	}
	key := s.clientKey(caller, r, nodeURL)
	var family store.Family
	err = s.Store.Update(ctx, func(tx *store.Tx) (err error) {
		family, err = s.mint(tx, caller, key, permissions, r)
		return err
	})
	if err != nil {
		return login.Pair{}, err
	}
	s.Log.InfoContext(ctx, "client key created", "key_id", key.ID, "root_key_id", key.RootKeyID, "by", caller.KeyID)
	return s.Issuer.Sign(family)
}

// mint stores a client key and a session of it. What a key mints does not outlive it.
func (s *Service) mint(
	tx *store.Tx, caller *gate.Session, key store.Key, permissions []string, r ClientRequest,
) (family store.Family, err error) {
	minter, err := s.admitted(tx, caller)
	if err != nil {
		return family, err
	}
	life := r.ExpiresIn
	if end := minter.ExpiresAt; end != 0 && (key.ExpiresAt == 0 || key.ExpiresAt > end) {
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
func clientPermissions(caller *gate.Session, r ClientRequest) ([]string, error) {
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
		if err != nil || !caller.Rights.MayGrant(p) {
			return nil, fault.Wrap(err, fault.Invalid, "Root key does not have permission: "+html.EscapeString(text))
		}
		list = append(list, text)
	}
	if err := permission.Validate(list); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, err.Error())
	}
	return list, nil
}

// admitted repeats, in the transaction of a change, what may have happened since the request was admitted: the
// caller's session, key or root was revoked. It returns the caller's key.
func (s *Service) admitted(tx *store.Tx, caller *gate.Session) (store.Key, error) {
	now := s.Now()
	family, err := tx.Family(caller.Family)
	if err := unlessRevoked(err, family.RevokedAt == 0); err != nil {
		return store.Key{}, err
	}
	root, err := tx.Key(caller.RootID)
	if err := unlessRevoked(err, root.Live(now)); err != nil {
		return store.Key{}, err
	}
	key, err := tx.Key(caller.KeyID)
	return key, unlessRevoked(err, key.Live(now))
}

func unlessRevoked(err error, live bool) error {
	if errors.Is(err, store.ErrNotFound) || (err == nil && !live) {
		return fault.New(fault.Forbidden, "the session or key of this token has been revoked").Because(identity.TokenRevoked)
	}
	return err
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
