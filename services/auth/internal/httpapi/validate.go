package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
)

var (
	noStore   = []string{"no-store"}
	jsonType  = []string{"application/json"}
	emptyBody = []string{"0"}
	okBody    = []byte(`{"data":"","error":null}` + "\n")
	okLength  = []string{"25"}
)

// isValidate reports whether the request is a question to the gate. The gate is served before the router: its
// Envoy form takes any method and any target, and it must cost next to nothing. Its address has one spelling: an
// escaped one is the router's, which knows no escapes.
func isValidate(r *http.Request) bool {
	return r.URL.Path == gate.Path && r.URL.RawPath == "" || strings.HasPrefix(r.RequestURI, gate.EnvoyPrefix)
}

// validate answers /auth/validate. It has no effects, so a proxy may ask as often as it likes.
func (s *server) validate(w http.ResponseWriter, r *http.Request) {
	started := s.Now()
	envoy := r.URL.Path != gate.Path
	if !envoy && r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		s.validateMethod(w, r)
		return
	}
	decision, err := s.Gate.Decide(r)
	broken := err != nil && fault.CodeOf(err) == fault.Internal
	if broken && errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		w.WriteHeader(http.StatusInternalServerError) // the proxy is gone; nobody reads it, and nothing is broken
		return
	}
	h := w.Header()
	h["Cache-Control"] = noStore
	switch {
	case err != nil:
		s.deny(w, r, decision, err)
	case decision.Form == gate.Probe:
		decision.WriteIdentity(h)
		s.answerProbe(w, r)
	default:
		decision.WriteIdentity(h)
		h["Content-Length"] = emptyBody
	}
	s.Metrics.Validated(decision.Form, fault.ReasonOf(err), broken, s.Now().Sub(started))
}

// answerProbe writes the rest of a probe's 200, which a client reads and no proxy.
func (s *server) answerProbe(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	s.secure(h)
	s.CORS.Apply(h, r)
	h["Content-Type"], h["Content-Length"] = jsonType, okLength
	if r.Method != http.MethodHead {
		_, _ = w.Write(okBody) // the client is gone; there is nobody to tell
	}
}

// validateMethod answers methods that put no question. A browser's preflight is for the probe: no proxy sends one,
// and a 204 would tell a proxy to let the request pass.
func (s *server) validateMethod(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery == "" && s.CORS.Preflight(w, r) {
		return
	}
	h := w.Header()
	h["Cache-Control"] = noStore
	h.Set("Allow", "GET, HEAD, POST")
	s.CORS.Apply(h, r)
	s.writeDenial(w, r, http.StatusMethodNotAllowed, "method not allowed", true)
}

// deny writes a refusal: 401, 403, or 500 when the gate itself is broken.
func (s *server) deny(w http.ResponseWriter, r *http.Request, d gate.Decision, err error) {
	status := statusOf[fault.CodeOf(err)]
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
	default:
		status = http.StatusInternalServerError
		s.Log.ErrorContext(reqctx.WithRequestID(r.Context(), s.requestID(r)), "the gate is broken", "error", err)
	}
	h := w.Header()
	writeReason(h, status, err)
	s.CORS.Apply(h, r)
	if status == http.StatusUnauthorized {
		if location := s.loginRedirect(r, d.Form); location != "" {
			h.Set("Location", location)
			h.Add("Vary", "Sec-Fetch-Mode, Accept")
			s.writeDenial(w, r, http.StatusFound, fault.MessageOf(err), true)
			return
		}
	}
	// nginx gives up the kept-alive connection after a refusal with a body; its configuration writes the JSON.
	s.writeDenial(w, r, status, fault.MessageOf(err), d.Form != gate.Nginx)
}

// secure sets the headers that tell browsers what not to do.
func (s *server) secure(h http.Header) {
	for name, values := range s.securityHeaders {
		h[name] = values
	}
}

func (s *server) writeDenial(w http.ResponseWriter, r *http.Request, status int, message string, body bool) {
	h := w.Header()
	s.secure(h)
	if !body {
		h["Content-Length"] = emptyBody
		w.WriteHeader(status)
		return
	}
	h["Content-Type"] = jsonType
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(errorBody(message)) //nolint:gosec // JSON with a fixed text; if the client is gone there is nobody to tell
	}
}

// loginRedirect returns where to send a browser that navigates to the node without a good token, or "". Only
// proxies that relay any answer of the gate get it, with an absolute address: Traefik would complete a relative
// one with the gate's own.
func (s *server) loginRedirect(r *http.Request, form gate.Form) string {
	if form != gate.Traefik && form != gate.Caddy || s.PublicURL == "" {
		return ""
	}
	method, host, uri := r.Header.Get("X-Forwarded-Method"), r.Header.Get("X-Forwarded-Host"), r.Header.Get("X-Forwarded-Uri")
	if method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" || !strings.Contains(r.Header.Get("Accept"), "text/html") ||
		!gate.ParseNodeBinding(s.PublicURL).Matches(host) || !strings.HasPrefix(uri, "/") || strings.HasPrefix(uri, "//") {
		return ""
	}
	return s.PublicURL + "/auth/login?callback-url=" + url.QueryEscape(s.PublicURL+uri)
}
