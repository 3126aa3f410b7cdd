package metrics

import (
	"sync"
	"sync/atomic"
	"time"
)

// Totals are the counters of GET /admin/metrics, since the start of the process, in the names of the reference
// service.
type Totals struct {
	AuthAttempts       uint64            `json:"auth_attempts" doc:"logins"`
	AuthSuccesses      uint64            `json:"auth_successes" doc:"logins that succeeded"`
	AuthFailures       uint64            `json:"auth_failures" doc:"logins that were refused"`
	AuthSuccessRate    float64           `json:"auth_success_rate" doc:"percent"`
	AuthAvgDurationMS  int64             `json:"auth_avg_duration_ms" doc:"of a login, in milliseconds"`
	AuthFailuresByType map[string]uint64 `json:"auth_failures_by_type" doc:"refused logins by cause"`
	TokenRefreshes     uint64            `json:"token_refreshes" doc:"refreshes that succeeded"`
	TokenRevocations   uint64            `json:"token_revocations" doc:"keys revoked and sessions ended"`
}

type totals struct {
	refreshes, revocations atomic.Uint64

	mu        sync.Mutex
	successes uint64
	failures  map[string]uint64 // by outcome, of which there are few
	took      time.Duration
}

func (t *totals) login(outcome string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took += took
	if outcome == outcomeSuccess {
		t.successes++
		return
	}
	if t.failures == nil {
		t.failures = make(map[string]uint64)
	}
	t.failures[outcome]++
}

// Totals returns the counters as they are now.
func (m *Metrics) Totals() Totals {
	t := &m.totals
	out := Totals{AuthFailuresByType: map[string]uint64{}, TokenRefreshes: t.refreshes.Load(), TokenRevocations: t.revocations.Load()}
	t.mu.Lock()
	defer t.mu.Unlock()
	out.AuthSuccesses = t.successes
	for outcome, n := range t.failures {
		out.AuthFailuresByType[outcome] = n
		out.AuthFailures += n
	}
	out.AuthAttempts = out.AuthSuccesses + out.AuthFailures
	if out.AuthAttempts > 0 {
		out.AuthSuccessRate = 100 * float64(out.AuthSuccesses) / float64(out.AuthAttempts)
		out.AuthAvgDurationMS = t.took.Milliseconds() / int64(out.AuthAttempts) //nolint:gosec // a count of logins
	}
	return out
}
