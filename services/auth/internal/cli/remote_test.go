package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/cli"
)

// person is somebody at a shell: with a home, at a running service.
type person struct {
	env []string
	dir string
}

// newPerson returns a person who is not logged in.
func newPerson(t *testing.T, s *service) *person {
	t.Helper()
	dir := t.TempDir()
	return &person{dir: dir, env: []string{"HOME=" + dir, "MERO_AUTH_SERVER=http://" + s.data}}
}

// file writes a file and returns its name.
func (p *person) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// types runs a command line with text on stdin.
func (p *person) types(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	code = cli.Run(ctx, cli.Process{Args: args, Environ: p.env, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

// does runs a command line that must succeed and returns what it prints.
func (p *person) does(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := p.types(t, "", args...)
	if code != cli.ExitOK {
		t.Fatalf("mero-auth %s: exit code %d, %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// reads runs a command line with --json and decodes what it prints.
func (p *person) reads(t *testing.T, into any, args ...string) {
	t.Helper()
	text := p.does(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("mero-auth %s: %v in %s", strings.Join(args, " "), err, text)
	}
}

// administrator returns a person who has just made the first root key of a new service.
func administrator(t *testing.T, more ...string) (*person, *service) {
	t.Helper()
	env := environment(t, append(more, "AUTH_PROVIDERS__ETH_WALLET=true")...)
	s := serve(t, env)
	p := newPerson(t, s)
	p.does(t, "token", "login", "--user", "alice", "--password-file", p.file(t, "pw", "correct horse\n"),
		"--bootstrap-secret-file", filepath.Join(storagePath(env), "bootstrap.secret"))
	return p, s
}

func TestToken(t *testing.T) {
	p, s := administrator(t)
	info, err := os.Stat(filepath.Join(p.dir, ".config", "mero-auth", "sessions.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the session: %v, %v, want mode 0600", info, err)
	}
	var valid struct {
		Valid       bool
		KeyID       string `json:"key_id"`
		Permissions []string
		Expires     int64
	}
	if p.reads(t, &valid, "token", "validate"); !valid.Valid || valid.KeyID == "" || !slices.Equal(valid.Permissions, []string{"admin"}) || valid.Expires == 0 {
		t.Errorf("validate: %+v", valid)
	}
	var inspected struct {
		Header struct{ Typ string }
		Claims struct {
			Sub string
			Exp int64
		}
	}
	if p.reads(t, &inspected, "token", "inspect"); inspected.Header.Typ != "at+jwt" || inspected.Claims.Sub != valid.KeyID || inspected.Claims.Exp != valid.Expires {
		t.Errorf("inspect: %+v", inspected)
	}
	if p.reads(t, &inspected, "token", "inspect", "--refresh"); inspected.Header.Typ != "rt+jwt" {
		t.Errorf("inspect --refresh: %+v", inspected)
	}
	if text := p.does(t, "token", "inspect"); !strings.Contains(text, "permissions") || !strings.Contains(text, "Z") {
		t.Errorf("inspect for people:\n%s", text)
	}
	access := strings.TrimSpace(p.does(t, "token", "print"))
	if code, stdout, _ := newPerson(t, s).types(t, access+"\n", "token", "validate", "--token-file", "-"); code != cli.ExitOK || !strings.Contains(stdout, "yes") {
		t.Errorf("validate of a token from stdin: %d, %s", code, stdout)
	}
	p.does(t, "token", "revoke")
	if code, _, stderr := p.types(t, "", "token", "validate"); code != cli.ExitError || !strings.Contains(stderr, "token login") {
		t.Errorf("after the logout: %d, %s", code, stderr)
	}
	if code, stdout, _ := p.types(t, access, "token", "validate", "--token-file", "-"); code != cli.ExitError || !strings.Contains(stdout, "token_revoked") {
		t.Errorf("the old token after the logout: %d, %s", code, stdout)
	}
}

// A session that the service has ended is forgotten, and whoever wanted that is told so without an error.
func TestToken_RevokeWhatIsOver(t *testing.T) {
	p, s := administrator(t)
	for _, how := range []string{"session ended elsewhere", "secrets withdrawn"} {
		if how == "session ended elsewhere" {
			access := strings.TrimSpace(p.does(t, "token", "print"))
			newPerson(t, s).types(t, access, "token", "revoke", "--token-file", "-")
		} else {
			p.does(t, "token", "login", "--user", "alice", "--password-file", p.file(t, "pw", "correct horse\n"))
			succeed(t, s.env, "secrets", "rotate", "--kind", "access,refresh", "--now")
		}
		code, _, stderr := p.types(t, "", "token", "revoke")
		if code != cli.ExitOK || !strings.Contains(stderr, "over already") {
			t.Errorf("%s: exit code %d, %s", how, code, stderr)
		}
		if code, _, stderr := p.types(t, "", "token", "print"); code != cli.ExitError || !strings.Contains(stderr, "not logged in") {
			t.Errorf("%s, afterwards: exit code %d, %s", how, code, stderr)
		}
	}
	// What is no token at all is no session that was over.
	if code, _, _ := p.types(t, "nonsense", "token", "revoke", "--token-file", "-"); code != cli.ExitError {
		t.Errorf("a mistyped token: exit code %d", code)
	}
}

// Tokens of an access secret that was withdrawn are refreshed by the commands themselves.
func TestToken_AccessSecretWithdrawn(t *testing.T) {
	p, s := administrator(t)
	before := p.does(t, "token", "print")
	succeed(t, s.env, "secrets", "rotate", "--kind", "access", "--now")
	p.does(t, "keys", "list")
	if after := p.does(t, "token", "print"); after == before {
		t.Error("the withdrawn token is still in use")
	}
}

func TestToken_LoginRefused(t *testing.T) {
	p, s := administrator(t)
	other := newPerson(t, s)
	wrong := other.file(t, "pw", "a wrong one")
	code, stdout, stderr := other.types(t, "", "token", "login", "--user", "alice", "--password-file", wrong)
	if code != cli.ExitError || stdout != "" || strings.Contains(stderr, "a wrong one") {
		t.Errorf("a wrong password: %d, %q, %q", code, stdout, stderr)
	}
	if code, _, stderr := other.types(t, "correct horse", "token", "login", "--user", "alice", "--password-file", "-"); code != cli.ExitOK {
		t.Errorf("a password from stdin: %d, %s", code, stderr)
	}
	for name, args := range map[string][]string{
		"no user":              {"token", "login"},
		"no password, no tty":  {"token", "login", "--user", "alice"},
		"a wallet, no data":    {"token", "login", "--method", "near_wallet"},
		"a group by itself":    {"token"},
		"an unknown command":   {"token", "steal"},
		"a delete without yes": {"keys", "delete", "k"},
		"no key":               {"keys", "permissions"},
		"a strange duration":   {"client-key", "create", "--expires-in", "soon"},
	} {
		if code, stdout, stderr := p.types(t, "", args...); code != cli.ExitUsage || stdout != "" || stderr == "" {
			t.Errorf("%s: exit code %d, %q, %q; want a mistake in the command line", name, code, stdout, stderr)
		}
	}
	for name, args := range map[string][]string{
		"no such file":   {"token", "login", "--user", "alice", "--password-file", filepath.Join(p.dir, "absent")},
		"no object":      {"token", "login", "--method", "eth_wallet", "--data-file", p.file(t, "data", "[1]")},
		"an empty file":  {"token", "inspect", "--token-file", p.file(t, "empty", "\n")},
		"no token":       {"token", "inspect", "--token-file", p.file(t, "text", "hello")},
		"no such server": {"keys", "list", "--server", "localhost"},
	} {
		if code, stdout, stderr := p.types(t, "", args...); code != cli.ExitError || stdout != "" || stderr == "" {
			t.Errorf("%s: exit code %d, %q, %q; want an error", name, code, stdout, stderr)
		}
	}
}

func TestKeys(t *testing.T) {
	p, s := administrator(t)
	p.does(t, "keys", "create", "--user", "bob", "--password-file", p.file(t, "bob", "bob's password"))
	p.does(t, "keys", "create", "--method", "eth_wallet", "--account", "0x52908400098527886E0F7030069857D2E4169EE7")
	type key struct {
		KeyID      string `json:"key_id"`
		ClientID   string `json:"client_id"`
		AuthMethod string `json:"auth_method"`
		Name       string
		RevokedAt  *int64 `json:"revoked_at"`
	}
	var roots []key
	if p.reads(t, &roots, "keys", "list"); len(roots) != 3 {
		t.Fatalf("%d root keys, want 3: %+v", len(roots), roots)
	}
	wallet := roots[slices.IndexFunc(roots, func(k key) bool { return k.AuthMethod == "eth_wallet" })].KeyID
	if text := p.does(t, "keys", "list"); !strings.Contains(text, wallet) || !strings.HasPrefix(text, "KEY ") || strings.Count(text, "\n") != 4 {
		t.Errorf("the list for people:\n%s", text)
	}
	p.does(t, "keys", "delete", wallet, "--yes")
	if p.reads(t, &roots, "keys", "list"); len(roots) != 2 {
		t.Errorf("%d root keys after one was deleted, want 2", len(roots))
	}
	if p.reads(t, &roots, "keys", "list", "--all"); len(roots) != 3 {
		t.Errorf("%d root keys with the revoked one, want 3", len(roots))
	}
	// A machine token is used without a session of its own.
	machine := newPerson(t, s)
	machine.env = append(machine.env, "MERO_AUTH_TOKEN="+p.does(t, "client-key", "create", "--name", "backup", "--expires-in", "90d", "-p", "keys:list"))
	var clients []key
	if machine.reads(t, &roots, "keys", "list"); len(roots) != 2 {
		t.Errorf("with the machine token: %d root keys, want 2", len(roots))
	}
	if code, _, stderr := machine.types(t, "", "keys", "list", "--clients"); code != cli.ExitError || !strings.Contains(stderr, "permission_denied") {
		t.Errorf("beyond what the machine token may: %d, %s", code, stderr)
	}
	if p.reads(t, &clients, "keys", "list", "--clients"); len(clients) != 1 || clients[0].Name != "backup" {
		t.Errorf("client keys: %+v", clients)
	}
	var pair struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if p.reads(t, &pair, "client-key", "create", "--context", "ctx", "--identity", "pk", "-p", "context:execute[ctx]"); pair.Access == "" || pair.Refresh == "" {
		t.Error("a client key without its two tokens")
	}
	var change struct{ Permissions []string }
	bob := roots[slices.IndexFunc(roots, func(k key) bool { return k.KeyID != roots[0].KeyID })].KeyID
	if p.reads(t, &change, "keys", "permissions", bob); !slices.Equal(change.Permissions, []string{"admin"}) {
		t.Errorf("permissions: %q", change.Permissions)
	}
	if p.reads(t, &change, "keys", "permissions", bob, "--remove", "admin", "--add", "context:execute[ctx,pk]", "--add", "blob"); !slices.Equal(change.Permissions, []string{"context:execute[ctx,pk]", "blob"}) {
		t.Errorf("permissions after the change: %q", change.Permissions)
	}
}

// A client key is dead when its root is: it is neither listed as live nor called so.
func TestKeys_ClientsOfADeadRoot(t *testing.T) {
	p, s := administrator(t)
	p.does(t, "keys", "create", "--user", "bob", "--password-file", p.file(t, "bob", "bob's password"))
	bob := newPerson(t, s)
	bob.does(t, "token", "login", "--user", "bob", "--password-file", bob.file(t, "pw", "bob's password"))
	for person, name := range map[*person]string{bob: "of bob", p: "of alice"} {
		person.does(t, "client-key", "create", "--name", name, "-p", "blob:list")
	}
	var self struct {
		KeyID string `json:"key_id"`
	}
	bob.reads(t, &self, "token", "validate")
	if text := p.does(t, "keys", "list", "--clients"); strings.Count(text, "live") != 2 {
		t.Errorf("two client keys:\n%s", text)
	}
	p.does(t, "keys", "delete", self.KeyID, "--yes")
	if text := p.does(t, "keys", "list", "--clients"); strings.Contains(text, "of bob") || !strings.Contains(text, "of alice") {
		t.Errorf("the live ones:\n%s", text)
	}
	all := p.does(t, "keys", "list", "--clients", "--all")
	for line := range strings.Lines(all) {
		if strings.Contains(line, "of bob") && !strings.Contains(line, "root revoked") || strings.Contains(line, "of alice") && !strings.Contains(line, "live") {
			t.Errorf("%q, want what became of the root", line)
		}
	}
	if strings.Count(all, "of bob") != 1 {
		t.Errorf("all of them:\n%s", all)
	}
	// The person at the terminal, too, finds the name again.
	create := []string{"keys", "create", "--user", "bob", "--password-file", p.file(t, "bob", "another password")}
	if code, _, stderr := p.types(t, "", create...); code != cli.ExitError || !strings.Contains(stderr, "was revoked") {
		t.Errorf("the name of the deleted user, unasked: %d, %s", code, stderr)
	}
	p.does(t, append(create, "--replace-revoked")...)
	bob.does(t, "token", "login", "--user", "bob", "--password-file", bob.file(t, "pw", "another password"))
}

func TestKeys_SetPassword(t *testing.T) {
	p, s := administrator(t, "AUTH_SECURITY__RATE_LIMIT__RATE_LIMIT_RPM=0")
	p.does(t, "keys", "create", "--user", "bob", "--password-file", p.file(t, "bob", "bob's password"))
	bob := newPerson(t, s)
	bob.does(t, "token", "login", "--user", "bob", "--password-file", bob.file(t, "pw", "bob's password"))
	var self struct {
		KeyID string `json:"key_id"`
	}
	bob.reads(t, &self, "token", "validate")
	const chosen = "chosen by alice"
	if code, stdout, stderr := p.types(t, chosen+"\n", "keys", "set-password", self.KeyID, "--password-file", "-"); code != cli.ExitOK || strings.Contains(stdout+stderr, chosen) {
		t.Fatalf("set-password: %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, _ := bob.types(t, "", "token", "validate"); code != cli.ExitError || !strings.Contains(stdout, "token_revoked") {
		t.Errorf("bob's session goes on: %d, %s", code, stdout)
	}
	login := []string{"token", "login", "--user", "bob", "--password-file"}
	if code, _, _ := bob.types(t, "", append(login, bob.file(t, "pw", "bob's password"))...); code != cli.ExitError {
		t.Errorf("the forgotten password: exit code %d", code)
	}
	bob.does(t, append(login, bob.file(t, "pw", chosen))...)
	if text := p.does(t, "keys", "set-password", self.KeyID, "--json", "--password-file", p.file(t, "bob", "one more time")); !strings.Contains(text, `"public_key"`) || strings.Contains(text, "one more") {
		t.Errorf("with --json: %s", text)
	}
	for name, tt := range map[string]struct {
		code int
		args []string
	}{
		"no password, no tty": {cli.ExitUsage, []string{"keys", "set-password", self.KeyID}},
		"no key":              {cli.ExitUsage, []string{"keys", "set-password"}},
		"as an argument":      {cli.ExitUsage, []string{"keys", "set-password", self.KeyID, "a password"}},
		"too short":           {cli.ExitError, []string{"keys", "set-password", self.KeyID, "--password-file", p.file(t, "short", "short")}},
		"an unknown key":      {cli.ExitError, []string{"keys", "set-password", "nobody", "--password-file", p.file(t, "bob", "long enough")}},
	} {
		if code, stdout, stderr := p.types(t, "", tt.args...); code != tt.code || stdout != "" || stderr == "" {
			t.Errorf("%s: exit code %d, %q, %q", name, code, stdout, stderr)
		}
	}
}

func TestSessions(t *testing.T) {
	p, s := administrator(t)
	second := newPerson(t, s)
	second.does(t, "token", "login", "--user", "alice", "--password-file", second.file(t, "pw", "correct horse"), "--name", "a second\tsession")
	type session struct {
		Family  string
		Current bool
	}
	var list []session
	if p.reads(t, &list, "sessions", "list"); len(list) != 2 {
		t.Fatalf("%d sessions, want 2: %+v", len(list), list)
	}
	if text := p.does(t, "sessions", "list"); !strings.Contains(text, "this one") || strings.Count(text, "\n") != 3 {
		t.Errorf("the list for people:\n%q", text)
	}
	other := list[slices.IndexFunc(list, func(s session) bool { return !s.Current })]
	p.does(t, "sessions", "end", other.Family)
	if code, stdout, _ := second.types(t, "", "token", "validate"); code != cli.ExitError || !strings.Contains(stdout, "token_revoked") {
		t.Errorf("the session that was ended: %d, %s", code, stdout)
	}
	if code, _, stderr := p.types(t, "", "sessions", "end", other.Family, "--of", "nobody"); code != cli.ExitError || stderr == "" {
		t.Errorf("the session of another key: %d, %s", code, stderr)
	}
}

func TestAudit(t *testing.T) {
	p, _ := administrator(t)
	p.does(t, "keys", "create", "--user", "bob", "--password-file", p.file(t, "bob", "bob's password"))
	type event struct{ Action, Actor string }
	var events []event
	p.reads(t, &events, "audit", "--since", "1h")
	for _, action := range []string{"bootstrap.used", "login.succeeded", "root_key.created"} {
		if !slices.ContainsFunc(events, func(e event) bool { return e.Action == action }) {
			t.Errorf("no %s in %+v", action, events)
		}
	}
	if text := p.does(t, "audit", "--limit", "1"); !strings.Contains(text, "root_key.created") || strings.Count(text, "\n") != 2 {
		t.Errorf("the newest for people:\n%s", text)
	}
	if code, _, stderr := p.types(t, "", "audit", "--since", "yesterday"); code != cli.ExitUsage || !strings.Contains(stderr, "24h") {
		t.Errorf("a strange time: %d, %s", code, stderr)
	}
	if code, _, stderr := p.types(t, "", "audit", "--limit", "0"); code != cli.ExitError || !strings.Contains(stderr, "limit") {
		t.Errorf("a strange limit: %d, %s", code, stderr)
	}
}

// Whoever follows sees what happens meanwhile, one JSON object a line, until interrupted.
func TestAudit_Follow(t *testing.T) {
	p, _ := administrator(t)
	reader, writer := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, cli.Process{Args: []string{"audit", "--follow", "--json"}, Environ: p.env, Stdout: writer, Stderr: io.Discard})
		_ = writer.Close() // it never fails
	}()
	created := false
	for lines := bufio.NewScanner(reader); lines.Scan(); {
		if strings.Contains(lines.Text(), `"login.succeeded"`) && !created {
			p.does(t, "keys", "create", "--user", "bob", "--password-file", p.file(t, "bob", "bob's password"))
			created = true
		}
		if strings.Contains(lines.Text(), `"root_key.created"`) && created {
			cancel()
		}
	}
	if got := <-code; got != cli.ExitOK || !created || context.Cause(ctx) != context.Canceled { //nolint:errorlint // not wrapped
		t.Errorf("exit code %d, created %t, %v", got, created, context.Cause(ctx))
	}
}
