package login_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

const host = "node.example"

// The refusals of a refresh, as clients see them.
var (
	stillValid  = refusal{fault.Unauthenticated, "", "Access token still valid"}
	mismatch    = refusal{fault.Unauthenticated, "", "do not belong to the same session"}
	badRefresh  = refusal{fault.Unauthenticated, "", "invalid refresh token"}
	badAccess   = refusal{fault.Unauthenticated, "", "invalid access token"}
	ended       = refusal{fault.Unauthenticated, identity.TokenRevoked, "revoked"}
	reuse       = refusal{fault.Unauthenticated, identity.TokenReuse, "used already"}
	foreignHost = refusal{fault.Forbidden, identity.InvalidNode, "not valid for this host"}
)

// session logs in as an administrator.
func (f *fixture) session(t *testing.T) login.Pair {
	t.Helper()
	if f.count(t, "root") == 0 {
		f.addRoot(t, "alice", nil)
	}
	return f.login(t, f.byWallet(t, "alice", nil))
}

func (f *fixture) refresh(t *testing.T, p login.Pair) login.Pair {
	t.Helper()
	next, err := f.Refresh(t.Context(), p.Access, p.Refresh, host)
	if err != nil {
		t.Fatalf("Refresh after %v: %v", f.clock.now().Sub(start), err)
	}
	return next
}

func (f *fixture) refused(t *testing.T, what string, p login.Pair, want refusal) {
	t.Helper()
	pair, err := f.Refresh(t.Context(), p.Access, p.Refresh, host)
	want.check(t, what, err)
	if pair != (login.Pair{}) {
		t.Errorf("%s: a pair came with the refusal", what)
	}
}

func TestRefresh_Rotates(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		first := f.session(t)
		f.clock.advance(accessLife)
		f.wantAccess(t, first.Access, identity.TokenExpired)
		second := f.refresh(t, first)
		a, b := read(t, first.Access), read(t, second.Access)
		now := f.clock.now().Unix()
		if b.Sub != a.Sub || b.Fam != a.Fam || b.JTI == a.JTI || b.Iat != now || b.Exp != now+3600 {
			t.Errorf("the next access token is %+v after %+v", b, a)
		}
		ra, rb := read(t, first.Refresh), read(t, second.Refresh)
		if rb.Sub != ra.Sub || rb.Fam != ra.Fam || rb.JTI == ra.JTI || rb.Exp != now+30*24*3600 {
			t.Errorf("the next refresh token is %+v after %+v", rb, ra)
		}
		f.wantAccess(t, second.Access, "")
		fam := f.family(t, second)
		if fam.Number != 2 || fam.LastRefresh != now || fam.PreviousRefreshID != ra.JTI || fam.Current.RefreshID != rb.JTI {
			t.Errorf("family: %+v", fam)
		}
		f.clock.advance(accessLife)
		third := f.refresh(t, second)
		f.wantAccess(t, third.Access, "")
		if n := f.family(t, third).Number; n != 3 {
			t.Errorf("generation %d, want 3", n)
		}
	})
}

// An access token with more life left than the window, or than a quarter of its life, is still valid.
func TestRefresh_StillValid(t *testing.T) {
	for _, tt := range []struct{ life, window, from time.Duration }{
		{time.Hour, 2 * time.Minute, 2 * time.Minute},
		{8 * time.Minute, 2 * time.Minute, 2 * time.Minute},
		{100 * time.Second, 2 * time.Minute, 25 * time.Second},
		{7 * time.Second, 2 * time.Minute, 7 * time.Second / 4},
		{time.Hour, 0, 0},
	} {
		f := inMemory(t)
		f.Issuer.AccessExpiry, f.RefreshWindow = tt.life, tt.window
		p := f.session(t)
		expires := start.Add(tt.life)
		for _, before := range []time.Duration{tt.life, tt.life / 2, tt.from + time.Nanosecond} {
			f.clock.set(expires.Add(-before))
			f.refused(t, fmt.Sprintf("life %v, window %v, %v before expiry", tt.life, tt.window, before), p, stillValid)
		}
		f.wantAccess(t, p.Access, "")
		f.clock.set(expires.Add(-tt.from))
		f.refresh(t, p)
	}
}

