package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

// rawAnswer is one of the answers to bytes on a connection.
type rawAnswer struct {
	status int
	header http.Header
	body   []byte
}

// quiet is how long nothing must come before the answers to some bytes count as complete.
const quiet = 250 * time.Millisecond

// exchange writes bytes to a connection of their own and returns every answer to them, without those of a late gate. Bytes
// that are no HTTP answer end the list with status 0.
func exchange(t *testing.T, addr string, payload []byte) []rawAnswer {
	t.Helper()
	for giveUp := time.Now().Add(patient); ; {
		answers := exchangeOnce(t, addr, payload)
		late := slices.ContainsFunc(answers, func(a rawAnswer) bool { return gateIsLate(a.status, a.header) })
		if !late || time.Now().After(giveUp) {
			return answers
		}
	}
}

func exchangeOnce(t *testing.T, addr string, payload []byte) []rawAnswer {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A refusal may come before the last byte was taken; then the rest need not be.
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = conn.Write(payload)
	}()
	line, _, _ := strings.Cut(string(payload), "\n")
	method, _, _ := strings.Cut(line, " ")
	answers := readAnswers(t, conn, method)
	conn.Close()
	<-written
	return answers
}

func readAnswers(t *testing.T, conn net.Conn, method string) []rawAnswer {
	t.Helper()
	var answers []rawAnswer
	from := bufio.NewReader(conn)
	patience := time.Minute // for the first answer: the machine may be busy
	for {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := from.Peek(1); err != nil {
			if len(answers) == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("no answer at all")
			}
			return answers
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(from, &http.Request{Method: method})
		if err != nil {
			return append(answers, rawAnswer{})
		}
		body, _ := io.ReadAll(res.Body) // of a broken answer, what there is
		res.Body.Close()
		if res.StatusCode == http.StatusContinue {
			continue
		}
		answers = append(answers, rawAnswer{res.StatusCode, res.Header, body})
		if res.StatusCode == http.StatusSwitchingProtocols || res.Close {
			return answers
		}
		method, patience = "", quiet // of a pipelined request we do not know the method; none of ours is HEAD
	}
}

// statuses returns the status of each answer.
func statuses(answers []rawAnswer) []int {
	var all []int
	for _, a := range answers {
		all = append(all, a.status)
	}
	return all
}

func isSuccess(a rawAnswer) bool {
	return a.status >= 200 && a.status < 300 || a.status == http.StatusSwitchingProtocols
}

// identity is what the gate says about a token.
type identity struct{ key, permissions, expires string }

// identityOf asks the gate's probe who a token is.
func (s *site) identityOf(t *testing.T, token string) identity {
	t.Helper()
	a := s.call(t, "GET", "/auth/validate", token, nil).want(t, http.StatusOK)
	return identity{a.header.Get("X-Auth-User"), a.header.Get("X-Auth-Permissions"), a.header.Get("X-Auth-Expires")}
}

// identityHeaders are those that merod believes, in this order in a request of nginx or not at all.
var identityHeaders = []string{"X-Auth-Key", "X-Auth-User", "X-Auth-Permissions", "X-Auth-Expires", "X-Auth-Assertion"}

var alias = normalized(identityHeaders...)

// stripped are headers that some software believes and that nobody but the proxy may send to the node. Names are compared
// as by plainName.
var stripped = normalized(append([]string{"Authorization", "Trailer", "Te"}, foreign...)...)

