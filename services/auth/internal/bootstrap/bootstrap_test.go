package bootstrap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/bootstrap"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// fixture is a service over a store, with a clock and a captured log.
type fixture struct {
	*bootstrap.Service
	now *time.Time
	log *bytes.Buffer
}

func newFixture(t *testing.T, db kv.DB, dir string, change func(*bootstrap.Service)) fixture {
	t.Helper()
	records, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	now, log := start, new(bytes.Buffer)
	s := &bootstrap.Service{
		Store: records, Dir: dir, Mode: bootstrap.ModeSecret, Now: func() time.Time { return now },
		Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(s)
	}
	return fixture{s, &now, log}
}

func fresh(t *testing.T, change func(*bootstrap.Service)) fixture {
	t.Helper()
	return newFixture(t, memory.New(), t.TempDir(), change)
}

func (f fixture) ensure(t *testing.T) bootstrap.Shown {
	t.Helper()
	shown, err := f.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

func (f fixture) show(t *testing.T, renew bool) bootstrap.Shown {
	t.Helper()
	shown, err := f.Show(t.Context(), renew)
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

func (f fixture) check(t *testing.T, presented string, want error) {
	t.Helper()
	if err := f.Check(t.Context(), "198.51.100.1", presented); !errors.Is(err, want) {
		t.Errorf("Check(%q) = %v, want %v", presented, err, want)
	}
}

// createRoot makes a root key as the login use case does: the secret is consumed in the same transaction.
func (f fixture) createRoot(ctx context.Context, id, secret string) error {
	return f.Store.Update(ctx, func(tx *store.Tx) error {
		if err := f.Consume(tx, secret); err != nil {
			return err
		}
		return tx.CreateKey(store.Key{ID: id, Type: store.Root}, []string{"admin"})
	})
}

func (f fixture) file(t *testing.T) (text string, exists bool) {
	t.Helper()
	raw, err := os.ReadFile(f.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return "", false
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(raw), true
}

func TestEnsure_SecretAndFile(t *testing.T) {
	f := fresh(t, nil)
	shown := f.ensure(t)
	const form = `^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){5}$` // 24 of 32 characters: 120 bits
	if !regexp.MustCompile(form).MatchString(shown.Secret) || shown.State != bootstrap.Open || !shown.Expires.Equal(start.Add(24*time.Hour)) {
		t.Errorf("Ensure = %+v, want an open secret like %s for 24 hours", shown, form)
	}
	if text, _ := f.file(t); text != shown.Secret+"\n" {
		t.Errorf("the file holds %q, want the secret and a line end", text)
	}
	info, err := os.Stat(f.Path())
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode of the file: %v, %v, want 0600", info.Mode(), err)
	}
	f.check(t, shown.Secret, nil)
	if again := f.ensure(t); again != shown {
		t.Errorf("second Ensure = %+v, want the same as before, %+v", again, shown)
	}
	if again := f.show(t, false); again != shown {
		t.Errorf("Show = %+v, want %+v", again, shown)
	}
	if other := fresh(t, nil).ensure(t); other.Secret == shown.Secret {
		t.Errorf("two stores have the same secret")
	}
}

// Every character of the alphabet occurs: none of the 120 bits is fixed.
func TestEnsure_UsesTheWholeAlphabet(t *testing.T) {
	f := fresh(t, nil)
	seen := map[rune]bool{}
	for range 60 { // the chance that one of 32 characters stays out of 1440 is under 2^-60
		for _, c := range f.show(t, true).Secret {
			seen[c] = true
		}
	}
	if len(seen) != 33 {
		t.Errorf("60 secrets use %d characters with the hyphen, want 33", len(seen))
	}
}

func TestCheck_Spellings(t *testing.T) {
	f := fresh(t, nil)
	var secret string
	for !strings.Contains(secret, "0") || !strings.Contains(secret, "1") {
		secret = f.show(t, true).Secret
	}
	plain := strings.ReplaceAll(secret, "-", "")
	for _, accepted := range []string{
		secret, plain, strings.ToLower(secret), strings.ToLower(plain), strings.ReplaceAll(secret, "-", " "),
		" " + secret + " ", plain[:1] + "-" + plain[1:], "--" + plain + "--",
		strings.ReplaceAll(secret, "0", "O"), strings.ReplaceAll(secret, "0", "o"),
		strings.ReplaceAll(secret, "1", "I"), strings.ReplaceAll(secret, "1", "i"),
		strings.ReplaceAll(secret, "1", "L"), strings.ReplaceAll(secret, "1", "l"),
	} {
		f.check(t, accepted, nil)
	}
	last := "X"
	if strings.HasSuffix(plain, "X") {
		last = "Y"
	}
	for i, refused := range []string{
		"", "-", plain[:23], plain + "0", plain[:23] + last, strings.ReplaceAll(secret, "0", "Q"), "\u2010" + plain, plain + "\x00", plain + "\n",
		strings.ReplaceAll(secret, "1", "\u0131"), // dotless i
		strings.Repeat(plain, 1000),
	} {
		if err := f.Check(t.Context(), fmt.Sprint("peer ", i), refused); !errors.Is(err, bootstrap.ErrWrong) {
			t.Errorf("Check(%.60q) = %v, want ErrWrong", refused, err)
		}
	}
}

func TestCheck_BruteForce(t *testing.T) {
	f := fresh(t, nil)
	secret := f.ensure(t).Secret
	peer := func(name, presented string, want error) {
		t.Helper()
		if err := f.Check(t.Context(), name, presented); !errors.Is(err, want) {
			t.Errorf("Check by %s after %v = %v, want %v", name, f.now.Sub(start), err, want)
		}
	}
	for range 5 {
		peer("mallory", "0000-0000-0000-0000-0000-0000", bootstrap.ErrWrong)
		*f.now = f.now.Add(time.Second)
	}
	peer("mallory", "0000-0000-0000-0000-0000-0000", bootstrap.ErrLimited)
	peer("mallory", secret, bootstrap.ErrLimited) // or guessing would go on while waiting
	peer("alice", secret, nil)                    // others are not in the way of the first
	peer("alice", "", bootstrap.ErrWrong)         // a login without a secret is no guess
	for range 20 {
		peer("bob", "", bootstrap.ErrWrong)
	}
	peer("bob", secret, nil)
	*f.now = start.Add(time.Minute - 1)
	peer("mallory", secret, bootstrap.ErrLimited)
	*f.now = start.Add(time.Minute)
	peer("mallory", secret, nil)
	for range 5 {
		peer("mallory", "wrong", bootstrap.ErrWrong)
	}
	peer("mallory", secret, bootstrap.ErrLimited)
}

// Attack: ten thousand guesses of one peer, one every tenth of a second. No more than five a minute are looked at, and a
// right one among the others is refused, too.
func TestCheck_TenThousandGuesses(t *testing.T) {
	f := fresh(t, nil)
	secret := f.ensure(t).Secret
	const guesses = 10_000
	looked := 0
	for n := range guesses {
		presented := fmt.Sprintf("%024d", n)
		if n == guesses/2 {
			presented = secret // in a minute whose five are used up
		}
		switch err := f.Check(t.Context(), "mallory", presented); {
		case errors.Is(err, bootstrap.ErrWrong):
			looked++
		case !errors.Is(err, bootstrap.ErrLimited):
			t.Fatalf("guess %d: %v", n, err)
		}
		*f.now = f.now.Add(100 * time.Millisecond)
	}
	minutes := guesses/600 + 1
	if looked > 5*minutes || looked < minutes {
		t.Errorf("%d guesses in %d minutes were looked at, want at most five a minute", looked, minutes)
	}
	if err := f.Check(t.Context(), "alice", secret); err != nil {
		t.Errorf("somebody else afterwards: %v", err)
	}
}

// All at once is no way around the limit.
func TestCheck_ParallelBruteForce(t *testing.T) {
	f := fresh(t, nil)
	f.ensure(t)
	var answered, limited atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			switch err := f.Check(t.Context(), "mallory", "wrong"); {
			case errors.Is(err, bootstrap.ErrWrong):
				answered.Add(1)
			case errors.Is(err, bootstrap.ErrLimited):
				limited.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if answered.Load() != 5 || limited.Load() != 195 {
		t.Errorf("%d of 200 guesses were answered and %d refused, want 5 and 195", answered.Load(), limited.Load())
	}
}

// The table of peers is bounded: beyond it nobody new may guess until a window has ended.
func TestCheck_ManyPeers(t *testing.T) {
	f := fresh(t, nil)
	secret := f.ensure(t).Secret
	const tracked = 10_000
	for i := range tracked {
		if err := f.Check(t.Context(), fmt.Sprint("peer ", i), "wrong"); !errors.Is(err, bootstrap.ErrWrong) {
			t.Fatalf("guess of peer %d: %v", i, err)
		}
	}
	f.check(t, secret, bootstrap.ErrLimited)
	f.check(t, "wrong", bootstrap.ErrLimited)
	if err := f.Check(t.Context(), "peer 7", secret); err != nil {
		t.Errorf("a known peer with four guesses left: %v", err)
	}
	*f.now = start.Add(time.Minute)
	f.check(t, secret, nil)
}

func TestLapse(t *testing.T) {
	f := fresh(t, nil)
	secret := f.ensure(t).Secret
	*f.now = start.Add(24*time.Hour - time.Second)
	f.check(t, secret, nil)
	*f.now = start.Add(24 * time.Hour)
	f.check(t, secret, bootstrap.ErrLapsed)
	f.check(t, "wrong", bootstrap.ErrWrong) // only who knows the secret is told that it has lapsed
	if shown := f.show(t, false); shown.State != bootstrap.Lapsed || shown.Secret != "" {
		t.Errorf("Show = %+v, want lapsed without a secret", shown)
	}
	if text, exists := f.file(t); exists {
		t.Errorf("the lapsed secret is still in the file: %q", text)
	}
	if shown := f.ensure(t); shown.State != bootstrap.Lapsed {
		t.Errorf("Ensure = %+v: a restart must not make a new secret by itself", shown)
	}
	renewed := f.show(t, true)
	if renewed.State != bootstrap.Open || renewed.Secret == secret || !renewed.Expires.Equal(start.Add(48*time.Hour)) {
		t.Errorf("Show with renew = %+v, want another secret for 24 hours", renewed)
	}
	f.check(t, renewed.Secret, nil)
	f.check(t, secret, bootstrap.ErrWrong)
	if text, _ := f.file(t); text != renewed.Secret+"\n" {
		t.Errorf("the file holds %q, want the renewed secret", text)
	}
}

// A secret that lapses between the check and the transaction is still the one that was checked; one that was
// renewed meanwhile is not.
func TestConsume_RenewedMeanwhile(t *testing.T) {
	f := fresh(t, nil)
	secret := f.ensure(t).Secret
	f.check(t, secret, nil)
	f.show(t, true)
	if err := f.createRoot(t.Context(), "root", secret); !errors.Is(err, bootstrap.ErrWrong) {
		t.Errorf("Consume of a replaced secret: %v, want ErrWrong", err)
	}
	if open, err := f.IsOpen(t.Context()); err != nil || !open {
		t.Errorf("IsOpen = %t, %v, want true: nothing was consumed", open, err)
	}
}

func TestConsume_OneWinner(t *testing.T) {
	onBoth := map[string]func(t *testing.T) kv.DB{
		"memory": func(*testing.T) kv.DB { return memory.New() },
		"bbolt": func(t *testing.T) kv.DB {
			db, err := bolt.Open(filepath.Join(t.TempDir(), "auth.db"), bolt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			return db
		},
	}
	for name, backend := range onBoth {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, backend(t), t.TempDir(), nil)
			secret := f.ensure(t).Secret
			var won, lost atomic.Int64
			f.check(t, secret, nil) // as each of them did before the first consumes
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					switch err := f.createRoot(t.Context(), fmt.Sprint("root-", i), secret); {
					case err == nil:
						won.Add(1)
					case errors.Is(err, bootstrap.ErrClosed):
						lost.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			roots := 0
			err := f.Store.View(t.Context(), func(tx *store.Tx) error {
				for _, err := range tx.Keys(store.Root) {
					if err != nil {
						return err
					}
					roots++
				}
				return nil
			})
			if err != nil || roots != 1 || won.Load() != 1 || lost.Load() != 49 {
				t.Errorf("%d roots, %d winners, %d losers, %v; want 1, 1, 49", roots, won.Load(), lost.Load(), err)
			}
		})
	}
}

// Once a root key ever existed, nothing opens the door again: no restart, no renewal, no configured secret, no
// first-login mode, and not the revocation of all keys.
func TestNeverOpensAgain(t *testing.T) {
	for _, byRecord := range []bool{false, true} {
		db, dir := memory.New(), t.TempDir()
		f := newFixture(t, db, dir, nil)
		secret := f.ensure(t).Secret
		err := f.createRoot(t.Context(), "root", secret)
		if err == nil {
			err = f.Store.Update(t.Context(), func(tx *store.Tx) error {
				if byRecord { // even if only the key itself is left to tell
					if err := tx.PutBootstrap(store.Bootstrap{}); err != nil {
						return err
					}
				}
				_, err := tx.RevokeKey("root", start)
				return err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Closed(t.Context())
		if text, exists := f.file(t); exists {
			t.Errorf("the used secret is still in the file: %q", text)
		}
		if err := os.WriteFile(f.Path(), []byte(secret), 0o600); err != nil { // as a crash before Closed leaves it
			t.Fatal(err)
		}
		for name, change := range map[string]func(*bootstrap.Service){
			"as before":   nil,
			"configured":  func(s *bootstrap.Service) { s.Configured = "a secret of the configuration" },
			"first login": func(s *bootstrap.Service) { s.Mode = bootstrap.ModeFirstLogin },
		} {
			f := newFixture(t, db, dir, change)
			for what, shown := range map[string]bootstrap.Shown{"Ensure": f.ensure(t), "Show": f.show(t, false), "Show with renew": f.show(t, true)} {
				if shown != (bootstrap.Shown{State: bootstrap.Closed}) {
					t.Errorf("%s, %s: %+v, want closed", name, what, shown)
				}
			}
			for _, presented := range []string{secret, "a secret of the configuration", ""} {
				f.check(t, presented, bootstrap.ErrClosed)
				if err := f.createRoot(t.Context(), "root-2", presented); !errors.Is(err, bootstrap.ErrClosed) {
					t.Errorf("%s: Consume = %v, want ErrClosed", name, err)
				}
			}
			if open, err := f.IsOpen(t.Context()); open || err != nil {
				t.Errorf("%s: IsOpen = %t, %v", name, open, err)
			}
			if text, exists := f.file(t); exists {
				t.Errorf("%s: the file is back: %q", name, text)
			}
		}
	}
}

func TestConfigured(t *testing.T) {
	const configured = "Correct-Horse battery staple"
	db, dir := memory.New(), t.TempDir()
	random := newFixture(t, db, dir, nil).ensure(t).Secret
	f := newFixture(t, db, dir, func(s *bootstrap.Service) { s.Configured = configured })
	if shown := f.ensure(t); shown.State != bootstrap.Open || shown.Secret != "" {
		t.Errorf("Ensure = %+v, want open without the text: who configured it knows it", shown)
	}
	if text, exists := f.file(t); exists {
		t.Errorf("a configured secret, or the one before it, is in the file: %q", text)
	}
	f.check(t, configured, nil)
	f.check(t, random, bootstrap.ErrWrong)
	f.check(t, strings.ToLower(configured), bootstrap.ErrWrong) // it is its bytes
	f.check(t, strings.ReplaceAll(configured, "-", ""), bootstrap.ErrWrong)
	*f.now = start.Add(24 * time.Hour)
	f.check(t, configured, bootstrap.ErrLapsed)
	if shown := f.ensure(t); shown.State != bootstrap.Open {
		t.Errorf("Ensure after 24 hours = %+v, want open: a restart with the setting renews it", shown)
	}
	f.check(t, configured, nil)

	// Without the setting a random one takes its place.
	f = newFixture(t, db, dir, nil)
	f.check(t, configured, nil) // until the service has started
	if shown := f.ensure(t); shown.State != bootstrap.Open || shown.Secret == "" {
		t.Errorf("Ensure without the setting = %+v, want a random secret", shown)
	}
	f.check(t, configured, bootstrap.ErrWrong)
}

// A configured secret in the form of a generated one may be typed as freely as that.
func TestConfigured_InGeneratedForm(t *testing.T) {
	f := fresh(t, func(s *bootstrap.Service) { s.Configured = "0123456789ABCDEFGHJKMNPQ" })
	f.ensure(t)
	for _, accepted := range []string{"0123456789ABCDEFGHJKMNPQ", "0123-4567-89ab-cdef-ghjk-mnpq", "OI23 4567 89AB CDEF GHJK MNPQ"} {
		f.check(t, accepted, nil)
	}
	f.check(t, "0123-4567-89ab-cdef-ghjk-mnpr", bootstrap.ErrWrong)
}

func TestFirstLoginMode(t *testing.T) {
	f := fresh(t, func(s *bootstrap.Service) { s.Mode = bootstrap.ModeFirstLogin })
	if shown := f.ensure(t); shown != (bootstrap.Shown{State: bootstrap.Open}) {
		t.Errorf("Ensure = %+v, want open without a secret", shown)
	}
	if text, exists := f.file(t); exists {
		t.Errorf("the file holds %q, want none", text)
	}
	f.check(t, "", nil)
	if err := f.createRoot(t.Context(), "root", ""); err != nil {
		t.Errorf("Consume: %v", err)
	}
	f.check(t, "", bootstrap.ErrClosed)
}

// The hash is stored before the text. Whatever a crash leaves in the file, the next start shows a secret that works.
func TestEnsure_AfterCrashBetweenHashAndFile(t *testing.T) {
	db, dir := memory.New(), t.TempDir()
	f := newFixture(t, db, dir, nil)
	old := f.ensure(t).Secret
	f.show(t, true)
	for name, left := range map[string]func() error{
		"nothing":                func() error { return os.Remove(f.Path()) },
		"the secret before it":   func() error { return os.WriteFile(f.Path(), []byte(old+"\n"), 0o600) },
		"half of it":             func() error { return os.WriteFile(f.Path(), []byte(old[:10]), 0o600) },
		"an empty file":          func() error { return os.WriteFile(f.Path(), nil, 0o600) },
		"a file of another user": func() error { return errors.Join(os.Remove(f.Path()), os.Mkdir(f.Path(), 0o700)) }, // reading it fails
	} {
		if err := left(); err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, db, dir, nil)
		shown := f.ensure(t)
		if shown.State != bootstrap.Open || shown.Secret == "" {
			t.Errorf("after %s: Ensure = %+v", name, shown)
		}
		f.check(t, shown.Secret, nil)
		if text, _ := f.file(t); text != shown.Secret+"\n" {
			t.Errorf("after %s: the file holds %q, shown was %q", name, text, shown.Secret)
		}
	}
}

// Renewals at the same time leave one secret, and file, hash and the last answer agree on it.
func TestShow_ParallelRenewals(t *testing.T) {
	f := fresh(t, nil)
	f.ensure(t)
	for range 20 {
		var wg sync.WaitGroup
		shown := make([]bootstrap.Shown, 8)
		for i := range shown {
			wg.Go(func() {
				var err error
				if shown[i], err = f.Show(t.Context(), true); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		text, _ := f.file(t)
		f.check(t, strings.TrimSpace(text), nil)
		works := 0
		for _, s := range shown {
			if s.Secret == strings.TrimSpace(text) {
				works++
			}
		}
		if works != 1 {
			t.Fatalf("%d of 8 renewals were told the secret in the file, want 1", works)
		}
	}
}

// A login that wins while the operator renews closes the door; the operator is told so.
func TestShow_RenewalAgainstLogin(t *testing.T) {
	for range 30 {
		f := fresh(t, nil)
		secret := f.ensure(t).Secret
		var wg sync.WaitGroup
		var login error
		var shown bootstrap.Shown
		wg.Go(func() { login = f.createRoot(t.Context(), "root", secret) })
		wg.Go(func() {
			var err error
			if shown, err = f.Show(t.Context(), true); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		switch {
		case login == nil:
			f.Closed(t.Context())
			if shown.State == bootstrap.Open {
				t.Errorf("the login won, and the operator was shown %+v", shown)
			}
			if text, exists := f.file(t); exists {
				t.Errorf("the login won, and the file holds %q", text)
			}
		case errors.Is(login, bootstrap.ErrWrong):
			if shown.State != bootstrap.Open || shown.Secret == secret {
				t.Errorf("the renewal won, and the operator was shown %+v", shown)
			}
		default:
			t.Error(login)
		}
	}
}

func TestSecretNeverInLog(t *testing.T) {
	f := fresh(t, nil)
	secrets := []string{f.ensure(t).Secret, "wrong-guess-of-a-client"}
	for range 6 {
		if err := f.Check(t.Context(), "p", secrets[1]); err == nil || strings.Contains(err.Error(), secrets[1]) {
			t.Errorf("Check = %v, want an error that repeats nothing", err)
		}
	}
	if err := os.WriteFile(f.Path(), []byte(secrets[0][:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, secrets[0][:20], f.ensure(t).Secret, f.show(t, true).Secret)
	*f.now = start.Add(25 * time.Hour)
	secrets = append(secrets, f.show(t, true).Secret)
	if err := os.Remove(f.Path()); err != nil { // a directory that is not empty cannot be removed
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(f.Path(), "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.Closed(t.Context())
	if !strings.Contains(f.log.String(), "could not be removed") {
		t.Errorf("the log does not tell of the file that stays: %s", f.log)
	}
	for _, secret := range secrets {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, f.log)
		}
	}
}
