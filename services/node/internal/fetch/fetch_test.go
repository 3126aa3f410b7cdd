package fetch_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/fetch"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// names is a resolver.
type names map[string][]string

func (n names) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, a := range n[host] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	if addrs == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

func client(s fetch.Settings, n names) *fetch.Client {
	if s.Timeout == 0 {
		s.Timeout = time.Minute
	}
	return fetch.New(s, n.lookup, time.Now, slog.New(slog.DiscardHandler))
}

// get downloads raw to the end.
func get(t *testing.T, c *fetch.Client, raw string, hashed bool) ([]byte, error) {
	t.Helper()
	u, err := c.Parse(raw, hashed)
	if err != nil {
		return nil, err
	}
	return read(c.Get(t.Context(), u, hashed))
}

func read(b *fetch.Body, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	return io.ReadAll(b)
}

// canary is a server that nobody must reach.
func canary(t *testing.T) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(s.Close)
	return s, &hits
}

func port(s *httptest.Server) string { return s.URL[strings.LastIndexByte(s.URL, ':'):] }

func TestGet_SSRFOnLiteralAddresses(t *testing.T) {
	s, hits := canary(t)
	c := client(fetch.Settings{PlainHTTP: true}, names{})
	for _, host := range []string{
		"127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "169.254.169.254", "[fe80::1]", "[fe80::1%25lo]",
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.0.170",
		"[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[64:ff9b:1::1]", "[2001::1]",
		"[2001:db8::1]", "[::7f00:1]", "[100::1]",
	} {
		if _, err := get(t, c, "http://"+host+port(s)+"/x", false); !errors.Is(err, fetch.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", host, err)
		}
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("%d requests got through", n)
	}
}

func TestGet_SSRFByName(t *testing.T) {
	s, hits := canary(t)
	c := client(fetch.Settings{PlainHTTP: true}, names{
		"private.example": {"10.0.0.1"}, "loopback.example": {"127.0.0.1", "::1"}, "mapped.example": {"::ffff:127.0.0.1"}, "metadata.example": {"169.254.169.254"},
		// What a C resolver makes of other spellings of an address.
		"2130706433": {"127.0.0.1"}, "0x7f000001": {"127.0.0.1"}, "0177.0.0.1": {"127.0.0.1"}, "127.1": {"127.0.0.1"}, "localhost": {"127.0.0.1"}, "localhost.": {"127.0.0.1"},
	})
	for _, host := range []string{
		"private.example", "loopback.example", "mapped.example", "metadata.example", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "localhost.",
	} {
		if _, err := get(t, c, "http://"+host+port(s)+"/x", false); !failsAsUnknown(err) {
			t.Errorf("%s: %v, want ErrDownload alone", host, err)
		}
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("%d requests got through", n)
	}
}

// failsAsUnknown reports whether an error is, for those who asked, that for a name which does not exist.
func failsAsUnknown(err error) bool {
	return errors.Is(err, fetch.ErrDownload) && !errors.Is(err, fetch.ErrRefused) && !errors.Is(err, fetch.ErrURL)
}

// Whoever may download must not learn which names the node's own resolver knows.
func TestGet_ResolverIsNoOracle(t *testing.T) {
	s, _ := canary(t)
	c := client(fetch.Settings{PlainHTTP: true}, names{"vault.internal": {"10.0.0.7"}})
	for _, host := range []string{"vault.internal", "nosuch.internal"} {
		if _, err := get(t, c, "http://"+host+port(s), false); !failsAsUnknown(err) {
			t.Errorf("%s: %v, want ErrDownload alone", host, err)
		}
	}
}

