package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
)

// prometheus returns the metrics as a scrape sees them.
func (a *api) prometheus(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	a.deps.Metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", http.NoBody))
	return w.Body.String()
}

// A handler that panics costs its own request and nothing else: 500 in the envelope, a line with the stack, a count.
func TestPanic_IsIsolated(t *testing.T) {
	a := startAPI(t, withTrouble)
	for range 3 {
		r := a.call(t, "POST", "/auth/token", "", troubledBody("panic"))
		if r.status != http.StatusInternalServerError || r.message(t, "panic") != "internal server error" || r.header.Get("X-Request-Id") == "" {
			t.Errorf("panic: %d %v %s", r.status, r.header, r.body)
		}
	}
	a.logIn(t, "alice")
	if text := a.prometheus(t); !strings.Contains(text, "\nmero_auth_panics_total 3\n") {
		t.Error("the panics are not counted")
	}
	lines := a.log.lines(t, "request refused")
	stack, _ := lines[len(lines)-1]["error"].(string)
	if !strings.Contains(stack, "troubled.Authenticate") || lines[len(lines)-1]["request_id"] == nil {
		t.Errorf("the log line %v has no stack or request", lines[len(lines)-1])
	}
}

// A panic in the gate is a refusal in every form: 500, no identity, and the service lives.
func TestPanic_InTheGate(t *testing.T) {
	a := startAPI(t)
	pair := a.logIn(t, "alice")
	d := a.deps
	d.Gate = &gate.Gate{
		Sessions: a.deps.Gate.Sessions, Table: route.Node, TrustedProxies: loopback, Log: a.deps.Log,
		Now: func() time.Time { panic("a bug beside " + pair.Access) },
	}
	h, err := httpapi.DataPlane(d)
	if err != nil {
		t.Fatal(err)
	}
	for form, body := range map[string]string{"?proxy=nginx": "", "?proxy=traefik": `{"data":null,"error":"internal server error"}` + "\n"} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/auth/validate"+form, http.NoBody)
		r.RemoteAddr = "127.0.0.1:40000"
		r.Header = http.Header{"Authorization": {"Bearer " + pair.Access}, "X-Request-Id": {"req-7"}}
		if form == "?proxy=nginx" {
			r.Header["X-Original-Uri"], r.Header["X-Original-Method"] = []string{"/admin-api/contexts"}, []string{"GET"}
		} else {
			r.Header["X-Forwarded-Uri"], r.Header["X-Forwarded-Method"] = []string{"/admin-api/contexts"}, []string{"GET"}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusInternalServerError || w.Body.String() != body || w.Header().Get("Cache-Control") != "no-store" ||
			w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v %q", form, w.Code, w.Header(), w.Body)
		}
		for _, name := range identity.Headers {
			if len(w.Header().Values(name)) > 0 {
				t.Errorf("%s: a 500 carries %s", form, name)
			}
		}
	}
	if text := a.prometheus(t); !strings.Contains(text, "\nmero_auth_panics_total 2\n") {
		t.Error("the panics are not counted")
	}
	log := a.log.String()
	if !strings.Contains(log, "panic: string") || !strings.Contains(log, `"request_id":"req-7"`) || strings.Contains(log, pair.Access) {
		t.Errorf("the log does not tell of the panic, or tells too much: %s", log)
	}
}
