package metrics_test

import (
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/metrics"
)

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
	return w.Body.String()
}

func TestScrape_BrokenStoreHidesOnlyItsOwnFigures(t *testing.T) {
	var err error
	m := metrics.New(func() (metrics.Totals, error) { return metrics.Totals{Blobs: 3, BlobBytes: 4, Contexts: 5}, err })
	end := m.Begin()
	if got := scrape(t, m); !strings.Contains(got, "\nhttp_requests_in_flight 1\n") || !strings.Contains(got, "\nmerod_blobs 3\n") || !strings.Contains(got, "\nmerod_blob_bytes 4\n") || !strings.Contains(got, "\nmerod_contexts 5\n") {
		t.Errorf("scrape:\n%s", got)
	}
	err = errors.New("gone")
	end("BREW", "", 404, time.Second)
	got := scrape(t, m)
	if strings.Contains(got, "merod_blobs ") || !strings.Contains(got, `http_requests_total{method="other",path="unmatched",status="4xx"} 1`) || !strings.Contains(got, "\nhttp_requests_in_flight 0\n") {
		t.Errorf("scrape with a broken store:\n%s", got)
	}
}
