package near

import (
	"context"
	"fmt"
	"strings"

	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

// renewal is what a login was proved by: the network's account and the key that had full access to it.
type renewal struct {
	network, account string
	key              publicKey
}

// String writes the three with blanks between them, which none of them holds.
func (r renewal) String() string { return r.network + " " + r.account + " " + r.key.String() }

func parseRenewal(text string) (renewal, error) {
	parts := strings.Split(text, " ")
	if len(parts) != 3 {
		return renewal{}, fmt.Errorf("near: %d parts of what proved a login, want 3", len(parts))
	}
	key, err := parseKey(parts[2])
	if err != nil {
		return renewal{}, fmt.Errorf("near: what proved a login: %w", err)
	}
	return renewal{parts[0], parts[1], key}, nil
}

// Renew implements [provider.Renewer]: it asks whether the key that began a session still has full access to the account.
// Whoever takes a stolen key off the account ends its sessions with it. Without an RPC node nothing is asked.
func (p *Provider) Renew(ctx context.Context, text string) error {
	r, err := parseRenewal(text)
	switch {
	case err != nil:
		return err
	case p.RPC == nil:
		return nil
	case r.network != p.Config.Network:
		return fmt.Errorf("%w: near: a session of %s, and the node that can be asked is of %s", provider.ErrUnavailable, r.network, p.Config.Network)
	}
	return p.checkAccess(ctx, r.account, r.key)
}
