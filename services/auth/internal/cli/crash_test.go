package cli_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// The crash test plays clients against the real binary, kills it with SIGKILL at random moments and starts it again.
// Each client keeps a journal of what was acknowledged. After every start all of it must hold; an operation whose
// answer was lost may have happened or not, but one of the two for good.

// crash is one run.
type crash struct {
	binary  string
	env     []string
	random  *rand.Rand
	process *process
	admin   tokenPair
	adminID string
	workers []*worker

	acknowledged atomic.Int64
	killAt       atomic.Int64 // number of acknowledged operations at which the process dies
}

// fate is what a client knows of a session.
type fate int

const (
	live         fate = iota
	ended             // its end was acknowledged
	maybeEnded        // the answer to its end was lost
	maybeRefresh      // the answer to a refresh was lost
)

// session is a line of a journal.
type session struct {
	pair   tokenPair
	former string // the refresh token before this one, "" if none
	client bool   // of a client key that the worker minted
	keyID  string
	fate   fate
}

// worker is one client with its journal.
type worker struct {
	*crash
	name     string
	random   *rand.Rand
	sessions []*session
	counts   map[string]int
}

func newCrash(t *testing.T, binary string, seed uint64, workers int, more ...string) *crash {
	t.Helper()
	c := &crash{binary: binary, random: rand.New(rand.NewPCG(seed, 0))}
	c.env = environment(t, "AUTH_USER_PASSWORD__ARGON2_MEMORY_KIB=7168", "AUTH_USER_PASSWORD__ARGON2_ITERATIONS=1", "AUTH_JWT__REFRESH_GRACE=60",
		"AUTH_SECURITY__RATE_LIMIT__RATE_LIMIT_RPM=1000000", "AUTH_SECURITY__RATE_LIMIT__RATE_LIMIT_BURST=1000000",
		"AUTH_SECURITY__MAX_CLIENTS_PER_ROOT=1000000")
	c.env = with(c.env, more...)
	c.start(t)
	code, secret, stderr := command(t, c.env, "bootstrap", "show")
	if code != 0 {
		t.Fatalf("bootstrap show: %d %s", code, stderr)
	}
	if status, err := c.call("POST", "/auth/token", "", login("admin", strings.TrimSpace(secret)), &c.admin); status != http.StatusOK {
		t.Fatalf("first login: %d %v", status, err)
	}
	c.adminID = subject(t, c.admin.Access)
	for i := range workers {
		w := &worker{crash: c, name: fmt.Sprint("worker-", i), random: rand.New(rand.NewPCG(seed, uint64(i)+1)), counts: map[string]int{}}
		body := map[string]any{"public_key": w.name, "auth_method": "user_password", "provider_data": map[string]string{"username": w.name, "password": passwordOf(w.name)}}
		if status, err := c.call("POST", "/admin/keys", c.admin.Access, body, nil); status != http.StatusOK {
			t.Fatalf("key of %s: %d %v", w.name, status, err)
		}
		c.workers = append(c.workers, w)
	}
	return c
}

func passwordOf(name string) string { return "the password of " + name }

func login(name, bootstrap string) map[string]any {
	data := map[string]string{"username": name, "password": passwordOf(name)}
	if bootstrap != "" {
		data["bootstrap_secret"] = bootstrap
	}
	return map[string]any{"auth_method": "user_password", "public_key": name, "client_name": "crash-test", "timestamp": 1, "provider_data": data}
}

