package password_test

import (
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
)

// Strings of the test suite of the reference implementation (P-H-C/phc-winner-argon2, src/test.c).
var referencePHC = []string{
	"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
}

func TestVerify_ReferenceStrings(t *testing.T) {
	p := &password.Provider{}
	for _, phc := range referencePHC {
		if ok, err := p.Verify(t.Context(), phc, "password"); err != nil || !ok {
			t.Errorf("Verify(%s, password) = %t, %v", phc, ok, err)
		}
		if ok, err := p.Verify(t.Context(), phc, "passwore"); err != nil || ok {
			t.Errorf("Verify(%s, passwore) = %t, %v", phc, ok, err)
		}
	}
}

const (
	salt     = "c29tZXNhbHQ"
	checksum = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
)

func TestVerify_Bounds(t *testing.T) {
	for _, phc := range []string{
		"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + checksum,
		"$argon2id$v=19$m=1048576,t=64,p=16$" + salt + "$" + checksum,
		"$argon2id$v=19$m=128,t=1,p=16$" + salt + "$" + checksum,
		"$argon2id$v=19$m=8,t=1,p=1$" + strings.Repeat("AAAA", 21) + "AA$" + strings.Repeat("AAAA", 21) + "AA", // 64 bytes
		"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + strings.Repeat("AAAA", 5) + "AA",                          // 16 bytes
	} {
		if got, err := password.Reserialise(phc); err != nil || got != phc {
			t.Errorf("Reserialise(%s) = %s, %v", phc, got, err)
		}
	}
}

func TestVerify_MalformedPHC(t *testing.T) {
	p := &password.Provider{}
	password.SetHash(p, func(_, _ []byte, _, _ uint32, _ uint8, size uint32) []byte {
		t.Error("a malformed record was hashed")
		return make([]byte, size)
	})
	good := "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + checksum
	for _, phc := range []string{
		"", "$", "password", "$$$$$", good[1:], good + "$", good + "$x", "x" + good, good + "\n", " " + good, good + "=",
		strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "argon2id", "argon2d", 1),
		strings.Replace(good, "argon2id", "ARGON2ID", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "v=19", "v=019", 1), strings.Replace(good, "v=19$", "", 1), strings.Replace(good, "$v=19", "$v=19$", 1),
		strings.Replace(good, "m=256,t=2,p=1", "t=2,m=256,p=1", 1), strings.Replace(good, "p=1", "p=1,keyid=x", 1),
		strings.Replace(good, "m=256,", "", 1), strings.Replace(good, "m=256", "m=256,m=256", 1),
		strings.Replace(good, "m=256", "m=+256", 1), strings.Replace(good, "m=256", "m=0256", 1),
		strings.Replace(good, "m=256", "m=", 1), strings.Replace(good, "m=256", "m=-1", 1), strings.Replace(good, "m=256", "M=256", 1),
		strings.Replace(good, "m=256", "m=7", 1), strings.Replace(good, "m=256", "m=1048577", 1), // 1 GiB and 1 KiB
		strings.Replace(good, "m=256", "m=4294967552", 1),         // 2^32 + 256
		strings.Replace(good, "m=256,t=2,p=1", "m=15,t=2,p=2", 1), // under 8 KiB a lane
		strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "t=2", "t=65", 1), strings.Replace(good, "t=2", "t=4294967295", 1),
		strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "p=1", "p=17", 1), strings.Replace(good, "p=1", "p=257", 1),
		strings.Replace(good, salt, "", 1), strings.Replace(good, salt, "c29tZXNhbA", 1), // 7 bytes
		strings.Replace(good, salt, salt+"=", 1), strings.Replace(good, salt, "c29tZXNhbHR", 1), // stray bits
		strings.Replace(good, salt, "c29t\r\nZXNhbHQ", 1), strings.Replace(good, salt, "c29tZXNhbH_", 1),
		strings.Replace(good, salt, strings.Repeat("AAAA", 21)+"AAA", 1),                                      // 65 bytes
		strings.Replace(good, checksum, "", 1), strings.Replace(good, checksum, strings.Repeat("AAAA", 5), 1), // 15 bytes
		strings.Replace(good, checksum, strings.Repeat("AAAA", 21)+"AAA", 1),
		good + strings.Repeat("A", 300),
	} {
		if phc == good {
			t.Fatal("a replacement had no effect")
		}
		if ok, err := p.Verify(t.Context(), phc, "password"); err == nil || ok || isProviderError(err) {
			t.Errorf("Verify(%q) = %t, %v, want an internal error", phc, ok, err)
		}
		if !p.NeedsRehash(phc) {
			t.Errorf("NeedsRehash(%q) = false", phc)
		}
	}
}

func TestNeedsRehash(t *testing.T) {
	p := &password.Provider{Config: config.UserPassword{MemoryKiB: 256, Iterations: 2}}
	const salt16 = "c29tZXNhbHRzb21lc2FsdA"
	for phc, want := range map[string]bool{
		"$argon2id$v=19$m=256,t=2,p=1$" + salt16 + "$" + checksum:                         false,
		"$argon2id$v=19$m=128,t=2,p=1$" + salt16 + "$" + checksum:                         true,
		"$argon2id$v=19$m=512,t=2,p=1$" + salt16 + "$" + checksum:                         true,
		"$argon2id$v=19$m=256,t=1,p=1$" + salt16 + "$" + checksum:                         true,
		"$argon2id$v=19$m=256,t=2,p=2$" + salt16 + "$" + checksum:                         true,
		"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + checksum:                           true,
		"$argon2id$v=19$m=256,t=2,p=1$" + salt16 + "$" + strings.Repeat("AAAA", 5) + "AA": true,
	} {
		if got := p.NeedsRehash(phc); got != want {
			t.Errorf("NeedsRehash(%s) = %t, want %t", phc, got, want)
		}
	}
	fresh, err := p.NewAccount(t.Context(), "alice", "correct horse")
	if err != nil || p.NeedsRehash(fresh.PasswordHash) {
		t.Errorf("NeedsRehash of a new hash %+v, %v", fresh, err)
	}
}

func FuzzParsePHC(f *testing.F) {
	for _, phc := range referencePHC {
		f.Add(phc)
	}
	for _, phc := range []string{
		"", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$", "$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + checksum,
		"$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG", "$argon2id$v=19$m=8,t=1,p=1,data=x$" + salt + "$" + checksum,
	} {
		f.Add(phc)
	}
	f.Fuzz(func(t *testing.T, phc string) {
		got, err := password.Reserialise(phc)
		if err == nil && got != phc {
			t.Errorf("parsed %q, written %q", phc, got)
		}
	})
}
