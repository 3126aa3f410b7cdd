package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
)

// sink is a ResponseWriter without a connection.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// BenchmarkValidate is one question to the handler of the data plane: all that the gate costs beyond the HTTP library.
func BenchmarkValidate(b *testing.B) {
	s := authtest.Start(b)
	root := s.Root(b, "admin")
	client := s.Client(b, root, "context:list")
	for name, c := range map[string]struct {
		token  string
		status int
	}{"allow": {client.Access, 0}, "deny": {"", http.StatusUnauthorized}} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/auth/validate?proxy=nginx", http.NoBody)
			r.RemoteAddr = "127.0.0.1:40000"
			r.Header = http.Header{"X-Original-Uri": {contexts}, "X-Original-Method": {"GET"}, "X-Original-Host": {"node.example.com"}}
			if c.token != "" {
				r.Header["Authorization"] = []string{"Bearer " + c.token}
			}
			w := &sink{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				s.Handler.ServeHTTP(w, r)
				if w.status != c.status {
					b.Fatal(w.status)
				}
			}
		})
	}
}
