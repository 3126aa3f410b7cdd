package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

func TestToken(t *testing.T) {
	f := inMemory(t)
	keyID := f.addRoot(t, "alice", func(g *login.RootGrant) { g.Permissions = []string{"admin", "context[c,me]", "context:list"} })
	f.clock.advance(300 * time.Millisecond)
	r := f.byWallet(t, "alice", nil)
	r.ClientName = "https://Node.example/auth/login?token=secret#frag"
	pair := f.login(t, r)
	access, refresh := read(t, pair.Access), read(t, pair.Refresh)
	now := start.Unix()
	if access.Sub != keyID || access.Type != "access" || access.Iat != now || access.Exp != now+3600 {
		t.Errorf("access token: %+v", access)
	}
	if refresh.Sub != keyID || refresh.Type != "refresh" || refresh.Iat != now || refresh.Exp != now+30*24*3600 {
		t.Errorf("refresh token: %+v", refresh)
	}
	if access.Fam == "" || access.Fam != refresh.Fam || access.JTI == refresh.JTI {
		t.Errorf("families %q and %q, ids %q and %q: want one family, two ids", access.Fam, refresh.Fam, access.JTI, refresh.JTI)
	}
	for _, c := range []claims{access, refresh} {
		if want := []string{"admin", "context[c,me]", "context:list"}; !slices.Equal(c.Permissions, want) {
			t.Errorf("permissions of the %s token: %q, want the stored list verbatim", c.Type, c.Permissions)
		}
	}
	fam := f.family(t, pair)
	if fam.ClientName != "https://Node.example/auth/login" || fam.Peer != "198.51.100.1" || fam.Key != keyID || fam.Number != 1 {
		t.Errorf("family: %+v, want client_name without query and fragment", fam)
	}
	for given, kept := range map[string]string{
		"https://bob:secret@host/x":               "https://host/x",
		"https://bob@host:8443?x":                 "https://host:8443",
		"https://a@b:secret@host/@bob":            "https://host/@bob",
		`https://bob:secret@host\@other`:          `https://host\@other`,
		"//bob:secret@host/x":                     "//host/x",
		"myapp://bob:secret@":                     "myapp://",
		"https://bob:secret%40x@host/y//me@there": "https://host/y//me@there",
		"bob@example.org, at home":                "bob@example.org, at home", // no address, and no password
	} {
		r := f.byWallet(t, "alice", nil)
		r.ClientName = given
		if got := f.family(t, f.login(t, r)).ClientName; got != kept {
			t.Errorf("client_name %q is kept as %q, want %q", given, got, kept)
		}
	}
	f.wantAccess(t, pair.Access, "")
	if again := f.login(t, f.byWallet(t, "alice", nil)); read(t, again.Access).Fam == access.Fam {
		t.Error("two logins share a family")
	}
	// Neither token is good for the other's purpose.
	if _, err := f.Issuer.Tokens.Verify(pair.Access, token.KindRefresh); err == nil {
		t.Error("the access token verifies as a refresh token")
	}
	f.wantAccess(t, pair.Refresh, "invalid_token")
}

func TestToken_NodeURL(t *testing.T) {
	f := inMemory(t)
	f.addRoot(t, "alice", nil)
	for clientName, want := range map[string]string{
		"mero-js-sdk":                        "",
		"auth-seam-e2e":                      "",
		"localhost:4001":                     "", // "localhost" reads as a scheme
		"node.example":                       "",
		"//node.example":                     "",
		"ftp://node.example":                 "",
		"javascript:alert(1)":                "",
		"file:///etc/passwd":                 "",
		"https://":                           "",
		"http:///path":                       "",
		"http://no de.example":               "",
		"My App (http://node.example)":       "",
		"http://localhost:4001":              "http://localhost:4001",
		"https://node.example":               "https://node.example",
		"https://node.example/auth/login?x=": "https://node.example",
		"HTTPS://NODE.Example:8443/a#b":      "https://node.example:8443",
		"http://[2001:DB8::1]:3001/":         "http://[2001:db8::1]:3001",
		"https://user:pass@node.example/":    "https://node.example",
	} {
		r := f.byWallet(t, "alice", nil)
		r.ClientName = clientName
		pair := f.login(t, r)
		for _, raw := range []string{pair.Access, pair.Refresh} {
			c := read(t, raw)
			switch {
			case want == "" && c.NodeURL != nil:
				t.Errorf("client_name %q: the %s token has node_url %q, want none", clientName, c.Type, *c.NodeURL)
			case want != "" && (c.NodeURL == nil || *c.NodeURL != want):
				t.Errorf("client_name %q: the %s token has node_url %v, want %q", clientName, c.Type, c.NodeURL, want)
			}
		}
	}
}

