package secret_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// foreign is a secret from elsewhere.
func foreign(b byte) []byte {
	s := make([]byte, secret.Size)
	for i := range s {
		s[i] = b ^ byte(i*i*11+i)
	}
	return s
}

func (e *env) imports(k *secret.Keyring, list ...secret.Addition) int {
	e.t.Helper()
	added, err := k.Import(e.t.Context(), list...)
	if err != nil {
		e.t.Fatal(err)
	}
	return added
}

func TestImport_VerifiesUntilItsTime(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		signs := k.Signing(secret.Refresh)
		epoch := k.Epoch()
		old := secret.Addition{Kind: secret.Refresh, ID: "v1700000000", Secret: foreign(1), Until: e.Now().Add(30 * day)}
		if n := e.imports(k, old); n != 1 {
			t.Errorf("added %d, want 1", n)
		}
		if k.Epoch() == epoch {
			t.Error("caches of verified tokens are not told")
		}
		key := secret.Key{ID: old.ID, Secret: old.Secret}
		for range 2 {
			wantLookup(t, k, secret.Refresh, key, true)
			wantLookup(t, k, secret.Access, key, false)
			if got := k.Signing(secret.Refresh); got.ID != signs.ID {
				t.Errorf("%s signs, want %s as before", got.ID, signs.ID)
			}
			k = e.restart()
		}
		if n := e.imports(k, old); n != 0 {
			t.Errorf("the same again added %d", n)
		}
		old.Until = e.Now().Add(60 * day)
		e.imports(k, old)
		e.rotate(k, secret.Refresh, false)
		e.advance(60*day - time.Minute)
		wantLookup(t, k, secret.Refresh, key, true)
		e.advance(2 * time.Minute)
		wantLookup(t, k, secret.Refresh, key, false)
	})
}

func TestImport_Signing(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		before := k.Signing(secret.Access)
		in := secret.Addition{Kind: secret.Access, ID: "mine", Secret: foreign(2), Signs: true}
		e.imports(k, in)
		for range 2 {
			if got := k.Signing(secret.Access); got.ID != "mine" || !bytes.Equal(got.Secret, in.Secret) {
				t.Errorf("%s signs", got.ID)
			}
			wantLookup(t, k, secret.Access, before, true)
			k = e.restart()
		}
		e.imports(k, secret.Addition{Kind: secret.Access, ID: before.ID, Secret: before.Secret, Signs: true}) // back again
		if got := k.Signing(secret.Access); got.ID != before.ID {
			t.Errorf("%s signs, want %s again", got.ID, before.ID)
		}
		wantLookup(t, e.restart(), secret.Access, secret.Key{ID: "mine", Secret: in.Secret}, true)
	})
}

func TestImport_RefusedWhole(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		good := secret.Addition{Kind: secret.Access, ID: "good", Secret: foreign(3), Until: e.Now().Add(day)}
		taken := k.Signing(secret.Access)
		zeros := make([]byte, secret.Size)
		before := e.dump()
		for name, tt := range map[string]struct {
			bad  secret.Addition
			want error
		}{
			"unknown kind":         {secret.Addition{Kind: "other", ID: "x", Secret: foreign(4)}, secret.ErrKind},
			"short":                {secret.Addition{Kind: secret.Access, ID: "x", Secret: foreign(4)[:31]}, secret.ErrUnfit},
			"long":                 {secret.Addition{Kind: secret.Access, ID: "x", Secret: append(foreign(4), 1)}, secret.ErrUnfit},
			"zeros":                {secret.Addition{Kind: secret.Access, ID: "x", Secret: zeros}, secret.ErrUnfit},
			"kid with a line end":  {secret.Addition{Kind: secret.Access, ID: "x\n", Secret: foreign(4)}, secret.ErrUnfit},
			"empty kid":            {secret.Addition{Kind: secret.Access, Secret: foreign(4)}, secret.ErrUnfit},
			"kid of another":       {secret.Addition{Kind: secret.Access, ID: taken.ID, Secret: foreign(4)}, secret.ErrTaken},
			"kid that is not jwks": {secret.Addition{Kind: secret.JWKS, ID: "00000000", Secret: foreign(4)}, secret.ErrUnfit},
		} {
			if _, err := k.Import(t.Context(), good, tt.bad); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
			if strings.Contains(e.log.String(), string(tt.bad.Secret)) {
				t.Errorf("%s: the log holds the secret", name)
			}
		}
		if !maps.Equal(e.dump(), before) {
			t.Error("a refused import wrote something")
		}
		wantLookup(t, k, secret.Access, secret.Key{ID: "good", Secret: good.Secret}, false)
	})
}

