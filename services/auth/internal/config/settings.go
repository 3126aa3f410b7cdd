package config

import (
	"reflect"
	"strings"
	"time"
)

// setting is what is known of a key beyond its type and default: its limits, which every source is held to, and
// the words of the reference.
type setting struct {
	name    string
	meaning string // one or two sentences for operators
	limits  string // rules that min, max and oneOf do not say
	derived string // what an empty value stands for

	min, max int64          // bounds of a number, of a duration in seconds, or of each number in a list
	oneOf    []string       // the values that a text may have
	same     map[string]any // other ways to write a value that existing files use

	check func(string) error // of a text, a secret, or each text in a list; errors never repeat a secret

	idle string // why the key is accepted and has no effect
	mock bool   // has an effect only in a build with mock tokens
	live bool   // a running service takes a new value over on SIGHUP
}

const (
	day    = 24 * 60 * 60
	decade = 3660 * day

	idleCORS = "methods, headers and cache time of cross-origin answers are fixed"
	idleCSP  = "the content security policy is fixed; only connect_src can widen it"
)

// settings has one row for every key, in the order of Config.
var settings = []setting{
	{name: "listen_addr", meaning: "Address of the data plane: login, tokens, keys and the gate.", check: checkListen},
	{name: "admin_addr", meaning: "Address for operators: `/healthz`, `/readyz`, `/metrics`. Keep it off the public network.", limits: "differs from `listen_addr`", check: checkListen},
	{name: "public_url", meaning: "The address that people use. Redirects and the Ethereum login take their host from it, never from a request header.", limits: "http(s)://host[:port] and nothing more", check: optional(checkBaseURL)},

	{name: "jwt.issuer", meaning: "`iss` and `aud` of every token.", limits: "1 to 128 characters", check: checkLine(128)},
	{name: "jwt.algorithm", meaning: "How tokens are signed.", oneOf: []string{"HS256", "HS384"}},
	{name: "jwt.access_token_expiry", meaning: "Life of an access token.", min: 10, max: 366 * day},
	{name: "jwt.refresh_token_expiry", meaning: "Life of a refresh token.", limits: "not shorter than the access token's", min: 10, max: decade},
	{name: "jwt.leeway", meaning: "Tolerance for `exp`. `iat` and `nbf` always have 60 seconds.", max: 300},
	{name: "jwt.refresh_window", meaning: "An access token with more life left than this (or than a quarter of its life, if that is less) is refused at refresh as still valid.", max: 3600},
	{name: "jwt.refresh_grace", meaning: "A repeat of the same refresh within this time gets the same pair again; later it counts as theft and ends the session.", max: 60},
	{name: "jwt.machine_max", meaning: "Longest life that a machine token may ask for.", min: 60, max: decade},
	{name: "jwt.node_hosts", meaning: "Hosts that this gate stands for. When set, tokens that are bound to a node are checked against these and not against request headers.", limits: "host or host:port", check: checkHostPort},

	{name: "sessions.idle_timeout", meaning: "A session that is not used for this long is over: its access token is refused and cannot be refreshed. Every request with its token counts as use, an open stream does not: do not set it below `jwt.access_token_expiry` where clients keep streams open. Machine tokens are not concerned. 0 is off.", limits: "0, or at least 60", max: decade},
	{name: "sessions.max_lifetime", meaning: "A session ends this long after its login, however much it is used. Tokens that it has already end then, too. Machine tokens are not concerned. 0 is off.", limits: "0, or at least 300", max: decade},

	{name: "storage.type", meaning: "`bbolt` keeps everything in one file, `memory` forgets everything at the end. `rocksdb`, from existing files, means `bbolt`.", oneOf: []string{"bbolt", "memory"}, same: map[string]any{"rocksdb": "bbolt"}},
	{name: "storage.path", meaning: "Directory of the store. It is made if absent, for its owner only.", limits: "a path", check: checkPath},

	{name: "secrets.key_dir", meaning: "Directory of the master key and the assertion keys. It is not part of a backup.", limits: "outside `storage.path`", derived: "`storage.path` + `.key`", check: optional(checkPath)},
	{name: "secrets.master_key_file", meaning: "File of the master key, which seals the secrets in the store. It is made if absent.", limits: "outside `storage.path`; not together with `secrets.master_key`", derived: "`secrets.key_dir` + `/master.key`", check: optional(checkPath)},
	{name: "secrets.master_key", meaning: "The master key itself. A file is better: an environment is easily read.", limits: "base64 of 32 bytes", check: optional(checkMasterKey)},
	{name: "secrets.rotation", meaning: "How often the signing secrets are replaced.", min: 60, max: 366 * day},
	{name: "secrets.grace", meaning: "How long a replaced secret verifies at least. It always outlives the tokens that it signed.", min: 60, max: decade},

	{name: "bootstrap.mode", meaning: "How the first key is made: with a one-time `secret`, or by the `first-login`, which exists for tests.", limits: "`first-login` needs a loopback `listen_addr`", oneOf: []string{"secret", "first-login"}},
	{name: "bootstrap.secret", meaning: "A one-time secret of your own in place of the generated one.", limits: "at least 20 characters, hyphens and spaces not counted", check: optional(checkBootstrapSecret)},

	{name: "forward.trusted_proxies", live: true, meaning: "Peers whose forwarding headers are read: your proxies and nobody else. An empty list trusts nobody.", limits: "addresses or networks; none wider than /16 (IPv4) or /48 (IPv6) except loopback"},
	{name: "forward.query_token_paths", meaning: "Paths whose `token=` query parameter is accepted as a credential, for clients that cannot send headers.", limits: "absolute paths", check: checkRoutePath},
	{name: "forward.allow_preflight", meaning: "Lets real CORS preflights through to the node without a token."},
	{name: "forward.plain_proxy", meaning: "What plain `/auth/validate` means: empty is the token probe, a name is the same as `?proxy=` with that name. nginx cannot be chosen: write `?proxy=nginx` into its configuration.", oneOf: []string{"", "traefik", "caddy", "haproxy"}},

	{name: "assertion.algorithm", meaning: "How the proof is signed: `hmac` with keys that gate and node share, or `ed25519` with a key of the store whose public half is published at `/auth/keys`, for nodes that must not hold a key that signs (`server.proxy.assertion_jwks_url` or `…_file` of the node).", oneOf: []string{"hmac", "ed25519"}},
	{name: "assertion.key_file", meaning: "Keys of the proof that the gate hands to the node. It is made if absent; the node reads the same file.", limits: "outside `storage.path`", derived: "`secrets.key_dir` + `/assertion.keys`", check: optional(checkPath)},
	{name: "assertion.jwks_file", meaning: "File in which mero-auth keeps the published keys, for nodes that read them from a file. Empty keeps none.", limits: "outside `storage.path`", check: optional(checkPath)},
	{name: "assertion.ttl", meaning: "Life of the proof. Longer for proxies that buffer request bodies.", min: 10, max: 3600},
	{name: "assertion.bind", meaning: "`request` binds the proof to method and target, `identity` does not, for proxies that rewrite paths. The node's `server.proxy.assertion_bind` must be the same.", oneOf: []string{"request", "identity"}},

	{name: "node.enforces_permissions", meaning: "The node checks permissions again on resolved values, as merod does; `POST /jsonrpc` then passes the gate with `context:execute` of any scope. Leave it off for a node that does not: the gate then asks for the unscoped permission."},

	{name: "cors.allow_all_origins", live: true, meaning: "Any origin may read answers (`*`, without credentials)."},
	{name: "cors.allowed_origins", live: true, meaning: "Origins that may read answers. An empty list means the own origin only.", limits: "scheme://host[:port]", check: checkOrigin},
	{name: "cors.allowed_methods", idle: idleCORS},
	{name: "cors.allowed_headers", idle: idleCORS},
	{name: "cors.exposed_headers", idle: idleCORS},
	{name: "cors.max_age", idle: idleCORS, max: decade},
	{name: "cors.vary_header", idle: idleCORS},

	{name: "security.max_body_size", live: true, meaning: "Longest request body, in bytes.", min: 1024, max: 64 << 20},
	{name: "security.max_connections", meaning: "How many connections the data plane has open at once. Further ones wait until one is closed; slow and idle ones are closed after 5 and 75 seconds.", min: 16, max: 1_000_000},
	{name: "security.max_admin_connections", meaning: "The same for `admin_addr`.", min: 4, max: 1_000_000},
	{name: "security.max_clients_per_root", live: true, meaning: "How many client keys of one root key may be alive: neither revoked nor expired. Beyond it `POST /admin/client-key` is 409.", min: 1, max: 1_000_000},
	{name: "security.rate_limit.rate_limit_rpm", live: true, meaning: "How many logins a minute come from one client address (IPv6: one /64), how many challenges, and how many refreshes that fail. One account gets a fifth of it from one address. Above it the answer is 429 with `Retry-After`. 0 switches all limits off. The gate has none.", max: 1_000_000},
	{name: "security.rate_limit.rate_limit_burst", live: true, meaning: "How many of each may come at once.", min: 1, max: 1_000_000},
	{name: "security.headers.enabled", live: true, meaning: "Sends the security headers below."},
	{name: "security.headers.hsts_max_age", live: true, meaning: "Seconds of `Strict-Transport-Security`. It is sent only when `public_url` is https; 0 makes browsers forget it.", max: decade},
	{name: "security.headers.hsts_include_subdomains", live: true, meaning: "Adds `includeSubDomains`."},
	{name: "security.headers.frame_options", live: true, meaning: "`X-Frame-Options`; empty sends none.", oneOf: []string{"", "DENY", "SAMEORIGIN"}},
	{name: "security.headers.content_type_options", live: true, meaning: "Sends `X-Content-Type-Options: nosniff`. `\"nosniff\"`, from existing files, means true.", same: map[string]any{"nosniff": true, "": false}},
	{name: "security.headers.referrer_policy", live: true, meaning: "`Referrer-Policy`; empty sends none.", oneOf: []string{"", "no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin", "strict-origin", "strict-origin-when-cross-origin"}},
	{name: "security.headers.csp.enabled", idle: idleCSP},
	{name: "security.headers.csp.default_src", idle: idleCSP},
	{name: "security.headers.csp.script_src", idle: idleCSP},
	{name: "security.headers.csp.style_src", idle: idleCSP},
	{name: "security.headers.csp.connect_src", live: true, meaning: "Further sources that the pages may call.", limits: "CSP source expressions", check: checkSource},

	{name: "providers.near_wallet", meaning: "Login with a NEAR wallet (NEP-413). Needs `public_url`, `near.recipients` or `near.allow_legacy_recipient`, and an RPC node that can be reached."},
	{name: "providers.eth_wallet", meaning: "Login with an Ethereum wallet (EIP-4361). Needs `public_url`, or `eth.domain` and `eth.uri`."},
	{name: "providers.user_password", meaning: "Login with a name and a password."},

	{name: "near.network", meaning: "The NEAR network that accounts live on.", limits: "lower-case letters, digits and hyphens", check: checkNetworkName},
	{name: "near.rpc_url", meaning: "RPC node that is asked which keys have full access to an account. What it says is believed: use one that you trust, over https. An address that holds a key is best kept in a file.", limits: "an http(s) URL without a user", derived: "the public one of testnet or mainnet", check: optional(checkURL)},
	{name: "near.wallet_url", live: true, meaning: "Wallet that the login page offers.", limits: "an http(s) URL without a user", derived: "the public one of testnet or mainnet", check: optional(checkURL)},
	{name: "near.helper_url", live: true, meaning: "Helper service for the login page.", limits: "an http(s) URL without a user", derived: "the public one of testnet or mainnet", check: optional(checkURL)},
	{name: "near.recipients", live: true, meaning: "Recipients that a signed message may name.", limits: "1 to 128 characters each", derived: "host[:port] of `public_url`", check: checkLine(128)},
	{name: "near.allow_legacy_recipient", live: true, meaning: "Accepts the recipient `calimero` too, which existing login pages sign. A foreign site can ask for such a signature: switch it off when no client needs it."},
	{name: "near.callback_urls", live: true, meaning: "Callback URLs that a signed message may name, compared as a whole. One without a callback URL is always accepted.", limits: "http(s) URLs without a user", derived: "`public_url` + `/auth/login`", check: checkURL},
	{name: "near.api_key", meaning: "Key for the RPC node, sent as `x-api-key` and as bearer token.", check: optional(checkLine(1024))},

	{name: "eth.domain", live: true, meaning: "Domain that a signed message must name (EIP-4361).", limits: "host or host:port", derived: "the host of `public_url`", check: optional(checkHostPort)},
	{name: "eth.uri", live: true, meaning: "URI that a signed message must name (EIP-4361).", limits: "an http(s) URL without a user", derived: "`public_url` + `/auth/login`", check: optional(checkURL)},
	{name: "eth.statement", live: true, meaning: "Sentence that wallets show to the person who signs.", limits: "letters, digits, spaces and the punctuation of URIs; at most 256 characters", check: checkStatement},
	{name: "eth.chain_ids", live: true, meaning: "Chains that a signed message may name.", min: 1, max: 1<<63 - 1},
	{name: "eth.allow_personal_sign", live: true, meaning: "Accepts EIP-191 signatures over the bare challenge. A foreign site can ask for one: leave it off."},
	{name: "eth.rpc_url", meaning: "RPC node of one of `chain_ids`, for wallets that are contracts (EIP-1271). What it says is believed: use one that you trust, over https. An address that holds a key is best kept in a file. Empty accepts plain accounts only.", limits: "an http(s) URL without a user", check: optional(checkURL)},

	{name: "user_password.min_password_length", meaning: "Fewest characters of a password.", limits: "not above `max_password_length`", min: 1, max: 1024},
	{name: "user_password.max_password_length", meaning: "Most bytes of a password in UTF-8.", min: 1, max: 1024},
	{name: "user_password.argon2_memory_kib", meaning: "Memory of one argon2id hash, in KiB.", min: 7168, max: 1 << 20},
	{name: "user_password.argon2_iterations", meaning: "Passes of one argon2id hash.", min: 1, max: 64},
	{name: "user_password.max_concurrent_hashes", meaning: "How many hashes run at once; 0 = twice the processors in use.", max: 1024},

	{name: "development.enable_mock_auth", meaning: "Tokens without any proof. Stops the start in a build without the `mock` tag, which includes every release."},
	{name: "development.mock_auth_require_header", meaning: "Mock tokens need an Authorization header.", mock: true},
	{name: "development.mock_auth_header_value", meaning: "The value that this header must have.", mock: true},

	{name: "audit.max_age", live: true, meaning: "How long the audit keeps a record.", min: 3600, max: decade},
	{name: "audit.max_bytes", live: true, meaning: "How many bytes the records of the audit may take in the store. The oldest go first, and a record tells of it.", min: 64 << 10, max: 1 << 40},
	{name: "audit.file", live: true, meaning: "File to which the audit is copied as JSON lines, appended, for its owner only; empty copies nowhere. SIGHUP opens it anew. A disk that is full never fails a change: missing lines are counted in a line of their own.", limits: "outside `storage.path` and `secrets.key_dir`", check: optional(checkPath)},

	{name: "log.level", live: true, meaning: "Least level that is logged.", oneOf: []string{"debug", "info", "warn", "error"}},
	{name: "log.format", meaning: "How log lines are written to stderr.", oneOf: []string{"json", "text"}},
}

