package authtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/identity"
)

// exchangeTimeout bounds one exchange with a service that hangs; nothing is timed by it.
const exchangeTimeout = time.Minute

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Reason returns the machine code of a denial.
func (a Answer) Reason() string { return a.Header.Get(identity.HeaderError) }

// String shows status, headers and body, for messages.
func (a Answer) String() string { return fmt.Sprintf("%d %v %q", a.Status, a.Header, a.Body) }

// Identity returns the identity headers of an answer, failing the test unless each is there exactly once.
func (a Answer) Identity(t testing.TB) map[string]string {
	t.Helper()
	found := make(map[string]string, len(identity.Headers))
	for _, name := range identity.Headers {
		values := a.Header.Values(name)
		if len(values) != 1 {
			t.Errorf("%s occurs %d times, want once, in %v", name, len(values), a)
			continue
		}
		found[name] = values[0]
	}
	return found
}

// Exchange writes bytes to a new connection from a loopback address (127.0.0.1 when from is "") and reads one
// answer. method is the method of the request, which decides whether an answer has a body.
func (s *Service) Exchange(t testing.TB, from, method string, request []byte) Answer {
	t.Helper()
	return Exchange(t, s.Addr, from, method, request)
}

// Exchange is [Service.Exchange] with any address.
func Exchange(t testing.TB, addr, from, method string, request []byte) Answer {
	t.Helper()
	dialer := net.Dialer{Timeout: exchangeTimeout}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	defer func() { _ = conn.Close() }() // the answer is complete or the test has failed
	if err := conn.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(request); err != nil {
		t.Fatalf("write: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the answer to %q: %v", request[:min(len(request), 300)], err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end or the test has failed
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the body: %v", err)
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: string(body)}
}

// Question is a question to the gate. The zero Question is a probe without a token.
type Question struct {
	Address string   // path and query; "" for /auth/validate?proxy=<Form>
	Form    string   // nginx, traefik, caddy, haproxy, or "" for a probe
	Via     string   // method of the question itself; "" for GET
	Method  string   // of the original request; "" for GET. The headers of the family are sent when Target is set
	Target  string   // of the original request
	Host    string   // of the original request; "" leaves the header out
	Token   string   // sent as Bearer; "" for none
	Headers []string // further raw lines "Name: value"
	From    string   // loopback address of the peer
}

// Bytes returns the question as it goes over the wire.
func (q Question) Bytes() []byte {
	address := q.Address
	if address == "" {
		address = "/auth/validate"
		if q.Form != "" {
			address += "?proxy=" + q.Form
		}
	}
	lines := []string{or(q.Via, http.MethodGet) + " " + address + " HTTP/1.1"}
	if !slices.ContainsFunc(q.Headers, func(h string) bool { return strings.HasPrefix(strings.ToLower(h), "host:") }) {
		lines = append(lines, "Host: auth")
	}
	if q.Target != "" {
		family := "X-Forwarded-"
		uri := "Uri"
		if q.Form == "nginx" {
			family, uri = "X-Original-", "URI"
		}
		lines = append(lines, family+uri+": "+q.Target, family+"Method: "+or(q.Method, http.MethodGet))
		if q.Host != "" {
			lines = append(lines, family+"Host: "+q.Host)
		}
	}
	if q.Token != "" {
		lines = append(lines, "Authorization: Bearer "+q.Token)
	}
	lines = append(lines, q.Headers...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// Ask puts a question to the gate.
func (s *Service) Ask(t testing.TB, q Question) Answer {
	t.Helper()
	return s.Exchange(t, q.From, or(q.Via, http.MethodGet), q.Bytes())
}

// VerifyAssertion checks as a node would that the answer's identity headers are signed for method and target.
func (s *Service) VerifyAssertion(a Answer, method, target string) error {
	bind, err := assertion.ParseBind(s.Config.Assertion.Bind)
	if err != nil {
		return err
	}
	return s.Assertions.Verify(a.Header.Get(identity.HeaderAssertion), assertion.Claim{
		Bind: bind, Key: a.Header.Get(identity.HeaderKey), Permissions: a.Header.Get(identity.HeaderPermissions),
		Expires: a.Header.Get(identity.HeaderExpires), Method: method, Target: target,
	}, 0, s.Config.Assertion.TTL)
}
