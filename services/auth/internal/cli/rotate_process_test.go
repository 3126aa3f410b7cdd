package cli_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// 13: secrets rotate by the command, twenty times, while clients of the real binary validate and refresh without pause. Nobody
// is refused; then the secrets are withdrawn at once, and everybody is.
func TestRotationsUnderLoad(t *testing.T) {
	t.Parallel()
	rotateUnderLoad(t, 13, 4, 0)
}

// rotateUnderLoad rotates at least twenty times, for as long as lasts and until the clients have asked often enough to show
// something. It returns how many requests a second were answered.
func rotateUnderLoad(t *testing.T, seed uint64, clients int, lasts time.Duration) (rate float64) {
	t.Helper()
	c := newCrash(t, buildBinary(t), seed, clients)
	// A refresh may come as soon as the access token is in its last quarter; lapsed makes it so at once.
	pairs := make([]tokenPair, clients)
	for i := range pairs {
		if status, err := c.call("POST", "/auth/token", "", login(c.workers[i].name, ""), &pairs[i]); status != http.StatusOK {
			t.Fatalf("login: %d %v", status, err)
		}
	}
	old := pairs[0]
	c.process.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 2 * clients
	var stop atomic.Bool
	var validated, refreshed atomic.Int64
	var working sync.WaitGroup
	for i := range pairs {
		working.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if status, err := c.call("GET", "/auth/validate?proxy=traefik", pairs[i].Access, nil, nil); status != http.StatusForbidden {
					t.Errorf("client %d: a question without a target: %d %v, want 403", i, status, err)
					return
				}
				if status, err := c.call("GET", "/auth/validate", pairs[i].Access, nil, nil); status != http.StatusOK {
					t.Errorf("client %d, validate %d: %d %v", i, n, status, err)
					return
				}
				validated.Add(2)
				if n%20 != 0 {
					continue
				}
				next, status, err := c.refresh(pairs[i])
				if status != http.StatusOK {
					t.Errorf("client %d, refresh %d: %d %v", i, n, status, err)
					return
				}
				pairs[i] = next
				refreshed.Add(1)
			}
		})
	}
	began := time.Now()
	rotations := 0
	tooFew := func() bool { return validated.Load() < int64(20*clients) || refreshed.Load() < int64(clients) }
	for ; (rotations < 20 || time.Since(began) < lasts || tooFew()) && !t.Failed(); rotations++ {
		c.must(t, "secrets", "rotate", "--kind", "access,refresh,challenge")
	}
	stop.Store(true)
	working.Wait()
	rate = float64(validated.Load()+refreshed.Load()) / time.Since(began).Seconds()
	t.Logf("%d rotations, %d questions, %d refreshes, %.0f requests a second", rotations, validated.Load(), refreshed.Load(), rate)
	if status, err := c.call("GET", "/auth/validate", old.Access, nil, nil); status != http.StatusOK {
		t.Errorf("a token of before all rotations: %d %v", status, err)
	}
	c.must(t, "secrets", "rotate", "--kind", "access,refresh", "--now")
	for i, pair := range append(pairs, old) {
		if status, err := c.call("GET", "/auth/validate", pair.Access, nil, nil); status != http.StatusUnauthorized {
			t.Errorf("pair %d after they were withdrawn: %d %v, want 401", i, status, err)
		}
		if _, status, err := c.refresh(pair); status != http.StatusUnauthorized {
			t.Errorf("its refresh: %d %v, want 401", status, err)
		}
	}
	return rate
}
