package httpapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
)

func withLimits(o *apiOptions) { o.limits = limit.Rules{PerMinute: 50, Burst: 5} }

// from makes a request come from a client behind the trusted proxy.
func from(address string) []string { return []string{"X-Forwarded-For", address} }

func (a *api) wrongLogin(name string) map[string]any {
	body := a.loginBody(name)
	body["provider_data"] = map[string]string{"username": name, "password": "a wrong password"}
	return body
}

// refusedFor checks a 429 and returns its Retry-After.
func refusedFor(t *testing.T, what string, r answer) time.Duration {
	t.Helper()
	after, err := strconv.Atoi(r.header.Get("Retry-After"))
	if r.status != http.StatusTooManyRequests || err != nil || after < 1 {
		t.Errorf("%s: %d with Retry-After %q, want 429 with seconds", what, r.status, r.header.Get("Retry-After"))
	}
	// Clients take these two words on the answers of a login or refresh for something else.
	if reason := r.header.Get("X-Auth-Error"); reason != "" {
		t.Errorf("%s: X-Auth-Error %q", what, reason)
	}
	r.message(t, what)
	return time.Duration(after) * time.Second
}

func TestRateLimit_EveryLimitedRoute(t *testing.T) {
	a := startAPI(t, withLimits)
	for _, tt := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"POST", "/auth/token", a.wrongLogin("alice"), 401},
		{"POST", "/auth/token", "{", 400},
		{"POST", "/auth/refresh", `{"access_token":"x","refresh_token":"x"}`, 401},
		{"POST", "/auth/refresh", "{", 400},
		{"GET", "/auth/challenge", nil, 200},
	} {
		a.advance(time.Hour)
		what := tt.method + " " + tt.path
		for range 5 {
			if r := a.call(t, tt.method, tt.path, "", tt.body, from("203.0.113.1")...); r.status != tt.status {
				t.Errorf("%s within the burst: %d, want %d", what, r.status, tt.status)
			}
		}
		after := refusedFor(t, what, a.call(t, tt.method, tt.path, "", tt.body, from("203.0.113.1")...))
		if r := a.call(t, tt.method, tt.path, "", tt.body, from("203.0.113.2")...); r.status != tt.status {
			t.Errorf("%s from another address: %d", what, r.status)
		}
		a.advance(after)
		if tt.status == 401 && tt.path == "/auth/token" {
			tt.body = a.wrongLogin("bob") // alice has a limit of her own here
		}
		if r := a.call(t, tt.method, tt.path, "", tt.body, from("203.0.113.1")...); r.status != tt.status {
			t.Errorf("%s after the time of Retry-After: %d", what, r.status)
		}
	}
}

// Attack: get around the limit of an address by claims about it, or by the many addresses of one IPv6 network.
func TestRateLimit_ClientAddressCannotBeChosen(t *testing.T) {
	for name, tt := range map[string]struct {
		trusted bool
		headers func(i int) []string
		limited bool
	}{
		"direct, claims another address each time": {false, func(i int) []string { return from(fmt.Sprintf("203.0.113.%d", i)) }, true},
		"claims left of the proxy's entry":         {true, func(i int) []string { return from(fmt.Sprintf("10.9.9.%d, 203.0.113.9", i)) }, true},
		"claims in a line of its own":              {true, func(i int) []string { return append(from(fmt.Sprintf("10.9.9.%d", i)), from("203.0.113.9")...) }, true},
		"one IPv6 network":                         {true, func(i int) []string { return from(fmt.Sprintf("2001:db8:1:2::%x", i)) }, true},
		"garbage instead of an address":            {true, func(i int) []string { return from(strings.Repeat("a", i)) }, true},
		"empty":                                    {true, func(int) []string { return from(" ") }, true},
		"ten kilobytes":                            {true, func(i int) []string { return from(strings.Repeat("x,", 5000+i)) }, true},
		"a thousand addresses":                     {true, func(i int) []string { return from(strings.Repeat("10.0.0.1,", 1000+i) + "203.0.113.9") }, true},
		"the proxy itself, as IPv6":                {true, func(i int) []string { return from(fmt.Sprintf("192.0.2.%d, x, ::ffff:127.0.0.1", i)) }, true},
		"other headers": {true, func(i int) []string {
			return []string{"X-Real-IP", fmt.Sprintf("10.0.0.%d", i), "Forwarded", "for=10.0.0.1"}
		}, true},
		"with a port that changes": {true, func(i int) []string { return from(fmt.Sprintf("203.0.113.9:%d", 1000+i)) }, true},
		"another address":          {true, func(i int) []string { return from(fmt.Sprintf("203.0.113.%d", i)) }, false},
		"another IPv6 network":     {true, func(i int) []string { return from(fmt.Sprintf("[2001:db8:1:%x::1]:443", i)) }, false},
	} {
		a := startAPI(t, withLimits, func(o *apiOptions) {
			if !tt.trusted {
				o.trusted = nil
			}
		})
		refused := 0
		for i := 1; i <= 8; i++ {
			if r := a.call(t, "GET", "/auth/challenge", "", nil, tt.headers(i)...); r.status == http.StatusTooManyRequests {
				refused++
			}
		}
		if want := map[bool]int{true: 3, false: 0}[tt.limited]; refused != want {
			t.Errorf("%s: %d of 8 refused, want %d", name, refused, want)
		}
	}
}

