package keys_test

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is a clock that tests move.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// fixture is the use case over a store, with the real token codec, keyring and gate.
type fixture struct {
	*keys.Service
	clock    *clock
	db       kv.DB
	sessions *gate.Sessions
}

const year = 366 * 24 * time.Hour

func newFixture(t *testing.T, db kv.DB) *fixture {
	t.Helper()
	f := &fixture{clock: new(clock), db: db}
	f.clock.nanos.Store(start.UnixNano())
	log := slog.New(slog.DiscardHandler)
	records, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	master, err := seal.OpenMaster(seal.Source{File: filepath.Join(t.TempDir(), "master.key"), Generate: true})
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := master.Sealer("test")
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := secret.Open(t.Context(), db, sealer, secret.Options{
		Now: f.clock.now, Rotation: 24 * time.Hour, Grace: 48 * time.Hour, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	codec, err := token.New(token.Options{
		Issuer: "calimero-auth", Algorithm: "HS256", MaxLifetime: year, Now: f.clock.now,
		Signing: func(kind token.Kind) (string, []byte) {
			key := secrets.Signing(secret.Kind(kind))
			return key.ID, key.Secret
		},
		Lookup: func(kind token.Kind, kid string) ([]byte, bool) { return secrets.Lookup(secret.Kind(kind), kid) },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.sessions = &gate.Sessions{Store: records, Tokens: codec, SecretEpoch: secrets.Epoch, Now: f.clock.now}
	f.Service = &keys.Service{
		Store: records,
		Issuer: &login.Issuer{
			Store: records, Tokens: codec, Secrets: secrets, AccessExpiry: time.Hour, RefreshExpiry: 30 * 24 * time.Hour, Now: f.clock.now,
		},
		MachineMax: year, Now: f.clock.now, Log: log,
	}
	return f
}

func inMemory(t *testing.T) *fixture {
	t.Helper()
	return newFixture(t, memory.New())
}

// onEachBackend runs the test on every backend.
func onEachBackend(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, inMemory(t)) })
	t.Run("bbolt", func(t *testing.T) {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "auth.db"), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		test(t, newFixture(t, db))
	})
}

func (f *fixture) update(t *testing.T, fn func(*store.Tx) error) {
	t.Helper()
	if err := f.Store.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// root makes a root key and returns a session of it.
func (f *fixture) root(t *testing.T, id string, permissions ...string) *gate.Session {
	t.Helper()
	var family store.Family
	f.update(t, func(tx *store.Tx) error {
		if err := tx.CreateKey(store.Key{ID: id, Type: store.Root, CreatedAt: f.clock.now().Unix()}, permissions); err != nil {
			return err
		}
		family = f.Issuer.Begin(login.Grant{Key: id, Permissions: permissions})
		return tx.CreateFamily(family)
	})
	pair, err := f.Issuer.Sign(family)
	if err != nil {
		t.Fatal(err)
	}
	return f.session(t, pair)
}

func (f *fixture) session(t *testing.T, p login.Pair) *gate.Session {
	t.Helper()
	s, err := f.sessions.Authenticate(t.Context(), p.Access)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mint makes a client key and returns a session of it.
func (f *fixture) mint(t *testing.T, caller *gate.Session, permissions ...string) *gate.Session {
	t.Helper()
	pair, err := f.CreateClient(t.Context(), caller, keys.ClientRequest{Permissions: permissions})
	if err != nil {
		t.Fatal(err)
	}
	return f.session(t, pair)
}

func (f *fixture) key(t *testing.T, id string) (k store.Key) {
	t.Helper()
	err := f.Store.View(t.Context(), func(tx *store.Tx) (err error) {
		k, err = tx.Key(id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// live reports which of the keys have not been revoked.
func (f *fixture) live(t *testing.T, ids ...string) (live []string) {
	t.Helper()
	for _, id := range ids {
		if f.key(t, id).RevokedAt == 0 {
			live = append(live, id)
		}
	}
	return live
}

// count returns how many records a bucket holds.
func (f *fixture) count(t *testing.T, bucket string) (n int) {
	t.Helper()
	err := f.db.View(t.Context(), func(tx kv.Tx) error {
		for range tx.Scan(bucket, "") {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// claims is what a token says, read without verifying.
type claims struct {
	Sub         string   `json:"sub"`
	Exp         int64    `json:"exp"`
	NodeURL     string   `json:"node_url"`
	Permissions []string `json:"permissions"`
}

func read(t *testing.T, raw string) (c claims) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", raw)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// want checks what a client sees of an error: class, reason and a part of the message.
func want(t *testing.T, what string, err error, code fault.Code, reason, message string) {
	t.Helper()
	if fault.CodeOf(err) != code || fault.ReasonOf(err) != reason || !strings.Contains(fault.MessageOf(err), message) {
		t.Errorf("%s: %s, %q, %q (%v); want %s, %q, %q", what, fault.CodeOf(err), fault.ReasonOf(err), fault.MessageOf(err), err, code, reason, message)
	}
}