// Whatever state the access token is in, it only says whether the refresh came too early and to which session it
// belongs.
func TestRefresh_RetiredAccessSecret(t *testing.T) {
	f := inMemory(t)
	p, other := f.session(t), f.session(t)
	unknown := login.Pair{Access: withKID(t, p.Access, "deadbeefdeadbeef"), Refresh: p.Refresh}
	f.refused(t, "retired kid, family of another session", login.Pair{Access: withKID(t, other.Access, "deadbeefdeadbeef"), Refresh: p.Refresh}, mismatch)
	f.refused(t, "retired kid, cut in half", login.Pair{Access: unknown.Access[:len(unknown.Access)/2], Refresh: p.Refresh}, badAccess)
	f.refused(t, "retired kid on the refresh token", login.Pair{Access: p.Access, Refresh: withKID(t, p.Refresh, "deadbeefdeadbeef")}, badRefresh)
	if n := f.family(t, p).Number; n != 1 {
		t.Fatalf("refused refreshes led to generation %d", n)
	}
	f.wantAccess(t, f.refresh(t, unknown).Access, "") // counts as expired at once
}

// withKID returns a token with another kid in its header, and so with a signature that nothing can check.
func withKID(t *testing.T, raw, kid string) string {
	t.Helper()
	header, rest, _ := strings.Cut(raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), `"kid":"`)
	_, after, ok2 := strings.Cut(after, `"`)
	if !ok || !ok2 {
		t.Fatalf("no kid in %s", text)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(before+`"kid":"`+kid+`"`+after)) + "." + rest
}

func TestRefresh_MixedPairs(t *testing.T) {
	f := inMemory(t)
	alice, second := f.session(t), f.session(t)
	f.addRoot(t, "bob", nil)
	bob := f.login(t, f.byWallet(t, "bob", nil))
	f.clock.advance(accessLife)
	f.refused(t, "access token of another session of the key", login.Pair{Access: second.Access, Refresh: alice.Refresh}, mismatch)
	f.refused(t, "access token of another key", login.Pair{Access: bob.Access, Refresh: alice.Refresh}, mismatch)
	f.refused(t, "access token in the refresh slot", login.Pair{Access: alice.Access, Refresh: alice.Access}, badRefresh)
	f.refused(t, "refresh token in the access slot", login.Pair{Access: alice.Refresh, Refresh: alice.Refresh}, badAccess)
	f.refused(t, "swapped", login.Pair{Access: alice.Refresh, Refresh: alice.Access}, badRefresh)
	tampered := alice.Access[:len(alice.Access)-2] + "AA"
	if strings.HasSuffix(alice.Access, "AA") {
		tampered = alice.Access[:len(alice.Access)-2] + "EE"
	}
	f.refused(t, "tampered access token", login.Pair{Access: tampered, Refresh: alice.Refresh}, badAccess)
	text, _, err := f.challenges.Issue("")
	if err != nil {
		t.Fatal(err)
	}
	f.refused(t, "a challenge in the refresh slot", login.Pair{Access: alice.Access, Refresh: text}, badRefresh)
	for _, garbage := range []string{"", "x", "a.b.c", " " + alice.Refresh, alice.Refresh + "A", "Bearer " + alice.Refresh, strings.Repeat("a", 100_000)} {
		f.refused(t, fmt.Sprintf("refresh token %.20q", garbage), login.Pair{Access: alice.Access, Refresh: garbage}, badRefresh)
	}
	for _, p := range []login.Pair{alice, second, bob} {
		f.refresh(t, p) // none of that ended a session
	}
}

// An access token that a refresh replaced is of the same session: clients may keep it beside the new refresh token.
func TestRefresh_OlderAccessTokenOfTheSession(t *testing.T) {
	f := inMemory(t)
	first := f.session(t)
	f.clock.advance(accessLife)
	second := f.refresh(t, first)
	f.clock.advance(accessLife)
	f.refresh(t, login.Pair{Access: first.Access, Refresh: second.Refresh})
}

