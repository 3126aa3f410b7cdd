package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/guard"
)

// publishedInterval is how often published keys are read again, beside the readings that an unknown key causes: how
// long a key that the gate has withdrawn can stay good on a node that nobody calls.
const publishedInterval = 5 * time.Minute

// gateKeys are the keys with which the node verifies the gate's assertions.
type gateKeys struct {
	verifier  guard.Verifier
	reload    func() error
	published *assertion.Published // nil for shared keys
}

// openGateKeys opens the one source of keys that the settings name. Files must be readable now. A gate that cannot be
// reached is only logged: it may start after the node, which serves nobody until it has read the keys.
func openGateKeys(p config.Proxy, o Options) (*gateKeys, error) {
	switch {
	case p.AssertionJWKSFile != "":
		published := assertion.PublishedFile(o.Home.Path(p.AssertionJWKSFile), o.Now)
		if err := published.Reload(); err != nil {
			return nil, fmt.Errorf("server.proxy.assertion_jwks_file: %w", err)
		}
		return &gateKeys{published, published.Reload, published}, nil
	case p.AssertionJWKSURL != "":
		published := assertion.PublishedURL(p.AssertionJWKSURL, o.Now)
		ctx := context.Background()
		if !safeWay(p.AssertionJWKSURL) {
			o.Log.WarnContext(ctx, "INSECURE unless the network to the gate is: server.proxy.assertion_jwks_url is plain http, and whoever can change that answer can claim any identity")
		}
		if err := published.Reload(); err != nil {
			o.Log.WarnContext(ctx, "the gate's keys could not be read: nobody is served before they are", "error", err)
		}
		return &gateKeys{published, published.Reload, published}, nil
	}
	file, err := assertion.Open(o.Home.Path(p.AssertionKeyFile), o.Now)
	if err != nil {
		return nil, fmt.Errorf("server.proxy.assertion_key_file: %w", err)
	}
	return &gateKeys{file, file.Reload, nil}, nil
}

// safeWay reports whether nobody can change what comes from an address: by TLS, or because it stays on this host.
func safeWay(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// follow keeps published keys up to date until the returned function is called, which waits for the end.
func (k *gateKeys) follow(ctx context.Context, log *slog.Logger) (stop func()) {
	if k == nil || k.published == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { k.published.Run(ctx, publishedInterval, log) })
	return func() {
		cancel()
		running.Wait()
	}
}