// A key that is bound to a node yields tokens for that node only, and only for an address that binds them to it.
func TestToken_KeyOfAnotherNode(t *testing.T) {
	f := inMemory(t)
	f.addRoot(t, "alice", func(g *login.RootGrant) { g.NodeURL = "https://node.example:8443" })
	for clientName, ok := range map[string]bool{
		"https://node.example:8443":            true,
		"https://NODE.example:8443/auth/login": true,
		"https://node.example":                 true, // a port must match when both have one
		"https://node.example:443":             false,
		"https://other.example:8443":           false,
		"https://node.example.evil:8443":       false, // the reference compared prefixes
		"https://node.example:8443.evil":       false,
		"https://node.example:8443@evil":       false,
		"https://evil/https://node.example":    false,
		"https://evil?https://node.example":    false,
		"mero-js-sdk":                          false,
		"":                                     false,
		"ftp://node.example:8443":              false, // no token is bound to these: it would be good everywhere
		"//node.example:8443":                  false,
		"node.example:8443":                    false,
	} {
		r := f.byWallet(t, "alice", nil)
		r.ClientName = clientName
		pair, err := f.Token(t.Context(), r)
		if !ok {
			refusal{fault.Unauthenticated, "", "not valid for this node"}.check(t, clientName, err)
			continue
		}
		if err != nil {
			t.Errorf("client_name %q: %v", clientName, err)
			continue
		}
		if c := read(t, pair.Access); c.NodeURL == nil || !strings.HasPrefix(*c.NodeURL, "https://node.example") {
			t.Errorf("client_name %q: node_url %v, want the key's host", clientName, c.NodeURL)
		}
	}
}

func TestToken_ChallengeReplay(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		f.addRoot(t, "alice", nil)
		r := f.byWallet(t, "alice", nil)
		var won, lost atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := f.Token(t.Context(), r)
				switch {
				case err == nil:
					won.Add(1)
				case errors.Is(err, store.ErrUsed):
					lost.Add(1)
					refusal{fault.Unauthenticated, "", "used already"}.check(t, "replay", err)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 99 || f.count(t, "family") != 1 {
			t.Errorf("%d logins with one challenge, %d refused, %d families; want 1, 99, 1", won.Load(), lost.Load(), f.count(t, "family"))
		}
		// It stays used for as long as it could be presented again.
		f.clock.advance(5*time.Minute - time.Second)
		if _, err := f.Store.SweepChallenges(t.Context(), f.clock.now()); err != nil {
			t.Fatal(err)
		}
		_, err := f.Token(t.Context(), r)
		refusal{fault.Unauthenticated, "", "used already"}.check(t, "replay in its last second", err)
		f.clock.advance(2 * time.Second)
		if _, err := f.Store.SweepChallenges(t.Context(), f.clock.now()); err != nil {
			t.Fatal(err)
		}
		_, err = f.Token(t.Context(), r)
		refusal{fault.Unauthenticated, "", "expired"}.check(t, "replay of an expired challenge", err)
	})
}

// A challenge that a provider uses up itself is worth no second login either, by whichever provider.
func TestToken_SpentChallenge(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		f.addRoot(t, "alice", nil)
		asked := f.byWallet(t, "alice", map[string]string{"proof": "asked"})
		var data map[string]string
		if err := json.Unmarshal(asked.ProviderData, &data); err != nil {
			t.Fatal(err)
		}
		data["proof"] = "signed"
		signed := request(t, "test_wallet", data)
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				r := asked
				if i%2 == 0 {
					r = signed
				}
				if _, err := f.Token(t.Context(), r); err != nil {
					refusal{fault.Unauthenticated, "", "authentication failed: the challenge was used already, ask for a new one"}.check(t, "replay", err)
					return
				}
				won.Add(1)
			})
		}
		wg.Wait()
		if won.Load() != 1 || f.count(t, "family") != 1 || f.count(t, "challenge") != 1 {
			t.Errorf("%d logins with one challenge, %d families, %d used challenges; want 1 of each", won.Load(), f.count(t, "family"), f.count(t, "challenge"))
		}
	})
}

