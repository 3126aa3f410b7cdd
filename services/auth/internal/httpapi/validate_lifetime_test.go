package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// wire sends requests to a service over kept-alive connections, from any goroutine.
type wire struct {
	*http.Client
	base string
}

func newWire(t *testing.T, s *authtest.Service, connections int) wire {
	t.Helper()
	transport := &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections}
	t.Cleanup(transport.CloseIdleConnections)
	return wire{&http.Client{Transport: transport, Timeout: time.Minute}, "http://" + s.Addr}
}

// send returns status, machine code and body of the answer.
func (w wire) send(method, path, token, body string, headers ...string) (status int, reason string, text []byte, err error) {
	req, err := http.NewRequestWithContext(context.Background(), method, w.base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	text, err = io.ReadAll(res.Body)
	return res.StatusCode, res.Header.Get(identity.HeaderError), text, errors.Join(err, res.Body.Close())
}

// TestNobodyIsServedAfterAnAcknowledgedChange lets 64 clients ask over HTTP without pause while an administrator takes the
// rights away over HTTP. Whoever begins to ask after the administrator had the answer must be refused.
func TestNobodyIsServedAfterAnAcknowledgedChange(t *testing.T) {
	s := authtest.Start(t, authtest.OnDisk)
	admin := s.Root(t, "admin")
	const clients, rounds, more = 64, 3, 3
	w, administrator := newWire(t, s, clients), newWire(t, s, 1) // on whose connection nobody else is
	changes := map[string]struct {
		method string
		path   func(root, client authtest.Token) string
		body   func(root, client authtest.Token) string
		want   string
	}{
		"client key deleted": {"DELETE", func(root, client authtest.Token) string { return "/admin/keys/" + root.Key + "/clients/" + client.Key }, nil, identity.TokenRevoked},
		"root key deleted":   {"DELETE", func(root, _ authtest.Token) string { return "/admin/keys/" + root.Key }, nil, identity.TokenRevoked},
		"key revoked": {
			"POST", func(authtest.Token, authtest.Token) string { return "/admin/revoke" },
			func(_, client authtest.Token) string { return `{"client_id":"` + client.Key + `"}` }, identity.TokenRevoked,
		},
		"session ended": {"DELETE", func(_, client authtest.Token) string {
			return "/admin/keys/" + client.Key + "/sessions/" + client.Family
		}, nil, identity.TokenRevoked},
		"client key narrowed": {
			"PUT", func(_, client authtest.Token) string { return "/admin/keys/" + client.Key + "/permissions" },
			func(authtest.Token, authtest.Token) string { return `{"add":["blob:list"],"remove":["context:list"]}` }, identity.PermissionDenied,
		},
		"root key narrowed": {
			"PUT", func(root, _ authtest.Token) string { return "/admin/keys/" + root.Key + "/permissions" },
			func(authtest.Token, authtest.Token) string { return `{"add":["blob:list"],"remove":["admin"]}` }, identity.PermissionDenied,
		},
	}
	var before, after atomic.Int64
	for name, c := range changes {
		for range rounds {
			root := s.Root(t, "admin")
			client := s.Client(t, root, "context:list")
			var acknowledged atomic.Bool
			var ready, done sync.WaitGroup
			ready.Add(clients)
			for range clients {
				done.Go(func() {
					ready.Done()
					for left := more; left > 0; {
						late := acknowledged.Load()
						status, reason, _, err := w.send("GET", "/auth/validate?proxy=nginx", client.Access, "",
							"X-Original-URI", "/admin-api/contexts", "X-Original-Method", "GET", "X-Original-Host", "node.example")
						switch {
						case err != nil:
							t.Errorf("%s: %v", name, err)
							return
						case late && reason != c.want:
							t.Errorf("%s: asked after the acknowledgement and got %d %q, want %s", name, status, reason, c.want)
							return
						case late:
							after.Add(1)
							left--
						case status == http.StatusOK:
							before.Add(1)
						}
						runtime.Gosched()
					}
				})
			}
			ready.Wait()
			body := ""
			if c.body != nil {
				body = c.body(root, client)
			}
			status, _, text, err := administrator.send(c.method, c.path(root, client), admin.Access, body)
			acknowledged.Store(true)
			done.Wait()
			if status != http.StatusOK || err != nil {
				t.Fatalf("%s: %d %s %v", name, status, text, err)
			}
		}
	}
	if want := int64(len(changes) * rounds * clients * more); after.Load() != want && !t.Failed() {
		t.Errorf("%d refusals after the change, want %d", after.Load(), want)
	}
	if before.Load() == 0 {
		t.Error("nobody was served before a change: the test proves nothing")
	}
	t.Logf("%d served before, %d refused after", before.Load(), after.Load())
}

// TestParallelRefreshes sends one refresh a hundred times at once: one successor, one state of the session.
func TestParallelRefreshes(t *testing.T) {
	s := authtest.Start(t, authtest.OnDisk)
	token := s.Client(t, s.Root(t, "admin"), "context:list")
	s.Clock.Advance(s.Config.JWT.AccessExpiry)
	const parallel = 100
	w := newWire(t, s, parallel)
	body, err := json.Marshal(map[string]string{"access_token": token.Access, "refresh_token": token.Refresh})
	if err != nil {
		t.Fatal(err)
	}
	answers := make([]string, parallel)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			status, _, text, err := w.send("POST", "/auth/refresh", "", string(body))
			if answers[i] = string(text); status != http.StatusOK || err != nil {
				t.Errorf("refresh %d: %d %s %v", i, status, text, err)
			}
		})
	}
	all.Wait()
	for i, got := range answers {
		if got != answers[0] {
			t.Fatalf("refresh %d got another successor", i)
		}
	}
	s.Update(t, func(tx *store.Tx) error {
		f, err := tx.Family(token.Family)
		if f.Number != 2 || f.RevokedAt != 0 || f.PreviousRefreshID == "" {
			t.Errorf("the session: %+v, want generation 2, live", f)
		}
		return err
	})
}

