package config_test

import (
	"strings"
	"testing"
)

// accepted and refused hold one file each; the refused ones must give exactly one problem, about the key.

func TestLoad_Accepted(t *testing.T) {
	for _, text := range []string{
		`listen_addr = ":0"`,
		`listen_addr = "[::1]:3001"`,
		`listen_addr = "auth_1.internal:65535"`,
		"listen_addr = \"127.0.0.1:0\"\nadmin_addr = \"127.0.0.1:0\"",
		"listen_addr = \"127.0.0.1:9\"\nadmin_addr = \"127.0.0.2:9\"",
		`public_url = ""`,
		`public_url = "http://localhost:8080/"`,
		"[storage]\npath = \"/a/store\"\n[secrets]\nkey_dir = \"/a/store.key\"",
		"[storage]\npath = \"/a/store\"\n[secrets]\nkey_dir = \"/a\"",
		"[secrets]\nmaster_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"",
		"[bootstrap]\nmode = \"first-login\"",
		"listen_addr = \"[::1]:3001\"\n[bootstrap]\nmode = \"first-login\"",
		"[bootstrap]\nsecret = \"ABCDE-FGHIJ-KLMNO-PQRST\"",
		"[forward]\ntrusted_proxies = []",
		"[forward]\ntrusted_proxies = [\"127.0.0.0/9\", \"::1\", \"10.1.0.0/16\", \"192.168.1.1\", \"fd00:0:1::/48\"]",
		"[forward]\nquery_token_paths = [\"/ws\", \"/sse/\"]",
		"[jwt]\nnode_hosts = [\"node.example\", \"node.example:8443\", \"[::1]:80\", \"10.0.0.1\"]",
		"[jwt]\naccess_token_expiry = 10\nrefresh_token_expiry = 10",
		"[sessions]\nidle_timeout = 60\nmax_lifetime = 300",
		"[sessions]\nidle_timeout = 0\nmax_lifetime = 0",
		"[cors]\nallowed_origins = [\"https://app.example\", \"http://localhost:5173\", \"tauri://localhost\"]",
		"[security.headers.csp]\nconnect_src = [\"'self'\", \"https:\", \"https://*.example:*\"]",
		"[eth]\ndomain = \"node.example:8443\"\nuri = \"https://node.example:8443/auth/login?x=1\"\nstatement = \"Sign in, please (it's free)!\"",
		"[near]\nnetwork = \"localnet\"",
		"[providers]\nuser_password = true\n[eth]\nchain_ids = []",
	} {
		if got := problems(t, text); len(got) > 0 {
			t.Errorf("problems of\n%s\n= %q, want none", text, got)
		}
	}
}

