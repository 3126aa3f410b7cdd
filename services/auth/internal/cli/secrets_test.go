package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/freeport"
	"github.com/calimero-network/mero-go/services/auth/internal/cli"
)

// listed is a line of `secrets list --json`.
type listed struct{ Kind, Kid, State string }

func listSecrets(t *testing.T, env []string) (list []listed) {
	t.Helper()
	code, stdout, stderr := command(t, env, "secrets", "list", "--json")
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != cli.ExitOK {
		t.Fatalf("secrets list: %d %q %q, %v", code, stdout, stderr, err)
	}
	return list
}

// signingOf returns the kid that signs for a kind.
func signingOf(t *testing.T, env []string, kind string) string {
	t.Helper()
	for _, l := range listSecrets(t, env) {
		if l.Kind == kind && l.State == "signing" {
			return l.Kid
		}
	}
	t.Fatalf("no %s secret signs", kind)
	return ""
}

// succeed runs a command that must succeed and returns what it prints.
func succeed(t *testing.T, env []string, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := command(t, env, args...)
	if code != cli.ExitOK {
		t.Fatalf("%q: %d %q %q", args, code, stdout, stderr)
	}
	return stdout, stderr
}

// onBoth runs a test on the running service and on the store when it is not in use.
func onBoth(t *testing.T, run func(t *testing.T, env []string)) {
	t.Helper()
	t.Run("running", func(t *testing.T) {
		env := environment(t)
		serve(t, env)
		run(t, env)
	})
	t.Run("not in use", func(t *testing.T) {
		env := environment(t)
		serve(t, env).stop()
		run(t, env)
	})
}

func TestSecretsRotateAndList(t *testing.T) {
	onBoth(t, func(t *testing.T, env []string) {
		kinds := []string{"access", "refresh", "challenge", "csrf", "jwks", "assertion"}
		before := map[string]string{}
		for _, kind := range kinds {
			before[kind] = signingOf(t, env, kind)
		}
		table, _ := succeed(t, env, "secrets", "list")
		if !strings.HasPrefix(table, "KIND ") || !strings.Contains(table, before["access"]) {
			t.Errorf("table:\n%s", table)
		}
		out, _ := succeed(t, env, "secrets", "rotate", "--kind", "access,csrf")
		if after := signingOf(t, env, "access"); after == before["access"] || !strings.Contains(out, after) {
			t.Errorf("access: %s after %s\n%s", after, before["access"], out)
		}
		if after := signingOf(t, env, "refresh"); after != before["refresh"] {
			t.Error("refresh was rotated, too")
		}
		succeed(t, env, "secrets", "rotate", "--kind", "jwks", "--kind", "assertion")
		for _, kind := range []string{"jwks", "assertion"} { // they sign after 30 s
			if after := signingOf(t, env, kind); after != before[kind] {
				t.Errorf("%s signs with %s at once", kind, after)
			}
		}
		succeed(t, env, "secrets", "rotate", "--kind", "all", "--now", "--json")
		list := listSecrets(t, env)
		if len(list) != len(kinds) {
			t.Errorf("after a rotation at once: %+v", list)
		}
		for _, l := range list {
			if l.State != "signing" || l.Kid == before[l.Kind] {
				t.Errorf("%+v", l)
			}
		}
	})
}

func TestSecretsRotate_Master(t *testing.T) {
	onBoth(t, func(t *testing.T, env []string) {
		key := storagePath(env) + ".key/master.key"
		old, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		kid := signingOf(t, env, "refresh")
		_, stderr := succeed(t, env, "secrets", "rotate", "--kind", "master")
		if strings.Contains(stderr, strings.TrimSpace(string(old))) || !strings.Contains(stderr, key+".previous") {
			t.Errorf("stderr %q", stderr)
		}
		if now, err := os.ReadFile(key); err != nil || string(now) == string(old) {
			t.Errorf("the master key is the old one, %v", err)
		}
		if was, err := os.ReadFile(key + ".previous"); err != nil || string(was) != string(old) {
			t.Errorf("the old key is lost, %v", err)
		}
		if got := signingOf(t, env, "refresh"); got != kid {
			t.Errorf("the refresh secret is %s, was %s", got, kid)
		}
	})
}

