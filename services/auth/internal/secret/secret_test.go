package secret_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// kinds are those that sign tokens.
var kinds = []secret.Kind{secret.Access, secret.Refresh, secret.Challenge, secret.CSRF}

const day = 24 * time.Hour

// env is a service that can be restarted: a store, a master key, a clock and a log.
type env struct {
	t      *testing.T
	db     kv.DB
	reopen func() kv.DB // ends the process that has the store and starts the next
	master byte
	log    *bytes.Buffer
	stride int // of tests that try every byte: a flush to disk for each is too much

	mu  sync.Mutex
	now time.Time
}

// testBackends runs a test on every backend.
func testBackends(t *testing.T, run func(*env)) {
	t.Helper()
	start := time.Date(2026, 3, 1, 12, 34, 56, 789, time.UTC)
	t.Run("memory", func(t *testing.T) {
		db := memory.New()
		run(&env{t: t, db: db, reopen: func() kv.DB { return db }, log: new(bytes.Buffer), now: start, stride: 1})
	})
	t.Run("bolt", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "auth.db")
		e := &env{t: t, log: new(bytes.Buffer), now: start, stride: 11}
		e.reopen = func() kv.DB {
			if e.db != nil {
				if err := e.db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			db, err := bolt.Open(path, bolt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return db
		}
		e.db = e.reopen()
		t.Cleanup(func() {
			if err := e.db.Close(); err != nil {
				t.Error(err)
			}
		})
		run(e)
	})
}

func (e *env) Now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

