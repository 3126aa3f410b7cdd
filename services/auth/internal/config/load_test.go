package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// files is a ReadFile over a map.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	text, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

const file = "auth.toml"

// load reads a file with the given text and the given environment.
func load(text string, environ ...string) (config.Config, []config.Warning, error) {
	return config.Load(config.Input{File: file, Environ: environ, ReadFile: files{file: text}.read})
}

func mustLoad(t *testing.T, text string, environ ...string) (config.Config, []config.Warning) {
	t.Helper()
	c, warnings, err := load(text, environ...)
	if err != nil {
		t.Fatalf("Load(%q, %q): %v", text, environ, err)
	}
	return c, warnings
}

// problems returns what Load complains about, one line each.
func problems(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	_, _, err := load(text, environ...)
	if err == nil {
		return nil
	}
	var list config.Problems
	if !errors.As(err, &list) {
		t.Fatalf("Load(%q, %q) fails with %T, want config.Problems", text, environ, err)
	}
	lines := make([]string, len(list))
	for i, p := range list {
		lines[i] = p.String()
	}
	return lines
}

func warningKeys(warnings []config.Warning) []string {
	keys := make([]string, len(warnings))
	for i, w := range warnings {
		keys[i] = w.Key
	}
	slices.Sort(keys)
	return keys
}

func TestLoad_Defaults(t *testing.T) {
	got, warnings, err := config.Load(config.Input{})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("Load of nothing: warnings %v, error %v; want neither", warnings, err)
	}
	want := config.Config{
		ListenAddr: "127.0.0.1:3001",
		AdminAddr:  "127.0.0.1:8081",
		JWT: config.JWT{
			Issuer: "calimero-auth", Algorithm: "HS256", AccessExpiry: 3600 * time.Second, RefreshExpiry: 2592000 * time.Second,
			RefreshWindow: 120 * time.Second, RefreshGrace: 10 * time.Second, MachineMax: 366 * 24 * time.Hour,
		},
		Storage: config.Storage{Type: "bbolt", Path: "./data/auth"},
		Secrets: config.Secrets{
			KeyDir: "data/auth.key", MasterKeyFile: "data/auth.key/master.key", Rotation: 24 * time.Hour, Grace: 48 * time.Hour,
		},
		Bootstrap: config.Bootstrap{Mode: "secret"},
		Forward: config.Forward{
			TrustedProxies:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			QueryTokenPaths: []string{"/ws", "/sse"}, AllowPreflight: true,
		},
		Assertion: config.Assertion{Algorithm: "hmac", KeyFile: "data/auth.key/assertion.keys", TTL: time.Minute, Bind: "request"},
		Security: config.Security{
			MaxBodySize: 1048576, MaxConnections: 10000, MaxAdminConnections: 100, MaxClients: 1000,
			RateLimit: config.RateLimit{RPM: 50, Burst: 5},
			Headers: config.Headers{
				Enabled: true, HSTSMaxAge: 31536000, HSTSIncludeSubdomains: true, FrameOptions: "DENY", ContentTypeOptions: true,
				ReferrerPolicy: "strict-origin-when-cross-origin", CSP: config.CSP{Enabled: true},
			},
		},
		Providers: config.Providers{UserPassword: true},
		Near: config.Near{
			Network: "testnet", RPCURL: "https://rpc.testnet.near.org", WalletURL: "https://wallet.testnet.near.org",
			HelperURL: "https://helper.testnet.near.org", AllowLegacyRecipient: true,
		},
		Eth:          config.Eth{ChainIDs: []uint64{1}},
		UserPassword: config.UserPassword{MinLength: 8, MaxLength: 128, MemoryKiB: 19456, Iterations: 2},
		Development:  config.Development{MockAuthRequireHeader: true},
		Audit:        config.Audit{MaxAge: 90 * 24 * time.Hour, MaxBytes: 268435456},
		Log:          config.Log{Level: "info", Format: "json"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Load of nothing =\n%+v\nwant\n%+v", got, want)
	}
	if resolved := config.Defaults().Resolve(); !reflect.DeepEqual(resolved, want) {
		t.Errorf("Defaults().Resolve() =\n%+v\nwant\n%+v", resolved, want)
	}
}

