package serve_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/serve"
)

// dialed is what a client sees of a connection: whether somebody has greeted it.
func dialed(t *testing.T, address string) (conn net.Conn, greeted chan error) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed
	greeted = make(chan error, 1)
	go func() {
		_, err := io.ReadFull(conn, make([]byte, 1))
		greeted <- err
	}()
	return conn, greeted
}

// Connections beyond the limit wait, and get in as soon as one is closed.
func TestLimit(t *testing.T) {
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := serve.Limit(inner, 2)
	var mu sync.Mutex
	var open, most int
	accepted := make(chan net.Conn, 8)
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			mu.Lock()
			open++
			most = max(most, open)
			mu.Unlock()
			_, _ = conn.Write([]byte{1}) // the client tells
			accepted <- conn
		}
	}()
	served := make([]chan error, 5)
	for i := range served {
		_, served[i] = dialed(t, l.Addr().String())
	}
	for range served {
		conn := <-accepted
		if _, is := conn.(io.ReaderFrom); !is {
			t.Error("files are copied by hand")
		}
		if _, is := conn.(interface{ CloseWrite() error }); !is {
			t.Error("the half-close of net/http is lost")
		}
		mu.Lock()
		open--
		mu.Unlock()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		_ = conn.Close() // a second one makes no room
	}
	for i, greeted := range served {
		if err := <-greeted; err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if most > 2 {
		t.Errorf("%d connections were open at once, want 2 at most", most)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v, want net.ErrClosed", err)
	}
}

// A full listener can be closed: Accept does not wait for room for ever.
func TestLimit_CloseWhileFull(t *testing.T) {
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := serve.Limit(inner, 1)
	_, greeted := dialed(t, l.Addr().String())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept = %v, want net.ErrClosed", err)
		}
	case <-time.After(time.Minute):
		t.Error("Accept still waits")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := <-greeted; err == nil {
		t.Error("nobody greeted, and something came")
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}
