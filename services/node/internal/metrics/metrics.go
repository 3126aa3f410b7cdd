// Package metrics counts what the node does and writes it in the Prometheus text format. Nothing that a caller
// chooses becomes a label: routes appear as their pattern, context and blob ids not at all.
package metrics

import (
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/calimero-network/mero-go/pkg/buildinfo"
)

// Unmatched is the path label of requests without a route.
const Unmatched = "unmatched"

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions,
}

// Totals are the figures that are kept elsewhere and read at each scrape.
type Totals struct {
	// From the store. They are left out of a scrape when it cannot be read.
	Blobs, BlobBytes, Contexts, Applications int64
	LoggedEvents, LoggedEventBytes           int64

	Connections        int64 // that the HTTP servers hold, upgraded ones not included
	Events, Deliveries uint64
	Subscribers        int
	Streams            map[string]int // by kind
	Ended              []Ended
	CertificateEnds    time.Time // zero without TLS
}

// Ended counts streams of a kind that ended for a reason. Both are words of fixed sets.
type Ended struct {
	Kind, Reason string
	Count        uint64
}

// Metrics is one node's registry. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	sources  []Source
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	denials  *prometheus.CounterVec
	uploaded prometheus.Counter
	executed *prometheus.CounterVec
	ran      *prometheus.HistogramVec
}

// New returns a registry that asks totals at each scrape.
func New(totals func() (Totals, error)) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "HTTP requests by method, route pattern and class of status.",
		}, []string{"method", "path", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time from the request's head to the end of the answer.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 60},
		}, []string{"method", "path"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "http_requests_in_flight", Help: "HTTP requests that are being served, streams included.",
		}),
		denials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_denials_total", Help: "Requests refused for want of an identity or a permission, by the machine code of the answer.",
		}, []string{"code"}),
		uploaded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "merod_blob_uploaded_bytes_total", Help: "Bytes of the blobs that were stored.",
		}),
		executed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "context_runtime_execution_count_total", Help: "Calls of methods of applications, by whether they succeeded.",
		}, []string{"status"}),
		ran: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "context_runtime_execution_duration_seconds", Help: "Time that calls of methods of applications took, without waiting for their turn and for the disk.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .1, .5, 2.5, 10, 30},
		}, []string{"status"}),
	}
	for _, status := range []string{succeeded, failed} { // so that the first scrape shows them
		m.executed.WithLabelValues(status)
		m.ran.WithLabelValues(status)
	}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "merod_build_info", Help: "1, with the version as a label.",
		ConstLabels: prometheus.Labels{"version": buildinfo.Version, "commit": buildinfo.Commit},
	}, func() float64 { return 1 })
	m.registry.MustRegister(m.requests, m.duration, m.inFlight, m.denials, m.uploaded, m.executed, m.ran, build, elsewhere(totals),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Source has figures of its own, under names that the node does not use.
type Source = prometheus.Gatherer

// Add lets scrapes show the figures of another source too. It must come before them.
func (m *Metrics) Add(s Source) { m.sources = append(m.sources, s) }

// Streamed stands for the time of a request whose answer was a stream: it says nothing about the node's speed.
const Streamed time.Duration = -1

// Begin counts a request that starts; the function it returns ends it.
func (m *Metrics) Begin() (end func(method, pattern string, status int, took time.Duration)) {
	m.inFlight.Inc()
	return func(method, pattern string, status int, took time.Duration) {
		m.inFlight.Dec()
		if !slices.Contains(methods, method) {
			method = "other"
		}
		if pattern == "" {
			pattern = Unmatched
		}
		m.requests.WithLabelValues(method, pattern, strconv.Itoa(status/100)+"xx").Inc()
		if took != Streamed {
			m.duration.WithLabelValues(method, pattern).Observe(took.Seconds())
		}
	}
}

// Denied counts a refusal by its machine code.
func (m *Metrics) Denied(code string) { m.denials.WithLabelValues(code).Inc() }

// Uploaded counts a stored blob of n bytes.
func (m *Metrics) Uploaded(n int64) { m.uploaded.Add(float64(n)) }

// The outcomes of an execution.
const (
	succeeded = "success"
	failed    = "failure"
)

// Executed counts a call of a method of an application.
func (m *Metrics) Executed(took time.Duration, ok bool) {
	status := failed
	if ok {
		status = succeeded
	}
	m.executed.WithLabelValues(status).Inc()
	m.ran.WithLabelValues(status).Observe(took.Seconds())
}

// Handler answers scrapes. Errors go to log.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	all := append(prometheus.Gatherers{m.registry}, m.sources...)
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError,
		EnableOpenMetrics: true, // for scrapers that ask for it
	})
}
