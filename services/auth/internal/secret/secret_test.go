package secret_test

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
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

// world is a store with a master key and a clock that only tests move.
type world struct {
	t      *testing.T
	db     kv.DB
	sealer *seal.Sealer
	mu     sync.Mutex
	now    time.Time
	log    bytes.Buffer
}

func newWorld(t *testing.T, db kv.DB) *world {
	t.Helper()
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, db: db, now: time.Unix(1_800_000_000, 0)}
	var err error
	if w.sealer, err = seal.Open(t.Context(), db, seal.Options{KeyFile: filepath.Join(t.TempDir(), "master.key")}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) open() (*secret.Keyring, error) {
	return secret.Open(w.t.Context(), w.db, w.sealer, secret.Options{
		Now: w.clock, Rotation: 24 * time.Hour, Grace: 48 * time.Hour, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
}

func (w *world) mustOpen() *secret.Keyring {
	w.t.Helper()
	k, err := w.open()
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// issue does what issuing a token does: it covers the signing secret up to exp and returns its kid.
func (w *world) issue(k *secret.Keyring, kind secret.Kind, life time.Duration) string {
	w.t.Helper()
	kid, exp := k.Signing(kind).ID, w.clock().Add(life)
	if err := w.db.Update(w.t.Context(), func(tx kv.Tx) error { return k.Cover(tx, kind, kid, exp) }); err != nil {
		w.t.Fatal(err)
	}
	k.Covered(kind, kid, exp)
	return kid
}

func (w *world) put(key string, edit func([]byte) []byte) {
	w.t.Helper()
	err := w.db.Update(w.t.Context(), func(tx kv.Tx) error {
		raw, err := tx.Get("system", key)
		if err != nil {
			return err
		}
		return tx.Put("system", key, edit(raw))
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func backends(t *testing.T, f func(*testing.T, *world)) {
	t.Run("memory", func(t *testing.T) { f(t, newWorld(t, memory.New())) })
	t.Run("bolt", func(t *testing.T) {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "auth.db"), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		f(t, newWorld(t, db))
	})
}

var kinds = []secret.Kind{secret.Access, secret.Refresh, secret.Challenge, secret.CSRF}

func TestSecretsDifferByKindAndSurviveRestarts(t *testing.T) {
	backends(t, func(t *testing.T, w *world) {
		k := w.mustOpen()
		seen := map[string]bool{}
		for _, kind := range kinds {
			key := k.Signing(kind)
			if len(key.Secret) != 32 || seen[string(key.Secret)] || seen[key.ID] {
				t.Errorf("%s: secret of %d bytes, or one that another kind has", kind, len(key.Secret))
			}
			seen[string(key.Secret)], seen[key.ID] = true, true
			for _, other := range kinds {
				if _, ok := k.Lookup(other, key.ID); ok != (other == kind) {
					t.Errorf("kid of %s found under %s: %t", kind, other, ok)
				}
			}
		}
		again := w.mustOpen()
		for _, kind := range kinds {
			if got, want := again.Signing(kind), k.Signing(kind); got.ID != want.ID || !bytes.Equal(got.Secret, want.Secret) {
				t.Errorf("%s: another secret signs after a restart", kind)
			}
		}
	})
}

func TestThirtyRotationsKeepATokenOfThirtyDaysValid(t *testing.T) {
	backends(t, func(t *testing.T, w *world) {
		k := w.mustOpen()
		kid := w.issue(k, secret.Refresh, 30*24*time.Hour)
		short := w.issue(k, secret.Access, time.Hour)
		for day := range 30 {
			w.advance(24*time.Hour - time.Minute)
			if err := k.RotateDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.advance(time.Minute)
			if err := k.RotateDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if day == 15 {
				k = w.mustOpen()
			}
			if _, ok := k.Lookup(secret.Refresh, kid); !ok {
				t.Fatalf("day %d: the secret of the refresh token is gone", day+1)
			}
			// Retired on day 1, so kept for the grace of 48 h.
			if _, ok := k.Lookup(secret.Access, short); ok != (day < 3) {
				t.Fatalf("day %d: the secret of the expired access token verifies: %t", day+1, ok)
			}
		}
		w.advance(2 * time.Hour)
		if _, ok := k.Lookup(secret.Refresh, kid); ok {
			t.Error("the secret verifies after its last token expired")
		}
		epoch := k.Epoch()
		if err := k.RotateDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		if k.Epoch() == epoch {
			t.Error("dropping a secret did not change the epoch")
		}
	})
}

func TestSigningChangesWithEachRotation(t *testing.T) {
	w := newWorld(t, memory.New())
	k := w.mustOpen()
	before, epoch := k.Signing(secret.Access), k.Epoch()
	if err := k.Rotate(t.Context(), secret.Access); err != nil {
		t.Fatal(err)
	}
	after := k.Signing(secret.Access)
	if after.ID == before.ID || bytes.Equal(after.Secret, before.Secret) || k.Epoch() == epoch {
		t.Error("the rotation changed nothing")
	}
	if got, ok := k.Lookup(secret.Access, before.ID); !ok || !bytes.Equal(got, before.Secret) {
		t.Error("the retired secret does not verify within its grace")
	}
	if k.Signing(secret.Refresh).ID == "" {
		t.Error("the other kinds lost their secret")
	}
}

func TestDamagedPrimaryIsRepairedFromTheCopy(t *testing.T) {
	for _, name := range []string{"secrets:jwt_access", "secrets:jwt_access_backup"} {
		backends(t, func(t *testing.T, w *world) {
			want := w.mustOpen().Signing(secret.Access)
			for _, damage := range []func([]byte) []byte{
				func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
				func([]byte) []byte { return []byte("{}") },
				func([]byte) []byte { return nil }, // deleted
			} {
				w.log.Reset()
				w.put(name, damage)
				got := w.mustOpen().Signing(secret.Access)
				if got.ID != want.ID || !bytes.Equal(got.Secret, want.Secret) {
					t.Fatalf("%s damaged: another secret signs", name)
				}
				if !strings.Contains(w.log.String(), "damaged") {
					t.Errorf("%s damaged: nobody is told", name)
				}
				w.log.Reset()
				w.mustOpen()
				if w.log.Len() > 0 {
					t.Errorf("%s damaged: not repaired: %s", name, w.log.String())
				}
			}
		})
	}
}

func TestBothCopiesDamaged_NeverNewSecretsInSilence(t *testing.T) {
	backends(t, func(t *testing.T, w *world) {
		w.mustOpen()
		flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
		w.put("secrets:jwt_refresh", flip)
		w.put("secrets:jwt_refresh_backup", flip)
		for range 2 {
			if _, err := w.open(); !errors.Is(err, secret.ErrDamaged) {
				t.Fatalf("got %v, want ErrDamaged", err)
			}
		}
	})
}

func TestSecretsDeletedBesideKeys_NeverNewSecretsInSilence(t *testing.T) {
	for _, b := range []string{"root", "client", "family"} {
		w := newWorld(t, memory.New())
		err := w.db.Update(t.Context(), func(tx kv.Tx) error { return tx.Put(b, "x", []byte("{}")) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.open(); !errors.Is(err, secret.ErrDamaged) {
			t.Errorf("a store with a %s record and no secrets: %v, want ErrDamaged", b, err)
		}
	}
}

func TestSwappedRecordsRefused(t *testing.T) {
	w := newWorld(t, memory.New())
	w.mustOpen()
	err := w.db.Update(t.Context(), func(tx kv.Tx) error {
		refresh, err := tx.Get("system", "secrets:jwt_refresh")
		if err != nil {
			return err
		}
		return errors.Join(tx.Put("system", "secrets:jwt_access", refresh), tx.Put("system", "secrets:jwt_access_backup", refresh))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(); !errors.Is(err, secret.ErrDamaged) {
		t.Errorf("the refresh secrets serve as access secrets: %v", err)
	}
}

func TestSecretsAreNotReadableInTheStore(t *testing.T) {
	w := newWorld(t, memory.New())
	k := w.mustOpen()
	err := w.db.View(t.Context(), func(tx kv.Tx) error {
		for name, raw := range tx.Scan("system", "") {
			for _, kind := range kinds {
				if bytes.Contains(raw, k.Signing(kind).Secret) || bytes.Contains(raw, []byte(k.Signing(kind).ID)) {
					t.Errorf("record %s holds the %s secret in clear", name, kind)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCover_WritesAboutOnceAnHour(t *testing.T) {
	w := newWorld(t, memory.New())
	k := w.mustOpen()
	writes := 0
	for range 120 { // two hours of logins, one a minute
		before := w.raw("secrets:jwt_access")
		w.issue(k, secret.Access, time.Hour)
		if w.raw("secrets:jwt_access") != before {
			writes++
		}
		w.advance(time.Minute)
	}
	if writes < 2 || writes > 4 {
		t.Errorf("%d writes for 120 tokens in two hours, want 2 to 4", writes)
	}
}

func (w *world) raw(key string) (out string) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(tx kv.Tx) error {
		raw, err := tx.Get("system", key)
		out = string(raw)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestCover_OfAWithdrawnSecretFails(t *testing.T) {
	w := newWorld(t, memory.New())
	k := w.mustOpen()
	err := w.db.Update(t.Context(), func(tx kv.Tx) error { return k.Cover(tx, secret.Access, "unknown", w.clock()) })
	if !errors.Is(err, secret.ErrGone) {
		t.Errorf("got %v, want ErrGone", err)
	}
}

func TestRotationUnderLoadLosesNoToken(t *testing.T) {
	w := newWorld(t, memory.New())
	k := w.mustOpen()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				kid := w.issue(k, secret.Access, time.Hour)
				if _, ok := k.Lookup(secret.Access, kid); !ok {
					t.Errorf("the secret %s of a token just issued does not verify", kid)
				}
			}
		})
	}
	for range 50 {
		if err := k.Rotate(t.Context(), secret.Access); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
