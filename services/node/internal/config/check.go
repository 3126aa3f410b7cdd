package config

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/multiaddr"
	"github.com/calimero-network/mero-go/services/node/internal/peer"
)

// Shorter prefixes of trusted peers trust whole regions of the internet.
const (
	minPrefix4      = 16
	minPrefix6      = 48
	loopbackPrefix4 = 8
)

// check is one rule: the setting, whether it is broken, and what is wanted.
type check struct {
	path string
	bad  bool
	want string
}

// problem is what is wrong with a setting.
type problem struct {
	path string
	err  error // names the setting
}

func join(problems []problem) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p.err
	}
	return errors.Join(errs...)
}

// Check reports every value that no start could use, joined; nil when there is none. What only a start needs
// (a key file, for example) is reported by [Config.CheckStart].
func (c Config) Check() error { return join(c.problems()) }

func (c Config) problems() []problem {
	found := failed([]check{
		oneOf("mode", c.Mode, "standard", ModeReadOnly),
		oneOf("server.auth_mode", c.Server.AuthMode, AuthProxy, AuthEmbedded, AuthNone),
		oneOf("server.wire_profile", c.Server.WireProfile, Wire011, Wire010),
		oneOf("server.proxy.assertion_bind", c.Server.Proxy.AssertionBind, "request", "identity"),
		oneOf("server.embedded.storage", c.Server.Embedded.Storage, StoragePersistent, StorageMemory),
		oneOf("bootstrap.network", c.Bootstrap.Network, "", "calimero-dev", "ipfs"),
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", c.Log.Format, "json", "text"),
		{"server.max_connections", c.Server.MaxConns < 16 || c.Server.MaxConns > 1_000_000, fmt.Sprintf("want 16 to 1000000, got %d", c.Server.MaxConns)},
		atLeast("server.stream_max_age", int64(c.Server.StreamMaxAge.Seconds()), 1),
		atLeast("server.proxy.assertion_max_ttl", int64(c.Server.Proxy.AssertionMaxTTL.Seconds()), 1),
		atLeast("server.websocket.ping_interval_secs", int64(c.Server.WebSocket.PingIntervalSec), 0),
		atLeast("server.websocket.pong_timeout_secs", int64(c.Server.WebSocket.PongTimeoutSec), 1),
		atLeast("server.websocket.max_message_bytes", c.Server.WebSocket.MaxMessageBytes, 1024),
		atLeast("server.sse.keep_alive_secs", int64(c.Server.SSE.KeepAliveSec), 1),
		atLeast("server.stream.max_connections", int64(c.Server.Stream.MaxConnections), 1),
		atLeast("server.stream.max_per_key", int64(c.Server.Stream.MaxPerKey), 1),
		atLeast("server.stream.max_subscriptions", int64(c.Server.Stream.MaxSubscriptions), 1),
		atLeast("sync.timeout_ms", int64(c.Sync.TimeoutMS), 1),
		atLeast("sync.interval_ms", int64(c.Sync.IntervalMS), 1),
		atLeast("sync.frequency_ms", int64(c.Sync.FrequencyMS), 1),
		atLeast("discovery.rendezvous.registrations_limit", int64(c.Discovery.Rendezvous.RegistrationsLimit), 0),
		atLeast("discovery.relay.registrations_limit", int64(c.Discovery.Relay.RegistrationsLimit), 0),
		atLeast("discovery.autonat.max_candidates", int64(c.Discovery.AutoNAT.MaxCandidates), 0),
		atLeast("discovery.autonat.probe_interval", int64(c.Discovery.AutoNAT.ProbeInterval), 1),
		atLeast("blobstore.max_blob_size", c.Blobstore.MaxBlobSize, 0),
		atLeast("events.log_max_events", c.Events.LogMaxEvents, 1),
		atLeast("events.log_max_bytes", c.Events.LogMaxBytes, 1),
		atLeast("execution.time_limit", int64(c.Execution.TimeLimit.Seconds()), 1),
		atLeast("execution.max_memory", c.Execution.MaxMemory, 64<<20),
		atLeast("execution.cache_size", c.Execution.CacheSize, 1),
		atLeast("applications.max_size", c.Apps.MaxSize, 1),
		atLeast("applications.max_module_size", c.Apps.MaxModuleSize, 1),
		atLeast("applications.download_timeout", int64(c.Apps.DownloadTimeout.Seconds()), 1),
		{"server.path_prefix", !validPrefix(c.Server.PathPrefix), "want /SEGMENT..., without a slash at its end, of A-Z a-z 0-9 . _ ~ -, that does not begin like a route"},
		{"server.listen", len(c.Server.Listen) == 0, "want at least one address"},
		{"server.embedded.storage_path", c.Server.Embedded.StoragePath == "", "want a directory"},
		{"server.embedded.public_url", c.Server.Embedded.PublicURL != "" && !validPublicURL(c.Server.Embedded.PublicURL), "want http(s)://HOST[:PORT]"},
		{"datastore.path", c.Datastore.Path == "", "want a directory"},
		{"blobstore.path", c.Blobstore.Path == "", "want a directory"},
		{"server.proxy.trusted_header", !validIdentityHeader(c.Server.Proxy.TrustedHeader), "want the name of a header that carries a key id, such as " + identity.HeaderKey},
		{"server.tls", (c.Server.TLS.CertFile == "") != (c.Server.TLS.KeyFile == ""), "want cert_file and key_file, or neither"},
		{"discovery.rendezvous.namespace", c.Discovery.Rendezvous.Namespace == "" || len(c.Discovery.Rendezvous.Namespace) > 255, "want a name of 1 to 255 bytes"},
		{"server.metrics_addr", c.Server.MetricsAddr != "" && !validHostPort(c.Server.MetricsAddr), "want ADDRESS:PORT"},
		{"server.proxy.assertion_jwks_url", c.Server.Proxy.AssertionJWKSURL != "" && !validJWKSURL(c.Server.Proxy.AssertionJWKSURL), "want http(s)://host[:port]/path without user, query and fragment"},
		{"server.proxy.assertion_key_file", len(c.Server.Proxy.AssertionSources()) > 1, "name one source of assertion keys, not several: " + strings.Join(c.Server.Proxy.AssertionSources(), ", ")},
		{"cors.allow_all_origins", c.CORS.AllowAllOrigins && len(c.CORS.AllowedOrigins) > 0, "contradicts cors.allowed_origins"},
	})
	return append(append(found, c.checkLists()...), c.checkIdentity()...)
}

