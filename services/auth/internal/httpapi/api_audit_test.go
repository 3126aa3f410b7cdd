package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

type auditAnswer struct {
	Events     []audit.Event `json:"events"`
	NextCursor string        `json:"next_cursor"`
	More       bool          `json:"more"`
}

func (a *api) audit(t *testing.T, token, query string) (page auditAnswer) {
	t.Helper()
	r := a.call(t, "GET", "/admin/audit"+query, token, nil)
	r.data(t, &page)
	if r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the audit may be cached: %v", r.header)
	}
	return page
}

// Every change of keys and sessions is in the audit, with who did it, to what, from where, in which request.
func TestAudit_EveryChange(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice")
	alice := parse(t, admin.Access)
	first := a.audit(t, admin.Access, "")
	a.call(t, "POST", "/admin/keys", admin.Access, map[string]any{
		"public_key": "bob", "auth_method": "user_password", "provider_data": map[string]string{"username": "bob", "password": "bob's password"},
	}, "X-Request-Id", "req-1", "X-Forwarded-For", "203.0.113.7").data(t, new(map[string]any))
	client := a.mint(t, admin.Access, "context:list")
	clientID := parse(t, client.Access).Sub
	var machine tokens
	a.call(t, "POST", "/admin/client-key", admin.Access, map[string]any{"expires_in": 600, "name": "ci"}).data(t, &machine)
	bob := a.addressLogin(t, "bob", "bob's password", "2001:db8::1")
	a.call(t, "DELETE", "/admin/keys/"+alice.Sub+"/clients/"+clientID, admin.Access, nil).data(t, new(map[string]any))
	a.call(t, "POST", "/admin/revoke", bob.Access, nil).data(t, new(map[string]any))
	bob = a.addressLogin(t, "bob", "bob's password", "2001:db8::1")
	a.advance(2 * time.Hour)
	a.refreshPair(t, bob)
	a.advance(time.Minute)
	if r := a.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": bob.Access, "refresh_token": bob.Refresh}); r.header.Get("X-Auth-Error") != "token_reuse" {
		t.Fatalf("reuse: %d %s", r.status, r.body)
	}
	admin = a.logIn(t, "alice")
	bobID := parse(t, bob.Access).Sub
	a.call(t, "DELETE", "/admin/keys/"+bobID, admin.Access, nil).data(t, new(map[string]any))

	page := a.audit(t, admin.Access, "?cursor="+first.NextCursor)
	var got []string
	for _, e := range page.Events {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", e.Action, e.Outcome, e.Actor, e.Subject, e.Peer))
		if e.Time.IsZero() || e.RequestID == "" {
			t.Errorf("an event without time or request: %+v", e)
		}
	}
	bobSession, secondSession := "", parse(t, bob.Access).Fam
	for _, e := range page.Events {
		if e.Action == audit.SessionRevoked {
			bobSession = e.Subject
		}
	}
	want := []string{
		"root_key.created success " + alice.Sub + " " + bobID + " 203.0.113.7",
		"client_key.created success " + alice.Sub + " " + clientID + " 127.0.0.1",
		"client_key.created success " + alice.Sub + " " + parse(t, machine.Access).Sub + " 127.0.0.1",
		"login.succeeded success " + bobID + " " + bobSession + " 2001:db8::/64",
		"key.revoked success " + alice.Sub + " " + clientID + " 127.0.0.1",
		"session.revoked success " + bobID + " " + bobSession + " 127.0.0.1",
		"login.succeeded success " + bobID + " " + secondSession + " 2001:db8::/64",
		"session.token_reused refused " + bobID + " " + secondSession + " 127.0.0.1",
		"login.succeeded success " + alice.Sub + " " + parse(t, admin.Access).Fam + " 127.0.0.1",
		"key.revoked success " + alice.Sub + " " + bobID + " 127.0.0.1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the audit is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if page.Events[0].RequestID != "req-1" {
		t.Errorf("request id %q, want req-1", page.Events[0].RequestID)
	}
}

// addressLogin logs in from an address behind the proxy.
func (a *api) addressLogin(t *testing.T, name, password, address string) (pair tokens) {
	t.Helper()
	body := a.loginBody(name)
	body["provider_data"] = map[string]string{"username": name, "password": password}
	a.call(t, "POST", "/auth/token", "", body, "X-Forwarded-For", address).data(t, &pair)
	return pair
}

func (a *api) refreshPair(t *testing.T, pair tokens) (next tokens) {
	t.Helper()
	a.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": pair.Access, "refresh_token": pair.Refresh}).data(t, &next)
	return next
}

// What is refused changes nothing, and the audit does not say that it did.
func TestAudit_RefusedChangesAreNotThere(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice")
	client := a.mint(t, admin.Access, "context:list")
	before := a.audit(t, admin.Access, "")
	id := parse(t, admin.Access).Sub
	for _, f := range a.failures(t)[:3] {
		a.call(t, f.method, f.path, f.token, f.body)
	}
	after := a.audit(t, admin.Access, "?cursor="+before.NextCursor)
	setup := len(after.Events)                                // what failures itself did
	a.call(t, "DELETE", "/admin/keys/"+id, admin.Access, nil) // the last administrator
	a.call(t, "POST", "/admin/client-key", client.Access, map[string]any{"permissions": []string{"admin"}})
	a.call(t, "POST", "/admin/revoke", client.Access, map[string]string{"client_id": id})
	a.call(t, "POST", "/admin/keys", client.Access, map[string]any{"public_key": "x"})
	if got := a.audit(t, admin.Access, "?cursor="+before.NextCursor).Events; len(got) != setup {
		t.Errorf("refused changes are in the audit: %+v", got[setup:])
	}
}

