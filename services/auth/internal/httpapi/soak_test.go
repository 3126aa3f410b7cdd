//go:build soak

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
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

// 13, for as long as asked.
func TestRotationUnderLoad_Soak(t *testing.T) {
	end := time.Now().Add(lasting(t))
	rotationUnderLoad(t, func(rotations int) bool { return rotations < 20 || time.Now().Before(end) })
}

// 25: how long a refused login takes does not tell whether the account exists. The two-sample Kolmogorov-Smirnov test
// must not tell the samples apart at p = 0.01.
func TestEnumerationByTime_Soak(t *testing.T) {
	const samples = 1000
	s := startSite(t, func(c *config.Config) { c.UserPassword.MemoryKiB, c.UserPassword.Iterations = 7168, 1 })
	s.root(t)
	w := newWire(t, s.Service, 1)
	took := map[string][]float64{}
	for i := range samples {
		names := []string{"dev", fmt.Sprint("nobody-", i)}
		if i%2 == 1 {
			slices.Reverse(names)
		}
		for _, name := range names {
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
			kind := "nobody"
			if name == "dev" {
				kind = "somebody"
			}
			took[kind] = append(took[kind], time.Since(began).Seconds())
		}
	}
	a, b := took["somebody"], took["nobody"]
	slices.Sort(a)
	slices.Sort(b)
	apart := 0.0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		if a[i] <= b[j] {
			i++
		} else {
			j++
		}
		apart = max(apart, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	limit := 1.628 * math.Sqrt(2.0/samples) // p = 0.01 for two samples of this size
	t.Logf("medians %.4f s and %.4f s, statistic %.3f, limit %.3f", a[samples/2], b[samples/2], apart, limit)
	if apart > limit {
		t.Errorf("the time of a refusal tells whether the account exists: %.3f > %.3f", apart, limit)
	}
}