// contract check 54
func TestLoad_Precedence(t *testing.T) {
	text := "listen_addr = \"127.0.0.1:1\"\n[jwt]\nissuer = \"file\"\n[log]\nlevel = \"error\"\n"
	tests := []struct {
		name    string
		in      config.Input
		listen  string
		issuer  string
		level   string
		text    string
		environ []string
	}{
		{name: "defaults", listen: "127.0.0.1:3001", issuer: "calimero-auth", level: "info"},
		{name: "file over defaults", text: text, listen: "127.0.0.1:1", issuer: "file", level: "error"},
		{
			name: "environment over file", text: text, environ: []string{"AUTH_LISTEN_ADDR=127.0.0.1:2", "AUTH_JWT__ISSUER=env"},
			listen: "127.0.0.1:2", issuer: "env", level: "error",
		},
		{
			name: "environment without a file", environ: []string{"AUTH_LISTEN_ADDR=127.0.0.1:2", "AUTH_JWT__ISSUER=env"},
			listen: "127.0.0.1:2", issuer: "env", level: "info",
		},
		{
			name: "flags over environment", text: text, environ: []string{"AUTH_LISTEN_ADDR=127.0.0.1:2", "AUTH_LOG__LEVEL=warn"},
			in: config.Input{Flags: config.Flags{Bind: "127.0.0.1:3", Verbosity: 2}}, listen: "127.0.0.1:3", issuer: "file", level: "debug",
		},
		{
			name: "double underscore over single, whichever comes first", environ: []string{"AUTH__JWT__ISSUER=double", "AUTH_JWT__ISSUER=single"},
			listen: "127.0.0.1:3001", issuer: "double", level: "info",
		},
		{
			name: "double underscore alone", environ: []string{"AUTH__LISTEN_ADDR=127.0.0.1:4", "AUTH__JWT__ISSUER=double"},
			listen: "127.0.0.1:4", issuer: "double", level: "info",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.in
			in.File, in.Environ, in.ReadFile = file, tt.environ, files{file: tt.text}.read
			c, _, err := config.Load(in)
			if err != nil {
				t.Fatal(err)
			}
			if c.ListenAddr != tt.listen || c.JWT.Issuer != tt.issuer || c.Log.Level != tt.level {
				t.Errorf("listen_addr, jwt.issuer, log.level = %q, %q, %q; want %q, %q, %q",
					c.ListenAddr, c.JWT.Issuer, c.Log.Level, tt.listen, tt.issuer, tt.level)
			}
		})
	}
}

func TestLoad_ConfigurationFile(t *testing.T) {
	named := files{"named.toml": "[jwt]\nissuer = \"named\"\n", "usual.toml": "[jwt]\nissuer = \"usual\"\n"}
	tests := []struct {
		name   string
		in     config.Input
		issuer string
	}{
		{"usual", config.Input{File: "usual.toml"}, "usual"},
		{"usual absent", config.Input{File: "absent.toml"}, "calimero-auth"},
		{"named in place of usual", config.Input{File: "usual.toml", Flags: config.Flags{File: "named.toml"}}, "named"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.ReadFile = named.read
			c, _, err := config.Load(tt.in)
			if err != nil || c.JWT.Issuer != tt.issuer {
				t.Errorf("jwt.issuer = %q, error %v; want %q", c.JWT.Issuer, err, tt.issuer)
			}
		})
	}
	_, _, err := config.Load(config.Input{File: "usual.toml", Flags: config.Flags{File: "absent.toml"}, ReadFile: named.read})
	if err == nil || !strings.Contains(err.Error(), "(flag --config): cannot read the configuration file: open absent.toml") {
		t.Errorf("Load with --config absent.toml: %v, want a refusal that names the flag and the file", err)
	}
	denied := func(string) ([]byte, error) { return nil, fs.ErrPermission }
	if _, _, err := config.Load(config.Input{File: "usual.toml", ReadFile: denied}); err == nil {
		t.Error("Load with an unreadable file starts with the defaults, want a refusal")
	}
	huge := files{file: strings.Repeat("#", 1<<20+1)}
	if _, _, err := config.Load(config.Input{File: file, ReadFile: huge.read}); err == nil {
		t.Error("Load with a file over 1 MiB succeeds, want a refusal")
	}
}

