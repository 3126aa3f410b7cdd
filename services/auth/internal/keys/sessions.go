package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// Session is a session that goes on.
type Session struct {
	store.Family
	LastUsed int64 // Unix seconds
	Expires  int64 // Unix seconds; the last of its tokens, its key, its root or its greatest age, whichever ends first
	IdleEnd  int64 // Unix seconds at which it is over if it is not used before; 0 without an idle time-out
	Own      bool  // it is the caller's
}

var errNoSession = fault.New(fault.NotFound, "Session not found")

// Sessions returns the live sessions of a key, the newest first, and the cursor of the next page. Everybody may see
// those of the own key; those of others need keys:list.
func (s *Service) Sessions(ctx context.Context, caller *gate.Session, keyID string, p Page) (list []Session, next string, err error) {
	if keyID != caller.KeyID && !caller.Rights.Allows(listKeys) {
		return nil, "", errDenied
	}
	after, err := p.newest()
	if err != nil {
		return nil, "", err
	}
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		list, err = s.sessions(tx, caller, keyID)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	slices.SortFunc(list, newestFirst)
	if p.Cursor != "" {
		list = slices.DeleteFunc(list, func(item Session) bool { return newestFirst(item, after) <= 0 })
	}
	list, more := cut(p, list)
	if more {
		last := list[len(list)-1]
		next = fmt.Sprintf("%d.%s", last.Created, last.ID)
	}
	return list, next, nil
}

func newestFirst(a, b Session) int {
	return cmp.Or(cmp.Compare(b.Created, a.Created), cmp.Compare(a.ID, b.ID))
}

// newest reads the cursor of a list of sessions: time of creation and id of the last one.
func (p Page) newest() (last Session, err error) {
	created, id, found := strings.Cut(p.Cursor, ".")
	last.ID = id
	if p.Cursor != "" {
		last.Created, err = strconv.ParseInt(created, 10, 64)
		if !found || err != nil {
			return last, errCursor
		}
	}
	return last, nil
}

// sessions returns the sessions of a key that go on.
func (s *Service) sessions(tx *store.Tx, caller *gate.Session, keyID string) ([]Session, error) {
	key, err := tx.Key(keyID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoKey
	}
	if err != nil {
		return nil, err
	}
	ends := []int64{store.Never}
	root := key
	if key.Type == store.Client {
		if root, err = tx.Key(key.RootKeyID); err != nil {
			return nil, err
		}
	}
	for _, k := range []store.Key{key, root} {
		if !k.Live(s.Now()) {
			return nil, nil
		}
		if k.ExpiresAt != 0 {
			ends = append(ends, k.ExpiresAt)
		}
	}
	families, err := tx.Families(keyID)
	if err != nil {
		return nil, err
	}
	var list []Session
	for _, f := range families {
		item, live, err := s.session(tx, f, slices.Min(ends))
		if err != nil {
			return nil, err
		}
		if live {
			item.Own = f.ID == caller.Family
			list = append(list, item)
		}
	}
	return list, nil
}

// session completes a session whose key ends at a time and tells whether it goes on.
func (s *Service) session(tx *store.Tx, f store.Family, keyEnds int64) (item Session, live bool, err error) {
	now, limits := s.Now().Unix(), s.Store.Limits
	item = Session{Family: f, Expires: min(f.Expires(), keyEnds, limits.End(f.Created, f.Machine))}
	if item.LastUsed, err = s.Store.LastUse(tx, f); err != nil {
		return item, false, err
	}
	span := limits.Span(f.Machine)
	if span != store.Never {
		item.IdleEnd = item.LastUsed + span
	}
	return item, f.RevokedAt == 0 && now < item.Expires && now-item.LastUsed < span, nil
}

// EndSession ends a session of a key and returns when. Everybody may end those of the own key; those of others need
// keys:delete.
func (s *Service) EndSession(ctx context.Context, caller *gate.Session, keyID, family string) (at time.Time, err error) {
	own := keyID == caller.KeyID
	if !own && !caller.Rights.Allows(deleteKeys) {
		return at, errDenied
	}
	at = s.Now()
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		by, err := s.admitted(tx, caller)
		if err != nil {
			return err
		}
		if !own && !by.rights.Allows(deleteKeys) {
			return errDenied
		}
		f, err := tx.Family(family)
		if errors.Is(err, store.ErrNotFound) || (err == nil && (f.Key != keyID || f.RevokedAt != 0)) {
			return errNoSession
		}
		if err != nil {
			return err
		}
		return errors.Join(tx.RevokeFamily(family, at), tx.Audit(audit.Event{
			Time: at, Action: audit.SessionRevoked, Actor: caller.KeyID, Subject: family, Detail: "of key " + keyID,
		}))
	})
	if err == nil {
		s.Log.InfoContext(ctx, "session ended", "key_id", keyID, "family", family, "by", caller.KeyID)
	}
	return at, err
}
