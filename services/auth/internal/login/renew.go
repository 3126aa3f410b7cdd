package login

import (
	"context"
	"errors"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// Renewal is what a provider said when it was asked again at a refresh.
type Renewal string

// The outcomes.
const (
	Confirmed  Renewal = "confirmed"
	Denied     Renewal = "denied"     // the session ended
	Unanswered Renewal = "unanswered" // nobody knows, and the session went on
)

var errUnproved = fault.New(fault.Unauthenticated, "what proved the identity at the login does so no longer: the session is ended, log in again").
	Because(identity.TokenRevoked)

// renew asks the provider of a session whether the identity is still proved, if it is one that can tell, before the session
// goes on. A plain no ends the session; without an answer it goes on: tokens are short-lived, and whoever stops the
// provider's server must not be able to log everybody out.
func (s *Service) renew(ctx context.Context, claims token.Claims) error {
	var f store.Family
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		found, _, over, err := s.current(tx, claims)
		// The transaction that follows refuses what is over or used, and a repeat gets what was decided already.
		if err == nil && over == nil && claims.ID == found.Current.RefreshID {
			f = found
		}
		return err
	})
	if err != nil || f.Renewal == "" {
		return err
	}
	renewer, is := s.Provider(f.Provider).(provider.Renewer)
	if !is {
		return nil
	}
	outcome, err := Confirmed, renewer.Renew(ctx, f.Renewal)
	switch {
	case errors.Is(err, provider.ErrRejected):
		outcome = Denied
	case err != nil && ctx.Err() != nil:
		return err // the client has left
	case err != nil:
		outcome = Unanswered
		s.Log.WarnContext(ctx, "a session was refreshed without the word of its provider", "provider", f.Provider, "key_id", f.Key,
			"session", f.ID, "error", err.Error())
	}
	if s.Renewed != nil {
		s.Renewed(f.Provider, outcome)
	}
	if outcome != Denied {
		return nil
	}
	return s.disown(ctx, f, err)
}

// disown ends a session whose provider denies what it was begun with, and returns the refusal.
func (s *Service) disown(ctx context.Context, f store.Family, why error) error {
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.Family(f.ID)
		switch {
		case err != nil:
			return err
		case now.RevokedAt != 0:
			return errEnded
		}
		if err := tx.RevokeFamily(f.ID, s.Now()); err != nil {
			return err
		}
		return tx.Audit(audit.Event{
			Time: s.Now(), Action: audit.SessionRevoked, Actor: audit.BySystem, Subject: f.ID, Reason: "identity_unproved",
			Detail: "of key " + f.Key + "; " + f.Provider + ": " + why.Error(),
		})
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errEnded
	case err != nil:
		return err
	}
	s.Log.InfoContext(ctx, "a session was ended: its identity is proved no longer", "provider", f.Provider, "key_id", f.Key, "session", f.ID)
	return errUnproved
}