func (e *env) advance(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

func sealer(t testing.TB, b byte) *seal.Sealer {
	t.Helper()
	key := make([]byte, seal.KeySize)
	for i := range key {
		key[i] = b + byte(i*i*7)
	}
	m, err := seal.OpenMaster(seal.Source{Text: base64.StdEncoding.EncodeToString(key)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Sealer("secrets")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (e *env) options() secret.Options {
	return secret.Options{Now: e.Now, Log: slog.New(slog.NewTextHandler(e.log, nil))}
}

// tryOpen opens the keyring on db, which is e.db or a wrapper of it.
func (e *env) tryOpen(db kv.DB) (*secret.Keyring, error) {
	e.t.Helper()
	return secret.Open(e.t.Context(), db, sealer(e.t, e.master), e.options())
}

func (e *env) open() *secret.Keyring {
	e.t.Helper()
	k, err := e.tryOpen(e.db)
	if err != nil {
		e.t.Fatal(err)
	}
	return k
}

// restart opens store and keyring anew.
func (e *env) restart() *secret.Keyring {
	e.t.Helper()
	e.db = e.reopen()
	return e.open()
}

func (e *env) rotate(k *secret.Keyring, kind secret.Kind, atOnce bool) {
	e.t.Helper()
	if err := k.Rotate(e.t.Context(), kind, atOnce); err != nil {
		e.t.Fatal(err)
	}
}

// issue does what issuing a token does: sign with the current secret, cover the expiry.
func (e *env) issue(k *secret.Keyring, kind secret.Kind, exp time.Time) secret.Key {
	e.t.Helper()
	key := k.Signing(kind)
	if err := e.db.Update(e.t.Context(), func(tx kv.Tx) error { return k.Cover(tx, kind, key.ID, exp) }); err != nil {
		e.t.Fatal(err)
	}
	k.Covered(kind, key.ID, exp)
	return key
}

// dump returns everything in the store.
func (e *env) dump() map[string]string {
	e.t.Helper()
	all := map[string]string{}
	err := e.db.View(e.t.Context(), func(tx kv.Tx) error {
		for _, bucket := range []string{"system", "root", "client", "root_clients", "permissions", "account", "family", "challenge"} {
			for k, v := range tx.Scan(bucket, "") {
				all[bucket+":"+k] = string(v)
			}
		}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return all
}

// set overwrites records by their full names; "" deletes.
func (e *env) set(records map[string]string) {
	e.t.Helper()
	err := e.db.Update(e.t.Context(), func(tx kv.Tx) error {
		for name, value := range records {
			bucket, key, _ := strings.Cut(name, ":")
			var b []byte
			if value != "" {
				b = []byte(value)
			}
			if err := tx.Put(bucket, key, b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
}

func record(kind secret.Kind, suffix string) string { return "system:secrets:" + string(kind) + suffix }

func wantLookup(t *testing.T, k *secret.Keyring, kind secret.Kind, key secret.Key, want bool) {
	t.Helper()
	got, ok := k.Lookup(kind, key.ID)
	if ok != want || ok && !bytes.Equal(got, key.Secret) || !ok && got != nil {
		t.Errorf("Lookup(%s, %s) = %t, want %t", kind, key.ID, ok, want)
	}
}

func TestOpen_MakesSecretsInFreshStore(t *testing.T) {
	testBackends(t, func(e *env) {
		t := e.t
		if fresh, err := secret.Fresh(t.Context(), e.db); err != nil || !fresh {
			t.Errorf("Fresh of an empty store = %t, %v", fresh, err)
		}
		k := e.open()
		if fresh, err := secret.Fresh(t.Context(), e.db); err != nil || fresh {
			t.Errorf("Fresh after Open = %t, %v", fresh, err)
		}
		var want []string
		seen := map[string]bool{}
		stored := e.dump()
		for _, kind := range kinds {
			key := k.Signing(kind)
			wantLookup(t, k, kind, key, true)
			for _, other := range kinds {
				wantLookup(t, k, other, key, other == kind)
			}
			if !regexp.MustCompile(`^[a-z2-7]{12}$`).MatchString(key.ID) || len(key.Secret) != secret.Size {
				t.Errorf("%s: id %q with %d bytes", kind, key.ID, len(key.Secret))
			}
			if seen[key.ID] || seen[string(key.Secret)] {
				t.Errorf("%s: id or secret is used twice", kind)
			}
			seen[key.ID], seen[string(key.Secret)] = true, true
			want = append(want, record(kind, ""), record(kind, "_backup"))
			for name, value := range stored {
				if strings.Contains(value, key.ID) || strings.Contains(value, base64.StdEncoding.EncodeToString(key.Secret)) {
					t.Errorf("%s shows its content: %s", name, value)
				}
			}
		}
		want = append(want, record(secret.JWKS, ""), record(secret.JWKS, "_backup"))
		if got := slices.Sorted(maps.Keys(stored)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("the store holds %q, want %q", got, want)
		}
		again := e.restart()
		for _, kind := range kinds {
			if got, want := again.Signing(kind), k.Signing(kind); got.ID != want.ID || !bytes.Equal(got.Secret, want.Secret) {
				t.Errorf("%s: another secret after the restart", kind)
			}
		}
		if e.log.Len() > 0 {
			t.Errorf("an undamaged store is logged: %s", e.log)
		}
	})
}

func TestRotate_OldSecretVerifiesForTheGrace(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		before := k.Signing(secret.Access)
		e.advance(time.Hour)
		e.rotate(k, secret.Access, false)
		after := k.Signing(secret.Access)
		if after.ID == before.ID || bytes.Equal(after.Secret, before.Secret) {
			t.Error("the secret is the same after the rotation")
		}
		e.advance(48*time.Hour - 2*time.Second)
		wantLookup(t, k, secret.Access, before, true)
		wantLookup(t, e.restart(), secret.Access, before, true)
		e.advance(2 * time.Second)
		wantLookup(t, k, secret.Access, before, false)
		err := e.db.Update(t.Context(), func(tx kv.Tx) error {
			return k.Cover(tx, secret.Access, before.ID, e.Now().Add(time.Hour))
		})
		if !errors.Is(err, secret.ErrRetired) {
			t.Errorf("Cover with the expired secret = %v, want ErrRetired", err)
		}
		k = e.restart()
		wantLookup(t, k, secret.Access, before, false)
		wantLookup(t, k, secret.Access, after, true)
		var states []secret.State
		for _, s := range k.List() {
			if s.Kind == secret.Access {
				states = append(states, s.State)
			}
		}
		if want := []secret.State{secret.Signing, secret.Expired}; !slices.Equal(states, want) {
			t.Errorf("states = %q, want %q", states, want)
		}
		e.rotate(k, secret.Access, false)
		for _, s := range e.restart().List() {
			if s.ID == before.ID {
				t.Error("the expired secret is kept after a further rotation")
			}
		}
	})
}

// TestRotate_LongLivedTokenOutlivesThirtyRotations is the refresh token of 30 days under a rotation every day.
func TestRotate_LongLivedTokenOutlivesThirtyRotations(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		exp := e.Now().Add(30 * day)
		covered := e.issue(k, secret.Refresh, exp)
		uncovered := k.Signing(secret.Access)
		for i := range 30 {
			e.advance(day - time.Second)
			if err := k.RotateDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i == 0 && k.Signing(secret.Refresh).ID != covered.ID {
				t.Error("rotated before 24 h")
			}
			e.advance(time.Second)
			if err := k.RotateDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantLookup(t, k, secret.Refresh, covered, e.Now().Before(exp) || e.Now().Equal(exp))
			wantLookup(t, k, secret.Access, uncovered, i < 2)
			k = e.restart()
			wantLookup(t, k, secret.Refresh, covered, true)
		}
		if n := len(k.List()); n > 5*3+1 {
			t.Errorf("%d secrets are kept, want only those in their grace and the covered one", n)
		}
		e.advance(exp.Sub(e.Now()) + time.Hour) // the spare hour
		wantLookup(t, k, secret.Refresh, covered, true)
		e.advance(time.Hour)
		wantLookup(t, k, secret.Refresh, covered, false)
		if err := k.RotateDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.rotate(k, secret.Refresh, false)
		for _, s := range e.restart().List() {
			if s.ID == covered.ID {
				t.Error("the secret is kept after its last token")
			}
		}
	})
}

// TestRotate_AtOnceVoidsAllOlderSecrets is the answer to a stolen secret.
func TestRotate_AtOnceVoidsAllOlderSecrets(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		oldest := e.issue(k, secret.Access, e.Now().Add(30*day))
		e.rotate(k, secret.Access, false)
		stolen := e.issue(k, secret.Access, e.Now().Add(30*day))
		refresh := k.Signing(secret.Refresh)
		epoch := k.Epoch()
		e.rotate(k, secret.Access, true)
		for _, k := range []*secret.Keyring{k, e.restart()} {
			wantLookup(t, k, secret.Access, oldest, false)
			wantLookup(t, k, secret.Access, stolen, false)
			wantLookup(t, k, secret.Access, k.Signing(secret.Access), true)
			wantLookup(t, k, secret.Refresh, refresh, true)
		}
		if k.Epoch() == epoch {
			t.Error("the epoch did not change: caches go on accepting the stolen secret")
		}
		for _, kid := range []string{oldest.ID, stolen.ID, "unknown", ""} {
			err := e.db.Update(t.Context(), func(tx kv.Tx) error {
				return k.Cover(tx, secret.Access, kid, e.Now().Add(time.Hour))
			})
			if !errors.Is(err, secret.ErrRetired) {
				t.Errorf("Cover with the secret %q = %v, want ErrRetired", kid, err)
			}
		}
	})
}

func TestRotate_UnknownKindRefused(t *testing.T) {
	testBackends(t, func(e *env) {
		k := e.open()
		before := e.dump()
		for _, kind := range []secret.Kind{"", "jwt", "access_backup"} {
			if err := k.Rotate(e.t.Context(), kind, false); !errors.Is(err, secret.ErrKind) {
				e.t.Errorf("Rotate(%q) = %v, want ErrKind", kind, err)
			}
		}
		if !maps.Equal(e.dump(), before) {
			e.t.Error("the store was changed")
		}
	})
}

func TestSigning_UnknownKindPanics(t *testing.T) {
	testBackends(t, func(e *env) {
		defer func() {
			if recover() == nil {
				e.t.Error("Signing returned a key: tokens would be signed with nothing")
			}
		}()
		e.open().Signing("jwt")
	})
}

func TestEpoch_ChangesWithTheSecretsOnly(t *testing.T) {
	testBackends(t, func(e *env) {
		k := e.open()
		epoch := k.Epoch()
		e.issue(k, secret.Access, e.Now().Add(day))
		if k.Epoch() != epoch {
			e.t.Error("covering a token changes the epoch: every cache would start anew")
		}
		for _, atOnce := range []bool{false, true} {
			e.rotate(k, secret.CSRF, atOnce)
			if k.Epoch() == epoch {
				e.t.Errorf("a rotation (at once %t) does not change the epoch", atOnce)
			}
			epoch = k.Epoch()
		}
	})
}

// TestCover_WritesOnceAnHour issues a token a minute for a day.
func TestCover_WritesOnceAnHour(t *testing.T) {
	testBackends(t, func(e *env) {
		k := e.open()
		writes, last := 0, e.dump()[record(secret.Access, "")]
		for range 24 * 60 {
			e.issue(k, secret.Access, e.Now().Add(time.Hour))
			e.advance(time.Minute)
			if now := e.dump()[record(secret.Access, "")]; now != last {
				writes, last = writes+1, now
			}
		}
		if writes < 24 || writes > 25 {
			e.t.Errorf("%d writes in 24 hours, want 24 or 25", writes)
		}
	})
}

// TestCover_HoldsWithTheTransactionOnly pins that memory learns of it by Covered and not before.
func TestCover_HoldsWithTheTransactionOnly(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		key, exp := k.Signing(secret.Refresh), e.Now().Add(30*day)
		lastExp := func(k *secret.Keyring) time.Time {
			for _, s := range k.List() {
				if s.ID == key.ID {
					return s.LastExp
				}
			}
			return time.Time{}
		}
		refused := errors.New("refused")
		err := e.db.Update(t.Context(), func(tx kv.Tx) error {
			return errors.Join(k.Cover(tx, secret.Refresh, key.ID, exp), refused)
		})
		if !errors.Is(err, refused) || !lastExp(k).IsZero() || !lastExp(e.restart()).IsZero() {
			t.Fatalf("Update = %v; the rolled back cover is seen in memory or store", err)
		}
		k = e.restart()
		cover := func(tx kv.Tx) error { // as if the store ran it twice
			return errors.Join(k.Cover(tx, secret.Refresh, key.ID, exp), k.Cover(tx, secret.Refresh, key.ID, exp))
		}
		if err := e.db.Update(t.Context(), cover); err != nil {
			t.Fatal(err)
		}
		if !lastExp(k).IsZero() {
			t.Error("Cover changed memory")
		}
		if got := lastExp(e.restart()); got.Before(exp.Add(time.Hour)) || got.After(exp.Add(2*time.Hour)) {
			t.Errorf("the stored last expiry is %v, want an hour or two after %v", got, exp)
		}
		k.Covered(secret.Refresh, key.ID, exp)
		if got := lastExp(k); got.Before(exp) {
			t.Errorf("the last expiry in memory is %v, want it after %v", got, exp)
		}
		k.Covered(secret.Refresh, key.ID, exp.Add(-day))
		if got := lastExp(k); got.Before(exp) {
			t.Errorf("an earlier expiry moved it back to %v", got)
		}
		k.Covered(secret.Refresh, "unknown", exp) // a secret retired at once in between
	})
}

func TestKey_NeverPrints(t *testing.T) {
	testBackends(t, func(e *env) {
		k := e.open()
		key := k.Signing(secret.Access)
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			for _, v := range []any{key, &key, []any{key}, k, k.List()} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).InfoContext(e.t.Context(), "values", "key", key, "ring", k, "list", k.List())
		}
		encoded, err := json.Marshal(map[string]any{"key": key, "list": k.List()})
		if err != nil {
			e.t.Fatal(err)
		}
		out.Write(encoded)
		s := key.Secret
		for _, leak := range []string{
			string(s), base64.StdEncoding.EncodeToString(s), hex.EncodeToString(s[:4]),
			fmt.Sprintf("%d %d %d", s[0], s[1], s[2]), fmt.Sprintf("%#x, %#x, %#x", s[0], s[1], s[2]),
		} {
			if strings.Contains(out.String(), leak) {
				e.t.Errorf("the secret is printed as %q", leak)
			}
		}
		if !strings.Contains(out.String(), key.ID) {
			e.t.Error("the id is not printed")
		}
	})
}

