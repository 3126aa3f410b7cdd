package gatekey_test

import (
	"context"
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/auth/internal/gatekey"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

func keyring(t *testing.T, now func() time.Time) *secret.Keyring {
	t.Helper()
	raw := make([]byte, seal.KeySize)
	for i := range raw {
		raw[i] = byte(i * i * 7)
	}
	m, err := seal.OpenMaster(seal.Source{Text: base64.StdEncoding.EncodeToString(raw)})
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := m.Sealer("secrets")
	if err != nil {
		t.Fatal(err)
	}
	k, err := secret.Open(t.Context(), memory.New(), sealer, secret.Options{Now: now, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func set(t *testing.T, text []byte) *assertion.KeySet {
	t.Helper()
	s, err := assertion.ParseJWKS(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var claim = assertion.Claim{Key: "k1", Permissions: "admin", Expires: "1", Method: "GET", Target: "/"}

// TestPublished_ThroughARotation: at every moment what is signed verifies with what is published, now and as it was
// 29 seconds ago.
func TestPublished_ThroughARotation(t *testing.T) {
	c := newClock()
	k := keyring(t, c.Now)
	p := gatekey.NewPublished(k, "")
	before, first := set(t, p.JWKS()), set(t, p.JWKS())
	verify := func(when string, s *assertion.KeySet) {
		t.Helper()
		header := p.Sign(claim, c.Now().Add(time.Minute))
		if err := s.Verify(header, claim, c.Now(), 0, time.Minute); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	verify("at the start", first)
	if err := k.Rotate(t.Context(), secret.JWKS, false); err != nil {
		t.Fatal(err)
	}
	verify("at once, with an old copy", before)
	c.advance(29 * time.Second)
	verify("after 29 s, with an old copy", before)
	late := p.Sign(claim, c.Now().Add(time.Hour))
	copied := set(t, p.JWKS())
	c.advance(time.Second)
	verify("after 30 s", copied)
	if err := before.Verify(p.Sign(claim, c.Now()), claim, c.Now(), 0, time.Minute); err == nil {
		t.Error("the key has not changed")
	}
	c.advance(time.Hour - time.Second)
	if err := set(t, p.JWKS()).Verify(late, claim, c.Now(), 30*time.Second, time.Hour); err != nil {
		t.Errorf("the last assertion of the old key in its last second: %v", err)
	}
	c.advance(time.Minute + time.Second)
	if ids := set(t, p.JWKS()).IDs(); len(ids) != 1 || slices.Contains(ids, first.IDs()[0]) {
		t.Errorf("%q are published, the old key %s among them", ids, first.IDs()[0])
	}
	for _, secretText := range []string{string(k.Signing(secret.JWKS).Secret), base64.RawURLEncoding.EncodeToString(k.Signing(secret.JWKS).Secret)} {
		if strings.Contains(string(p.JWKS()), secretText) {
			t.Error("the private key is published")
		}
	}
}

func TestPublished_File(t *testing.T) {
	path := filepath.Join(t.TempDir(), "link", "jwks.json")
	synctest.Test(t, func(t *testing.T) {
		k := keyring(t, time.Now)
		p := gatekey.NewPublished(k, path)
		var log strings.Builder
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.Run(ctx, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		same := func(when string) {
			t.Helper()
			text, err := os.ReadFile(path)
			if err != nil || string(text) != string(p.JWKS()) {
				t.Errorf("%s: the file holds %q, %v, want %q", when, text, err, p.JWKS())
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
				t.Errorf("%s: mode %v, %v", when, info.Mode(), err)
			}
		}
		pass(time.Millisecond)
		same("at the start")
		if err := k.Rotate(t.Context(), secret.JWKS, false); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		same("well before the new key signs")
		if n := len(set(t, p.JWKS()).IDs()); n != 2 {
			t.Errorf("%d keys are published", n)
		}
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if err := os.Remove(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		same("when the directory is there again")
		pass(time.Hour + 2*time.Minute)
		same("when the old key has gone")
		cancel()
		<-ended
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("log = %q, want one error", log.String())
		}
	})
}