// foreign are what other proxies and services say who somebody is, where a request comes from or what it was. Neither
// mero-auth nor merod believes any of them.
var foreign = []string{
	"X-Auth-Error", "X-Auth-Roles", "X-Auth-Role", "X-Auth-Groups", "X-Auth-Email", "X-Auth-Name",
	"X-Auth-Username", "X-Auth-Userid", "X-Auth-Subject", "X-Auth-Token", "X-Auth-Node", "X-Auth-Request-User",
	"X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username",
	"X-Auth-Request-Access-Token", "X-Auth-Request-Redirect", "Remote-User", "Remote-Name", "Remote-Email",
	"Remote-Groups", "Remote-Addr", "X-Remote-User", "X-Remote-Name", "X-Remote-Email", "X-Remote-Group",
	"X-Remote-Groups", "X-Remote-Addr", "X-Remote-IP", "X-Webauth-User", "X-Webauth-Name", "X-Webauth-Email",
	"X-Webauth-Groups", "X-Authenticated-User", "X-Authenticated-Userid", "X-Authenticated-Email",
	"X-Authenticated-Groups", "X-Authenticated-Scope", "X-User", "X-User-Id", "X-User-Email", "X-User-Name",
	"X-User-Roles", "X-Username", "X-Email", "X-Groups", "X-Roles", "X-Consumer-Id", "X-Consumer-Custom-Id",
	"X-Consumer-Username", "X-Consumer-Groups", "X-Credential-Identifier", "X-Anonymous-Consumer",
	"X-Authentik-Username", "X-Authentik-Email", "X-Authentik-Name", "X-Authentik-Uid", "X-Authentik-Groups",
	"X-Authentik-Jwt", "X-Vouch-User", "X-Vouch-Success", "X-Pomerium-Claim-Email", "X-Pomerium-Jwt-Assertion",
	"Tailscale-User-Login", "Tailscale-User-Name", "Tailscale-User-Profile-Pic", "X-Goog-Authenticated-User-Email",
	"X-Goog-Authenticated-User-Id", "X-Goog-Iap-Jwt-Assertion", "X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Data",
	"X-Amzn-Oidc-Accesstoken", "X-Ms-Client-Principal", "X-Ms-Client-Principal-Id", "X-Ms-Client-Principal-Name",
	"Cf-Access-Authenticated-User-Email", "Cf-Access-Jwt-Assertion", "X-Jwt-Assertion", "X-Client-Cert",
	"X-Client-Dn", "X-Client-Verify", "X-Ssl-Client-Cert", "X-Ssl-Client-Dn", "X-Ssl-Client-S-Dn",
	"X-Ssl-Client-Verify", "Ssl-Client-Cert", "Ssl-Client-Verify", "Client-Cert", "Client-Cert-Chain",
	"X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info", "X-Forwarded",
	"X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Path",
	"X-Forwarded-Server", "X-Forwarded-Scheme", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Forwarded-By",
	"X-Forwarded-User", "X-Forwarded-Userid", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Roles",
	"X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "Forwarded", "Forwarded-For", "X-Forward-For",
	"X-Url-Scheme", "Front-End-Https", "X-Original-URI", "X-Original-URL", "X-Original-Method", "X-Original-Host",
	"X-Original-Forwarded-For", "X-Original-Remote-Addr", "X-Original-Proto", "X-Original-Scheme",
	"X-Original-Port", "X-Original-User", "X-Originating-IP", "X-Original-Args", "X-Rewrite-URL",
	"X-Envoy-Original-Path", "X-Envoy-Original-Method", "X-Envoy-External-Address", "X-Envoy-Internal",
	"X-Envoy-Original-Dst-Host", "X-Host", "X-Script-Name", "Client-IP", "X-Client-IP", "X-Cluster-Client-IP",
	"True-Client-IP", "X-True-Client-IP", "X-Real-User", "CF-Connecting-IP", "CF-Connecting-IPv6",
	"CF-Pseudo-IPv4", "Fastly-Client-IP", "Fly-Client-IP", "X-Azure-ClientIP", "X-Azure-SocketIP",
	"X-Appengine-User-IP", "X-Vercel-Forwarded-For", "X-Nf-Client-Connection-IP", "Ali-Cdn-Real-IP", "Cdn-Src-IP",
	"X-ProxyUser-IP", "Proxy-Client-IP", "WL-Proxy-Client-IP", "X-Proxy-User", "X-Proxy-Remote-User", "Via",
	"X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "X-Node-ID", "Proxy", "Proxy-Authorization",
	"Proxy-Connection", "HTTP2-Settings",
}

func normalized(names ...string) map[string]bool {
	set := make(map[string]bool)
	for _, name := range names {
		set[plainName(name)] = true
	}
	return set
}

