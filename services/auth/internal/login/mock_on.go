//go:build mock

package login

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// MockRequest asks for tokens without any proof.
type MockRequest struct {
	Name          string // [A-Za-z0-9_-], at most 64 bytes: part of the key's id
	Permissions   []string
	NodeURL       string
	AccessExpiry  time.Duration // 0 = as configured
	RefreshExpiry time.Duration // 0 = as configured
	Peer          string
}

// Mock makes a root key mock_<name>_<Unix seconds>_<random> and begins a session of it. It exists in builds for tests
// only.
func (s *Service) Mock(ctx context.Context, r MockRequest) (p Pair, keyID string, err error) {
	if len(r.Permissions) == 0 {
		r.Permissions = RootPermissions
	}
	if err := permission.Validate(r.Permissions); err != nil {
		return p, "", fault.Wrap(err, fault.Invalid, "Invalid permission format: "+err.Error())
	}
	issuer := *s.Issuer
	for _, life := range []struct {
		name       string
		wanted     time.Duration
		configured *time.Duration
	}{{"access_token_expiry", r.AccessExpiry, &issuer.AccessExpiry}, {"refresh_token_expiry", r.RefreshExpiry, &issuer.RefreshExpiry}} {
		switch {
		case life.wanted == 0:
		case life.wanted < time.Second || life.wanted > *life.configured:
			return p, "", fault.New(fault.Invalid, fmt.Sprintf("%s must be 1 to %d seconds", life.name, int64(life.configured.Seconds())))
		default:
			*life.configured = life.wanted
		}
	}
	keyID = fmt.Sprintf("mock_%s_%d_%s", r.Name, s.Now().Unix(), uuid.NewString()[:8])
	var family store.Family
	err = issuer.Update(ctx, func(tx *store.Tx) error {
		grant := RootGrant{Provider: "mock_auth", Proof: provider.Proof{KeyID: keyID, PublicKey: "mock_public_key"}, Permissions: r.Permissions, Now: s.Now()}
		if _, err := AddRoot(tx, grant); err != nil {
			return err
		}
		family = issuer.Begin(Grant{Key: keyID, Permissions: r.Permissions, NodeURL: gate.NodeURL(r.NodeURL), ClientName: r.Name, Peer: r.Peer})
		if err := issuer.Cover(tx, family); err != nil {
			return err
		}
		return tx.CreateFamily(family)
	})
	if err != nil {
		return p, "", err
	}
	p, err = issuer.Deliver(ctx, family)
	return p, keyID, err
}
