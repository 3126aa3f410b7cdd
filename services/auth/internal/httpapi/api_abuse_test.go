package httpapi_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// abuse is a case of testdata/input_abuse.json: a request that no client sends by accident.
type abuse struct {
	ID, Endpoint, Method, Path, Token, Why string

	ContentType *string     `json:"content_type"`
	Body64      string      `json:"body_b64"`
	Packed      string      `json:"body_zlib_b64"`
	Generated   string      `json:"body_gen"`
	Headers     [][2]string `json:"headers"`
	Expected    []int       `json:"expect_status"` // 0: the connection is closed
}

// decided are the cases that the binding design answers otherwise than the corpus.
var decided = map[string]struct {
	status int
	reason string
}{
	"clientkey-nodeurl-01": {200, "an absolute http(s) URL is a binding; nothing is ever fetched from it"},
	"clientkey-nodeurl-02": {200, "as nodeurl-01"},
	"clientkey-nodeurl-03": {200, "as nodeurl-01"},
	"clientkey-nodeurl-04": {200, "as nodeurl-01"},
	"token-method-00":      {422, "an empty member is well-formed JSON of a bad value, as for the other members"},
	"clientkey-nodeurl-12": {200, "clients send empty texts for absent members"},
}

// unchanged are the successes that ask for nothing: what they add is there, and what they remove is not.
var unchanged = map[string]bool{"perms-add-null": true, "perms-body-16": true}

func readAbuse(t *testing.T) []abuse {
	t.Helper()
	raw, err := os.ReadFile("testdata/input_abuse.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []abuse }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) != 203 {
		t.Fatalf("%d cases, want 203", len(file.Cases))
	}
	return file.Cases
}

