package main_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	_ "github.com/calimero-network/mero-go/services/node/internal/cli" // what is built and run here counts for the test cache
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

const chunkSize = 1 << 20

// rounds is how often the node is killed: often enough to find an index entry that comes before its file, or an
// upload that no start clears.
const rounds = 20

// bin is where the tests put the command that they compile.
var bin = struct {
	dir     string
	compile func() error // once
}{}

func TestMain(m *testing.M) {
	var err error
	if bin.dir, err = os.MkdirTemp("", "merod"); err != nil {
		panic(err)
	}
	bin.compile = sync.OnceValue(func() error {
		if out, err := exec.Command("go", "build", "-o", bin.dir, ".").CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
		return nil
	})
	code := m.Run()
	_ = os.RemoveAll(bin.dir)
	os.Exit(code)
}

// build returns the compiled command.
func build(t *testing.T) string {
	t.Helper()
	if err := bin.compile(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin.dir, "merod")
}

// process is a running merod.
type process struct {
	cmd  *exec.Cmd
	base string // its address as a URL, without a path
	url  string // of its blobs
}

// start runs a node in auth mode none.
func start(t *testing.T, bin, home string) *process {
	t.Helper()
	return startWith(t, bin, home, "MEROD_SERVER__AUTH_MODE=none")
}

// startWith runs a node with settings from the environment.
func startWith(t *testing.T, bin, home string, environ ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, "--home", home, "--node", "n", "run", "--init")
	cmd.Env = append(append(os.Environ(), "MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/0"), environ...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd}
	var before strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		before.WriteString(lines.Text() + "\n")
		var line struct {
			Msg    string
			Listen []string
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "node is up" {
			p.base = "http://" + line.Listen[0]
			p.url = p.base + "/admin-api/blobs"
			break
		}
	}
	if p.url == "" {
		t.Fatalf("merod did not start: %v\n%s", cmd.Wait(), &before)
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }()
	return p
}

// end sends a signal and waits for the exit.
func (p *process) end(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// call returns status and body, or an error when the node is gone.
func (p *process) call(t *testing.T, method, path string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(t.Context(), method, p.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

func blobID(content []byte) string {
	var ids []byte
	for c := range slices.Chunk(content, chunkSize) {
		sum := sha256.Sum256(c)
		ids = append(ids, sum[:]...)
	}
	return id.ID(sha256.Sum256(ids)).String()
}

// ledger is what the clients know: of each blob the last call that the node acknowledged, and whether another one
// was under way when the node died.
type ledger struct {
	mu       sync.Mutex
	contents map[string][]byte
	stored   map[string]bool
	unknown  map[string]bool
}

// known reports whether a blob is there as far as the clients know. Only its own client asks.
func (l *ledger) known(blob string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stored[blob]
}

// client makes calls until the node is gone, each on a blob that no other client touches, which share chunks.
func (l *ledger) client(t *testing.T, p *process, seed uint64, calls *atomic.Int64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	shared := bytes.Repeat([]byte{7}, chunkSize)
	for i := 0; ; i++ {
		content := fmt.Appendf(nil, "%d %d ", seed, rng.IntN(20))
		if rng.IntN(2) == 0 {
			content = append(bytes.Clone(shared), content...)
		}
		blob := blobID(content)
		remove := rng.IntN(3) == 0
		if l.known(blob) != remove {
			continue // half of the calls would change nothing
		}
		l.mu.Lock()
		l.contents[blob], l.unknown[blob] = content, true
		l.mu.Unlock()
		var status int
		var err error
		if remove {
			status, _, err = p.call(t, http.MethodDelete, "/"+blob, nil)
		} else {
			status, _, err = p.call(t, http.MethodPut, "", content)
		}
		if err != nil {
			return // gone in the middle: either outcome is right
		}
		if status != 200 && (!remove || status != 404) {
			t.Errorf("call on %s: status %d", blob, status)
		}
		l.mu.Lock()
		l.stored[blob], l.unknown[blob] = !remove, false
		l.mu.Unlock()
		calls.Add(1)
	}
}

// check compares a restarted node with the ledger, and its files with its index.
func (l *ledger) check(t *testing.T, p *process, dir string) {
	t.Helper()
	for blob, content := range l.contents {
		status, body, err := p.call(t, http.MethodGet, "/"+blob, nil)
		if err != nil {
			t.Fatal(err)
		}
		whole := status == 200 && bytes.Equal(body, content)
		switch {
		case l.unknown[blob]:
			if !whole && status != 404 {
				t.Errorf("%s, interrupted: status %d, %d bytes, want whole or absent", blob, status, len(body))
			}
			l.stored[blob], l.unknown[blob] = status == 200, false
		case l.stored[blob] && !whole:
			t.Errorf("%s was acknowledged: status %d, %d of %d bytes", blob, status, len(body), len(content))
		case !l.stored[blob] && status != 404:
			t.Errorf("%s was removed: status %d", blob, status)
		}
	}
	var list struct {
		Data struct {
			Blobs []struct {
				ID string `json:"blob_id"`
			}
		}
	}
	_, text, err := p.call(t, http.MethodGet, "", nil)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, b := range list.Data.Blobs {
		if !l.stored[b.ID] {
			t.Errorf("%s is listed and should not be", b.ID)
		}
		for c := range slices.Chunk(l.contents[b.ID], chunkSize) {
			sum := sha256.Sum256(c)
			want[hex.EncodeToString(sum[:])] = true
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if uploads, err := os.ReadDir(filepath.Join(dir, "blobs", "uploads")); err != nil || len(uploads) > 0 {
		t.Errorf("uploads after the restart: %v, %v", uploads, err)
	}
	for _, f := range files {
		if !want[filepath.Base(f)] {
			t.Errorf("%s belongs to no blob", f)
		}
		delete(want, filepath.Base(f))
	}
	if len(want) > 0 {
		t.Errorf("chunks without a file: %v", want)
	}
}

// A node that is killed at any moment loses nothing that it acknowledged, and keeps nothing that it does not list.
func TestKilledNode_KeepsWhatItAcknowledged(t *testing.T) {
	bin, home := build(t), t.TempDir()
	l := &ledger{contents: map[string][]byte{}, stored: map[string]bool{}, unknown: map[string]bool{}}
	total := int64(0)
	for round := range rounds {
		p := start(t, bin, home)
		l.check(t, p, filepath.Join(home, "n"))
		var wg sync.WaitGroup
		var calls atomic.Int64
		for c := range 4 {
			wg.Go(func() { l.client(t, p, uint64(4*round+c), &calls) })
		}
		for calls.Load() < 6 && !t.Failed() {
			runtime.Gosched()
		}
		// Four calls are under way now. Let a different number of instructions pass in every round.
		for range round * 2000 {
			runtime.Gosched()
		}
		if err := p.end(syscall.SIGKILL); err == nil {
			t.Error("the node ended by itself")
		}
		wg.Wait()
		total += calls.Load()
	}
	p := start(t, bin, home)
	l.check(t, p, filepath.Join(home, "n"))
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if total < 6*rounds {
		t.Errorf("only %d calls were acknowledged", total)
	}
}
