package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// rule is a condition between several values. The first key is the one to blame.
type rule struct {
	keys   []string
	broken func(Config) string // what to do; "" when all is well
}

var rules = []rule{
	{[]string{"admin_addr", "listen_addr"}, oneAddress},
	{[]string{"jwt.refresh_token_expiry", "jwt.access_token_expiry"}, func(c Config) string {
		return when(c.JWT.RefreshExpiry < c.JWT.AccessExpiry, "must not be shorter than jwt.access_token_expiry")
	}},
	{[]string{"sessions.idle_timeout"}, func(c Config) string {
		d := c.Sessions.IdleTimeout
		return when(d != 0 && d < time.Minute, "must be 0 (off) or at least 60 seconds: uses are saved once a minute")
	}},
	{[]string{"sessions.max_lifetime"}, func(c Config) string {
		d := c.Sessions.MaxLifetime
		return when(d != 0 && d < 5*time.Minute, "must be 0 (off) or at least 300 seconds")
	}},
	{[]string{"secrets.key_dir", "storage.path"}, func(c Config) string { return besideStore(c, c.Secrets.KeyDir) }},
	{[]string{"secrets.master_key_file", "storage.path"}, func(c Config) string { return keyFileBesideStore(c, c.Secrets.MasterKeyFile) }},
	{[]string{"assertion.key_file", "storage.path"}, func(c Config) string { return keyFileBesideStore(c, c.Assertion.KeyFile) }},
	{[]string{"audit.file", "storage.path", "secrets.key_dir"}, func(c Config) string {
		taken := c.Audit.File != "" && (inside(c.Storage.Path, c.Audit.File) || inside(c.Secrets.KeyDir, c.Audit.File))
		return when(taken, "must be outside storage.path and secrets.key_dir: it is appended to")
	}},
	{[]string{"assertion.jwks_file", "storage.path"}, func(c Config) string {
		if c.Assertion.JWKSFile == "" {
			return ""
		}
		return keyFileBesideStore(c, c.Assertion.JWKSFile)
	}},
	{[]string{"bootstrap.mode", "listen_addr"}, func(c Config) string {
		open := c.Bootstrap.Mode == "first-login" && !loopbackListener(c.ListenAddr)
		return when(open, "must not be first-login unless listen_addr is a loopback address: the first stranger would become admin")
	}},
	{[]string{"providers", "providers.near_wallet", "providers.eth_wallet", "providers.user_password"}, func(c Config) string {
		return when(c.Providers == (Providers{}), "switch on at least one: nobody could log in")
	}},
	{[]string{"near.rpc_url", "near.network", "providers.near_wallet"}, func(c Config) string {
		return when(c.Providers.NearWallet && c.Near.RPCURL == "", "must be set for a network that is neither testnet nor mainnet")
	}},
	{[]string{"eth.chain_ids", "providers.eth_wallet"}, func(c Config) string {
		return when(c.Providers.EthWallet && len(c.Eth.ChainIDs) == 0, "must name at least one chain while providers.eth_wallet is on")
	}},
	{[]string{"user_password.min_password_length", "user_password.max_password_length"}, func(c Config) string {
		return when(c.UserPassword.MinLength > c.UserPassword.MaxLength, "must not be above user_password.max_password_length")
	}},
	{[]string{"development.enable_mock_auth"}, func(c Config) string {
		return when(c.Development.EnableMockAuth && !mockBuild, "must be false: mock tokens exist only in a build with the tag mock, and this is none")
	}},
	{[]string{envAdminUser, "providers.user_password"}, func(c Config) string {
		return when(c.Admin.User != "" && !c.Providers.UserPassword, "needs providers.user_password = true: this account could never log in")
	}},
	{[]string{envAdminPassword, "user_password.min_password_length", "user_password.max_password_length"}, func(c Config) string {
		password := c.Admin.Password.Reveal()
		fits := utf8.RuneCountInString(password) >= c.UserPassword.MinLength && len(password) <= c.UserPassword.MaxLength
		return when(password != "" && !fits, fmt.Sprintf("must have at least %d characters and at most %d bytes",
			c.UserPassword.MinLength, c.UserPassword.MaxLength))
	}},
}

func when(broken bool, message string) string {
	if broken {
		return message
	}
	return ""
}

// relate checks the rules between values, except those about values that have a problem already.
func (l *loader) relate(c Config) {
	if l.bad[""] {
		return
	}
	for _, r := range rules {
		if slices.ContainsFunc(r.keys, func(k string) bool { return l.bad[k] }) {
			continue
		}
		if message := r.broken(c); message != "" {
			l.problem(l.blame(r.keys[0], c, message))
		}
	}
	key, file := l.origins["secrets.master_key"], l.origins["secrets.master_key_file"]
	if key.layer != fromDefaults && file.layer != fromDefaults && c.Secrets.MasterKey != "" {
		l.problem(l.blame("secrets.master_key", c, "must not be set together with secrets.master_key_file: keep one"))
	}
}

