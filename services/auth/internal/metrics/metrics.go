// Package metrics counts what mero-auth does, for Prometheus. No label value ever comes from a client.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
)

// Metrics holds the collectors of one instance.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	logins    *prometheus.CounterVec
	refreshes *prometheus.CounterVec
	renewals  *prometheus.CounterVec
	validated map[gate.Form]*outcomes
	decision  prometheus.Histogram
	panics    prometheus.Counter
	events    *prometheus.CounterVec
	store     map[bool]prometheus.Observer // latency, by "writes"
	storeErrs map[bool]prometheus.Counter
	reloads   *prometheus.CounterVec
	totals    totals
}

// outcomes are the counters of one form of the question, resolved once: the hot path must not hash labels.
type outcomes struct {
	allowed, broken prometheus.Counter
	refused         map[string]prometheus.Counter // by reason
}

var (
	forms   = []gate.Form{gate.Probe, gate.Nginx, gate.Traefik, gate.Caddy, gate.HAProxy, gate.Envoy, gate.Embedded}
	reasons = []string{
		identity.MissingToken, identity.InvalidToken, identity.TokenExpired, identity.TokenRevoked,
		identity.InvalidNode, identity.InvalidTarget, identity.PermissionDenied,
	}
)

// New returns the collectors. cache reports the hits and misses of the token cache.
func New(version string, cache func() (hits, misses uint64)) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mero_auth_http_requests_total", Help: "Requests answered, by method, route pattern and status.",
		}, []string{"method", "route", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mero_auth_http_request_duration_seconds", Help: "Time to answer a request, by route pattern.", Buckets: prometheus.DefBuckets,
		}, []string{"route"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mero_auth_logins_total", Help: "Logins, by provider and outcome.",
		}, []string{"provider", "outcome"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mero_auth_refreshes_total", Help: "Refreshes, by outcome.",
		}, []string{"outcome"}),
		decision: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mero_auth_validate_duration_seconds", Help: "Time to answer a question to the gate.",
			Buckets: []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5},
		}),
		validated: make(map[gate.Form]*outcomes, len(forms)),
	}
	validated := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mero_auth_validate_total", Help: "Questions to the gate, by proxy form and result.",
	}, []string{"proxy", "result"})
	for _, f := range forms {
		name := string(f)
		if f == gate.Probe {
			name = "none"
		}
		of := &outcomes{
			allowed: validated.WithLabelValues(name, "allowed"), broken: validated.WithLabelValues(name, "error"),
			refused: make(map[string]prometheus.Counter, len(reasons)),
		}
		for _, r := range reasons {
			of.refused[r] = validated.WithLabelValues(name, r)
		}
		m.validated[f] = of
	}
	m.watchStore()
	m.panics = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mero_auth_panics_total", Help: "Requests whose handler panicked: each is a bug.",
	})
	m.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mero_auth_audit_events_total", Help: "Records written to the audit, by action.",
	}, []string{"action"})
	m.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mero_auth_config_reloads_total", Help: "Reloads of the configuration, by result.",
	}, []string{"result"})
	m.renewals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mero_auth_renewals_total", Help: "Refreshes whose provider was asked whether the login still holds, by provider and outcome.",
	}, []string{"provider", "outcome"})
	m.registry.MustRegister(m.panics, m.events, m.reloads, m.renewals)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mero_auth_build_info", Help: "Always 1; the version is the label.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	hits := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "mero_auth_token_cache_hits_total", Help: "Tokens that the cache knew.",
	}, func() float64 { h, _ := cache(); return float64(h) })
	misses := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "mero_auth_token_cache_misses_total", Help: "Tokens that had to be verified.",
	}, func() float64 { _, n := cache(); return float64(n) })
	m.registry.MustRegister(m.requests, m.durations, m.logins, m.refreshes, m.decision, validated, build, hits, misses)
	return m
}

// WatchProcess adds the figures of the Go runtime and the process, which is for the program that owns the process.
func (m *Metrics) WatchProcess() {
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Gatherer returns the metrics for a program that shows them among its own. The names of all begin with mero_auth_.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Served counts one answered request. route is the pattern, never the path.
func (m *Metrics) Served(method, route string, status int, elapsed time.Duration) {
	m.requests.WithLabelValues(knownMethod(method), route, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route).Observe(elapsed.Seconds())
}

// knownMethod keeps a client from making labels by inventing methods.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// Validated counts one answer of the gate. reason is "" for an allowed question.
func (m *Metrics) Validated(form gate.Form, reason string, broken bool, elapsed time.Duration) {
	if of, known := m.validated[form]; known {
		switch {
		case broken:
			of.broken.Inc()
		case reason == "":
			of.allowed.Inc()
		default:
			if c, known := of.refused[reason]; known {
				c.Inc()
			}
		}
	}
	m.decision.Observe(elapsed.Seconds())
}

// LoggedIn counts one login and the time that it took. provider must be a configured name.
func (m *Metrics) LoggedIn(provider string, err error, took time.Duration) {
	m.logins.WithLabelValues(provider, outcomeOf(err)).Inc()
	m.totals.login(outcomeOf(err), took)
}

// Refreshed counts one refresh.
func (m *Metrics) Refreshed(err error) {
	m.refreshes.WithLabelValues(outcomeOf(err)).Inc()
	if err == nil {
		m.totals.refreshes.Add(1)
	}
}

// Renewed counts one question to a provider whether a login still holds. provider must be a configured name, outcome one of a
// fixed set.
func (m *Metrics) Renewed(provider, outcome string) {
	m.renewals.WithLabelValues(provider, outcome).Inc()
}

// Panicked counts a handler that panicked.
func (m *Metrics) Panicked() { m.panics.Inc() }

// Audited counts one committed record of the audit.
func (m *Metrics) Audited(action audit.Action) {
	m.events.WithLabelValues(string(action)).Inc()
	switch action {
	case audit.KeyRevoked, audit.SessionRevoked, audit.TokenReused:
		m.totals.revocations.Add(1)
	}
}

// Reloaded counts one reload of the configuration.
func (m *Metrics) Reloaded(ok bool) {
	result := "applied"
	if !ok {
		result = "refused"
	}
	m.reloads.WithLabelValues(result).Inc()
}

const outcomeSuccess = "success"

func outcomeOf(err error) string {
	if err == nil {
		return outcomeSuccess
	}
	if reason := fault.ReasonOf(err); reason != "" {
		return reason
	}
	return string(fault.CodeOf(err))
}