func oneOf(path, got string, want ...string) check {
	return check{path, !slices.Contains(want, got), fmt.Sprintf("want one of %q, got %q", want, got)}
}

func atLeast(path string, got, least int64) check {
	return check{path, got < least, fmt.Sprintf("want at least %d, got %d", least, got)}
}

func failed(checks []check) []problem {
	var found []problem
	for _, k := range checks {
		if k.bad {
			found = append(found, problem{k.path, errors.New(k.path + ": " + k.want)})
		}
	}
	return found
}

func (c Config) checkLists() []problem {
	var found []problem
	each := func(path string, list []string, check func(string) error) {
		for _, s := range list {
			if err := check(s); err != nil {
				found = append(found, problem{path, fmt.Errorf("%s: %w", path, err)})
			}
		}
	}
	each("server.listen", c.Server.Listen, tcpAddress)
	each("swarm.listen", c.Swarm.Listen, address)
	each("bootstrap.nodes", c.Bootstrap.Nodes, address)
	each("discovery.external_addresses", c.Discovery.ExternalAddresses, address)
	each("server.allowed_hosts", c.Server.AllowedHosts, hostPattern)
	each("cors.allowed_origins", c.CORS.AllowedOrigins, origin)
	each("applications.allowed_hosts", c.Apps.AllowedHosts, hostPattern)
	each("applications.paths", c.Apps.Paths, absolute)
	for _, p := range c.Server.Proxy.TrustedPeers {
		least := minPrefix6
		if p.Addr().Is4() {
			least = minPrefix4
		}
		loopback := p.Addr().IsLoopback() && p.Bits() >= loopbackPrefix4 // 127.0.0.0/8 and ::1 are this machine
		if p.Bits() < least && !loopback {
			const path = "server.proxy.trusted_peers"
			found = append(found, problem{path, fmt.Errorf("%s: %s is too wide, want at least /%d", path, p, least)})
		}
	}
	return found
}

// checkIdentity accepts a configuration without any key: the environment may add it.
func (c Config) checkIdentity() []problem {
	if c.Identity.Keypair == "" && c.Identity.PeerID == "" {
		return nil
	}
	key, err := peer.ParseKeypair(c.Identity.Keypair.Reveal())
	if err != nil {
		return []problem{{"identity.keypair", fmt.Errorf("identity.keypair: %w", err)}}
	}
	if public, ok := key.Public().(ed25519.PublicKey); !ok || peer.ID(public) != c.Identity.PeerID {
		return []problem{{"identity.peer_id", errors.New("identity.peer_id: is not the peer id of identity.keypair")}}
	}
	return nil
}

// CheckStart reports what stands against a start with this configuration, joined; nil when nothing does.
func (c Config) CheckStart() error { return join(c.startProblems(nil)) }

