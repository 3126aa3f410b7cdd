// Package config loads the node's configuration: defaults, then config.toml, then MEROD_… environment variables,
// then flags. It is strict: an unknown setting or a bad value stops the start with every problem listed.
package config

import (
	"net/netip"
	"time"
)

// The values of server.auth_mode.
const (
	AuthProxy    = "proxy"    // a reverse proxy authenticates and the gate's headers are believed
	AuthEmbedded = "embedded" // the node authenticates itself
	AuthNone     = "none"     // nobody authenticates
)

// The values of server.wire_profile.
const (
	Wire011 = "0.11"
	Wire010 = "0.10"
)

// The values of server.embedded.storage.
const (
	StoragePersistent = "persistent"
	StorageMemory     = "memory"
)

// ModeReadOnly is the value of mode for a node whose state only replication changes: it serves no /jsonrpc.
const ModeReadOnly = "read-only"

// Config is the effective configuration. The doc tags are the configuration reference: docs/node.md is checked
// against them. Durations are whole seconds in the file. Start from [Defaults].
type Config struct {
	Mode       string         `koanf:"mode" doc:"'standard', or 'read-only' for a node that executes nothing itself and serves no /jsonrpc"`
	Identity   Identity       `koanf:"identity"`
	Swarm      Swarm          `koanf:"swarm"`
	Server     Server         `koanf:"server"`
	CORS       CORS           `koanf:"cors"`
	Bootstrap  Bootstrap      `koanf:"bootstrap"`
	Discovery  Discovery      `koanf:"discovery"`
	Sync       Sync           `koanf:"sync"`
	Datastore  Datastore      `koanf:"datastore"`
	Blobstore  Blobstore      `koanf:"blobstore"`
	Events     Events         `koanf:"events"`
	Apps       Applications   `koanf:"applications"`
	Execution  Execution      `koanf:"execution"`
	Log        Log            `koanf:"log"`
	Network    Network        `koanf:"network"`
	Compatible map[string]any `koanf:"context" doc:"free table that nodes of the reference keep chain clients in; kept, without effect"`
}

// Identity is the node's long-term key.
type Identity struct {
	PeerID  string `koanf:"peer_id" doc:"libp2p peer id of the key pair; made by 'merod init'"`
	Keypair Secret `koanf:"keypair" doc:"libp2p Ed25519 key pair in base58; made by 'merod init', secret"`
}

// Swarm configures the peer-to-peer listener.
type Swarm struct {
	Listen []string `koanf:"listen" doc:"multiaddrs of the peer-to-peer listener"`
}

// Server configures the HTTP listener and its surfaces.
type Server struct {
	Listen       []string      `koanf:"listen" doc:"multiaddrs of the HTTP listener: /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT"`
	AuthMode     string        `koanf:"auth_mode" doc:"'proxy': mero-auth and a reverse proxy stand in front; 'embedded': the node authenticates itself; 'none': nobody authenticates"`
	PathPrefix   string        `koanf:"path_prefix" doc:"serve everything below this path, such as '/node1', and nothing outside of it; NODE_PATH_PREFIX is another name of its variable; empty = no prefix"`
	WireProfile  string        `koanf:"wire_profile" doc:"'0.11', or '0.10' for clients that read the state hash of a context as 'rootHash'"`
	AllowedHosts []string      `koanf:"allowed_hosts" doc:"names that a Host header may carry where the node checks it: 'node.example.com' or '*.example.com', without port; loopback names are always allowed"`
	MetricsAddr  string        `koanf:"metrics_addr" doc:"ADDRESS:PORT of a second listener that serves only /metrics, without authentication; empty = off"`
	MaxConns     int           `koanf:"max_connections" doc:"how many connections a listener has open at once, streams included; further ones wait until one is closed; 16 to 1000000"`
	StreamMaxAge time.Duration `koanf:"stream_max_age" doc:"longest life of a WebSocket or SSE stream whose token expiry is not known"`
	TLS          TLS           `koanf:"tls"`
	Stream       Stream        `koanf:"stream"`
	Admin        Surface       `koanf:"admin"`
	JSONRPC      Surface       `koanf:"jsonrpc"`
	WebSocket    WebSocket     `koanf:"websocket"`
	SSE          SSE           `koanf:"sse"`
	Proxy        Proxy         `koanf:"proxy"`
	None         None          `koanf:"none"`
	Embedded     Embedded      `koanf:"embedded"`
}

