package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
)

func rotate(t *testing.T, s *authtest.Service, now bool, kinds ...string) {
	t.Helper()
	if _, err := s.Operate.RotateSecrets(t.Context(), operate.Rotation{Kinds: kinds, Now: now}); err != nil {
		t.Fatal(err)
	}
}

func (l *load) send(method, path, token string, body any, header http.Header) (int, http.Header, []byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, nil, err
	}
	req, err := http.NewRequestWithContext(l.t.Context(), method, "http://"+l.Addr+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := l.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }() // read below
	var answer bytes.Buffer
	_, err = answer.ReadFrom(res.Body)
	return res.StatusCode, res.Header, answer.Bytes(), err
}

// load is clients at work, each with a session of its own, and a node that reads the key file as it needs to.
type load struct {
	*authtest.Service
	t      *testing.T
	client *http.Client
	node   *assertion.File

	validated, refreshed atomic.Int64
}

// validate asks as the proxy does, and checks the answer as the node does.
func (l *load) validate(token string) error {
	status, h, _, err := l.send("GET", "/auth/validate?proxy=nginx", token, nil, http.Header{"X-Original-Uri": {"/admin-api/contexts"}, "X-Original-Method": {"GET"}})
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("validate: %d %s, %v", status, h.Get(identity.HeaderError), err) //nolint:errorlint // of no consequence
	}
	c := assertion.Claim{
		Key: h.Get(identity.HeaderKey), Permissions: h.Get(identity.HeaderPermissions), Expires: h.Get(identity.HeaderExpires), Method: "GET", Target: "/admin-api/contexts",
	}
	if err := l.node.Verify(h.Get(identity.HeaderAssertion), c, 30*time.Second, time.Hour); err != nil {
		return fmt.Errorf("the node: %w", err)
	}
	l.validated.Add(1)
	return nil
}

// refresh exchanges a pair whose access token is nearly over.
func (l *load) refresh(pair *authtest.Token) error {
	status, h, body, err := l.send("POST", "/auth/refresh", "", map[string]string{"access_token": pair.Access, "refresh_token": pair.Refresh}, nil)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("refresh: %d %s %s, %v", status, h.Get(identity.HeaderError), body, err) //nolint:errorlint // of no consequence
	}
	var answer struct {
		Data struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	pair.Access, pair.Refresh = answer.Data.Access, answer.Data.Refresh
	l.refreshed.Add(1)
	return nil
}

// TestRotation_UnderLoad rotates everything twenty times, the master key among it, while eight clients validate and
// refresh: nobody notices.
func TestRotation_UnderLoad(t *testing.T) {
	// An access token whose last quarter has begun can be refreshed; a life of ten seconds makes each one old enough
	// after eight.
	s := authtest.Start(t, authtest.OnDisk, func(c *config.Config) { c.JWT.AccessExpiry = 10 * time.Second })
	node, err := assertion.Open(s.Config.Assertion.KeyFile, s.Clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	l := &load{Service: s, t: t, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}, node: node}
	defer l.client.CloseIdleConnections()
	const clients, rounds = 8, 20
	pairs := make([]authtest.Token, clients)
	for i := range pairs {
		pairs[i] = s.Mint(t, authtest.Mint{Permissions: []string{"admin"}})
	}
	for round := range rounds {
		s.Clock.Advance(8 * time.Second)
		if _, err := s.Operate.Shared.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		var working sync.WaitGroup
		for i := range pairs {
			working.Go(func() {
				for range 3 {
					if err := l.validate(pairs[i].Access); err != nil {
						t.Errorf("round %d, client %d: %v", round, i, err)
					}
				}
				if err := l.refresh(&pairs[i]); err != nil {
					t.Errorf("round %d, client %d: %v", round, i, err)
				}
				if err := l.validate(pairs[i].Access); err != nil {
					t.Errorf("round %d, client %d, the new token: %v", round, i, err)
				}
			})
			if round == 0 {
				continue
			}
			if i == clients/2 { // while half of them are at it
				rotate(t, s, false, "access", "refresh", "challenge", "csrf")
				if round%5 == 0 {
					rotate(t, s, false, "jwks", operate.Assertion)
					if _, err := s.Operate.ChangeMaster(t.Context(), operate.MasterChange{}); err != nil {
						t.Error(err)
					}
				}
			}
		}
		working.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	if v, r := l.validated.Load(), l.refreshed.Load(); v != clients*rounds*4 || r != clients*rounds {
		t.Errorf("%d validated, %d refreshed", v, r)
	}
}

// TestRotation_AtOnceEndsWhatWasSigned: the next question already.
func TestRotation_AtOnceEndsWhatWasSigned(t *testing.T) {
	s := authtest.Start(t)
	tok := s.Mint(t, authtest.Mint{Permissions: []string{"admin"}})
	ask := func() authtest.Answer {
		return s.Ask(t, authtest.Question{Form: "nginx", Target: "/admin-api/contexts", Token: tok.Access})
	}
	if a := ask(); a.Status != 200 {
		t.Fatalf("before: %v", a)
	}
	rotate(t, s, true, "refresh", "challenge", "jwks")
	if a := ask(); a.Status != 200 {
		t.Errorf("after a rotation of other kinds: %v", a)
	}
	rotate(t, s, true, "access")
	if a := ask(); a.Status != 401 || a.Reason() != identity.InvalidToken {
		t.Errorf("after: %v, want 401", a)
	}
}

// contract check 53: tokens, keys and secrets survive a restart, and tokens from before a rotation verify.
func TestRotation_SurvivesARestart(t *testing.T) {
	s := authtest.Start(t, authtest.OnDisk)
	before := s.Mint(t, authtest.Mint{Permissions: []string{"admin"}})
	rotate(t, s, false, "access", "refresh")
	after := s.Mint(t, authtest.Mint{Permissions: []string{"admin"}})
	now := s.Clock.Now()
	s.Stop(t)
	again := authtest.StartAt(t, now.Add(time.Minute), func(c *config.Config) {
		c.Storage, c.Secrets, c.Assertion = s.Config.Storage, s.Config.Secrets, s.Config.Assertion
	})
	for name, tok := range map[string]authtest.Token{"from before the rotation": before, "from after it": after} {
		if a := again.Ask(t, authtest.Question{Form: "nginx", Target: "/admin-api/contexts", Token: tok.Access}); a.Status != 200 {
			t.Errorf("a token %s: %v", name, a)
		}
	}
	again.Clock.Advance(49 * time.Hour)
	if a := again.Ask(t, authtest.Question{Form: "nginx", Target: "/admin-api/contexts", Token: before.Access}); a.Status != 401 {
		t.Errorf("after the grace: %v, want 401", a)
	}
}
