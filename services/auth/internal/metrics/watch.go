package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
)

// Sources are asked for their numbers whenever the metrics are read. They must be quick and safe for concurrent use; a
// nil one is left out.
type Sources struct {
	Limits func() limit.Counts
	Audit  func() audit.Losses
	Live   func() Live
	RPC    func() []RPC // in a fixed order
}

// Live is what can be used now.
type Live struct {
	RootKeys, ClientKeys int64 // not revoked
	Sessions             int64 // neither ended nor swept after their last token expired
}

// RPC is the state of one outside service that a provider asks.
type RPC struct {
	Name     string // of the provider: never a URL, which may hold a key
	Up       bool   // questions are put: the circuit breaker is closed
	Calls    uint64 // however they ended
	Failures uint64 // of them without a usable answer
	Refused  uint64 // of them not put at all: the breaker was open, or too many were waiting
}

// Watch adds the numbers of the sources. Call it once.
func (m *Metrics) Watch(s Sources) { m.registry.MustRegister(watcher{s}) }

// watcher turns the sources' numbers into metrics.
type watcher struct{ Sources }

var (
	descDecisions = desc("rate_limit_decisions_total", "Decisions of the rate limits, by what was limited and decision.", "limit", "decision")
	descTracked   = desc("rate_limit_tracked", "Addresses and accounts that the rate limits remember.")
	descLost      = desc("audit_dropped_total", "Audit records that are missing in a place, by place: lines of the file, refusals that share a record.", "place")
	descLive      = desc("live", "Keys that are not revoked and sessions that have not ended, by kind.", "kind")
	descRPCUp     = desc("rpc_up", "1 while the provider's outside service is asked, 0 while it is given a rest after failures; absent before the first question.", "provider")
	descRPCCalls  = desc("rpc_calls_total", "Questions to the provider's outside service, however they ended.", "provider")
	descRPCFailed = desc("rpc_failures_total", "Questions without an answer, by what was missing: the service failed, or it was not asked.", "provider", "reason")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mero_auth_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (w watcher) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDecisions, descTracked, descLost, descLive, descRPCUp, descRPCCalls, descRPCFailed} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (w watcher) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if w.Limits != nil {
		c := w.Limits()
		for _, class := range limit.Classes {
			counter(descDecisions, c.Allowed[class], string(class), "allowed")
			counter(descDecisions, c.Refused[class], string(class), "refused")
		}
		counter(descDecisions, c.RefusedAccount, "account", "refused")
		counter(descDecisions, c.Delayed, "account", "delayed")
		gauge(descTracked, float64(c.Tracked))
	}
	if w.Audit != nil {
		lost := w.Audit()
		counter(descLost, lost.File, "file")
		counter(descLost, lost.Merged, "refusals")
	}
	if w.Live != nil {
		live := w.Live()
		gauge(descLive, float64(live.RootKeys), "root_key")
		gauge(descLive, float64(live.ClientKeys), "client_key")
		gauge(descLive, float64(live.Sessions), "session")
	}
	if w.RPC != nil {
		for _, r := range w.RPC() {
			if r.Calls > 0 { // before the first question nobody knows
				up := 0.0
				if r.Up {
					up = 1
				}
				gauge(descRPCUp, up, r.Name)
			}
			counter(descRPCCalls, r.Calls, r.Name)
			counter(descRPCFailed, r.Failures, r.Name, "failed")
			counter(descRPCFailed, r.Refused, r.Name, "not_asked")
		}
	}
}

// watchStore makes the histogram of the store. Its values are those of a disk: from a cached read to a flush that hangs.
func (m *Metrics) watchStore() {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "mero_auth_store_duration_seconds", Help: "Time of a transaction of the store, by kind.",
		Buckets: []float64{1e-5, 1e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 5},
	}, []string{"kind"})
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mero_auth_store_errors_total", Help: "Transactions that the store itself failed, by kind.",
	}, []string{"kind"})
	m.store, m.storeErrs = make(map[bool]prometheus.Observer, 2), make(map[bool]prometheus.Counter, 2)
	for writes, kind := range map[bool]string{false: "read", true: "write"} {
		m.store[writes], m.storeErrs[writes] = took.WithLabelValues(kind), failed.WithLabelValues(kind)
	}
	m.registry.MustRegister(took, failed)
}

// Stored counts one transaction of the store.
func (m *Metrics) Stored(writes bool, took time.Duration, failed bool) {
	m.store[writes].Observe(took.Seconds())
	if failed {
		m.storeErrs[writes].Inc()
	}
}
