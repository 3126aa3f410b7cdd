package password_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/argon2"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
)

var _ provider.Provider = (*password.Provider)(nil)

// account is a stored account.
type account struct{ keyID, phc string }

// cheap makes the tests fast; the costs of argon2id are not what they are about.
var cheap = config.UserPassword{MemoryKiB: 8, Iterations: 1, MaxConcurrent: 2}

// newProvider makes a provider over accounts, and counts its look-ups and hashes.
func newProvider(accounts map[string]account) (p *password.Provider, lookups, hashes *atomic.Int64) {
	lookups, hashes = new(atomic.Int64), new(atomic.Int64)
	p = &password.Provider{
		Config: cheap,
		Accounts: func(_ context.Context, name string) (string, string, bool, error) {
			lookups.Add(1)
			a, found := accounts[name]
			return a.keyID, a.phc, found, nil
		},
	}
	password.SetHash(p, func(text, salt []byte, passes, memory uint32, lanes uint8, size uint32) []byte {
		hashes.Add(1)
		return argon2.IDKey(text, salt, passes, memory, lanes, size)
	})
	return p, lookups, hashes
}

func dataOf(t testing.TB, name, text string) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(map[string]string{"username": name, "password": text})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func login(t testing.TB, p *password.Provider, name, text string) (provider.Proof, error) {
	t.Helper()
	return p.Authenticate(t.Context(), provider.Attempt{PublicKey: "ignored", Data: dataOf(t, name, text)})
}

// store makes an account with a password and stores it.
func store(t testing.TB, p *password.Provider, accounts map[string]account, name, text, keyID string) {
	t.Helper()
	proof, err := p.NewAccount(t.Context(), name, text)
	if err != nil {
		t.Fatal(err)
	}
	accounts[name] = account{keyID, proof.PasswordHash}
}

func TestAuthenticate(t *testing.T) {
	accounts := map[string]account{}
	p, _, _ := newProvider(accounts)
	store(t, p, accounts, "alice", "correct horse", "key-1")
	got, err := login(t, p, "alice", "correct horse")
	if want := (provider.Proof{KeyID: "key-1", PublicKey: "alice", Account: "alice", Verified: accounts["alice"].phc}); err != nil || got != want {
		t.Errorf("Authenticate = %+v, %v, want %+v", got, err, want)
	}
	if got, err := login(t, p, "alice", "correct horsf"); !errors.Is(err, provider.ErrRejected) || got != (provider.Proof{}) {
		t.Errorf("wrong password: %+v, %v, want ErrRejected", got, err)
	}
	// merobox sends bootstrap_secret whenever it is set in its environment.
	data := json.RawMessage(`{"username":"alice","password":"correct horse","bootstrap_secret":"x","extra":[1]}`)
	if got, err := p.Authenticate(t.Context(), provider.Attempt{Data: data}); err != nil || got.KeyID != "key-1" {
		t.Errorf("with other members: %+v, %v, want key-1", got, err)
	}
}

// Unknown user, wrong password and a password under the lower limit: one text, one hash of the same cost each.
func TestAuthenticate_EnumerationByTextOrWork(t *testing.T) {
	accounts := map[string]account{}
	p, lookups, hashes := newProvider(accounts)
	type work struct {
		text           string
		passes, memory uint32
		lanes          uint8
		salt, size     int
	}
	var works []work
	password.SetHash(p, func(text, salt []byte, passes, memory uint32, lanes uint8, size uint32) []byte {
		hashes.Add(1)
		works = append(works, work{string(text), passes, memory, lanes, len(salt), int(size)})
		return argon2.IDKey(text, salt, passes, memory, lanes, size)
	})
	store(t, p, accounts, "alice", "correct horse", "key-1")
	hashes.Store(0)
	lookups.Store(0)
	works = nil
	for _, text := range []string{"wrong password", "short"} {
		var errs []string
		for _, name := range []string{"alice", "nobody", "Alice", "alice\u0301"} {
			_, err := login(t, p, name, text)
			if !errors.Is(err, provider.ErrRejected) {
				t.Fatalf("login of %q: %v, want ErrRejected", name, err)
			}
			errs = append(errs, err.Error())
		}
		for i, w := range works {
			if want := (work{text, 1, 8, 1, 16, 32}); w != want {
				t.Errorf("hash %d = %+v, want %+v", i, w, want)
			}
			if errs[i] != errs[0] {
				t.Errorf("error %d is %q, the first was %q", i, errs[i], errs[0])
			}
		}
		if len(works) != 4 {
			t.Errorf("%d hashes for 4 logins", len(works))
		}
		works = nil
	}
	if lookups.Load() != hashes.Load() {
		t.Errorf("%d look-ups, %d hashes", lookups.Load(), hashes.Load())
	}
}

