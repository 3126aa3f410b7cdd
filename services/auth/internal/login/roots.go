package login

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// RootGrant describes a root key to add.
type RootGrant struct {
	Provider    string
	Proof       provider.Proof
	Permissions []string
	NodeURL     string
	Name        string
	ExpiresAt   int64  // Unix seconds, 0 = never
	CreatedBy   string // key id of the administrator, "" for the first key and for provisioning
	Replaces    string // id of the revoked key whose password account passes to the new one, "" for none
	Actor       string // for the audit; CreatedBy, or the key itself, when empty
	Now         time.Time
}

// AddRoot stores a root key and, for passwords, its account. A key of that identity, revoked or not, and an account of a
// key other than the one that the grant replaces, is store.ErrExists. The audit gets its record.
func AddRoot(tx *store.Tx, g RootGrant) (store.Key, error) {
	key := store.Key{
		ID: g.Proof.KeyID, Type: store.Root, CreatedAt: g.Now.Unix(), CreatedBy: g.CreatedBy,
		PublicKey: g.Proof.PublicKey, AuthMethod: g.Provider, NodeURL: g.NodeURL, Name: g.Name, ExpiresAt: g.ExpiresAt,
	}
	if key.ID == "" {
		key.ID = randomKeyID()
	}
	if err := tx.CreateKey(key, g.Permissions); err != nil {
		return store.Key{}, err
	}
	detail := "provider " + g.Provider + "; permissions " + permission.Join(g.Permissions)
	if g.Replaces != "" {
		detail = "has the account of the revoked key " + g.Replaces + "; " + detail
	}
	if err := tx.Audit(audit.Event{
		Time: g.Now, Action: audit.RootCreated, Actor: cmp.Or(g.Actor, g.CreatedBy, key.ID), Subject: key.ID, Detail: detail,
	}); err != nil {
		return store.Key{}, err
	}
	if g.Proof.PasswordHash == "" {
		return key, nil
	}
	switch account, err := tx.Account(g.Provider, g.Proof.Account); {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return store.Key{}, err
	case account.Key != g.Replaces:
		return store.Key{}, store.ErrExists
	}
	return key, tx.PutAccount(g.Provider, store.Account{Name: g.Proof.Account, Key: key.ID, PHC: g.Proof.PasswordHash})
}

// renewHash refuses a password that is no longer the stored one, and stores its new hash if there is one. The hash of
// a new password ends the sessions of the account's key.
func (s *Service) renewHash(tx *store.Tx, providerName string, proof provider.Proof) error {
	if proof.Verified == "" {
		return nil
	}
	account, err := tx.Account(providerName, proof.Account)
	switch {
	case err != nil:
		return err
	case account.PHC != proof.Verified:
		return errChanged
	case proof.PasswordHash == "":
		return nil
	}
	account.PHC = proof.PasswordHash
	if err := tx.PutAccount(providerName, account); err != nil || !proof.Changed {
		return err
	}
	if _, err := tx.RevokeFamilies(account.Key, s.Now()); err != nil {
		return err
	}
	return tx.Audit(audit.Event{Time: s.Now(), Action: audit.PasswordChanged, Actor: account.Key, Subject: account.Key})
}

// randomKeyID returns 256 random bits in hex, the shape of the derived ids of wallets.
func randomKeyID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails (it crashes the program instead)
	return hex.EncodeToString(b[:])
}