// TLS makes the HTTP listener speak TLS itself. The files are read again when they change and at SIGHUP.
type TLS struct {
	CertFile string `koanf:"cert_file" doc:"PEM file with the certificate chain of the HTTP listener, the certificate of the node first, relative to the directory of the node; empty = plain HTTP"`
	KeyFile  string `koanf:"key_file" doc:"PEM file with the private key of the certificate, relative to the directory of the node"`
}

// Surface switches one group of routes. A missing table means off.
type Surface struct {
	Enabled bool `koanf:"enabled" doc:"serve this surface; off when the table is missing"`
}

// WebSocket switches and times the WebSocket surface.
type WebSocket struct {
	Enabled         bool  `koanf:"enabled" doc:"serve this surface; off when the table is missing"`
	PingIntervalSec int   `koanf:"ping_interval_secs" doc:"seconds between two pings of the node; 0 = no pings, and a client that is gone without a word stays until its token expires"`
	PongTimeoutSec  int   `koanf:"pong_timeout_secs" doc:"seconds that the client has to answer a ping"`
	MaxMessageBytes int64 `koanf:"max_message_bytes" doc:"largest message of a client in bytes; the default is the largest body of /jsonrpc. It is kept in memory until it is answered; of those over 1 MiB at most 16 are in memory at a time, others wait in their connections"`
}

// SSE switches and times the SSE surface.
type SSE struct {
	Enabled      bool `koanf:"enabled" doc:"serve this surface; off when the table is missing"`
	KeepAliveSec int  `koanf:"keep_alive_secs" doc:"seconds between two comments that keep an idle stream open"`
}

// Stream bounds the WebSocket and SSE streams together.
type Stream struct {
	MaxConnections   int `koanf:"max_connections" doc:"most WebSocket and SSE streams at a time"`
	MaxPerKey        int `koanf:"max_per_key" doc:"most of them for one key"`
	MaxSubscriptions int `koanf:"max_subscriptions" doc:"most contexts and groups that one stream or SSE session may subscribe to"`
}

// Proxy says whom and what the node believes in auth mode proxy.
type Proxy struct {
	TrustedPeers      []netip.Prefix `koanf:"trusted_peers" doc:"addresses or networks that identity headers are accepted from; no prefix shorter than /16 (IPv4) or /48 (IPv6)"`
	TrustedHeader     string         `koanf:"trusted_header" doc:"the header that carries the key id"`
	RequireAssertion  bool           `koanf:"require_assertion" doc:"accept an identity only with the X-Auth-Assertion that the gate signed; 'false' is insecure and then Host is checked"`
	AssertionKeyFile  string         `koanf:"assertion_key_file" doc:"file with the keys shared with the gate; in auth mode proxy with require_assertion one of the three assertion sources is required"`
	AssertionJWKSURL  string         `koanf:"assertion_jwks_url" doc:"address of the gate's published keys (its /auth/keys), for a gate with assertion.algorithm 'ed25519': the node then holds no key that signs; https unless the way to the gate is safe"`
	AssertionJWKSFile string         `koanf:"assertion_jwks_file" doc:"file with the gate's published keys (assertion.jwks_file of the gate), in place of their address"`
	AssertionBind     string         `koanf:"assertion_bind" doc:"'request' or, for proxies that rewrite paths, 'identity'; must equal assertion.bind of the gate"`
	ClockLeeway       time.Duration  `koanf:"clock_leeway" doc:"how far the clocks of gate and node may differ"`
	AssertionMaxTTL   time.Duration  `koanf:"assertion_max_ttl" doc:"longest validity that the node accepts in an assertion"`
}

// None configures auth mode none.
type None struct {
	AllowNonLoopback bool `koanf:"allow_non_loopback" env:"only" doc:"permit listeners that other machines reach although nobody authenticates; only from the environment"`
}

