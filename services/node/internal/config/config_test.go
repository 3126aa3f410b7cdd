package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/calimero-network/mero-go/services/node/internal/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string, environ ...string) (config.Config, error) {
	t.Helper()
	cfg, _, err := config.Load(write(t, text), environ, nil)
	return cfg, err
}

// problems returns the lines of an error, which are the problems.
func problems(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestLoad_EmptyFileGivesDefaults(t *testing.T) {
	got, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := config.Defaults(); !reflect.DeepEqual(normal(got), normal(want)) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// normal makes empty and nil lists equal, and what is no number equal to itself.
func normal(c config.Config) config.Config {
	for _, list := range []*[]string{
		&c.Server.AllowedHosts, &c.CORS.AllowedOrigins, &c.Bootstrap.Nodes, &c.Discovery.ExternalAddresses, &c.Apps.AllowedHosts, &c.Apps.Paths,
	} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if len(c.Apps.AllowedNetworks) == 0 {
		c.Apps.AllowedNetworks = nil
	}
	c.Compatible, _ = numbers(c.Compatible).(map[string]any)
	return c
}

// numbers replaces each NaN by a text: it is not equal to itself.
func numbers(v any) any {
	switch x := v.(type) {
	case float64:
		if math.IsNaN(x) {
			return "NaN"
		}
	case []any:
		list := make([]any, len(x))
		for i := range x {
			list[i] = numbers(x[i])
		}
		return list
	case map[string]any:
		table := make(map[string]any, len(x))
		for name := range x {
			table[name] = numbers(x[name])
		}
		return table
	}
	return v
}

func TestLoad_ReferenceFile(t *testing.T) {
	text, err := os.ReadFile("testdata/reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := load(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.Server.Admin.Enabled || !cfg.Server.JSONRPC.Enabled || !cfg.Server.WebSocket.Enabled || !cfg.Server.SSE.Enabled {
		t.Errorf("a surface is off: %+v", cfg.Server)
	}
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:2528"), netip.MustParseAddrPort("[::1]:2528")}
	if got := cfg.ListenAddrs(); !slices.Equal(got, want) {
		t.Errorf("ListenAddrs = %v, want %v", got, want)
	}
	client, _ := cfg.Compatible["client"].(map[string]any)
	if signer, _ := client["signer"].(map[string]any); signer["use"] != "relayer" {
		t.Errorf("the context table is lost: %v", cfg.Compatible)
	}
}

func TestLoad_SurfaceWithoutTableIsOff(t *testing.T) {
	cfg, err := load(t, "[server.sse]\n[server.jsonrpc]\nenabled = true\n")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Server.Admin.Enabled || cfg.Server.SSE.Enabled || !cfg.Server.JSONRPC.Enabled {
		t.Errorf("admin %v, sse %v, jsonrpc %v; want off, off, on", cfg.Server.Admin.Enabled, cfg.Server.SSE.Enabled, cfg.Server.JSONRPC.Enabled)
	}
}

func TestLoad_ListsEveryProblem(t *testing.T) {
	_, _, err := config.Load(write(t, `
mode = "fast"
colour = "blue"
[server]
listen = ["127.0.0.1:2528", "/ip4/127.0.0.1/udp/1"]
auth_mod = "none"
auth_mode = 3
allowed_hosts = ["node.example.com:80"]
sse = true
[server.proxy]
trusted_peers = ["0.0.0.0/0", "10.0.0.1", "10.0.0.0/8"]
clock_leeway = "soon"
[server.none]
allow_non_loopback = true
[cors]
allow_all_origins = true
allowed_origins = ["https://app.example.com/"]
[applications]
paths = ["apps"]
allowed_hosts = ["https://apps.example.com"]
allowed_networks = ["10.0.0.1/8", "127.0.0.1", "home"]
max_size = 0
[log]
level = "loud"
`), []string{"MEROD_SYNC__INTERVAL_MS=often", "MEROD_BLOBSTORE__MAX_BLOB_SIZE=-1"}, nil)
	want := []string{
		`colour: unknown setting`,
		`server.allowed_hosts: "node.example.com:80" is not a host name (without port) or *.DOMAIN`,
		`server.auth_mod: unknown setting; did you mean server.auth_mode?`,
		`server.auth_mode: want a string, got 3`,
		`server.listen: not a usable multiaddr: "127.0.0.1:2528" does not start with /`,
		`server.listen: not a usable multiaddr: "/ip4/127.0.0.1/udp/1": want /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT`,
		`server.none.allow_non_loopback: can only be set by the environment variable MEROD_SERVER__NONE__ALLOW_NON_LOOPBACK`,
		`server.proxy.clock_leeway: want whole seconds, got "soon"`,
		`server.proxy.trusted_peers: 0.0.0.0/0 is too wide, want at least /16`,
		`server.proxy.trusted_peers: 10.0.0.0/8 is too wide, want at least /16`,
		`server.sse: is a table, not a setting`,
		`MEROD_SYNC__INTERVAL_MS: want a whole number, got "often"`,
		`mode: want one of ["standard" "read-only"], got "fast"`,
		`log.level: want one of ["debug" "info" "warn" "error"], got "loud"`,
		`blobstore.max_blob_size: want at least 0, got -1`,
		`applications.paths: "apps" is not an absolute path`,
		`applications.allowed_hosts: "https://apps.example.com" is not a host name (without port) or *.DOMAIN`,
		`applications.allowed_networks: "10.0.0.1/8" has bits behind its prefix; write 10.0.0.0/8`,
		`applications.allowed_networks: "home" is neither an address nor a network`,
		`applications.max_size: want at least 1, got 0`,
		`cors.allow_all_origins: contradicts cors.allowed_origins`,
		`cors.allowed_origins: cors: origin "https://app.example.com/": the host holds '/'; want a name in ASCII (punycode) and no path, user or wildcard`,
	}
	got := problems(err)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A name with a dot in quotes and the path that it looks like would be two values of one setting, of which chance took one.
func TestLoad_DotInQuotesIsNoPath(t *testing.T) {
	for text, want := range map[string]string{
		"\"log.level\" = \"warn\"\n[log]\nlevel = \"debug\"\n": `"log.level": unknown setting; a dot`,
		"[server]\n\"sse.enabled\" = true\n":                   `server."sse.enabled": unknown setting; a dot`,
		"\"context.x\" = 1\n":                                  `"context.x": unknown setting; a dot`,
	} {
		_, err := load(t, text)
		_, editErr := config.ReadFile(write(t, text))
		for _, err := range []error{err, editErr} {
			if got := problems(err); len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("%q: %v, want %s", text, got, want)
			}
		}
	}
	cfg, err := load(t, "[context]\n\"a.b\" = 1\n")
	if err != nil || cfg.Compatible["a.b"] != int64(1) {
		t.Errorf("in the free table: %v, %v", cfg.Compatible, err)
	}
}

func TestLoad_SyntaxErrorNamesThePlace(t *testing.T) {
	_, err := load(t, "mode = \"standard\"\n[server\n")
	if err == nil || !strings.Contains(err.Error(), "line 2, column ") {
		t.Errorf("got %v", err)
	}
	if _, _, err := config.Load(filepath.Join(t.TempDir(), "none.toml"), nil, nil); !errors.Is(err, config.ErrNoFile) {
		t.Errorf("missing file: %v, want ErrNoFile", err)
	}
}

// sample is a value for each kind of setting that differs from every default, as the environment gives it.
func sample(s config.Setting) (text string, want any) {
	switch s.Kind {
	case config.Bool:
		b, _ := s.Default.(bool)
		return strconv.FormatBool(!b), !b
	case config.Integer:
		return "77", int64(77)
	case config.Duration:
		return "77", 77 * time.Second
	case config.Networks:
		return "10.1.2.3, 10.2.0.0/16", []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32"), netip.MustParsePrefix("10.2.0.0/16")}
	case config.Strings:
		return "/ip4/10.0.0.1/tcp/1,/ip6/::1/tcp/2", []string{"/ip4/10.0.0.1/tcp/1", "/ip6/::1/tcp/2"}
	default:
		return "x", "x"
	}
}

func TestEverySettingHasAnEnvironmentVariable(t *testing.T) {
	for _, s := range config.Settings() {
		if s.Kind == config.Table {
			continue
		}
		text, want := sample(s)
		path := write(t, "")
		// The value may break a rule of its own; what counts is that it arrives.
		cfg, warnings, err := config.Load(path, []string{"MEROD_" + strings.ToUpper(strings.ReplaceAll(s.Path, ".", "__")) + "=" + text}, nil)
		if len(warnings) > 0 {
			t.Errorf("%s: not known as an environment variable: %v", s.Path, warnings)
		}
		got := reflect.ValueOf(cfg)
		for name := range strings.SplitSeq(s.Path, ".") {
			got = field(t, got, name)
		}
		if fmt.Sprintf("%#v", got.Interface()) != fmt.Sprintf("%#v", want) && fmt.Sprint(got.Interface()) != fmt.Sprint(want) && !s.Secret {
			t.Errorf("%s = %v (%v), want %v", s.Path, got, err, want)
		}
	}
}

func field(t *testing.T, v reflect.Value, name string) reflect.Value {
	t.Helper()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("koanf") == name {
			return v.Field(i)
		}
	}
	t.Fatalf("%s has no field %q", v.Type(), name)
	return reflect.Value{}
}

func TestLoad_Precedence(t *testing.T) {
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	flags.String("auth-mode", "proxy", "")
	path := write(t, "[server]\nauth_mode = \"proxy\"\n[log]\nlevel = \"warn\"\nformat = \"text\"\n")
	environ := []string{"MEROD_SERVER__AUTH_MODE=embedded", "MEROD_LOG__LEVEL=debug", "HOME=/root"}

	cfg, _, err := config.Load(path, environ, flags)
	if err != nil || cfg.Server.AuthMode != "embedded" || cfg.Log.Level != "debug" || cfg.Log.Format != "text" {
		t.Errorf("unset flag: %v %+v %+v", err, cfg.Server.AuthMode, cfg.Log)
	}
	if err := flags.Set("auth-mode", "none"); err != nil {
		t.Fatal(err)
	}
	if cfg, _, err = config.Load(path, environ, flags); err != nil || cfg.Server.AuthMode != "none" {
		t.Errorf("the flag does not win: %v %q", err, cfg.Server.AuthMode)
	}
}

func TestLoad_UnknownEnvironmentOnlyWarns(t *testing.T) {
	_, warnings, err := config.Load(write(t, ""), []string{"MEROD_SERVICE_HOST=10.0.0.1", "MERO_AUTH_X=1"}, nil)
	if err != nil || !slices.Equal(warnings, []string{"MEROD_SERVICE_HOST is not a setting and has no effect"}) {
		t.Errorf("got %v, %v", warnings, err)
	}
}

func TestLoad_ListOfOriginsReplacesAllOrigins(t *testing.T) {
	fromFile, err := load(t, "[cors]\nallowed_origins = [\"https://a.example\"]\n")
	if err != nil || fromFile.CORS.AllowAllOrigins {
		t.Errorf("file: %v, allow all = %v", err, fromFile.CORS.AllowAllOrigins)
	}
	fromEnv, err := load(t, "", "MEROD_CORS__ALLOWED_ORIGINS=https://a.example,http://b.example:8080")
	if err != nil || fromEnv.CORS.AllowAllOrigins || len(fromEnv.CORS.AllowedOrigins) != 2 {
		t.Errorf("environment: %v, %+v", err, fromEnv.CORS)
	}
}

func TestLoad_OtherSpellingOfEmbedded(t *testing.T) {
	cfg, err := load(t, "[network.server]\nembedded_auth = true\n")
	if err != nil || cfg.Server.AuthMode != config.AuthEmbedded {
		t.Errorf("got %q, %v", cfg.Server.AuthMode, err)
	}
}

func TestCheckStart(t *testing.T) {
	reference, err := os.ReadFile("testdata/reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		environ []string
		want    string // part of the one problem, "" if it may start
	}{
		{"proxy without key file", nil, "server.proxy.assertion_key_file: is required"},
		{"proxy without key file names the variable", nil, "MEROD_SERVER__PROXY__ASSERTION_KEY_FILE"},
		{"proxy with key file", []string{"MEROD_SERVER__PROXY__ASSERTION_KEY_FILE=/k"}, ""},
		{"proxy without key file names the other sources", nil, "server.proxy.assertion_jwks_url"},
		{"proxy with the address of published keys", []string{"MEROD_SERVER__PROXY__ASSERTION_JWKS_URL=https://node.example/auth/keys"}, ""},
		{"proxy with a file of published keys", []string{"MEROD_SERVER__PROXY__ASSERTION_JWKS_FILE=/k"}, ""},
		{"proxy without assertions", []string{"MEROD_SERVER__PROXY__REQUIRE_ASSERTION=false"}, ""},
		{"embedded", []string{"MEROD_SERVER__AUTH_MODE=embedded"}, ""},
		{"none on loopback", []string{"MEROD_SERVER__AUTH_MODE=none"}, ""},
		{"none on every address", []string{"MEROD_SERVER__AUTH_MODE=none", "MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/1,/ip4/0.0.0.0/tcp/1"}, "loopback addresses only"},
		{"none on IPv6 any", []string{"MEROD_SERVER__AUTH_MODE=none", "MEROD_SERVER__LISTEN=/ip6/::/tcp/1"}, "loopback addresses only"},
		{"none on every address, permitted", []string{"MEROD_SERVER__AUTH_MODE=none", "MEROD_SERVER__LISTEN=/ip4/0.0.0.0/tcp/1", "MEROD_SERVER__NONE__ALLOW_NON_LOOPBACK=true"}, ""},
	} {
		cfg, err := load(t, string(reference), tt.environ...)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := problems(cfg.CheckStart())
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%s: %v, want no problem", tt.name, got)
		case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
			t.Errorf("%s: %v, want one problem with %q", tt.name, got, tt.want)
		}
	}
}

