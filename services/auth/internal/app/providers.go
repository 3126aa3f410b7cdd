package app

import (
	"context"
	"errors"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/near"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// openProviders returns the enabled providers in the order in which clients see them. A new provider is a
// line here and a package under provider (see docs/providers.md). After a reload the clients of RPC nodes and the
// provider of passwords are the same: they bound what runs at once.
func (a *Service) openProviders(c config.Config) []provider.Provider {
	var list []provider.Provider
	if c.Providers.NearWallet {
		list = append(list, &near.Provider{
			Config: c.Near, VerifyChallenge: a.challenges.Verify, RPC: a.openRPC("near", c.Near.RPCURL, c.Near.APIKey),
		})
	}
	if c.Providers.EthWallet {
		list = append(list, &ethereum.Provider{
			Config: c.Eth, PublicURL: c.PublicURL, VerifyChallenge: a.challenges.Verify, RPC: a.openRPC("eth", c.Eth.RPCURL, ""), Now: a.now,
		})
	}
	if c.Providers.UserPassword {
		if a.passwords == nil {
			a.passwords = openPasswords(c.UserPassword, a.records)
		}
		list = append(list, a.passwords)
	}
	return list
}

// openRPC returns a client of an RPC node, the one of that name if there is one already, which ends with a; nil when there is no node.
func (a *Service) openRPC(name string, address config.Endpoint, key config.Secret) *jsonrpc.Client {
	if address == "" {
		return nil
	}
	for _, known := range a.rpc {
		if known.Health().Name == name {
			return known
		}
	}
	client := jsonrpc.New(jsonrpc.Options{Name: name, URL: address.Reveal(), APIKey: key.Reveal(), Now: a.now})
	a.rpc = append(a.rpc, client)
	a.cleanups = append(a.cleanups, func() error {
		client.Close()
		return nil
	})
	return client
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
