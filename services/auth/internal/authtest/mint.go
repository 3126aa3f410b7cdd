package authtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// Token is a minted pair and what it belongs to.
type Token struct {
	Key     string // key id
	Family  string
	Access  string
	Refresh string
	Expires int64 // of the access token, Unix seconds
}

// Mint says what to mint.
type Mint struct {
	Root        string        // id of the root key for a client key, "" for a root key
	Key         string        // id of an existing key for another session of it, "" for a new key
	Permissions []string      // of a new key, and of the token unless Token is set
	Token       []string      // of the token alone
	NodeURL     string        // that the token is bound to
	KeyLife     time.Duration // > 0: the key expires
	Machine     time.Duration // > 0: one access token of this life, and no refresh token
}

// Mint stores what m says and returns its tokens.
func (s *Service) Mint(t testing.TB, m Mint) Token {
	t.Helper()
	now := s.Clock.Now()
	key := store.Key{ID: m.Key, Type: store.Root, CreatedAt: now.Unix(), RootKeyID: m.Root, AuthMethod: "test"}
	if m.Root != "" {
		key.Type, key.AuthMethod = store.Client, ""
	}
	if m.KeyLife > 0 {
		key.ExpiresAt = now.Add(m.KeyLife).Unix()
	}
	if m.Key == "" {
		key.ID = uuid.NewString()
	}
	permissions := m.Permissions
	if m.Token != nil {
		permissions = m.Token
	}
	family := s.Issuer.Begin(login.Grant{Key: key.ID, Permissions: permissions, NodeURL: m.NodeURL, Machine: m.Machine})
	s.Update(t, func(tx *store.Tx) error {
		if m.Key == "" {
			if err := tx.CreateKey(key, m.Permissions); err != nil {
				return err
			}
		}
		return errors.Join(s.Issuer.Cover(tx, family), tx.CreateFamily(family))
	})
	pair, err := s.Issuer.Sign(family)
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	return Token{Key: key.ID, Family: family.ID, Access: pair.Access, Refresh: pair.Refresh, Expires: family.Current.AccessExpiry}
}

// Root mints a root key with the given permissions.
func (s *Service) Root(t testing.TB, permissions ...string) Token {
	t.Helper()
	return s.Mint(t, Mint{Permissions: permissions})
}

// Client mints a client key of a root key.
func (s *Service) Client(t testing.TB, root Token, permissions ...string) Token {
	t.Helper()
	return s.Mint(t, Mint{Root: root.Key, Permissions: permissions})
}

// Update changes the records of the running service.
func (s *Service) Update(t testing.TB, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Store.Update(context.Background(), fn); err != nil {
		t.Fatalf("update the store: %v", err)
	}
}

// RevokeKey revokes a key.
func (s *Service) RevokeKey(t testing.TB, id string) {
	t.Helper()
	s.Update(t, func(tx *store.Tx) error {
		_, err := tx.RevokeKey(id, s.Clock.Now())
		return err
	})
}

// RevokeFamily ends a session.
func (s *Service) RevokeFamily(t testing.TB, id string) {
	t.Helper()
	s.Update(t, func(tx *store.Tx) error { return tx.RevokeFamily(id, s.Clock.Now()) })
}

// SetPermissions replaces the permissions of a key.
func (s *Service) SetPermissions(t testing.TB, id string, permissions ...string) {
	t.Helper()
	s.Update(t, func(tx *store.Tx) error { return tx.SetPermissions(id, permissions) })
}

// Reissue returns another access token of a minted session, which differs from it in its id alone.
func (s *Service) Reissue(t testing.TB, of Token, id string, permissions ...string) Token {
	t.Helper()
	access, _, err := s.Issuer.Tokens.Sign(token.Claims{
		Kind: token.KindAccess, Subject: of.Key, Family: of.Family, ID: id,
		IssuedAt: s.Clock.Now().Unix(), Expires: of.Expires, Permissions: permissions,
	})
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	of.Access, of.Refresh = access, ""
	return of
}
