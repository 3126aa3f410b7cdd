package httpapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
)

func TestOperatorListener(t *testing.T) {
	a := startAPI(t)
	ready := errors.New("the disk at /secret/path is full")
	var log apiLog
	h := httpapi.Operator(a.deps.Metrics, func(context.Context) error { return ready }, slog.New(slog.NewJSONHandler(&log, nil)))
	get := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
		return w
	}
	if w := get("GET", "/readyz"); w.Code != 503 || strings.Contains(w.Body.String(), "secret") || w.Body.String() != "{\"status\":\"not ready\"}\n" {
		t.Errorf("/readyz of a broken store: %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "the disk at /secret/path is full") {
		t.Errorf("the log does not say why: %s", log.String())
	}
	if w := get("GET", "/healthz"); w.Code != 200 || w.Body.String() != "{\"status\":\"alive\"}\n" {
		t.Errorf("/healthz: %d %s", w.Code, w.Body)
	}
	ready = nil
	if w := get("GET", "/readyz"); w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("/readyz: %d %v", w.Code, w.Header())
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} { // read-only until requests are signed
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			if w := get(method, path); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || w.Body.String() != `{"data":null,"error":"method not allowed"}`+"\n" {
				t.Errorf("%s %s: %d %v %s, want 405 in the envelope", method, path, w.Code, w.Header(), w.Body)
			}
		}
		if w := get("HEAD", path); w.Code != 200 {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/", "/admin/keys", "/auth/token", "/debug/pprof/"} {
		if w := get("GET", path); w.Code != 404 || w.Header().Get("Content-Type") != "application/json" || w.Body.String() != `{"data":null,"error":"no such route"}`+"\n" {
			t.Errorf("GET %s: %d %s, want 404 in the envelope", path, w.Code, w.Body)
		}
	}
}

// No label of a metric comes from a client: whoever invents names would fill the memory of both ends.
func TestMetrics_NoClientText(t *testing.T) {
	a := startAPI(t, withTrouble)
	pair := a.logIn(t, "alice")
	for _, name := range []string{"client-text-1", "client-text-2"} {
		a.call(t, "GET", "/"+name, "", nil)
		a.call(t, strings.ToUpper(strings.ReplaceAll(name, "-", "")), "/auth/health", "", nil)
		a.call(t, "DELETE", "/admin/keys/"+name, pair.Access, nil)
		body := a.loginBody(name)
		body["auth_method"] = name
		a.call(t, "POST", "/auth/token", "", body)
		a.call(t, "POST", "/auth/refresh", "", map[string]string{"access_token": name, "refresh_token": name})
	}
	a.call(t, "POST", "/auth/token", "", troubledBody("panic"))
	w := httptest.NewRecorder()
	a.deps.Metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", http.NoBody))
	text := w.Body.String()
	if strings.Contains(strings.ToLower(text), "client-text") || strings.Contains(strings.ToLower(text), "clienttext") {
		t.Error("a metric holds text of a client")
	}
	for _, want := range []string{
		`mero_auth_http_requests_total{method="GET",route="none",status="404"} 2`,
		`mero_auth_http_requests_total{method="other",route="none",status="405"} 2`,
		`mero_auth_http_requests_total{method="DELETE",route="/admin/keys/{key_id}",status="404"} 2`,
		`mero_auth_http_requests_total{method="POST",route="/auth/token",status="500"} 1`,
		`mero_auth_logins_total{outcome="unauthenticated",provider="unknown"} 2`,
		`mero_auth_logins_total{outcome="success",provider="user_password"} 1`,
		`mero_auth_refreshes_total{outcome="unauthenticated"} 2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}
