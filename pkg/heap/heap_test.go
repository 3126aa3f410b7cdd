package heap_test

import (
	"context"
	"runtime/debug"
	"testing"
	"testing/synctest"

	"github.com/calimero-network/mero-go/pkg/heap"
)

const mib = 1 << 20

func TestPercent(t *testing.T) {
	for name, tt := range map[string]struct {
		live, budget uint64
		want         int
	}{
		"nothing known yet":        {0, 40 * mib, 400},
		"small":                    {4 * mib, 40 * mib, 400},
		"grows to the budget":      {10 * mib, 40 * mib, 300},
		"half of the budget":       {20 * mib, 40 * mib, 100},
		"the budget is used up":    {40 * mib, 40 * mib, 100},
		"far beyond":               {400 * mib, 40 * mib, 100},
		"no budget: the default":   {4 * mib, 0, 100},
		"beyond 63 bits of budget": {1 << 63, 1 << 62, 100},
	} {
		if got := heap.Percent(tt.live, tt.budget); got != tt.want {
			t.Errorf("%s: Percent(%d, %d) = %d, want %d", name, tt.live, tt.budget, got, tt.want)
		}
	}
}

// percent reads the collector's setting, which only changing it tells.
func percent() int {
	was := debug.SetGCPercent(100)
	debug.SetGCPercent(was)
	return was
}

func TestPace(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); heap.Pace(ctx, 1<<40) }()
		synctest.Wait()
		if got := percent(); got != 400 {
			t.Errorf("with a wide budget: %d, want 400", got)
		}
		cancel()
		<-done
		if got := percent(); got != 100 {
			t.Errorf("after the end: %d, want the default", got)
		}
	})
}

func TestPace_TheOperatorsSettingWins(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Setenv("GOGC", "")
		t.Setenv("GOMEMLIMIT", "")
		t.Setenv(name, "150")
		heap.Pace(t.Context(), 1<<40) // returns although the context goes on
		if got := percent(); got != 100 {
			t.Errorf("with %s set: %d, want it untouched", name, got)
		}
	}
}