// Embedded configures auth mode embedded. What mero-auth can be told besides comes from its own variables and file.
type Embedded struct {
	Storage     string `koanf:"storage" doc:"'persistent' or 'memory': where embedded authentication keeps its keys"`
	StoragePath string `koanf:"storage_path" doc:"directory of that store, relative to the directory of the node; its keys lie beside it, in the same name with '.key' behind it"`
	PublicURL   string `koanf:"public_url" doc:"the address that people use, such as 'https://node.example.com': wallet logins are bound to it, and it decides on HSTS"`
	ConfigFile  string `koanf:"config_file" doc:"a configuration file of mero-auth (docs/configuration.md) for everything else, relative to the directory of the node; what the node decides itself has no effect there"`
}

// Network holds another spelling of auth mode embedded.
type Network struct {
	Server NetworkServer `koanf:"server"`
}

// NetworkServer holds another spelling of auth mode embedded.
type NetworkServer struct {
	EmbeddedAuth bool `koanf:"embedded_auth" doc:"another spelling of server.auth_mode = 'embedded'"`
}

// CORS says which origins may read answers.
type CORS struct {
	AllowAllOrigins bool     `koanf:"allow_all_origins" doc:"answer '*' to every origin, without credentials; 'false' when allowed_origins is set"`
	AllowedOrigins  []string `koanf:"allowed_origins" doc:"the origins that may read answers, such as 'https://app.example.com'"`
}

// Bootstrap names the first peers.
type Bootstrap struct {
	Network string   `koanf:"network" doc:"well-known boot nodes: 'calimero-dev', 'ipfs' or empty"`
	Nodes   []string `koanf:"nodes" doc:"multiaddrs of boot nodes"`
}

// Discovery configures how peers find the node.
type Discovery struct {
	MDNS              bool       `koanf:"mdns" doc:"find peers in the local network"`
	AdvertiseAddress  bool       `koanf:"advertise_address" doc:"tell peers the observed external address"`
	ExternalAddresses []string   `koanf:"external_addresses" doc:"multiaddrs under which the node is reachable from outside"`
	Rendezvous        Rendezvous `koanf:"rendezvous"`
	Relay             Relay      `koanf:"relay"`
	AutoNAT           AutoNAT    `koanf:"autonat"`
}

// Rendezvous bounds the registrations at rendezvous points.
type Rendezvous struct {
	Namespace          string `koanf:"namespace" doc:"name under which nodes find each other at rendezvous points"`
	RegistrationsLimit int    `koanf:"registrations_limit" doc:"most rendezvous points to register at"`
}

// Relay bounds the reservations at relays.
type Relay struct {
	RegistrationsLimit int `koanf:"registrations_limit" doc:"most relays to hold a reservation at"`
}

// AutoNAT configures the probes for the node's reachability.
type AutoNAT struct {
	MaxCandidates int `koanf:"max_candidates" doc:"most addresses that one probe tests"`
	ProbeInterval int `koanf:"probe_interval" doc:"seconds between two probes"`
}

// Sync times the replication with peers.
type Sync struct {
	TimeoutMS   int `koanf:"timeout_ms" doc:"milliseconds that one synchronization may take"`
	IntervalMS  int `koanf:"interval_ms" doc:"milliseconds between two synchronizations of one context"`
	FrequencyMS int `koanf:"frequency_ms" doc:"milliseconds between two rounds over all contexts"`
}

// Datastore places the node's database.
type Datastore struct {
	Path string `koanf:"path" doc:"directory of the database, relative to the directory of the node"`
}

// Blobstore places and bounds the blobs.
type Blobstore struct {
	Path        string `koanf:"path" doc:"directory of the blobs, relative to the directory of the node"`
	MaxBlobSize int64  `koanf:"max_blob_size" doc:"largest blob in bytes; 0 = no limit"`
}

// Events bounds the log that subscribers catch up from after an interruption.
type Events struct {
	LogMaxEvents int64 `koanf:"log_max_events" doc:"most events that are kept for subscribers that come back"`
	LogMaxBytes  int64 `koanf:"log_max_bytes" doc:"most bytes of events that are kept for subscribers that come back"`
}