func TestExport_ResetBringsEverythingBack(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		exp := e.Now().Add(20 * day)
		covered := e.issue(k, secret.Refresh, exp)
		e.rotate(k, secret.Refresh, false)
		e.rotate(k, secret.JWKS, false)
		want, published, exported := signing(k), k.Published(), k.Export()

		e.master = 9 // the old one is lost
		wantRefused(e, "another master key", seal.ErrWrongMaster, nil)
		if err := secret.Reset(t.Context(), e.db, sealer(t, e.master), e.Now(), exported); err != nil {
			t.Fatal(err)
		}
		k = e.restart()
		if got := signing(k); !slices.Equal(got, want) {
			t.Errorf("signing secrets %q, want %q", got, want)
		}
		if got := k.Published(); len(got) != 2 || got[0].ID != published[0].ID || got[1].ID != published[1].ID {
			t.Errorf("published %v, want %v", got, published)
		}
		e.advance(20*day - time.Minute)
		wantLookup(t, k, secret.Refresh, covered, true)

		// Without an export everything is new.
		if err := secret.Reset(t.Context(), e.db, sealer(t, e.master), e.Now(), nil); err != nil {
			t.Fatal(err)
		}
		k = e.restart()
		wantLookup(t, k, secret.Refresh, covered, false)
		for i, id := range signing(k) {
			if id == want[i] {
				t.Errorf("%s is the old one", id)
			}
		}
		before := e.dump()
		bad := []secret.Exported{{Kind: secret.Access, ID: "x", Secret: []byte("short")}}
		if err := secret.Reset(t.Context(), e.db, sealer(t, e.master), e.Now(), bad); !errors.Is(err, secret.ErrUnfit) || !maps.Equal(e.dump(), before) {
			t.Errorf("Reset with a malformed export = %v, or it wrote something", err)
		}
	})
}

func TestRewrap(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		covered := e.issue(k, secret.Refresh, e.Now().Add(30*day))
		e.rotate(k, secret.Refresh, false)
		want, epoch := signing(k), k.Epoch()
		next := sealer(t, 5)
		if err := k.Rewrap(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if got := signing(k); !slices.Equal(got, want) || k.Epoch() != epoch {
			t.Errorf("signing secrets %q, want %q and the same epoch", got, want)
		}
		wantRefused(e, "the old master key", seal.ErrWrongMaster, nil)
		e.rotate(k, secret.Access, false) // writes under the new key
		e.master = 5
		again := e.restart()
		wantLookup(t, again, secret.Refresh, covered, true)
		if e.log.Len() == 0 || strings.Contains(e.log.String(), "level=ERROR") {
			t.Errorf("log = %q", e.log)
		}
	})
}

// TestRewrap_FailureLeavesTheOldKey is a crash between any two writes of the transaction, and before its commit.
func TestRewrap_FailureLeavesTheOldKey(t *testing.T) {
	testBackends(t, func(e *env) {
		t := e.t
		e.open()
		before := e.dump()
		for n := 0; ; n++ {
			db := &failing{DB: e.db, left: 1 << 20}
			k, err := e.tryOpen(db)
			if err != nil {
				t.Fatal(err)
			}
			want := signing(k)
			db.left = n
			if err := k.Rewrap(t.Context(), sealer(t, 5)); err == nil {
				if n < 2*5 {
					t.Errorf("Rewrap succeeds after %d writes", n)
				}
				break
			}
			if !maps.Equal(e.dump(), before) {
				t.Fatalf("after %d writes something is kept", n)
			}
			db.left = 1 << 20
			if got := signing(k); !slices.Equal(got, want) {
				t.Errorf("after the failure %q sign, want %q", got, want)
			}
			if err := k.Rotate(t.Context(), secret.CSRF, false); err != nil {
				t.Errorf("the running service cannot go on: %v", err)
			}
			before = e.dump()
			if _, err := e.tryOpen(e.db); err != nil {
				t.Errorf("with the old master key: %v", err)
			}
		}
		e.master = 5
		e.open()
	})
}

// TestRewrap_WhileTokensAreIssued: a transaction beside the change finds the records under either key.
func TestRewrap_WhileTokensAreIssued(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		stop := make(chan struct{})
		var issuing sync.WaitGroup
		for i := range 4 {
			issuing.Go(func() {
				for n := 1; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					kid := k.Signing(secret.Refresh).ID
					exp := e.Now().Add(time.Duration(n*4+i) * time.Hour) // each needs a write
					err := e.db.Update(context.WithoutCancel(t.Context()), func(tx kv.Tx) error { return k.Cover(tx, secret.Refresh, kid, exp) })
					if err != nil && !errors.Is(err, secret.ErrRetired) {
						t.Errorf("Cover beside a change of the master key: %v", err)
						return
					}
				}
			})
		}
		for b := range byte(10) {
			e.master = 20 + b
			if err := k.Rewrap(t.Context(), sealer(t, e.master)); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		issuing.Wait()
		e.restart()
	})
}

