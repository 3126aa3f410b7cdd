package gate_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// question returns what nginx asks about a request with this token.
func question(tb testing.TB, method, target, token string) *http.Request {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodGet, "/auth/validate?proxy=nginx", http.NoBody)
	r.RemoteAddr = "127.0.0.1:40000"
	r.Header = http.Header{"X-Original-Uri": {target}, "X-Original-Method": {method}, "X-Original-Host": {"node.example.com"}}
	if token != "" {
		r.Header["Authorization"] = []string{"Bearer " + token}
	}
	return r
}

// TestNobodyIsAllowedAfterAnAcknowledgedChange lets 64 goroutines ask without pause while another takes the rights
// away. Whoever begins to ask after the change was acknowledged must be refused.
func TestNobodyIsAllowedAfterAnAcknowledgedChange(t *testing.T) {
	s := authtest.Start(t)
	changes := []struct {
		name   string
		change func(root, client authtest.Token)
		want   string
	}{
		{"family revoked", func(_, client authtest.Token) { s.RevokeFamily(t, client.Family) }, identity.TokenRevoked},
		{"key revoked", func(_, client authtest.Token) { s.RevokeKey(t, client.Key) }, identity.TokenRevoked},
		{"root revoked", func(root, _ authtest.Token) { s.RevokeKey(t, root.Key) }, identity.TokenRevoked},
		{"key narrowed", func(_, client authtest.Token) { s.SetPermissions(t, client.Key, "blob:list") }, identity.PermissionDenied},
		{"root narrowed", func(root, _ authtest.Token) { s.SetPermissions(t, root.Key, "blob:list") }, identity.PermissionDenied},
	}
	const rounds, askers, more = 60, 64, 3
	var before, after atomic.Int64
	for _, c := range changes {
		for range rounds {
			root := s.Root(t, "admin")
			client := s.Client(t, root, "context:list")
			var acknowledged atomic.Bool
			var ready, done sync.WaitGroup
			ready.Add(askers)
			for range askers {
				done.Go(func() {
					r := question(t, http.MethodGet, "/admin-api/contexts", client.Access)
					ready.Done()
					for left := more; left > 0; {
						late := acknowledged.Load()
						_, err := s.Gate.Decide(r)
						switch {
						case late && fault.ReasonOf(err) != c.want:
							t.Errorf("%s: asked after the acknowledgement and got %v, want %s", c.name, err, c.want)
							return
						case late:
							after.Add(1)
							left--
						case err == nil:
							before.Add(1)
						}
						runtime.Gosched() // two cores must not keep the change waiting for its turn
					}
				})
			}
			ready.Wait()
			c.change(root, client)
			acknowledged.Store(true)
			done.Wait()
		}
	}
	if want := int64(len(changes) * rounds * askers * more); after.Load() != want && !t.Failed() {
		t.Errorf("%d refusals after the change, want %d", after.Load(), want)
	}
	if before.Load() == 0 {
		t.Error("nobody was allowed before a change: the test proves nothing")
	}
	t.Logf("%d allowed before, %d refused after", before.Load(), after.Load())
}

// forge returns a codec of the service's issuer with one access secret, which retire withdraws.
func forge(t *testing.T, s *authtest.Service) (codec *token.Codec, retire func(), epoch func() uint64) {
	t.Helper()
	var retired atomic.Bool
	var changes atomic.Uint64
	secret := []byte("a test secret of thirty-two bytes")
	codec, err := token.New(token.Options{
		Issuer: s.Config.JWT.Issuer, Algorithm: "HS256", MaxLifetime: 365 * 24 * time.Hour, Now: s.Clock.Now,
		Signing: func(token.Kind) (string, []byte) { return "k1", secret },
		Lookup:  func(_ token.Kind, kid string) ([]byte, bool) { return secret, kid == "k1" && !retired.Load() },
	})
	if err != nil {
		t.Fatal(err)
	}
	retire = func() {
		retired.Store(true)
		changes.Add(1)
	}
	return codec, retire, changes.Load
}