// field is a setting with its place in Config.
type field struct {
	setting
	index []int
	typ   reflect.Type
}

var (
	secretType   = reflect.TypeFor[Secret]()
	endpointType = reflect.TypeFor[Endpoint]()
	durationType = reflect.TypeFor[time.Duration]()
)

// schema lists every setting in the order of Config; the keys of a table come before its sub-tables, as TOML needs.
type schema struct {
	fields   []field
	byName   map[string]field
	sections map[string]bool // "jwt", "security.headers", ...
}

func newSchema() schema {
	rows := make(map[string]setting, len(settings))
	for _, s := range settings {
		rows[s.name] = s
	}
	s := schema{byName: map[string]field{}, sections: map[string]bool{}}
	s.add(reflect.TypeFor[Config](), "", nil, rows)
	return s
}

func (s *schema) add(t reflect.Type, prefix string, index []int, rows map[string]setting) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("koanf")
		if tag == "-" {
			continue
		}
		name := prefix + tag
		at := append(append([]int(nil), index...), i)
		if f.Type.Kind() == reflect.Struct {
			s.sections[name] = true
			s.add(f.Type, name+".", at, rows)
			continue
		}
		row := rows[name]
		row.name = name
		s.fields = append(s.fields, field{setting: row, index: at, typ: f.Type})
		s.byName[name] = s.fields[len(s.fields)-1]
	}
}

// secret reports whether the value is one to keep, in whole or in part; it can then come from a file.
func (f field) secret() bool { return f.typ == secretType || f.typ == endpointType }

// of returns the field's value in c.
func (f field) of(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(f.index) }

// environment is the name of the variable that sets the field; double has the spelling with two underscores after
// AUTH, which the reference service needs.
func (f field) environment() (single, double string) {
	tail := strings.ToUpper(strings.ReplaceAll(f.name, ".", "__"))
	return "AUTH_" + tail, "AUTH__" + tail
}
