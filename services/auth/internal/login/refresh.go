package login

import (
	"context"
	"errors"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// The refusals of a refresh. None carries token_expired or invalid_token: clients that see those words on the
// refresh answer wait for their own refresh, or log out.
var (
	errStillValid = fault.New(fault.Unauthenticated, "Access token still valid") // clients match this text
	errMismatch   = fault.New(fault.Unauthenticated, "access and refresh tokens do not belong to the same session")
	errReuse      = fault.New(fault.Unauthenticated, "refresh token was used already: the session is ended").Because(identity.TokenReuse)
	errEnded      = fault.New(fault.Unauthenticated, "the session or its key has been revoked").Because(identity.TokenRevoked)
	errIdle       = fault.New(fault.Unauthenticated, "the session was not used for too long, log in again").Because(identity.TokenRevoked)
	errAged       = fault.New(fault.Unauthenticated, "the session has lasted for as long as it may, log in again").Because(identity.TokenRevoked)
	errHost       = fault.New(fault.Forbidden, "the token is not valid for this host").Because(identity.InvalidNode)
)

// Refresh exchanges a refresh token for the next pair of its family. access is the pair's access token, which
// must be (nearly) used up and of the same family. host is where the request was sent to.
func (s *Service) Refresh(ctx context.Context, access, refresh, host string) (Pair, error) {
	verified, err := s.Issuer.Tokens.Verify(refresh, token.KindRefresh)
	if err != nil {
		return Pair{}, fault.Wrap(err, fault.Unauthenticated, "invalid refresh token")
	}
	claims := verified.Claims()
	if refusal := s.unfit(access, claims, host); refusal != nil {
		over, err := s.presented(ctx, claims)
		switch {
		case err != nil:
			return Pair{}, err
		case over != nil && errors.Is(refusal, errStillValid):
			// The gate refuses the access token and sends its owner here: "still valid" would send it back.
			return Pair{}, over
		}
		return Pair{}, refusal
	}
	if err := s.renew(ctx, claims); err != nil {
		return Pair{}, err
	}
	var family store.Family
	var refusal error
	err = s.Issuer.Update(ctx, func(tx *store.Tx) (err error) {
		family, refusal, err = s.rotate(tx, claims)
		return err
	})
	switch {
	case err != nil:
		return Pair{}, err
	case refusal != nil:
		return Pair{}, refusal
	}
	s.Store.Used(family, s.Now())
	return s.Issuer.Deliver(ctx, family)
}

// unfit returns why a good refresh token cannot be exchanged, nil when it can. An access token whose secret is
// retired counts as expired: its family and subject are read unverified, which is enough, because the refresh
// token alone authenticates.
func (s *Service) unfit(access string, refresh token.Claims, host string) error {
	seen, err := s.Issuer.Tokens.InspectAccess(access)
	switch {
	case err != nil:
		return fault.Wrap(err, fault.Unauthenticated, "invalid access token")
	case seen.Family != refresh.Family || seen.Subject != refresh.Subject:
		return errMismatch
	case !s.HostAllowed(gate.ParseNodeBinding(refresh.NodeURL), host):
		return errHost
	case seen.State != token.Live:
		return nil
	}
	window := min(s.RefreshWindow, time.Duration(seen.Expires-seen.IssuedAt)*time.Second/4)
	if time.Unix(seen.Expires, 0).Sub(s.Now()) > window {
		return errStillValid
	}
	return nil
}

// presented notes that a refresh token came, although it was refused. If it is the successor of a rotation still in
// its grace period, the grace ends: its owner evidently has it. over says why the session has ended, nil if it goes on.
func (s *Service) presented(ctx context.Context, claims token.Claims) (over, err error) {
	ends := false // the grace
	look := func(tx *store.Tx) (f store.Family, err error) {
		f, _, over, err = s.current(tx, claims)
		ends = over == nil && f.Current.RefreshID == claims.ID && s.inGrace(f)
		return f, err
	}
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		_, err := look(tx)
		return err
	})
	if err != nil || !ends {
		return over, err
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		f, err := look(tx)
		if err != nil || !ends {
			return err
		}
		f.SuccessorPresented = true
		return tx.SaveFamily(f)
	})
	return over, err
}

func (s *Service) inGrace(f store.Family) bool {
	return f.PreviousRefreshID != "" && !f.SuccessorPresented &&
		s.Now().Sub(time.Unix(f.RotatedAt, 0)) <= s.RefreshGrace
}

// current returns the session of a refresh token and the present permissions of its key. over says why the session or
// its key has ended, nil if they go on.
func (s *Service) current(tx *store.Tx, claims token.Claims) (f store.Family, permissions []string, over, err error) {
	f, err = tx.Family(claims.Family)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return f, nil, errEnded, nil
	case err != nil:
		return f, nil, nil, err
	case f.RevokedAt != 0 || f.Key != claims.Subject:
		return f, nil, errEnded, nil
	}
	last, err := s.Store.LastUse(tx, f)
	if err != nil {
		return f, nil, nil, err
	}
	now := s.Now().Unix()
	switch limits := s.Store.Limits; {
	case now >= limits.End(f.Created, f.Machine):
		return f, nil, errAged, nil
	case now-last >= limits.Span(f.Machine):
		return f, nil, errIdle, nil
	}
	permissions, err = s.liveKey(tx, f.Key)
	if errors.Is(err, errEnded) {
		return f, nil, errEnded, nil
	}
	return f, permissions, nil, err
}

// rotate decides and performs one refresh. A refusal that must be stored (the revocation of a family whose
// token was reused) comes back as refusal with a nil error, so that the transaction commits.
func (s *Service) rotate(tx *store.Tx, claims token.Claims) (f store.Family, refusal, err error) {
	f, permissions, over, err := s.current(tx, claims)
	if over != nil || err != nil {
		return f, over, err
	}
	switch claims.ID {
	case f.Current.RefreshID:
		f = s.Issuer.next(f, permissions)
		if err := s.Issuer.Cover(tx, f); err != nil {
			return f, nil, err
		}
		return f, nil, tx.SaveFamily(f)
	case f.PreviousRefreshID:
		if s.inGrace(f) {
			return f, nil, nil
		}
	}
	if err := tx.RevokeFamily(f.ID, s.Now()); err != nil {
		return f, nil, err
	}
	return f, errReuse, tx.Audit(audit.Event{
		Time: s.Now(), Action: audit.TokenReused, Outcome: audit.Refused, Actor: f.Key, Subject: f.ID,
		Reason: identity.TokenReuse, Detail: "the session is ended",
	})
}

// liveKey returns the present permissions of a key that is live, as is its root; else errEnded.
func (s *Service) liveKey(tx *store.Tx, id string) ([]string, error) {
	now := s.Now()
	key, err := tx.Key(id)
	if errors.Is(err, store.ErrNotFound) || (err == nil && !key.Live(now)) {
		return nil, errEnded
	}
	if err != nil {
		return nil, err
	}
	if key.Type == store.Client {
		root, err := tx.Key(key.RootKeyID)
		if errors.Is(err, store.ErrNotFound) || (err == nil && !root.Live(now)) {
			return nil, errEnded
		}
		if err != nil {
			return nil, err
		}
	}
	return tx.Permissions(id)
}
