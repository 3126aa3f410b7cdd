// Package config loads the configuration of mero-auth: defaults, then a TOML file, then the environment, then
// flags. It is strict: an unknown key or a bad value stops the start with every problem listed.
//
// A new setting is a field here, its default in Defaults and its row in the table of settings.go, which names its
// limits; the reference in docs/configuration.md is generated from the three.
package config

//go:generate go test -run ^TestReference$ -update .

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is the effective configuration. Durations are whole seconds in the file. The zero Config is not
// usable: Load makes one, and code that needs none of the sources starts from Defaults and ends with Resolve.
type Config struct {
	ListenAddr string `koanf:"listen_addr"` // data plane
	AdminAddr  string `koanf:"admin_addr"`  // operators: /healthz, /readyz, /metrics
	PublicURL  string `koanf:"public_url"`  // the address that people use; "" when unknown

	JWT          JWT          `koanf:"jwt"`
	Sessions     Sessions     `koanf:"sessions"`
	Storage      Storage      `koanf:"storage"`
	Secrets      Secrets      `koanf:"secrets"`
	Bootstrap    Bootstrap    `koanf:"bootstrap"`
	Admin        Admin        `koanf:"-"` // environment only: MERO_AUTH_ADMIN_USER, MERO_AUTH_ADMIN_PASSWORD[_FILE]
	Forward      Forward      `koanf:"forward"`
	Assertion    Assertion    `koanf:"assertion"`
	Node         Node         `koanf:"node"`
	CORS         CORS         `koanf:"cors"`
	Security     Security     `koanf:"security"`
	Providers    Providers    `koanf:"providers"`
	Near         Near         `koanf:"near"`
	Eth          Eth          `koanf:"eth"`
	UserPassword UserPassword `koanf:"user_password"`
	Development  Development  `koanf:"development"`
	Audit        Audit        `koanf:"audit"`
	Log          Log          `koanf:"log"`
}

// JWT configures the tokens.
type JWT struct {
	Issuer        string        `koanf:"issuer"`
	Algorithm     string        `koanf:"algorithm"` // HS256 or HS384
	AccessExpiry  time.Duration `koanf:"access_token_expiry"`
	RefreshExpiry time.Duration `koanf:"refresh_token_expiry"`
	Leeway        time.Duration `koanf:"leeway"`         // tolerance for exp; iat and nbf always have 60 s
	RefreshWindow time.Duration `koanf:"refresh_window"` // an access token with more life left is "still valid"
	RefreshGrace  time.Duration `koanf:"refresh_grace"`  // a repeated refresh within it gets the same successor
	MachineMax    time.Duration `koanf:"machine_max"`    // longest life of a machine token
	NodeHosts     []string      `koanf:"node_hosts"`     // when set: the hosts this gate stands for, in place of request headers
}

// Sessions bounds the life of sessions; 0 is no bound. Machine tokens are not bounded by it.
type Sessions struct {
	IdleTimeout time.Duration `koanf:"idle_timeout"` // since it was last used
	MaxLifetime time.Duration `koanf:"max_lifetime"` // since the login
}

// Storage selects and places the store.
type Storage struct {
	Type string `koanf:"type"` // bbolt (rocksdb is another name for it) or memory
	Path string `koanf:"path"` // a directory
}

// Secrets configures the keys that protect the store and sign tokens.
type Secrets struct {
	KeyDir        string        `koanf:"key_dir"`         // default: <storage.path>.key
	MasterKeyFile string        `koanf:"master_key_file"` // default: <key_dir>/master.key, made if absent
	MasterKey     Secret        `koanf:"master_key"`      // base64 of 32 bytes; when set, MasterKeyFile is not read
	Rotation      time.Duration `koanf:"rotation"`
	Grace         time.Duration `koanf:"grace"`
}

// Bootstrap configures how the first key is made.
type Bootstrap struct {
	Mode   string `koanf:"mode"`   // "secret", or "first-login" for tests (loopback only)
	Secret Secret `koanf:"secret"` // a fixed secret of at least 20 characters
}

// Admin is the password account provisioned from the environment.
type Admin struct {
	User     string
	Password Secret
}

// Forward configures the gate.
type Forward struct {
	TrustedProxies  []netip.Prefix `koanf:"trusted_proxies"`
	QueryTokenPaths []string       `koanf:"query_token_paths"`
	AllowPreflight  bool           `koanf:"allow_preflight"`
	PlainProxy      string         `koanf:"plain_proxy"` // "", traefik, caddy or haproxy: what plain /auth/validate means
}

// Assertion configures the proof that the gate hands to the node.
type Assertion struct {
	Algorithm string        `koanf:"algorithm"` // hmac or ed25519
	KeyFile   string        `koanf:"key_file"`
	JWKSFile  string        `koanf:"jwks_file"` // holds the published keys, for nodes; "" for none
	TTL       time.Duration `koanf:"ttl"`
	Bind      string        `koanf:"bind"` // request or identity
}

// Node says what the node behind the proxy does itself.
type Node struct {
	EnforcesPermissions bool `koanf:"enforces_permissions"`
}

