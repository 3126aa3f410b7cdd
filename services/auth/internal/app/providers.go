package app

import (
	"context"
	"errors"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// openProviders returns the enabled providers in the order in which clients see them. A new provider is a
// line here and a package under provider.
func (a *App) openProviders(c config.Config) []provider.Provider {
	var list []provider.Provider
	if c.Providers.EthWallet {
		list = append(list, &ethereum.Provider{
			Config: c.Eth, PublicURL: c.PublicURL, VerifyChallenge: a.challenges.Verify, Now: a.now,
		})
	}
	if c.Providers.UserPassword {
		if a.passwords == nil {
			a.passwords = openPasswords(c.UserPassword, a.records)
		}
		list = append(list, a.passwords) // the same after a reload: it bounds the hashes that run at once
	}
	return list
}

// passwordProvider is the provider that keeps accounts of its own.
const passwordProvider = "user_password"

func openPasswords(c config.UserPassword, records *store.Store) *password.Provider {
	return &password.Provider{
		Accounts: func(ctx context.Context, name string) (keyID, phc string, found bool, err error) {
			err = records.View(ctx, func(tx *store.Tx) error {
				account, err := tx.Account(passwordProvider, name)
				if errors.Is(err, store.ErrNotFound) {
					return nil
				}
				keyID, phc, found = account.Key, account.PHC, err == nil
				return err
			})
			return keyID, phc, found, err
		},
		Config: c,
	}
}
