package httpapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
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

// 11: the clock stands still. Challenges are used once, refreshes repeat within the grace, limits let the burst through and
// hold, and all of it goes on when the clock does.
func TestClockFrozen(t *testing.T) {
	s := startSite(t, func(c *config.Config) { c.Security.RateLimit = config.RateLimit{RPM: 60, Burst: 20} })
	s.addAlice(t)
	once := s.signedLogin(t, nil, nil)
	first := s.wantsPair(t, "a login", s.call(t, "POST", "/auth/token", "", once))
	if r := s.call(t, "POST", "/auth/token", "", once); r.status != 401 {
		t.Errorf("a used challenge, in the same instant: %d %s", r.status, r.body)
	}
	s.housekeep(t)
	if r := s.call(t, "POST", "/auth/token", "", once); r.status != 401 {
		t.Errorf("a used challenge, after a sweep: %d %s", r.status, r.body)
	}
	ids := map[string]bool{}
	limited := 0
	for n := range 40 {
		r := s.call(t, "GET", "/auth/challenge", "", nil)
		if r.status == 429 {
			limited++
			continue
		}
		var c struct {
			ID string `json:"message_nonce"`
		}
		r.data(t, &c)
		if ids[c.ID] {
			t.Errorf("challenge %d was issued before", n)
		}
		ids[c.ID] = true
	}
	if limited == 0 || len(ids) == 0 {
		t.Errorf("%d challenges, %d refused: want a burst and then refusals", len(ids), limited)
	}
	for range 50 {
		wants(t, "validate", s.validate(t, first.Access), 200, "")
	}
	s.everything(t, first)
	s.Clock.Advance(time.Minute)
	if r := s.call(t, "GET", "/auth/challenge", "", nil); r.status != 200 {
		t.Errorf("the limit is stuck after the clock went on: %d %s", r.status, r.body)
	}
	s.wantsPair(t, "a login later", s.call(t, "POST", "/auth/token", "", s.signedLogin(t, nil, nil)))
	if lines := s.Log.Lines("panic"); len(lines) > 0 {
		t.Errorf("the log holds %s", lines[0])
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
