package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/memory"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
	"github.com/calimero-network/mero-go/services/auth/internal/metrics"
)

func newMetrics() *metrics.Metrics {
	return metrics.New("1.2.3", func() (hits, misses uint64) { return 30, 10 })
}

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestScrape(t *testing.T) {
	m := newMetrics()
	m.Watch(metrics.Sources{
		Limits: func() limit.Counts {
			return limit.Counts{
				Allowed: map[limit.Class]uint64{limit.Login: 7}, Refused: map[limit.Class]uint64{limit.Refresh: 3}, RefusedAccount: 2, Delayed: 1, Tracked: 9,
			}
		},
		Audit: func() audit.Losses { return audit.Losses{File: 4, Merged: 5} },
		Live:  func() metrics.Live { return metrics.Live{RootKeys: 2, ClientKeys: 11, Sessions: 13} },
		RPC: func() []metrics.RPC {
			return []metrics.RPC{{Name: "near", Up: true, Calls: 10, Failures: 4}, {Name: "eth", Calls: 6, Failures: 5, Refused: 1}, {Name: "unasked", Up: true}}
		},
	})
	m.LoggedIn("user_password", nil, 30*time.Millisecond)
	m.LoggedIn("user_password", fault.New(fault.Unauthenticated, "no"), 10*time.Millisecond)
	m.Refreshed(nil)
	m.Refreshed(fault.New(fault.Unauthenticated, "no").Because("token_reuse"))
	m.Validated(gate.Nginx, "", false, time.Microsecond)
	m.Validated(gate.Nginx, "token_expired", false, time.Microsecond)
	m.Validated(gate.Nginx, "", true, time.Microsecond)
	m.Panicked()
	m.Reloaded(true)
	m.Reloaded(false)
	m.Audited(audit.KeyRevoked)
	m.Audited(audit.LoggedIn)
	m.Stored(true, 3*time.Millisecond, false)
	m.Stored(true, 30*time.Second, true)
	m.Stored(false, time.Microsecond, false)
	text := scrape(t, m)
	for _, want := range []string{
		`mero_auth_logins_total{outcome="success",provider="user_password"} 1`,
		`mero_auth_logins_total{outcome="unauthenticated",provider="user_password"} 1`,
		`mero_auth_refreshes_total{outcome="success"} 1`,
		`mero_auth_refreshes_total{outcome="token_reuse"} 1`,
		`mero_auth_validate_total{proxy="nginx",result="allowed"} 1`,
		`mero_auth_validate_total{proxy="nginx",result="token_expired"} 1`,
		`mero_auth_validate_total{proxy="nginx",result="error"} 1`,
		`mero_auth_validate_duration_seconds_count 3`,
		`mero_auth_token_cache_hits_total 30`,
		`mero_auth_token_cache_misses_total 10`,
		`mero_auth_live{kind="root_key"} 2`,
		`mero_auth_live{kind="client_key"} 11`,
		`mero_auth_live{kind="session"} 13`,
		`mero_auth_rate_limit_decisions_total{decision="allowed",limit="login"} 7`,
		`mero_auth_rate_limit_decisions_total{decision="refused",limit="refresh"} 3`,
		`mero_auth_rate_limit_decisions_total{decision="refused",limit="account"} 2`,
		`mero_auth_rate_limit_decisions_total{decision="delayed",limit="account"} 1`,
		`mero_auth_rate_limit_tracked 9`,
		`mero_auth_audit_dropped_total{place="file"} 4`,
		`mero_auth_audit_dropped_total{place="refusals"} 5`,
		`mero_auth_audit_events_total{action="key.revoked"} 1`,
		`mero_auth_rpc_up{provider="near"} 1`,
		`mero_auth_rpc_up{provider="eth"} 0`,
		`mero_auth_rpc_calls_total{provider="near"} 10`,
		`mero_auth_rpc_failures_total{provider="near",reason="failed"} 4`,
		`mero_auth_rpc_failures_total{provider="eth",reason="not_asked"} 1`,
		`mero_auth_store_duration_seconds_count{kind="write"} 2`,
		`mero_auth_store_duration_seconds_count{kind="read"} 1`,
		`mero_auth_store_errors_total{kind="write"} 1`,
		`mero_auth_panics_total 1`,
		`mero_auth_config_reloads_total{result="applied"} 1`,
		`mero_auth_config_reloads_total{result="refused"} 1`,
		`mero_auth_build_info{version="1.2.3"} 1`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(text, `mero_auth_rpc_up{provider="unasked"}`) || !strings.Contains(text, `mero_auth_rpc_calls_total{provider="unasked"} 0`) {
		t.Error("a service that was never asked is called up or down")
	}
	got := m.Totals()
	if got.AuthAttempts != 2 || got.AuthSuccessRate != 50 || got.AuthAvgDurationMS != 20 || got.TokenRefreshes != 1 || got.TokenRevocations != 1 {
		t.Errorf("totals %+v", got)
	}
}

// Without sources, as in tests and when a provider has no RPC, there is nothing to read and nothing breaks.
func TestScrape_NoSources(t *testing.T) {
	m := newMetrics()
	m.Watch(metrics.Sources{})
	if text := scrape(t, m); strings.Contains(text, "mero_auth_live") || !strings.Contains(text, "mero_auth_build_info") {
		t.Error("metrics of sources that are not there")
	}
	if got := m.Totals(); got.AuthSuccessRate != 0 || got.AuthFailuresByType == nil {
		t.Errorf("totals of nothing: %+v", got)
	}
}

// Attack: make the metrics grow by what is sent. The number of series stays the same.
func TestCardinality_IsBounded(t *testing.T) {
	m := newMetrics()
	series := func() int { return strings.Count(scrape(t, m), "\n") }
	use := func(i int) {
		m.Served(fmt.Sprintf("BREW%d", i), "/auth/token", 200, time.Millisecond)
		m.Validated(gate.Form(fmt.Sprint("form", i)), fmt.Sprint("reason", i), false, time.Microsecond)
		m.Validated(gate.Nginx, fmt.Sprint("reason", i), false, time.Microsecond)
		m.LoggedIn("unknown", fmt.Errorf("error %d", i), time.Millisecond)
		m.Refreshed(fmt.Errorf("error %d", i))
	}
	use(0)
	before := series()
	for i := range 1000 {
		use(i)
	}
	if after := series(); after != before {
		t.Errorf("%d lines after a thousand odd requests, %d before", after, before)
	}
}

func TestTime(t *testing.T) {
	m := newMetrics()
	now := time.Unix(1e9, 0)
	raw := memory.New()
	db := m.Time(raw, func() time.Time {
		now = now.Add(time.Millisecond)
		return now
	})
	refused := errors.New("refused")
	err := errors.Join(
		db.Update(t.Context(), func(tx kv.Tx) error { return tx.Put("b", "k", []byte("v")) }),
		db.View(t.Context(), func(tx kv.Tx) error {
			_, err := tx.Get("b", "k")
			return err
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), func(kv.Tx) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("a refusal: %v", err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context, func(kv.Tx) error) error{db.View, db.Update} {
		if err := run(t.Context(), func(kv.Tx) error { return nil }); !errors.Is(err, kv.ErrClosed) {
			t.Errorf("a closed store: %v", err)
		}
	}
	text := scrape(t, m)
	for _, want := range []string{
		`mero_auth_store_duration_seconds_count{kind="write"} 3`, `mero_auth_store_duration_seconds_count{kind="read"} 2`,
		`mero_auth_store_errors_total{kind="write"} 1`, `mero_auth_store_errors_total{kind="read"} 1`,
		`mero_auth_store_duration_seconds_bucket{kind="write",le="0.0001"} 0`, `mero_auth_store_duration_seconds_bucket{kind="write",le="0.001"} 3`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func BenchmarkValidated(b *testing.B) {
	m := newMetrics()
	b.ReportAllocs()
	for b.Loop() {
		m.Validated(gate.Nginx, "", false, 3*time.Microsecond)
	}
}
