package login_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

var (
	idleFor = refusal{fault.Unauthenticated, identity.TokenRevoked, "was not used for too long"}
	tooOld  = refusal{fault.Unauthenticated, identity.TokenRevoked, "as long as it may"}
)

// limited is a fixture whose sessions have limits.
func limited(t *testing.T, db kv.DB, limits store.Limits) *fixture {
	t.Helper()
	f := newFixture(t, db)
	f.Store.Limits = limits
	return f
}

func TestIdle_UnusedSessionIsOver(t *testing.T) {
	f := limited(t, memory.New(), store.Limits{Idle: 20 * time.Minute})
	used, unused, refreshed := f.session(t), f.session(t), f.session(t)
	for range 5 { // each step well below the time-out, together well above
		f.clock.advance(15 * time.Minute)
		if f.clock.now().Before(start.Add(accessLife)) {
			f.wantAccess(t, used.Access, "")
		}
		switch f.clock.now() {
		case start.Add(15 * time.Minute):
			f.wantAccess(t, unused.Access, "") // the last time
			f.wantAccess(t, refreshed.Access, "")
		case start.Add(30 * time.Minute), start.Add(45 * time.Minute):
			f.wantAccess(t, refreshed.Access, "")
		case start.Add(60 * time.Minute):
			used, refreshed = f.refresh(t, used), f.refresh(t, refreshed)
		case start.Add(75 * time.Minute):
			f.wantAccess(t, used.Access, "")
		}
	}
	f.wantAccess(t, refreshed.Access, "") // 15 minutes after its refresh, which was a use
	f.refused(t, "unused", unused, idleFor)
	f.refused(t, "unused, again", unused, idleFor)
}

// The gate says that the access token has expired, which sends its owner to the refresh. "Still valid" there would send
// it back for ever.
func TestIdle_AccessTokenWithLifeLeft(t *testing.T) {
	f := limited(t, memory.New(), store.Limits{Idle: 10 * time.Minute})
	p := f.session(t)
	f.wantAccess(t, p.Access, "")
	f.clock.advance(10*time.Minute - time.Second)
	f.refused(t, "a second before", p, stillValid)
	f.clock.advance(time.Second)
	for range 2 { // from the cache, and a refused question is no use
		f.wantAccess(t, p.Access, identity.TokenExpired)
	}
	f.refused(t, "idle", p, idleFor)
	if fam := f.family(t, p); fam.Number != 1 {
		t.Errorf("the session went on: %+v", fam)
	}
}

// The last use counts over a restart: a saved one, and that of a refresh in any case.
func TestIdle_OverARestart(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		f.Store.Limits.Idle = 10 * time.Minute
		p, other := f.session(t), f.session(t)
		f.clock.advance(9 * time.Minute)
		f.wantAccess(t, p.Access, "")
		if err := f.Store.SaveUses(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.clock.advance(9 * time.Minute)
		again := newFixtureOver(t, f)
		again.wantAccess(t, p.Access, "")
		again.wantAccess(t, other.Access, identity.TokenExpired)
		again.refused(t, "idle over the restart", other, idleFor)
	})
}

// newFixtureOver is the store of f opened again, as after a restart.
func newFixtureOver(t *testing.T, f *fixture) *fixture {
	t.Helper()
	again := *f
	records, err := store.Open(t.Context(), f.db)
	if err != nil {
		t.Fatal(err)
	}
	records.Limits = f.Store.Limits
	service, issuer, sessions := *f.Service, *f.Issuer, gateSessions(f, records)
	issuer.Store, service.Store, service.Issuer = records, records, &issuer
	again.Service, again.sessions = &service, sessions
	return &again
}

func TestAge_SessionEndsHoweverMuchItIsUsed(t *testing.T) {
	f := limited(t, memory.New(), store.Limits{Age: 150 * time.Minute})
	p := f.session(t)
	end := start.Add(150 * time.Minute).Unix()
	if c := read(t, p.Refresh); c.Exp != end {
		t.Errorf("the refresh token expires at %d, want the session's end %d", c.Exp, end)
	}
	for range 2 {
		f.clock.advance(accessLife)
		p = f.refresh(t, p)
		f.wantAccess(t, p.Access, "")
	}
	if c := read(t, p.Access); c.Exp != end {
		t.Errorf("the last access token expires at %d, want the session's end %d", c.Exp, end)
	}
	f.clock.advance(30*time.Minute - time.Second)
	f.wantAccess(t, p.Access, "")
	f.clock.advance(time.Second)
	f.wantAccess(t, p.Access, identity.TokenExpired)
	f.refused(t, "at its end", p, badRefresh)
}

// Limits that are set later hold for sessions that are there: for cached tokens after the restart that brings them.
func TestAge_OfSessionsThatBeganWithoutLimit(t *testing.T) {
	f := limited(t, memory.New(), store.Limits{})
	p := f.session(t)
	f.clock.advance(30 * time.Minute)
	f.Store.Limits.Age = 20 * time.Minute
	f.wantAccess(t, p.Access, identity.TokenExpired)
	f.refused(t, "with life left in the access token", p, tooOld)
	f.clock.advance(time.Hour)
	f.refused(t, "with an expired access token", p, tooOld)
}

