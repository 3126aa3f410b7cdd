// Package authtest runs a whole mero-auth for tests: the App that the command runs, on loopback ports of its own,
// with a clock that stands still until it is moved and a log that can be searched. Keys and tokens are minted
// below the HTTP surface, so that a test says what a token holds and not how somebody would come by it.
package authtest

import (
	"context"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/shortdir"
	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// Epoch is the time at which the clock of a Service starts.
var Epoch = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// Clock is a clock that only Advance moves. It is safe for concurrent use.
type Clock struct{ nanos atomic.Int64 }

// NewClock returns a clock that shows now.
func NewClock(now time.Time) *Clock {
	c := new(Clock)
	c.nanos.Store(now.UnixNano())
	return c
}

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time { return time.Unix(0, c.nanos.Load()).UTC() }

// Advance moves the clock forward.
func (c *Clock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

// Service is a running mero-auth.
type Service struct {
	app.Parts
	Config    config.Config
	Addr      string // of the data plane
	Operators string // address of /healthz, /readyz and /metrics
	Clock     *Clock
	Log       *Log

	stop   func() error // of the service, once
	broken bool
}

// Start runs a mero-auth until the test ends. Its store is in memory and every peer on 127.0.0.0/8 is a trusted
// proxy, and there are no rate limits, unless a change says otherwise.
func Start(t testing.TB, changes ...func(*config.Config)) *Service {
	t.Helper()
	return StartAt(t, Epoch, changes...)
}

// StartAt is Start with a clock that starts at now.
func StartAt(t testing.TB, now time.Time, changes ...func(*config.Config)) *Service {
	t.Helper()
	s := &Service{Config: settings(t), Clock: NewClock(now), Log: new(Log)}
	for _, change := range changes {
		change(&s.Config)
	}
	s.Config = s.Config.Resolve()
	ctx, cancel := context.WithCancel(context.Background())
	a, err := app.New(ctx, s.Config, app.Options{Now: s.Clock.Now, Log: s.Log.logger()})
	if err != nil {
		cancel()
		t.Fatalf("start mero-auth: %v", err)
	}
	data, operators := a.Addr()
	s.Parts, s.Addr, s.Operators = a.Parts(), data.String(), operators.String()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { s.Stop(t) })
	return s
}

// Stop ends the service before the test does, so that another process can have its store.
func (s *Service) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(); err != nil && !s.broken {
		t.Errorf("stop mero-auth: %v", err)
	}
}

// settings are the defaults on ports and in folders of this test alone. The folder's name is short because the
// path of a Unix socket is limited to 107 bytes and the control socket lies in it.
func settings(t testing.TB) config.Config {
	t.Helper()
	dir := shortdir.New(t)
	c := config.Defaults()
	c.ListenAddr, c.AdminAddr = "127.0.0.1:0", "127.0.0.1:0"
	c.Storage.Type, c.Storage.Path = "memory", filepath.Join(dir, "s")
	c.Node.EnforcesPermissions = true
	c.Security.RateLimit.RPM = 0 // everything comes from one address at one time
	return c
}

// OnDisk stores the records in bbolt instead of memory.
func OnDisk(c *config.Config) { c.Storage.Type = "bbolt" }

// Trusting makes the given addresses or networks the only trusted proxies.
func Trusting(prefixes ...string) func(*config.Config) {
	return func(c *config.Config) {
		c.Forward.TrustedProxies = nil
		for _, p := range prefixes {
			c.Forward.TrustedProxies = append(c.Forward.TrustedProxies, netip.MustParsePrefix(p))
		}
	}
}

// Break closes the store under the running service, as a failing disk would.
func (s *Service) Break(t testing.TB) {
	t.Helper()
	s.broken = true // closing a store again is an error
	if err := s.DB.Close(); err != nil {
		t.Fatalf("close the store: %v", err)
	}
}