func TestSecretsExportAndImport(t *testing.T) {
	env := environment(t)
	s := serve(t, env)
	dir := t.TempDir()
	phrase, sealed, raw := filepath.Join(dir, "phrase"), filepath.Join(dir, "sealed"), filepath.Join(dir, "raw")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(phrase, "correct horse battery\n")
	write(raw, "8f3bUi2rYkV0bG9xQmRzTnZ3Z1h5SmFLcE1jT2VXdFo\n") // of nobody
	kid := signingOf(t, env, "access")
	succeed(t, env, "secrets", "export", "--passphrase-file", phrase, sealed)
	if info, err := os.Stat(sealed); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode of the export: %v, %v", info.Mode(), err)
	}
	if code, _, stderr := command(t, env, "secrets", "export", "--passphrase-file", phrase, sealed); code != cli.ExitError || !strings.Contains(stderr, "is there already") {
		t.Errorf("over a file: %d %q", code, stderr)
	}
	succeed(t, with(env, "MERO_AUTH_PASSPHRASE=correct horse battery"), "secrets", "export", "--force", sealed)
	if text, _ := succeed(t, with(env, "MERO_AUTH_PASSPHRASE=correct horse battery"), "secrets", "export", "-"); !strings.Contains(text, "mero-auth sealed file") {
		t.Errorf("export to the standard output: %q", text)
	}
	succeed(t, env, "secrets", "rotate", "--kind", "access", "--now")
	for _, l := range listSecrets(t, env) {
		if l.Kid == kid {
			t.Errorf("%s is still there", kid)
		}
	}
	s.stop() // the rest on the store
	_, stderr := succeed(t, with(env, "MERO_AUTH_PASSPHRASE_FILE="+phrase), "secrets", "import", "--sealed-file", sealed)
	if !strings.Contains(stderr, "1 secrets added, 4 were there already") {
		t.Errorf("import: %q", stderr)
	}
	succeed(t, env, "secrets", "import", "--kind", "refresh", "--kid", "v1700000000", "--secret-file", raw, "--for", "48h")
	found := 0
	for _, l := range listSecrets(t, env) {
		if (l.Kid == kid || l.Kid == "v1700000000") && l.State == "verifying" {
			found++
		}
	}
	if found != 2 {
		t.Errorf("imported: %+v", listSecrets(t, env))
	}
	succeed(t, env, "secrets", "import", "--kind", "access", "--kid", "mine", "--secret-file", raw, "--signing")
	if got := signingOf(t, env, "access"); got != "mine" {
		t.Errorf("%s signs", got)
	}
	write(phrase, "another passphrase\n")
	if code, _, stderr := command(t, env, "secrets", "import", "--sealed-file", sealed, "--passphrase-file", phrase); code != cli.ExitError || !strings.Contains(stderr, "wrong passphrase") {
		t.Errorf("wrong passphrase: %d %q", code, stderr)
	}
}

func TestSecrets_MistakesInTheCommandLine(t *testing.T) {
	env := environment(t)
	for _, line := range []string{
		"secrets", "secrets rotate", "secrets rotate --kind other", "secrets rotate --kind master --now", "secrets rotate --kind master,access",
		"secrets rotate --kind access --new-key-file k", "secrets rotate access", "secrets list x",
		"secrets import", "secrets import --kind access", "secrets import --kind access --kid k", "secrets import --sealed-file f --kind access",
		"secrets import --sealed-file f --signing", "secrets import --kind access --kid k --secret-file f --for -1h",
		"secrets export", "secrets export a b", "secrets reset", "backup", "backup a b", "restore", "keys", "keys recover x", "doctor x",
	} {
		if code, stdout, stderr := command(t, env, strings.Fields(line)...); code != cli.ExitUsage || stdout != "" || stderr == "" {
			t.Errorf("%s: %d %q %q, want a mistake in the command line", line, code, stdout, stderr)
		}
	}
	if _, err := os.Stat(storagePath(env)); !os.IsNotExist(err) {
		t.Errorf("a store was made: %v", err)
	}
	for _, line := range []string{"secrets list", "secrets rotate --kind all", "backup x", "keys recover", "secrets reset --yes"} {
		if code, _, stderr := command(t, env, strings.Fields(line)...); code != cli.ExitError || !strings.Contains(stderr, "there is no store in") {
			t.Errorf("%s without a store: %d %q", line, code, stderr)
		}
	}
}