// TestLoadToStart_ListsEveryProblem: of the text of the settings, of their values, and of what a start needs, without what
// only follows from another problem.
func TestLoadToStart_ListsEveryProblem(t *testing.T) {
	const name = "MEROD_SERVER__PROXY__TRUSTED_PEERS"
	for _, tt := range []struct {
		name, text string
		environ    []string
		want       []string // beginnings
	}{
		{
			"all stages", "colour = 1\nserver.listen = []\n[log]\nlevel = \"loud\"\n",
			[]string{name + "=a,10.0.0.0/8,b", "MEROD_SYNC__INTERVAL_MS=often"},
			[]string{
				"MEROD_SERVER__PROXY__TRUSTED_PEERS: \"a\" is neither", "MEROD_SERVER__PROXY__TRUSTED_PEERS: \"b\" is neither",
				"MEROD_SYNC__INTERVAL_MS: want a whole", "colour: unknown", "identity.keypair: is missing", "log.level: want one of",
				"server.listen: want at least one", "server.proxy.assertion_key_file: is required",
				"server.proxy.trusted_peers: 10.0.0.0/8 is too wide",
			},
		},
		{
			"what the mode would need is not known", "[server]\nlisten = [\"/ip4/0.0.0.0/tcp/1\"]\nauth_mode = 3\n", nil,
			[]string{"identity.keypair: is missing", "server.auth_mode: want a string"},
		},
		{
			"nor by a mode that is none", "[server]\nlisten = [\"/ip4/0.0.0.0/tcp/1\"]\nauth_mode = \"open\"\n", nil,
			[]string{"identity.keypair: is missing", "server.auth_mode: want one of"},
		},
		{
			"what is broken is not missing", "[server]\nlisten = [\"/ip4/127.0.0.1/tcp/1\"]\n",
			[]string{"MEROD_IDENTITY__KEYPAIR=x", "MEROD_SERVER__PROXY__ASSERTION_JWKS_URL=ftp://x"},
			[]string{"identity.keypair: ", "server.proxy.assertion_jwks_url: want http(s)"},
		},
	} {
		_, _, err := config.LoadToStart(write(t, tt.text), tt.environ, nil)
		got := problems(err)
		slices.Sort(got)
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// TestCheck_AssertionSources: with two sources an attacker would need the weaker one only, and with a user in the address
// a password would end up in logs.
func TestCheck_AssertionSources(t *testing.T) {
	const url, file, key = "MEROD_SERVER__PROXY__ASSERTION_JWKS_URL=", "MEROD_SERVER__PROXY__ASSERTION_JWKS_FILE=", "MEROD_SERVER__PROXY__ASSERTION_KEY_FILE="
	for _, tt := range []struct {
		environ []string
		want    string
	}{
		{[]string{key + "/k", url + "https://node.example/auth/keys"}, "not several"},
		{[]string{key + "/k", file + "/j"}, "not several"},
		{[]string{url + "https://node.example/auth/keys", file + "/j"}, "not several"},
		{[]string{url + "node.example/auth/keys"}, "assertion_jwks_url"},
		{[]string{url + "ftp://node.example/auth/keys"}, "assertion_jwks_url"},
		{[]string{url + "https:///auth/keys"}, "assertion_jwks_url"},
		{[]string{url + "https://user:password@node.example/auth/keys"}, "assertion_jwks_url"},
		{[]string{url + "https://node.example/auth/keys?token=x"}, "assertion_jwks_url"},
		{[]string{url + "https://node.example/auth/keys#x"}, "assertion_jwks_url"},
	} {
		if _, err := load(t, "", tt.environ...); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "password") {
			t.Errorf("%q: %v, want %q", tt.environ, err, tt.want)
		}
	}
}

// A prefix has one spelling and cannot be taken for a route, so that what is below it and what is not are told apart.
func TestPathPrefix(t *testing.T) {
	const own, foreign = "MEROD_SERVER__PATH_PREFIX=", "NODE_PATH_PREFIX="
	for _, tt := range []struct {
		file    string
		environ []string
		want    string
	}{
		{"", nil, ""},
		{"", []string{foreign + "/node1"}, "/node1"},
		{"", []string{foreign + ""}, ""},
		{"[server]\npath_prefix = \"/in-file\"", []string{foreign + ""}, "/in-file"},
		{"[server]\npath_prefix = \"/in-file\"", []string{foreign + "/node1"}, "/node1"},
		{"", []string{foreign + "/node1", own + "/other/two_~.1"}, "/other/two_~.1"},
	} {
		if cfg, err := load(t, tt.file, tt.environ...); err != nil || cfg.Server.PathPrefix != tt.want {
			t.Errorf("%q %q: %q %v, want %q", tt.file, tt.environ, cfg.Server.PathPrefix, err, tt.want)
		}
	}
	for _, bad := range []string{
		"node1", "/", "/node1/", "//node1", "/a//b", "/./a", "/a/..", "/a%2fb", "/a?b", "/a#b", "/a b", "/a;b", "/ü", "/a:b", "/$x", "/" + strings.Repeat("x", 256), "https://x/a",
		"/admin-api", "/admin-api/x", "/jsonrpc", "/ws/x", "/sse", "/metrics", "/admin-dashboard", "/auth", "/admin/x", "/favicon.ico",
	} {
		for _, name := range []string{own, foreign} {
			if _, err := load(t, "", name+bad); err == nil || !strings.Contains(err.Error(), "server.path_prefix") {
				t.Errorf("%s%s: %v, want a refusal", name, bad, err)
			}
		}
	}
}

func TestWireProfile(t *testing.T) {
	if cfg, err := load(t, ""); err != nil || cfg.Server.WireProfile != config.Wire011 {
		t.Errorf("by default %q, %v", cfg.Server.WireProfile, err)
	}
	if _, err := load(t, "[server]\nwire_profile = \"0.9\""); err == nil || !strings.Contains(err.Error(), "server.wire_profile") {
		t.Errorf("an unknown one: %v", err)
	}
}

func TestCheck_KeypairAndPeerIDBelongTogether(t *testing.T) {
	const keypair = `keypair = "23jhTd4prPeF6nkLJw8pzLotwyvUD8jmU1SHCoz9m54pw5bHiyU1GihabX1wkeTXoNxTzAmjDjeJmAMAcTeDg8MpUV9o3"`
	_, err := load(t, "[identity]\npeer_id = \"12D3KooWRm8J3iL796zPFi2EtGGtUJn58AG67gcRzQ6FENEemvpg\"\n"+keypair)
	if err == nil || !strings.Contains(err.Error(), "identity.peer_id") {
		t.Errorf("foreign peer id: %v", err)
	}
	if strings.Contains(fmt.Sprint(err), "23jhTd4") {
		t.Error("the error shows the key pair")
	}
}

func TestSecretNeverPrints(t *testing.T) {
	cfg, err := load(t, "", "MEROD_IDENTITY__KEYPAIR=hunter2")
	if err == nil {
		t.Error("a bad key pair was accepted")
	}
	cfg.Identity.Keypair = "hunter2"
	j, err := json.Marshal(cfg.Identity)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg.Identity.Keypair, cfg.Identity.Keypair), string(j), cfg.Identity.Keypair.LogValue().String()} {
		if strings.Contains(got, "hunter2") || !strings.Contains(got, config.Masked) {
			t.Errorf("the secret prints: %s", got)
		}
	}
}

