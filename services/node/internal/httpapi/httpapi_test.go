package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/pkg/serve"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/guard"
	"github.com/calimero-network/mero-go/services/node/internal/health"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/metrics"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// newAPI returns the surface of a node in auth mode none; its log goes to the buffer.
func newAPI(t *testing.T) (*httpapi.API, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	out := &bytes.Buffer{}
	log := slog.New(slog.NewJSONHandler(out, nil))
	blobs, err := blob.Open(t.Context(), filepath.Join(dir, "blobs"), db, 0, log)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := cors.New(cors.Policy{AllowAll: true, Expose: httpapi.BlobHeaders})
	if err != nil {
		t.Fatal(err)
	}
	state := health.New(func(context.Context) error { return nil }, db.Probe, time.Now)
	state.Set(health.Ready)
	return &httpapi.API{
		Table: route.Node, Server: config.Server{Admin: config.Surface{Enabled: true}},
		Guard: &guard.Guard{Table: route.Node, Open: true, Now: time.Now}, CORS: rules, Store: db, Blobs: blobs,
		Health: state, Metrics: metrics.New(func() (metrics.Totals, error) { return metrics.Totals{}, nil }), Now: time.Now, Log: log,
	}, out
}

func handler(t *testing.T, a *httpapi.API) http.Handler {
	t.Helper()
	h, err := a.New()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// serveOne answers a request without a connection.
func serveOne(t *testing.T, h http.Handler, method, target string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, body)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestEveryClassOfFailureHasAStatus(t *testing.T) {
	for _, code := range fault.Codes {
		if s, ok := httpapi.StatusOf(code); !ok || s < 400 || s > 599 {
			t.Errorf("%s: status %d, %v", code, s, ok)
		}
	}
}

func TestAnswer(t *testing.T) {
	full := fmt.Errorf("store: %w", &os.PathError{Op: "write", Path: "/secret/path", Err: syscall.ENOSPC})
	for _, tt := range []struct {
		err     error
		status  int
		message string
	}{
		{errors.New("open /secret/path"), 500, "internal server error"},
		{fault.Wrap(full, fault.Conflict, "taken"), 409, "taken"},
		{fmt.Errorf("%w: %w", blob.ErrNoSpace, full), 507, "no space left on the node"},
		{fmt.Errorf("read: %w", os.ErrDeadlineExceeded), 408, "the body came too slowly"},
		{&http.MaxBytesError{Limit: 1}, 413, "the body is too large"},
		{fmt.Errorf("router: %w", echo.ErrNotFound), 404, "Not Found"},
		{echo.NewHTTPError(500, "/secret/path"), 500, "internal server error"},
		{&fault.Error{Code: "new", Message: "x"}, 500, "internal server error"},
	} {
		if status, message := httpapi.Answer(tt.err); status != tt.status || message != tt.message {
			t.Errorf("%v: %d %q, want %d %q", tt.err, status, message, tt.status, tt.message)
		}
	}
}

func TestNew_HandlerWithoutARouteStopsTheStart(t *testing.T) {
	a, _ := newAPI(t)
	table, err := route.NewTable([]route.Row{{Method: "GET", Pattern: "/admin-api/health", Op: "node.health", Guard: route.Public}})
	if err != nil {
		t.Fatal(err)
	}
	a.Table = table
	if _, err := a.New(); err == nil || !strings.Contains(err.Error(), `"blobs.put" has a handler and no route`) {
		t.Errorf("got %v", err)
	}
}

func TestServe_RouterAndGuardMustMeanTheSameRow(t *testing.T) {
	a, out := newAPI(t)
	h := handler(t, a)
	// A guard with another table judges by other rows; nothing may be served then.
	other, err := route.NewTable([]route.Row{{Method: "GET", Pattern: "/admin-api/{any}", Op: "x", Guard: route.Public}})
	if err != nil {
		t.Fatal(err)
	}
	a.Guard.Table = other
	w := serveOne(t, h, "GET", "/admin-api/blobs", nil)
	if w.Code != 500 || !strings.Contains(out.String(), "the router chose") {
		t.Errorf("%d %s, log %s", w.Code, w.Body, out)
	}
}

func TestPanic_BecomesA500WithItsStackInTheLog(t *testing.T) {
	a, out := newAPI(t)
	a.Blobs = nil // the handler dereferences it
	w := serveOne(t, handler(t, a), "GET", "/admin-api/blobs", nil)
	if w.Code != 500 || w.Body.String() != `{"error":"internal server error"}`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if log := out.String(); !strings.Contains(log, `"level":"ERROR"`) || !strings.Contains(log, "listBlobs") || !strings.Contains(log, "nil pointer") {
		t.Errorf("log: %s", log)
	}
}

func TestHealth_StoreGone(t *testing.T) {
	a, _ := newAPI(t)
	broken := func(context.Context) error { return errors.New("gone") }
	a.Health = health.New(broken, broken, time.Now)
	h := handler(t, a)
	for _, tt := range []struct {
		path, status string
	}{
		{"/admin-api/health", "store_unavailable"}, {"/admin-api/ready", "starting"},
	} {
		w := serveOne(t, h, "GET", tt.path, nil)
		if w.Code != 503 || w.Body.String() != `{"data":{"status":"`+tt.status+`"}}`+"\n" {
			t.Errorf("%s: %d %s, want 503 %s", tt.path, w.Code, w.Body, tt.status)
		}
	}
	a.Health.Set(health.Ready)
	if w := serveOne(t, h, "GET", "/admin-api/ready", nil); w.Code != 503 || !strings.Contains(w.Body.String(), "store_unavailable") {
		t.Errorf("ready: %d %s", w.Code, w.Body)
	}
}

func TestUpload_BrokenBodyIsTheClientsFault(t *testing.T) {
	a, _ := newAPI(t)
	h := handler(t, a)
	for _, err := range []error{io.ErrUnexpectedEOF, syscall.ECONNRESET, &os.PathError{Op: "read", Path: "/secret", Err: syscall.ENOSPC}} {
		w := serveOne(t, h, "PUT", "/admin-api/blobs", failing{err})
		if w.Code != 400 || w.Body.String() != `{"error":"the body ended before its time"}`+"\n" {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
	if all, err := a.Blobs.List(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("stored: %v, %v", all, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRequestID_TakenOrMade(t *testing.T) {
	a, _ := newAPI(t)
	h := handler(t, a)
	for sent, kept := range map[string]bool{"abc-1": true, "": false, "a b": false, strings.Repeat("x", 65): false} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/admin-api/health", nil)
		r.Host = "localhost"
		r.Header.Set("X-Request-Id", sent)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("X-Request-Id"); (got == sent) != kept || got == "" {
			t.Errorf("sent %q, got %q", sent, got)
		}
	}
}

// pipes is a listener whose connections are made in memory, so that time is synctest's.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error { return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// connect serves the API on one connection in memory and returns the client's end.
func connect(t *testing.T, a *httpapi.API) net.Conn {
	t.Helper()
	p := make(pipes, 1)
	client, server := net.Pipe()
	p <- server
	s := serve.New("test", p, handler(t, a), httpapi.MaxHeader, a.Log)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.HTTP.Serve(p) }()
	t.Cleanup(func() {
		_ = client.Close()
		close(p)
		_ = s.HTTP.Close()
		<-done
	})
	return client
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Errorf("send: %v", err)
	}
}

// receive reads an answer.
func receive(t *testing.T, r *bufio.Reader) (status int, body string) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestUpload_SlowButSteadyArrivesWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAPI(t)
		conn := connect(t, a)
		// 20 MiB in 80 parts, one a second: longer than any single deadline.
		const parts, size = 80, 20 << 20 / 80
		go func() {
			send(t, conn, fmt.Sprintf("PUT /admin-api/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", parts*size))
			for range parts {
				time.Sleep(time.Second)
				if _, err := conn.Write(make([]byte, size)); err != nil {
					t.Errorf("cut off: %v", err)
					return
				}
			}
		}()
		began := time.Now()
		status, body := receive(t, bufio.NewReader(conn))
		if status != 200 || !strings.Contains(body, `"size":20971520`) || time.Since(began) < 70*time.Second {
			t.Errorf("%d %s after %s", status, body, time.Since(began))
		}
	})
}

