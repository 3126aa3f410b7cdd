package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/calimero-network/mero-go/services/node/testapp"
)

// scrape reads a counter of the node, or how often a histogram was fed, over all labels.
func (g *group) scrape(t *testing.T, family string) float64 {
	t.Helper()
	a := g.as(t, "admin", "GET", "/metrics", "")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(a.body))
	if err != nil || a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("/metrics: %s %s %v", a.Status, a.Header.Get("Content-Type"), err)
	}
	total := 0.0
	for _, m := range families[family].GetMetric() {
		total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return total
}

// command runs the binary to its end.
func command(t *testing.T, bin string, environ []string, args ...string) (code int, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env = append(os.Environ(), environ...)
	var out bytes.Buffer
	cmd.Stderr = &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// drain is how long a node that stops lets calls go on.
const drain = 8 * time.Second

// drains stops a node in which calls run: those over HTTP and over a WebSocket are made, answered and kept. A loop that
// ends at its time limit keeps the context busy, so that the others have been accepted and wait when the signal comes. It
// reports whether that was so; a machine that stands still may let the loop end before the signal, or the drain before the
// loop.
func drains(t *testing.T, bin string) bool {
	t.Helper()
	const limit = drain / 2
	g := newGroup(t, bin, fmt.Sprintf("MEROD_EXECUTION__TIME_LIMIT=%s", limit))
	g.app, _ = g.install(t, "kv-store.wasm", testapp.KVStore)
	c := g.context(t, g.app).ContextID
	post := func(body string) <-chan string {
		r := g.request(t, "POST", "/jsonrpc", strings.NewReader(body))
		g.grant(r, "k1", "admin", never)
		answered := make(chan string, 1)
		go func() {
			a, err := g.try(r)
			if err != nil {
				answered <- err.Error()
				return
			}
			answered <- a.Status + " " + a.body
		}()
		return answered
	}
	s := g.socket(t, "admin")
	looping := time.Now()
	loop := post(call(c, "loop_forever", "{}"))
	inFlight := func(want float64) bool {
		t.Helper()
		for g.scrape(t, "http_requests_in_flight") < want {
			if time.Since(looping) >= limit {
				return false
			}
			time.Sleep(time.Millisecond)
		}
		return true
	}
	if !inFlight(3) { // with the WebSocket and the scrape itself
		return false
	}
	set := post(call(c, "set", `{"key":"http","value":"1"}`))
	s.send(`{"id":7,"method":"execute","params":{"contextId":"` + c + `","method":"set","argsJson":{"key":"ws","value":"1"}}}`)
	s.frame(9, "read") // what came before has been read when it is answered
	got := s.next()
	if !inFlight(4) || time.Since(looping) >= limit {
		return false
	}
	if got != "pong read" {
		t.Fatalf("the answer to a ping: %q", got)
	}
	began, ended := time.Now(), make(chan error, 1)
	go func() { ended <- g.end(syscall.SIGTERM) }()
	inLoop, overHTTP, overWebSocket := <-loop, <-set, s.next()
	if time.Since(began) >= drain {
		t.Logf("undecided: the node ended after %s with %v", time.Since(began), <-ended)
		return false
	}
	if !strings.HasPrefix(inLoop, "200 ") || !strings.Contains(inLoop, "ran longer than "+limit.String()) {
		t.Errorf("the loop: %s", inLoop)
	}
	if overHTTP != `200 OK {"jsonrpc":"2.0","id":1,"result":{"output":null}}` {
		t.Errorf("the call over HTTP: %s", overHTTP)
	}
	if !equalJSON(overWebSocket, `{"id":7,"result":{"output":null}}`) {
		t.Fatalf("the call over a WebSocket: %s", overWebSocket)
	}
	if got := s.next(); got != "1001 shutting_down" {
		t.Errorf("WebSocket: %q", got)
	}
	if err := <-ended; err != nil || time.Since(began) > patience {
		t.Errorf("the node ended after %s: %v", time.Since(began), err)
	}
	g.process = startWith(t, g.bin, g.home, g.environ...)
	for _, key := range []string{"http", "ws"} {
		g.output(t, c, "get", fmt.Sprintf(`{"key":%q}`, key), `"1"`)
	}
	return true
}

var operation = []check{
	{"J82", func(t *testing.T, g *group) {
		g.app, _ = g.install(t, "kv-store.wasm", testapp.KVStore)
		families := []string{"http_requests_total", "http_request_duration_seconds", "merod_contexts", "context_runtime_execution_duration_seconds"}
		var before []float64
		for _, f := range families {
			before = append(before, g.scrape(t, f))
		}
		g.insert(t, g.context(t, g.app).ContextID, "a")
		for i, f := range families {
			if after := g.scrape(t, f); after <= before[i] {
				t.Errorf("%s was %v and is %v", f, before[i], after)
			}
		}
	}},
	{"J83", func(t *testing.T, g *group) {
		home := t.TempDir()
		file := filepath.Join(home, "n", "config.toml")
		read := func() string {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		run := func(want int, args ...string) string {
			code, text := command(t, g.bin, nil, append([]string{"--home", home, "--node", "n"}, args...)...)
			if (code == 0) != (want == 0) {
				t.Errorf("merod %v: exit code %d\n%s", args, code, text)
			}
			return text
		}
		run(0, "init", "--server-port", "2600", "--swarm-port", "2500")
		first := read()
		if text := run(0, "init", "--server-port", "2601"); read() != first || !strings.Contains(text, "already initialized") {
			t.Errorf("the second init: %s", text)
		}
		run(0, "config", "sync.interval_ms=1000")
		changed := read()
		if !strings.Contains(changed, "interval_ms = 1000") {
			t.Errorf("the configuration after the change:\n%s", changed)
		}
		for _, bad := range []string{"sync.interval_ms=[", "sync.interval_ms=\"x\"", "no.such=1", "sync.interval_ms"[:4] + "=1"} {
			run(1, "config", bad)
			if read() != changed {
				t.Errorf("%s changed the configuration", bad)
			}
		}
		run(0, "init", "--force", "--server-port", "2601")
		if after := read(); strings.Contains(after, "interval_ms = 1000") || !strings.Contains(after, "/ip4/127.0.0.1/tcp/2601") {
			t.Errorf("the configuration after init --force:\n%s", after)
		}
	}},
	{"J84", func(t *testing.T, g *group) {
		s := g.socket(t, "context:subscribe")
		e := g.sse(t, "k1", "")
		e.next()
		silent := g.socket(t, "context:subscribe") // does not even answer the close
		defer func() { _ = silent.Close() }()
		began := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- g.end(syscall.SIGTERM) }()
		if got := s.next(); got != "1001 shutting_down" {
			t.Errorf("WebSocket: %q", got)
		}
		if _, text := e.next(); text != `{"type":"close","reason":"shutting_down"}` {
			t.Errorf("SSE: %s", text)
		}
		if err := <-ended; err != nil || time.Since(began) > patience {
			t.Errorf("the node ended after %s: %v", time.Since(began), err)
		}
		for range attempts {
			if drains(t, g.bin) {
				return
			}
		}
		t.Errorf("no stop within %s came while calls were running", drain)
	}},
	{"J85", func(t *testing.T, g *group) {
		taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = taken.Close() }()
		_, port, err := net.SplitHostPort(taken.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		code, text := command(t, g.bin, []string{"MEROD_SERVER__AUTH_MODE=none", "MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/" + port}, "--home", t.TempDir(), "--node", "n", "run", "--init")
		if code == 0 || !strings.Contains(text, "address already in use") || !strings.Contains(text, port) {
			t.Errorf("exit code %d\n%s", code, text)
		}
	}},
}