// A lost answer: the same refresh again gets the very same pair, as often as it is tried within the grace period.
func TestRefresh_RepeatWithinGrace(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		first := f.session(t)
		f.clock.advance(accessLife)
		second := f.refresh(t, first)
		for _, after := range []time.Duration{0, time.Second, 5 * time.Second, grace} {
			f.clock.set(start.Add(accessLife + after))
			if again := f.refresh(t, first); again != second {
				t.Fatalf("a repeat after %v got another pair", after)
			}
		}
		if n := f.family(t, second).Number; n != 2 {
			t.Errorf("repeats led to generation %d, want 2", n)
		}
		f.wantAccess(t, second.Access, "") // using the access token says nothing about the refresh token
		if again := f.refresh(t, first); again != second {
			t.Error("a repeat after the use of the access token got another pair")
		}
		f.clock.advance(accessLife)
		f.wantAccess(t, f.refresh(t, second).Access, "")
	})
}

// The identical pair comes even when the secrets have rotated and the permissions changed in between.
func TestRefresh_RepeatIsTheRecordedPair(t *testing.T) {
	f := inMemory(t)
	first := f.session(t)
	f.clock.advance(accessLife)
	second := f.refresh(t, first)
	for _, kind := range []secret.Kind{secret.Access, secret.Refresh} {
		if err := f.secrets.Rotate(t.Context(), kind, false); err != nil {
			t.Fatal(err)
		}
	}
	f.update(t, func(tx *store.Tx) error { return tx.SetPermissions("wallet-alice", []string{"blob"}) })
	if again := f.refresh(t, first); again != second {
		t.Error("the repeat got another pair")
	}
}

func TestRefresh_ReuseAfterGrace(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		other := f.session(t)
		first := f.session(t)
		f.clock.advance(accessLife)
		second := f.refresh(t, first)
		f.clock.advance(grace + time.Nanosecond)
		f.refused(t, "reuse", first, reuse)
		f.wantAccess(t, second.Access, identity.TokenRevoked)
		f.refused(t, "the reused token once more", first, ended)
		f.clock.advance(accessLife)
		f.refused(t, "the successor of the reused token", second, ended)
		if fam := f.family(t, second); fam.RevokedAt == 0 || fam.Number != 2 {
			t.Errorf("family: %+v, want revoked in generation 2", fam)
		}
		f.wantAccess(t, f.refresh(t, other).Access, "") // other sessions of the key live on
	})
}

// A token that is older than the last one was never lost in an answer.
func TestRefresh_ReuseOfAnOlderGeneration(t *testing.T) {
	f := inMemory(t)
	first := f.session(t)
	f.clock.advance(accessLife)
	second := f.refresh(t, first)
	f.clock.set(time.Unix(read(t, second.Access).Exp, 0).Add(-window))
	third := f.refresh(t, second)
	f.refused(t, "the token before the last, within the last one's grace", first, reuse)
	f.wantAccess(t, third.Access, identity.TokenRevoked)
}

// The grace period ends with the first sight of the successor's refresh token, also when that comes too early to be
// exchanged, for another host, or with an access token that does not fit: whoever sends it has got the answer.
func TestRefresh_GraceEndsWithTheSuccessor(t *testing.T) {
	for name, present := range map[string]func(f *fixture, first, second login.Pair) (login.Pair, string, refusal){
		"still valid": func(_ *fixture, _, s login.Pair) (login.Pair, string, refusal) { return s, host, stillValid },
		"other host":  func(_ *fixture, _, s login.Pair) (login.Pair, string, refusal) { return s, "evil.example", foreignHost },
		"broken access": func(_ *fixture, _, s login.Pair) (login.Pair, string, refusal) {
			return login.Pair{Access: "x", Refresh: s.Refresh}, host, badAccess
		},
		"foreign access": func(f *fixture, _, s login.Pair) (login.Pair, string, refusal) {
			return login.Pair{Access: f.session(t).Access, Refresh: s.Refresh}, host, mismatch
		},
	} {
		f := inMemory(t)
		f.addRoot(t, "alice", nil)
		r := f.byWallet(t, "alice", nil)
		r.ClientName = "https://node.example"
		first := f.login(t, r)
		f.clock.advance(accessLife)
		second := f.refresh(t, first)
		p, at, want := present(f, first, second)
		_, err := f.Refresh(t.Context(), p.Access, p.Refresh, at)
		want.check(t, name, err)
		if !f.family(t, second).SuccessorPresented {
			t.Errorf("%s: the presentation was not noted", name)
		}
		f.refused(t, name+": the repeat after it", first, reuse)
		f.wantAccess(t, second.Access, identity.TokenRevoked)
	}
}