// The whole point of strictness: one start, one list.
func TestLoad_EveryProblemAtOnce(t *testing.T) {
	text := `listen_addr = "nowhere"
public_url = "https://me:hunter2@node.example"
typo_addr = "x"
"jwt.issuer" = "quoted"

[jwt]
issuer = 5
acess_token_expiry = 60
refresh_grace = 61
leeway = "1m"

[storage]
type = "sqlite"

[secrets]
master_key = "c2hvcnQ="

[forward]
trusted_proxies = ["10.0.0.0/8", "172.18.0.0/16", "all"]
plain_proxy = "nginx"

[provider]
user_password = true

[eth]
chain_ids = [1, 0]

[log.level]
auth = "debug"
`
	environ := []string{"AUTH_ASSERTION__TTL=5", "AUTH_CORS__ALLOW_ALL_ORIGINS=maybe", "AUTH_BOOTSTRAP__SECRET=hunter2", "MERO_AUTH_ADMIN_USER=root"}
	want := []string{
		`listen_addr = "nowhere" (auth.toml:1): must be host:port, for example "127.0.0.1:3001"`,
		`public_url (auth.toml:2): must have no user name or password`,
		`typo_addr (auth.toml:3): unknown key`,
		`'jwt.issuer' (auth.toml:4): unknown key: a dot inside quotation marks begins no section`,
		`jwt.issuer = 5 (auth.toml:7): must be a text: write it in quotation marks`,
		`jwt.acess_token_expiry (auth.toml:8): unknown key; did you mean jwt.access_token_expiry?`,
		`jwt.refresh_grace = 61 (auth.toml:9): must be between 0 and 60 seconds`,
		`jwt.leeway = "1m" (auth.toml:10): must be whole seconds: write 60`,
		`storage.type = "sqlite" (auth.toml:13): must be "bbolt" or "memory"`,
		`secrets.master_key (auth.toml:16): must be the base64 of exactly 32 bytes (make one with: openssl rand -base64 32)`,
		`forward.trusted_proxies = ["10.0.0.0/8", "172.18.0.0/16", "all"] (auth.toml:19): entry 1 must not be wider than /16: every peer in it could choose what is judged`,
		`forward.trusted_proxies = ["10.0.0.0/8", "172.18.0.0/16", "all"] (auth.toml:19): entry 3 must be an address or a network, for example "172.18.0.5" or "10.0.3.0/24"`,
		`forward.plain_proxy = "nginx" (auth.toml:20): must be "", "traefik", "caddy" or "haproxy"`,
		`provider (auth.toml:22): unknown key; did you mean providers?`,
		`eth.chain_ids = [1, 0] (auth.toml:26): entry 2 must be at least 1`,
		`log.level (auth.toml:28): is a value and not a section`,
		`MERO_AUTH_ADMIN_USER (environment MERO_AUTH_ADMIN_USER): is set without a password: set MERO_AUTH_ADMIN_PASSWORD_FILE or MERO_AUTH_ADMIN_PASSWORD too`,
		`assertion.ttl = 5 (environment AUTH_ASSERTION__TTL): must be between 10 and 3600 seconds`,
		`bootstrap.secret (environment AUTH_BOOTSTRAP__SECRET): must have 20 to 512 characters, hyphens and spaces not counted`,
		`cors.allow_all_origins = "maybe" (environment AUTH_CORS__ALLOW_ALL_ORIGINS): must be true or false`,
	}
	got := problems(t, text, environ...)
	if !slices.Equal(got, want) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	_, _, err := load(text, environ...)
	if first, _, _ := strings.Cut(err.Error(), "\n"); first != fmt.Sprintf("the configuration has %d problems:", len(want)) {
		t.Errorf("first line of the error = %q, want the number of problems", first)
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "c2hvcnQ") {
		t.Errorf("the error shows a secret: %v", err)
	}
}