// One challenge cannot be spread over two accounts either.
func TestToken_ChallengeOfTwoAccounts(t *testing.T) {
	f := inMemory(t)
	f.addRoot(t, "alice", nil)
	f.addRoot(t, "bob", nil)
	text, _, err := f.challenges.Issue("")
	if err != nil {
		t.Fatal(err)
	}
	f.login(t, f.byWallet(t, "alice", map[string]string{"challenge": text}))
	_, err = f.Token(t.Context(), f.byWallet(t, "bob", map[string]string{"challenge": text}))
	refusal{fault.Unauthenticated, "", "used already"}.check(t, "second account", err)
}

func TestToken_BadChallenge(t *testing.T) {
	f, foreign := inMemory(t), inMemory(t)
	f.addRoot(t, "alice", nil)
	own, _, err := f.challenges.Issue("")
	if err != nil {
		t.Fatal(err)
	}
	theirs, _, err := foreign.challenges.Issue("")
	if err != nil {
		t.Fatal(err)
	}
	pair := f.login(t, f.byWallet(t, "alice", nil))
	families := f.count(t, "family")
	for name, text := range map[string]string{
		"none": "", "garbage": "x.y.z", "of another server": theirs, "an access token": pair.Access, "cut": own[:len(own)-1],
	} {
		_, err := f.Token(t.Context(), f.byWallet(t, "alice", map[string]string{"challenge": text}))
		refusal{fault.Unauthenticated, "", "authentication failed"}.check(t, name, err)
	}
	r := f.byWallet(t, "alice", map[string]string{"challenge": own})
	f.clock.advance(5 * time.Minute)
	_, err = f.Token(t.Context(), r)
	refusal{fault.Unauthenticated, "", "expired"}.check(t, "expired challenge", err)
	if got := f.count(t, "family"); got != families {
		t.Errorf("refused logins left %d families", got-families)
	}
}

// A challenge that was issued for one method is none for another, however the provider uses it up; the method that it is for
// can still use it afterwards.
func TestToken_ChallengeOfAnotherMethod(t *testing.T) {
	f := inMemory(t)
	f.addRoot(t, "alice", nil)
	for _, proof := range []string{"signed", "asked"} {
		theirs, _, err := f.challenges.Issue("eth_wallet")
		if err != nil {
			t.Fatal(err)
		}
		used := f.count(t, "challenge")
		_, err = f.Token(t.Context(), f.byWallet(t, "alice", map[string]string{"challenge": theirs, "proof": proof}))
		refusal{fault.Unauthenticated, "", "issued for another auth_method"}.check(t, proof, err)
		if f.count(t, "challenge") != used {
			t.Errorf("%s: a refused login used the challenge up", proof)
		}
		ours, _, err := f.challenges.Issue("test_wallet")
		if err != nil {
			t.Fatal(err)
		}
		r := f.byWallet(t, "alice", map[string]string{"challenge": ours, "proof": proof})
		r.AuthMethod = "wallet" // the alias is the same method
		f.login(t, r)
	}
}