// The end of one grace period is not the end of the next one.
func TestRefresh_GraceOfTheNextRotation(t *testing.T) {
	f := inMemory(t)
	first := f.session(t)
	f.clock.advance(accessLife)
	second := f.refresh(t, first)
	f.refused(t, "the successor, too early", second, stillValid)
	f.clock.advance(accessLife)
	third := f.refresh(t, second)
	if again := f.refresh(t, second); again != third {
		t.Error("the repeat of the second refresh got another pair")
	}
}

// The old token again, refused as too early beside the successor's access token, is no sign of the successor.
func TestRefresh_EarlyRepeatKeepsTheGrace(t *testing.T) {
	f := inMemory(t)
	first := f.session(t)
	f.clock.advance(accessLife)
	second := f.refresh(t, first)
	f.refused(t, "old refresh token, new access token", login.Pair{Access: second.Access, Refresh: first.Refresh}, stillValid)
	if again := f.refresh(t, first); again != second {
		t.Error("the repeat got another pair")
	}
}

func TestRefresh_ParallelRepeats(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		first := f.session(t)
		f.clock.advance(accessLife)
		pairs := make([]login.Pair, 100)
		var wg sync.WaitGroup
		for i := range pairs {
			wg.Go(func() {
				var err error
				if pairs[i], err = f.Refresh(t.Context(), first.Access, first.Refresh, host); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i, p := range pairs {
			if p != pairs[0] {
				t.Fatalf("refresh %d got another pair than the first", i)
			}
		}
		if fam := f.family(t, pairs[0]); fam.Number != 2 || fam.RevokedAt != 0 {
			t.Errorf("family: %+v, want generation 2, live", fam)
		}
	})
}

// A thief and the owner, each with both tokens: however their refreshes interleave, the session never has two lives.
func TestRefresh_ParallelReuseLeavesOneLifeOrNone(t *testing.T) {
	f := inMemory(t)
	for range 20 {
		first := f.session(t)
		f.clock.advance(accessLife)
		second := f.refresh(t, first)
		f.clock.advance(accessLife)
		var wg sync.WaitGroup
		var third login.Pair
		var errNew, errOld error
		wg.Go(func() { third, errNew = f.Refresh(t.Context(), second.Access, second.Refresh, host) })
		wg.Go(func() { _, errOld = f.Refresh(t.Context(), first.Access, first.Refresh, host) })
		wg.Wait()
		reuse.check(t, "the old token", errOld)
		if errNew != nil {
			ended.check(t, "the new token", errNew)
			third = second
		}
		f.wantAccess(t, third.Access, map[bool]string{true: identity.TokenRevoked, false: identity.TokenExpired}[errNew == nil])
		if f.family(t, first).RevokedAt == 0 {
			t.Fatal("the family outlived the reuse")
		}
	}
}

// A refresh that runs beside a revocation must not bring the session back.
func TestRefresh_AgainstRevocation(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		for range 20 {
			first := f.session(t)
			f.clock.advance(accessLife)
			var wg sync.WaitGroup
			var second login.Pair
			var err error
			wg.Go(func() { second, err = f.Refresh(t.Context(), first.Access, first.Refresh, host) })
			wg.Go(func() {
				f.update(t, func(tx *store.Tx) error { return tx.RevokeFamily(read(t, first.Access).Fam, f.clock.now()) })
			})
			wg.Wait()
			if err != nil {
				ended.check(t, "refresh beside a revocation", err)
				continue
			}
			f.wantAccess(t, second.Access, identity.TokenRevoked)
			f.clock.advance(accessLife)
			f.refused(t, "refresh after the revocation", second, ended)
		}
	})
}

