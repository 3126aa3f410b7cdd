package keys

import (
	"errors"
	"fmt"
	"html"
	"slices"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// What the rows of the route table ask for. A request was admitted by its row; what it changes is judged once more, in
// the transaction of the change, because rights may have been taken away since.
var (
	adminOnly     = permission.MustParse("admin")
	listKeys      = permission.MustParse("keys:list")
	deleteKeys    = permission.MustParse("keys:delete")
	deleteClients = permission.MustParse("keys:clients:delete")
)

var errDenied = fault.New(fault.Forbidden, "permission denied").Because(identity.PermissionDenied)

// standing is the caller of a change as the change's transaction sees it.
type standing struct {
	key    store.Key
	rights gate.Rights // of the token, and of key and root as they are now
}

// admitted repeats, in the transaction of a change, what may have happened since the request was admitted: the
// caller's session, key or root was revoked, or what they may do was narrowed.
func (s *Service) admitted(tx *store.Tx, caller *gate.Session, required ...permission.Permission) (standing, error) {
	var by standing
	now := s.Now()
	family, err := tx.Family(caller.Family)
	if err := unlessRevoked(err, family.RevokedAt == 0); err != nil {
		return by, err
	}
	root, err := tx.Key(caller.RootID)
	if err := unlessRevoked(err, root.Live(now)); err != nil {
		return by, err
	}
	by.key, err = tx.Key(caller.KeyID)
	if err := unlessRevoked(err, by.key.Live(now)); err != nil {
		return by, err
	}
	by.rights = slices.Clone(caller.Rights)
	for _, id := range []string{caller.KeyID, caller.RootID} {
		held, err := tx.Permissions(id)
		if err != nil {
			return by, err
		}
		by.rights = append(by.rights, permission.NewSet(held))
	}
	for _, p := range required {
		if !by.rights.Allows(p) {
			return by, errDenied
		}
	}
	return by, nil
}

func unlessRevoked(err error, live bool) error {
	if errors.Is(err, store.ErrNotFound) || (err == nil && !live) {
		return fault.New(fault.Forbidden, "the session or key of this token has been revoked").Because(identity.TokenRevoked)
	}
	return err
}

// mayGrant refuses permissions that the caller does not hold.
func (by standing) mayGrant(list []string) error {
	for _, text := range list {
		if p, err := permission.Parse(text); err != nil || !by.rights.MayGrant(p) {
			return fault.Wrap(err, fault.Forbidden, "Cannot grant permissions that exceed your own")
		}
	}
	return nil
}

// written returns a list as it may be stored, each text once. What does not parse is refused and never mended: a
// mended text could be another permission.
func written(list []string) ([]string, error) {
	if len(list) > permission.MaxCount {
		return nil, fault.Wrap(permission.ErrTooMany, fault.Invalid, fmt.Sprintf("more than %d permissions", permission.MaxCount))
	}
	once := make([]string, 0, len(list))
	for _, text := range list {
		if _, err := permission.Parse(text); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "Invalid permission format: "+html.EscapeString(text))
		}
		if !slices.Contains(once, text) {
			once = append(once, text)
		}
	}
	if err := permission.Validate(once); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, err.Error())
	}
	return once, nil
}
