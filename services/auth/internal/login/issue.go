package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// Pair is what a login or a refresh yields. Refresh is empty for machine tokens.
type Pair struct{ Access, Refresh string }

// Issuer makes token pairs. Set the exported fields before use.
type Issuer struct {
	Store         *store.Store
	Tokens        *token.Codec
	Secrets       *secret.Keyring
	AccessExpiry  time.Duration
	RefreshExpiry time.Duration
	Now           func() time.Time
}

// Grant says for whom a family is begun.
type Grant struct {
	Key         string
	Permissions []string // verbatim into the tokens
	NodeURL     string   // scheme://host[:port], "" for no binding
	ClientName  string
	Peer        string
	Provider    string        // which proved the identity, for the question at each refresh
	Renewal     string        // what it is asked, "" for nothing
	Machine     time.Duration // > 0: one access token of this life and no refresh token
}

// Begin returns a new family with its first generation. Nothing is stored: the caller passes it to Store in
// the transaction that creates what it belongs to, and to Sign after the commit.
func (i *Issuer) Begin(g Grant) store.Family {
	now := i.Now()
	f := store.Family{
		ID:         uuid.NewString(),
		Key:        g.Key,
		Created:    now.Unix(),
		ClientName: g.ClientName,
		Peer:       g.Peer,
		Machine:    g.Machine > 0,
		Number:     1,
	}
	if g.Renewal != "" {
		f.Provider, f.Renewal = g.Provider, g.Renewal
	}
	f.Current = i.generation(now, f, g.Permissions, g.NodeURL)
	if f.Machine {
		f.Current.AccessExpiry = now.Add(g.Machine).Unix()
		f.Current.RefreshID, f.Current.RefreshKID, f.Current.RefreshExpiry = "", "", 0
	}
	return f
}

// next returns the family with a new generation in place of the current one.
func (i *Issuer) next(f store.Family, permissions []string) store.Family {
	now := i.Now()
	f.PreviousRefreshID, f.RotatedAt, f.SuccessorPresented = f.Current.RefreshID, now.Unix(), false
	f.LastRefresh = now.Unix()
	f.Number++
	f.Current = i.generation(now, f, permissions, f.Current.NodeURL)
	return f
}

// generation returns the next tokens of a session. None outlives the session.
func (i *Issuer) generation(now time.Time, f store.Family, permissions []string, nodeURL string) store.Generation {
	end := i.Store.Limits.End(f.Created, f.Machine)
	return store.Generation{
		AccessKID:     i.Secrets.Signing(secret.Access).ID,
		RefreshKID:    i.Secrets.Signing(secret.Refresh).ID,
		AccessID:      uuid.NewString(),
		RefreshID:     uuid.NewString(),
		IssuedAt:      now.Unix(),
		AccessExpiry:  min(now.Add(i.AccessExpiry).Unix(), end),
		RefreshExpiry: min(now.Add(i.RefreshExpiry).Unix(), end),
		Permissions:   permissions,
		NodeURL:       nodeURL,
	}
}

// attempts bounds how often a secret may be withdrawn under an issue before it fails.
const attempts = 3

// Update is the transaction that stores what [Issuer.Begin] made. It is run again, with another secret, when the one
// that was chosen is withdrawn (rotated at once) before the transaction is.
func (i *Issuer) Update(ctx context.Context, fn func(*store.Tx) error) error {
	err := i.Store.Update(ctx, fn)
	for range attempts - 1 {
		if !errors.Is(err, secret.ErrRetired) {
			break
		}
		i.Secrets.Settle()
		err = i.Store.Update(ctx, fn)
	}
	return err
}

// Deliver signs the pair of a stored session. A secret that was withdrawn since the session was stored is replaced in
// its record first: its tokens would be void at birth.
func (i *Issuer) Deliver(ctx context.Context, f store.Family) (Pair, error) {
	pair, err := i.Sign(f)
	for range attempts - 1 {
		if !errors.Is(err, token.ErrUnknownKID) {
			break
		}
		if f, err = i.renewSecrets(ctx, f); err != nil {
			return Pair{}, err
		}
		pair, err = i.Sign(f)
	}
	return pair, err
}

// renewSecrets gives the current generation of f secrets that sign, unless the session has gone on meanwhile.
func (i *Issuer) renewSecrets(ctx context.Context, f store.Family) (store.Family, error) {
	var renewed store.Family
	err := i.Update(ctx, func(tx *store.Tx) (err error) {
		if renewed, err = tx.Family(f.ID); err != nil {
			return err
		}
		if renewed.RevokedAt != 0 || renewed.Current.AccessID != f.Current.AccessID {
			return errEnded
		}
		c := &renewed.Current
		if _, usable := i.Secrets.Lookup(secret.Access, c.AccessKID); !usable {
			c.AccessKID = i.Secrets.Signing(secret.Access).ID
		}
		if _, usable := i.Secrets.Lookup(secret.Refresh, c.RefreshKID); !usable && c.RefreshID != "" {
			c.RefreshKID = i.Secrets.Signing(secret.Refresh).ID
		}
		return errors.Join(i.Cover(tx, renewed), tx.SaveFamily(renewed))
	})
	return renewed, err
}

// Cover makes the store keep the secrets of the current generation for as long as its tokens live. Call it in
// the transaction that stores the family.
func (i *Issuer) Cover(tx *store.Tx, f store.Family) error {
	if err := i.Secrets.Cover(tx.Tx, secret.Access, f.Current.AccessKID, time.Unix(f.Current.AccessExpiry, 0)); err != nil {
		return fmt.Errorf("keep the access secret: %w", err)
	}
	if f.Current.RefreshID == "" {
		return nil
	}
	if err := i.Secrets.Cover(tx.Tx, secret.Refresh, f.Current.RefreshKID, time.Unix(f.Current.RefreshExpiry, 0)); err != nil {
		return fmt.Errorf("keep the refresh secret: %w", err)
	}
	return nil
}

// Covered is Cover's word after the commit.
func (i *Issuer) covered(f store.Family) {
	i.Secrets.Covered(secret.Access, f.Current.AccessKID, time.Unix(f.Current.AccessExpiry, 0))
	if f.Current.RefreshID != "" {
		i.Secrets.Covered(secret.Refresh, f.Current.RefreshKID, time.Unix(f.Current.RefreshExpiry, 0))
	}
}

// Sign returns the tokens of the current generation. They are a function of the record alone, so signing the
// same generation again yields the identical pair.
func (i *Issuer) Sign(f store.Family) (Pair, error) {
	i.covered(f)
	claims := token.Claims{
		Kind:        token.KindAccess,
		Subject:     f.Key,
		ID:          f.Current.AccessID,
		Family:      f.ID,
		NodeURL:     f.Current.NodeURL,
		IssuedAt:    f.Current.IssuedAt,
		Expires:     f.Current.AccessExpiry,
		Permissions: f.Current.Permissions,
	}
	access, err := i.Tokens.SignWith(f.Current.AccessKID, claims)
	if err != nil {
		return Pair{}, fmt.Errorf("sign the access token: %w", err)
	}
	if f.Current.RefreshID == "" {
		return Pair{Access: access}, nil
	}
	claims.Kind, claims.ID, claims.Expires = token.KindRefresh, f.Current.RefreshID, f.Current.RefreshExpiry
	refresh, err := i.Tokens.SignWith(f.Current.RefreshKID, claims)
	if err != nil {
		return Pair{}, fmt.Errorf("sign the refresh token: %w", err)
	}
	return Pair{Access: access, Refresh: refresh}, nil
}
