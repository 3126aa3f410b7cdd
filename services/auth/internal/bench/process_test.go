package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/httpapi"
)

// bareRole makes this test binary the server that the gate is compared to.
const bareRole = "MERO_BENCH_BARE"

func TestMain(m *testing.M) {
	if os.Getenv(bareRole) != "" {
		if err := serveBare(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveBare serves a handler that writes the headers given as JSON on stdin and nothing else, with the server and the
// time-outs of mero-auth, so that only the handlers differ. It prints its address and serves until stdin ends.
func serveBare(stdin io.Reader, stdout io.Writer) error {
	decoder := json.NewDecoder(stdin)
	var headers http.Header
	if err := decoder.Decode(&headers); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := serve.New("bare", l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, values := range headers {
			h[name] = values
		}
	}), httpapi.MaxHeader, slog.New(slog.DiscardHandler))
	server.HTTP.ReadTimeout, server.HTTP.WriteTimeout = 15*time.Second, 30*time.Second
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, stdin) // ends when the parent does
	}()
	if _, err := fmt.Fprintln(stdout, l.Addr()); err != nil {
		return err
	}
	return serve.Run(ctx, 20*time.Second, nil, server)
}

// startBare starts the bare server in a process of its own.
func startBare(t *testing.T, headers http.Header) (addr string, pid int) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), bareRole+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			t.Errorf("bare server: %v", err)
		}
	})
	if err := json.NewEncoder(stdin).Encode(headers); err != nil {
		t.Fatal(err)
	}
	addr, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("bare server: %v", err)
	}
	return strings.TrimSpace(addr), cmd.Process.Pid
}

// buildAuth compiles the command once and returns its path.
func buildAuth(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mero-auth")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "../../cmd/mero-auth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// process is a running mero-auth.
type process struct {
	cmd             *exec.Cmd
	data, operators string
	ready           time.Duration // from its start until it took writes
}

// startAuth runs the command on the store of a service that was stopped, with further settings as variables.
func startAuth(t *testing.T, binary string, s *authtest.Service, settings ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), binary)}
	p.cmd.Env = append(os.Environ(),
		"AUTH_LISTEN_ADDR=127.0.0.1:0", "AUTH_ADMIN_ADDR=localhost:0",
		"AUTH_STORAGE__PATH="+s.Config.Storage.Path, "AUTH_NODE__ENFORCES_PERMISSIONS=true")
	p.cmd.Env = append(p.cmd.Env, settings...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	log := make(chan []byte, 1)
	t.Cleanup(func() {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		text := <-log
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("mero-auth: %v\n%s", err, text)
		}
	})
	defer func() {
		go func() {
			text, _ := io.ReadAll(lines) // until the process closes it; it would wait for a reader
			log <- text
		}()
	}()
	for p.data == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("mero-auth said nothing of its addresses: %v", err)
		}
		var up struct{ Msg, Listen, Admin string }
		if json.Unmarshal([]byte(strings.NewReplacer("listen_addr", "listen", "admin_addr", "admin").Replace(line)), &up) == nil && up.Msg == "mero-auth is up" {
			p.data, p.operators = up.Listen, up.Admin
		}
	}
	p.awaitReady(t)
	p.ready = time.Since(began)
	return p
}

// awaitReady asks /readyz until it says yes.
func (p *process) awaitReady(t *testing.T) {
	t.Helper()
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.operators+"/readyz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close() // the status is all
			if res.StatusCode == http.StatusOK {
				return
			}
		} else if t.Context().Err() != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

// anonymous returns the process's anonymous resident memory in bytes: what is its own, without the mapped store.
func (p *process) anonymous(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, found := strings.CutPrefix(line, "RssAnon:"); found {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no RssAnon: this needs Linux")
	return 0
}

// processorTime returns the time that a process has spent on processors, in user and system mode.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// Fields 14 and 15, in ticks of 10 ms; the name in field 2 may hold blanks but ends with the last parenthesis.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