// The second answer of the resolver must not count: the connection goes to an address that was checked.
func TestGet_SSRFByDNSRebinding(t *testing.T) {
	s, hits := canary(t)
	var asked atomic.Int32
	rebind := func(context.Context, string) ([]netip.Addr, error) {
		if asked.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil // refused as documentation, so that nothing leaves the test
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	c := fetch.New(fetch.Settings{PlainHTTP: true, Timeout: time.Minute}, rebind, time.Now, slog.New(slog.DiscardHandler))
	for range 3 {
		if _, err := get(t, c, "http://rebind.example"+port(s)+"/x", false); !failsAsUnknown(err) {
			t.Errorf("%v, want ErrDownload alone", err)
		}
	}
	if asked.Load() != 3 || hits.Load() > 0 {
		t.Errorf("%d look-ups for 3 downloads, %d requests got through", asked.Load(), hits.Load())
	}
}

// Of several addresses only those that may be reached are tried.
func TestGet_SkipsRefusedAddresses(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer s.Close()
	c := client(fetch.Settings{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, PlainHTTP: true}, names{"mixed.example": {"10.0.0.1", "::1", "127.0.0.1"}})
	if got, err := get(t, c, "http://mixed.example"+port(s), false); err != nil || string(got) != "ok" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestGet_SSRFByRedirect(t *testing.T) {
	target, hits := canary(t)
	var to atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to.Load().(string))
		w.WriteHeader(http.StatusFound)
	}))
	defer s.Close()
	only := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	c := client(fetch.Settings{Networks: only, PlainHTTP: true}, names{"first.example": {"127.0.0.2"}, "inside.example": {"127.0.0.1"}})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	first := &httptest.Server{Listener: l, Config: &http.Server{Handler: s.Config.Handler}}
	first.Start()
	defer first.Close()
	for _, location := range []string{
		"http://127.0.0.1" + port(target), "http://inside.example" + port(target), "http://169.254.169.254/latest/meta-data", "http://[::1]" + port(target),
		"file:///etc/passwd", "gopher://127.0.0.1:25/x", "http://user:password@first.example/",
	} {
		to.Store(location)
		_, err := get(t, c, "http://first.example"+port(first), false)
		if byName := strings.Contains(location, "inside.example"); errors.Is(err, fetch.ErrRefused) == byName || failsAsUnknown(err) != byName {
			t.Errorf("to %s: %v", location, err)
		}
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("%d requests got through", n)
	}
}

func TestGet_Redirects(t *testing.T) {
	var seen http.Header
	mux := http.NewServeMux()
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/once", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/end?x=1", http.StatusFound) })
	mux.HandleFunc("/end", func(w http.ResponseWriter, r *http.Request) { seen = r.Header; _, _ = io.WriteString(w, "content") })
	s := httptest.NewServer(mux)
	defer s.Close()
	c := client(fetch.Settings{Networks: loopback}, nil)
	if got, err := get(t, c, s.URL+"/once?signature=secret", false); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"Referer", "Authorization", "Cookie", "Accept-Encoding"} {
		if v := seen.Get(name); v != "" {
			t.Errorf("%s: %s", name, v)
		}
	}
	if _, err := get(t, c, s.URL+"/loop", false); !errors.Is(err, fetch.ErrDownload) || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("an endless chain: %v", err)
	}
}

func TestGet_NeverFromHTTPSToHTTP(t *testing.T) {
	plain, hits := canary(t)
	s := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer s.Close()
	c := client(fetch.Settings{Networks: loopback, PlainHTTP: true}, nil)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	c.TrustTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	if _, err := get(t, c, s.URL, true); !errors.Is(err, fetch.ErrRefused) {
		t.Errorf("%v, want ErrRefused", err)
	}
	c.TrustTLS(nil)
	if _, err := get(t, c, s.URL, true); !errors.Is(err, fetch.ErrDownload) {
		t.Errorf("a certificate of nobody: %v, want ErrDownload", err)
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("%d requests got through", n)
	}
}

