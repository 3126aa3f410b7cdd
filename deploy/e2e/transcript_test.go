package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// recordedClient is a line of testdata/nginx_clients.jsonl: what a client sent when five proxies were recorded, without
// the HTTP/2 ones (the shipped nginx speaks HTTP/1) and without repetitions.
type recordedClient struct {
	ID           string   `json:"id"`
	RequestLine  string   `json:"request_line"`
	Headers      []string `json:"headers"`
	LineEnd      string   `json:"line_end"`
	Body         string   `json:"body"`
	BodyLen      int      `json:"body_len"`
	AfterUpgrade string   `json:"after_upgrade"`
}

// wire returns the recorded bytes, with tokens of ours in place of the recorded one.
func (c recordedClient) wire(token string) []byte {
	end := c.LineEnd
	if end == "" {
		end = "\r\n"
	}
	var b bytes.Buffer
	line := func(s string) {
		s = strings.ReplaceAll(s, "good-token", token)
		b.Write(latin1(strings.ReplaceAll(s, "User-Agent: lab/1", "User-Agent: lab/"+c.ID)))
		b.WriteString(end)
	}
	line(c.RequestLine)
	for _, h := range c.Headers {
		line(h)
	}
	if len(c.Headers) > 0 {
		b.WriteString(end)
	}
	body := latin1(strings.ReplaceAll(c.Body, "good-token", token))
	if c.Body == "" && c.BodyLen > 0 {
		body = bytes.Repeat([]byte("a"), c.BodyLen) // the one long body
	}
	b.Write(body)
	b.Write(latin1(c.AfterUpgrade))
	return b.Bytes()
}

func recordedClients(t *testing.T) []recordedClient {
	t.Helper()
	file, err := os.Open("testdata/nginx_clients.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []recordedClient
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c recordedClient
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAttackRecordedClientsNeverGetAnotherIdentity sends everything that was recorded through the real nginx to the real
// services: with a token, with a token in place of which nothing good stands, and looks at what arrived at the node.
func TestAttackRecordedClientsNeverGetAnotherIdentity(t *testing.T) {
	t.Parallel()
	st := start(t, stack.Settings{Record: true})
	s := loggedIn(t, st)
	key := s.token(t, "context:list", "blob", "context:subscribe")
	callers := []identity{s.identityOf(t, key)}
	clients := recordedClients(t)
	if len(clients) != 214 {
		t.Fatalf("%d recorded clients, want 214", len(clients))
	}
	before := len(st.NodeLink.Requests())
	for _, round := range []struct{ name, token string }{{"with a token", key}, {"with a bad token", "bad-token"}} {
		t.Run(round.name, func(t *testing.T) {
			replay(t, s, clients, round.token, round.token == key)
		})
	}
	atNode, identified := checkLinks(t, st, callers)
	t.Logf("%d requests reached the node, %d of them with an identity", atNode-before, identified)
	if identified < 50 {
		t.Errorf("only %d requests reached the node with an identity: the replay does not show much", identified)
	}
}

// replay sends the clients' bytes, some at a time.
func replay(t *testing.T, s *administered, clients []recordedClient, token string, good bool) {
	t.Helper()
	work := make(chan recordedClient)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for c := range work {
				for i, a := range exchange(t, s.hostOf(t), c.wire(token)) {
					if isSuccess(a) && !good && !publicAnswer(c, i) {
						t.Errorf("%s: answer %d is %d without a good token", c.ID, i, a.status)
					}
				}
			}
		})
	}
	for _, c := range clients {
		work <- c
	}
	close(work)
	workers.Wait()
}

// publicAnswer reports whether a client may be answered without a token: it asks for something public, or for a preflight.
func publicAnswer(c recordedClient, answer int) bool {
	parts := strings.Fields(c.RequestLine)
	if answer > 0 || len(parts) < 2 {
		return strings.Contains(c.Body, "GET /admin-api/health ") // pipelined
	}
	method, target := parts[0], parts[1]
	target = strings.TrimPrefix(target, "http://node.example.com")
	path, _, _ := strings.Cut(target, "?")
	return method == http.MethodOptions && strings.Contains(fmt.Sprint(c.Headers), "Access-Control-Request-Method") ||
		path == "/admin-api/health" || path == "/" || path == "/auth/health" || path == "/auth/providers"
}