// A bad value stays a problem when a later source replaces it: the file is broken and someone should mend it.
func TestLoad_ReplacedValueIsStillChecked(t *testing.T) {
	got := problems(t, "[assertion]\nttl = 1\n", "AUTH_ASSERTION__TTL=30")
	if len(got) != 1 || !strings.HasPrefix(got[0], "assertion.ttl = 1 (auth.toml:2)") {
		t.Errorf("problems = %q, want the one of the file", got)
	}
}

func TestLoad_BrokenTOML(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no value", "[jwt]\nissuer = \n", "(auth.toml:2:10): this is not TOML: "},
		{"stray bracket", "listen_addr = \"127.0.0.1:1\"\n[jwt\n", "(auth.toml:2:5): this is not TOML: "},
		{"key twice", "[jwt]\nissuer = \"a\"\nissuer = \"b\"\n", "(auth.toml:3:1): this is not TOML: "},
		{"JSON", `{"listen_addr": "127.0.0.1:1"}`, "(auth.toml:1:1): this is JSON: give the file a name that ends in .json, or write it in TOML"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := problems(t, tt.text)
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("problems of %q = %q, want one that begins with %q", tt.text, got, tt.want)
			}
		})
	}
}

// A syntax error must not quote the line that it is in.
func TestLoad_BrokenTOMLShowsNoSecret(t *testing.T) {
	for _, text := range []string{
		"[bootstrap]\nsecret = hunter2hunter2hunter2\n",
		"[bootstrap]\nsecret = \"hunter2hunter2hunter2\n",
		"[bootstrap]\nsecret = \"hunter2\\q\"\n",
		"[bootstrap]\nsecret = 'hunter2' hunter2\n",
		"[bootstrap]\nsecrett = \"hunter2hunter2hunter2\"\n",
		"[[bootstrap]]\nsecret = \"hunter2hunter2hunter2\"\n",
		"bootstrap = \"hunter2\"\n",
		"[jwt.issuer]\nhunter = \"hunter2\"\n",
	} {
		_, _, err := load(text)
		if err == nil {
			t.Errorf("Load(%q) succeeds, want a refusal", text)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Load(%q) shows the secret: %v", text, err)
		}
	}
}

func TestLoad_WrongShape(t *testing.T) {
	tests := []struct{ text, want string }{
		{"jwt = 5\n", "jwt (auth.toml:1): is a section: write [jwt] once and its keys below"},
		{"[[jwt]]\nissuer = \"a\"\n", "jwt (auth.toml:1): is a section: write [jwt] once and its keys below"},
		{"[listen_addr]\nport = 1\n", "listen_addr (auth.toml:1): is a value and not a section"},
		{"issuer = \"a\"\n", "issuer (auth.toml:1): unknown key; did you mean jwt.issuer?"},
		{"[jwt]\nIssuer = \"a\"\n", "jwt.Issuer (auth.toml:2): unknown key; did you mean jwt.issuer?"},
		{"[jwt]\nissuer.name = \"a\"\n", "jwt.issuer (auth.toml:2): is a value and not a section"},
		{"jwt = { issuer = \"a\", algorithm = 1 }\n", "jwt.algorithm = 1 (auth.toml:1): must be a text: write it in quotation marks"},
		{"[security]\nmax_body_size = 1048576.0\n", "security.max_body_size = 1.048576e+06 (auth.toml:2): must be a whole number, without quotation marks"},
		{"[security]\nmax_body_size = \"1\"\n", `security.max_body_size = "1" (auth.toml:2): must be a whole number, without quotation marks`},
		{"[jwt]\naccess_token_expiry = 9223372036854775807\n", "jwt.access_token_expiry = 9223372036854775807 (auth.toml:2): must be between 10 and 31622400 seconds"},
		{"[jwt]\naccess_token_expiry = 2026-01-01\n", "jwt.access_token_expiry = 2026-01-01 (auth.toml:2): must be whole seconds, without quotation marks"},
		{"[user_password]\nargon2_memory_kib = -1\n", "user_password.argon2_memory_kib = -1 (auth.toml:2): must be between 7168 and 1048576"},
		{"[forward]\nallow_preflight = \"true\"\n", `forward.allow_preflight = "true" (auth.toml:2): must be true or false, without quotation marks`},
		{"[forward]\nquery_token_paths = \"/ws\"\n", `forward.query_token_paths = "/ws" (auth.toml:2): must be a list: write it in square brackets`},
		{"[forward]\nquery_token_paths = [1]\n", `forward.query_token_paths = [1] (auth.toml:2): entry 1 must be a text: write it in quotation marks`},
		{"[eth]\nchain_ids = [\"1\"]\n", `eth.chain_ids = ["1"] (auth.toml:2): entry 1 must be a whole number, without quotation marks`},
		{"[jwt]\n\n\nissuer = \"\"\n", `jwt.issuer = "" (auth.toml:4): must have 1 to 128 characters`},
	}
	for _, tt := range tests {
		got := problems(t, tt.text)
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("problems of %q =\n%s\nwant\n%s", tt.text, strings.Join(got, "\n"), tt.want)
		}
	}
}