func TestParse(t *testing.T) {
	c := client(fetch.Settings{Hosts: []string{"apps.example.com", "*.cdn.example.com"}, Networks: loopback}, nil)
	for raw, want := range map[string]error{
		"https://apps.example.com/x.mpk":       nil,
		"https://APPS.example.com:8443/x":      nil,
		"https://apps.example.com./x":          nil,
		"https://a.b.cdn.example.com/x":        nil,
		"https://cdn.example.com/x":            fetch.ErrRefused,
		"https://evilcdn.example.com/x":        fetch.ErrRefused,
		"https://apps.example.com.evil.com/x":  fetch.ErrRefused,
		"https://evil.com/apps.example.com":    fetch.ErrRefused,
		"https://evil.com#apps.example.com":    fetch.ErrRefused,
		"http://apps.example.com/x":            fetch.ErrRefused, // plain http
		"ftp://apps.example.com/x":             fetch.ErrURL,
		"file:///etc/passwd":                   fetch.ErrURL,
		"javascript:alert(1)":                  fetch.ErrURL,
		"//apps.example.com/x":                 fetch.ErrURL,
		"apps.example.com/x":                   fetch.ErrURL,
		"":                                     fetch.ErrURL,
		"https:///x":                           fetch.ErrURL,
		"https://:443/x":                       fetch.ErrURL,
		"https:apps.example.com":               fetch.ErrURL,
		"https://user@apps.example.com/x":      fetch.ErrURL,
		"https://apps.example.com@evil.com/":   fetch.ErrURL,
		"https://apps.example.com\\@evil.com/": fetch.ErrURL,
		"https://apps.example.com/\x00":        fetch.ErrURL,
		"https://apps.example.com/" + strings.Repeat("x", fetch.MaxURL): fetch.ErrURL,
	} {
		if _, err := c.Parse(raw, false); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%.60q: %v, want %v", raw, err, want)
		}
	}
	if _, err := c.Parse("http://apps.example.com/x", true); err != nil {
		t.Errorf("plain http with a hash: %v", err)
	}
	open := client(fetch.Settings{Networks: loopback}, nil)
	for raw, ok := range map[string]bool{"http://127.0.0.1/x": true, "http://localhost:80/x": true, "http://10.0.0.1/x": false, "http://example.com/x": false} {
		if _, err := open.Parse(raw, false); (err == nil) != ok {
			t.Errorf("plain http to %s: %v", raw, err)
		}
	}
}

func TestGet_Failures(t *testing.T) {
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/404", http.NotFound)
	mux.HandleFunc("/204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/announced", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusOK)
	})
	mux.HandleFunc("/unannounced", func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = io.WriteString(w, "0123456789")
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/exact", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100)) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "50")
		_, _ = io.WriteString(w, "short")
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-release
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	defer close(release)
	c := client(fetch.Settings{Networks: loopback, MaxSize: 100}, nil)
	for path, want := range map[string]error{
		"/404": fetch.StatusError(404), "/204": fetch.StatusError(204), "/announced": fetch.ErrTooLarge, "/unannounced": fetch.ErrTooLarge, "/cut": fetch.ErrDownload, "/exact": nil,
	} {
		got, err := get(t, c, s.URL+path+"?token=secret", false)
		if !errors.Is(err, want) || err == nil && len(got) != 100 {
			t.Errorf("%s: %d bytes, %v, want %v", path, len(got), err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error holds the query: %v", path, err)
		}
	}
	if !errors.Is(fetch.StatusError(404), fetch.ErrDownload) {
		t.Error("a status is no ErrDownload")
	}
	quick := client(fetch.Settings{Networks: loopback, Timeout: 50 * time.Millisecond}, nil)
	if _, err := get(t, quick, s.URL+"/silent", false); !errors.Is(err, fetch.ErrDownload) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that falls silent: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	u, err := c.Parse(s.URL+"/silent", false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Get(ctx, u, false)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := read(b, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that leaves: %v", err)
	}
	s.CloseClientConnections()
	if _, err := get(t, c, "http://127.0.0.1:1/", false); !errors.Is(err, fetch.ErrDownload) {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := get(t, client(fetch.Settings{PlainHTTP: true}, names{}), "http://absent.example/", false); !errors.Is(err, fetch.ErrDownload) {
		t.Errorf("no such name: %v", err)
	}
}

func TestGet_IgnoresProxiesOfTheEnvironment(t *testing.T) {
	proxy, hits := canary(t)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	c := client(fetch.Settings{Networks: loopback, PlainHTTP: true}, names{"app.example": {"127.0.0.1"}})
	if _, err := get(t, c, "http://app.example"+port(s), false); err != nil || hits.Load() > 0 {
		t.Errorf("%v, %d requests at the proxy", err, hits.Load())
	}
}

func TestGet_LogsProgressWithoutTheQuery(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = w.Write(make([]byte, 1000))
			w.(http.Flusher).Flush()
		}
	}))
	defer s.Close()
	var log bytes.Buffer
	now := time.Unix(0, 0)
	clock := func() time.Time { now = now.Add(6 * time.Second); return now } // each part is worth a line, also a single one
	c := fetch.New(fetch.Settings{Networks: loopback, Timeout: time.Minute}, nil, clock, slog.New(slog.NewTextHandler(&log, nil)))
	if _, err := get(t, c, s.URL+"/app.mpk?X-Signature=secret#part", false); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	for _, want := range []string{`"download begins"`, "msg=download ", "received=", `"download complete"`, "bytes=3000", "/app.mpk"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "secret") {
		t.Errorf("the log holds the query:\n%s", text)
	}
}