// TestPublished_NewKeyIsKnownBeforeItSigns is a rotation of the assertion keys as a node sees it.
func TestPublished_NewKeyIsKnownBeforeItSigns(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		old := k.Signing(secret.JWKS)
		ids := func(keys []secret.Key) (out []string) {
			for _, key := range keys {
				out = append(out, key.ID)
			}
			return out
		}
		e.rotate(k, secret.JWKS, false)
		next := k.Published()[0]
		for _, tt := range []struct {
			after time.Duration
			signs string
			state []secret.State
		}{
			{0, old.ID, []secret.State{secret.Coming, secret.Signing}},
			{29 * time.Second, old.ID, []secret.State{secret.Coming, secret.Signing}},
			{30 * time.Second, next.ID, []secret.State{secret.Signing, secret.Verifying}},
			{61 * time.Minute, next.ID, []secret.State{secret.Signing, secret.Verifying}},
		} {
			e.advance(tt.after)
			k = e.restart() // a rotation goes on after a restart
			if got := k.Signing(secret.JWKS).ID; got != tt.signs {
				t.Errorf("after %v: %s signs, want %s", tt.after, got, tt.signs)
			}
			if got, want := ids(k.Published()), []string{next.ID, old.ID}; !slices.Equal(got, want) {
				t.Errorf("after %v: published %q, want %q", tt.after, got, want)
			}
			var states []secret.State
			for _, s := range k.List() {
				if s.Kind == secret.JWKS {
					states = append(states, s.State)
				}
			}
			if !slices.Equal(states, tt.state) {
				t.Errorf("after %v: states %q, want %q", tt.after, states, tt.state)
			}
			e.advance(-tt.after)
		}
		e.advance(30*time.Second + 61*time.Minute)
		if got, want := ids(k.Published()), []string{next.ID}; !slices.Equal(got, want) {
			t.Errorf("after the last assertion of the old key: published %q, want %q", got, want)
		}
		e.rotate(k, secret.JWKS, true)
		if got := ids(k.Published()); len(got) != 1 || got[0] == next.ID || got[0] != k.Signing(secret.JWKS).ID {
			t.Errorf("at once: published %q, signing %s", got, k.Signing(secret.JWKS).ID)
		}
		key, err := assertion.NewSigningKey(k.Signing(secret.JWKS).Secret)
		if err != nil || key.ID() != k.Signing(secret.JWKS).ID {
			t.Errorf("the kid is not that of the public key: %v, %v", key, err)
		}
	})
}

func TestPublished_NeverMoreThanNodesTake(t *testing.T) {
	testBackends(t, func(e *env) {
		t := e.t
		e.open()
		for range 30 { // the fastest rotation that can be configured
			e.advance(time.Minute)
			k, err := secret.Open(t.Context(), e.db, sealer(t, e.master), secret.Options{Now: e.Now, Rotation: time.Minute, Log: e.options().Log})
			if err == nil {
				err = k.RotateDue(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		k := e.restart()
		if n := len(k.Published()); n != 7 {
			t.Errorf("%d keys are published after half an hour, want one for each five minutes and the first", n)
		}
		var err error
		for n := 1; err == nil && n < 200; n++ {
			err = k.Rotate(t.Context(), secret.JWKS, false)
		}
		if !errors.Is(err, secret.ErrTooMany) || len(k.Published()) != 32 {
			t.Errorf("%d keys are published, %v", len(k.Published()), err)
		}
		e.rotate(k, secret.JWKS, true)
		if n := len(e.restart().Published()); n != 1 {
			t.Errorf("%d keys after a rotation at once", n)
		}
	})
}

// TestPublished_ClockGoesBack: whatever the clock says, a key that nodes know signs.
func TestPublished_ClockGoesBack(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		first := k.Signing(secret.JWKS).ID
		e.rotate(k, secret.JWKS, false)
		e.advance(-10 * 365 * day)
		if got := e.restart().Signing(secret.JWKS).ID; got != first {
			t.Errorf("%s signs, want the oldest %s", got, first)
		}
	})
}

// TestOpen_StoreFromBeforePublishedKeys: they alone are made in a store that holds the others.
func TestOpen_StoreFromBeforePublishedKeys(t *testing.T) {
	testBackends(t, func(e *env) {
		t := e.t
		want := signing(e.open())
		e.set(map[string]string{record(secret.JWKS, ""): "", record(secret.JWKS, "_backup"): ""})
		k := e.restart()
		if got := signing(k); !slices.Equal(got, want) || len(k.Published()) != 1 {
			t.Errorf("signing %q, %d published", got, len(k.Published()))
		}
		if got := e.restart().Signing(secret.JWKS).ID; got != k.Signing(secret.JWKS).ID {
			t.Error("the key is made anew at every start")
		}
		e.set(map[string]string{record(secret.JWKS, ""): "", record(secret.JWKS, "_backup"): "{}"})
		wantRefused(e, "a damaged record", seal.ErrCorrupt, nil)
	})
}