// lapsed returns the access token under a kid that nobody knows. For a refresh it counts as expired, so that the test
// need not wait until it is.
func lapsed(raw string) string {
	_, rest, _ := strings.Cut(raw, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"retired","typ":"at+jwt"}`)) + "." + rest
}

func (c *crash) refresh(p tokenPair) (next tokenPair, status int, err error) {
	status, err = c.call("POST", "/auth/refresh", "", map[string]string{"access_token": lapsed(p.Access), "refresh_token": p.Refresh}, &next)
	return next, status, err
}

// pick returns a random session of a kind, nil if the worker has none.
func (w *worker) pick(fits func(*session) bool) *session {
	var found []*session
	for _, s := range w.sessions {
		if s.fate == live && fits(s) {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.random.IntN(len(found))]
}

func anyOf(*session) bool       { return true }
func ofRoot(s *session) bool    { return !s.client }
func ofAClient(s *session) bool { return s.client }

// step does one random operation and journals it. The error is errLost when the process died under it.
func (w *worker) step(t *testing.T) error {
	switch n := w.random.IntN(10); {
	case n < 3:
		return w.logIn(t)
	case n < 6:
		return w.doRefresh(t, w.pick(anyOf))
	case n < 8:
		return w.mint(t, w.pick(ofRoot))
	case n < 9:
		return w.end(t, "end", w.pick(anyOf), func(s *session) (int, error) {
			return w.call("POST", "/admin/revoke", s.pair.Access, nil, nil)
		})
	}
	return w.end(t, "delete", w.pick(ofAClient), func(s *session) (int, error) {
		return w.call("DELETE", "/admin/keys/"+w.rootID(t)+"/clients/"+s.keyID, w.admin.Access, nil, nil)
	})
}

// rootID returns the id of the worker's root key, which its first session tells.
func (w *worker) rootID(t *testing.T) string {
	t.Helper()
	for _, s := range w.sessions {
		if !s.client {
			return s.keyID
		}
	}
	t.Errorf("%s has a client key and no session of its root", w.name)
	return ""
}

func (w *worker) logIn(t *testing.T) error {
	var pair tokenPair
	status, err := w.call("POST", "/auth/token", "", login(w.name, ""), &pair)
	if err != nil {
		return w.failed(t, "login", status, err)
	}
	w.counts["login"]++
	w.sessions = append(w.sessions, &session{pair: pair, keyID: subject(t, pair.Access)})
	return nil
}

func (w *worker) doRefresh(t *testing.T, s *session) error {
	if s == nil {
		return w.logIn(t)
	}
	next, status, err := w.refresh(s.pair)
	if err != nil {
		s.fate = maybeRefresh
		return w.failed(t, "refresh", status, err)
	}
	w.counts["refresh"]++
	s.former, s.pair = s.pair.Refresh, next
	return nil
}

func (w *worker) mint(t *testing.T, s *session) error {
	if s == nil {
		return w.logIn(t)
	}
	var pair tokenPair
	status, err := w.call("POST", "/admin/client-key", s.pair.Access, map[string]any{"permissions": []string{"context:list"}}, &pair)
	if err != nil {
		return w.failed(t, "mint", status, err)
	}
	w.counts["mint"]++
	w.sessions = append(w.sessions, &session{pair: pair, client: true, keyID: subject(t, pair.Access)})
	return nil
}

func (w *worker) end(t *testing.T, what string, s *session, do func(*session) (int, error)) error {
	if s == nil {
		return w.logIn(t)
	}
	status, err := do(s)
	if err != nil {
		s.fate = maybeEnded
		return w.failed(t, what, status, err)
	}
	w.counts[what]++
	s.fate = ended
	return nil
}

// failed tells a lost answer from a refusal, of which a correct client gets none.
func (w *worker) failed(t *testing.T, what string, status int, err error) error {
	if !errors.Is(err, errLost) {
		t.Errorf("%s: %s answered %d: %v", w.name, what, status, err)
	} else {
		w.counts["lost "+what]++
	}
	return errLost
}

// life lets the workers work until the process has been killed, after more acknowledged operations.
func (c *crash) life(t *testing.T, more int64) {
	t.Helper()
	c.killAt.Store(c.acknowledged.Load() + more)
	var wg sync.WaitGroup
	for _, w := range c.workers {
		wg.Go(func() {
			for w.step(t) == nil {
				if c.acknowledged.Add(1) == c.killAt.Load() {
					c.process.kill() // while the others are in the middle of something
				}
			}
			c.process.kill() // a refusal ends the run, too
		})
	}
	wg.Wait()
	<-c.process.gone
	c.process.client.CloseIdleConnections()
}

// verify checks every journal against the service and settles what was in doubt.
func (c *crash) verify(t *testing.T) {
	t.Helper()
	var listed []struct {
		ID      string `json:"client_id"`
		Revoked *int64 `json:"revoked_at"`
	}
	if status, err := c.call("GET", "/admin/keys/clients", c.admin.Access, nil, &listed); err != nil {
		t.Fatalf("list of client keys: %d %v", status, err)
	}
	keys := map[string]bool{} // id: live
	for _, k := range listed {
		keys[k.ID] = k.Revoked == nil
	}
	for _, w := range c.workers {
		for i, s := range w.sessions {
			what := fmt.Sprintf("%s, session %d (client %t, fate %d)", w.name, i, s.client, s.fate)
			if _, known := keys[s.keyID]; s.client && !known {
				t.Errorf("%s: an acknowledged client key is gone", what)
			}
			w.settle(t, what, s)
		}
	}
}

func (w *worker) settle(t *testing.T, what string, s *session) {
	t.Helper()
	status, err := w.call("GET", "/auth/validate", s.pair.Access, nil, nil)
	switch s.fate {
	case live, maybeRefresh:
		if status != http.StatusOK {
			t.Errorf("%s: an acknowledged session is gone: %d %v", what, status, err)
			s.fate = ended
			return
		}
	case ended:
		w.wantEnded(t, what, s, status, err)
		return
	case maybeEnded:
		if s.fate = live; status != http.StatusOK {
			s.fate = ended
			w.wantEnded(t, what, s, status, err)
			return
		}
	}
	if s.fate == maybeRefresh { // as a client does it: once more, with the same token
		next, status, err := w.refresh(s.pair)
		if err != nil {
			t.Errorf("%s: the repeat of a refresh whose answer was lost: %d %v", what, status, err)
			s.fate = ended
			return
		}
		s.former, s.pair, s.fate = s.pair.Refresh, next, live
	}
}

func (w *worker) wantEnded(t *testing.T, what string, s *session, status int, err error) {
	t.Helper()
	if status != http.StatusUnauthorized || !strings.Contains(fmt.Sprint(err), "token_revoked") {
		t.Errorf("%s: what was ended is answered %d %v", what, status, err)
	}
	if _, status, err := w.refresh(s.pair); status != http.StatusUnauthorized || !strings.Contains(fmt.Sprint(err), "token_revoked") {
		t.Errorf("%s: what was ended is refreshed: %d %v", what, status, err)
	}
}

// finish lets every live session go on, and shows that a refresh token that was exchanged before is worth nothing.
func (c *crash) finish(t *testing.T) (counts map[string]int) {
	t.Helper()
	counts = map[string]int{}
	for _, w := range c.workers {
		for name, n := range w.counts {
			counts[name] += n
		}
		for i, s := range w.sessions {
			if s.fate != live {
				continue
			}
			what := fmt.Sprintf("%s, session %d", w.name, i)
			next, status, err := c.refresh(s.pair)
			if err != nil {
				t.Errorf("%s: it does not go on: %d %v", what, status, err)
				continue
			}
			if s.former == "" {
				continue
			}
			if _, status, err := c.refresh(tokenPair{s.pair.Access, s.former}); status != http.StatusUnauthorized || !strings.Contains(fmt.Sprint(err), "token_reuse") {
				t.Errorf("%s: a refresh token of before the last one: %d %v", what, status, err)
			}
			if status, err := c.call("GET", "/auth/validate", next.Access, nil, nil); status != http.StatusUnauthorized {
				t.Errorf("%s: after a reuse: %d %v", what, status, err)
			}
		}
	}
	return counts
}

// play runs operations with kills in between and returns how often each kind was acknowledged and lost.
func (c *crash) play(t *testing.T, operations int64, kills int) map[string]int {
	t.Helper()
	each := operations / int64(kills)
	for range kills {
		c.life(t, each/2+c.random.Int64N(each))
		c.start(t)
		c.verify(t)
		if t.Failed() {
			break
		}
	}
	return c.finish(t)
}

func TestKill9_AcknowledgedOperationsHold(t *testing.T) {
	c := newCrash(t, buildBinary(t), 20260101, 4)
	counts := c.play(t, 400, 10)
	for _, kind := range []string{"login", "refresh", "mint", "end", "delete"} {
		if counts[kind] == 0 {
			t.Errorf("no %s was acknowledged: %v", kind, counts)
		}
	}
	if n := c.acknowledged.Load(); n < 200 {
		t.Errorf("only %d operations were acknowledged", n)
	}
	t.Logf("%d operations acknowledged: %v", c.acknowledged.Load(), counts)
}