// TestSecretsReset_LostMasterKey is the recipe of that name, without and with an export.
func TestSecretsReset_LostMasterKey(t *testing.T) {
	env := with(environment(t), "MERO_AUTH_PASSPHRASE=correct horse battery", "AUTH_USER_PASSWORD__ARGON2_MEMORY_KIB=7168")
	s := serve(t, env)
	secret, _ := succeed(t, env, "bootstrap", "show")
	if status := s.post(t, strings.TrimSpace(secret)); status != http.StatusOK {
		t.Fatalf("first login: %d", status)
	}
	sealed := filepath.Join(t.TempDir(), "sealed")
	succeed(t, env, "secrets", "export", sealed)
	kid := signingOf(t, env, "refresh")
	if code, _, stderr := command(t, env, "secrets", "reset", "--yes"); code != cli.ExitError || !strings.Contains(stderr, "is running") {
		t.Errorf("reset of a running service: %d %q", code, stderr)
	}
	s.stop()
	key := storagePath(env) + ".key/master.key"
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(t, env, "serve"); code != cli.ExitError || !strings.Contains(stderr, key) || !strings.Contains(stderr, "there is no master key") {
		t.Errorf("start without the master key: %d %q", code, stderr)
	}
	if _, err := os.Stat(key); !os.IsNotExist(err) {
		t.Fatalf("a new master key was made: %v", err)
	}
	succeed(t, env, "secrets", "reset", "--yes", "--sealed-file", sealed)
	if got := signingOf(t, env, "refresh"); got != kid {
		t.Errorf("the refresh secret is %s, was %s", got, kid)
	}
	succeed(t, env, "secrets", "reset", "--yes")
	if got := signingOf(t, env, "refresh"); got == kid {
		t.Error("the refresh secret is the old one")
	}
	if status := serve(t, env).post(t, ""); status != http.StatusOK {
		t.Errorf("login after the reset: %d", status)
	}
}

func TestKeysRecover(t *testing.T) {
	onBoth(t, func(t *testing.T, env []string) {
		code, stdout, stderr := command(t, env, "keys", "recover", "--json")
		var shown struct{ State, Secret, Expires string }
		if err := json.Unmarshal([]byte(stdout), &shown); err != nil || code != cli.ExitOK || len(shown.Secret) != 29 {
			t.Errorf("%d %q %q, %v", code, stdout, stderr, err)
		}
		if code, stdout, _ := command(t, env, "bootstrap", "show"); code != cli.ExitOK || stdout != shown.Secret+"\n" {
			t.Errorf("bootstrap show: %d %q", code, stdout)
		}
		if code, _, stderr := command(t, env, "keys", "recover", "--key", "nobody"); code != cli.ExitError || !strings.Contains(stderr, "no such key") {
			t.Errorf("an unknown key: %d %q", code, stderr)
		}
	})
}

// TestKeysRecover_AfterTheFirstAdministrator: bootstrap is closed for good, and the host can open it once.
func TestKeysRecover_AfterTheFirstAdministrator(t *testing.T) {
	env := with(environment(t), "AUTH_USER_PASSWORD__ARGON2_MEMORY_KIB=7168")
	s := serve(t, env)
	first, _ := succeed(t, env, "bootstrap", "show")
	if status := s.post(t, strings.TrimSpace(first)); status != http.StatusOK {
		t.Fatalf("first login: %d", status)
	}
	if code, _, _ := command(t, env, "bootstrap", "show", "--renew"); code != cli.ExitClosed {
		t.Errorf("bootstrap show --renew: %d, want closed", code)
	}
	stdout, stderr := succeed(t, env, "keys", "recover")
	if len(stdout) != 30 || strings.Contains(stderr, strings.TrimSpace(stdout)) || strings.Contains(s.text(), strings.TrimSpace(stdout)) {
		t.Errorf("stdout %q, or the secret is elsewhere, too", stdout)
	}
	s.stop()
	s = serve(t, env) // it survives a restart
	if !strings.Contains(s.text(), "a recovery is under way") {
		t.Error("the log of the start does not tell of the recovery")
	}
	if status := s.post(t, first); status != http.StatusUnauthorized {
		t.Errorf("with the first secret: %d", status)
	}
	if status := s.post(t, strings.TrimSpace(stdout)); status != http.StatusOK {
		t.Errorf("with the recovery secret: %d", status)
	}
	if code, _, _ := command(t, env, "bootstrap", "show"); code != cli.ExitClosed {
		t.Errorf("after its use: %d, want closed", code)
	}
}