func TestLoad_KeyInTwoSources_NamesTheOneThatCounts(t *testing.T) {
	got := problems(t, "admin_addr = \"127.0.0.1:1\"\n", "AUTH_ADMIN_ADDR=127.0.0.1:3001")
	want := `admin_addr = "127.0.0.1:3001" (environment AUTH_ADMIN_ADDR): must differ from listen_addr: they cannot share a port`
	if len(got) != 1 || got[0] != want {
		t.Errorf("problems = %q, want %q", got, want)
	}
}

func TestLoad_ProviderSectionSwitchesOffTheOthers(t *testing.T) {
	tests := []struct {
		text    string
		environ []string
		want    config.Providers
	}{
		{"", nil, config.Providers{UserPassword: true}},
		{"", []string{"AUTH_PROVIDERS__ETH_WALLET=true"}, config.Providers{UserPassword: true, EthWallet: true}},
		{"[providers]\neth_wallet = true\n", nil, config.Providers{EthWallet: true}},
		{"providers.eth_wallet = true\n", nil, config.Providers{EthWallet: true}},
		{"[providers]\neth_wallet = true\n", []string{"AUTH_PROVIDERS__USER_PASSWORD=true"}, config.Providers{EthWallet: true, UserPassword: true}},
	}
	for _, tt := range tests {
		c, _ := mustLoad(t, tt.text, tt.environ...)
		if c.Providers != tt.want {
			t.Errorf("providers of %q with %q = %+v, want %+v", tt.text, tt.environ, c.Providers, tt.want)
		}
	}
	if got := problems(t, "[providers]\n"); len(got) != 1 || got[0] != "providers: switch on at least one: nobody could log in" {
		t.Errorf("problems of an empty [providers] = %q, want that nobody could log in", got)
	}
}

func readTestdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLoad_READMEExample(t *testing.T) {
	c, warnings := mustLoad(t, readTestdata(t, "readme_example.toml"))
	want := config.Defaults()
	want.ListenAddr = "0.0.0.0:3111"
	want.JWT.Issuer, want.JWT.AccessExpiry, want.JWT.RefreshExpiry = "readme-issuer", 1200*time.Second, 86400*time.Second
	want.Storage.Path = "/srv/readme/auth"
	want.CORS = config.CORS{AllowAllOrigins: true, AllowedMethods: []string{"GET", "POST"}, AllowedHeaders: []string{"Authorization"}}
	want.Security.MaxBodySize, want.Security.RateLimit = 524288, config.RateLimit{RPM: 40, Burst: 4}
	want.Security.Headers.HSTSMaxAge, want.Security.Headers.FrameOptions = 600, "SAMEORIGIN"
	want.Providers = config.Providers{NearWallet: true}
	want.Near.Network, want.Near.RPCURL, want.Near.WalletURL = "mainnet", "https://near-rpc.example", "https://near-wallet.example/app"
	if want = want.Resolve(); !reflect.DeepEqual(c, want) {
		t.Errorf("Load of the README's example =\n%+v\nwant\n%+v", c, want)
	}
	wantKeys := []string{"cors.allowed_headers", "cors.allowed_methods"}
	if got := warningKeys(warnings); !slices.Equal(got, wantKeys) {
		t.Errorf("warnings about %q, want %q", got, wantKeys)
	}
}

