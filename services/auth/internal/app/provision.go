package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// provision brings the password account of the environment (MERO_AUTH_ADMIN_USER and _PASSWORD) into the store:
// a new account becomes an administrator and closes the bootstrap, the same password changes nothing, another
// one replaces the old and ends the user's sessions. Other root keys are never touched.
func (a *Service) provision(ctx context.Context, providers []provider.Provider) error {
	if a.cfg.Admin.User == "" {
		return nil
	}
	var passwords provider.Provider
	for _, p := range providers {
		if p.Name() == passwordProvider {
			passwords = p
		}
	}
	if passwords == nil {
		return errors.New("MERO_AUTH_ADMIN_USER needs the provider user_password: set providers.user_password = true")
	}
	data, err := json.Marshal(map[string]string{"username": a.cfg.Admin.User, "password": a.cfg.Admin.Password.Reveal()})
	if err != nil {
		return fmt.Errorf("MERO_AUTH_ADMIN_USER: %w", err)
	}
	attempt := provider.Attempt{PublicKey: a.cfg.Admin.User, Data: data}
	switch _, err := passwords.Authenticate(ctx, attempt); {
	case err == nil:
		return nil
	case !errors.Is(err, provider.ErrRejected):
		return fmt.Errorf("MERO_AUTH_ADMIN_USER: %w", err)
	}
	proof, err := passwords.Enroll(ctx, attempt)
	if err != nil {
		return fmt.Errorf("MERO_AUTH_ADMIN_PASSWORD: %w", err)
	}
	created := false
	err = a.records.Update(ctx, func(tx *store.Tx) error {
		created = false
		account, err := tx.Account(passwordProvider, proof.Account)
		if errors.Is(err, store.ErrNotFound) {
			created = true
			key, err := login.AddRoot(tx, login.RootGrant{
				Provider: passwordProvider, Proof: proof, Permissions: login.RootPermissions, Now: a.now(), Actor: audit.ByEnvironment,
			})
			if err != nil {
				return err
			}
			return errors.Join(a.bootstrap.Close(tx), tx.Audit(audit.Event{
				Time: a.now(), Action: audit.AccountProvisioned, Actor: audit.ByEnvironment, Subject: key.ID, Detail: "account " + proof.Account,
			}))
		}
		if err != nil {
			return err
		}
		account.PHC = proof.PasswordHash
		if err := tx.PutAccount(passwordProvider, account); err != nil {
			return err
		}
		ended, err := tx.RevokeFamilies(account.Key, a.now())
		if err != nil {
			return err
		}
		return tx.Audit(audit.Event{
			Time: a.now(), Action: audit.PasswordChanged, Actor: audit.ByEnvironment, Subject: account.Key,
			Detail: fmt.Sprintf("account %s; %d sessions ended", proof.Account, ended),
		})
	})
	if err != nil {
		return fmt.Errorf("MERO_AUTH_ADMIN_USER: %w", err)
	}
	if created {
		a.bootstrap.Closed(ctx)
		a.log.InfoContext(ctx, "the administrator of the environment was created", "user", a.cfg.Admin.User)
	} else {
		a.log.InfoContext(ctx, "the administrator of the environment has a new password; the user's sessions are ended", "user", a.cfg.Admin.User)
	}
	return nil
}