func TestDoctor(t *testing.T) {
	examine := func(env []string) (code int, results map[string][]string) {
		t.Helper()
		code, stdout, stderr := command(t, env, "doctor", "--json")
		var findings []struct{ Check, Result, Detail string }
		if err := json.Unmarshal([]byte(stdout), &findings); err != nil {
			t.Fatalf("doctor: %d %q %q, %v", code, stdout, stderr, err)
		}
		results = map[string][]string{}
		for _, f := range findings {
			results[f.Check] = append(results[f.Check], f.Result+": "+f.Detail)
		}
		return code, results
	}
	want := func(what string, env []string, code int, check, text string) {
		t.Helper()
		got, results := examine(env)
		if got != code || !strings.Contains(strings.Join(results[check], "\n"), text) {
			t.Errorf("%s: %d %q, want %d and %s %q", what, got, results, code, check, text)
		}
	}
	env := environment(t)
	operators := freeport.Addr()
	env = with(env, "AUTH_ADMIN_ADDR="+operators)
	want("nothing there", env, cli.ExitError, "store", "failure: there is none in")
	want("nothing there, nor to be", with(env, "AUTH_STORAGE__TYPE=memory"), cli.ExitOK, "service", "warning: is not running")
	if _, err := os.Stat(storagePath(env)); !os.IsNotExist(err) {
		t.Errorf("doctor made a store: %v", err)
	}
	s := serve(t, env)
	want("running", env, cli.ExitOK, "service", "ok: is running")
	want("running", env, cli.ExitOK, "store", "ok: ")
	table, _ := succeed(t, env, "doctor")
	if !strings.HasPrefix(table, "CHECK ") {
		t.Errorf("table:\n%s", table)
	}
	s.stop()
	want("stopped", env, cli.ExitOK, "store", "ok: ")
	want("a broken setting", with(env, "AUTH_JWT__ALGORITHM=none"), cli.ExitError, "configuration", "failure: ")
	want("nobody is trusted", with(env, "AUTH_FORWARD__TRUSTED_PROXIES="), cli.ExitError, "proxy trust", "failure: ")
	want("a proxy elsewhere", with(env, "AUTH_LISTEN_ADDR=0.0.0.0:0"), cli.ExitOK, "proxy trust", "warning: listen_addr")
	want("plain http", with(env, "AUTH_PUBLIC_URL=http://node.example"), cli.ExitOK, "public url", "warning: ")
	want("memory", with(env, "AUTH_STORAGE__TYPE=memory"), cli.ExitOK, "storage", "warning: ")

	rpc := func(result string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var call struct{ ID json.RawMessage }
			if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
				t.Error(err)
			}
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, call.ID, result)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	eth := func(url string) []string {
		return with(env, "AUTH_PROVIDERS__ETH_WALLET=true", "AUTH_PUBLIC_URL=https://node.example", "AUTH_ETH__RPC_URL="+url)
	}
	want("eth rpc", eth(rpc(`"0x1"`)), cli.ExitOK, "eth rpc", "ok: ")
	want("eth rpc of another chain", eth(rpc(`"0x5"`)), cli.ExitError, "eth rpc", "failure: it is on chain")
	want("eth rpc that is none", eth(rpc(`<html>`)), cli.ExitError, "eth rpc", "failure: ")
	want("eth rpc that is away", eth("http://"+freeport.Addr()+"/secret-path"), cli.ExitError, "eth rpc", "failure: ")
	if _, results := examine(eth("http://" + freeport.Addr() + "/secret-path")); strings.Contains(strings.Join(results["eth rpc"], ""), "secret-path") {
		t.Errorf("the address is shown: %q", results["eth rpc"])
	}
	near := with(env, "AUTH_PROVIDERS__NEAR_WALLET=true", "AUTH_PUBLIC_URL=https://node.example", "AUTH_NEAR__RPC_URL="+rpc(`{"chain_id":"testnet"}`))
	want("near rpc", near, cli.ExitOK, "near rpc", "ok: ")
	want("near rpc of another network", with(near, "AUTH_NEAR__NETWORK=mainnet"), cli.ExitError, "near rpc", "failure: it is on")

	key := storagePath(env) + ".key/master.key"
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	want("an exposed master key", env, cli.ExitError, "master key", "failure: ")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	want("no master key", env, cli.ExitError, "master key", "failure: ")
	want("no master key", env, cli.ExitError, "store", "failure: ")
	if err := os.WriteFile(storagePath(env)+".key/assertion.keys", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("a damaged assertion key", env, cli.ExitError, "assertion key", "failure: ")
	if err := os.Chmod(storagePath(env), 0o755); err != nil {
		t.Fatal(err)
	}
	want("an open directory", env, cli.ExitError, "storage", "warning: ")
}