// The decoy that stands for an unknown user must never let anybody in.
func TestAuthenticate_DecoyMatchesNothing(t *testing.T) {
	p, _, _ := newProvider(nil)
	password.SetHash(p, func(_, _ []byte, _, _ uint32, _ uint8, size uint32) []byte { return make([]byte, size) })
	if got, err := login(t, p, "nobody", "any password"); !errors.Is(err, provider.ErrRejected) || got != (provider.Proof{}) {
		t.Errorf("a hash equal to the decoy's: %+v, %v, want ErrRejected", got, err)
	}
}

// The reference joined user and password with a colon before hashing.
func TestAuthenticate_ColonAmbiguity(t *testing.T) {
	accounts := map[string]account{}
	p, _, _ := newProvider(accounts)
	store(t, p, accounts, "a:b", "cccccccc", "key-1")
	for _, pair := range [][2]string{{"a", "b:cccccccc"}, {"a:b:cccccccc", "cccccccc"}, {"a:b:", "cccccccc"}, {"a:b", ":cccccccc"}} {
		if got, err := login(t, p, pair[0], pair[1]); !errors.Is(err, provider.ErrRejected) {
			t.Errorf("login(%q, %q) = %+v, %v, want ErrRejected", pair[0], pair[1], got, err)
		}
	}
	if _, err := login(t, p, "a:b", "cccccccc"); err != nil {
		t.Errorf("login of the account: %v", err)
	}
}

// Passwords are bytes: nothing is cut, folded, trimmed or normalised.
func TestAuthenticate_PasswordIsItsBytes(t *testing.T) {
	accounts := map[string]account{}
	p, _, _ := newProvider(accounts)
	for stored, variants := range map[string][]string{
		"caf\u00e9-12345":  {"cafe\u0301-12345", "cafe-12345", "CAF\u00c9-12345"},
		"before\x00after":  {"before", "before\x00", "before\x00After"},
		" blank at edges ": {"blank at edges", " blank at edges"},
	} {
		store(t, p, accounts, "alice", stored, "key-1")
		if _, err := login(t, p, "alice", stored); err != nil {
			t.Errorf("password %q: %v", stored, err)
		}
		for _, other := range variants {
			if _, err := login(t, p, "alice", other); !errors.Is(err, provider.ErrRejected) {
				t.Errorf("password %q for %q: %v, want ErrRejected", other, stored, err)
			}
		}
	}
}

