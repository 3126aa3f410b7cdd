package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/freeport"
	"github.com/calimero-network/mero-go/services/node/internal/cli"
	"github.com/calimero-network/mero-go/services/node/internal/config"
)

// output is a writer that a test can wait on.
type output struct {
	mu      sync.Mutex
	changed *sync.Cond
	text    bytes.Buffer
}

func newOutput() *output {
	o := &output{}
	o.changed = sync.NewCond(&o.mu)
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.changed.Broadcast()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the text holds s.
func (o *output) await(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !strings.Contains(o.text.String(), s) {
		o.changed.Wait()
	}
}

// merod runs a command to its end.
func merod(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	out, errs := newOutput(), newOutput()
	code = cli.Run(t.Context(), cli.Process{Args: args, Env: env, Stdout: out, Stderr: errs})
	return code, out.String(), errs.String()
}

// running is a command in the background.
type running struct {
	out, errs *output
	hangup    chan os.Signal
	stop      func() int // stops it as SIGTERM does, and returns the exit code; may be called again
}

func startMerod(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	r := &running{out: newOutput(), errs: newOutput(), hangup: make(chan os.Signal, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- cli.Run(ctx, cli.Process{Args: args, Env: env, Stdout: r.out, Stderr: r.errs, Hangup: r.hangup})
		_, _ = io.WriteString(r.errs, "\"node is up\" waits no longer\n") // a test that waits for a node that failed goes on
	}()
	r.stop = sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() { r.stop() })
	r.errs.await(`"node is up"`)
	return r
}

func load(t *testing.T, dir string) config.Config {
	t.Helper()
	cfg, _, err := config.Load(filepath.Join(dir, "config.toml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestInit_TwiceChangesNothing(t *testing.T) {
	home := t.TempDir()
	code, out, _ := merod(t, nil, "--home", home, "--node", "n", "init", "--server-port", "3000", "--swarm-port", "3001")
	cfg := load(t, filepath.Join(home, "n"))
	if code != 0 || !strings.Contains(out, cfg.Identity.PeerID) {
		t.Errorf("exit code %d, %q lacks the peer id %q", code, out, cfg.Identity.PeerID)
	}
	if want := []string{"/ip4/127.0.0.1/tcp/3000", "/ip6/::1/tcp/3000"}; !slices.Equal(cfg.Server.Listen, want) {
		t.Errorf("server.listen = %q, want %q", cfg.Server.Listen, want)
	}
	if want := []string{"/ip4/0.0.0.0/tcp/3001", "/ip4/0.0.0.0/udp/3001/quic-v1", "/ip6/::/tcp/3001", "/ip6/::/udp/3001/quic-v1"}; !slices.Equal(cfg.Swarm.Listen, want) {
		t.Errorf("swarm.listen = %q, want %q", cfg.Swarm.Listen, want)
	}
	if s := cfg.Server; !s.Admin.Enabled || !s.JSONRPC.Enabled || !s.WebSocket.Enabled || !s.SSE.Enabled || s.AuthMode != "proxy" {
		t.Errorf("surfaces or mode: %+v", s)
	}
	before, err := os.ReadFile(filepath.Join(home, "n", "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	code, _, errs := merod(t, nil, "--home", home, "-n", "n", "init", "--server-port", "4000")
	after, err := os.ReadFile(filepath.Join(home, "n", "config.toml"))
	if code != 0 || !strings.Contains(errs, "already initialized") || !bytes.Equal(before, after) || err != nil {
		t.Errorf("second init: exit code %d, %q, changed %v, %v", code, errs, !bytes.Equal(before, after), err)
	}
}

func TestInit_StoresEveryFlag(t *testing.T) {
	home := t.TempDir()
	code, _, errs := merod(t, nil, "--home", home, "-n", "n", "init", "--boot-nodes", "/ip4/10.0.0.1/tcp/1", "--boot-network", "ipfs", "--swarm-host", "0.0.0.0",
		"--server-host", "127.0.0.1", "--auth-mode", "embedded", "--auth-storage", "memory", "--auth-storage-path", "keys", "--relayer-url", "http://r", "--protocol", "near",
		"--no-mdns", "--advertise-address", "--rendezvous-registrations-limit", "1", "--relay-registrations-limit", "2", "--autonat-probe-interval", "20",
		"--autonat-max-candidates", "7", "--mode", "read-only", "--external-address", "/ip4/10.0.0.2/tcp/2", "--no-admin")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	c := load(t, filepath.Join(home, "n"))
	got := fmt.Sprint(c.Bootstrap, c.Swarm.Listen, c.Server.Listen, c.Server.AuthMode, c.Server.Embedded, c.Compatible, c.Discovery, c.Mode)
	want := `{ipfs [/ip4/10.0.0.1/tcp/1]}[/ip4/0.0.0.0/tcp/2428 /ip4/0.0.0.0/udp/2428/quic-v1][/ip4/127.0.0.1/tcp/2528]embedded{memory keys  }` +
		` map[protocol:near relayer_url:http://r] {false true [/ip4/10.0.0.2/tcp/2] {/calimero/devnet/global 1} {2} {7 20}}read-only`
	if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestInit_RefusesBadFlagsWithoutATrace(t *testing.T) {
	for _, args := range [][]string{
		{"--server-host", "localhost"}, {"--server-port", "70000"}, {"--mode", "fast"}, {"--auth-mode", "open"}, {"--boot-nodes", "x"}, {"--mdns", "--no-mdns"}, {"--unknown"}, {"extra"},
	} {
		home := t.TempDir()
		code, _, errs := merod(t, nil, append([]string{"--home", home, "-n", "n", "init"}, args...)...)
		if code != 1 || !strings.HasPrefix(errs, "merod: ") {
			t.Errorf("%v: exit code %d, %q", args, code, errs)
		}
		if _, err := os.Stat(filepath.Join(home, "n", "config.toml")); err == nil {
			t.Errorf("%v left a configuration", args)
		}
	}
	for _, args := range [][]string{{"init"}, {"-n", "../x", "init"}, {"-n", "", "init"}} {
		if code, _, errs := merod(t, []string{"CALIMERO_HOME=" + t.TempDir()}, args...); code != 1 || errs == "" {
			t.Errorf("%v: exit code %d, %q", args, code, errs)
		}
	}
}

func TestHomeAndNodeFromTheEnvironment(t *testing.T) {
	home := t.TempDir()
	if code, _, errs := merod(t, []string{"CALIMERO_HOME=" + home, "NODE_NAME=n", "HOME=/nowhere"}, "init"); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	load(t, filepath.Join(home, "n"))
	if code, _, errs := merod(t, []string{"HOME=" + home}, "-n", "m", "init"); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	load(t, filepath.Join(home, ".calimero", "m"))
}

var noneMode = []string{"MEROD_SERVER__AUTH_MODE=none", "MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/0"}

func TestInit_ForceResets(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, "n")
	if code, _, errs := merod(t, nil, "--home", home, "-n", "n", "init"); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	first := load(t, dir).Identity.PeerID
	r := startMerod(t, noneMode, "--home", home, "-n", "n", "run")
	if code, _, errs := merod(t, nil, "--home", home, "-n", "n", "init", "--force"); code != 1 || !strings.Contains(errs, "is the node already running?") {
		t.Errorf("--force under a running node: exit code %d, %q", code, errs)
	}
	if got := load(t, dir).Identity.PeerID; got != first {
		t.Error("the refused reset changed the key")
	}
	if code := r.stop(); code != 0 {
		t.Errorf("run: exit code %d: %s", code, r.errs)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := merod(t, nil, "--home", home, "-n", "n", "init", "--force"); code != 0 {
		t.Fatalf("--force: exit code %d: %s", code, errs)
	}
	if got := load(t, dir).Identity.PeerID; got == first {
		t.Error("--force kept the key")
	}
	for _, name := range []string{"data", "blobs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("--force kept %s", name)
		}
	}
}

func TestConfig(t *testing.T) {
	home := t.TempDir()
	at := func(args ...string) []string { return append([]string{"--home", home, "-n", "n"}, args...) }
	if code, _, errs := merod(t, nil, at("config", "sync.interval_ms=1000")...); code != 1 || !strings.Contains(errs, "no configuration file") {
		t.Errorf("before init: exit code %d, %q", code, errs)
	}
	if code, _, errs := merod(t, nil, at("init")...); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if code, out, errs := merod(t, nil, at("config", "sync.interval_ms=1000", `log.level="debug"`)...); code != 0 || !strings.Contains(out, "wrote") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	cfg := load(t, filepath.Join(home, "n"))
	if cfg.Sync.IntervalMS != 1000 || cfg.Log.Level != "debug" {
		t.Errorf("not persisted: %+v %+v", cfg.Sync, cfg.Log)
	}
	code, _, errs := merod(t, nil, at("config", "sync.interval_ms=[", "no.such=1", "sync.timeout_ms=5")...)
	if code != 1 || !strings.Contains(errs, "merod: sync.interval_ms: the value is not TOML\n") || !strings.Contains(errs, "merod: no.such: unknown setting\n") {
		t.Errorf("exit code %d, %q, want both problems", code, errs)
	}
	if got := load(t, filepath.Join(home, "n")).Sync.TimeoutMS; got == 5 {
		t.Error("a partly refused change was made in part")
	}
	code, out, _ := merod(t, nil, at("config")...)
	if code != 0 || !strings.Contains(out, "interval_ms = 1000") || !strings.Contains(out, `keypair = "REDACTED"`) || strings.Contains(out, cfg.Identity.Keypair.Reveal()) {
		t.Errorf("exit code %d, shown: %s", code, out)
	}
}

func TestRun_ListsEveryProblem(t *testing.T) {
	home := t.TempDir()
	if code, _, errs := merod(t, nil, "--home", home, "-n", "n", "run"); code != 1 || !strings.Contains(errs, "merod run --init") {
		t.Errorf("without init: exit code %d, %q", code, errs)
	}
	path := filepath.Join(home, "n", "config.toml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("colour = 1\n[server]\nlisten = []\n[log]\nlevel = \"loud\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := merod(t, nil, "--home", home, "-n", "n", "run")
	for _, want := range []string{"merod: colour: unknown setting\n", "merod: server.listen: want at least one address\n", "merod: log.level: "} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q lacks %q", errs, want)
		}
	}
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func TestRun_ProxyModeNeedsTheKeyFile(t *testing.T) {
	home := t.TempDir()
	code, _, errs := merod(t, nil, "--home", home, "-n", "n", "run", "--init")
	if code != 1 || !strings.Contains(errs, "server.proxy.assertion_key_file") || !strings.Contains(errs, "MEROD_SERVER__PROXY__ASSERTION_KEY_FILE") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestRun_InitHealthcheckReloadStop(t *testing.T) {
	home, keys := t.TempDir(), filepath.Join(t.TempDir(), "assertion.keys")
	if _, err := assertion.Create(keys); err != nil {
		t.Fatal(err)
	}
	env := []string{"MEROD_SERVER__LISTEN=/ip4/0.0.0.0/tcp/" + freeport.Port(), "MEROD_SERVER__PROXY__ASSERTION_KEY_FILE=" + keys, "MEROD_SERVICE_HOST=x"}
	at := func(args ...string) []string { return append([]string{"--home", home, "-n", "n"}, args...) }
	r := startMerod(t, env, at("run", "--init")...)
	r.errs.await("MEROD_SERVICE_HOST is not a setting")
	if code, out, errs := merod(t, env, at("healthcheck", "--timeout", "1m")...); code != 0 || out != "ready\n" {
		t.Errorf("healthcheck: exit code %d, %q, %q", code, out, errs)
	}
	r.hangup <- syscall.SIGHUP
	r.errs.await(`"reloaded"`)
	if err := os.WriteFile(keys, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.hangup <- syscall.SIGHUP
	r.errs.await("reload failed")
	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d: %s", code, r.errs)
	}
	if code, _, errs := merod(t, env, at("healthcheck", "--timeout", "1m")...); code != 1 || errs == "" {
		t.Errorf("healthcheck of a stopped node: exit code %d, %q", code, errs)
	}
	peerID := load(t, filepath.Join(home, "n")).Identity.PeerID
	if err := os.Remove(keys); err != nil {
		t.Fatal(err)
	}
	if _, err := assertion.Create(keys); err != nil {
		t.Fatal(err)
	}
	again := startMerod(t, env, at("up", "--init")...)
	again.errs.await(peerID) // an initialized node keeps its key
}

// The health check of a container asks below the prefix too.
func TestHealthcheck_BelowThePathPrefix(t *testing.T) {
	env := []string{"MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/" + freeport.Port(), "MEROD_SERVER__AUTH_MODE=none", "NODE_PATH_PREFIX=/node1"}
	home := t.TempDir()
	startMerod(t, env, "--home", home, "-n", "n", "run", "--init")
	if code, out, errs := merod(t, env, "--home", home, "-n", "n", "healthcheck", "--timeout", "1m"); code != 0 || out != "ready\n" {
		t.Errorf("healthcheck: exit code %d, %q, %q", code, out, errs)
	}
}

func TestRun_PortInUse(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	code, _, errs := merod(t, []string{"MEROD_SERVER__AUTH_MODE=none", "MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/" + port}, "--home", t.TempDir(), "-n", "n", "run", "--init")
	if code != 1 || !strings.Contains(errs, "address already in use") || !strings.Contains(errs, port) {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestRun_ExitOnEOF(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	fd, err := syscall.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	n := startMerod(t, noneMode, "--home", t.TempDir(), "-n", "n", "run", "--init", "--exit-on-eof", strconv.Itoa(fd))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	n.errs.await(`"stopping"`)
	if code := n.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, bad := range []string{"x", "-1", "65000"} {
		if code, _, errs := merod(t, noneMode, "--home", t.TempDir(), "-n", "n", "run", "--init", "--exit-on-eof", bad); code != 1 || !strings.Contains(errs, "--exit-on-eof") {
			t.Errorf("%s: exit code %d, %q", bad, code, errs)
		}
	}
}

func TestHealthcheck_AdminSurfaceOff(t *testing.T) {
	home := t.TempDir()
	if code, _, errs := merod(t, nil, "--home", home, "-n", "n", "init"); code != 0 {
		t.Fatal(errs)
	}
	code, _, errs := merod(t, []string{"MEROD_SERVER__ADMIN__ENABLED=false"}, "--home", home, "-n", "n", "healthcheck", "--timeout", "1m")
	if code != 1 || !strings.Contains(errs, "server.admin is off") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestHealthcheck_NodeThatIsNotReady(t *testing.T) {
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer func() { _ = s.Close() }()
	home := t.TempDir()
	if code, _, errs := merod(t, nil, "--home", home, "-n", "n", "init"); code != 0 {
		t.Fatal(errs)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	code, _, errs := merod(t, []string{"MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/" + port}, "--home", home, "-n", "n", "healthcheck", "--timeout", "1m")
	if code != 1 || !strings.Contains(errs, "not ready (503") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"-V"}} {
		if code, out, _ := merod(t, nil, args...); code != 0 || out != "merod 0.0.0-dev (unknown)\n" {
			t.Errorf("%v: exit code %d, %q", args, code, out)
		}
	}
	if code, out, _ := merod(t, nil, "version", "--json"); code != 0 || !json.Valid([]byte(out)) || !strings.Contains(out, `"0.0.0-dev"`) {
		t.Errorf("version --json: exit code %d, %q", code, out)
	}
	for _, shell := range []string{"zsh", "fish", "powershell"} {
		if code, out, _ := merod(t, nil, "completion", shell); code != 0 || !strings.Contains(out, "merod") {
			t.Errorf("completion %s: exit code %d, %d bytes", shell, code, len(out))
		}
	}
	if code, out, _ := merod(t, nil, "__complete", "config", "server.web"); code != 0 || !strings.Contains(out, "server.websocket.enabled\n") {
		t.Errorf("completion of settings: exit code %d, %q", code, out)
	}
	if code, out, _ := merod(t, nil, "completion", "bash"); code != 0 || !strings.Contains(out, "merod") {
		t.Errorf("completion: exit code %d, %d bytes", code, len(out))
	}
	if code, out, _ := merod(t, nil); code != 0 || !strings.Contains(out, "healthcheck") {
		t.Errorf("help: exit code %d, %q", code, out)
	}
	if code, _, errs := merod(t, nil, "explode"); code != 1 || !strings.Contains(errs, "unknown command") {
		t.Errorf("unknown command: exit code %d, %q", code, errs)
	}
}
