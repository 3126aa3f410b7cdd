//go:build soak

package cli_test

import (
	"os"
	"testing"
	"time"
)

// TestKill9_RestoreSoak and TestKill9_MasterSoak kill more often, with another seed each time.
func TestKill9_RestoreSoak(t *testing.T) { killRestores(t, uint64(time.Now().UnixNano()), 60, 40_000) }

func TestKill9_MasterSoak(t *testing.T) { killMasterChanges(t, uint64(time.Now().UnixNano()), 300) }

// TestKill9_Soak repeats the crash test with other seeds for MERO_SOAK (a duration such as 10m, one minute without it).
func TestKill9_Soak(t *testing.T) {
	lasts := time.Minute
	if text := os.Getenv("MERO_SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("MERO_SOAK: %v", err)
		}
	}
	binary := buildBinary(t)
	runs, operations := 0, int64(0)
	for started := time.Now(); time.Since(started) < lasts && !t.Failed(); runs++ {
		seed := uint64(started.UnixNano()) + uint64(runs)
		t.Logf("seed %d", seed)
		c := newCrash(t, binary, seed, 8)
		c.play(t, 2000, 25)
		operations += c.acknowledged.Load()
		c.process.kill()
	}
	t.Logf("%d runs, %d operations acknowledged", runs, operations)
}
