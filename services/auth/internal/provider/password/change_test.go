package password_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/password"
)

func TestAuthenticate_NewPassword(t *testing.T) {
	accounts := map[string]account{}
	p, _, hashes := newProvider(accounts)
	store(t, p, accounts, "alice", "correct horse", "key-1")
	change := func(data string) (provider.Proof, error) {
		t.Helper()
		hashes.Store(0)
		return p.Authenticate(t.Context(), provider.Attempt{Data: json.RawMessage(data)})
	}
	old := accounts["alice"].phc
	got, err := change(`{"username":"alice","password":"correct horse","new_password":"battery staple"}`)
	if err != nil || !got.Changed || got.Verified != old || got.KeyID != "key-1" || hashes.Load() != 2 {
		t.Fatalf("change: %+v, %v with %d hashes, want the key, a hash to store and 2 hashes", got, err, hashes.Load())
	}
	if ok, err := p.Verify(t.Context(), got.PasswordHash, "battery staple"); !ok || err != nil {
		t.Errorf("the hash to store is not of the new password: %t, %v", ok, err)
	}
	// A null is an absent member; then nothing is changed.
	if got, err := change(`{"username":"alice","password":"correct horse","new_password":null}`); err != nil || got.Changed || got.PasswordHash != "" {
		t.Errorf("null: %+v, %v, want a plain login", got, err)
	}
	// Who does not know the password learns and changes nothing, at the price of one hash, whether the user exists or not.
	for _, name := range []string{"alice", "nobody"} {
		got, err := change(`{"username":"` + name + `","password":"wrong horse","new_password":"battery staple"}`)
		if !errors.Is(err, provider.ErrRejected) || got != (provider.Proof{}) || hashes.Load() != 1 {
			t.Errorf("wrong password of %s: %+v, %v with %d hashes, want ErrRejected and 1", name, got, err, hashes.Load())
		}
	}
	for _, tt := range []struct{ replacement, want string }{
		{`""`, "new_password is required"},
		{`"short"`, "new_password must have at least 8 characters"},
		{`"` + strings.Repeat("x", 129) + `"`, "new_password must have at most 128 bytes"},
		{`"correct horse"`, "new_password must differ"},
		{`7`, "new_password must be a string"},
	} {
		got, err := change(`{"username":"alice","password":"correct horse","new_password":` + tt.replacement + `}`)
		if !errors.Is(err, provider.ErrMalformed) || !strings.Contains(err.Error(), tt.want) || got != (provider.Proof{}) || hashes.Load() != 0 {
			t.Errorf("new_password %.20s: %+v, %v with %d hashes, want ErrMalformed with %q and none", tt.replacement, got, err, hashes.Load(), tt.want)
		}
	}
	attempt := provider.Attempt{Data: json.RawMessage(`{"username":"bob","password":"correct horse","new_password":"battery staple"}`), Bootstrap: true}
	if _, err := p.Authenticate(t.Context(), attempt); !errors.Is(err, provider.ErrMalformed) {
		t.Errorf("a change for an account that does not exist yet: %v, want ErrMalformed", err)
	}
	if _, err := p.Enroll(t.Context(), attempt); !errors.Is(err, provider.ErrMalformed) {
		t.Errorf("a change for an account that an administrator adds: %v, want ErrMalformed", err)
	}
}

// A flood of attempts takes neither memory nor time without bound: who finds the queue full is sent away at once, who
// waits ten seconds is sent away then.
func TestAuthenticate_QueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := newProvider(nil) // two slots
		release := make(chan struct{})
		password.SetHash(p, func(_, _ []byte, _, _ uint32, _ uint8, size uint32) []byte {
			<-release
			return make([]byte, size)
		})
		const attempts = 2 + 256 + 40
		started := time.Now()
		var mu sync.Mutex
		after := map[time.Duration]int{}
		var wg sync.WaitGroup
		for range attempts {
			wg.Go(func() {
				_, err := login(t, p, "nobody", "any password")
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, provider.ErrUnavailable) {
					after[time.Since(started)]++
				} else if !errors.Is(err, provider.ErrRejected) {
					t.Errorf("login: %v", err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(time.Minute) // of the bubble's clock
		close(release)
		wg.Wait()
		if after[0] != 40 || after[10*time.Second] != 256 || len(after) != 2 {
			t.Errorf("sent away after a time: %v, want 40 at once and 256 after ten seconds", after)
		}
	})
}