// plainName is a header's name as a careless reader takes it: X_Auth_Key and x.auth.key are X-Auth-Key to software that
// hands headers on as environment variables.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// checkNode judges a request that reached the node: it carries the identity of one of the callers and nothing that could
// be read as another, or no identity at all, which is for public routes.
func checkNode(t *testing.T, r stack.Request, callers []identity) {
	t.Helper()
	var got identity
	for _, f := range r.Headers {
		name := plainName(f.Name)
		switch {
		case slices.Contains(identityHeaders, f.Name):
			if n := len(r.Values(f.Name)); n != 1 {
				t.Errorf("the node got %s %d times:\n%s", f.Name, n, r.Head())
			}
		case alias[name] || stripped[name]:
			t.Errorf("the node got %s:\n%s", f.Name, r.Head())
		}
	}
	if len(r.Trailer) > 0 {
		t.Errorf("the node got trailers %v:\n%s", r.Trailer, r.Head())
	}
	key, user := first(r.Values("X-Auth-Key")), first(r.Values("X-Auth-User"))
	got = identity{key, first(r.Values("X-Auth-Permissions")), first(r.Values("X-Auth-Expires"))}
	if key != user || got != (identity{}) && !slices.Contains(callers, got) {
		t.Errorf("the node got the identity %+v (user %q), which is nobody's:\n%s", got, user, r.Head())
	}
	if (got == identity{}) && len(r.Values("X-Auth-Assertion")) > 0 {
		t.Errorf("the node got an assertion about nobody:\n%s", r.Head())
	}
	for name, want := range map[string][]string{
		"X-Forwarded-For": {"127.0.0.1"}, "X-Real-IP": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"},
	} {
		if values := r.Values(name); !slices.Equal(values, want) {
			t.Errorf("the node got %s %q, want %q:\n%s", name, values, want, r.Head())
		}
	}
	if connection := r.Values("Connection"); len(connection) > 0 && !slices.Equal(connection, []string{"upgrade"}) {
		t.Errorf("the node got Connection %q:\n%s", connection, r.Head())
	}
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// asked are the headers of a question to the gate, each at most once.
var asked = []string{
	"Host", "Authorization", "Accept", "Origin", "Access-Control-Request-Method", "Sec-Fetch-Mode", "X-Request-Id",
	"X-Original-URI", "X-Original-Method", "X-Original-Host",
}

// checkGate judges a question that nginx asked the gate.
func checkGate(t *testing.T, r stack.Request) {
	t.Helper()
	for _, f := range r.Headers {
		if n := len(r.Values(f.Name)); !slices.Contains(asked, f.Name) || n != 1 {
			t.Errorf("the gate was sent %s, %d times:\n%s", f.Name, n, r.Head())
		}
	}
	if len(r.Values("X-Original-URI")) != 1 || len(r.Values("X-Original-Method")) != 1 || r.Body != 0 {
		t.Errorf("the question to the gate has %d bytes of body and no single target and method:\n%s", r.Body, r.Head())
	}
}

// checkLinks judges everything that nginx has sent to the two services so far and returns how many requests reached the
// node and how many of them with an identity.
func checkLinks(t *testing.T, st *stack.Stack, callers []identity) (atNode, identified int) {
	t.Helper()
	for _, r := range st.AuthLink.Requests() {
		switch fromNginx := len(r.Values("X-Forwarded-For")) == 0; {
		case strings.HasPrefix(r.Target, "/auth/validate") && fromNginx:
			checkGate(t, r)
		case len(r.Values("X-Original-URI"))+len(r.Values("X-Forwarded-Uri"))+len(r.Values("X-Auth-Key")) > 0:
			t.Errorf("mero-auth got headers that only a proxy's question has:\n%s", r.Head())
		}
	}
	for _, r := range st.NodeLink.Requests() {
		checkNode(t, r, callers)
		atNode++
		if len(r.Values("X-Auth-Key")) > 0 {
			identified++
		}
	}
	return atNode, identified
}

// latin1 turns a recorded text back into bytes: every byte is the code point of the same number.
func latin1(s string) []byte {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return b
}

// request makes the bytes of a request without body.
func request(line string, headers ...string) []byte {
	var b bytes.Buffer
	b.WriteString(line + "\r\n")
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// requestWithBody adds a body with its length.
func requestWithBody(line, body string, headers ...string) []byte {
	return append(request(line, append(headers, "Content-Length: "+strconv.Itoa(len(body)))...), body...)
}
