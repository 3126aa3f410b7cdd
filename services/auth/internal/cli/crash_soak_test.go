//go:build soak

package cli_test

import (
	"os"
	"testing"
	"time"
)

// TestKill9_RestoreSoak, TestKill9_MasterSoak and TestKill9_RotationSoak kill more often, TestFlippedBytes_Soak damages
// more bytes, with another seed each time.
func TestKill9_RestoreSoak(t *testing.T) { killRestores(t, uint64(time.Now().UnixNano()), 60, 40_000) }

func TestKill9_MasterSoak(t *testing.T) { killMasterChanges(t, uint64(time.Now().UnixNano()), 300) }

func TestKill9_RotationSoak(t *testing.T) { killRotations(t, uint64(time.Now().UnixNano()), 200) }

func TestFlippedBytes_Soak(t *testing.T) { flipBytes(t, uint64(time.Now().UnixNano()), 50) }

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

// TestRotationsUnderLoad_Soak goes on for MERO_SOAK, and fails under five hundred requests a second.
func TestRotationsUnderLoad_Soak(t *testing.T) {
	if rate := rotateUnderLoad(t, uint64(time.Now().UnixNano()), 16, lasting(t)); rate < 500 && !t.Failed() {
		t.Errorf("%.0f requests a second, want 500: too few to show anything", rate)
	}
}

// TestKill9_Soak repeats the crash test with other seeds for MERO_SOAK (a duration such as 10m, one minute without it).
func TestKill9_Soak(t *testing.T) {
	lasts := lasting(t)
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
