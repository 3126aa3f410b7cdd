package password_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
)

func TestNewAccount_UserNames(t *testing.T) {
	p, _, _ := newProvider(nil)
	for _, name := range []string{
		"a", "Alice B.", "alice@example.com", "josé", "山田", "a:b", "🌍", strings.Repeat("x", 64), strings.Repeat("é", 32),
	} {
		got, err := p.NewAccount(t.Context(), name, "correct horse")
		if err != nil || got.Account != name || got.PublicKey != name || got.KeyID != "" {
			t.Errorf("NewAccount(%q) = %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{
		"", " ", " alice", "alice ", "al\x00ice", "alice\n", "al\tice", "al\u200bice", "al\u202eice", "alice\ufeff", "al\u00a0ice",
		"al\x7fice", "al\u0085ice", "al\xffice", "\ue000", strings.Repeat("x", 65), strings.Repeat("é", 33),
	} {
		if got, err := p.NewAccount(t.Context(), name, "correct horse"); !errors.Is(err, provider.ErrMalformed) || got != (provider.Proof{}) {
			t.Errorf("NewAccount(%q) = %+v, %v, want ErrMalformed", name, got, err)
		}
	}
}

func TestNewAccount_Limits(t *testing.T) {
	p, _, _ := newProvider(nil)
	p.Config.MinLength, p.Config.MaxLength = 4, 10
	for text, ok := range map[string]bool{
		"abc": false, "abcd": true, "ééé": false, "éééé": true, "éééééé": false, "abcdefghij": true, "abcdefghijk": false,
	} {
		if _, err := p.NewAccount(t.Context(), "alice", text); ok != (err == nil) {
			t.Errorf("password %q: %v, want ok = %t", text, err, ok)
		}
	}
	want := map[string]any{"min_password_length": 4, "max_password_length": 10}
	if got := p.Info(); !got.Configured || got.Type != "credentials" || !reflect.DeepEqual(got.Config, want) {
		t.Errorf("Info() = %+v, want config %v", got, want)
	}
	if p.Name() != "user_password" || !reflect.DeepEqual(p.Aliases(), []string{"username_password"}) {
		t.Errorf("Name, Aliases = %s, %v", p.Name(), p.Aliases())
	}
}

func TestNewAccount_SaltIsFresh(t *testing.T) {
	p, _, _ := newProvider(nil)
	first, err := p.NewAccount(t.Context(), "alice", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.NewAccount(t.Context(), "alice", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if first.PasswordHash == second.PasswordHash {
		t.Errorf("one password was hashed twice to %s", first.PasswordHash)
	}
}

func TestDefaults(t *testing.T) {
	p := &password.Provider{}
	got, err := p.NewAccount(t.Context(), "alice", "correct horse")
	if err != nil || !strings.HasPrefix(got.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("NewAccount = %+v, %v, want m=19456,t=2,p=1", got, err)
	}
	want := map[string]any{"min_password_length": 8, "max_password_length": 128}
	if info := p.Info(); !reflect.DeepEqual(info.Config, want) {
		t.Errorf("Info().Config = %v, want %v", info.Config, want)
	}
	// A configuration beyond what is read again would lock everybody out.
	p = &password.Provider{Config: config.UserPassword{MemoryKiB: 1, Iterations: 1 << 30}}
	password.SetHash(p, func(_, _ []byte, _, _ uint32, _ uint8, size uint32) []byte { return make([]byte, size) })
	if got, err = p.NewAccount(t.Context(), "alice", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if ok, err := p.Verify(t.Context(), got.PasswordHash, "correct horse"); err != nil || !ok {
		t.Errorf("Verify(%s) = %t, %v", got.PasswordHash, ok, err)
	}
}

func TestEnroll(t *testing.T) {
	p, _, _ := newProvider(nil)
	got, err := p.Enroll(t.Context(), provider.Attempt{Data: dataOf(t, "bob", "correct horse")})
	if err != nil {
		t.Fatal(err)
	}
	if want := (provider.Proof{PublicKey: "bob", Account: "bob", PasswordHash: got.PasswordHash}); got != want {
		t.Errorf("Enroll = %+v, want %+v", got, want)
	}
	if ok, err := p.Verify(t.Context(), got.PasswordHash, "correct horse"); err != nil || !ok {
		t.Errorf("Verify = %t, %v", ok, err)
	}
	if got, err := p.Enroll(t.Context(), provider.Attempt{Data: dataOf(t, "bob", "seven77")}); !errors.Is(err, provider.ErrMalformed) {
		t.Errorf("Enroll with 7 characters = %+v, %v, want ErrMalformed", got, err)
	}
}

// A password that is known again is worth hashing anew when the parameters have changed since; the lower limit of
// lengths, raised meanwhile, must not stand in the way.
func TestAuthenticate_RenewsOutdatedHash(t *testing.T) {
	accounts := map[string]account{}
	p, _, hashes := newProvider(accounts)
	store(t, p, accounts, "alice", "correct horse", "key-1")
	old := accounts["alice"].phc
	for _, limit := range []int{8, 100} {
		q, _, hashes := newProvider(accounts)
		q.Config.Iterations, q.Config.MinLength = 2, limit
		got, err := login(t, q, "alice", "correct horse")
		if err != nil || got.KeyID != "key-1" || got.Verified != old || got.Changed || q.NeedsRehash(got.PasswordHash) || hashes.Load() != 2 {
			t.Errorf("Authenticate = %+v, %v with %d hashes, want a new hash in place of %s", got, err, hashes.Load(), old)
		}
		if ok, err := q.Verify(t.Context(), got.PasswordHash, "correct horse"); !ok || err != nil {
			t.Errorf("Verify of the new hash = %t, %v", ok, err)
		}
		hashes.Store(0)
		if got, err := login(t, q, "alice", "wrong horse"); !errors.Is(err, provider.ErrRejected) || got != (provider.Proof{}) || hashes.Load() != 1 {
			t.Errorf("wrong password: %+v, %v with %d hashes, want ErrRejected and one", got, err, hashes.Load())
		}
	}
	hashes.Store(0)
	if got, err := login(t, p, "alice", "correct horse"); err != nil || got.PasswordHash != "" || got.Changed || hashes.Load() != 1 {
		t.Errorf("with the parameters of the hash: %+v, %v with %d hashes, want none to store and one", got, err, hashes.Load())
	}
}