// sessionLimits sets the limits of sessions.
func sessionLimits(idle, age time.Duration) func(*config.Config) {
	return func(c *config.Config) { c.Sessions = config.Sessions{IdleTimeout: idle, MaxLifetime: age} }
}

func TestIdleSessionAtTheGate(t *testing.T) {
	s := authtest.Start(t, sessionLimits(10*time.Minute, 0))
	root := s.Root(t, "admin")
	used, unused := s.Client(t, root, "context:list"), s.Client(t, root, "context:list")
	machine := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: []string{"context:list"}, Machine: 24 * time.Hour})
	ask := func(token authtest.Token) authtest.Answer {
		return s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: token.Access})
	}
	for range 5 {
		allowed(t, "in use", ask(used), used, "context:list")
		s.Clock.Advance(10*time.Minute - time.Second)
	}
	allowed(t, "in use", ask(used), used, "context:list")
	refused(t, "left alone", ask(unused), http.StatusUnauthorized, identity.TokenExpired)
	refused(t, "left alone, asked again", ask(unused), http.StatusUnauthorized, identity.TokenExpired)
	allowed(t, "machine token", ask(machine), machine, "context:list")
	s.Clock.Advance(10 * time.Minute)
	refused(t, "left alone now", ask(used), http.StatusUnauthorized, identity.TokenExpired)
	if r := s.Ask(t, authtest.Question{Token: used.Access}); r.Reason() != identity.TokenExpired {
		t.Errorf("the probe: %v", r)
	}
}

func TestSessionAgeAtTheGate(t *testing.T) {
	s := authtest.Start(t, sessionLimits(0, 30*time.Minute))
	token := s.Client(t, s.Root(t, "admin"), "context:list")
	token.Expires = s.Clock.Now().Add(30 * time.Minute).Unix()
	q := authtest.Question{Form: "nginx", Target: contexts, Token: token.Access}
	for range 29 {
		allowed(t, "young", s.Ask(t, q), token, "context:list") // with the session's end as X-Auth-Expires
		s.Clock.Advance(time.Minute)
	}
	s.Clock.Advance(time.Minute)
	refused(t, "old", s.Ask(t, q), http.StatusUnauthorized, identity.TokenExpired)
}

// TestUsesSurviveAStop: the gate writes nothing, and a graceful stop loses no use.
func TestUsesSurviveAStop(t *testing.T) {
	s := authtest.Start(t, authtest.OnDisk, sessionLimits(time.Hour, 0), func(c *config.Config) { c.JWT.AccessExpiry = 10 * time.Hour })
	root := s.Root(t, "admin")
	token := s.Client(t, root, "context:list")
	saved := func(db kv.DB) map[string]string {
		t.Helper()
		all := map[string]string{}
		err := db.View(context.Background(), func(tx kv.Tx) error {
			for _, bucket := range []string{"key_used", "session_used"} {
				for key, value := range tx.Scan(bucket, "") {
					all[bucket+":"+key] = string(value)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	s.Clock.Advance(30 * time.Minute)
	at := s.Clock.Now().Unix()
	for range 10 {
		s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: token.Access})
	}
	if got := saved(s.DB); len(got) != 0 {
		t.Errorf("the gate has written %v", got)
	}
	s.Stop(t)
	cfg, now := s.Config, s.Clock.Now()
	again := authtest.StartAt(t, now, func(c *config.Config) { *c = cfg })
	want := map[string]string{"key_used:" + token.Key: strconv.FormatInt(at, 10), "session_used:" + token.Family: strconv.FormatInt(at, 10)}
	if got := saved(again.DB); !maps.Equal(got, want) {
		t.Errorf("after the restart: %v, want %v", got, want)
	}
	again.Clock.Advance(59 * time.Minute) // 89 since the session began, 59 since it was used
	q := authtest.Question{Form: "nginx", Target: contexts, Token: token.Access}
	allowed(t, "after the restart", again.Ask(t, q), token, "context:list")
	again.Clock.Advance(time.Hour)
	refused(t, "left alone after the restart", again.Ask(t, q), http.StatusUnauthorized, identity.TokenExpired)
}
