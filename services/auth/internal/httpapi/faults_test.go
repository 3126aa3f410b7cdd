package httpapi_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// Faults by their number in the list of docs/testing.md, against the whole service. The list names the others.

// 11: a clock that jumps and comes back. Nothing fails, nothing that was used up is good again, and nothing that was
// issued in the wrong time is worth anything in the right one.
func TestClockJumpsAndReturns(t *testing.T) {
	year := 365 * 24 * time.Hour
	for name, jump := range map[string]time.Duration{
		"an hour ahead": time.Hour, "an hour back": -time.Hour, "2100": 74 * year, "1970": -authtest.Epoch.Sub(time.Unix(600, 0)),
	} {
		t.Run(name, func(t *testing.T) {
			s := startSite(t)
			s.addAlice(t)
			used, unused := s.signedLogin(t, nil, nil), s.signedLogin(t, nil, nil)
			before := s.wantsPair(t, "login before", s.call(t, "POST", "/auth/token", "", used))
			right := s.Clock.Now()

			s.Clock.Advance(jump)
			s.housekeep(t)
			wrong := s.root(t)
			if c := parse(t, wrong.Access); c.Exp-c.Iat != 3600 || c.Iat != s.Clock.Now().Unix() {
				t.Errorf("a token of the wrong time: %+v", c)
			}
			wants(t, "its token", s.validate(t, wrong.Access), 200, "")
			s.everything(t, before, wrong)
			s.housekeep(t)

			s.Clock.Advance(right.Sub(s.Clock.Now()) + 10*time.Second)
			s.housekeep(t)
			replay := s.call(t, "POST", "/auth/token", "", used)
			if replay.status != 401 && replay.status != 503 {
				t.Errorf("a used challenge after the return: %d %s", replay.status, replay.body)
			}
			if r := s.call(t, "POST", "/auth/token", "", unused); r.status == 200 && jump < 0 {
				wants(t, "its token", s.validate(t, accessOf(t, r)), 200, "") // nothing was lost by going back
			}
			after := s.root(t)
			wants(t, "a login after the return", s.validate(t, after.Access), 200, "")
			if jump > time.Minute {
				if r := s.validate(t, wrong.Access); r.status != 401 {
					t.Errorf("a token of the future after the return: %d", r.status)
				}
			}
			s.everything(t, before, wrong, after)
			// Soon everything is as it was, also for wallets.
			s.Clock.Advance(10 * time.Minute)
			s.wantsPair(t, "a wallet's login later", s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, nil)))
			if lines := s.Log.Lines("panic"); len(lines) > 0 {
				t.Errorf("the log holds %s", lines[0])
			}
		})
	}
}

// housekeep does what the service does by itself from time to time.
func (s *site) housekeep(t *testing.T) {
	t.Helper()
	if _, err := s.Store.SweepChallenges(t.Context(), s.Clock.Now()); err != nil {
		t.Error(err)
	}
	for prefix := range 16 {
		if _, err := s.Store.SweepFamilies(t.Context(), s.Clock.Now(), fmt.Sprintf("%x", prefix)); err != nil {
			t.Error(err)
		}
	}
	if err := s.Issuer.Secrets.RotateDue(t.Context()); err != nil {
		t.Error(err)
	}
}

// everything asks everything with every pair; what is answered may differ, but nothing fails.
func (s *site) everything(t *testing.T, pairs ...tokens) {
	t.Helper()
	for _, pair := range pairs {
		for what, r := range map[string]answer{
			"validate": s.validate(t, pair.Access), "refresh": s.refresh(t, pair), "keys": s.call(t, "GET", "/admin/keys", pair.Access, nil),
			"client key": s.clientKey(t, pair.Access, map[string]any{"permissions": []string{"blob"}, "expires_in": 60}), "health": s.call(t, "GET", "/auth/health", "", nil),
			"sessions": s.call(t, "GET", "/admin/keys/"+parse(t, pair.Access).Sub+"/sessions", pair.Access, nil), "audit": s.call(t, "GET", "/admin/audit", pair.Access, nil),
		} {
			if r.status >= 500 || r.status == 0 {
				t.Errorf("%s: %d %s", what, r.status, r.body)
			}
		}
	}
}

func accessOf(t *testing.T, r answer) string {
	t.Helper()
	var pair tokens
	r.data(t, &pair)
	return pair.Access
}

// 13: secrets rotate while everybody validates and refreshes: nobody is refused.
func TestRotationUnderLoad(t *testing.T) {
	rotationUnderLoad(t, func(rotations int) bool { return rotations < 20 })
}

func rotationUnderLoad(t *testing.T, goOn func(rotations int) bool) {
	t.Helper()
	const clients = 16
	s := startSite(t, authtest.OnDisk)
	w := newWire(t, s.Service, clients)
	first := s.root(t)
	var stop atomic.Bool
	var asked, refreshed atomic.Int64
	var all sync.WaitGroup
	for range clients {
		pair := s.mint(t, first.Access, "context:list")
		all.Go(func() {
			for n := 0; !stop.Load() || n < 10; n++ {
				for range 4 {
					asked.Add(1)
					if status, reason, _, err := w.send("GET", "/auth/validate", pair.Access, ""); status != 200 || err != nil {
						t.Errorf("validate: %d %s %v", status, reason, err)
						return
					}
				}
				status, reason, text, err := w.send("POST", "/auth/refresh", "", fmt.Sprintf(`{"access_token":%q,"refresh_token":%q}`, unproven(pair.Access), pair.Refresh))
				next, ok := pairIn(text)
				if status != 200 || err != nil || !ok {
					t.Errorf("refresh: %d %s %v", status, reason, err)
					return
				}
				refreshed.Add(1)
				pair = next
			}
		})
	}
	kids := map[any]bool{}
	for n := 0; goOn(n) && !t.Failed(); n++ {
		for _, kind := range []secret.Kind{secret.Access, secret.Refresh, secret.Challenge} { // twice and more in one grace
			if err := s.Issuer.Secrets.Rotate(t.Context(), kind, false); err != nil {
				t.Fatal(err)
			}
		}
		fresh := s.root(t)
		kids[part(t, fresh.Access, 0)["kid"]] = true
		s.call(t, "POST", "/admin/revoke", fresh.Access, nil).data(t, &map[string]any{})
	}
	stop.Store(true)
	all.Wait()
	if len(kids) < 20 && !t.Failed() {
		t.Errorf("%d secrets signed, want 20", len(kids))
	}
	wants(t, "a token of before all rotations", s.validate(t, first.Access), 200, "")
	// At once: what the older secrets signed is void.
	for _, kind := range []secret.Kind{secret.Access, secret.Refresh} {
		if err := s.Issuer.Secrets.Rotate(t.Context(), kind, true); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, "after a rotation at once", s.validate(t, first.Access), 401, "invalid_token")
	t.Logf("%d rotations, %d questions, %d refreshes", len(kids), asked.Load(), refreshed.Load())
}

// unproven returns the access token under a kid that nobody knows, which counts as expired, so that the test need not
// wait until it is.
func unproven(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"retired","typ":"at+jwt"}`)) + "." + rest
}

// pairIn reads a token pair in goroutines.
func pairIn(text []byte) (pair tokens, ok bool) {
	fields := strings.Split(string(text), `"`)
	if i := slices.Index(fields, "access_token"); i >= 0 && i+2 < len(fields) {
		pair.Access = fields[i+2]
	}
	if i := slices.Index(fields, "refresh_token"); i >= 0 && i+2 < len(fields) {
		pair.Refresh = fields[i+2]
	}
	return pair, pair.Access != "" && pair.Refresh != ""
}