func TestLimits_MachineTokensHaveTheirOwnLife(t *testing.T) {
	f := limited(t, memory.New(), store.Limits{Idle: time.Minute, Age: 5 * time.Minute})
	f.addRoot(t, "alice", nil)
	fam := f.Issuer.Begin(login.Grant{Key: "wallet-alice", Permissions: []string{"blob"}, Machine: 30 * 24 * time.Hour})
	f.update(t, func(tx *store.Tx) error { return tx.CreateFamily(fam) })
	p, err := f.Issuer.Sign(fam)
	if err != nil {
		t.Fatal(err)
	}
	f.clock.advance(29 * 24 * time.Hour)
	f.wantAccess(t, p.Access, "")
	f.clock.advance(24 * time.Hour)
	f.wantAccess(t, p.Access, identity.TokenExpired)
}

// racing is a store that stops an update at its commit, before who made it learns of it.
type racing struct {
	kv.DB
	mu     sync.Mutex
	after  func()        // runs once, after the next update
	failed chan struct{} // told of an update that failed
}

func (db *racing) Update(ctx context.Context, fn func(kv.Tx) error) error {
	err := db.DB.Update(ctx, fn)
	db.mu.Lock()
	after := db.after
	db.after = nil
	db.mu.Unlock()
	if after != nil {
		after()
	}
	if err != nil && db.failed != nil {
		db.failed <- struct{}{}
	}
	return err
}

func (db *racing) afterNext(fn func()) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.after = fn
}

// A signing secret is withdrawn at once while a login has chosen it and is about to be stored: the login goes on with the
// next secret instead of failing.
func TestWithdrawnSecret_BetweenChoiceAndTransaction(t *testing.T) {
	for _, kind := range []secret.Kind{secret.Access, secret.Refresh} {
		db := &racing{DB: memory.New(), failed: make(chan struct{}, 10)}
		f := newFixture(t, db)
		f.addRoot(t, "alice", nil)
		r := f.byWallet(t, "alice", nil)
		stored := make(chan struct{})
		rotated := make(chan error, 1)
		db.afterNext(func() { // the rotation is stored, but its Keyring does not know yet
			close(stored)
			<-db.failed // the login has met a secret that is gone
			for range 1000 {
				runtime.Gosched() // it must wait for the new one, not use up its tries
			}
		})
		go func() { rotated <- f.secrets.Rotate(context.Background(), kind, true) }()
		<-stored
		pair, err := f.Token(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: login: %v", kind, err)
		}
		if err := <-rotated; err != nil {
			t.Fatal(err)
		}
		f.wantAccess(t, pair.Access, "")
		f.clock.advance(accessLife)
		f.wantAccess(t, f.refresh(t, pair).Access, "")
		if n := f.count(t, "family"); n != 1 {
			t.Errorf("%s: %d sessions, want 1", kind, n)
		}
	}
}

// The secret is withdrawn after the session was stored and before its tokens are signed.
func TestWithdrawnSecret_BetweenTransactionAndSignature(t *testing.T) {
	for _, kind := range []secret.Kind{secret.Access, secret.Refresh} {
		db := &racing{DB: memory.New()}
		f := newFixture(t, db)
		f.addRoot(t, "alice", nil)
		rotate := func() {
			if err := f.secrets.Rotate(context.Background(), kind, true); err != nil {
				t.Error(err)
			}
		}
		r := f.byWallet(t, "alice", nil)
		db.afterNext(rotate)
		pair := f.login(t, r)
		f.wantAccess(t, pair.Access, "")
		f.clock.advance(accessLife)
		db.afterNext(rotate)
		next := f.refresh(t, pair)
		f.wantAccess(t, next.Access, "")
		f.clock.advance(accessLife)
		last := f.refresh(t, next)
		f.wantAccess(t, last.Access, "")
		if fam := f.family(t, last); fam.Number != 3 || fam.RevokedAt != 0 {
			t.Errorf("%s: %+v, want generation 3", kind, fam)
		}
	}
}

// A session that was ended meanwhile is not brought back by the replacement of its secret.
func TestWithdrawnSecret_OfASessionThatWasRevoked(t *testing.T) {
	db := &racing{DB: memory.New()}
	f := newFixture(t, db)
	p := f.session(t)
	f.clock.advance(accessLife)
	db.afterNext(func() {
		if err := f.secrets.Rotate(context.Background(), secret.Access, true); err != nil {
			t.Error(err)
		}
		f.update(t, func(tx *store.Tx) error { return tx.RevokeFamily(read(t, p.Access).Fam, f.clock.now()) })
	})
	f.refused(t, "revoked between commit and signature", p, ended)
}

// The last use of a key is that of its logins, refreshes and requests.
func TestLastUse_OfAKey(t *testing.T) {
	f := inMemory(t)
	used := func() (at int64) {
		t.Helper()
		if err := f.Store.SaveUses(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.view(t, func(tx *store.Tx) (err error) {
			at, err = tx.KeyUsed("wallet-alice")
			return err
		})
		return at
	}
	p := f.session(t)
	if got := used(); got != start.Unix() {
		t.Errorf("after the login: %d, want %d", got, start.Unix())
	}
	f.clock.advance(time.Minute)
	f.wantAccess(t, p.Access, "")
	if got, want := used(), f.clock.now().Unix(); got != want {
		t.Errorf("after a request: %d, want %d", got, want)
	}
	f.clock.advance(accessLife)
	f.wantAccess(t, p.Access, identity.TokenExpired)
	if got, want := used(), start.Add(time.Minute).Unix(); got != want {
		t.Errorf("after a refused request: %d, want %d", got, want)
	}
	f.refresh(t, p)
	if got, want := used(), f.clock.now().Unix(); got != want {
		t.Errorf("after a refresh: %d, want %d", got, want)
	}
}