// Attack: read in the audit what was typed, sent or issued. Nothing secret of a whole run is in it.
func TestAudit_HoldsNoSecret(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice")
	client := a.mint(t, admin.Access, "context:list")
	a.call(t, "POST", "/auth/token", "", a.wrongLogin("alice"))
	a.advance(2 * time.Hour)
	next := a.refreshPair(t, admin)
	a.advance(time.Minute)
	a.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": admin.Access, "refresh_token": admin.Refresh})
	a.call(t, "GET", "/admin/keys?token=query-secret", client.Access, nil, "X-Request-Id", "header secret")
	if err := a.deps.Refusals.Flush(t.Context(), a.now(), true); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	err := a.db.View(t.Context(), func(tx kv.Tx) error {
		for _, raw := range tx.Scan("audit", "") {
			all.Write(raw)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(all.String(), `"action"`) < 5 {
		t.Fatalf("the audit holds little: %s", all.String())
	}
	for _, secret := range []string{admin.Access, admin.Refresh, client.Access, client.Refresh, next.Access, next.Refresh, a.password, "a wrong password", "query-secret", "header secret"} {
		if strings.Contains(all.String(), secret) {
			t.Errorf("the audit holds %q", secret)
		}
	}
}

func TestAudit_Pages(t *testing.T) {
	a := startAPI(t)
	for i := range 20 {
		event := audit.Event{Time: apiStart.Add(time.Duration(i) * time.Hour), Action: audit.SecretRotated, Subject: strconv.Itoa(i)}
		if err := a.store.Audit.Record(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	admin := a.logIn(t, "alice").Access
	subjects := func(p auditAnswer) string {
		var all []string
		for _, e := range p.Events {
			if e.Action == audit.SecretRotated {
				all = append(all, e.Subject)
			}
		}
		return strings.Join(all, " ")
	}
	since := apiStart.Add(5 * time.Hour)
	page := a.audit(t, admin, "?limit=3&since="+since.Format(time.RFC3339))
	if subjects(page) != "5 6 7" || !page.More {
		t.Errorf("since with a limit: %q, more %t", subjects(page), page.More)
	}
	if next := a.audit(t, admin, "?limit=3&cursor="+page.NextCursor); subjects(next) != "8 9 10" {
		t.Errorf("the next page: %q", subjects(next))
	}
	if page := a.audit(t, admin, fmt.Sprintf("?limit=2&since=%d", since.Unix())); subjects(page) != "5 6" {
		t.Errorf("since in Unix seconds: %q", subjects(page))
	}
	if page := a.audit(t, admin, "?limit=3"); len(page.Events) != 3 || page.More || page.Events[2].Action != audit.LoggedIn {
		t.Errorf("the newest: %+v", page)
	}
	end := a.audit(t, admin, "?since=9999-12-31T23:59:59Z")
	if len(end.Events) != 0 || end.More || end.NextCursor == "" {
		t.Errorf("since the future: %+v", end)
	}
	a.mint(t, admin, "context:list")
	if page := a.audit(t, admin, "?cursor="+end.NextCursor); len(page.Events) != 1 || page.Events[0].Action != audit.ClientCreated {
		t.Errorf("following from the end: %+v", page)
	}
	for _, query := range []string{
		"?limit=0", "?limit=1001", "?limit=-1", "?limit=x", "?limit=", "?limit=1&limit=2", "?since=yesterday", "?since=-1", "?since=99999999999999",
		"?since=", "?cursor=-1", "?cursor=x", "?cursor=18446744073709551615", "?form=1", "?limit=%zz", "?since=2026-01-31",
	} {
		r := a.call(t, "GET", "/admin/audit"+query, admin, nil)
		if r.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s, want 400", query, r.status, r.body)
			continue
		}
		r.message(t, query)
	}
}

// GET /admin/metrics has the members of the reference, and they move. contract check 28
func TestAdminMetrics(t *testing.T) {
	a := startAPI(t)
	admin := a.logIn(t, "alice")
	read := func() (m map[string]any) {
		t.Helper()
		a.call(t, "GET", "/admin/metrics", admin.Access, nil).data(t, &m)
		return m
	}
	wantFields := []string{
		"auth_attempts", "auth_successes", "auth_failures", "auth_success_rate", "auth_avg_duration_ms", "auth_failures_by_type",
		"token_refreshes", "token_revocations",
	}
	m := read()
	for _, name := range wantFields {
		if _, there := m[name]; !there {
			t.Errorf("%s is missing in %v", name, m)
		}
	}
	if len(m) != len(wantFields) || m["auth_attempts"] != 1.0 || m["auth_success_rate"] != 100.0 {
		t.Errorf("after one login: %v", m)
	}
	for range 3 {
		a.call(t, "POST", "/auth/token", "", a.wrongLogin("alice"))
	}
	client := a.mint(t, admin.Access, "context:list")
	a.call(t, "POST", "/admin/revoke", client.Access, nil).data(t, new(map[string]any))
	a.advance(2 * time.Hour)
	admin = a.refreshPair(t, admin)
	raw, err := json.Marshal(read())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"auth_attempts":4,"auth_avg_duration_ms":0,"auth_failures":3,"auth_failures_by_type":{"unauthenticated":3},"auth_success_rate":25,` +
		`"auth_successes":1,"token_refreshes":1,"token_revocations":1}`
	if string(raw) != want {
		t.Errorf("metrics %s, want %s", raw, want)
	}
}
