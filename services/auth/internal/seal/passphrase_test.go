package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/seal"
)

const phrase = "correct horse battery staple"

func lock(t testing.TB, plain string) []byte {
	t.Helper()
	text, err := seal.Lock([]byte(phrase), "test", []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestLock_OpensWithThePassphraseAlone(t *testing.T) {
	text := lock(t, "the plain text")
	if bytes.Contains(text, []byte("plain")) {
		t.Error("the file shows its content")
	}
	if got, err := seal.Unlock([]byte(phrase), "test", text); err != nil || string(got) != "the plain text" {
		t.Errorf("Unlock = %q, %v", got, err)
	}
	for _, wrong := range []string{"", "correct horse battery stapl", phrase + " ", "CORRECT HORSE BATTERY STAPLE"} {
		if _, err := seal.Unlock([]byte(wrong), "test", text); !errors.Is(err, seal.ErrPassphrase) {
			t.Errorf("Unlock with %q = %v, want ErrPassphrase", wrong, err)
		}
	}
	if _, err := seal.Unlock([]byte(phrase), "other", text); !errors.Is(err, seal.ErrSealedFile) {
		t.Errorf("Unlock for another purpose = %v, want ErrSealedFile", err)
	}
	if again := lock(t, "the plain text"); bytes.Equal(again, text) {
		t.Error("two files of the same content are equal")
	}
	for _, weak := range []string{"", "eleven char"} {
		if _, err := seal.Lock([]byte(weak), "test", nil); !errors.Is(err, seal.ErrWeak) {
			t.Errorf("Lock with %q = %v, want ErrWeak", weak, err)
		}
	}
}

// TestUnlock_EveryMemberIsProtected changes each member, the costs of the passphrase among them: whoever lowers these
// could guess faster, whoever raises them could keep us busy.
func TestUnlock_EveryMemberIsProtected(t *testing.T) {
	text := lock(t, "x")
	for name, tt := range map[string]struct {
		member string
		value  any
		want   error
	}{
		"format":             {"format", "other", seal.ErrSealedFile},
		"version":            {"v", 2, seal.ErrSealedFile},
		"purpose":            {"purpose", "other", seal.ErrSealedFile},
		"kdf":                {"kdf", "argon2i", seal.ErrSealedFile},
		"no time":            {"time", 0, seal.ErrSealedFile},
		"endless time":       {"time", 1 << 31, seal.ErrSealedFile},
		"less time":          {"time", 1, seal.ErrPassphrase},
		"no memory":          {"memory_kib", 0, seal.ErrSealedFile},
		"all memory":         {"memory_kib", 1 << 31, seal.ErrSealedFile},
		"less memory":        {"memory_kib", 8 << 10, seal.ErrPassphrase},
		"no threads":         {"threads", 0, seal.ErrSealedFile},
		"many threads":       {"threads", 255, seal.ErrSealedFile},
		"other threads":      {"threads", 2, seal.ErrPassphrase},
		"no salt":            {"salt", "", seal.ErrSealedFile},
		"other salt":         {"salt", "AAAAAAAAAAAAAAAAAAAAAA==", seal.ErrPassphrase},
		"long salt":          {"salt", strings.Repeat("AAAA", 30), seal.ErrSealedFile},
		"no body":            {"body", "", seal.ErrPassphrase},
		"body of zeros":      {"body", strings.Repeat("AAAA", 20), seal.ErrPassphrase},
		"body no base64":     {"body", "?", seal.ErrSealedFile},
		"time in words":      {"time", "three", seal.ErrSealedFile},
		"a negative time":    {"time", -1, seal.ErrSealedFile},
		"format of any case": {"Format", "mero-auth sealed file", seal.ErrSealedFile},
	} {
		var members map[string]any
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		members[tt.member] = tt.value
		changed, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seal.Unlock([]byte(phrase), "test", changed); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := seal.Unlock([]byte(phrase), "test", bytes.Repeat([]byte(" "), seal.MaxSealedFile+1)); !errors.Is(err, seal.ErrSealedFile) {
		t.Errorf("a file that is too large: %v, want ErrSealedFile", err)
	}
}

// FuzzUnlock: what is no sealed file is refused before any work is done for it. A text with parameters within the
// limits costs half a second by design, so the member that makes it complete is left out.
func FuzzUnlock(f *testing.F) {
	f.Add(`{"format":"mero-auth sealed file","v":1,"purpose":"test","kdf":"argon2id","time":99,"memory_kib":65536,"threads":4}`)
	f.Add(`{"format":"mero-auth sealed file","v":1,"purpose":"test","kdf":"argon2id","time":1e99}`)
	f.Add(`{}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(strings.ReplaceAll(text, `\u`, `\n`), "salt", "malt")
		if _, err := seal.Unlock([]byte(phrase), "test", []byte(text)); !errors.Is(err, seal.ErrSealedFile) {
			t.Errorf("Unlock(%q) = %v, want ErrSealedFile", text, err)
		}
	})
}