func TestToken_Refusals(t *testing.T) {
	f := inMemory(t)
	f.addRoot(t, "alice", nil)
	f.addRoot(t, "revoked", nil)
	f.update(t, func(tx *store.Tx) error {
		if _, err := tx.RevokeKey("wallet-revoked", f.clock.now()); err != nil {
			return err
		}
		if err := tx.CreateKey(store.Key{ID: "wallet-lapsed", Type: store.Root, ExpiresAt: start.Unix()}, []string{"admin"}); err != nil {
			return err
		}
		return tx.CreateKey(store.Key{ID: "wallet-client", Type: store.Client, RootKeyID: "wallet-alice"}, []string{"admin"})
	})
	with := func(r login.Request, method, data string) login.Request {
		if method != "" {
			r.AuthMethod = method
		}
		if data != "" {
			r.ProviderData = json.RawMessage(data)
		}
		return r
	}
	good := func() login.Request { return f.byWallet(t, "alice", nil) }
	unauthenticated := refusal{fault.Unauthenticated, "", "authentication failed"}
	for name, tt := range map[string]struct {
		request login.Request
		want    refusal
	}{
		"unknown method":          {with(good(), "near_wallet", ""), unauthenticated},
		"empty method":            {login.Request{ProviderData: json.RawMessage("{}")}, unauthenticated},
		"method in another case":  {with(good(), "Test_Wallet", ""), unauthenticated},
		"bad signature":           {f.byWallet(t, "alice", map[string]string{"proof": "forged"}), unauthenticated},
		"identity without a key":  {f.byWallet(t, "mallory", nil), refusal{fault.Unauthenticated, "", "no key on this node"}},
		"revoked key":             {f.byWallet(t, "revoked", nil), refusal{fault.Unauthenticated, "", "revoked"}},
		"expired key":             {f.byWallet(t, "lapsed", nil), refusal{fault.Unauthenticated, "", "the key has expired"}},
		"a client key's id":       {f.byWallet(t, "client", nil), refusal{fault.Unauthenticated, "", "revoked"}},
		"user without an account": {byPassword(t, "nobody", "correct horse", nil), unauthenticated},
		"data of another type":    {with(good(), "", `{"account":1}`), refusal{fault.Invalid, "", "account"}},
		"null data":               {with(good(), "", `null`), refusal{fault.Invalid, "", ""}},
		"array data":              {with(good(), "", `[]`), refusal{fault.Invalid, "", ""}},
		"empty data":              {with(good(), "", `{}`), unauthenticated},
		"secret of another type":  {with(good(), "", `{"bootstrap_secret":{}}`), refusal{fault.Invalid, "", "bootstrap_secret"}},
		"provider is down":        {f.byWallet(t, "alice", map[string]string{"proof": "later"}), refusal{fault.Unavailable, "", "try again"}},
		"provider is off":         {f.byWallet(t, "alice", map[string]string{"proof": "off"}), refusal{fault.Invalid, "", "set public_url"}},
		"provider is broken":      {f.byWallet(t, "alice", map[string]string{"proof": "broken"}), refusal{fault.Internal, "", "internal server error"}},
	} {
		before := [3]int{f.count(t, "family"), f.count(t, "root"), f.count(t, "challenge")}
		pair, err := f.Token(t.Context(), tt.request)
		tt.want.check(t, name, err)
		if pair != (login.Pair{}) {
			t.Errorf("%s: a pair came with the refusal", name)
		}
		if after := [3]int{f.count(t, "family"), f.count(t, "root"), f.count(t, "challenge")}; after != before {
			t.Errorf("%s: families, roots, challenges went from %v to %v", name, before, after)
		}
	}
	if after := fault.RetryAfterOf(login.Classify(provider.ErrUnavailable)); after <= 0 {
		t.Errorf("Retry-After of an unavailable provider = %v", after)
	}
	if pair := f.login(t, with(good(), "wallet", "")); read(t, pair.Access).Sub != "wallet-alice" {
		t.Error("the alias of the provider did not log in")
	}
}

func TestToken_StoreDown(t *testing.T) {
	db := memory.New()
	f := newFixture(t, db)
	f.addRoot(t, "alice", nil)
	r := f.byWallet(t, "alice", nil)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := f.Token(t.Context(), r)
	refusal{fault.Internal, "", "internal server error"}.check(t, "store down", err)
}

func (f *fixture) secret(t *testing.T) string {
	t.Helper()
	shown, err := f.Bootstrap.Ensure(t.Context())
	if err != nil || shown.State != bootstrap.Open {
		t.Fatalf("Ensure = %+v, %v", shown, err)
	}
	return shown.Secret
}