// blame describes a problem of a value that is good for itself.
func (l *loader) blame(key string, c Config, message string) Problem {
	p := Problem{Key: key, Message: message, at: l.origins[key]}
	if p.at.layer == fromDefaults {
		p.at = origin{layer: fromNowhere}
	}
	if f, ok := l.byName[key]; ok {
		p.Value = f.literal(&c)
	}
	return p
}

// oneAddress finds listeners that would take each other's port.
func oneAddress(c Config) string {
	host, port, _ := net.SplitHostPort(c.ListenAddr)
	adminHost, adminPort, _ := net.SplitHostPort(c.AdminAddr)
	same := listenHost(host) == listenHost(adminHost) || listenHost(host) == "" || listenHost(adminHost) == ""
	return when(port == adminPort && strings.Trim(port, "0") != "" && same, "must differ from listen_addr: they cannot share a port")
}

// listenHost is "" for every way to write "all addresses".
func listenHost(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.IsUnspecified() {
			return ""
		}
		return a.Unmap().String()
	}
	return strings.ToLower(host)
}

// loopbackListener accepts literal addresses only: what a name means is decided elsewhere.
func loopbackListener(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// besideStore refuses a key inside the store: a copy of the store would then contain what opens it.
func besideStore(c Config, place string) string {
	return when(inside(c.Storage.Path, place), "must be outside storage.path: a copy of the store must not contain its key")
}

// keyFileBesideStore leaves files in the key directory to the rule about that directory.
func keyFileBesideStore(c Config, place string) string {
	if inside(c.Secrets.KeyDir, place) {
		return ""
	}
	return besideStore(c, place)
}

func inside(dir, place string) bool {
	absDir, err := filepath.Abs(dir)
	if err != nil {
		absDir = filepath.Clean(dir)
	}
	absPlace, err := filepath.Abs(place)
	if err != nil {
		absPlace = filepath.Clean(place)
	}
	rel, err := filepath.Rel(absDir, absPlace)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// advise warns about settings that are legal and dangerous, or that cannot work as they are.
func (l *loader) advise(c Config) {
	for _, a := range []struct {
		applies bool
		key     string
		message string
	}{
		{c.Storage.Type == "memory", "storage.type", "everything, keys included, is gone when the service stops"},
		{c.Bootstrap.Mode == "first-login", "bootstrap.mode", "the first login becomes admin without a secret: for tests only"},
		{
			strings.HasPrefix(c.PublicURL, "http://") && !localURL(c.PublicURL), "public_url",
			"tokens travel in the clear: put TLS in front and write https",
		},
		{
			c.CORS.AllowAllOrigins && len(c.CORS.AllowedOrigins) > 0, "cors.allowed_origins",
			"has no effect while cors.allow_all_origins is true",
		},
		{
			c.Providers.NearWallet && len(c.Near.Recipients) == 0 && !c.Near.AllowLegacyRecipient, "providers.near_wallet",
			"refuses every login until public_url, near.recipients or near.allow_legacy_recipient is set",
		},
		{
			c.Providers.NearWallet && readableOnTheWay(c.Near.RPCURL), "near.rpc_url",
			"whoever is on the way to it decides who owns a key: write https",
		},
		{
			c.Providers.EthWallet && readableOnTheWay(c.Eth.RPCURL), "eth.rpc_url",
			"whoever is on the way to it decides who owns an account: write https",
		},
		{
			c.Providers.EthWallet && (c.Eth.Domain == "" || c.Eth.URI == ""), "providers.eth_wallet",
			"refuses every login until public_url (or eth.domain and eth.uri) is set",
		},
		{c.Security.RateLimit.RPM == 0, "security.rate_limit.rate_limit_rpm", "there are no rate limits: whoever guesses passwords is not slowed down"},
		{c.Eth.AllowPersonalSign, "eth.allow_personal_sign", "a foreign site can have the challenge signed: switch it off when no client needs it"},
		{c.Development.EnableMockAuth, "development.enable_mock_auth", "tokens are issued without any proof: for tests only"},
	} {
		if a.applies {
			l.warn(a.key, l.origins[a.key], a.message)
		}
	}
}

func readableOnTheWay(e Endpoint) bool {
	u, err := url.Parse(e.Reveal())
	return err == nil && u.Scheme == "http" && !localURL("http://"+u.Host)
}

func localURL(publicURL string) bool {
	_, host, _ := strings.Cut(publicURL, "://")
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (err == nil && a.IsLoopback())
}
