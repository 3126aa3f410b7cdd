package app_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

func auditFile(t *testing.T, path string) (actions []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		actions = append(actions, string(e.Action))
	}
	return actions
}

// events returns the whole audit of a running service.
func (i *instance) events(t *testing.T) []audit.Event {
	t.Helper()
	page, err := i.Parts().Store.Audit.List(t.Context(), audit.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return page.Events
}

func actions(events []audit.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, string(e.Action))
	}
	return strings.Join(all, " ")
}

// The life of a service in its audit and in the copy of it, across a rotation of the file and a stop.
func TestAudit_LifeOfAService(t *testing.T) {
	c := settings(t, func(c *config.Config) { c.Audit.File = filepath.Join(filepath.Dir(c.Storage.Path), "audit.jsonl") })
	i := run(t, c)
	i.login(t, "alice", "correct horse", "a guess at the secret")
	pair := i.first(t)
	moved := c.Audit.File + ".1"
	if err := os.Rename(c.Audit.File, moved); err != nil {
		t.Fatal(err)
	}
	if err := i.Reload(t.Context(), again(c)); err != nil { // what logrotate asks for with SIGHUP
		t.Fatal(err)
	}
	i.call(t, "POST", "/admin/client-key", pair.Access, map[string]any{"expires_in": 600}, nil)
	for range 3 {
		i.login(t, "alice", "a wrong password", "")
	}
	events := i.events(t)
	want := "bootstrap.renewed bootstrap.used root_key.created login.succeeded client_key.created"
	if got := actions(events); got != strings.Replace(want, "bootstrap.used root_key.created", "root_key.created bootstrap.used", 1) {
		t.Errorf("the audit has %q", got)
	}
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(append(auditFile(t, moved), auditFile(t, c.Audit.File)...), " ")
	// The refusals of the minute that ran are written at the stop, to both.
	if !strings.HasPrefix(all, actions(events)) || strings.Count(all, "login.refused") != 1 {
		t.Errorf("the files have %q", all)
	}
	i = run(t, c)
	refused := map[string]uint64{}
	for _, e := range i.events(t) {
		if e.Action == audit.LoginRefused {
			refused[e.Subject] += e.Count
		}
	}
	if len(refused) != 1 || refused["user_password:alice"] != 4 {
		t.Errorf("refused logins in the audit: %v, want 4 of alice", refused)
	}
	if info, err := os.Stat(c.Audit.File); err != nil || info.Mode() != 0o600 {
		t.Errorf("audit file: %v, %v, want 0600", info.Mode(), err)
	}
}

// Provisioning by environment, and a password that it changes, are in the audit, without the password.
func TestAudit_Provisioning(t *testing.T) {
	base := settings(t)
	for _, password := range []string{"first password", "second password"} {
		if err := run(t, withAdmin(base, "ops", password)).stop(); err != nil {
			t.Fatal(err)
		}
	}
	i := run(t, base)
	events := i.events(t)
	if got := actions(events); got != "root_key.created account.provisioned account.password_changed" {
		t.Errorf("the audit has %q", got)
	}
	for _, e := range events {
		if e.Actor != audit.ByEnvironment || strings.Contains(e.Detail, "password!") || strings.Contains(e.Detail, "first") {
			t.Errorf("event %+v", e)
		}
	}
}

// An audit file that cannot be written stops the start, and its disk failing later stops nothing.
func TestAudit_FileThatCannotBeOpened(t *testing.T) {
	refusedStart(t, "audit file", settings(t, func(c *config.Config) {
		c.Audit.File = filepath.Join(filepath.Dir(c.Storage.Path), "absent", "audit.jsonl")
	}), nil, "audit.file")
}

// Live keys, sessions, the cache and the store are in the metrics, and move.
func TestMetrics_OfARunningService(t *testing.T) {
	i := run(t, settings(t))
	pair := i.first(t)
	i.call(t, "POST", "/admin/client-key", pair.Access, map[string]any{"permissions": []string{"context:list"}}, nil)
	for range 3 {
		i.get(t, "/auth/validate", "Authorization", "Bearer "+pair.Access)
	}
	text := i.scrape(t)
	for _, want := range []string{
		`mero_auth_live{kind="root_key"} 1`, `mero_auth_live{kind="client_key"} 1`, `mero_auth_live{kind="session"} 2`,
		`mero_auth_logins_total{outcome="success",provider="user_password"} 1`,
		`mero_auth_validate_total{proxy="none",result="allowed"} 3`,
		`mero_auth_token_cache_misses_total 1`, `mero_auth_token_cache_hits_total 3`,
		`mero_auth_audit_events_total{action="login.succeeded"} 1`,
		`mero_auth_audit_dropped_total{place="file"} 0`,
		`mero_auth_rate_limit_decisions_total{decision="refused",limit="login"} 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	for _, name := range []string{`mero_auth_store_duration_seconds_count{kind="write"} `, `mero_auth_store_duration_seconds_count{kind="read"} `} {
		if !strings.Contains(text, "\n"+name) || strings.Contains(text, name+"0\n") {
			t.Errorf("%s does not move", name)
		}
	}
	i.call(t, "POST", "/admin/revoke", pair.Access, nil, nil)
	if text := i.scrape(t); !strings.Contains(text, "\n"+`mero_auth_live{kind="session"} 1`+"\n") {
		t.Error("an ended session is still counted as live")
	}
	i.clock.Advance(60 * 24 * time.Hour)
	if text := i.scrape(t); !strings.Contains(text, "\n"+`mero_auth_live{kind="session"} 0`+"\n") {
		t.Error("an expired session is still counted as live")
	}
}

// A store that takes no writes is not ready, says when to ask again, and goes on living.
func TestReadiness_FailingStore(t *testing.T) {
	s := authtest.Start(t, authtest.OnDisk)
	probe := func(path string) head {
		t.Helper()
		return get(t, "http://"+s.Operators+path)
	}
	if res := probe("/readyz"); res.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %d", res.StatusCode)
	}
	s.Break(t)
	if res := probe("/readyz"); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("/readyz of a closed store: %d %v", res.StatusCode, res.Header)
	}
	if res := probe("/healthz"); res.StatusCode != http.StatusOK {
		t.Errorf("/healthz of a closed store: %d", res.StatusCode)
	}
	if text := (&instance{operators: "http://" + s.Operators}).scrape(t); !strings.Contains(text, "\n"+`mero_auth_store_errors_total{kind="write"} 1`+"\n") {
		t.Error("the failure of the store is not counted")
	}
}