func (f *fixture) roots(t *testing.T) (all []store.Key) {
	t.Helper()
	f.view(t, func(tx *store.Tx) error {
		for k, err := range tx.Keys(store.Root) {
			if err != nil {
				return err
			}
			all = append(all, k)
		}
		return nil
	})
	return all
}

func TestBootstrap_FirstRootKey(t *testing.T) {
	for name, attempt := range map[string]func(t *testing.T, f *fixture, secret map[string]string) login.Request{
		"wallet": func(t *testing.T, f *fixture, secret map[string]string) login.Request {
			t.Helper()
			return f.byWallet(t, "alice", secret)
		},
		"password": func(t *testing.T, _ *fixture, secret map[string]string) login.Request {
			t.Helper()
			return byPassword(t, "alice", "correct horse", secret)
		},
	} {
		f := inMemory(t)
		secret := f.secret(t)
		_, err := f.Token(t.Context(), attempt(t, f, nil))
		refusal{fault.Unauthenticated, "", "bootstrap_secret"}.check(t, name+": the first without the secret", err)
		_, err = f.Token(t.Context(), attempt(t, f, map[string]string{"bootstrap_secret": "0000-0000-0000-0000-0000-0000"}))
		refusal{fault.Unauthenticated, "", "wrong bootstrap secret"}.check(t, name+": a wrong secret", err)
		if n := len(f.roots(t)); n != 0 {
			t.Fatalf("%s: %d root keys came of refused logins", name, n)
		}
		with := map[string]string{"bootstrap_secret": strings.ToLower(secret)}
		pair := f.login(t, attempt(t, f, with))
		roots := f.roots(t)
		if len(roots) != 1 || roots[0].ID != read(t, pair.Access).Sub || roots[0].CreatedAt != start.Unix() {
			t.Errorf("%s: root keys %+v, want the one that logged in", name, roots)
		}
		if got := read(t, pair.Access).Permissions; !slices.Equal(got, []string{"admin"}) {
			t.Errorf("%s: permissions %q, want admin", name, got)
		}
		f.login(t, attempt(t, f, with)) // clients keep sending the secret of old
		f.login(t, attempt(t, f, nil))
		if len(f.roots(t)) != 1 {
			t.Errorf("%s: later logins made root keys", name)
		}
		_, err = f.Token(t.Context(), f.byWallet(t, "mallory", with))
		refusal{fault.Unauthenticated, "", "no key on this node"}.check(t, name+": a second identity with the used secret", err)
		_, err = f.Token(t.Context(), byPassword(t, "mallory", "correct horse", with))
		refusal{fault.Unauthenticated, "", "wrong user name or password"}.check(t, name+": a second account with the used secret", err)
	}
}

// The secret alone proves nobody: it is consumed after the provider's proof.
func TestBootstrap_SecretWithoutProof(t *testing.T) {
	f := inMemory(t)
	secret := map[string]string{"bootstrap_secret": f.secret(t), "proof": "forged"}
	_, err := f.Token(t.Context(), f.byWallet(t, "alice", secret))
	refusal{fault.Unauthenticated, "", "bad signature"}.check(t, "forged proof", err)
	secret["proof"] = "signed"
	f.login(t, f.byWallet(t, "alice", secret))
}

func TestBootstrap_GuessingIsLimited(t *testing.T) {
	f := inMemory(t)
	secret := f.secret(t)
	wrong := func() login.Request { return f.byWallet(t, "alice", map[string]string{"bootstrap_secret": "wrong"}) }
	for range 5 {
		_, err := f.Token(t.Context(), wrong())
		refusal{fault.Unauthenticated, "", "wrong bootstrap secret"}.check(t, "a guess", err)
	}
	_, err := f.Token(t.Context(), wrong())
	refusal{fault.RateLimited, "", "too many"}.check(t, "the sixth guess", err)
	if after := fault.RetryAfterOf(err); after != time.Minute {
		t.Errorf("Retry-After = %v, want a minute", after)
	}
	r := f.byWallet(t, "alice", map[string]string{"bootstrap_secret": secret})
	r.Peer = "198.51.100.2"
	f.login(t, r)
}

