package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/pkg/freeport"
)

func TestConfig_ShowsWhatRunWouldUse(t *testing.T) { // node check J83
	home := t.TempDir()
	at := func(args ...string) []string {
		return append([]string{"--home", home, "--node-name", "n", "config"}, args...)
	}
	if code, _, errs := merod(t, nil, "--home", home, "-n", "n", "init"); code != 0 {
		t.Fatal(errs)
	}
	if code, _, errs := merod(t, nil, at("--save", "sync.interval_ms=1000", "server.stream_max_age=60")...); code != 0 {
		t.Fatal(errs)
	}
	env := []string{"MEROD_SYNC__TIMEOUT_MS=7"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{at("sync.interval_ms"), "sync.interval_ms = 1000\n"},
		{at("sync"), "sync.frequency_ms = 10000\nsync.interval_ms = 1000\nsync.timeout_ms = 7\n"},
		{at("server.stream_max_age", "log.level", "log"), "log.format = \"json\"\nlog.level = \"info\"\nserver.stream_max_age = 60\n"},
		{at("identity.keypair"), "identity.keypair = \"REDACTED\"\n"},
		{at("--json", "sync", "log.level"), `{"log":{"level":"info"},"sync":{"frequency_ms":10000,"interval_ms":1000,"timeout_ms":7}}`},
		{at("log.level?"), "log.level (string, default \"info\", MEROD_LOG__LEVEL)\n  `debug`, `info`, `warn` or `error`\n"},
		{at("--json", "log.level?"), "[{\"setting\":\"log.level\",\"type\":\"string\",\"default\":\"info\",\"environment\":\"MEROD_LOG__LEVEL\",\"meaning\":\"`debug`, `info`, `warn` or `error`\"}]"},
	} {
		code, out, errs := merod(t, env, c.args...)
		same := out == c.want
		if json.Valid([]byte(c.want)) {
			same = compact(t, out) == c.want
		}
		if code != 0 || !same {
			t.Errorf("%v: exit code %d, %q %s, want %q", c.args, code, out, errs, c.want)
		}
	}
	code, out, _ := merod(t, env, at("--json")...)
	var all struct {
		Identity struct{ Keypair string }
		Server   struct{ Listen []string }
	}
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil || all.Identity.Keypair != "REDACTED" || len(all.Server.Listen) != 2 {
		t.Errorf("--json: exit code %d, %v, %+v", code, err, all)
	}
	for _, args := range [][]string{at("no.such"), at("log", "no.such"), at("no.such?"), at("log.level", "log.level=\"warn\""), at("log.level?", "log.level")} {
		if code, out, errs := merod(t, nil, args...); code != 1 || out != "" || !strings.HasPrefix(errs, "merod: ") {
			t.Errorf("%v: exit code %d, %q, %q", args, code, out, errs)
		}
	}
}

func compact(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if list, ok := v.([]any); ok && len(list) == 1 {
		// In the order of the type, which a map would lose.
		var parts []string
		for _, name := range []string{"setting", "type", "default", "environment", "meaning"} {
			value, err := json.Marshal(list[0].(map[string]any)[name])
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, `"`+name+`":`+string(value))
		}
		return "[{" + strings.Join(parts, ",") + "}]"
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestInit_JSON(t *testing.T) {
	home := t.TempDir()
	for i, want := range []bool{true, false} {
		code, out, errs := merod(t, nil, "--home", home, "-n", "n", "init", "--json")
		var got struct {
			Created bool
			PeerID  string
			Config  string
		}
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || errs != "" || got.Created != want || (got.PeerID != "") != want ||
			got.Config != filepath.Join(home, "n", "config.toml") {
			t.Errorf("call %d: exit code %d, %q, %q, %v", i, code, out, errs, err)
		}
	}
}

// The commands, the environment and the changes of the file that merobox makes, in its order.
func TestMerobox(t *testing.T) { // node checks J83, contract 7
	home := filepath.Join(t.TempDir(), "calimero-node-1")
	env := []string{"CALIMERO_HOME=" + home, "NODE_NAME=calimero-node-1", "RUST_LOG=debug", "RUST_BACKTRACE=0", "MEROD_SERVER__AUTH_MODE=none"}
	port := freeport.Port()
	at := func(args ...string) []string {
		return append([]string{"--home", home, "--node", "calimero-node-1"}, args...)
	}
	if code, _, errs := merod(t, env, at("init", "--server-port", port, "--swarm-port", "2428")...); code != 0 {
		t.Fatalf("init: exit code %d: %s", code, errs)
	}
	path := filepath.Join(home, "calimero-node-1", "config.toml")
	cfg := load(t, filepath.Dir(path))
	if !strings.HasPrefix(cfg.Identity.PeerID, "12D3KooW") {
		t.Errorf("identity.peer_id = %q", cfg.Identity.PeerID)
	}
	// What Python's toml module writes, with its own order, spaces and commas at the end of lists.
	rewritten := "mode = \"standard\"\n\n[identity]\npeer_id = \"" + cfg.Identity.PeerID + "\"\nkeypair = \"" + cfg.Identity.Keypair.Reveal() + "\"\n\n" +
		"[swarm]\nlisten = [ \"/ip4/0.0.0.0/tcp/2428\", \"/ip4/0.0.0.0/udp/2428/quic-v1\",]\n\n" +
		"[server]\nlisten = [ \"/ip4/127.0.0.1/tcp/" + port + "\", \"/ip6/::1/tcp/" + port + "\",]\nauth_mode = \"proxy\"\n\n" +
		"[bootstrap]\nnodes = [ \"/ip4/172.18.0.3/tcp/2428/p2p/" + cfg.Identity.PeerID + "\", \"/ip4/172.18.0.3/udp/2428/quic-v1/p2p/" + cfg.Identity.PeerID + "\",]\n\n" +
		"[discovery]\nmdns = true\nadvertise_address = false\n\n[sync]\ntimeout_ms = 30000\ninterval_ms = 500\nfrequency_ms = 1000\n\n" +
		"[datastore]\npath = \"data\"\n\n[blobstore]\npath = \"blobs\"\n\n[server.admin]\nenabled = true\n\n[server.jsonrpc]\nenabled = true\n\n" +
		"[server.websocket]\nenabled = true\n\n[server.sse]\nenabled = true\n\n" +
		"[discovery.rendezvous]\nregistrations_limit = 3\nnamespace = \"calimero/merobox-tests/1a2b3c4d\"\n\n[discovery.relay]\nregistrations_limit = 3\n\n" +
		"[discovery.autonat]\nmax_candidates = 5\nprobe_interval = 10\n\n" +
		"[context.config.near.signer]\nuse = \"self\"\n\n[context.config.near]\nnetwork = \"local\"\ncontract_id = \"c.test.near\"\n"
	if err := os.WriteFile(path, []byte(rewritten), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startMerod(t, env, at("run", "--mock-tee")...)
	r.errs.await("--mock-tee has no effect")
	if code, out, errs := merod(t, env, at("healthcheck", "--timeout", "1m")...); code != 0 || out != "ready\n" {
		t.Errorf("healthcheck: exit code %d, %q, %q", code, out, errs)
	}
	if text := r.errs.String(); !strings.Contains(text, `"level":"DEBUG"`) {
		t.Error("RUST_LOG=debug has no effect")
	}
	if code := r.stop(); code != 0 {
		t.Errorf("run: exit code %d: %s", code, r.errs)
	}
}
