//go:build soak

package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// lasting is MERO_SOAK, a duration such as 10m; one minute without it.
func lasting(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("MERO_SOAK")
	if text == "" {
		return time.Minute
	}
	lasts, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("MERO_SOAK: %v", err)
	}
	return lasts
}

// 13, for as long as asked: secrets rotate while everybody validates and refreshes without pause, and nobody is refused.
// TestRotation_UnderLoad is the short version.
func TestRotationUnderLoad_Soak(t *testing.T) {
	began := time.Now()
	end := began.Add(lasting(t))
	const clients = 16
	s := startSite(t, authtest.OnDisk)
	w := newWire(t, s.Service, clients)
	first := s.root(t)
	var stop atomic.Bool
	var asked, refreshed atomic.Int64
	var all sync.WaitGroup
	for range clients {
		pair := s.mint(t, first.Access, "context:list")
		all.Go(func() {
			for n := 0; !stop.Load() || n < 10; n++ {
				for range 4 {
					asked.Add(1)
					if status, reason, _, err := w.send("GET", "/auth/validate", pair.Access, ""); status != 200 || err != nil {
						t.Errorf("validate: %d %s %v", status, reason, err)
						return
					}
				}
				status, reason, text, err := w.send("POST", "/auth/refresh", "", fmt.Sprintf(`{"access_token":%q,"refresh_token":%q}`, unproven(pair.Access), pair.Refresh))
				next, ok := pairIn(text)
				if status != 200 || err != nil || !ok {
					t.Errorf("refresh: %d %s %v", status, reason, err)
					return
				}
				refreshed.Add(1)
				pair = next
			}
		})
	}
	kids := map[any]bool{}
	for n := 0; (n < 20 || time.Now().Before(end)) && !t.Failed(); n++ {
		for _, kind := range []secret.Kind{secret.Access, secret.Refresh, secret.Challenge} { // twice and more in one grace
			if err := s.Issuer.Secrets.Rotate(t.Context(), kind, false); err != nil {
				t.Fatal(err)
			}
		}
		fresh := s.root(t)
		kids[part(t, fresh.Access, 0)["kid"]] = true
		s.call(t, "POST", "/admin/revoke", fresh.Access, nil).data(t, &map[string]any{})
	}
	stop.Store(true)
	all.Wait()
	if rate := float64(asked.Load()+refreshed.Load()) / time.Since(began).Seconds(); rate < 500 && !t.Failed() {
		t.Errorf("%.0f requests a second: too few to show anything, want 500", rate)
	}
	if len(kids) < 20 && !t.Failed() {
		t.Errorf("%d secrets signed, want 20", len(kids))
	}
	wants(t, "a token of before all rotations", s.validate(t, first.Access), 200, "")
	// At once: what the older secrets signed is void.
	for _, kind := range []secret.Kind{secret.Access, secret.Refresh} {
		if err := s.Issuer.Secrets.Rotate(t.Context(), kind, true); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, "after a rotation at once", s.validate(t, first.Access), 401, "invalid_token")
	t.Logf("%d rotations, %d questions, %d refreshes", len(kids), asked.Load(), refreshed.Load())
}

// unproven returns the access token under a kid that nobody knows, which counts as expired, so that the test need not
// wait until it is.
func unproven(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"retired","typ":"at+jwt"}`)) + "." + rest
}

// pairIn reads a token pair in goroutines.
func pairIn(text []byte) (pair tokens, ok bool) {
	fields := strings.Split(string(text), `"`)
	if i := slices.Index(fields, "access_token"); i >= 0 && i+2 < len(fields) {
		pair.Access = fields[i+2]
	}
	if i := slices.Index(fields, "refresh_token"); i >= 0 && i+2 < len(fields) {
		pair.Refresh = fields[i+2]
	}
	return pair, pair.Access != "" && pair.Refresh != ""
}

// 25: how long a refused login takes does not tell whether the account exists or was revoked. The two-sample
// Kolmogorov-Smirnov test must not tell any two samples apart at p = 0.01.
func TestEnumerationByTime_Soak(t *testing.T) {
	const samples = 1000
	s := startSite(t, func(c *config.Config) { c.UserPassword.MemoryKiB, c.UserPassword.Iterations = 7168, 1 })
	admin := s.root(t)
	s.revokedAccount(t, admin.Access, "gone")
	w := newWire(t, s.Service, 1)
	took := map[string][]float64{}
	for i := range samples {
		kinds := []string{"live", "unknown", "revoked"}
		for n := range kinds { // in another order each time
			kind := kinds[(n+i)%len(kinds)]
			name := map[string]string{"live": "dev", "unknown": fmt.Sprint("nobody-", i), "revoked": "gone"}[kind]
			login := s.loginBody(name)
			login["provider_data"] = map[string]string{"username": name, "password": "another password"}
			body, err := json.Marshal(login)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			status, _, _, err := w.send("POST", "/auth/token", "", string(body))
			if err != nil || status != 401 {
				t.Fatalf("%s: %d %v", name, status, err)
			}
			took[kind] = append(took[kind], time.Since(began).Seconds())
		}
	}
	for _, all := range took {
		slices.Sort(all)
	}
	limit := 1.628 * math.Sqrt(2.0/samples) // p = 0.01 for two samples of this size
	for _, pair := range [][2]string{{"live", "unknown"}, {"live", "revoked"}, {"unknown", "revoked"}} {
		a, b := took[pair[0]], took[pair[1]]
		apart := distance(a, b)
		t.Logf("%s and %s: medians %.4f s and %.4f s, statistic %.3f, limit %.3f", pair[0], pair[1], a[samples/2], b[samples/2], apart, limit)
		if apart > limit {
			t.Errorf("the time of a refusal tells %s from %s accounts: %.3f > %.3f", pair[0], pair[1], apart, limit)
		}
	}
}

// revokedAccount makes an account with a password and revokes its key.
func (s *site) revokedAccount(t *testing.T, admin, name string) {
	t.Helper()
	body := map[string]any{"auth_method": "user_password", "public_key": name, "provider_data": map[string]string{"username": name, "password": "a long password"}}
	wants(t, "make the account", s.call(t, "POST", "/admin/keys", admin, body), 200, "")
	var roots []struct {
		KeyID     string `json:"key_id"`
		PublicKey string `json:"public_key"`
	}
	s.call(t, "GET", "/admin/keys", admin, nil).data(t, &roots)
	for _, r := range roots {
		if r.PublicKey == name {
			wants(t, "revoke it", s.call(t, "DELETE", "/admin/keys/"+r.KeyID, admin, nil), 200, "")
			return
		}
	}
	t.Fatalf("the key of %s is not listed", name)
}

// distance is the statistic of Kolmogorov and Smirnov of two sorted samples: how far their distributions are apart at most.
func distance(a, b []float64) (apart float64) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		if a[i] <= b[j] {
			i++
		} else {
			j++
		}
		apart = max(apart, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return apart
}