func TestRefresh_DeadKeys(t *testing.T) {
	for name, kill := range map[string]func(tx *store.Tx, now time.Time) error{
		"family revoked": nil,
		"key revoked": func(tx *store.Tx, now time.Time) error {
			_, err := tx.RevokeKey("client", now)
			return err
		},
		"root revoked": func(tx *store.Tx, now time.Time) error {
			_, err := tx.RevokeKey("wallet-alice", now)
			return err
		},
		"minting key revoked": func(tx *store.Tx, now time.Time) error {
			_, err := tx.RevokeKey("minter", now)
			return err
		},
		"key expired":  func(*store.Tx, time.Time) error { return nil },
		"root expired": func(*store.Tx, time.Time) error { return nil },
	} {
		f := inMemory(t)
		expiry := map[string]int64{name: start.Add(accessLife).Unix()}
		f.addRoot(t, "alice", nil)
		var fam store.Family
		f.update(t, func(tx *store.Tx) error {
			if err := tx.CreateKey(store.Key{ID: "lapsing", Type: store.Root, ExpiresAt: expiry["root expired"]}, []string{"admin"}); err != nil {
				return err
			}
			if err := tx.CreateKey(store.Key{ID: "minter", Type: store.Client, RootKeyID: "wallet-alice"}, []string{"admin"}); err != nil {
				return err
			}
			root := "wallet-alice"
			if name == "root expired" {
				root = "lapsing"
			}
			err := tx.CreateKey(store.Key{
				ID: "client", Type: store.Client, RootKeyID: root, MintedBy: "minter", ExpiresAt: expiry["key expired"],
			}, []string{"blob"})
			if err != nil {
				return err
			}
			fam = f.Issuer.Begin(login.Grant{Key: "client", Permissions: []string{"blob"}})
			return tx.CreateFamily(fam)
		})
		p, err := f.Issuer.Sign(fam)
		if err != nil {
			t.Fatal(err)
		}
		f.wantAccess(t, p.Access, "")
		f.clock.set(start.Add(accessLife))
		f.update(t, func(tx *store.Tx) error {
			if kill == nil {
				return tx.RevokeFamily(fam.ID, f.clock.now())
			}
			return kill(tx, f.clock.now())
		})
		f.refused(t, name, p, ended)
		if n := f.family(t, p).Number; n != 1 {
			t.Errorf("%s: generation %d, want 1", name, n)
		}
	}
}

// A family that is gone, or that belongs to another key than the token says, yields nothing.
func TestRefresh_UnknownFamily(t *testing.T) {
	f := inMemory(t)
	p := f.session(t)
	fam := f.family(t, p)
	f.clock.advance(accessLife)
	fam.Key = "wallet-bob"
	f.addRoot(t, "bob", nil)
	f.update(t, func(tx *store.Tx) error { return tx.SaveFamily(fam) })
	f.refused(t, "family of another key", p, ended)
	f.update(t, func(tx *store.Tx) error { return tx.Put("family", fam.ID, nil) })
	f.refused(t, "no such family", p, ended)
	f.clock.set(start)
	f.refused(t, "no such family, still valid", p, ended)
}

func TestRefresh_TakesTheKeysListOfTheMoment(t *testing.T) {
	f := inMemory(t)
	f.addRoot(t, "alice", nil)
	p := f.login(t, f.byWallet(t, "alice", nil))
	for _, list := range [][]string{{"context:list", "blob"}, {"blob", "context:list", "context:execute[c]"}, {}, {"admin"}} {
		f.update(t, func(tx *store.Tx) error { return tx.SetPermissions("wallet-alice", list) })
		f.clock.advance(accessLife)
		p = f.refresh(t, p)
		if got := read(t, p.Access).Permissions; !slices.Equal(got, list) {
			t.Errorf("after the change to %q the token has %q", list, got)
		}
		if got := read(t, p.Refresh).Permissions; !slices.Equal(got, list) {
			t.Errorf("after the change to %q the refresh token has %q", list, got)
		}
	}
}

func TestRefresh_HostBinding(t *testing.T) {
	f := inMemory(t)
	f.addRoot(t, "alice", nil)
	r := f.byWallet(t, "alice", nil)
	r.ClientName = "https://node.example:8443/auth/login"
	p := f.login(t, r)
	f.clock.advance(accessLife)
	for _, at := range []string{"", "evil.example", "node.example.evil", "node.example:443", "auth", "node.example:8443,evil", "x@node.example"} {
		_, err := f.Refresh(t.Context(), p.Access, p.Refresh, at)
		foreignHost.check(t, "at "+at, err)
	}
	if n := f.family(t, p).Number; n != 1 {
		t.Errorf("refused refreshes led to generation %d", n)
	}
	next, err := f.Refresh(t.Context(), p.Access, p.Refresh, "NODE.example:8443")
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{next.Access, next.Refresh} { // the binding stays
		if c := read(t, raw); c.NodeURL == nil || *c.NodeURL != "https://node.example:8443" {
			t.Errorf("node_url of the next %s token: %v", c.Type, c.NodeURL)
		}
	}
}

