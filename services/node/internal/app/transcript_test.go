package app_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/node/internal/config"
)

// recording is one input that a client sent through a real proxy (nginx 1.22, Traefik 3.7, Caddy 2.6 and 2.11,
// HAProxy 2.6), with what the gate was asked and answered and what then arrived at the node. Strings hold one byte
// a code point.
type recording struct {
	Proxy   string     `json:"proxy"`
	ID      string     `json:"id"`
	Asked   []question `json:"asked"`
	Status  int        `json:"status"`
	Granted []string   `json:"granted"` // identity header lines of the gate's answer
	Node    []arrival  `json:"node"`
}

type question struct {
	Method string `json:"method"`
	Target string `json:"target"`
}

type arrival struct {
	Method, Target, Proto string
	Headers               []string
	Framing               string
	BodyLen               int `json:"body_len"`
	Body                  string
	Trailers              []string
	Problem               string
}

func recordings(t *testing.T) []recording {
	t.Helper()
	f, err := os.Open("testdata/transcripts.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []recording
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r recording
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	if err := lines.Err(); err != nil || len(out) < 1000 {
		t.Fatalf("%d recordings, %v", len(out), err)
	}
	return out
}

// onTheWire undoes the one byte a code point.
func onTheWire(s string) []byte {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return b
}

// bytes returns the request as it arrived, with further header lines.
func (a arrival) bytes(further ...string) []byte {
	var b bytes.Buffer
	b.Write(onTheWire(a.Method + " " + a.Target + " " + a.Proto + "\r\n"))
	for _, line := range append(slices.Clone(a.Headers), further...) {
		b.Write(onTheWire(line + "\r\n"))
	}
	b.WriteString("\r\n")
	body := onTheWire(a.Body)
	if len(body) == 0 && a.BodyLen > 1024 {
		body = bytes.Repeat([]byte("a"), a.BodyLen)
	}
	if a.Framing != "chunked" {
		b.Write(body)
		return b.Bytes()
	}
	if len(body) > 0 {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(body), body)
	}
	b.WriteString("0\r\n")
	for _, line := range a.Trailers {
		b.Write(onTheWire(line + "\r\n"))
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// values returns the values of the header lines with exactly this name, in any case.
func values(lines []string, name string) []string {
	var out []string
	for _, line := range lines {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			out = append(out, strings.Trim(v, " \t"))
		}
	}
	return out
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

var punctuation = regexp.MustCompile(`[^a-z0-9]`)

var identityNames = []string{"X-Auth-Key", "X-Auth-User", "X-Auth-Permissions", "X-Auth-Expires"}

// clean reports whether the request carries exactly what the gate granted, once and in no other form.
func (a arrival) clean(granted []string) bool {
	for _, name := range identityNames {
		got, want := values(a.Headers, name), values(granted, name)
		if len(got) > 1 || first(got) != first(want) {
			return false
		}
	}
	for _, line := range a.Headers {
		n, v, _ := strings.Cut(strings.ToLower(line), ":")
		if plain := punctuation.ReplaceAllString(n, "-"); plain != n && strings.HasPrefix(plain, "x-auth-") {
			return false // an alias
		}
		if n == "trailer" && strings.Contains(v, "x-auth") {
			return false
		}
	}
	return first(values(granted, "X-Auth-Key")) == "k1" && first(values(granted, "X-Auth-User")) == "k1" &&
		!strings.ContainsAny(first(values(granted, "X-Auth-Permissions")), "{}")
}

var publicTargets = []string{
	"/", "/favicon.ico", "/admin-dashboard", "/admin-dashboard/", "/admin-api/health", "/admin-api/ready", "/admin-api/is-authed", "/admin-api/certificate",
}

// public reports whether anybody may have an answer to the request.
func (a arrival) public() bool {
	path, _, _ := strings.Cut(a.Target, "?")
	return (a.Method == http.MethodGet || a.Method == http.MethodHead) && slices.Contains(publicTargets, path)
}

func (a arrival) preflight() bool {
	return a.Method == http.MethodOptions && len(values(a.Headers, "Origin")) == 1 && len(values(a.Headers, "Access-Control-Request-Method")) == 1
}

// What real proxies deliver, byte for byte, to a node whose gate signs nothing: nobody gets past the guard.
func TestTranscripts_WithoutAssertionNobodyIsServed(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	for _, r := range recordings(t) {
		for i, a := range r.Node {
			if a.Problem != "" {
				continue // the client left; there is nobody to answer
			}
			res := raw(t, n.addr, a.Method, a.bytes())
			name := fmt.Sprintf("%s %s #%d %s %s", r.Proxy, r.ID, i, a.Method, a.Target)
			switch {
			case a.public(), a.preflight():
				if res.StatusCode == http.StatusUnauthorized {
					t.Errorf("%s: 401 on what is public", name)
				}
			case res.StatusCode < 400 || res.StatusCode >= 500:
				t.Errorf("%s: %s", name, res.Status)
			}
			n.expectKey(t, name, res, "")
		}
	}
}

// expectKey checks under which key a request was served, by its access line. Requests that the HTTP library refuses
// itself have none.
func (n *node) expectKey(t *testing.T, name string, res answer, want string) {
	t.Helper()
	if res.Header.Get("X-Request-Id") == "" {
		if res.StatusCode < 400 {
			t.Errorf("%s: %s without a log line", name, res.Status)
		}
		return
	}
	if got := n.log.line(res)["key"].String(); got != want {
		t.Errorf("%s: served under key %q, want %q (%s)", name, got, want, res.Status)
	}
}

// The same with the assertion that the gate would have signed for what it was asked: what arrives as the gate
// granted it is served under the gate's key, and nothing else is.
func TestTranscripts_AssertionLetsExactlyTheGrantedThrough(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	served := map[string]int{}
	for _, r := range recordings(t) {
		for i, a := range r.Node {
			if a.Problem != "" {
				continue
			}
			name := fmt.Sprintf("%s %s #%d %s %s", r.Proxy, r.ID, i, a.Method, a.Target)
			var asked question
			if i < len(r.Asked) {
				asked = r.Asked[i]
			}
			claim := assertion.Claim{
				Key:         first(values(r.Granted, "X-Auth-Key")),
				Permissions: string(onTheWire(first(values(r.Granted, "X-Auth-Permissions")))),
				Expires:     first(values(r.Granted, "X-Auth-Expires")),
				Method:      asked.Method, Target: string(onTheWire(asked.Target)),
			}
			res := raw(t, n.addr, a.Method, a.bytes("X-Auth-Assertion: "+n.keys.Sign(claim, time.Now().Add(time.Minute))))
			granted := asked.Method == a.Method && asked.Target == a.Target && a.clean(r.Granted)
			switch {
			case a.public(), a.preflight():
				n.expectKey(t, name, res, "")
			case granted && res.StatusCode == http.StatusUnauthorized:
				t.Errorf("%s: 401 although the gate granted it: %v", name, n.log.line(res)["error"])
			case granted && res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusBadRequest:
				n.expectKey(t, name, res, "k1")
				served[r.Proxy]++
			case granted: // not canonical, or no HTTP: refused before anybody asks for a key
				n.expectKey(t, name, res, "")
			default:
				if res.StatusCode < 400 || res.StatusCode >= 500 {
					t.Errorf("%s: %s although it is not what the gate granted", name, res.Status)
				}
				n.expectKey(t, name, res, "")
			}
		}
	}
	for _, proxy := range []string{"nginx", "traefik", "caddy-2.6", "caddy-2.11", "haproxy"} {
		if served[proxy] < 80 {
			t.Errorf("%s: only %d recorded requests were served", proxy, served[proxy])
		}
	}
}

// Without assertions (require_assertion = false) the headers alone decide, so what a proxy lets through of a
// client's own headers must still not make another key.
func TestTranscripts_HeadersAloneNeverYieldAnotherKey(t *testing.T) {
	n := start(t, t.TempDir(), func(c *config.Config) {
		c.Server.Proxy.RequireAssertion = false
		c.Server.AllowedHosts = []string{"node.example.com"}
	})
	served := 0
	for _, r := range recordings(t) {
		for i, a := range r.Node {
			if a.Problem != "" {
				continue
			}
			name := fmt.Sprintf("%s %s #%d %s %s", r.Proxy, r.ID, i, a.Method, a.Target)
			res := raw(t, n.addr, a.Method, a.bytes())
			if res.Header.Get("X-Request-Id") == "" {
				continue
			}
			key := n.log.line(res)["key"].String()
			if key != "" && !slices.ContainsFunc(r.Granted, func(line string) bool { return strings.HasSuffix(line, ": "+key) }) {
				t.Errorf("%s: served under key %q, the gate said %q", name, key, r.Granted)
			}
			if key == "" && res.StatusCode < 300 && !a.public() && !a.preflight() {
				t.Errorf("%s: %s to nobody", name, res.Status)
			}
			if key != "" {
				served++
			}
		}
	}
	if served < 400 {
		t.Errorf("only %d recorded requests were served", served)
	}
}