func TestLoad_Refused(t *testing.T) {
	tests := []struct{ text, key, want string }{
		{`listen_addr = ""`, "listen_addr", "must be host:port"},
		{`listen_addr = "3001"`, "listen_addr", "must be host:port"},
		{`listen_addr = "127.0.0.1:http"`, "listen_addr", "port number"},
		{`listen_addr = "127.0.0.1:65536"`, "listen_addr", "port number"},
		{`listen_addr = "127.0.0.1:+1"`, "listen_addr", "port number"},
		{`listen_addr = "256.0.0.1:1"`, "listen_addr", "IP address or a host name"},
		{`listen_addr = "a b:1"`, "listen_addr", "IP address or a host name"},
		{`listen_addr = "http://a:1"`, "listen_addr", "must be host:port"},
		{`admin_addr = ""`, "admin_addr", "must be host:port"},
		{`admin_addr = "127.0.0.1:3001"`, "admin_addr", "must differ"},
		{`admin_addr = "localhost:3001"`, "admin_addr", "must differ"},
		{`admin_addr = "0.0.0.0:3001"`, "admin_addr", "must differ"},
		{`admin_addr = "[::]:3001"`, "admin_addr", "must differ"},
		{`public_url = "node.example"`, "public_url", "full address"},
		{`public_url = "//node.example"`, "public_url", "full address"},
		{`public_url = "ftp://node.example"`, "public_url", "http:// or https://"},
		{`public_url = "https:node.example"`, "public_url", "full address"},
		{`public_url = "https://node.example/app"`, "public_url", "no path"},
		{`public_url = "https://node.example//"`, "public_url", "no path"},
		{`public_url = "https://node.example?a=b"`, "public_url", "no path and no query"},
		{`public_url = "https://node.example?"`, "public_url", "no path and no query"},
		{`public_url = "https://node.example#a"`, "public_url", "fragment"},
		{`public_url = "https://root@node.example"`, "public_url", "no user"},
		{`public_url = "https://node.example:0"`, "public_url", "port"},
		{`public_url = "https://node.example:"`, "public_url", "port"},
		{`public_url = "https://node.example:99999"`, "public_url", "port"},
		{`public_url = "https://node_é.example"`, "public_url", "ASCII"},
		{`public_url = "https://node..example"`, "public_url", "DNS name"},
		{`public_url = "https://1.2.3"`, "public_url", "DNS name"},
		{`public_url = "https://[fe80::1%25eth0]"`, "public_url", "DNS name"},
		{"[jwt]\nissuer = \"a\\u0007b\"", "jwt.issuer", "control characters"},
		{"[jwt]\nalgorithm = \"none\"", "jwt.algorithm", `must be "HS256" or "HS384"`},
		{"[jwt]\nalgorithm = \"hs256\"", "jwt.algorithm", `must be "HS256" or "HS384"`},
		{"[jwt]\naccess_token_expiry = 9", "jwt.access_token_expiry", "between 10 and"},
		{"[jwt]\naccess_token_expiry = 100\nrefresh_token_expiry = 99", "jwt.refresh_token_expiry", "shorter than"},
		{"[sessions]\nidle_timeout = 59", "sessions.idle_timeout", "at least 60"},
		{"[sessions]\nidle_timeout = -1", "sessions.idle_timeout", "between 0 and"},
		{"[sessions]\nmax_lifetime = 299", "sessions.max_lifetime", "at least 300"},
		{"[jwt]\nrefresh_grace = 61", "jwt.refresh_grace", "between 0 and 60"},
		{"[jwt]\nrefresh_grace = -1", "jwt.refresh_grace", "between 0 and 60"},
		{"[jwt]\nnode_hosts = [\"https://node.example\"]", "jwt.node_hosts", "host or host:port"},
		{"[jwt]\nnode_hosts = [\"::1\"]", "jwt.node_hosts", "entry 1"},
		{"[jwt]\nnode_hosts = [\"a@b\"]", "jwt.node_hosts", "host or host:port"},
		{"[jwt]\nnode_hosts = [\"\"]", "jwt.node_hosts", "full address"},
		{"[storage]\ntype = \"etcd\"", "storage.type", `must be "bbolt" or "memory"`},
		{"[storage]\npath = \"\"", "storage.path", "must be a path"},
		{"[storage]\npath = \"a\\u0000b\"", "storage.path", "must be a path"},
		{"[storage]\npath = \"/a/store\"\n[secrets]\nkey_dir = \"/a/store\"", "secrets.key_dir", "outside storage.path"},
		{"[storage]\npath = \"/a/store\"\n[secrets]\nkey_dir = \"/a/x/../store/keys\"", "secrets.key_dir", "outside storage.path"},
		{"[storage]\npath = \"/a/store\"\n[secrets]\nmaster_key_file = \"/a/store/m\"", "secrets.master_key_file", "outside storage.path"},
		{"[storage]\npath = \"store\"\n[assertion]\nkey_file = \"./store/a\"", "assertion.key_file", "outside storage.path"},
		{
			"[secrets]\nmaster_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\nmaster_key_file = \"/m\"",
			"secrets.master_key", "together with secrets.master_key_file",
		},
		{"[secrets]\nmaster_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"", "secrets.master_key", "exactly 32 bytes"},
		{"[secrets]\nmaster_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWZn\"", "secrets.master_key", "exactly 32 bytes"},
		{"[bootstrap]\nmode = \"open\"", "bootstrap.mode", `must be "secret" or "first-login"`},
		{"[bootstrap]\nsecret = \"a-b-c-d-e-f-g-h-i-j-k\"", "bootstrap.secret", "20 to 512"},
		{"[bootstrap]\nsecret = \"                        \"", "bootstrap.secret", "20 to 512"},
		{"[forward]\ntrusted_proxies = [\"::/0\"]", "forward.trusted_proxies", "unspecified"},
		{"[forward]\ntrusted_proxies = [\"10.0.0.0/15\"]", "forward.trusted_proxies", "wider than /16"},
		{"[forward]\ntrusted_proxies = [\"126.0.0.0/7\"]", "forward.trusted_proxies", "wider than /16"},
		{"[forward]\ntrusted_proxies = [\"fd00::/47\"]", "forward.trusted_proxies", "wider than /48"},
		{"[forward]\ntrusted_proxies = [\"::ffff:0:0/96\"]", "forward.trusted_proxies", "IPv4"},
		{"[forward]\ntrusted_proxies = [\"::ffff:10.0.0.1\"]", "forward.trusted_proxies", "IPv4"},
		{"[forward]\ntrusted_proxies = [\"fe80::1%eth0\"]", "forward.trusted_proxies", "address or a network"},
		{"[forward]\ntrusted_proxies = [\"nginx\"]", "forward.trusted_proxies", "address or a network"},
		{"[forward]\ntrusted_proxies = [\"\"]", "forward.trusted_proxies", "address or a network"},
		{"[forward]\nquery_token_paths = [\"ws\"]", "forward.query_token_paths", "absolute path"},
		{"[forward]\nquery_token_paths = [\"/a/../ws\"]", "forward.query_token_paths", "absolute path"},
		{"[forward]\nquery_token_paths = [\"/ws*\"]", "forward.query_token_paths", "absolute path"},
		{"[forward]\nquery_token_paths = [\"//ws\"]", "forward.query_token_paths", "absolute path"},
		{"[forward]\nplain_proxy = \"nginx\"", "forward.plain_proxy", `"traefik"`},
		{"[assertion]\nttl = 9", "assertion.ttl", "between 10 and 3600"},
		{"[assertion]\nttl = 3601", "assertion.ttl", "between 10 and 3600"},
		{"[assertion]\nbind = \"none\"", "assertion.bind", `must be "request" or "identity"`},
		{"[cors]\nallowed_origins = [\"*\"]", "cors.allowed_origins", "allow_all_origins"},
		{"[cors]\nallowed_origins = [\"null\"]", "cors.allowed_origins", "sandboxed"},
		{"[cors]\nallowed_origins = [\"https://app.example/\"]", "cors.allowed_origins", "end after the host"},
		{"[cors]\nallowed_origins = [\"app.example\"]", "cors.allowed_origins", "full address"},
		{"[cors]\nallowed_origins = [\"https://*.example\"]", "cors.allowed_origins", "DNS name"},
		{"[security]\nmax_body_size = 0", "security.max_body_size", "between 1024"},
		{"[security.rate_limit]\nrate_limit_rpm = -1", "security.rate_limit.rate_limit_rpm", "between 0"},
		{"[security.rate_limit]\nrate_limit_burst = 0", "security.rate_limit.rate_limit_burst", "between 1"},
		{"[security.headers.csp]\nconnect_src = [\"'self'\", \"'Unsafe-inline'\"]", "security.headers.csp.connect_src", "unsafe keyword"},
		{"[audit]\nmax_age = 60", "audit.max_age", "between 3600"},
		{"[audit]\nmax_bytes = 1000", "audit.max_bytes", "between 65536"},
		{"[audit]\nfile = \"./data/auth/auth.db\"", "audit.file", "outside storage.path"},
		{"[audit]\nfile = \"./data/auth.key/assertion.keys\"", "audit.file", "outside storage.path and secrets.key_dir"},
		{"[security.headers]\nframe_options = \"ALLOW-FROM https://a\"", "security.headers.frame_options", "SAMEORIGIN"},
		{"[security.headers]\nreferrer_policy = \"unsafe-url\"", "security.headers.referrer_policy", "no-referrer"},
		{"[security.headers]\ncontent_type_options = \"sniff\"", "security.headers.content_type_options", "true or false"},
		{"[security.headers.csp]\nconnect_src = [\"https:; script-src *\"]", "security.headers.csp.connect_src", "source expression"},
		{"[security.headers.csp]\nconnect_src = [\"https:\\r\\nX-A: b\"]", "security.headers.csp.connect_src", "source expression"},
		{"[providers]\nuser_password = false", "providers", "at least one"},
		{"[providers]\nnear_wallet = true\n[near]\nnetwork = \"localnet\"", "near.rpc_url", "neither testnet nor mainnet"},
		{"[near]\nnetwork = \"Test Net\"", "near.network", "name of a network"},
		{"[near]\nrpc_url = \"file:///etc/passwd\"", "near.rpc_url", "full address"},
		{"[near]\nrecipients = [\"\"]", "near.recipients", "1 to 128"},
		{"[near]\ncallback_urls = [\"javascript:alert(1)\"]", "near.callback_urls", "full address"},
		{"[eth]\nchain_ids = [0]", "eth.chain_ids", "at least 1"},
		{"[eth]\nchain_ids = [-1]", "eth.chain_ids", "at least 1"},
		{"[providers]\neth_wallet = true\n[eth]\nchain_ids = []", "eth.chain_ids", "at least one chain"},
		{"[eth]\ndomain = \"https://node.example\"", "eth.domain", "host or host:port"},
		{"[eth]\ndomain = \"root@node.example\"", "eth.domain", "host or host:port"},
		{"[eth]\nuri = \"/auth/login\"", "eth.uri", "full address"},
		{"[eth]\nstatement = \"one\\ntwo\"", "eth.statement", "letters"},
		{"[eth]\nstatement = \"<b>\"", "eth.statement", "letters"},
		{"[eth]\nrpc_url = \"https://key:secret@rpc.example\"", "eth.rpc_url", "no user"},
		{"[user_password]\nmin_password_length = 20\nmax_password_length = 10", "user_password.min_password_length", "above"},
		{"[user_password]\nargon2_memory_kib = 1024", "user_password.argon2_memory_kib", "between 7168"},
		{"[log]\nlevel = \"trace\"", "log.level", `"debug"`},
		{"[log]\nformat = \"logfmt\"", "log.format", `must be "json" or "text"`},
	}
	for _, tt := range tests {
		got := problems(t, tt.text)
		if len(got) != 1 || !strings.HasPrefix(got[0], tt.key) || !strings.Contains(got[0], tt.want) {
			t.Errorf("problems of\n%s\n= %q, want one about %s with %q", tt.text, got, tt.key, tt.want)
		}
	}
}

// A first login without a secret is only as safe as the listener is private.
func TestLoad_FirstLoginOnAnOpenListenerRefused(t *testing.T) {
	for _, addr := range []string{":3001", "0.0.0.0:3001", "[::]:3001", "192.168.1.5:3001", "localhost:3001", "node.example:3001"} {
		got := problems(t, "[bootstrap]\nmode = \"first-login\"\n", "AUTH_LISTEN_ADDR="+addr)
		if len(got) != 1 || !strings.Contains(got[0], "the first stranger would become admin") {
			t.Errorf("problems of first-login on %s = %q, want a refusal", addr, got)
		}
	}
}

// Rules between values wait until each value is good: a complaint about a default would mislead.
func TestLoad_NoProblemFollowsFromAnother(t *testing.T) {
	got := problems(t, "listen_addr = \"nowhere\"\nadmin_addr = \"127.0.0.1:3001\"\n")
	if len(got) != 1 || !strings.HasPrefix(got[0], "listen_addr") {
		t.Errorf("problems = %q, want only the one about listen_addr", got)
	}
	got = problems(t, "[jwt]\naccess_token_expiry = \"1h\"\nrefresh_token_expiry = 60\n")
	if len(got) != 1 || !strings.HasPrefix(got[0], "jwt.access_token_expiry") {
		t.Errorf("problems = %q, want only the one about jwt.access_token_expiry", got)
	}
}

func TestLoad_Derived(t *testing.T) {
	c, _ := mustLoad(t, `public_url = "HTTPS://Node.Example:443/"
[storage]
path = "/srv/auth/"
[cors]
allowed_origins = ["HTTPS://App.example:443", "http://app.example:8080"]
[jwt]
node_hosts = ["Node.Example:8443"]
[near]
network = "mainnet"
`)
	tests := []struct{ key, got, want string }{
		{"public_url", c.PublicURL, "https://node.example"},
		{"eth.domain", c.Eth.Domain, "node.example"},
		{"eth.uri", c.Eth.URI, "https://node.example/auth/login"},
		{"secrets.key_dir", c.Secrets.KeyDir, "/srv/auth.key"},
		{"secrets.master_key_file", c.Secrets.MasterKeyFile, "/srv/auth.key/master.key"},
		{"assertion.key_file", c.Assertion.KeyFile, "/srv/auth.key/assertion.keys"},
		{"cors.allowed_origins", strings.Join(c.CORS.AllowedOrigins, " "), "https://app.example http://app.example:8080"},
		{"jwt.node_hosts", strings.Join(c.JWT.NodeHosts, " "), "node.example:8443"},
		{"near.rpc_url", c.Near.RPCURL.Reveal(), "https://rpc.mainnet.near.org"},
		{"near.recipients", strings.Join(c.Near.Recipients, " "), "node.example"},
		{"near.callback_urls", strings.Join(c.Near.CallbackURLs, " "), "https://node.example/auth/login"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.key, tt.got, tt.want)
		}
	}
	c, _ = mustLoad(t, "public_url = \"http://127.0.0.1:8080\"\n[eth]\ndomain = \"login.example\"\nuri = \"https://login.example/x\"\n[secrets]\nkey_dir = \"/keys\"\n")
	if c.Eth.Domain != "login.example" || c.Eth.URI != "https://login.example/x" || c.Secrets.MasterKeyFile != "/keys/master.key" {
		t.Errorf("eth %q %q, master key file %q: want the values that were set", c.Eth.Domain, c.Eth.URI, c.Secrets.MasterKeyFile)
	}
}