func TestBootstrap_LapsedSecret(t *testing.T) {
	f := inMemory(t)
	secret := f.secret(t)
	f.clock.advance(24 * time.Hour)
	_, err := f.Token(t.Context(), f.byWallet(t, "alice", map[string]string{"bootstrap_secret": secret}))
	refusal{fault.Unauthenticated, "", "lapsed"}.check(t, "after 24 hours", err)
	shown, err := f.Bootstrap.Show(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	f.login(t, f.byWallet(t, "alice", map[string]string{"bootstrap_secret": shown.Secret}))
}

// Whatever arrives at the same time, by whichever provider: one root key.
func TestBootstrap_ParallelFirstLogins(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		secret := map[string]string{"bootstrap_secret": f.secret(t)}
		requests := make([]login.Request, 0, 30)
		for i := range 15 {
			requests = append(requests,
				f.byWallet(t, fmt.Sprint("user", i), secret), byPassword(t, fmt.Sprint("user", i), "correct horse", secret))
		}
		var won atomic.Int64
		var wg sync.WaitGroup
		for _, r := range requests {
			wg.Go(func() {
				_, err := f.Token(t.Context(), r)
				if err == nil {
					won.Add(1)
					return
				}
				refusal{fault.Unauthenticated, "", "authentication failed"}.check(t, "loser", err)
			})
		}
		wg.Wait()
		if roots := f.roots(t); won.Load() != 1 || len(roots) != 1 || f.count(t, "family") != 1 || f.count(t, "account") > 1 {
			t.Errorf("%d winners, root keys %+v, %d families, %d accounts; want one of each", won.Load(), roots, f.count(t, "family"), f.count(t, "account"))
		}
	})
}

// Revoking every root key does not make the next caller administrator.
func TestBootstrap_NotAgainAfterRevocation(t *testing.T) {
	f := inMemory(t)
	secret := map[string]string{"bootstrap_secret": f.secret(t)}
	f.login(t, f.byWallet(t, "alice", secret))
	f.update(t, func(tx *store.Tx) error {
		_, err := tx.RevokeKey("wallet-alice", f.clock.now())
		return err
	})
	_, err := f.Token(t.Context(), f.byWallet(t, "mallory", secret))
	refusal{fault.Unauthenticated, "", "no key on this node"}.check(t, "another identity", err)
	_, err = f.Token(t.Context(), f.byWallet(t, "alice", secret))
	refusal{fault.Unauthenticated, "", "revoked"}.check(t, "the revoked identity", err)
}

func TestAddRoot_Resurrection(t *testing.T) {
	f := inMemory(t)
	f.addRoot(t, "alice", nil)
	account := login.RootGrant{
		Provider: "user_password", Proof: provider.Proof{Account: "bob", PasswordHash: "$argon2id$1"}, Permissions: []string{"admin"},
	}
	f.update(t, func(tx *store.Tx) error {
		if _, err := tx.RevokeKey("wallet-alice", f.clock.now()); err != nil {
			return err
		}
		_, err := login.AddRoot(tx, account)
		return err
	})
	roots := f.count(t, "root")
	account.Proof.PasswordHash = "$argon2id$2"
	for name, g := range map[string]login.RootGrant{
		"a revoked identity": {Provider: "test_wallet", Proof: provider.Proof{KeyID: "wallet-alice"}, Permissions: []string{"admin"}},
		"a known account":    account,
	} {
		err := f.Store.Update(t.Context(), func(tx *store.Tx) error {
			_, err := login.AddRoot(tx, g)
			return err
		})
		if !errors.Is(err, store.ErrExists) {
			t.Errorf("AddRoot of %s: %v, want ErrExists", name, err)
		}
	}
	if _, phc, found, err := f.account(t.Context(), "bob"); err != nil || !found || phc != "$argon2id$1" {
		t.Errorf("the account of bob holds %q, %t, %v, want its first hash", phc, found, err)
	}
	if f.count(t, "root") != roots {
		t.Error("a refused AddRoot left a root key")
	}
}