func TestPublic(t *testing.T) {
	for _, s := range []string{"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "223.255.255.254", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"} {
		if !fetch.Public(netip.MustParseAddr(s)) {
			t.Errorf("%s is not public", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://apps.example.com/x", "http://127.0.0.1\\@evil/", "https://user@h/", "https://[::1%25eth0]/", "HTTP://x"} {
		f.Add(s)
	}
	c := client(fetch.Settings{Hosts: []string{"apps.example.com"}}, nil)
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := c.Parse(raw, false)
		if err != nil {
			return
		}
		// What is accepted must read the same after it was written.
		again, err := url.Parse(u.String())
		if err != nil || again.Scheme != "https" || !strings.EqualFold(strings.TrimSuffix(again.Hostname(), "."), "apps.example.com") || again.User != nil {
			t.Errorf("%q is accepted and reads as %v, %v", raw, again, err)
		}
	})
}

func FuzzPublic(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add(netip.MustParseAddr("::ffff:10.0.0.1").AsSlice())
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok || !fetch.Public(addr) {
			return
		}
		for _, a := range []netip.Addr{addr, addr.Unmap()} {
			if a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
				t.Errorf("%s counts as public", fmt.Sprint(a))
			}
		}
	})
}

// pipe makes a client's connection lead to a server in memory, so that time is synctest's. serve writes the answer; done is
// closed when it has returned.
func pipe(c *fetch.Client, serve func(net.Conn)) (done chan struct{}) {
	done = make(chan struct{})
	c.Dial(func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer close(done)
			defer func() { _ = far.Close() }()
			if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
				_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n")
				serve(far)
			}
		}()
		return near, nil
	})
	return done
}

// A server that lets its content drip in, or falls silent, does not keep the place of others for the whole time limit.
func TestGet_SlowServerIsCut(t *testing.T) {
	for name, tt := range map[string]struct {
		every time.Duration // a part comes
		part  int
		after time.Duration // the download ends, 0: it is complete
	}{
		"drips":             {time.Second, 1, 30 * time.Second},
		"slows down":        {0, 2 << 20, 115 * time.Second}, // half of it at once, then nothing
		"falls silent":      {0, 0, 30 * time.Second},
		"slow but steadily": {time.Second, 20 << 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client(fetch.Settings{PlainHTTP: true, Timeout: time.Hour}, names{})
				done := pipe(c, func(conn net.Conn) {
					for sent := 0; sent < 4<<20; sent += tt.part {
						if _, err := conn.Write(make([]byte, tt.part)); err != nil {
							return
						}
						if tt.every == 0 {
							_, _ = conn.Read(make([]byte, 1)) // until the client has left
							return
						}
						time.Sleep(tt.every)
					}
				})
				began := time.Now()
				got, err := get(t, c, "http://slow.example/", false)
				took := time.Since(began)
				<-done
				switch {
				case tt.after == 0 && (err != nil || len(got) != 4<<20):
					t.Errorf("%d bytes after %s, %v", len(got), took, err)
				case tt.after != 0 && (!errors.Is(err, fetch.ErrDownload) || !strings.Contains(err.Error(), "too slowly") || took < tt.after || took > tt.after+10*time.Second):
					t.Errorf("%d bytes after %s, %v; want an end after %s", len(got), took, err, tt.after)
				}
			})
		})
	}
}