// Applications says what may be installed, and from where.
type Applications struct {
	MaxSize         int64          `koanf:"max_size" doc:"largest bundle or module that is installed, in bytes"`
	MaxModuleSize   int64          `koanf:"max_module_size" doc:"largest WebAssembly module that is installed, alone or in a bundle, in bytes"`
	DownloadTimeout time.Duration  `koanf:"download_timeout" doc:"longest time of one download"`
	AllowedHosts    []string       `koanf:"allowed_hosts" doc:"names that the URL of an installation, and every redirect, may have: 'apps.example.com' or '*.example.com', without port; empty = any"`
	AllowedNetworks []netip.Prefix `koanf:"allowed_networks" doc:"addresses or networks that are downloaded from although they are not the public internet, such as '127.0.0.0/8' for a registry on this machine; also by plain http if the URL names the address"`
	AllowHTTP       bool           `koanf:"allow_http" doc:"download by plain http also without a hash"`
	Paths           []string       `koanf:"paths" doc:"absolute directories below which files may be installed by path; empty = the directory given with --home, and in auth mode 'none' every directory"`
}

// Execution bounds the calls of applications.
type Execution struct {
	TimeLimit time.Duration `koanf:"time_limit" doc:"longest time of one call of a method"`
	MaxMemory int64         `koanf:"max_memory" doc:"most bytes that the calls that run hold together in memory, registers and writes; a call that would need more fails"`
	CacheSize int64         `koanf:"cache_size" doc:"most bytes of compiled modules that are kept on disk, in the directory cache of the node"`
}

// Log configures logging to stderr.
type Log struct {
	Level  string `koanf:"level" doc:"'debug', 'info', 'warn' or 'error'"`
	Format string `koanf:"format" doc:"'json' or 'text'"`
}

// Defaults returns the configuration of an empty file. No surface is on: a table that is missing is off.
func Defaults() Config {
	return Config{
		Mode:   "standard",
		Swarm:  Swarm{Listen: []string{"/ip4/0.0.0.0/tcp/2428", "/ip4/0.0.0.0/udp/2428/quic-v1"}},
		Server: defaultServer(),
		CORS:   CORS{AllowAllOrigins: true},
		Discovery: Discovery{
			MDNS: true, Rendezvous: Rendezvous{"/calimero/devnet/global", 3}, Relay: Relay{3}, AutoNAT: AutoNAT{MaxCandidates: 5, ProbeInterval: 10},
		},
		Sync:      Sync{TimeoutMS: 30000, IntervalMS: 5000, FrequencyMS: 10000},
		Datastore: Datastore{Path: "data"},
		Blobstore: Blobstore{Path: "blobs"},
		Events:    Events{LogMaxEvents: 65536, LogMaxBytes: 64 << 20},
		Execution: Execution{TimeLimit: 30 * time.Second, MaxMemory: 2 << 30, CacheSize: 1 << 30},
		Apps:      Applications{MaxSize: 64 << 20, MaxModuleSize: 20 << 20, DownloadTimeout: 5 * time.Minute},
		Log:       Log{Level: "info", Format: "json"},
	}
}

func defaultServer() Server {
	return Server{
		Listen:       []string{"/ip4/127.0.0.1/tcp/2528", "/ip6/::1/tcp/2528"},
		AuthMode:     AuthProxy,
		MaxConns:     20_000,
		WireProfile:  Wire011,
		StreamMaxAge: time.Hour,
		Stream:       Stream{MaxConnections: 10000, MaxPerKey: 2500, MaxSubscriptions: 1000},
		WebSocket:    WebSocket{PingIntervalSec: 30, PongTimeoutSec: 10, MaxMessageBytes: 15 << 20},
		SSE:          SSE{KeepAliveSec: 15},
		Proxy: Proxy{
			TrustedPeers:     []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			TrustedHeader:    "X-Auth-Key",
			RequireAssertion: true,
			AssertionBind:    "request",
			ClockLeeway:      30 * time.Second,
			AssertionMaxTTL:  time.Hour,
		},
		Embedded: Embedded{Storage: StoragePersistent, StoragePath: "auth"},
	}
}
