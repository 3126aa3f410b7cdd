package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/node/internal/app"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
	"github.com/calimero-network/mero-go/services/node/internal/peer"
)

// patience bounds in tests what takes no time but on a busy machine.
const patience = time.Minute

// node is a running node with the gate's key.
type node struct {
	*app.App
	addr netip.AddrPort
	keys *assertion.File
	log  *logbook
	dir  home.Dir
	stop func() error // stops it and returns what Run returned; may be called again

	token string // of requests, in auth mode embedded
}

// settings returns the configuration of a node on a free port with every surface on.
func settings(t *testing.T, dir home.Dir) config.Config {
	t.Helper()
	key, err := peer.Generate()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Defaults()
	cfg.Identity.Keypair = config.Secret(peer.Keypair(key))
	cfg.Identity.PeerID = peer.ID(ed25519.PublicKey(key[32:]))
	cfg.Server.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	cfg.Server.Admin.Enabled, cfg.Server.JSONRPC.Enabled = true, true
	cfg.Server.WebSocket.Enabled, cfg.Server.SSE.Enabled = true, true
	cfg.Server.Proxy.AssertionKeyFile = "assertion.keys"
	if _, err := assertion.Create(dir.Path("assertion.keys")); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// start runs a node in dir until the test ends. change may change its configuration.
func start(t *testing.T, dir string, change func(*config.Config)) *node {
	t.Helper()
	return startWith(t, dir, change, app.Options{})
}

// startWith is start with options; configuration, home and log are set.
func startWith(t *testing.T, dir string, change func(*config.Config), o app.Options) *node {
	t.Helper()
	n := &node{dir: home.Dir(dir), log: newLogbook()}
	cfg := settings(t, n.dir)
	if change != nil {
		change(&cfg)
	}
	var err error
	if n.keys, err = assertion.Open(n.dir.Path("assertion.keys"), time.Now); err != nil {
		t.Fatal(err)
	}
	o.Config, o.Home, o.Log = cfg, n.dir, slog.New(reqctx.LogHandler{Handler: n.log})
	n.App, err = app.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	n.addr = n.Addrs()[0]
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := n.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return n
}

func (n *node) url(path string) string { return "http://" + n.addr.String() + path }

// grant signs a request as the gate does and sets its headers.
func (n *node) grant(r *http.Request, key, permissions string) {
	if n.token != "" {
		r.Header.Set("Authorization", "Bearer "+n.token)
		return
	}
	c := assertion.Claim{Key: key, Permissions: permissions, Expires: "4102444800", Method: r.Method, Target: r.URL.RequestURI()}
	r.Header.Set(identity.HeaderKey, key)
	r.Header.Set(identity.HeaderUser, key)
	r.Header.Set(identity.HeaderPermissions, permissions)
	r.Header.Set(identity.HeaderExpires, c.Expires)
	r.Header.Set(identity.HeaderAssertion, n.keys.Sign(c, time.Now().Add(time.Minute)))
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body string
}

// client keeps no connection alive, so that a node stops at once.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func do(t *testing.T, r *http.Request) answer {
	t.Helper()
	res, err := client.Do(r)
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

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// as sends a request that the gate let through.
func (n *node) as(t *testing.T, permissions, method, path string, body io.Reader) answer {
	t.Helper()
	r := request(t, method, n.url(path), body)
	n.grant(r, "k1", permissions)
	return do(t, r)
}

// raw sends bytes over a connection of their own and returns the answer to them.
func raw(t *testing.T, addr netip.AddrPort, method string, text []byte) answer {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(text); err != nil {
		t.Logf("write: %v", err) // the node may have refused before the end
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %.200q: %v", text, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusSwitchingProtocols {
		return answer{res, ""}
	}
	body, err := io.ReadAll(res.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("body of the answer to %.200q: %v", text, err)
	}
	return answer{res, string(body)}
}

// logbook keeps log records and lets a test wait for the access line of a request.
type logbook struct {
	mu      *sync.Mutex
	changed *sync.Cond
	text    *bytes.Buffer
	access  map[string]map[string]slog.Value // by request id
	slog.Handler
}

func newLogbook() *logbook {
	mu := &sync.Mutex{}
	b := &logbook{mu: mu, changed: sync.NewCond(mu), text: &bytes.Buffer{}, access: map[string]map[string]slog.Value{}}
	b.Handler = slog.NewJSONHandler(b.text, &slog.HandlerOptions{Level: slog.LevelDebug})
	return b
}

func (b *logbook) Handle(ctx context.Context, r slog.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Message == "request" {
		attrs := map[string]slog.Value{}
		r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value; return true })
		b.access[attrs["request_id"].String()] = attrs
	}
	defer b.changed.Broadcast()
	return b.Handler.Handle(ctx, r)
}

// line waits for the access line of an answered request.
func (b *logbook) line(a answer) map[string]slog.Value {
	id := a.Header.Get(reqctx.HeaderRequestID)
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.access[id] == nil {
		b.changed.Wait()
	}
	return b.access[id]
}

// await waits until a line holds text.
func (b *logbook) await(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !strings.Contains(b.text.String(), text) {
		b.changed.Wait()
	}
}

// contains reports whether any line holds text.
func (b *logbook) contains(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), text)
}

// files counts the files below the node's blob directory.
func (n *node) files(t *testing.T) int {
	t.Helper()
	found, err := filepath.Glob(n.dir.Path("blobs/*/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}
