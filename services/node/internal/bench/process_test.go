package bench_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/freeport"
)

// bareRole makes this test binary the server that the node is compared to; its value is a directory.
const bareRole = "MERO_BENCH_BARE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(bareRole); dir != "" {
		if err := serveBare(dir, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if role := os.Getenv(crowdRole); role != "" {
		if err := serveCrowd(role, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveBare serves a handler that keeps a body in a file and gives it back, with a SHA-256 over what passes: io.Copy and
// a hash, and the file on disk before the answer, as the node promises too. It prints its address and serves until
// stdin ends.
func serveBare(dir string, stdin io.Reader, stdout io.Writer) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		if err := bare(w, r, filepath.Join(dir, "blob"), sum); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})}
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // ends when the parent does
		_ = server.Close()
	}()
	if _, err := fmt.Fprintln(stdout, l.Addr()); err != nil {
		return err
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func bare(w http.ResponseWriter, r *http.Request, path string, sum hash.Hash) error {
	if r.Method == http.MethodGet {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
		_, err = io.Copy(struct{ io.Writer }{w}, io.TeeReader(f, sum))
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.MultiWriter(f, sum), r.Body)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%x", sum.Sum(nil))
	return err
}

// process is a server under measurement.
type process struct {
	addr string
	pid  int
}

// startRole starts this test binary in a process of its own, with a role that TestMain knows and what the role is told. It
// returns the first line that the process writes, and what ends the process.
func startRole(t *testing.T, role, told string) (line string, pid int, stop func()) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), role+"="+told)
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
	stop = func() {
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	if line, err = bufio.NewReader(stdout).ReadString('\n'); err != nil {
		stop()
		t.Fatalf("%s said nothing: %v", role, err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid, stop
}

// startBare starts the bare server.
func startBare(t *testing.T) process {
	t.Helper()
	addr, pid, stop := startRole(t, bareRole, t.TempDir())
	t.Cleanup(stop)
	return process{addr, pid}
}

// buildNode builds the command as it ships.
func buildNode(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "merod")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "../../cmd/merod")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build merod: %v\n%s", err, out)
	}
	return binary
}

// startNode runs the command on a fresh directory in auth mode none and waits until it is ready.
func startNode(t *testing.T, binary string) process {
	t.Helper()
	return startNodeIn(t, binary, t.TempDir())
}

// startNodeIn is startNode on a directory with the node "bench" in it.
func startNodeIn(t *testing.T, binary, home string) process {
	t.Helper()
	addr := freeport.Addr()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "--home", home, "--node", "bench", "run", "--init")
	cmd.Env = append(os.Environ(), "MEROD_SERVER__AUTH_MODE=none", "MEROD_SERVER__LISTEN=/ip4/"+host+"/tcp/"+port, "MEROD_LOG__LEVEL=error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
			t.Errorf("merod: %v", err)
		}
	})
	p := process{addr, cmd.Process.Pid}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		res, err := http.Get("http://" + addr + "/admin-api/ready")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("merod is not ready: %v", err)
		}
	}
}

// peakRSS returns the largest resident set that a process has had, in MiB.
func (p process) peakRSS(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
