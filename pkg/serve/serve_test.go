package serve_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/freeport"
	"github.com/calimero-network/mero-go/pkg/serve"
)

// listen takes a port that nobody else gets when it is closed.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", freeport.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRun_AnswersARequestInFlightBeforeItStops(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	ctx, cancel := context.WithCancel(t.Context())
	l := listen(t)
	stopping, result := make(chan struct{}), make(chan error, 1)
	go func() {
		result <- serve.Run(ctx, time.Minute, func() { close(stopping) }, serve.New("t", l, h, 4096, slog.New(slog.DiscardHandler)))
	}()
	body := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			body <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		body <- string(b)
	}()
	<-started
	cancel()
	<-stopping
	close(release)
	if got := <-body; got != "done" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-result; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRun_CutsWhatOutlivesTheDrain(t *testing.T) {
	started := make(chan struct{})
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	l := listen(t)
	result := make(chan error, 1)
	go func() {
		result <- serve.Run(ctx, time.Millisecond, nil, serve.New("t", l, h, 4096, slog.New(slog.DiscardHandler)))
	}()
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err == nil {
			res.Body.Close()
		}
	}()
	<-started
	cancel()
	if err := <-result; err == nil {
		t.Error("Run reported a clean stop although it cut a request")
	}
}

// A connection that was opened and never used does not make a stop fail. A machine that stands still for two seconds could
// make it look so, hence the tries.
func TestRun_SilentConnectionDoesNotHoldUpTheStop(t *testing.T) {
	var err error
	for range 5 {
		served := make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		l := listen(t)
		server := serve.New("t", l, http.NotFoundHandler(), 4096, slog.New(slog.DiscardHandler))
		server.HTTP.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				served <- struct{}{}
			}
		}
		result := make(chan error, 1)
		go func() { result <- serve.Run(ctx, 4*time.Second, nil, server) }() // net/http itself waits for five
		conn, dialErr := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if dialErr != nil {
			t.Fatal(dialErr)
		}
		<-served
		cancel()
		err = <-result
		_ = conn.Close() // the server has closed it, too
		if err == nil {
			return
		}
	}
	t.Errorf("Run: %v", err)
}

func TestRun_OneFailingServerStopsTheOthers(t *testing.T) {
	bad := listen(t)
	_ = bad.Close()
	good := listen(t)
	log := slog.New(slog.DiscardHandler)
	err := serve.Run(t.Context(), time.Second, nil,
		serve.New("bad", bad, http.NotFoundHandler(), 4096, log), serve.New("good", good, http.NotFoundHandler(), 4096, log))
	if err == nil {
		t.Fatal("no error from the failing server")
	}
	if _, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", good.Addr().String()); err == nil {
		t.Error("the other server still listens")
	}
}
