package keys

import (
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// ErrLastAdmin refuses to remove the last live root key with admin rights: nobody could undo it.
var ErrLastAdmin = fault.New(fault.Conflict, "Cannot delete the last active root key")

// keepAdmin refuses a change that takes admin rights away from root key k, now or at a time, when nobody would be left
// with them: no other live administrator, or only such as expire while k does not. Every such change asks it.
func (s *Service) keepAdmin(tx *store.Tx, k store.Key) error {
	if k.Type != store.Root || !k.Live(s.Now()) {
		return nil
	}
	if admin, err := holdsAdmin(tx, k.ID); err != nil || !admin {
		return err
	}
	others := false
	for other, err := range tx.Keys(store.Root) {
		if err != nil {
			return err
		}
		if other.ID == k.ID || !other.Live(s.Now()) {
			continue
		}
		admin, err := holdsAdmin(tx, other.ID)
		if err != nil {
			return err
		}
		if admin && other.ExpiresAt == 0 {
			return nil
		}
		others = others || admin
	}
	if others && k.ExpiresAt != 0 {
		return nil
	}
	return ErrLastAdmin
}

func holdsAdmin(tx *store.Tx, id string) (bool, error) {
	held, err := tx.Permissions(id)
	return err == nil && permission.NewSet(held).Admin(), err
}