func TestRefresh_ExpiredRefreshToken(t *testing.T) {
	f := inMemory(t)
	p := f.session(t)
	f.clock.advance(refreshLife - time.Second)
	next := f.refresh(t, p)
	f.clock.advance(refreshLife)
	f.refused(t, "after its 30 days", next, badRefresh)
}

// A machine token has no refresh token, so no token of another session can stand in for one.
func TestRefresh_MachineFamily(t *testing.T) {
	f := inMemory(t)
	f.addRoot(t, "alice", nil)
	fam := f.Issuer.Begin(login.Grant{Key: "wallet-alice", Permissions: []string{"blob"}, Machine: time.Minute})
	f.update(t, func(tx *store.Tx) error { return tx.CreateFamily(fam) })
	p, err := f.Issuer.Sign(fam)
	if err != nil || p.Refresh != "" || p.Access == "" {
		t.Fatalf("Sign = %+v, %v, want an access token alone", p, err)
	}
	if c := read(t, p.Access); c.Exp != start.Unix()+60 {
		t.Errorf("exp = %d, want a minute", c.Exp)
	}
	f.clock.advance(time.Minute)
	f.refused(t, "without a refresh token", p, badRefresh)
	f.refused(t, "with its access token for both", login.Pair{Access: p.Access, Refresh: p.Access}, badRefresh)
	// Even a refresh token of the family, made with a stolen secret of that kind, is of no generation.
	forged, _, err := f.Issuer.Tokens.Sign(token.Claims{
		Kind: token.KindRefresh, Subject: "wallet-alice", ID: "x", Family: fam.ID, IssuedAt: start.Unix(), Expires: start.Unix() + 3600,
		Permissions: []string{"admin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.refused(t, "forged", login.Pair{Access: p.Access, Refresh: forged}, reuse)
}

// rotateDaily is what the keyring does by itself every day.
func (f *fixture) rotateDaily(t *testing.T) {
	t.Helper()
	f.clock.advance(24 * time.Hour)
	if err := f.secrets.RotateDue(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A session that slept for 29 days and 29 rotations wakes up: its access secret is long gone, its refresh secret is
// kept for as long as it has signed.
func TestRefresh_After29DaysAnd29Rotations(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		first := f.session(t)
		kids := map[string]bool{f.family(t, first).Current.AccessKID: true}
		for range 29 {
			f.rotateDaily(t)
			kids[f.family(t, f.session(t)).Current.AccessKID] = true // other users keep logging in
		}
		if len(kids) != 30 {
			t.Fatalf("%d access secrets were in use, want 30", len(kids))
		}
		if seen, err := f.Issuer.Tokens.InspectAccess(first.Access); err != nil || seen.State != token.Unproven {
			t.Fatalf("the old access token is %+v, %v, want one whose secret is gone", seen, err)
		}
		second := f.refresh(t, first)
		f.wantAccess(t, second.Access, "")
		f.clock.advance(grace)
		if again := f.refresh(t, first); again != second {
			t.Error("a repeat within the grace period got another pair")
		}
		f.clock.advance(time.Second)
		f.refused(t, "after the grace period", first, reuse)
		f.wantAccess(t, second.Access, identity.TokenRevoked)
		f.clock.advance(accessLife)
		f.refused(t, "the successor", second, ended)
	})
}

// The last moment of a session that is never refreshed: a second before its 30 days, 29 rotations on.
func TestRefresh_LastSecondOfASleepingSession(t *testing.T) {
	f := inMemory(t)
	first := f.session(t)
	for range 29 {
		f.rotateDaily(t)
	}
	f.clock.set(start.Add(refreshLife - time.Second))
	second := f.refresh(t, first)
	for range 29 {
		f.rotateDaily(t)
	}
	f.refresh(t, second)
}

// Clients hold on to the words on these answers; none of them may be one that makes a client wait for itself.
func TestRefresh_Unavailable(t *testing.T) {
	f := inMemory(t)
	p := f.session(t)
	f.clock.advance(accessLife)
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := f.Refresh(t.Context(), p.Access, p.Refresh, host)
	refusal{fault.Internal, "", "internal server error"}.check(t, "store down", err)
	f.clock.set(start)
	_, err = f.Refresh(t.Context(), p.Access, p.Refresh, host)
	refusal{fault.Internal, "", "internal server error"}.check(t, "store down, still valid", err)
}
