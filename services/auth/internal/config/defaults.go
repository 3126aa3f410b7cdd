package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// Defaults is the built-in configuration. Values that follow from others (the key directory from the storage
// path, the Ethereum domain from the public URL) are still empty: change what you need, then call Resolve.
func Defaults() Config {
	return Config{
		ListenAddr: "127.0.0.1:3001",
		AdminAddr:  "127.0.0.1:8081",
		JWT: JWT{
			Issuer:        "calimero-auth",
			Algorithm:     "HS256",
			AccessExpiry:  time.Hour,
			RefreshExpiry: 30 * 24 * time.Hour,
			RefreshWindow: 2 * time.Minute,
			RefreshGrace:  10 * time.Second,
			MachineMax:    366 * 24 * time.Hour,
		},
		Storage:   Storage{Type: "bbolt", Path: "./data/auth"},
		Secrets:   Secrets{Rotation: 24 * time.Hour, Grace: 48 * time.Hour},
		Bootstrap: Bootstrap{Mode: "secret"},
		Forward: Forward{
			TrustedProxies:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			QueryTokenPaths: []string{"/ws", "/sse"},
			AllowPreflight:  true,
		},
		Assertion: Assertion{Algorithm: "hmac", TTL: time.Minute, Bind: "request"},
		Security: Security{
			MaxBodySize: 1 << 20, MaxConnections: 10_000, MaxAdminConnections: 100, MaxClients: 1000,
			RateLimit: RateLimit{RPM: 50, Burst: 5},
			Headers: Headers{
				Enabled:               true,
				HSTSMaxAge:            365 * 24 * 60 * 60,
				HSTSIncludeSubdomains: true,
				FrameOptions:          "DENY",
				ContentTypeOptions:    true,
				ReferrerPolicy:        "strict-origin-when-cross-origin",
				CSP:                   CSP{Enabled: true},
			},
		},
		Providers:    Providers{UserPassword: true},
		Near:         Near{Network: "testnet", AllowLegacyRecipient: true},
		Eth:          Eth{ChainIDs: []uint64{1}},
		UserPassword: UserPassword{MinLength: 8, MaxLength: 128, MemoryKiB: 19456, Iterations: 2},
		Development:  Development{MockAuthRequireHeader: true},
		Audit:        Audit{MaxAge: 90 * 24 * time.Hour, MaxBytes: 256 << 20},
		Log:          Log{Level: "info", Format: "json"},
	}
}

// Resolve returns c with the values filled in that follow from others where they are empty, and with addresses in
// the form that requests carry (lower case, no default port). Calling it again changes nothing.
func (c Config) Resolve() Config {
	if c.Secrets.KeyDir == "" && c.Storage.Path != "" {
		c.Secrets.KeyDir = filepath.Clean(c.Storage.Path) + ".key"
	}
	if c.Secrets.MasterKeyFile == "" {
		c.Secrets.MasterKeyFile = filepath.Join(c.Secrets.KeyDir, "master.key")
	}
	if c.Assertion.KeyFile == "" {
		c.Assertion.KeyFile = filepath.Join(c.Secrets.KeyDir, "assertion.keys")
	}
	c.PublicURL = canonicalOrigin(c.PublicURL)
	c.CORS.AllowedOrigins = mapped(c.CORS.AllowedOrigins, canonicalOrigin)
	c.JWT.NodeHosts = mapped(c.JWT.NodeHosts, strings.ToLower)
	if c.PublicURL != "" {
		if c.Eth.Domain == "" {
			_, c.Eth.Domain, _ = strings.Cut(c.PublicURL, "://")
		}
		if c.Eth.URI == "" {
			c.Eth.URI = c.PublicURL + "/auth/login"
		}
		if len(c.Near.Recipients) == 0 {
			_, host, _ := strings.Cut(c.PublicURL, "://")
			c.Near.Recipients = []string{host}
		}
		if len(c.Near.CallbackURLs) == 0 {
			c.Near.CallbackURLs = []string{c.PublicURL + "/auth/login"}
		}
	}
	c.Near = c.Near.resolve()
	return c
}

// resolve fills in the addresses of the two public networks; others have none that we know.
func (n Near) resolve() Near {
	if n.Network != "testnet" && n.Network != "mainnet" {
		return n
	}
	if n.RPCURL == "" {
		n.RPCURL = Endpoint("https://rpc." + n.Network + ".near.org")
	}
	if n.WalletURL == "" {
		n.WalletURL = "https://wallet." + n.Network + ".near.org"
	}
	if n.HelperURL == "" {
		n.HelperURL = "https://helper." + n.Network + ".near.org"
	}
	return n
}

// PublicRPCURL is the address of an RPC node that clients may know: the configured one unless it may hold a key, then
// the public one of the network, "" when there is none.
func (n Near) PublicRPCURL() string {
	if !n.RPCURL.KeepsSecret() {
		return n.RPCURL.Reveal()
	}
	return Near{Network: n.Network}.resolve().RPCURL.Reveal()
}

// canonicalOrigin writes scheme://host[:port] as browsers do (RFC 6454 section 6.2): lower case, without the port
// that the scheme implies. What is no origin comes back as it is; the checks refuse it.
func canonicalOrigin(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" {
		return s
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if p := u.Port(); p != "" && p == defaultPorts[scheme] {
		host = strings.TrimSuffix(host, net.JoinHostPort("", p))
	}
	return scheme + "://" + host
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// mapped returns a new list, so that the caller's stays as it is.
func mapped(list []string, f func(string) string) []string {
	if list == nil {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = f(s)
	}
	return out
}