func FuzzLoad(f *testing.F) {
	reference, err := os.ReadFile("testdata/reference.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(reference))
	f.Add("server = 1\n[context]\n")
	f.Add("\"log.level\" = \"warn\"\n[context]\n\"a.b\" = [nan, {c = -nan}]\n")
	f.Add("[context]\nx = [nan, {y = -nan}]\n")
	f.Add("[server]\nlisten = [1, \"x\"]\nstream_max_age = 9223372036854775807\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, fmt.Sprintf("%d.toml", os.Getpid()))
		put := func(text []byte) {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put([]byte(text))
		cfg, _, err := config.Load(path, nil, nil)
		if err != nil {
			return
		}
		// What loads can be rewritten without changing its meaning.
		file, err := config.ReadFile(path)
		if err != nil {
			t.Fatalf("Load accepts what ReadFile refuses: %v\n%s", err, text)
		}
		again, err := file.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		put(again)
		rewritten, _, err := config.Load(path, nil, nil)
		if err != nil {
			t.Fatalf("rewritten file: %v\n%s", err, again)
		}
		if !reflect.DeepEqual(normal(cfg), normal(rewritten)) {
			t.Errorf("rewriting changed the configuration\nfrom %+v\nto   %+v", cfg, rewritten)
		}
	})
}
