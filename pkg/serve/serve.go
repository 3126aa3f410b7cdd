// Package serve runs HTTP servers with time-outs and stops them within a bound.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Defaults of a server; they bound what a slow or hostile peer can hold.
const (
	ReadHeaderTimeout = 5 * time.Second
	IdleTimeout       = 75 * time.Second // longer than nginx's keepalive_timeout of 60 s, so that the proxy closes first
	DrainTimeout      = 10 * time.Second
)

// silentTimeout is how long a stop waits for the first byte of a connection that has said nothing yet. Browsers open such
// ones ahead of need; [http.Server.Shutdown] waits for them for five seconds, which is longer than some drains.
const silentTimeout = time.Second

// Server is one listener with its handler.
type Server struct {
	Name     string
	Listener net.Listener
	HTTP     *http.Server

	silent sync.Map // of net.Conn: those that have not sent anything
}

// New returns a server on l with the default time-outs and header limit; errors of the HTTP library go to log.
// maxHeader is in bytes. The caller may set further time-outs on HTTP before [Run].
func New(name string, l net.Listener, h http.Handler, maxHeader int, log *slog.Logger) *Server {
	return &Server{Name: name, Listener: l, HTTP: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: ReadHeaderTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		// The library would answer "OPTIONS *" with 200 before any handler has seen it.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// Run serves until ctx ends or a server fails, calls onStop (if any) before the listeners close so that
// readiness can flip first, then drains all servers for at most drain and returns what went wrong, nil after a
// clean stop. Requests still running after drain are cut. A connection that has sent nothing does not hold up a stop.
func Run(ctx context.Context, drain time.Duration, onStop func(), servers ...*Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(servers))
	for i, s := range servers {
		s.HTTP.ConnState = s.states(s.HTTP.ConnState)
		wg.Go(func() {
			defer cancel()
			if err := s.HTTP.Serve(s.Listener); !errors.Is(err, http.ErrServerClosed) {
				errs[i] = fmt.Errorf("serve %s: %w", s.Name, err)
			}
		})
	}
	<-ctx.Done()
	if onStop != nil {
		onStop()
	}
	// The stop must outlive the context that asked for it.
	stopCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer stop()
	stops := make([]error, len(servers))
	var drains sync.WaitGroup
	for i, s := range servers {
		drains.Go(func() {
			silent := time.AfterFunc(silentTimeout, s.closeSilent)
			defer silent.Stop()
			if err := s.HTTP.Shutdown(stopCtx); err != nil {
				stops[i] = fmt.Errorf("drain %s: %w", s.Name, errors.Join(err, s.HTTP.Close()))
			}
		})
	}
	drains.Wait()
	wg.Wait()
	return errors.Join(append(errs, stops...)...)
}

// states returns a hook that keeps the silent connections, and calls also, which may be nil.
func (s *Server) states(also func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.silent.Store(c, nil)
		case http.StateActive, http.StateClosed:
			s.silent.Delete(c)
		}
		if also != nil {
			also(c, state)
		}
	}
}

func (s *Server) closeSilent() {
	s.silent.Range(func(c, _ any) bool {
		_ = c.(net.Conn).Close() // nobody has asked for anything
		return true
	})
}