// Attack: guess a password from many addresses to keep its owner out. The owner gets in.
func TestRateLimit_NobodyIsLockedOut(t *testing.T) {
	a := startAPI(t, withLimits)
	for i := range 6 { // from the sixth on each is held back
		if r := a.call(t, "POST", "/auth/token", "", a.wrongLogin("alice"), from(fmt.Sprintf("198.51.100.%d", i))...); r.status != 401 {
			t.Errorf("guess from address %d: %d", i, r.status)
		}
	}
	if r := a.call(t, "POST", "/auth/token", "", a.loginBody("alice"), from("192.0.2.77")...); r.status != 200 {
		t.Errorf("the owner, from a new address: %d %s", r.status, r.body)
	}
}

// One account gets a fifth of what its address gets, in whatever spelling.
func TestRateLimit_OneAccountFromOneAddress(t *testing.T) {
	a := startAPI(t, withLimits)
	guesses := 0
	for i := range 200 {
		name := []string{"alice", "Alice", " alice", "alice\t"}[i%4]
		if r := a.call(t, "POST", "/auth/token", "", a.wrongLogin(name), from("203.0.113.1")...); r.status == 401 || r.status == 400 {
			guesses++
		}
		a.advance(300 * time.Millisecond)
	}
	if guesses < 10 || guesses > 16 {
		t.Errorf("%d guesses in a minute, want about 10 and the burst", guesses)
	}
}

// Clients that behave are never refused: a refresh that succeeds is not counted, and neither is anything at the gate.
func TestRateLimit_GoodRefreshesAndTheGateAreFree(t *testing.T) {
	a := startAPI(t, withLimits)
	pair := a.logIn(t, "alice")
	for i := range 20 {
		a.advance(time.Hour)
		r := a.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": pair.Access, "refresh_token": pair.Refresh})
		if r.status != 200 {
			t.Fatalf("refresh %d: %d %s", i, r.status, r.body)
		}
		r.data(t, &pair)
	}
	for range 20 { // all at once
		r := a.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": pair.Access, "refresh_token": pair.Refresh})
		if r.status != 401 && r.status != 429 {
			t.Fatalf("a refresh of a token that is still valid: %d", r.status)
		}
	}
	for range 100 {
		if r := a.call(t, "GET", "/auth/validate", pair.Access, nil); r.status != 200 {
			t.Fatalf("the gate: %d", r.status)
		}
		if r := a.call(t, "GET", "/auth/validate", "", nil); r.status != 401 {
			t.Fatalf("the gate: %d", r.status)
		}
	}
}

// What the limits decide can be read, and who was refused stands in the audit: one record for all that are alike.
func TestRateLimit_MetricsAndAudit(t *testing.T) {
	a := startAPI(t, withLimits)
	for range 7 {
		a.call(t, "POST", "/auth/token", "", a.wrongLogin("alice"), from("203.0.113.1")...)
	}
	a.logIn(t, "alice")
	c := a.deps.Limits.Counts()
	if c.Allowed[limit.Login] != 6 || c.Refused[limit.Login] != 2 {
		t.Errorf("counts %+v, want 6 logins and 2 refused", c)
	}
	if err := a.deps.Refusals.Flush(t.Context(), a.now(), true); err != nil {
		t.Fatal(err)
	}
	page, err := a.store.Audit.List(t.Context(), audit.Query{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, e := range page.Events {
		if e.Action == audit.LoginRefused {
			got[e.Peer+" "+e.Subject+" "+e.Reason] = e.Count
		}
	}
	want := map[string]uint64{"203.0.113.1 user_password:alice unauthenticated": 5, "203.0.113.1  rate_limited": 2}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("refusals in the audit: %v, want %v", got, want)
	}
}