// TestConcurrent_NobodyLosesAToken rotates while tokens are issued and verified.
func TestConcurrent_NobodyLosesAToken(t *testing.T) {
	testBackends(t, func(e *env) {
		t, k := e.t, e.open()
		ctx, cancel := context.WithCancel(t.Context())
		var wg, rotations sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					key, exp := k.Signing(secret.Refresh), e.Now().Add(30*day)
					err := e.db.Update(ctx, func(tx kv.Tx) error { return k.Cover(tx, secret.Refresh, key.ID, exp) })
					if err != nil {
						t.Errorf("Cover: %v", err)
						continue
					}
					k.Covered(secret.Refresh, key.ID, exp)
					if got, ok := k.Lookup(secret.Refresh, key.ID); !ok || !bytes.Equal(got, key.Secret) {
						t.Errorf("the secret %s of a fresh token does not verify", key.ID)
					}
				}
			})
		}
		rotations.Go(func() {
			for ctx.Err() == nil {
				if err := k.Rotate(ctx, secret.Refresh, false); err != nil && ctx.Err() == nil {
					t.Errorf("Rotate: %v", err)
				}
				_, _ = k.List(), k.Epoch()
			}
		})
		wg.Wait()
		cancel()
		rotations.Wait()
		inMemory := k.List()
		if stored := e.restart().List(); fmt.Sprint(stored) != fmt.Sprint(inMemory) {
			t.Error("memory and store disagree after the rotations")
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	db := memory.New()
	k, err := secret.Open(b.Context(), db, sealer(b, 0), secret.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	key := k.Signing(secret.Access)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := k.Lookup(secret.Access, key.ID); !ok {
				b.Error("not found")
				return
			}
		}
	})
}