// CORS configures cross-origin answers.
type CORS struct {
	AllowAllOrigins bool     `koanf:"allow_all_origins"`
	AllowedOrigins  []string `koanf:"allowed_origins"`
	AllowedMethods  []string `koanf:"allowed_methods"` // accepted for compatibility, without effect
	AllowedHeaders  []string `koanf:"allowed_headers"` // accepted for compatibility, without effect
	ExposedHeaders  []string `koanf:"exposed_headers"` // accepted for compatibility, without effect
	MaxAge          int      `koanf:"max_age"`         // accepted for compatibility, without effect
	VaryHeader      bool     `koanf:"vary_header"`     // accepted for compatibility, without effect
}

// Security configures limits and headers.
type Security struct {
	MaxBodySize         int64     `koanf:"max_body_size"`         // bytes
	MaxConnections      int       `koanf:"max_connections"`       // of the data plane
	MaxAdminConnections int       `koanf:"max_admin_connections"` // of the operators' listener
	MaxClients          int       `koanf:"max_clients_per_root"`  // live client keys
	RateLimit           RateLimit `koanf:"rate_limit"`
	Headers             Headers   `koanf:"headers"`
}

// RateLimit bounds logins per client address.
type RateLimit struct {
	RPM   int `koanf:"rate_limit_rpm"` // 0: no limits
	Burst int `koanf:"rate_limit_burst"`
}

// Headers configures the security headers.
type Headers struct {
	Enabled               bool   `koanf:"enabled"`
	HSTSMaxAge            int    `koanf:"hsts_max_age"` // seconds; sent only when public_url is https
	HSTSIncludeSubdomains bool   `koanf:"hsts_include_subdomains"`
	FrameOptions          string `koanf:"frame_options"`
	ContentTypeOptions    bool   `koanf:"content_type_options"`
	ReferrerPolicy        string `koanf:"referrer_policy"`
	CSP                   CSP    `koanf:"csp"`
}

// CSP is accepted for compatibility. Only connect_src has an effect: further origins that pages may call.
type CSP struct {
	Enabled    bool     `koanf:"enabled"`
	DefaultSrc []string `koanf:"default_src"`
	ScriptSrc  []string `koanf:"script_src"`
	StyleSrc   []string `koanf:"style_src"`
	ConnectSrc []string `koanf:"connect_src"`
}

// Providers switches the login methods. A file that has the section [providers] switches off those that it does
// not name, as it did for the reference service: nothing is offered that its operator did not write down.
type Providers struct {
	NearWallet   bool `koanf:"near_wallet"`
	EthWallet    bool `koanf:"eth_wallet"`
	UserPassword bool `koanf:"user_password"`
}

// Near configures the near_wallet provider.
type Near struct {
	Network              string   `koanf:"network"`
	RPCURL               Endpoint `koanf:"rpc_url"`
	WalletURL            string   `koanf:"wallet_url"`
	HelperURL            string   `koanf:"helper_url"`
	Recipients           []string `koanf:"recipients"` // default: host[:port] of public_url
	AllowLegacyRecipient bool     `koanf:"allow_legacy_recipient"`
	CallbackURLs         []string `koanf:"callback_urls"` // default: public_url + /auth/login
	APIKey               Secret   `koanf:"api_key"`
}

// Eth configures the eth_wallet provider.
type Eth struct {
	Domain            string   `koanf:"domain"` // default: host[:port] of public_url
	URI               string   `koanf:"uri"`    // default: public_url + /auth/login
	Statement         string   `koanf:"statement"`
	ChainIDs          []uint64 `koanf:"chain_ids"` // each at least 1
	AllowPersonalSign bool     `koanf:"allow_personal_sign"`
	RPCURL            Endpoint `koanf:"rpc_url"` // "" when contract wallets are not asked
}

// UserPassword configures the user_password provider.
type UserPassword struct {
	MinLength     int    `koanf:"min_password_length"` // characters
	MaxLength     int    `koanf:"max_password_length"` // bytes
	MemoryKiB     uint32 `koanf:"argon2_memory_kib"`
	Iterations    uint32 `koanf:"argon2_iterations"`
	MaxConcurrent int    `koanf:"max_concurrent_hashes"` // 0 = twice the processors that Go uses
}

// Development holds the reference's mock settings; enable_mock_auth stops the start in a build without mocks.
type Development struct {
	EnableMockAuth        bool   `koanf:"enable_mock_auth"`
	MockAuthRequireHeader bool   `koanf:"mock_auth_require_header"`
	MockAuthHeaderValue   Secret `koanf:"mock_auth_header_value"`
}

// Audit bounds the audit in the store and copies it to a file.
type Audit struct {
	MaxAge   time.Duration `koanf:"max_age"`
	MaxBytes int64         `koanf:"max_bytes"`
	File     string        `koanf:"file"` // JSON lines; "" for none
}

// Log configures logging to stderr.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn, error
	Format string `koanf:"format"` // json or text
}

// SlogLevel returns the level as package slog knows it.
func (l Log) SlogLevel() slog.Level {
	return map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}[l.Level]
}
