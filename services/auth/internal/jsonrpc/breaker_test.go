package jsonrpc_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc/jsonrpctest"
)

func TestBreaker(t *testing.T) {
	s := jsonrpctest.Start(t, jsonrpctest.Status(500, ""))
	c, now := newClient(t, s)
	state := func(want jsonrpc.State, calls, failures, refused uint64) {
		t.Helper()
		if h := c.Health(); h != (jsonrpc.Health{Name: "near", Calls: calls, Failures: failures, Refused: refused, State: want}) {
			t.Errorf("Health = %+v, want %s after %d calls, %d failures, %d refused", h, want, calls, failures, refused)
		}
	}
	for range 4 {
		_, err := call(t, c)
		wantUnavailable(t, "failing", err, "500")
	}
	state(jsonrpc.Closed, 4, 4, 0)
	_, err := call(t, c)
	wantUnavailable(t, "failing", err, "500")
	state(jsonrpc.Open, 5, 5, 0)
	if len(s.Requests()) != 5 {
		t.Error("not every failing call reached the server")
	}
	for range 3 {
		_, err = call(t, c)
		wantUnavailable(t, "open", err, "not asked")
	}
	now.advance(10*time.Second - 1)
	_, err = call(t, c)
	wantUnavailable(t, "just before the end", err, "not asked")
	state(jsonrpc.Open, 9, 5, 4)
	if n := len(s.Requests()); n != 0 {
		t.Errorf("an open breaker let %d requests through", n)
	}
	now.advance(1)
	state(jsonrpc.HalfOpen, 9, 5, 4)
	_, err = call(t, c)
	wantUnavailable(t, "half-open", err, "500")
	state(jsonrpc.Open, 10, 6, 4)
	_, err = call(t, c)
	wantUnavailable(t, "open again", err, "not asked")
	now.advance(10 * time.Second)
	s.Set(jsonrpctest.Result(`1`))
	if _, err := call(t, c); err != nil {
		t.Fatalf("the server is back: %v", err)
	}
	state(jsonrpc.Closed, 12, 6, 5)
	if _, err := call(t, c); err != nil {
		t.Errorf("closed: %v", err)
	}
}

// While one call finds out, the others do not wait for it.
func TestBreaker_HalfOpenLetsOneThrough(t *testing.T) {
	s := jsonrpctest.Start(t, jsonrpctest.Status(500, ""))
	c, now := newClient(t, s)
	for range 5 {
		_, _ = call(t, c)
	}
	now.advance(10 * time.Second)
	asked, release := make(chan struct{}), make(chan struct{})
	s.Set(func(w http.ResponseWriter, r jsonrpctest.Request) {
		close(asked)
		<-release
		jsonrpctest.Result(`1`)(w, r)
	})
	probe := make(chan error)
	go func() {
		_, err := c.Call(context.Background(), "query", nil)
		probe <- err
	}()
	<-asked
	_, err := call(t, c)
	wantUnavailable(t, "beside the probe", err, "not asked")
	close(release)
	if err := <-probe; err != nil {
		t.Errorf("the probe: %v", err)
	}
	if h := c.Health(); h.State != jsonrpc.Closed {
		t.Errorf("Health = %+v, want closed", h)
	}
}

// A server that fails now and then is still asked.
func TestBreaker_FlappingServer(t *testing.T) {
	s := jsonrpctest.Start(t, nil)
	c, _ := newClient(t, s)
	for i := range 40 {
		s.Set(jsonrpctest.Status(503, ""))
		if i%5 == 4 {
			s.Set(jsonrpctest.Result(`1`))
		}
		_, err := call(t, c)
		if (err == nil) != (i%5 == 4) || (err != nil && !strings.Contains(err.Error(), "503")) {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

// Somebody who asks and hangs up, over and over, must not be able to keep the others from logging in.
func TestBreaker_CallersWhoHangUp(t *testing.T) {
	s := jsonrpctest.Start(t, nil)
	c, now := newClient(t, s)
	hangUp := func() {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		stall := s.Stall()
		s.Set(func(w http.ResponseWriter, r jsonrpctest.Request) {
			cancel()
			stall(w, r)
		})
		if _, err := c.Call(ctx, "query", nil); !errors.Is(err, context.Canceled) || errors.Is(err, jsonrpc.ErrUnavailable) {
			t.Errorf("Call = %v, want context.Canceled", err)
		}
	}
	for range 10 {
		hangUp()
	}
	if h := c.Health(); h.State != jsonrpc.Closed || h.Failures != 0 || h.Calls != 10 {
		t.Errorf("Health = %+v, want a closed breaker and no failure", h)
	}
	// Nor may the one that probes leave the breaker half-open for good.
	s.Set(jsonrpctest.Status(500, ""))
	for range 5 {
		_, _ = call(t, c)
	}
	now.advance(10 * time.Second)
	hangUp()
	s.Set(jsonrpctest.Result(`1`))
	if _, err := call(t, c); err != nil {
		t.Errorf("after a probe that was given up: %v", err)
	}
}

// What is asked may be of a stranger's making, and so may the length of the answer: it must not keep the others out.
func TestBreaker_HugeAnswers(t *testing.T) {
	s := jsonrpctest.Start(t, jsonrpctest.Result(`"`+strings.Repeat("a", 1<<20)+`"`))
	c, _ := newClient(t, s)
	for range 10 {
		_, err := call(t, c)
		wantUnavailable(t, "huge", err, "longer than")
	}
	if h := c.Health(); h.State != jsonrpc.Closed || h.Failures != 10 {
		t.Errorf("Health = %+v, want a closed breaker and 10 failures", h)
	}
}