func TestUpload_SilentPeerIsCut(t *testing.T) {
	for name, head := range map[string]string{
		"in the body":    "PUT /admin-api/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc",
		"in a chunk":     "PUT /admin-api/blobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"in small JSON":  "POST /admin-api/identity/context HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
		"after an error": "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc",
	} {
		synctest.Test(t, func(t *testing.T) {
			a, _ := newAPI(t)
			conn := connect(t, a)
			began := time.Now()
			go send(t, conn, head)
			r := bufio.NewReader(conn)
			status, body := receive(t, r)
			if want := map[bool]int{true: 404, false: 408}[name == "after an error"]; status != want || !strings.HasPrefix(body, `{"error":"`) {
				t.Errorf("%s: %d %s, want %d", name, status, body, want)
			}
			if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("%s: the connection stays open (%v)", name, err)
			}
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("%s: a silent peer held the connection for %s", name, took)
			}
		})
	}
}

func TestDownload_SilentReaderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, out := newAPI(t)
		info, err := a.Blobs.Put(t.Context(), bytes.NewReader(make([]byte, 1<<20)), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		conn := connect(t, a)
		send(t, conn, fmt.Sprintf("GET /admin-api/blobs/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", info.ID))
		if _, err := io.ReadFull(conn, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute) // reads nothing; the node gives up and closes
		if rest, err := io.ReadAll(conn); err != nil || int64(len(rest)) >= info.Size-100 {
			t.Errorf("after five minutes of silence the client got %d bytes more, %v", len(rest), err)
		}
		synctest.Wait() // the log line comes after the answer
		if !strings.Contains(out.String(), `"route":"/admin-api/blobs/{blob_id}"`) {
			t.Errorf("the request did not end: %s", out)
		}
		if err := a.Blobs.Delete(t.Context(), info.ID); err != nil {
			t.Error(err)
		}
	})
}

