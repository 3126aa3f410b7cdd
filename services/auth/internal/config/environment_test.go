package config_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

const (
	secretOne = "one-one-one-one-one-one-one"
	secretTwo = "two-two-two-two-two-two-two"
)

func TestLoad_EnvironmentTypes(t *testing.T) {
	c, warnings := mustLoad(t, "[forward]\nquery_token_paths = [\"/a\"]\n[cors]\nallowed_origins = [\"https://a.example\"]\n",
		"AUTH_JWT__ACCESS_TOKEN_EXPIRY= 90 ",
		"AUTH_FORWARD__ALLOW_PREFLIGHT=FALSE",
		"AUTH_FORWARD__TRUSTED_PROXIES=172.30.0.2, 10.1.0.0/16,fd00:1:2::/48,",
		"AUTH_FORWARD__QUERY_TOKEN_PATHS=",
		"AUTH_ETH__CHAIN_IDS=1,11155111",
		"AUTH_SECURITY__RATE_LIMIT__RATE_LIMIT_RPM=7",
		"AUTH_STORAGE__TYPE=rocksdb",
		"AUTH_SECURITY__HEADERS__CONTENT_TYPE_OPTIONS=nosniff",
		"AUTH_USER_PASSWORD__ARGON2_MEMORY_KIB=8192",
		"HOME=/root", "novalue", "=", "AUTH_JWT__ISSUER=a=b",
	)
	if len(warnings) > 0 {
		t.Errorf("warnings = %v, want none", warnings)
	}
	var proxies []string
	for _, p := range c.Forward.TrustedProxies {
		proxies = append(proxies, p.String())
	}
	if want := []string{"172.30.0.2/32", "10.1.0.0/16", "fd00:1:2::/48"}; !slices.Equal(proxies, want) {
		t.Errorf("forward.trusted_proxies = %q, want %q", proxies, want)
	}
	if c.Forward.QueryTokenPaths != nil {
		t.Errorf("forward.query_token_paths = %q, want none", c.Forward.QueryTokenPaths)
	}
	if !slices.Equal(c.Eth.ChainIDs, []uint64{1, 11155111}) {
		t.Errorf("eth.chain_ids = %d, want 1 and 11155111", c.Eth.ChainIDs)
	}
	if c.JWT.AccessExpiry.Seconds() != 90 || c.Forward.AllowPreflight || c.Security.RateLimit.RPM != 7 || c.Storage.Type != "bbolt" ||
		!c.Security.Headers.ContentTypeOptions || c.UserPassword.MemoryKiB != 8192 || c.JWT.Issuer != "a=b" {
		t.Errorf("Load = %+v, want every value of the environment", c)
	}
}

func TestLoad_EnvironmentBadValues(t *testing.T) {
	const proxies, chains = "AUTH_FORWARD__TRUSTED_PROXIES", "AUTH_ETH__CHAIN_IDS"
	tests := []struct{ environ, want string }{ // problems, one a line
		{"AUTH_JWT__ACCESS_TOKEN_EXPIRY=1h", `jwt.access_token_expiry = "1h" (environment AUTH_JWT__ACCESS_TOKEN_EXPIRY): must be a whole number`},
		{"AUTH__JWT__ACCESS_TOKEN_EXPIRY=", `jwt.access_token_expiry = "" (environment AUTH__JWT__ACCESS_TOKEN_EXPIRY): must be a whole number`},
		{"AUTH_ETH__CHAIN_IDS=1,x", `eth.chain_ids = "1,x" (environment AUTH_ETH__CHAIN_IDS): entry 2 must be a whole number`},
		{chains + "=0,5,x,y", `eth.chain_ids = "0,5,x,y" (environment AUTH_ETH__CHAIN_IDS): entry 1 must be at least 1
eth.chain_ids = "0,5,x,y" (environment AUTH_ETH__CHAIN_IDS): entry 3 must be a whole number
eth.chain_ids = "0,5,x,y" (environment AUTH_ETH__CHAIN_IDS): entry 4 must be a whole number`},
		{proxies + "=10.0.0.0/8,172.18.0.5,proxy", `forward.trusted_proxies = ["10.0.0.0/8", "172.18.0.5", "proxy"] (environment AUTH_FORWARD__TRUSTED_PROXIES): entry 1 must not be wider than /16: every peer in it could choose what is judged
forward.trusted_proxies = ["10.0.0.0/8", "172.18.0.5", "proxy"] (environment AUTH_FORWARD__TRUSTED_PROXIES): entry 3 must be an address or a network, for example "172.18.0.5" or "10.0.3.0/24"`},
		{"AUTH_JWT__ISSUER=\xff", `jwt.issuer = "?" (environment AUTH_JWT__ISSUER): is not valid UTF-8`},
		{"AUTH_NEAR__API_KEY=\xffhunter2", `near.api_key (environment AUTH_NEAR__API_KEY): is not valid UTF-8`},
		{"AUTH_FORWARD__TRUSTED_PROXIES=0.0.0.0/0", `forward.trusted_proxies = ["0.0.0.0/0"] (environment AUTH_FORWARD__TRUSTED_PROXIES): entry 1 must not begin with the unspecified address: name your proxy`},
	}
	for _, tt := range tests {
		if got := strings.Join(problems(t, "", tt.environ), "\n"); got != tt.want {
			t.Errorf("problems with %q = %q, want %q", tt.environ, got, tt.want)
		}
	}
}