// TestRetiredSecretEndsCachedTokens: what was signed with a secret that is withdrawn (rotate --now) is refused from
// then on, also when the cache knows it.
func TestRetiredSecretEndsCachedTokens(t *testing.T) {
	s := authtest.Start(t)
	codec, retire, epoch := forge(t, s)
	cache := &gate.Sessions{Store: s.Store, Tokens: codec, SecretEpoch: epoch, Now: s.Clock.Now}
	owner := s.Root(t, "admin")
	raw, _, err := codec.Sign(claims(s, owner, "jti"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := cache.Authenticate(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	if hits, misses := cache.Counts(); hits != 1 || misses != 1 {
		t.Fatalf("%d hits and %d misses, want one each", hits, misses)
	}
	retire()
	for range 2 {
		if _, err := cache.Authenticate(t.Context(), raw); fault.ReasonOf(err) != identity.InvalidToken {
			t.Errorf("after the secret was retired: %v, want invalid_token", err)
		}
	}
}

func claims(s *authtest.Service, owner authtest.Token, id string) token.Claims {
	return token.Claims{
		Kind: token.KindAccess, Subject: owner.Key, Family: owner.Family, ID: id,
		IssuedAt: s.Clock.Now().Unix(), Expires: s.Clock.Now().Add(time.Hour).Unix(), Permissions: []string{"admin"},
	}
}

// TestMoreTokensThanTheCacheHolds asks with more tokens than fit, so that they evict each other all the time,
// while half of the keys are revoked. The cache may forget anything but must never mix anything up.
func TestMoreTokensThanTheCacheHolds(t *testing.T) {
	s := authtest.Start(t)
	const owners, each = 16, 640 // 10 240 tokens; the cache holds 8192
	type held struct {
		raw   string
		owner authtest.Token
	}
	var tokens []held
	var keys []authtest.Token
	for range owners {
		owner := s.Root(t, "admin")
		keys = append(keys, owner)
		for i := range each {
			raw, _, err := s.Issuer.Tokens.Sign(claims(s, owner, "jti"+strconv.Itoa(i)))
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, held{raw, owner})
		}
	}
	revoked := make(map[string]*atomic.Bool)
	for _, k := range keys {
		revoked[k.Key] = new(atomic.Bool)
	}
	var wg sync.WaitGroup
	const askers = 3
	for asker := range askers {
		wg.Go(func() {
			for i := range tokens {
				h := tokens[(i*7919+asker*len(tokens)/askers)%len(tokens)]
				late := revoked[h.owner.Key].Load()
				session, err := s.Gate.Sessions.Authenticate(t.Context(), h.raw)
				switch {
				case late && fault.ReasonOf(err) != identity.TokenRevoked:
					t.Errorf("a revoked key's token: %v", err)
				case err == nil && session.KeyID != h.owner.Key:
					t.Errorf("the token of %s is answered as %s", h.owner.Key, session.KeyID)
				case err != nil && fault.ReasonOf(err) != identity.TokenRevoked:
					t.Errorf("error %v", err)
				}
			}
		})
	}
	for i := 0; i < owners; i += 2 {
		s.RevokeKey(t, keys[i].Key)
		revoked[keys[i].Key].Store(true)
	}
	wg.Wait()
	for _, h := range tokens {
		_, err := s.Gate.Sessions.Authenticate(t.Context(), h.raw)
		if dead := revoked[h.owner.Key].Load(); dead != (fault.ReasonOf(err) == identity.TokenRevoked) || !dead && err != nil {
			t.Fatalf("revoked %v, error %v", dead, err)
		}
	}
	hits, misses := s.Gate.Sessions.Counts()
	if misses < uint64(len(tokens)) || hits == 0 {
		t.Errorf("%d hits and %d misses: the cache was not overrun", hits, misses)
	}
	t.Logf("%d hits, %d misses", hits, misses)
}

// TestRefreshingAndCreatingOutdateNothing: what takes no rights away must not cost the others their cached tokens.
func TestRefreshingAndCreatingOutdateNothing(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	client := s.Client(t, root, "context:list")
	ask := func() {
		t.Helper()
		if _, err := s.Gate.Sessions.Authenticate(t.Context(), client.Access); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	s.Root(t, "admin")
	s.Client(t, root, "context:list")
	s.Mint(t, authtest.Mint{Key: client.Key, Permissions: []string{"context:list"}})
	s.Update(t, func(tx *store.Tx) error {
		f, err := tx.Family(client.Family)
		if err != nil {
			return err
		}
		f.Number++
		return tx.SaveFamily(f)
	})
	ask()
	if hits, misses := s.Gate.Sessions.Counts(); hits != 1 || misses != 1 {
		t.Errorf("%d hits and %d misses, want one each", hits, misses)
	}
}
