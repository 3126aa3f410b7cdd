package bench_test

import (
	"bufio"
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
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/testapp"
)

// crowdRole makes this test binary the subscribers of a node, in a process of their own; its value is "ADDRESS CONTEXT N".
const crowdRole = "MERO_BENCH_CROWD"

// serveCrowd opens n WebSockets and n SSE streams that read, and one WebSocket that does not. It says when they are
// subscribed and keeps them until stdin ends.
func serveCrowd(role string, stdin io.Reader, stdout io.Writer) error {
	var addr, contextID string
	var n int
	if _, err := fmt.Sscan(role, &addr, &contextID, &n); err != nil {
		return err
	}
	for i := range 2*n + 1 {
		open := webSocket
		if i%2 == 1 {
			open = serverEvents
		}
		from, err := open(addr, contextID)
		if err != nil {
			return err
		}
		if i < 2*n {
			go func() { _, _ = io.Copy(io.Discard, from) }() // ends with the process
		}
	}
	if _, err := fmt.Fprintln(stdout, "subscribed"); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, stdin)
	return err
}

func dial(addr, head string) (net.Conn, *bufio.Reader, error) {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	_, err = fmt.Fprintf(conn, "GET %s\r\nHost: localhost\r\n\r\n", head)
	return conn, bufio.NewReader(conn), err
}

func webSocket(addr, contextID string) (io.Reader, error) {
	conn, from, err := dial(addr, "/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
	if err != nil {
		return nil, err
	}
	text := `{"id":1,"method":"subscribe","params":{"contextIds":["` + contextID + `"]}}`
	if _, err := conn.Write(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)); err != nil { // shorter than 126 bytes
		return nil, err
	}
	_, err = from.ReadString('}') // of the answer's result
	return from, err
}

func serverEvents(addr, contextID string) (io.Reader, error) {
	_, from, err := dial(addr, "/sse HTTP/1.1")
	if err != nil {
		return nil, err
	}
	session := ""
	for session == "" {
		line, err := from.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if name, value, _ := strings.Cut(strings.TrimSpace(line), ": "); strings.EqualFold(name, "X-SSE-Session-ID") {
			session = value
		}
	}
	body := fmt.Sprintf(`{"id":%q,"method":"subscribe","params":{"contextIds":[%q]}}`, session, contextID)
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+addr+"/sse/subscription", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("subscribe: %s", res.Status)
	}
	return from, nil
}

// startCrowd returns when n subscribers of each kind, and the one that does not read, are subscribed.
func startCrowd(t *testing.T, addr, contextID string, n int) (stop func()) {
	t.Helper()
	_, _, stop = startRole(t, crowdRole, fmt.Sprintf("%s %s %d", addr, contextID, n))
	return stop
}

// post sends JSON to a node and decodes the answer.
func post(t *testing.T, url, body string, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	var answer bytes.Buffer
	send(t, r, &answer)
	if err := json.Unmarshal(answer.Bytes(), into); err != nil {
		t.Fatalf("%s: %v", answer.Bytes(), err)
	}
}

// fanOut measures what subscribers cost the calls that they are told of, one call after the other. The subscribers' own
// work is on the same cores.
func fanOut(t *testing.T) []row {
	each, calls := 1000, 300
	if !*ratios {
		each, calls = 5, 3
	}
	module := filepath.Join(t.TempDir(), "kv-store.wasm")
	if err := os.WriteFile(module, testapp.KVStore, 0o600); err != nil {
		t.Fatal(err)
	}
	node := startNode(t, buildNode(t))
	base := "http://" + node.addr
	var made struct {
		Data struct{ ApplicationID, ContextID string }
	}
	post(t, base+"/admin-api/install-dev-application", fmt.Sprintf(`{"path":%q,"metadata":[]}`, module), &made)
	post(t, base+"/admin-api/contexts", fmt.Sprintf(`{"applicationId":%q}`, made.Data.ApplicationID), &made)
	call := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":%q,"method":"set","argsJson":{"key":"k","value":"v"}}}`, made.Data.ContextID)
	latency := func() (p50, p99 time.Duration) {
		took := make([]time.Duration, calls)
		for i := range took {
			var answer struct{ Error json.RawMessage }
			began := time.Now()
			post(t, base+"/jsonrpc", call, &answer)
			if took[i] = time.Since(began); answer.Error != nil {
				t.Fatalf("set: %s", answer.Error)
			}
		}
		slices.Sort(took)
		return took[len(took)/2], took[len(took)*99/100]
	}
	latency()
	alone, alone99 := latency()
	stop := startCrowd(t, node.addr, made.Data.ContextID, each)
	told, told99 := latency()
	stop()
	figure := fmt.Sprintf("execute set beside %d subscribers, one of which does not read: ", 2*each+1)
	ratio := func(a, b time.Duration) string {
		return fmt.Sprintf("%.2f (%.1f ms)", float64(a)/float64(b), float64(a.Microseconds())/1000)
	}
	const denominator = "the same without subscribers"
	return []row{
		{figure + "p50", ratio(told, alone), "-", fmt.Sprintf("%s (%.1f ms)", denominator, float64(alone.Microseconds())/1000)},
		{figure + "p99", ratio(told99, alone99), "-", fmt.Sprintf("%s (%.1f ms)", denominator, float64(alone99.Microseconds())/1000)},
		{"the node with them: largest resident set", fmt.Sprintf("%.1f MiB", node.peakRSS(t)), "-", "-"},
	}
}