// Kubernetes puts such names into every container beside a service called auth; they must not stop the start.
func TestLoad_UnknownEnvironmentOnlyWarns(t *testing.T) {
	_, warnings := mustLoad(t, "",
		"AUTH_SERVICE_HOST=10.0.0.1", "AUTH_PORT_3001_TCP=tcp://10.0.0.1:3001", "AUTH_JWT_ISSUER=x", "MERO_AUTH_ADMIN_PASWORD=hunter2", "AUTHOR=me",
		"MERO_AUTH_SERVER=http://localhost:8080", "MERO_AUTH_TOKEN=x", "MERO_AUTH_PASSPHRASE=x", "MERO_AUTH_PASSPHRASE_FILE=x") // of our own commands
	want := []string{"AUTH_JWT_ISSUER", "AUTH_PORT_3001_TCP", "AUTH_SERVICE_HOST", "MERO_AUTH_ADMIN_PASWORD"}
	if got := warningKeys(warnings); !slices.Equal(got, want) {
		t.Errorf("warnings about %q, want %q", got, want)
	}
	for _, w := range warnings {
		if strings.Contains(w.String(), "hunter2") {
			t.Errorf("the warning %q shows a value", w)
		}
		if w.Key == "AUTH_JWT_ISSUER" && w.Message != "is no setting; did you mean AUTH_JWT__ISSUER?" {
			t.Errorf("the warning about AUTH_JWT_ISSUER is %q, want the right spelling in it", w.Message)
		}
	}
}

func TestLoad_SecretNames(t *testing.T) {
	secrets := files{"/one": secretOne + "\n", "/two": secretTwo + "\r\n", "/lines": secretOne + "\n\n"}
	tests := []struct {
		name     string
		environ  []string
		want     string
		warnings []string
	}{
		{"value", []string{"AUTH_BOOTSTRAP__SECRET=" + secretOne}, secretOne, nil},
		{"double", []string{"AUTH__BOOTSTRAP__SECRET=" + secretOne}, secretOne, nil},
		{"file", []string{"AUTH_BOOTSTRAP__SECRET_FILE=/one"}, secretOne, nil},
		{"double file with CRLF", []string{"AUTH__BOOTSTRAP__SECRET_FILE=/two"}, secretTwo, nil},
		{"alias", []string{"MERO_AUTH_BOOTSTRAP_SECRET=" + secretOne}, secretOne, nil},
		{"alias file", []string{"MERO_AUTH_BOOTSTRAP_SECRET_FILE=/two"}, secretTwo, nil},
		{"empty file name", []string{"AUTH_BOOTSTRAP__SECRET_FILE=", "AUTH_BOOTSTRAP__SECRET=" + secretOne}, secretOne, nil},
		{"file wins", []string{"AUTH_BOOTSTRAP__SECRET=" + secretOne, "AUTH_BOOTSTRAP__SECRET_FILE=/two"}, secretTwo, []string{"AUTH_BOOTSTRAP__SECRET"}},
		{"double wins", []string{"AUTH__BOOTSTRAP__SECRET=" + secretTwo, "AUTH_BOOTSTRAP__SECRET_FILE=/one"}, secretTwo, []string{"AUTH_BOOTSTRAP__SECRET_FILE"}},
		{"alias loses", []string{"MERO_AUTH_BOOTSTRAP_SECRET=" + secretOne, "AUTH_BOOTSTRAP__SECRET=" + secretTwo}, secretTwo, []string{"MERO_AUTH_BOOTSTRAP_SECRET"}},
		{"same twice", []string{"MERO_AUTH_BOOTSTRAP_SECRET=" + secretOne, "AUTH_BOOTSTRAP__SECRET=" + secretOne}, secretOne, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, warnings, err := config.Load(config.Input{Environ: tt.environ, ReadFile: secrets.read})
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Bootstrap.Secret.Reveal(); got != tt.want {
				t.Errorf("bootstrap.secret with %q = %q, want %q", tt.environ, got, tt.want)
			}
			if got := warningKeys(warnings); !slices.Equal(got, tt.warnings) {
				t.Errorf("warnings about %q, want %q", got, tt.warnings)
			}
		})
	}
	// Only one line end is stripped; the rest is part of the secret, and this key may not have it.
	_, _, err := config.Load(config.Input{Environ: []string{"AUTH_BOOTSTRAP__SECRET_FILE=/lines"}, ReadFile: secrets.read})
	if err == nil || !strings.Contains(err.Error(), "must have no control characters") {
		t.Errorf("Load of a secret with an inner line end: %v, want a refusal", err)
	}
}