func TestLoad_ServicePageExample(t *testing.T) {
	c, _ := mustLoad(t, readTestdata(t, "service_page.toml"))
	if c.Storage.Type != "bbolt" || c.Storage.Path != "/srv/page/auth" || c.Secrets.KeyDir != "/srv/page/auth.key" || c.JWT.Issuer != "page-issuer" {
		t.Errorf("storage %+v, secrets.key_dir %q, jwt.issuer %q; want bbolt at /srv/page/auth, its sibling and page-issuer",
			c.Storage, c.Secrets.KeyDir, c.JWT.Issuer)
	}
}

// The reference's shipped file, without the line that switches mock tokens on (mock_*_test.go has that).
func TestLoad_ReferenceShippedFile(t *testing.T) {
	text := strings.Replace(readTestdata(t, "reference_shipped.toml"), "enable_mock_auth = true\n", "", 1)
	c, warnings := mustLoad(t, text)
	want := config.Defaults()
	want.ListenAddr = "0.0.0.0:3113"
	want.JWT.Issuer, want.JWT.AccessExpiry, want.JWT.RefreshExpiry = "shipped-issuer", 1800*time.Second, 172800*time.Second
	want.Storage.Path = "./shipped/store"
	want.CORS = config.CORS{
		AllowAllOrigins: true, AllowedMethods: []string{"GET", "POST", "PUT"}, AllowedHeaders: []string{"Authorization", "Content-Type"},
		ExposedHeaders: []string{"X-Auth-Error"}, MaxAge: 60, VaryHeader: true,
	}
	want.Security.MaxBodySize = 2097152
	want.Security.Headers.HSTSMaxAge, want.Security.Headers.ReferrerPolicy = 1000, "same-origin"
	want.Security.Headers.CSP = config.CSP{
		Enabled: true, DefaultSrc: []string{"'self'"}, ScriptSrc: []string{"'self'", "'unsafe-inline'"}, StyleSrc: []string{"'self'"},
		ConnectSrc: []string{"'self'", "http://localhost:*", "https://*.nip.io:*", "https:"},
	}
	want.Providers = config.Providers{NearWallet: true, UserPassword: true}
	want.Near.RPCURL, want.Near.WalletURL, want.Near.HelperURL = "https://near-rpc.example", "https://near-wallet.example", "https://near-helper.example"
	want.UserPassword.MinLength, want.UserPassword.MaxLength = 9, 99
	want.Development.MockAuthHeaderValue = "Bearer shipped-mock-value"
	if want = want.Resolve(); !reflect.DeepEqual(c, want) {
		t.Errorf("Load of the shipped file =\n%+v\nwant\n%+v", c, want)
	}
	for _, key := range []string{
		"cors.allowed_methods", "cors.exposed_headers", "cors.max_age", "cors.vary_header", "security.headers.csp.enabled",
		"security.headers.csp.script_src",
	} {
		if n := len(slices.DeleteFunc(warningKeys(warnings), func(k string) bool { return k != key })); n != 1 {
			t.Errorf("%d warnings about %s, want 1", n, key)
		}
	}
}

func TestLoad_KeyWithoutEffectWarnsOnce(t *testing.T) {
	_, warnings := mustLoad(t, "[cors]\nmax_age = 5\n", "AUTH_CORS__MAX_AGE=6")
	if len(warnings) != 1 || warnings[0].Key != "cors.max_age" || warnings[0].Origin != "auth.toml:2" {
		t.Errorf("warnings = %v, want one about cors.max_age", warnings)
	}
}

// The sample in deploy/config must stay loadable, and what it shows behind # must be what applies without it.
func TestExampleFile(t *testing.T) {
	b, err := os.ReadFile("../../../../deploy/config/auth.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, warnings := mustLoad(t, string(b))
	if len(warnings) > 0 {
		t.Errorf("warnings = %v, want none", warnings)
	}
	var active strings.Builder
	shown := 0
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line, shown = line[1:], shown+1
		}
		active.WriteString(line)
	}
	if shown < 20 {
		t.Fatalf("%d settings behind #, want at least 20", shown)
	}
	all, _ := mustLoad(t, active.String())
	if !reflect.DeepEqual(all, c) {
		t.Errorf("the sample with every setting active =\n%+v\nwant what applies without them\n%+v", all, c)
	}
}