// startProblems leaves out the rules about settings that are broken themselves: they would only confuse.
func (c Config) startProblems(broken map[string]bool) []problem {
	keyFile := Setting{Path: "server.proxy.assertion_key_file"}
	needsKeys := c.Server.AuthMode == AuthProxy && c.Server.Proxy.RequireAssertion
	proxy := broken["server.auth_mode"] || broken["server.proxy.require_assertion"] || broken["server.proxy.assertion_jwks_url"] || broken["server.proxy.assertion_jwks_file"]
	none := broken["server.auth_mode"] || broken["server.none.allow_non_loopback"]
	found := failed([]check{
		{"identity.keypair", c.Identity.Keypair == "", "is missing; 'merod init' makes it"},
		{
			keyFile.Path, !proxy && needsKeys && len(c.Server.Proxy.AssertionSources()) == 0,
			"is required in auth mode \"proxy\": name the file with the keys that mero-auth keeps in assertion.key_file, here or in " + keyFile.Env() +
				" (or, for a gate that signs with published keys, server.proxy.assertion_jwks_url or server.proxy.assertion_jwks_file)",
		},
		{
			"server.listen", !none && c.Server.AuthMode == AuthNone && !c.Server.None.AllowNonLoopback && !c.loopbackOnly(),
			"auth mode \"none\" lets everybody in, so it listens on loopback addresses only; " + Setting{Path: "server.none.allow_non_loopback"}.Env() + "=true permits others",
		},
	})
	return slices.DeleteFunc(found, func(p problem) bool { return broken[p.path] })
}

// AssertionSources returns the settings that say where the keys of assertions come from. A start wants exactly one.
func (p Proxy) AssertionSources() []string {
	var set []string
	for _, s := range []struct{ path, value string }{
		{"server.proxy.assertion_key_file", p.AssertionKeyFile},
		{"server.proxy.assertion_jwks_url", p.AssertionJWKSURL},
		{"server.proxy.assertion_jwks_file", p.AssertionJWKSFile},
	} {
		if s.value != "" {
			set = append(set, s.path)
		}
	}
	return set
}

// validJWKSURL accepts an absolute http(s) URL that holds no credential.
func validJWKSURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && !strings.ContainsAny(s, "?# ")
}

func (c Config) loopbackOnly() bool {
	return !slices.ContainsFunc(c.ListenAddrs(), func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
}

// ListenAddrs returns the addresses of the HTTP listener; entries that are none, which [Config.Check] reports,
// are left out.
func (c Config) ListenAddrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range c.Server.Listen {
		if a, err := multiaddr.Parse(s); err == nil {
			if ap, err := a.TCP(); err == nil {
				out = append(out, ap)
			}
		}
	}
	return out
}

func address(s string) error {
	_, err := multiaddr.Parse(s)
	return err
}

func tcpAddress(s string) error {
	a, err := multiaddr.Parse(s)
	if err == nil {
		_, err = a.TCP()
	}
	return err
}

// hostPattern accepts a host name or an IP address, or *. and a name of at least two labels.
func hostPattern(s string) error {
	name, wildcard := strings.CutPrefix(s, "*.")
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	if _, err := multiaddr.Parse("/dns/" + name); err != nil || (wildcard && !strings.Contains(name, ".")) {
		return fmt.Errorf("%q is not a host name (without port) or *.DOMAIN", s)
	}
	return nil
}

func absolute(s string) error {
	if !filepath.IsAbs(s) {
		return fmt.Errorf("%q is not an absolute path", s)
	}
	return nil
}

func origin(s string) error {
	_, err := cors.ParseOrigin(s)
	return err
}

func validPublicURL(s string) bool {
	return (strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")) && origin(s) == nil
}

// validPrefix accepts no prefix, and one with a single spelling that no route begins with: neither could be mistaken for
// the other.
func validPrefix(s string) bool {
	if s == "" {
		return true
	}
	path, query, err := route.Canonical(s)
	if err != nil || path != s || query != "" || len(s) > 256 || strings.HasSuffix(s, "/") {
		return false
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._~-", r)
	}
	first, _, _ := strings.Cut(s[1:], "/")
	for _, table := range []*route.Table{route.Node, route.Auth} {
		for row := range table.All() {
			if taken, _, _ := strings.Cut(row.Pattern[1:], "/"); taken == first {
				return false
			}
		}
	}
	return strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0
}

func validHostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// validIdentityHeader accepts a header name of letters, digits and hyphens that means nothing else already.
func validIdentityHeader(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return !slices.ContainsFunc([]string{
		identity.HeaderPermissions, identity.HeaderExpires, identity.HeaderAssertion, identity.HeaderError,
		"Host", "Authorization", "Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Upgrade", "Origin", "X-Request-Id",
	}, func(taken string) bool { return strings.EqualFold(s, taken) })
}
