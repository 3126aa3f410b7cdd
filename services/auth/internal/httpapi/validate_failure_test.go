package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// TestBrokenStoreNeverLetsAnybodyIn closes the store under the service. Tokens that it has not verified before cannot
// be judged: 500, in every form, and the log says why.
func TestBrokenStoreNeverLetsAnybodyIn(t *testing.T) {
	for _, change := range []func(*config.Config){func(*config.Config) {}, authtest.OnDisk} {
		s := authtest.Start(t, change)
		root := s.Root(t, "admin")
		s.Break(t)
		for _, q := range []authtest.Question{
			{},
			{Form: "nginx", Target: contexts},
			{Form: "traefik", Target: contexts},
			{Form: "caddy", Target: contexts},
			{Form: "haproxy", Target: contexts},
			{Address: "/auth/validate/envoy" + contexts},
		} {
			q.Token = root.Access
			for range 2 {
				got := s.Ask(t, q)
				if got.Status != http.StatusInternalServerError {
					t.Errorf("%s: %v, want 500", q.Form, got)
				}
				for _, name := range identity.Headers {
					if len(got.Header.Values(name)) > 0 {
						t.Errorf("%s: a 500 carries %s", q.Form, name)
					}
				}
				if q.Form == "nginx" && got.Body != "" {
					t.Errorf("nginx: body %q", got.Body)
				}
				if strings.Contains(got.Body, "closed") {
					t.Errorf("%s: the body tells what broke: %q", q.Form, got.Body)
				}
			}
		}
		nobody(t, "public route", s.Ask(t, authtest.Question{Form: "nginx", Target: "/admin-api/health", Token: root.Access}))
		if len(s.Log.Lines(`"level":"ERROR"`, "the gate is broken", "closed")) == 0 {
			t.Error("the log does not say that the gate is broken")
		}
		if v := metric(t, s, `mero_auth_validate_total{proxy="nginx",result="error"}`); v != "2" {
			t.Errorf("%s errors counted for nginx, want 2", v)
		}
	}
}

// TestProxyThatLeavesIsNoFailure: when the client is gone the proxy cancels its question. That is not an error of ours.
func TestProxyThatLeavesIsNoFailure(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/auth/validate?proxy=nginx", http.NoBody)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header = http.Header{"X-Original-Uri": {contexts}, "X-Original-Method": {"GET"}, "Authorization": {"Bearer " + root.Access}}
	w := httptest.NewRecorder()
	s.Handler.ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		t.Errorf("status %d for a question that was not decided", w.Code)
	}
	if lines := s.Log.Lines("the gate is broken"); len(lines) > 0 {
		t.Errorf("logged %q", lines)
	}
	if v := metric(t, s, `mero_auth_validate_total{proxy="nginx",result="error"}`); v != "0" {
		t.Errorf("%s errors counted, want 0", v)
	}
}

// metric returns the value of a series on the operators' listener.
func metric(t *testing.T, s *authtest.Service, series string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Operators+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end or the test has failed
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, series+" "); found {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no series %s", series)
	return ""
}

func TestMetricsMove(t *testing.T) {
	s := authtest.Start(t)
	good := s.Root(t, "admin")
	for _, form := range allForms {
		for range 3 {
			s.Ask(t, authtest.Question{Form: form, Target: contexts, Token: good.Access})
		}
		s.Ask(t, authtest.Question{Form: form, Target: contexts})
		for result, want := range map[string]string{"allowed": "3", identity.MissingToken: "1", identity.InvalidToken: "0"} {
			series := `mero_auth_validate_total{proxy="` + form + `",result="` + result + `"}`
			if got := metric(t, s, series); got != want {
				t.Errorf("%s = %s, want %s", series, got, want)
			}
		}
	}
	s.Ask(t, authtest.Question{Token: good.Access})
	for series, want := range map[string]string{
		`mero_auth_validate_total{proxy="none",result="allowed"}`: "1",
		"mero_auth_validate_duration_seconds_count":               "17",
		"mero_auth_token_cache_misses_total":                      "1",
		"mero_auth_token_cache_hits_total":                        "12",
	} {
		if got := metric(t, s, series); got != want {
			t.Errorf("%s = %s, want %s", series, got, want)
		}
	}
}

// TestValidateIsNotLogged: no line above debug for a decision, allowed or refused, and no token anywhere.
func TestValidateIsNotLogged(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	lines := func() int { // but for that of the start, which may come late
		isStart := func(line string) bool { return strings.Contains(line, "mero-auth is up") }
		return len(slices.DeleteFunc(s.Log.Lines(`"level":"INFO"`), isStart))
	}
	before := lines()
	for range 3 {
		s.Ask(t, authtest.Question{Form: "nginx", Target: "/ws?token=" + root.Access})
		s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: root.Access})
		s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: "bad." + root.Access})
	}
	if after := lines(); after != before {
		t.Errorf("%d lines for nine decisions", after-before)
	}
	for _, level := range []string{"WARN", "ERROR"} {
		if lines := s.Log.Lines(`"level":"` + level + `"`); len(lines) > 0 {
			t.Errorf("%q", lines)
		}
	}
	if lines := s.Log.Lines(root.Access); len(lines) > 0 {
		t.Errorf("a token was logged: %q", lines)
	}
}
