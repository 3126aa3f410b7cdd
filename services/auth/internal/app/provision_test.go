package app_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

func withAdmin(c config.Config, user, password string) config.Config {
	c.Admin = config.Admin{User: user, Password: config.Secret(password)}
	return c
}

// roots returns the root keys by the name that people know them by.
func (i *instance) roots(t *testing.T) map[string]store.Key {
	t.Helper()
	all := map[string]store.Key{}
	err := i.Parts().Store.View(t.Context(), func(tx *store.Tx) error {
		for k, err := range tx.Keys(store.Root) {
			if err != nil {
				return err
			}
			all[k.PublicKey] = k
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (i *instance) phc(t *testing.T, user string) (phc string) {
	t.Helper()
	err := i.Parts().Store.View(t.Context(), func(tx *store.Tx) error {
		account, err := tx.Account("user_password", user)
		phc = account.PHC
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return phc
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// MERO_AUTH_ADMIN_USER and _PASSWORD over the life of a store: a new account, the same again, another password,
// another user, beside the keys of others.
func TestProvisioning(t *testing.T) {
	base := settings(t)
	file := filepath.Join(base.Storage.Path, "bootstrap.secret")
	// An empty store waits for its first login …
	waiting := run(t, base)
	secret := waiting.secret(t)
	if !exists(t, file) {
		t.Error("an empty store has no file with its secret")
	}
	if err := waiting.stop(); err != nil {
		t.Fatal(err)
	}
	// … until the environment brings an administrator.
	i := run(t, withAdmin(base, "ops", "first password"))
	if exists(t, file) {
		t.Error("the file of the secret is left after provisioning")
	}
	err := i.Parts().Store.View(t.Context(), func(tx *store.Tx) error {
		b, err := tx.Bootstrap()
		if !b.Closed || b.SHA256 != nil {
			t.Errorf("the bootstrap after provisioning: %+v, want closed", b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, status := i.login(t, "mallory", "mallory's own", secret); status != http.StatusUnauthorized {
		t.Errorf("first login with the old secret beside a provisioned administrator: %d, want 401", status)
	}
	pair, status := i.login(t, "ops", "first password", "")
	if status != http.StatusOK {
		t.Fatalf("login of the administrator: %d", status)
	}
	// Somebody else's root key, and a session of it.
	create := map[string]any{
		"public_key": "bob", "auth_method": "user_password", "provider_data": map[string]string{"username": "bob", "password": "bob's password"},
	}
	if status, _ := i.call(t, "POST", "/admin/keys", pair.Access, create, nil); status != http.StatusOK {
		t.Fatalf("second root key: %d", status)
	}
	bob, _ := i.login(t, "bob", "bob's password", "")
	roots, phc := i.roots(t), i.phc(t, "ops")
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}

	i = run(t, withAdmin(base, "ops", "first password"))
	if got := i.roots(t); !reflect.DeepEqual(got, roots) || i.phc(t, "ops") != phc {
		t.Errorf("the same password changed the keys: %v, want %v", got, roots)
	}
	if status, reason := i.call(t, "GET", "/admin/keys", pair.Access, nil, nil); status != http.StatusOK {
		t.Errorf("the same password ended the session: %d %s", status, reason)
	}
	var client tokens
	i.call(t, "POST", "/admin/client-key", pair.Access, map[string]any{"permissions": []string{"keys:list"}}, &client)
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}

	i = run(t, withAdmin(base, "ops", "second password"))
	if got := i.roots(t); !reflect.DeepEqual(got, roots) || i.phc(t, "ops") == phc {
		t.Errorf("another password changed the keys: %v, want %v with another hash", got, roots)
	}
	for name, tt := range map[string]struct {
		token  string
		status int
	}{"the user's session": {pair.Access, 403}, "another user's session": {bob.Access, 200}, "a client key of the user": {client.Access, 200}} {
		if status, reason := i.call(t, "GET", "/admin/keys", tt.token, nil, nil); status != tt.status || (status == 403) != (reason == "token_revoked") {
			t.Errorf("%s after the change: %d %s, want %d", name, status, reason, tt.status)
		}
	}
	i.clock.Advance(time.Hour)
	if status, reason := i.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": pair.Access, "refresh_token": pair.Refresh}, nil); status != 401 || reason != "token_revoked" {
		t.Errorf("refresh of the ended session: %d %s", status, reason)
	}
	for password, want := range map[string]int{"first password": 401, "second password": 200} {
		if _, status := i.login(t, "ops", password, ""); status != want {
			t.Errorf("login with the %s: %d, want %d", password, status, want)
		}
	}
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}

	i = run(t, withAdmin(base, "second-ops", "third password"))
	got := i.roots(t)
	if len(got) != 3 || got["ops"] != roots["ops"] || got["bob"] != roots["bob"] {
		t.Errorf("another user: %v, want the keys of before and one more", got)
	}
	if _, status := i.login(t, "second-ops", "third password", ""); status != 200 {
		t.Errorf("login of the second administrator: %d", status)
	}
	for _, password := range []string{"first password", "second password", "third password", "bob's password"} {
		if strings.Contains(i.log.String(), password) {
			t.Errorf("the log holds %q", password)
		}
	}
}

// What administrators did to the key of the environment's user stands, whatever the environment says, and the log says what
// to do about it instead of calling it an administrator.
func TestProvisioning_KeyThatIsNoAdministrators(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(tx *store.Tx, k store.Key, now time.Time) error
		login  int // with the password of the environment
		log    []string
	}{
		"revoked": {func(tx *store.Tx, k store.Key, now time.Time) error {
			_, err := tx.RevokeKey(k.ID, now)
			return err
		}, http.StatusUnauthorized, []string{"its key was revoked", "keys create --replace-revoked --user"}},
		"expired": {func(tx *store.Tx, k store.Key, now time.Time) error {
			k.ExpiresAt = now.Unix()
			return tx.ChangeKey(k)
		}, http.StatusUnauthorized, []string{"its key has expired", "expires_at"}},
		"narrowed": {func(tx *store.Tx, k store.Key, _ time.Time) error {
			return tx.SetPermissions(k.ID, []string{"context:list"})
		}, http.StatusOK, []string{"its key does not hold admin", "--add admin"}},
	} {
		base := settings(t)
		i := run(t, withAdmin(base, "ops", "first password"))
		if strings.Contains(i.log.String(), "is no administrator") {
			t.Errorf("%s: a new administrator is called none: %s", name, i.log)
		}
		key, phc := i.roots(t)["ops"], i.phc(t, "ops")
		err := i.Parts().Store.Update(t.Context(), func(tx *store.Tx) error { return tt.change(tx, key, i.clock.Now()) })
		key = i.roots(t)["ops"]
		if err = errors.Join(err, i.stop()); err != nil {
			t.Fatal(err)
		}
		for _, password := range []string{"first password", "second password"} {
			i = run(t, withAdmin(base, "ops", password))
			if got := i.roots(t); len(got) != 1 || got["ops"] != key {
				t.Errorf("%s: root keys %v, want %v as it was", name, got, key)
			}
			for _, want := range append(tt.log, `"level":"WARN"`, "the user of the environment is no administrator", key.ID) {
				if !strings.Contains(i.log.String(), want) {
					t.Errorf("%s: the log lacks %q: %s", name, want, i.log)
				}
			}
			if strings.Contains(i.log.String(), "administrator of the environment") || strings.Contains(i.log.String(), password) {
				t.Errorf("%s: the log says too much: %s", name, i.log)
			}
			if _, status := i.login(t, "ops", password, ""); status != tt.login {
				t.Errorf("%s: login: %d, want %d", name, status, tt.login)
			}
			if name == "revoked" && i.phc(t, "ops") != phc {
				t.Errorf("the password of a revoked key was changed")
			}
			if err := i.stop(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestProvisioning_Refusals(t *testing.T) {
	for name, tt := range map[string]struct {
		config config.Config
		texts  []string
	}{
		"short password": {withAdmin(settings(t), "ops", "short"), []string{"MERO_AUTH_ADMIN_PASSWORD", "at least 8 characters"}},
		"odd name":       {withAdmin(settings(t), " ops", "long enough"), []string{"MERO_AUTH_ADMIN_USER"}},
		"provider is off": {
			withAdmin(settings(t, func(c *config.Config) { c.Providers.UserPassword, c.Providers.EthWallet = false, true }), "ops", "long enough"),
			[]string{"MERO_AUTH_ADMIN_USER", "providers.user_password"},
		},
	} {
		refusedStart(t, name, tt.config, nil, tt.texts...)
	}
}

// The file of the secret comes with an empty store and goes with the first root key, also when the service was killed
// between the two.
func TestBootstrapFile(t *testing.T) {
	c := settings(t)
	file := filepath.Join(c.Storage.Path, "bootstrap.secret")
	i := run(t, c)
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("file: %v, %v, want 0600", info.Mode(), err)
	}
	if dir, err := os.Stat(c.Storage.Path); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("storage directory: %v, %v, want 0700", dir.Mode(), err)
	}
	secret := i.secret(t)
	if raw, err := os.ReadFile(file); err != nil || string(raw) != secret+"\n" {
		t.Errorf("file holds %q, %v, want the secret", raw, err)
	}
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	i = run(t, c)
	if again := i.secret(t); again != secret {
		t.Errorf("a restart replaced the secret %s by %s", secret, again)
	}
	if !strings.Contains(i.log.String(), file) || !strings.Contains(i.log.String(), "mero-auth bootstrap show") || strings.Contains(i.log.String(), secret) {
		t.Errorf("the log must name the file and the command, not the secret: %s", i.log)
	}
	i.first(t)
	if exists(t, file) {
		t.Error("the file is left after the first login")
	}
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil { // killed before the file was removed
		t.Fatal(err)
	}
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	run(t, c)
	if exists(t, file) {
		t.Error("the file of a store with a root key is left after a restart")
	}
}

func TestFirstLoginMode(t *testing.T) {
	i := run(t, settings(t, func(c *config.Config) { c.Bootstrap.Mode = "first-login" }))
	if !strings.Contains(i.log.String(), "whoever logs in first becomes administrator") {
		t.Errorf("the log does not warn: %s", i.log)
	}
	if _, status := i.login(t, "alice", "correct horse", ""); status != http.StatusOK {
		t.Errorf("first login: %d", status)
	}
	if _, status := i.login(t, "mallory", "mallory's own", ""); status != http.StatusUnauthorized {
		t.Errorf("second login: %d", status)
	}
}

func TestConfiguredBootstrapSecret(t *testing.T) {
	const secret = "a configured bootstrap secret"
	c := settings(t, func(c *config.Config) { c.Bootstrap.Secret = secret })
	i := run(t, c)
	if exists(t, filepath.Join(c.Storage.Path, "bootstrap.secret")) {
		t.Error("a configured secret was written to a file")
	}
	if _, status := i.login(t, "alice", "correct horse", secret); status != http.StatusOK {
		t.Errorf("first login: %d", status)
	}
	if strings.Contains(i.log.String(), secret) {
		t.Error("the log holds the configured secret")
	}
}

// A whole run with everything that is secret in it: not one of those texts may be in the log, at any level, in the
// metrics, in the audit file or in the store.
func TestNoSecretInTheLogOfAWholeRun(t *testing.T) {
	c := settings(t, func(c *config.Config) { c.Audit.File = filepath.Join(filepath.Dir(c.Storage.Path), "audit.jsonl") })
	i := run(t, c)
	bootstrap := i.secret(t)
	secrets := []string{bootstrap, strings.ReplaceAll(bootstrap, "-", ""), "correct horse", "a wrong password", "guessed-secret", "bob's password", "query-text"}
	keep := func(pair tokens) tokens {
		secrets = append(secrets, pair.Access, pair.Refresh)
		return pair
	}
	i.login(t, "alice", "correct horse", "guessed-secret")
	pair, _ := i.login(t, "alice", "correct horse", bootstrap)
	keep(pair)
	i.login(t, "alice", "a wrong password", "")
	i.call(t, "POST", "/admin/keys", pair.Access, map[string]any{
		"public_key": "bob", "auth_method": "user_password", "provider_data": map[string]string{"username": "bob", "password": "bob's password"},
	}, nil)
	var client, machine, next tokens
	i.call(t, "POST", "/admin/client-key", pair.Access, map[string]any{"permissions": []string{"keys:list"}}, &client)
	i.call(t, "POST", "/admin/client-key", pair.Access, map[string]any{"expires_in": 600}, &machine)
	keep(client)
	secrets = append(secrets, machine.Access)
	for _, token := range []string{pair.Access, client.Access, client.Refresh, "garbage"} {
		i.call(t, "GET", "/admin/keys?token=query-text", token, nil, nil)
		i.call(t, "GET", "/auth/validate?token=query-text", token, nil, nil)
		i.call(t, "GET", "/nothing/"+client.Access, token, nil, nil)
	}
	refresh := func(p tokens, into any) {
		i.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": p.Access, "refresh_token": p.Refresh}, into)
	}
	refresh(client, nil)
	i.clock.Advance(time.Hour)
	refresh(client, &next)
	refresh(keep(next), nil)
	i.clock.Advance(time.Minute)
	refresh(client, nil) // reuse
	i.call(t, "POST", "/admin/revoke", pair.Access, nil, nil)
	if err := i.Reload(t.Context(), again(c)); err != nil {
		t.Error(err)
	}
	metrics := i.scrape(t)
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{c.Secrets.MasterKeyFile, c.Assertion.KeyFile} {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(string(raw))
		secrets = append(secrets, words[len(words)-1])
	}
	left := []string{i.log.String(), metrics}
	for _, path := range []string{c.Audit.File, filepath.Join(c.Storage.Path, "auth.db")} {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, string(raw))
	}
	log := strings.Join(left, "\n")
	for _, want := range []string{`"action":"session.token_reused"`, "mero_auth_logins_total", "the first root key was created", "client key created", "root key created", `"reason":"token_reuse"`, "mero-auth has stopped"} {
		if !strings.Contains(log, want) {
			t.Errorf("the run did not do all it should: the log lacks %q", want)
		}
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("what is left holds %q", secret)
		}
	}
	if len(secrets) < 15 {
		t.Errorf("only %d secrets were looked for", len(secrets))
	}
}
