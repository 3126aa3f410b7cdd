package freeport_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/calimero-network/mero-go/pkg/freeport"
)

const child = "MERO_TEST_FREEPORT_CHILD"

// TestMain lets TestAddr_OtherProcess run the test program as a second process: it prints ports until its input ends.
func TestMain(m *testing.M) {
	if os.Getenv(child) == "" {
		os.Exit(m.Run())
	}
	var ports []string
	for range 200 {
		ports = append(ports, freeport.Port())
	}
	_, _ = os.Stdout.WriteString(strings.Join(ports, "\n") + "\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("listening on %s: %v", addr, err)
	}
	return l
}

// Whoever has the address can listen on it, as often as it likes.
func TestAddr_Listen(t *testing.T) {
	addr := freeport.Addr()
	for range 3 {
		l := listen(t, addr)
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(conn.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	}
}

// Nobody else gets it: neither another call, nor a listener on port 0, nor a connection.
func TestAddr_Reserved(t *testing.T) {
	taken := map[string]bool{}
	for range 200 {
		addr := freeport.Addr()
		if taken[addr] {
			t.Fatalf("%s twice", addr)
		}
		taken[addr] = true
	}
	target := listen(t, "127.0.0.1:0")
	defer func() { _ = target.Close() }()
	for range 200 {
		l := listen(t, "127.0.0.1:0")
		defer func() { _ = l.Close() }()
		if taken[l.Addr().String()] {
			t.Errorf("a listener on port 0 got %s", l.Addr())
		}
	}
	for addr := range taken {
		local, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := (&net.Dialer{LocalAddr: local}).DialContext(t.Context(), "tcp", target.Addr().String())
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a connection from %s: %v, want %v", addr, err, syscall.EADDRINUSE)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

func TestAddr_OtherProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), child+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for range 200 {
		own[freeport.Port()] = true
	}
	var text strings.Builder
	for buf := make([]byte, 4096); strings.Count(text.String(), "\n") < 200; {
		n, err := stdout.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after %q", err, text.String())
		}
	}
	for port := range strings.FieldsSeq(text.String()) {
		if own[port] {
			t.Errorf("both processes have port %s", port)
		}
	}
	if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
}
