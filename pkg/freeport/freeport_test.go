package freeport_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/calimero-network/mero-go/pkg/freeport"
)

func TestPort(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		port := freeport.Port()
		if n, err := strconv.Atoi(port); err != nil || n < 1024 || n >= 32768 || seen[port] {
			t.Errorf("port %s: %v; want another one below the range of outgoing connections", port, err)
		}
		seen[port] = true
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Errorf("port %s is not free: %v", port, err)
			continue
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A port that is taken is passed over.
func TestAddr_PassesOverWhatIsTaken(t *testing.T) {
	_, port, err := net.SplitHostPort(freeport.Addr())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	next := net.JoinHostPort("127.0.0.1", strconv.Itoa(n+1))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", next)
	if err == nil { // otherwise somebody else has it, which will do
		defer func() { _ = l.Close() }()
	}
	if got := freeport.Addr(); got == next {
		t.Errorf("Addr returned %s, which is taken", got)
	}
}
