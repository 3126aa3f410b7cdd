//go:build !noembed

package main_test

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/freeport"
	"github.com/calimero-network/mero-go/pkg/shortdir"
	"github.com/calimero-network/mero-go/services/node/internal/config"
)

// What merobox does with a binary (contract section 7): init with ports and --auth-mode embedded, plain run, and then it
// polls the health. No variable and no file of ours helps.
func TestMerobox_CommandsOfTheContract(t *testing.T) { // node check H72
	bin, home, name := build(t), shortdir.New(t), "calimero-node-1"
	server := freeport.Port()
	merod := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(context.WithoutCancel(t.Context()), bin, append([]string{"--home", home, "--node", name}, args...)...)
		c.Env = []string{"HOME=" + home}
		return c
	}
	if out, err := merod("init", "--server-port", server, "--swarm-port", freeport.Port(), "--auth-mode", "embedded").CombinedOutput(); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	cfg, _, err := config.Load(filepath.Join(home, name, "config.toml"), nil, nil)
	if err != nil || cfg.Server.AuthMode != config.AuthEmbedded || cfg.Identity.PeerID == "" {
		t.Fatalf("the configuration: %v, auth mode %s, peer %q", err, cfg.Server.AuthMode, cfg.Identity.PeerID)
	}
	run := merod("run")
	var log logText
	run.Stderr = writer(log.add)
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended, gone := make(chan error, 1), make(chan struct{})
	go func() { ended <- run.Wait(); close(gone) }()
	t.Cleanup(func() { _ = run.Process.Kill(); <-gone }) // it may have ended
	if !healthy(t, server, ended) {
		t.Fatalf("run:\n%s", log.String())
	}
	base := "http://127.0.0.1:" + server
	for path, want := range map[string]int{"/admin-api/health": 200, "/auth/health": 200, "/admin-api/contexts": 401, "/admin-api/peers": 401} {
		res, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, res.Status, want)
		}
	}
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

// writer is a log of a process.
type writer func(string)

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) { w(string(p)); return len(p), nil }

// healthy polls as merobox does. It returns false if the process ends.
func healthy(t *testing.T, port string, ended <-chan error) bool {
	t.Helper()
	if n, err := strconv.Atoi(port); err != nil || n == 0 {
		t.Fatalf("port %q", port)
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Logf("run ended: %v", err)
			return false
		default:
		}
		res, err := http.Get("http://127.0.0.1:" + port + "/admin-api/health")
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return true
		}
	}
	t.Fatal("no health in time")
	return false
}