func TestToken_RenewsPasswordHash(t *testing.T) {
	f := inMemory(t)
	f.login(t, byPassword(t, "alice", "correct horse", map[string]string{"bootstrap_secret": f.secret(t)}))
	_, old, _, err := f.account(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	f.login(t, byPassword(t, "alice", "correct horse", nil))
	if _, phc, _, _ := f.account(t.Context(), "alice"); phc != old {
		t.Errorf("with the same parameters the hash became %s, want %s", phc, old)
	}
	stronger := &password.Provider{Config: config.UserPassword{MemoryKiB: 16, Iterations: 2}, Accounts: f.account}
	f.Providers = []provider.Provider{stronger}
	if _, err := f.Token(t.Context(), byPassword(t, "alice", "wrong horse", nil)); err == nil {
		t.Fatal("a wrong password logged in")
	}
	if _, phc, _, _ := f.account(t.Context(), "alice"); phc != old {
		t.Error("a wrong password changed the stored hash")
	}
	sub := read(t, f.login(t, byPassword(t, "alice", "correct horse", nil)).Access).Sub
	keyID, phc, _, err := f.account(t.Context(), "alice")
	if err != nil || phc == old || stronger.NeedsRehash(phc) || keyID != sub {
		t.Errorf("account after the login: key %s, %s, %v; want a hash with the new parameters for %s", keyID, phc, err, sub)
	}
	f.login(t, byPassword(t, "alice", "correct horse", nil))
	if _, err := f.Token(t.Context(), byPassword(t, "alice", "wrong horse", nil)); err == nil {
		t.Error("a wrong password logs in with the new hash")
	}
}

// proving is a provider that proves whatever it is told to.
type proving struct{ proof provider.Proof }

func (proving) Name() string        { return "user_password" }
func (proving) Aliases() []string   { return nil }
func (proving) Info() provider.Info { return provider.Info{} }

func (p proving) Authenticate(context.Context, provider.Attempt) (provider.Proof, error) {
	return p.proof, nil
}

func (p proving) Enroll(context.Context, provider.Attempt) (provider.Proof, error) {
	return p.proof, nil
}

// An old password, verified just before it was changed, must not come back as the stored one.
func TestToken_RenewedHashDoesNotUndoAPasswordChange(t *testing.T) {
	f := inMemory(t)
	f.login(t, byPassword(t, "alice", "correct horse", map[string]string{"bootstrap_secret": f.secret(t)}))
	keyID, old, _, err := f.account(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	changed := store.Account{Name: "alice", Key: keyID, PHC: "$argon2id$of-the-new-password"}
	f.update(t, func(tx *store.Tx) error { return tx.PutAccount("user_password", changed) })
	f.Providers = []provider.Provider{proving{provider.Proof{
		KeyID: keyID, Account: "alice", PasswordHash: "$argon2id$of-the-old-password", Verified: old,
	}}}
	_, err = f.Token(t.Context(), byPassword(t, "alice", "correct horse", nil))
	refusal{fault.Unauthenticated, "", "the password was changed meanwhile"}.check(t, "a login by the old password", err)
	if _, phc, _, err := f.account(t.Context(), "alice"); phc != changed.PHC || err != nil {
		t.Errorf("the stored hash is %s, %v, want that of the changed password", phc, err)
	}
}

func TestLogNeverHoldsSecrets(t *testing.T) {
	f := inMemory(t)
	secret := f.secret(t)
	var used []string
	record := func(r login.Request) {
		pair, err := f.Token(t.Context(), r)
		used = append(used, string(r.ProviderData))
		if err == nil {
			used = append(used, pair.Access, pair.Refresh)
		}
	}
	record(byPassword(t, "alice", "a wrong first", map[string]string{"bootstrap_secret": "a-wrong-secret"}))
	record(byPassword(t, "alice", "correct horse", map[string]string{"bootstrap_secret": secret}))
	record(byPassword(t, "alice", "battery staple", nil))
	record(f.byWallet(t, "alice", map[string]string{"proof": "broken"}))
	used = append(used, secret, "a-wrong-secret", "a wrong first", "correct horse", "battery staple")
	if !strings.Contains(f.log.String(), "the first root key was created") {
		t.Errorf("the log does not tell of the first key: %s", f.log)
	}
	for _, text := range used {
		if strings.Contains(f.log.String(), text) {
			t.Errorf("the log holds %q:\n%s", text, f.log)
		}
	}
}
