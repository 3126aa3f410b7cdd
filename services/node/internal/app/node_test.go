package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
)

// writeCertificate writes a new certificate and its key into the directory of a node and returns it as PEM.
func writeCertificate(t *testing.T, dir home.Dir) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "node"}, IPAddresses: []net.IP{{127, 0, 0, 1}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(dir.Path(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert
}

func withTLS(c *config.Config) {
	open(c)
	c.Server.TLS = config.TLS{CertFile: "cert.pem", KeyFile: "key.pem"}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	old := writeCertificate(t, home.Dir(dir))
	n := start(t, dir, withTLS)
	get := func(trusted []byte) answer {
		t.Helper()
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(trusted)
		secure := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
		res, err := secure.Do(request(t, http.MethodGet, "https://"+n.addr.String()+"/admin-api/certificate", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{res, string(body)}
	}
	a := get(old) // node check A4
	if a.StatusCode != 200 || a.body != string(old) || a.Header.Get("Content-Disposition") != `attachment; filename="cert.pem"` || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("certificate: %s %v %s", a.Status, a.Header, a.body)
	}
	if res, err := client.Do(request(t, http.MethodGet, n.url("/admin-api/health"), nil)); err == nil {
		_ = res.Body.Close()
		if res.StatusCode == 200 {
			t.Error("the TLS listener serves plain HTTP")
		}
	}
	fresh := writeCertificate(t, home.Dir(dir))
	if err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := get(fresh); a.body != string(fresh) {
		t.Error("the new certificate is not in force")
	}
	if err := os.WriteFile(n.dir.Path("cert.pem"), old, 0o600); err != nil { // the other's key is beside it
		t.Fatal(err)
	}
	if err := n.Reload(t.Context()); err == nil {
		t.Error("Reload accepts a certificate without its key")
	}
	if a := get(fresh); a.body != string(fresh) {
		t.Error("a broken renewal took the good certificate away")
	}
}

func TestTLS_BrokenFilesStopTheStart(t *testing.T) {
	if err := fail(t, t.TempDir(), withTLS); err == nil || !strings.Contains(err.Error(), "server.tls.cert_file") {
		t.Errorf("got %v, want an error that names the setting", err)
	}
}

func TestNodeInfo(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	get := n.getting(t, "admin")
	info := decoded[map[string]any](t, get("/node-info"))
	if !strings.HasPrefix(fmt.Sprint(info["peerId"]), "12D3KooW") || info["mode"] != "standard" || info["contexts"] != 0.0 || info["applications"] != 0.0 || info["version"] == "" ||
		len(fmt.Sprint(info["publicKey"])) < 32 {
		t.Errorf("node-info: %v", info)
	}
	expect(t, get("/peers"), 200, `{"count":0,"peers":[]}`)
	expect(t, get("/network/status"), 200, fmt.Sprintf(`{"localPeerId":%q,"listenAddrs":[],"externalAddrs":[],"relays":[],"rendezvous":[],"directUpgrades":[],`+
		`"autonat":{"reachability":"unknown","lastTestAddr":null}}`, info["peerId"]))
	expect(t, get("/usage"), 200, `{"namespaces":[]}`)

	app := n.installed(t, "probe.wasm", probe(t))
	made := n.context(t, app)
	n.execute(t, "admin", made.ContextID, "add", `{}`)
	info = decoded[map[string]any](t, get("/node-info"))
	if info["contexts"] != 1.0 || info["applications"] != 1.0 {
		t.Errorf("node-info: %v", info)
	}
	var usage struct {
		Namespaces []struct {
			NamespaceID                              string
			ContextCount, MemberCount, SubgroupCount int
			Bytes                                    struct{ State, PrivateState, Delta, Governance, Total int64 }
		}
	}
	a := get("/usage")
	if err := json.Unmarshal([]byte(a.body), &usage); err != nil || len(usage.Namespaces) != 1 {
		t.Fatalf("usage: %s", a.body)
	}
	u := usage.Namespaces[0]
	if u.NamespaceID != made.GroupID || u.ContextCount != 1 || u.MemberCount != 1 || u.Bytes.State == 0 || u.Bytes.Delta == 0 || u.Bytes.Governance == 0 ||
		u.Bytes.Total != u.Bytes.State+u.Bytes.PrivateState+u.Bytes.Delta+u.Bytes.Governance {
		t.Errorf("usage: %s", a.body)
	}
	for _, path := range []string{"/node-info", "/peers", "/network/status", "/usage"} {
		expect(t, n.getting(t, "context,application,blob,namespace")(path), 403, `{"error":"permission denied"}`)
	}
}

func TestMetrics_OfExecutionsEventsAndStreams(t *testing.T) { // node check J82
	n := start(t, t.TempDir(), nil)
	app := n.installed(t, "probe.wasm", probe(t))
	made := n.context(t, app).ContextID
	s := n.socket(t, "context:execute")
	s.ask(fmt.Sprintf(`{"id":1,"method":"subscribe","params":{"contextIds":[%q]}}`, made), fmt.Sprintf(`{"id":1,"result":{"contextIds":[%q]}}`, made))
	_, next, leave := n.stream(t, "context:subscribe", "", never)
	next()
	read := func() string { return n.as(t, "admin", http.MethodGet, "/metrics", nil).body }
	before := read()
	n.execute(t, "admin", made, "add_and_tell", `{}`)
	n.execute(t, "admin", made, "add_and_fail", `{}`)
	n.told(t, s.next(), made)
	leave()
	after := read()
	for deadline := time.Now().Add(patience); scrape(t, after, "merod_streams", map[string]string{"kind": "sse"}) != 0 && time.Now().Before(deadline); {
		after = read()
	}
	for _, tt := range []struct {
		family string
		labels map[string]string
		moved  float64
	}{
		{"context_runtime_execution_count_total", map[string]string{"status": "success"}, 1},
		{"context_runtime_execution_count_total", map[string]string{"status": "failure"}, 1},
		{"context_runtime_execution_duration_seconds", map[string]string{"status": "success"}, 1},
		{"merod_events_total", nil, 1},
		{"merod_event_deliveries_total", nil, 1},
		{"merod_event_log_events", nil, 1},
		{"merod_event_subscribers", nil, -1},
		{"merod_streams", map[string]string{"kind": "sse"}, -1},
		{"merod_streams", map[string]string{"kind": "websocket"}, 0},
		{"merod_streams_ended_total", map[string]string{"kind": "sse", "reason": "client_left"}, 1},
		{"merod_contexts", nil, 0},
		{"merod_applications", nil, 0},
	} {
		if got := scrape(t, after, tt.family, tt.labels) - scrape(t, before, tt.family, tt.labels); got != tt.moved {
			t.Errorf("%s%v moved by %v, want %v", tt.family, tt.labels, got, tt.moved)
		}
	}
	if scrape(t, after, "merod_contexts", nil) != 1 || scrape(t, after, "merod_applications", nil) != 1 || scrape(t, after, "http_connections", nil) < 1 {
		t.Errorf("scrape: %s", after)
	}
	for _, chosen := range []string{made, app, "add_and_tell"} {
		if strings.Contains(after, chosen) {
			t.Errorf("what a caller chose became a label: %q", chosen)
		}
	}
	if strings.Contains(after, `http_request_duration_seconds_count{method="GET",path="/sse"}`) {
		t.Error("the life of a stream counts as the latency of a request")
	}
	r := request(t, http.MethodGet, n.url("/metrics"), nil)
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	n.grant(r, "k1", "admin")
	if a := do(t, r); !strings.HasSuffix(a.body, "# EOF\n") {
		t.Error("no OpenMetrics for a scraper that asks for it")
	}
}

// A request with both lengths is where two servers may disagree. Whatever follows it on the connection must not be
// taken for a request that somebody else sent.
func TestSmuggling_BothLengths(t *testing.T) {
	n := start(t, t.TempDir(), open)
	second := "DELETE /admin-api/blobs/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
	head := "POST /admin-api/identity/context HTTP/1.1\r\nHost: localhost\r\n"
	for name, text := range map[string]string{
		"chunked and a length":   head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + second,
		"a length and chunked":   head + "Transfer-Encoding: chunked\r\nContent-Length: 12\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + second,
		"two transfer encodings": head + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
		"an unknown encoding":    head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + second,
		"a length with a sign":   head + "Content-Length: +2\r\n\r\n{}" + second,
		"two lengths":            head + "Content-Length: 2\r\nContent-Length: 1\r\n\r\n{}" + second,
		"a length in a list":     head + "Content-Length: 2, 3\r\n\r\n{}" + second,
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn) // to the end of the connection, which must come
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
		if answers := bytes.Count(got, []byte("HTTP/1.1 ")); answers != 1 {
			t.Errorf("%s: %d answers on one connection: %s", name, answers, got)
		}
		_ = conn.Close()
	}
	if n.log.contains(`"method":"DELETE"`) {
		t.Error("a smuggled request was served")
	}
}

// Clients whose framing has one reading keep their connection.
func TestSmuggling_GoodRequestsKeepTheConnection(t *testing.T) {
	n := start(t, t.TempDir(), open)
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", n.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	text := "POST /admin-api/identity/context HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
	if _, err := io.WriteString(conn, text+strings.Replace(text, "Host", "Connection: close\r\nHost", 1)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if answers := bytes.Count(got, []byte("HTTP/1.1 200 ")); err != nil || answers != 2 {
		t.Errorf("%d answers, %v: %s", answers, err, got)
	}
}