func (c abuse) body(t *testing.T) []byte {
	t.Helper()
	decode := func(text string) []byte {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	switch {
	case c.Packed != "":
		r, err := zlib.NewReader(bytes.NewReader(decode(c.Packed)))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	case c.Generated == `{"x":[ x 100000`:
		return []byte(`{"x":` + strings.Repeat("[", 100_000))
	case c.Generated == "object with 100 000 distinct members":
		var b strings.Builder
		for i := range 100_000 {
			fmt.Fprintf(&b, `,"k%d":0`, i)
		}
		return []byte("{" + b.String()[1:] + "}")
	}
	return decode(c.Body64)
}

// hangs reports whether the case keeps the server waiting.
func (c abuse) hangs() bool {
	return strings.Contains(c.Generated, "never") || strings.Contains(c.Generated, "then idle")
}

// request returns the bytes of the request up to the point where the client stops sending.
func (c abuse) request(t *testing.T, admin, keyID string) []byte {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", c.Method, strings.ReplaceAll(c.Path, "{key_id}", keyID))
	named := func(name string) bool {
		return slices.ContainsFunc(c.Headers, func(h [2]string) bool { return strings.EqualFold(h[0], name) })
	}
	if !named("Host") {
		b.WriteString("Host: auth.example\r\n")
	}
	if c.Token == "T_admin" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", admin)
	}
	if c.ContentType != nil {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", *c.ContentType)
	}
	for _, h := range c.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	switch {
	case strings.HasPrefix(c.Generated, "Expect"):
		b.WriteString("Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
	case strings.HasPrefix(c.Generated, "Transfer-Encoding"):
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n")
	case strings.HasPrefix(c.Generated, "Content-Length"):
		b.WriteString("Content-Length: 1000\r\n\r\n{")
	default:
		body := c.body(t)
		if named("Transfer-Encoding") {
			body = fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		} else if !named("Content-Length") {
			fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
		}
		b.WriteString("\r\n")
		b.Write(body)
	}
	return b.Bytes()
}

// Every case of the corpus over a raw connection to the whole service (those that keep it waiting, to one with short
// time-outs): a listed status, no success that is not listed, no 5xx, one JSON
// error body that repeats nothing of the input, and nothing stored.
func TestInputAbuse(t *testing.T) {
	s := startSite(t)
	a := s.overStore(t)
	patient := startAPI(t)
	quick := patient.withTimeouts(t, 15*time.Second, 300*time.Millisecond)
	for _, c := range readAbuse(t) {
		if c.hangs() {
			patient.abuse(t, c, quick)
		} else {
			a.abuse(t, c, a)
		}
	}
	a.logIn(t, "alice")
	s.wantsNoErrors(t)
}

// The bodies and headers of every case at every other endpoint that reads a body: whatever they are there, they are no
// failure of the service, and nothing is stored unless the answer says so.
func TestInputAbuse_AtEveryEndpoint(t *testing.T) {
	s := startSite(t)
	a := s.overStore(t)
	endpoints, requests := 0, 0
	cases := slices.DeleteFunc(readAbuse(t), func(c abuse) bool {
		return c.hangs() || len(c.body(t)) > 64<<10 // size is decided before the endpoint is
	})
	for row := range route.Auth.All() {
		if row.Method != http.MethodPost && row.Method != http.MethodPut && row.Method != http.MethodPatch || row.Op == "gate.validate" {
			continue
		}
		endpoints++
		admin := a.logIn(t, "alice").Access
		client := parse(t, a.mint(t, admin, "context:list").Access).Sub
		for _, c := range cases {
			requests++
			if row.Op == "token.revoke" { // an object without client_id ends the session that asks
				admin = a.logIn(t, "alice").Access
			}
			c.Method, c.Path, c.Token = row.Method, strings.ReplaceAll(row.Pattern, "{key_id}", client), "T_admin"
			what := fmt.Sprintf("%s at %s %s", c.ID, row.Method, row.Pattern)
			before := a.digest(t)
			r, _ := a.raw(t, c.Method, c.request(t, admin, client))
			if r.status == 0 || r.status >= 500 || (r.status < 400 && r.status != http.StatusOK) {
				t.Errorf("%s: %d %.200s", what, r.status, r.body)
			}
			// What is an empty wish at one endpoint, or an account's name and password, may be meant.
			mayDo := []string{"clients.create", "token.revoke", "keys.permissions.change", "keys.change", "keys.create of token-userpass-04"}
			if r.status == http.StatusOK && !slices.Contains(mayDo, row.Op) && !slices.Contains(mayDo, row.Op+" of "+c.ID) {
				t.Errorf("%s: it succeeds", what)
			}
			if r.status != http.StatusOK && a.digest(t) != before {
				t.Errorf("%s: %d, and the store changed", what, r.status)
			}
		}
	}
	if endpoints < 8 || requests < 1400 {
		t.Errorf("%d requests at %d endpoints, want more", requests, endpoints)
	}
	s.wantsNoErrors(t)
}

// overStore returns the service as an api whose store can be read.
func (s *site) overStore(t *testing.T) *api {
	t.Helper()
	a := &api{addr: s.Addr, db: s.DB, store: s.Store, password: s.password}
	s.addRoot(t, s.root(t).Access, "alice")
	return a
}

func (s *site) wantsNoErrors(t *testing.T) {
	t.Helper()
	if lines := s.Log.Lines(`"level":"ERROR"`); len(lines) > 0 {
		t.Errorf("the log holds %d errors, the first: %s", len(lines), lines[0])
	}
}

// abuse sends the case to a listener of a.
func (a *api) abuse(t *testing.T, c abuse, at *api) {
	t.Helper()
	admin := a.logIn(t, "alice").Access
	if c.Endpoint == "perms" { // every case begins with the same list
		a.update(t, func(tx *store.Tx) error { return tx.SetPermissions(parse(t, admin).Sub, []string{"admin"}) })
	}
	before := a.digest(t)
	r, closed := at.raw(t, c.Method, c.request(t, admin, parse(t, admin).Sub))
	expected := c.Expected
	if d, is := decided[c.ID]; is {
		expected = []int{d.status}
	}
	if !slices.Contains(expected, r.status) {
		t.Errorf("%s: %d %.200s, want %v (%s)", c.ID, r.status, r.body, expected, c.Why)
	}
	if r.status >= 500 {
		t.Errorf("%s: %d", c.ID, r.status)
	}
	if stored := a.digest(t) != before; stored != (r.status == http.StatusOK && !unchanged[c.ID]) {
		t.Errorf("%s: %d, and the store changed: %t", c.ID, r.status, stored)
	}
	if c.hangs() && r.status != 0 && !closed {
		t.Errorf("%s: the connection stays open after %d", c.ID, r.status)
	}
	byLibrary := c.ID == "token-headers-01" || c.ID == "token-headers-05" // two Host or Content-Length headers reach no handler
	if r.status == 0 || r.status == http.StatusOK || byLibrary {
		return
	}
	r.message(t, c.ID)
	var sent map[string]any
	if json.Unmarshal(c.body(t), &sent) == nil && c.Endpoint != "clientkey" { // whose refusal names the permission by contract
		for _, value := range sent {
			if text, is := value.(string); is && len(text) > 3 && strings.Contains(r.body, text) {
				t.Errorf("%s: the answer repeats %q: %s", c.ID, text, r.body)
			}
		}
	}
}

// A request with both lengths is where two servers may disagree. Whatever follows it on the connection must not be
// taken for a request that somebody else sent.
func TestSmuggling_BothLengths(t *testing.T) {
	a := startAPI(t)
	second := "POST /admin/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	body := `{"access_token":"x","refresh_token":"y"}`
	for name, request := range map[string]string{
		"chunked and a length": "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"28\r\n" + body + "\r\n0\r\n\r\n" + second,
		"two transfer encodings": "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
		"an unknown encoding":    "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + second,
		"a length with a sign":   "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: +40\r\n\r\n" + body + second,
		"two lengths":            "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 40\r\nContent-Length: 5\r\n\r\n" + body + second,
	} {
		before := len(a.log.lines(t, "request"))
		r, closed := a.raw(t, "POST", []byte(request))
		if r.status/100 == 2 || r.status/100 == 5 && r.status != http.StatusNotImplemented || !closed {
			t.Errorf("%s: %d, connection closed: %t", name, r.status, closed)
		}
		for _, line := range a.log.lines(t, "request")[before:] {
			if line["route"] != "/auth/refresh" {
				t.Errorf("%s: the second request was served: %v", name, line)
			}
		}
	}
}

// A client that sends its header or its body drop by drop holds a connection for the time-out and no longer.
func TestSlowClients(t *testing.T) {
	a := startAPI(t)
	heads := a.withTimeouts(t, 200*time.Millisecond, 400*time.Millisecond)
	bodies := a.withTimeouts(t, 15*time.Second, 400*time.Millisecond) // a head that comes late is none of these cases
	head := "POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for name, tt := range map[string]struct {
		at          *api
		first, drop string
		statuses    []int
	}{
		"silence":           {heads, "", "", []int{0}},
		"header":            {heads, "GET /auth/health HTTP/1.1\r\nHost: x\r\n", "X: y\r\n", []int{0, 408}},
		"body":              {bodies, head + "Content-Length: 100000\r\n\r\n", " ", []int{408}},
		"chunks":            {bodies, head + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", []int{408}},
		"body, not awaited": {bodies, "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", " ", []int{404}},
		"body of a stranger": {
			bodies, "POST /admin/client-key HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n", " ", []int{401},
		},
	} {
		started := time.Now()
		status, closed := tt.at.trickle(t, tt.first, tt.drop)
		if !slices.Contains(tt.statuses, status) || !closed {
			t.Errorf("%s: %d, connection closed: %t; want %v and closed", name, status, closed, tt.statuses)
		}
		if held := time.Since(started); held > 30*time.Second {
			t.Errorf("%s: held for %v", name, held)
		}
	}
	a.logIn(t, "alice")
}

// trickle sends first, then drop after drop until the server answers or closes the connection.
func (a *api) trickle(t *testing.T, first, drop string) (status int, closed bool) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the server may have closed it
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, err := io.WriteString(conn, first)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for err == nil && drop != "" {
			select {
			case <-stop:
				return
			case <-tick.C:
				_, err = io.WriteString(conn, drop)
			}
		}
	}()
	all, err := io.ReadAll(conn) // to the end: the server closes
	close(stop)
	<-sent
	if timeout, is := err.(net.Error); is && timeout.Timeout() { //nolint:errorlint // reads of a connection return it bare
		return status, false
	}
	if len(all) > 0 {
		if _, err := fmt.Sscanf(string(all), "HTTP/1.1 %d", &status); err != nil {
			t.Errorf("answer %q: %v", all, err)
		}
	}
	return status, true
}