func TestAuthenticate_Bootstrap(t *testing.T) {
	accounts := map[string]account{}
	p, _, hashes := newProvider(accounts)
	attempt := func(name, text string) (provider.Proof, error) {
		return p.Authenticate(t.Context(), provider.Attempt{Data: dataOf(t, name, text), Bootstrap: true})
	}
	got, err := attempt("alice", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if want := (provider.Proof{PublicKey: "alice", Account: "alice", PasswordHash: got.PasswordHash}); got != want || got.PasswordHash == "" {
		t.Errorf("new account: %+v, want %+v with a hash", got, want)
	}
	if ok, err := p.Verify(t.Context(), got.PasswordHash, "correct horse"); err != nil || !ok {
		t.Errorf("Verify of the new hash = %t, %v", ok, err)
	}
	hashes.Store(0)
	if got, err := attempt("alice", "seven77"); !errors.Is(err, provider.ErrMalformed) || !strings.Contains(err.Error(), "at least 8 characters") {
		t.Errorf("7 characters: %+v, %v, want ErrMalformed", got, err)
	}
	if hashes.Load() != 0 {
		t.Errorf("%d hashes of a password that is too short for a new account", hashes.Load())
	}
	// The secret does not open an account that exists.
	store(t, p, accounts, "alice", "correct horse", "key-1")
	if got, err := attempt("alice", "another password"); !errors.Is(err, provider.ErrRejected) {
		t.Errorf("existing account, wrong password: %+v, %v, want ErrRejected", got, err)
	}
	if got, err := attempt("alice", "correct horse"); err != nil || got.KeyID != "key-1" || got.PasswordHash != "" {
		t.Errorf("existing account, right password: %+v, %v, want key-1 without a hash", got, err)
	}
}

func TestAuthenticate_OversizedNeverHashed(t *testing.T) {
	accounts := map[string]account{}
	p, lookups, hashes := newProvider(accounts)
	longest := strings.Repeat("x", 128)
	store(t, p, accounts, "alice", longest, "key-1")
	if _, err := login(t, p, "alice", longest); err != nil {
		t.Errorf("128 bytes: %v", err)
	}
	hashes.Store(0)
	lookups.Store(0)
	for _, text := range []string{longest + "x", strings.Repeat("é", 65), strings.Repeat("x", 60<<10)} {
		for _, name := range []string{"alice", "nobody"} {
			if _, err := login(t, p, name, text); !errors.Is(err, provider.ErrMalformed) {
				t.Errorf("%d bytes for %s: %v, want ErrMalformed", len(text), name, err)
			}
		}
		if _, err := p.NewAccount(t.Context(), "bob", text); !errors.Is(err, provider.ErrMalformed) {
			t.Errorf("new account with %d bytes: %v, want ErrMalformed", len(text), err)
		}
	}
	if hashes.Load() != 0 || lookups.Load() != 0 {
		t.Errorf("%d hashes and %d look-ups", hashes.Load(), lookups.Load())
	}
}

func TestAuthenticate_Malformed(t *testing.T) {
	p, lookups, hashes := newProvider(nil)
	for _, tt := range []struct{ data, want string }{
		{`{}`, "username is required"},
		{`{"username":"alice"}`, "password is required"},
		{`{"password":"correct horse"}`, "username is required"},
		{`{"username":"","password":"correct horse"}`, "username is required"},
		{`{"username":"alice","password":""}`, "password is required"},
		{`{"username":"alice","password":null}`, "password is required"},
		{`{"username":"alice","password":12345678}`, "password must be a string"},
		{`{"username":["alice"],"password":"correct horse"}`, "username must be a string"},
		{`{"username":"alice","username":"bob","password":"correct horse"}`, "appears twice"},
		{`{"username":"alice","password":"correct horse","Password":"x"}`, "appears twice"},
		{`{"username":"alice","Password":"correct horse"}`, "password must be spelled in lower case"},
		{`{"username":"alice","password":"correct \ud800"}`, "lone surrogate"},
		{`null`, "not a JSON object"},
		{``, "malformed JSON"},
	} {
		for _, bootstrap := range []bool{false, true} {
			got, err := p.Authenticate(t.Context(), provider.Attempt{Data: json.RawMessage(tt.data), Bootstrap: bootstrap})
			if !errors.Is(err, provider.ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Authenticate(%s) = %+v, %v, want ErrMalformed with %q", tt.data, got, err, tt.want)
			}
		}
		if got, err := p.Enroll(t.Context(), provider.Attempt{Data: json.RawMessage(tt.data)}); !errors.Is(err, provider.ErrMalformed) {
			t.Errorf("Enroll(%s) = %+v, %v, want ErrMalformed", tt.data, got, err)
		}
	}
	if hashes.Load() != 0 || lookups.Load() != 0 {
		t.Errorf("%d hashes and %d look-ups", hashes.Load(), lookups.Load())
	}
}

// A broken store is neither a wrong password nor a missing user.
func TestAuthenticate_StoreFailures(t *testing.T) {
	broken := errors.New("disk")
	p := &password.Provider{Config: cheap, Accounts: func(context.Context, string) (string, string, bool, error) {
		return "", "", false, broken
	}}
	if _, err := login(t, p, "alice", "correct horse"); !errors.Is(err, broken) || isProviderError(err) {
		t.Errorf("failing look-up: %v, want an internal error", err)
	}
	p, _, _ = newProvider(map[string]account{"alice": {"key-1", "$argon2id$v=19$secret"}})
	if _, err := login(t, p, "alice", "correct horse"); err == nil || isProviderError(err) || strings.Contains(err.Error(), "secret") {
		t.Errorf("damaged record: %v, want an internal error without the record", err)
	}
}

func isProviderError(err error) bool {
	for _, target := range []error{provider.ErrMalformed, provider.ErrRejected, provider.ErrUnavailable, provider.ErrDisabled} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// Each hash takes 19 MiB: a burst of logins must not take that for every one of them.
func TestAuthenticate_BurstIsBounded(t *testing.T) {
	const slots, logins = 3, 50
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var running, most atomic.Int64
		p := &password.Provider{Accounts: func(context.Context, string) (string, string, bool, error) { return "", "", false, nil }}
		p.Config.MaxConcurrent = slots
		password.SetHash(p, func(_, _ []byte, _, _ uint32, _ uint8, size uint32) []byte {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			<-release
			return make([]byte, size)
		})
		patient := make(chan error, logins)
		impatient := make(chan error, logins)
		start := func(ctx context.Context, results chan<- error) {
			data := dataOf(t, "alice", "correct horse")
			for range logins {
				go func() {
					_, err := p.Authenticate(ctx, provider.Attempt{Data: data})
					results <- err
				}()
			}
			synctest.Wait()
		}
		start(t.Context(), patient)
		ctx, cancel := context.WithCancel(t.Context())
		start(ctx, impatient)
		if running.Load() != slots {
			t.Errorf("%d hashes run, want %d", running.Load(), slots)
		}
		cancel()
		for range logins {
			if err := <-impatient; !errors.Is(err, provider.ErrUnavailable) {
				t.Errorf("a login that waited until its context ended: %v, want ErrUnavailable", err)
			}
		}
		close(release)
		for range logins {
			if err := <-patient; !errors.Is(err, provider.ErrRejected) {
				t.Errorf("a login that got its turn: %v, want ErrRejected", err)
			}
		}
		if most.Load() != slots || running.Load() != 0 {
			t.Errorf("at most %d hashes ran at once and %d run, want %d and 0", most.Load(), running.Load(), slots)
		}
		// The slots are free, and a request that has ended takes none.
		if _, err := p.Authenticate(ctx, provider.Attempt{Data: dataOf(t, "alice", "correct horse")}); !errors.Is(err, provider.ErrUnavailable) {
			t.Errorf("a login whose context had ended: %v, want ErrUnavailable", err)
		}
	})
}

func BenchmarkLogin(b *testing.B) {
	accounts := map[string]account{}
	p := &password.Provider{Accounts: func(_ context.Context, name string) (string, string, bool, error) {
		a, found := accounts[name]
		return a.keyID, a.phc, found, nil
	}}
	store(b, p, accounts, "alice", "correct horse", "key-1")
	data := dataOf(b, "alice", "correct horse")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Authenticate(b.Context(), provider.Attempt{Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkArgon2id is bare argon2id with the default parameters, the denominator of BenchmarkLogin.
func BenchmarkArgon2id(b *testing.B) {
	salt := make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		argon2.IDKey([]byte("correct horse"), salt, 2, 19456, 1, 32)
	}
}