func TestHandler_SlowWorkIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The deadlines concern the body and the answer. Between them a handler may take its time.
		a, _ := newAPI(t)
		a.Health = health.New(nil, func(ctx context.Context) error {
			time.Sleep(10 * time.Minute)
			return ctx.Err()
		}, time.Now)
		a.Health.Set(health.Ready)
		conn := connect(t, a)
		go send(t, conn, "GET /admin-api/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if status, body := receive(t, bufio.NewReader(conn)); status != 200 || !strings.Contains(body, `"ready"`) {
			t.Errorf("%d %s", status, body)
		}
	})
}

// deadlines is a writer that records what is set on its connection.
type deadlines struct {
	http.ResponseWriter
	read, write []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = append(d.read, t); return nil }

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = append(d.write, t); return nil }

func TestProgress_EndOfTheBodyEndsItsDeadline(t *testing.T) {
	// A deadline that stays would end the context of a handler that works on after the body, as if the client had left.
	a, _ := newAPI(t)
	now := time.Unix(1_800_000_000, 0)
	a.Now = func() time.Time { now = now.Add(time.Second); return now }
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/admin-api/identity/context", strings.NewReader("{}"))
	r.Host = "localhost"
	d := &deadlines{ResponseWriter: httptest.NewRecorder()}
	handler(t, a).ServeHTTP(d, r)
	if n := len(d.read); n < 3 || !d.read[n-1].IsZero() {
		t.Fatalf("read deadlines %v, want some and none at last", d.read)
	}
	for i := 1; i < len(d.read)-1; i++ {
		if !d.read[i].After(d.read[i-1]) {
			t.Errorf("deadline %d does not move: %v", i, d.read)
		}
	}
	if len(d.write) == 0 || !d.write[0].After(now.Add(-time.Minute)) {
		t.Errorf("write deadlines %v", d.write)
	}
	none := &deadlines{ResponseWriter: httptest.NewRecorder()}
	handler(t, a).ServeHTTP(none, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/admin-api/health", nil))
	if len(none.read) > 0 {
		t.Errorf("a request without a body got read deadlines %v", none.read)
	}
}