func TestLoad_DangerousSettingsWarn(t *testing.T) {
	tests := []struct{ text, key, want string }{
		{"[storage]\ntype = \"memory\"", "storage.type", "gone when the service stops"},
		{"[bootstrap]\nmode = \"first-login\"", "bootstrap.mode", "becomes admin without a secret"},
		{"public_url = \"http://node.example\"", "public_url", "in the clear"},
		{"[cors]\nallow_all_origins = true\nallowed_origins = [\"https://a.example\"]", "cors.allowed_origins", "no effect"},
		{"[providers]\nnear_wallet = true\n[near]\nallow_legacy_recipient = false", "providers.near_wallet", "until public_url"},
		{"[providers]\nnear_wallet = true\n[near]\nrpc_url = \"http://rpc.example/k\"", "near.rpc_url", "write https"},
		{"public_url = \"https://n.example\"\n[providers]\neth_wallet = true\n[eth]\nrpc_url = \"http://rpc.example\"", "eth.rpc_url", "write https"},
		{"[providers]\neth_wallet = true", "providers.eth_wallet", "until public_url"},
		{"[eth]\nallow_personal_sign = true", "eth.allow_personal_sign", "foreign site"},
	}
	for _, tt := range tests {
		_, warnings := mustLoad(t, tt.text)
		if len(warnings) != 1 || warnings[0].Key != tt.key || !strings.Contains(warnings[0].String(), tt.want) {
			t.Errorf("warnings of\n%s\n= %v, want one about %s with %q", tt.text, warnings, tt.key, tt.want)
		}
	}
	for _, text := range []string{
		"[providers]\nnear_wallet = true\n[near]\nrpc_url = \"http://127.0.0.1:3030\"", "[near]\nrpc_url = \"http://rpc.example\"",
		`public_url = "http://localhost:8080"`, `public_url = "http://127.0.0.1"`, `public_url = "http://[::1]:80"`,
		`public_url = "http://a.localhost"`, `public_url = "https://node.example"`,
	} {
		if _, warnings := mustLoad(t, text); len(warnings) > 0 {
			t.Errorf("warnings of %s = %v, want none", text, warnings)
		}
	}
}
