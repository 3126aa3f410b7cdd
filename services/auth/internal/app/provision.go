package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// provision brings the password account of the environment (MERO_AUTH_ADMIN_USER and _PASSWORD) into the store:
// a new account becomes an administrator and closes the bootstrap, the same password changes nothing, another
// one replaces the old and ends the user's sessions. Other root keys are never touched, and neither is what administrators
// did to this one: a key that was revoked, has expired or lost its rights stays so, and the log says what to do.
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
	var proof provider.Proof // with a hash to store, if there is one to be stored
	switch _, err := passwords.Authenticate(ctx, attempt); {
	case err == nil:
	case !errors.Is(err, provider.ErrRejected):
		return fmt.Errorf("MERO_AUTH_ADMIN_USER: %w", err)
	default:
		if proof, err = passwords.Enroll(ctx, attempt); err != nil {
			return fmt.Errorf("MERO_AUTH_ADMIN_PASSWORD: %w", err)
		}
	}
	var found provisioned
	provide := func(tx *store.Tx) (err error) {
		found, err = a.provisioned(tx, proof)
		return err
	}
	if proof.PasswordHash == "" {
		err = a.records.View(ctx, provide)
	} else {
		err = a.records.Update(ctx, provide)
	}
	if err != nil {
		return fmt.Errorf("MERO_AUTH_ADMIN_USER: %w", err)
	}
	a.sayProvisioned(ctx, found)
	return nil
}

// provisioned is what became of the account of the environment.
type provisioned struct {
	created, changed bool
	key              store.Key
	admin            bool // the key holds admin
}

// provisioned finds the account of the environment, and makes or changes it when proof has a hash to store.
func (a *Service) provisioned(tx *store.Tx, proof provider.Proof) (found provisioned, err error) {
	account, err := tx.Account(passwordProvider, a.cfg.Admin.User)
	if errors.Is(err, store.ErrNotFound) {
		found.created, found.admin = true, true
		found.key, err = login.AddRoot(tx, login.RootGrant{
			Provider: passwordProvider, Proof: proof, Permissions: login.RootPermissions, Now: a.now(), Actor: audit.ByEnvironment,
		})
		if err != nil {
			return found, err
		}
		return found, errors.Join(a.bootstrap.Close(tx), tx.Audit(audit.Event{
			Time: a.now(), Action: audit.AccountProvisioned, Actor: audit.ByEnvironment, Subject: found.key.ID, Detail: "account " + proof.Account,
		}))
	}
	if err != nil {
		return found, err
	}
	if found.key, err = tx.Key(account.Key); err != nil {
		return found, err
	}
	permissions, err := tx.Permissions(account.Key)
	if err != nil {
		return found, err
	}
	found.admin = permission.NewSet(permissions).Admin()
	if proof.PasswordHash == "" || found.key.RevokedAt != 0 {
		return found, nil
	}
	found.changed = true
	account.PHC = proof.PasswordHash
	if err := tx.PutAccount(passwordProvider, account); err != nil {
		return found, err
	}
	ended, err := tx.RevokeFamilies(account.Key, a.now())
	if err != nil {
		return found, err
	}
	return found, tx.Audit(audit.Event{
		Time: a.now(), Action: audit.PasswordChanged, Actor: audit.ByEnvironment, Subject: account.Key,
		Detail: fmt.Sprintf("account %s; %d sessions ended", account.Name, ended),
	})
}

// sayProvisioned logs what was done, and what has to be done by people.
func (a *Service) sayProvisioned(ctx context.Context, found provisioned) {
	user := a.cfg.Admin.User
	switch {
	case found.created:
		a.bootstrap.Closed(ctx)
		a.log.InfoContext(ctx, "the administrator of the environment was created", "user", user)
	case found.changed:
		a.log.InfoContext(ctx, "the user of the environment has a new password; the user's sessions are ended", "user", user)
	}
	warn := func(state, do string) {
		a.log.WarnContext(ctx, "the user of the environment is no administrator", "user", user, "key_id", found.key.ID, "because", state, "do", do)
	}
	switch {
	case found.key.RevokedAt != 0:
		warn("its key was revoked, which nothing undoes, so it cannot log in", "have an administrator make it a new key ("+a.name+
			" keys create --replace-revoked --user), name another user in MERO_AUTH_ADMIN_USER, or run "+a.name+" keys recover")
	case !found.key.Live(a.now()):
		warn("its key has expired, so it cannot log in", "have an administrator set another expires_at (PATCH /admin/keys/{key_id}), "+
			"or name another user in MERO_AUTH_ADMIN_USER")
	case !found.admin:
		warn("its key does not hold admin", "run "+a.name+" keys permissions "+found.key.ID+" --add admin as an administrator, or "+
			a.name+" keys recover --key "+found.key.ID)
	}
}
