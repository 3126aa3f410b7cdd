package app_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// Idle connections take room up to the limit, and whoever comes next waits instead of taking file descriptors that the
// store needs. What is closed makes room.
func TestConnectionLimits(t *testing.T) {
	i := run(t, settings(t, func(c *config.Config) { c.Security.MaxConnections, c.Security.MaxAdminConnections = 3, 2 }))
	data, operators := i.Addr()
	for _, tt := range []struct {
		what, address, path string
		most                int
	}{{"data plane", data.String(), "/auth/health", 3}, {"operators", operators.String(), "/healthz", 2}} {
		var open []net.Conn
		ask := func() (net.Conn, *bufio.Reader) {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", tt.address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() }) // it may be closed
			if _, err := io.WriteString(conn, "GET "+tt.path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			return conn, bufio.NewReader(conn)
		}
		answered := func(conn net.Conn, r *bufio.Reader, within time.Duration) bool {
			_ = conn.SetReadDeadline(time.Now().Add(within)) // a TCP connection has deadlines
			line, err := r.ReadString('\n')
			return err == nil && strings.Contains(line, "200")
		}
		for n := range tt.most {
			conn, r := ask()
			if !answered(conn, r, patience) {
				t.Fatalf("%s: connection %d of %d is not served", tt.what, n+1, tt.most)
			}
			open = append(open, conn) // and stays, idle
		}
		late, r := ask()
		if answered(late, r, 300*time.Millisecond) {
			t.Errorf("%s: more than %d connections are served", tt.what, tt.most)
		}
		if err := open[0].Close(); err != nil {
			t.Fatal(err)
		}
		if !answered(late, bufio.NewReader(late), patience) {
			t.Errorf("%s: a connection that was closed made no room", tt.what)
		}
		for _, conn := range append(open[1:], late) {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if res, err := http.Get(i.url + "/auth/health"); err != nil || res.Body.Close() != nil || res.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %v", err)
	}
}
