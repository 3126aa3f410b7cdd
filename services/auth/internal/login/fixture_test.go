package login_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is a clock that tests move.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) set(t time.Time)         { c.nanos.Store(t.UnixNano()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// fixture is the use case over a store, with the real token codec, keyring, gate and password provider.
type fixture struct {
	*login.Service
	clock      *clock
	db         kv.DB
	secrets    *secret.Keyring
	sessions   *gate.Sessions
	challenges challenge.Service
	log        *syncBuffer
}

// syncBuffer is a buffer for a logger that several goroutines use.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

const (
	accessLife  = time.Hour
	refreshLife = 30 * 24 * time.Hour
	grace       = 10 * time.Second
	window      = 2 * time.Minute
)

func newFixture(t *testing.T, db kv.DB) *fixture {
	t.Helper()
	f := &fixture{clock: new(clock), db: db, log: new(syncBuffer)}
	f.clock.set(start)
	log := slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
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
	f.secrets, err = secret.Open(t.Context(), db, sealer, secret.Options{
		Now: f.clock.now, Rotation: 24 * time.Hour, Grace: 48 * time.Hour, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	codec, err := token.New(token.Options{
		Issuer: "calimero-auth", Algorithm: "HS256", MaxLifetime: 366 * 24 * time.Hour, Now: f.clock.now,
		Signing: func(kind token.Kind) (string, []byte) {
			key := f.secrets.Signing(secret.Kind(kind))
			return key.ID, key.Secret
		},
		Lookup: func(kind token.Kind, kid string) ([]byte, bool) { return f.secrets.Lookup(secret.Kind(kind), kid) },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.challenges = challenge.Service{Codec: codec, Now: f.clock.now}
	f.sessions = &gate.Sessions{Store: records, Tokens: codec, SecretEpoch: f.secrets.Epoch, Now: f.clock.now}
	f.Service = &login.Service{
		Store:  records,
		Issuer: &login.Issuer{Store: records, Tokens: codec, Secrets: f.secrets, AccessExpiry: accessLife, RefreshExpiry: refreshLife, Now: f.clock.now},
		Providers: []provider.Provider{
			wallet{f.challenges}, &password.Provider{Config: config.UserPassword{MemoryKiB: 8, Iterations: 1, MaxConcurrent: 4}, Accounts: f.account},
		},
		Bootstrap:     &bootstrap.Service{Store: records, Dir: t.TempDir(), Mode: bootstrap.ModeSecret, Now: f.clock.now, Log: log},
		RefreshWindow: window, RefreshGrace: grace,
		HostAllowed: (&gate.Gate{}).HostAllowed,
		Now:         f.clock.now, Log: log,
	}
	return f
}

// gateSessions is the gate of f over other records.
func gateSessions(f *fixture, records *store.Store) *gate.Sessions {
	return &gate.Sessions{Store: records, Tokens: f.Issuer.Tokens, SecretEpoch: f.secrets.Epoch, Now: f.clock.now}
}

// onEachBackend runs the test on every backend.
func onEachBackend(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, newFixture(t, memory.New())) })
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

func inMemory(t *testing.T) *fixture {
	t.Helper()
	return newFixture(t, memory.New())
}

func (f *fixture) account(ctx context.Context, name string) (keyID, phc string, found bool, err error) {
	err = f.Store.View(ctx, func(tx *store.Tx) error {
		account, err := tx.Account("user_password", name)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		keyID, phc, found = account.Key, account.PHC, err == nil
		return err
	})
	return keyID, phc, found, err
}

// wallet is a provider whose proof is the word "signed" beside a challenge of ours.
type wallet struct{ challenges challenge.Service }

func (wallet) Name() string        { return "test_wallet" }
func (wallet) Aliases() []string   { return []string{"wallet"} }
func (wallet) Info() provider.Info { return provider.Info{Type: "wallet", Configured: true} }

func (w wallet) Authenticate(ctx context.Context, a provider.Attempt) (provider.Proof, error) {
	var account, text, proof string
	if err := provider.DecodeStrings(a.Data, map[string]*string{"account": &account, "challenge": &text, "proof": &proof}); err != nil {
		return provider.Proof{}, err
	}
	switch proof {
	case "signed", "asked":
	case "later":
		return provider.Proof{}, fmt.Errorf("%w: the chain is down", provider.ErrUnavailable)
	case "off":
		return provider.Proof{}, fmt.Errorf("%w: set public_url", provider.ErrDisabled)
	case "broken":
		return provider.Proof{}, errors.New("the hard disk of 10.0.0.7 is on fire")
	default:
		return provider.Proof{}, fmt.Errorf("%w: bad signature", provider.ErrRejected)
	}
	claims, err := w.challenges.Verify(text)
	if err != nil {
		return provider.Proof{}, fmt.Errorf("%w: %w", provider.ErrRejected, err)
	}
	if proof == "asked" { // as a wallet about which somebody has to be asked
		return provider.Proof{KeyID: "wallet-" + account, PublicKey: account, Account: account}, a.Spend(ctx, claims)
	}
	return provider.Proof{KeyID: "wallet-" + account, PublicKey: account, Account: account, Challenge: &claims}, nil
}

func (wallet) Enroll(_ context.Context, a provider.Attempt) (provider.Proof, error) {
	return provider.Proof{KeyID: "wallet-" + a.PublicKey, PublicKey: a.PublicKey, Account: a.PublicKey}, nil
}

// byWallet is a login of a wallet that signed a fresh challenge; members replace parts of provider_data.
func (f *fixture) byWallet(t *testing.T, account string, members map[string]string) login.Request {
	t.Helper()
	text, _, err := f.challenges.Issue("")
	if err != nil {
		t.Fatal(err)
	}
	data := map[string]string{"account": account, "challenge": text, "proof": "signed"}
	maps.Copy(data, members)
	return request(t, "test_wallet", data)
}

func byPassword(t *testing.T, name, text string, members map[string]string) login.Request {
	t.Helper()
	data := map[string]string{"username": name, "password": text}
	maps.Copy(data, members)
	return request(t, "user_password", data)
}

func request(t *testing.T, method string, data map[string]string) login.Request {
	t.Helper()
	raw, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return login.Request{AuthMethod: method, PublicKey: "pk", ClientName: "mero-js-sdk", ProviderData: raw, Peer: "198.51.100.1"}
}

// addRoot stores a root key of a wallet account.
func (f *fixture) addRoot(t *testing.T, account string, change func(*login.RootGrant)) (keyID string) {
	t.Helper()
	g := login.RootGrant{
		Provider: "test_wallet", Proof: provider.Proof{KeyID: "wallet-" + account, PublicKey: account},
		Permissions: []string{"admin"}, Now: f.clock.now(),
	}
	if change != nil {
		change(&g)
	}
	f.update(t, func(tx *store.Tx) error {
		key, err := login.AddRoot(tx, g)
		keyID = key.ID
		return err
	})
	return keyID
}

func (f *fixture) update(t *testing.T, fn func(*store.Tx) error) {
	t.Helper()
	if err := f.Store.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) view(t *testing.T, fn func(*store.Tx) error) {
	t.Helper()
	if err := f.Store.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// login logs in and fails the test unless that works.
func (f *fixture) login(t *testing.T, r login.Request) login.Pair {
	t.Helper()
	pair, err := f.Token(t.Context(), r)
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	return pair
}

// claims is what a token says, read without verifying.
type claims struct {
	Sub         string   `json:"sub"`
	Exp         int64    `json:"exp"`
	Iat         int64    `json:"iat"`
	JTI         string   `json:"jti"`
	Fam         string   `json:"fam"`
	NodeURL     *string  `json:"node_url"`
	Permissions []string `json:"permissions"`
	Type        string   `json:"token_type"`
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

// family returns the stored family of a pair.
func (f *fixture) family(t *testing.T, p login.Pair) (fam store.Family) {
	t.Helper()
	f.view(t, func(tx *store.Tx) (err error) {
		fam, err = tx.Family(read(t, p.Access).Fam)
		return err
	})
	return fam
}

// wantAccess checks what the gate says of an access token: "" for good, else the reason of the refusal.
func (f *fixture) wantAccess(t *testing.T, raw, reason string) {
	t.Helper()
	_, err := f.sessions.Authenticate(t.Context(), raw)
	if got := fault.ReasonOf(err); got != reason || (err != nil) != (reason != "") {
		t.Errorf("the access token is answered %q (%v), want %q", got, err, reason)
	}
}

// refusal is what a client sees of an error.
type refusal struct {
	code    fault.Code
	reason  string
	message string // a part of it
}

func (want refusal) check(t *testing.T, what string, err error) {
	t.Helper()
	got := refusal{fault.CodeOf(err), fault.ReasonOf(err), fault.MessageOf(err)}
	if got.code != want.code || got.reason != want.reason || !strings.Contains(got.message, want.message) {
		t.Errorf("%s: %+v (%v), want %+v", what, got, err, want)
	}
	if err != nil {
		noDeadlockWord(t, what, err)
	}
}

// noDeadlockWord fails on the reasons that clients, seeing them on the answer of a login or refresh, wait for ever
// or log out on.
func noDeadlockWord(t *testing.T, what string, err error) {
	t.Helper()
	if slices.Contains([]string{identity.TokenExpired, identity.InvalidToken}, fault.ReasonOf(err)) {
		t.Errorf("%s: the reason %s leaves the login or refresh endpoint", what, fault.ReasonOf(err))
	}
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
