package metrics

import "github.com/prometheus/client_golang/prometheus"

// elsewhere collects the totals, all from one look.
type elsewhere func() (Totals, error)

var (
	descBlobs        = prometheus.NewDesc("merod_blobs", "Stored blobs.", nil, nil)
	descBlobBytes    = prometheus.NewDesc("merod_blob_bytes", "Size of the stored blobs in bytes, shared chunks counted for each.", nil, nil)
	descContexts     = prometheus.NewDesc("merod_contexts", "Contexts of the node.", nil, nil)
	descApplications = prometheus.NewDesc("merod_applications", "Installed applications, all versions of one as one.", nil, nil)
	descLogEvents    = prometheus.NewDesc("merod_event_log_events", "Events that are kept for subscribers that come back.", nil, nil)
	descLogBytes     = prometheus.NewDesc("merod_event_log_bytes", "Size of those events in bytes.", nil, nil)
	descConnections  = prometheus.NewDesc("http_connections", "Open connections of the HTTP listeners, without WebSockets.", nil, nil)
	descStreams      = prometheus.NewDesc("merod_streams", "Open streams by kind.", []string{"kind"}, nil)
	descEnded        = prometheus.NewDesc("merod_streams_ended_total", "Streams that ended, by kind and reason.", []string{"kind", "reason"}, nil)
	descSubscribers  = prometheus.NewDesc("merod_event_subscribers", "Streams that can receive events.", nil, nil)
	descEvents       = prometheus.NewDesc("merod_events_total", "Events of contexts and groups.", nil, nil)
	descDeliveries   = prometheus.NewDesc("merod_event_deliveries_total", "Events times the subscribers of their context or group.", nil, nil)
	descCertificate  = prometheus.NewDesc("merod_tls_certificate_not_after_seconds", "When the TLS certificate ends, in Unix seconds.", nil, nil)
)

// Describe implements prometheus.Collector.
func (elsewhere) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBlobs, descBlobBytes, descContexts, descApplications, descLogEvents, descLogBytes, descConnections, descStreams, descEnded,
		descSubscribers, descEvents, descDeliveries, descCertificate,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (e elsewhere) Collect(ch chan<- prometheus.Metric) {
	t, err := e()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descBlobs, err)
	} else {
		for d, n := range map[*prometheus.Desc]int64{
			descBlobs: t.Blobs, descBlobBytes: t.BlobBytes, descContexts: t.Contexts, descApplications: t.Applications,
			descLogEvents: t.LoggedEvents, descLogBytes: t.LoggedEventBytes,
		} {
			send(d, prometheus.GaugeValue, float64(n))
		}
	}
	send(descConnections, prometheus.GaugeValue, float64(t.Connections))
	send(descSubscribers, prometheus.GaugeValue, float64(t.Subscribers))
	send(descEvents, prometheus.CounterValue, float64(t.Events))
	send(descDeliveries, prometheus.CounterValue, float64(t.Deliveries))
	for kind, n := range t.Streams {
		send(descStreams, prometheus.GaugeValue, float64(n), kind)
	}
	for _, x := range t.Ended {
		send(descEnded, prometheus.CounterValue, float64(x.Count), x.Kind, x.Reason)
	}
	if !t.CertificateEnds.IsZero() {
		send(descCertificate, prometheus.GaugeValue, float64(t.CertificateEnds.Unix()))
	}
}