// Headers up to the limit are ours to judge; beyond it the library refuses them.
func TestOversizedHeaders(t *testing.T) {
	a := startAPI(t)
	get := func(path string, lines ...string) []byte {
		return []byte("GET " + path + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(lines, "") + "\r\n")
	}
	long := strings.Repeat("a", 100_000)
	if r, _ := a.raw(t, "GET", get("/admin/keys", "Authorization: Bearer "+long+"\r\n")); r.status != 401 || r.header.Get("X-Auth-Error") != "invalid_token" {
		t.Errorf("a token of 100000 bytes: %d %s", r.status, r.body)
	}
	if r, _ := a.raw(t, "GET", get("/"+long)); r.status != 404 {
		t.Errorf("a path of 100000 bytes: %d", r.status)
	}
	if r, closed := a.raw(t, "GET", get("/auth/health", "X: "+long+long+"\r\n")); r.status != 431 || !closed {
		t.Errorf("a header of 200000 bytes: %d, closed: %t", r.status, closed)
	}
	quick := a.withTimeouts(t, 300*time.Millisecond, time.Second) // one of them does not end
	for _, malformed := range []string{
		"GET /auth/health HTTP/1.1\r\n\r\n", "GET /auth/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET /auth/health HTTP/3.0\r\nHost: x\r\n\r\n",
		"GET /auth/health HTTP/1.1\r\nHost: x\r\nX y: z\r\n\r\n", "GET /auth health HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if r, closed := quick.raw(t, "GET", []byte(malformed)); r.status/100 != 4 && r.status != 505 && r.status != 0 || !closed {
			t.Errorf("%.40q: %d, closed: %t", malformed, r.status, closed)
		}
	}
	for target, want := range map[string]int{
		"*": 404, "http://evil.example/auth/health": 404, "//auth/health": 404, "/auth/health#x": 404, "/auth/./health": 404, "/auth/health%00": 404,
		"/auth/health?x=%00": 200, "/auth/health?": 200, "/auth/health;x": 404, `/auth\health`: 404,
	} {
		r, _ := a.raw(t, "GET", get(target))
		if r.status != want && (r.status != 400 || want == 200) {
			t.Errorf("GET %s: %d, want %d", target, r.status, want)
		}
	}
}