func TestLoad_EverySecretFromAFile(t *testing.T) {
	const key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	secrets := files{"/s": secretOne, "/key": key}
	c, _, err := config.Load(config.Input{ReadFile: secrets.read, Environ: []string{
		"NEAR_API_KEY_FILE=/s", "AUTH_DEVELOPMENT__MOCK_AUTH_HEADER_VALUE_FILE=/s", "AUTH_SECRETS__MASTER_KEY_FILE=/key",
		"MERO_AUTH_ADMIN_USER=admin", "MERO_AUTH_ADMIN_PASSWORD_FILE=/s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Near.APIKey != secretOne || c.Development.MockAuthHeaderValue != secretOne || c.Admin.Password != secretOne {
		t.Errorf("near.api_key, mock header, admin password = %q, %q, %q; want each from its file",
			c.Near.APIKey.Reveal(), c.Development.MockAuthHeaderValue.Reveal(), c.Admin.Password.Reveal())
	}
	// This one names a key of its own: the file is read by the owner of the key, at its time.
	if c.Secrets.MasterKeyFile != "/key" || c.Secrets.MasterKey != "" {
		t.Errorf("master_key_file = %q, master key set: %t; want /key and not", c.Secrets.MasterKeyFile, c.Secrets.MasterKey != "")
	}
	c, _ = mustLoad(t, "", "NEAR_API_KEY=alias", "AUTH_NEAR__API_KEY=own")
	if c.Near.APIKey != "own" {
		t.Errorf("near.api_key = %q, want the one of AUTH_NEAR__API_KEY", c.Near.APIKey.Reveal())
	}
}

func TestLoad_SecretFileProblems(t *testing.T) {
	read := func(name string) ([]byte, error) {
		switch name {
		case "/empty":
			return []byte("\n"), nil
		case "/huge":
			return make([]byte, 64<<10+1), nil
		case "/binary":
			return []byte("\xff\xfehunter2"), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	tests := []struct{ file, want string }{
		{"/empty", `the file "/empty" is empty`},
		{"/huge", `the file "/huge" is larger than 65536 bytes: this is no secret`},
		{"/binary", `the file "/binary" is not valid UTF-8`},
		{"/denied", "cannot read the file that the variable names: open /denied: permission denied"},
	}
	for _, tt := range tests {
		for _, name := range []string{"AUTH_BOOTSTRAP__SECRET_FILE", "MERO_AUTH_ADMIN_PASSWORD_FILE"} {
			_, _, err := config.Load(config.Input{Environ: []string{name + "=" + tt.file}, ReadFile: read})
			if err == nil || !strings.HasSuffix(err.Error(), "(environment "+name+"): "+tt.want) {
				t.Errorf("Load with %s=%s: %v, want %q", name, tt.file, err, tt.want)
			}
		}
	}
}

func TestLoad_AdminAccount(t *testing.T) {
	secrets := files{"/password": "from the file\n\n"}
	tests := []struct {
		name     string
		environ  []string
		password string
	}{
		{"password", []string{"MERO_AUTH_ADMIN_USER=ada", "MERO_AUTH_ADMIN_PASSWORD=from the environment"}, "from the environment"},
		{"file wins", []string{"MERO_AUTH_ADMIN_USER=ada", "MERO_AUTH_ADMIN_PASSWORD=other", "MERO_AUTH_ADMIN_PASSWORD_FILE=/password"}, "from the file\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _, err := config.Load(config.Input{Environ: tt.environ, ReadFile: secrets.read})
			if err != nil || c.Admin != (config.Admin{User: "ada", Password: config.Secret(tt.password)}) {
				t.Errorf("admin = %q with password %q, error %v; want ada with %q", c.Admin.User, c.Admin.Password.Reveal(), err, tt.password)
			}
		})
	}
	if c, _ := mustLoad(t, "", "MERO_AUTH_ADMIN_USER=", "MERO_AUTH_ADMIN_PASSWORD=", "MERO_AUTH_ADMIN_PASSWORD_FILE="); c.Admin != (config.Admin{}) {
		t.Errorf("admin of empty variables = %+v, want none", c.Admin)
	}
}

func TestLoad_AdminAccountRefused(t *testing.T) {
	user, password := "MERO_AUTH_ADMIN_USER=ada", "MERO_AUTH_ADMIN_PASSWORD=hunter2hunter2"
	tests := []struct {
		name    string
		text    string
		environ []string
		want    string
	}{
		{"user alone", "", []string{user}, "is set without a password"},
		{"user with an empty password", "", []string{user, "MERO_AUTH_ADMIN_PASSWORD="}, "is set without a password"},
		{"password alone", "", []string{password}, "is set without a user"},
		{"password too short", "", []string{user, "MERO_AUTH_ADMIN_PASSWORD=hunter2"}, "must have at least 8 characters and at most 128 bytes"},
		{"password too long", "[user_password]\nmax_password_length = 9\n", []string{user, password}, "must have at least 8 characters and at most 9 bytes"},
		{"password not UTF-8", "", []string{user, "MERO_AUTH_ADMIN_PASSWORD=hunter2hunter2\xff"}, "is not valid UTF-8"},
		{"user not UTF-8", "", []string{"MERO_AUTH_ADMIN_USER=a\xff", password}, "is not valid UTF-8"},
		{"user with a line end", "", []string{"MERO_AUTH_ADMIN_USER=a\nb", password}, "must have no control characters"},
		{"provider off", "[providers]\neth_wallet = true\n", []string{user, password}, "needs providers.user_password = true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := problems(t, tt.text, tt.environ...)
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("problems = %q, want one with %q", got, tt.want)
			}
			if strings.Contains(strings.Join(got, "\n"), "hunter2") {
				t.Errorf("the problem %q shows the password", got)
			}
		})
	}
}

func TestLoad_RustLog(t *testing.T) {
	tests := []struct{ filter, want string }{
		{"debug", "debug"},
		{"TRACE", "debug"},
		{"off", "error"},
		{"warn", "warn"},
		{"calimero_auth=debug,tower_http=info", "debug"},
		{"warn,mero_auth=error", "error"},
		{"tower_http=debug,warn", "warn"},
		{"info,mero_auth[span]=debug/pattern", "debug"},
		{"tower_http=debug", ""},
		{"nonsense", ""},
	}
	for _, tt := range tests {
		c, warnings := mustLoad(t, "[log]\nlevel = \"error\"\n", "RUST_LOG="+tt.filter)
		want := tt.want
		if want == "" {
			want = "error" // the file's
		}
		if c.Log.Level != want || !slices.Equal(warningKeys(warnings), []string{"RUST_LOG"}) {
			t.Errorf("log.level with RUST_LOG=%s is %q with warnings %v, want %q and one warning", tt.filter, c.Log.Level, warnings, want)
		}
	}
	if c, _ := mustLoad(t, "", "RUST_LOG=debug", "AUTH_LOG__LEVEL=warn"); c.Log.Level != "warn" {
		t.Errorf("log.level = %q, want AUTH_LOG__LEVEL to win over RUST_LOG", c.Log.Level)
	}
}

// The address of an RPC service may hold a key, so it can come from a file, and a bad one is not repeated.
func TestEnvironment_EndpointFromFile(t *testing.T) {
	files := func(name string) ([]byte, error) {
		return []byte(map[string]string{"good": "https://rpc.example/v3/key\n", "bad": "ftp://rpc.example/hunter2\n"}[name]), nil
	}
	c, _, err := config.Load(config.Input{Environ: []string{"AUTH_ETH__RPC_URL_FILE=good", "AUTH__NEAR__RPC_URL_FILE=good"}, ReadFile: files})
	if err != nil || c.Eth.RPCURL.Reveal() != "https://rpc.example/v3/key" || c.Near.RPCURL != c.Eth.RPCURL {
		t.Errorf("eth.rpc_url = %q, near.rpc_url = %q, %v; want that of the file", c.Eth.RPCURL.Reveal(), c.Near.RPCURL.Reveal(), err)
	}
	_, _, err = config.Load(config.Input{Environ: []string{"AUTH_ETH__RPC_URL_FILE=bad"}, ReadFile: files})
	if err == nil || !strings.Contains(err.Error(), "must begin with http") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a bad address: %v, want a problem that does not repeat it", err)
	}
}
