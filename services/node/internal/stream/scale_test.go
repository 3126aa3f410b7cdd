package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	wasm "github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
	"github.com/calimero-network/mero-go/services/node/internal/stream"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

// crowd is many subscribers of both kinds over raw connections: each costs the test one goroutine and a buffer, so that
// what is measured is the node's.
type crowd struct {
	t        testing.TB
	arrivals chan struct{}
	wg       sync.WaitGroup
	conns    []net.Conn
}

func (c *crowd) dial(s *server, open func(ctx context.Context, network, address string) (net.Conn, error)) net.Conn {
	c.t.Helper()
	conn, err := open(context.Background(), "tcp", s.Listener.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.conns = append(c.conns, conn)
	return conn
}

func (c *crowd) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.wg.Wait()
}

// webSocket opens a WebSocket with a subscription and, unless it is slow, counts the events that arrive. It returns what is
// to be read of one that is slow.
func (c *crowd) webSocket(s *server, context id.ID, slow bool) io.Reader {
	c.t.Helper()
	open := (&net.Dialer{}).DialContext
	if slow {
		open = narrow
	}
	conn := c.dial(s, open)
	head := "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	text := subscribe(context)
	frame := append([]byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}, text...)
	if _, err := conn.Write(append([]byte(head), frame...)); err != nil {
		c.t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, " 101 ") {
		c.t.Fatalf("%q %v", line, err)
	}
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			c.t.Fatal(err)
		}
	}
	if _, err := r.ReadString('}'); err != nil { // of the answer's result
		c.t.Fatal(err)
	}
	if !slow {
		c.count(r)
	}
	return r
}

// sse opens an SSE stream with a subscription and counts the events that arrive.
func (c *crowd) sse(s *server, context id.ID) {
	c.t.Helper()
	conn := c.dial(s, (&net.Dialer{}).DialContext)
	if _, err := fmt.Fprint(conn, "GET /sse HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		c.t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	session := ""
	for session == "" {
		line, err := r.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if name, value, _ := strings.Cut(strings.TrimSpace(line), ": "); http.CanonicalHeaderKey(name) == "X-Sse-Session-Id" {
			session = value
		}
	}
	if _, err := r.ReadString('}'); err != nil { // of the connect frame
		c.t.Fatal(err)
	}
	s.listen("", session, context)
	c.count(r)
}

var sign = []byte(`"StateMutation"`)

// count counts events by a text that each holds once.
func (c *crowd) count(r io.Reader) {
	c.wg.Go(func() {
		buf, kept := make([]byte, 4096), 0
		for {
			n, err := r.Read(buf[kept:])
			text := buf[:kept+n]
			for range bytes.Count(text, sign) {
				c.arrivals <- struct{}{}
			}
			if err != nil {
				return
			}
			if i := bytes.LastIndex(text, sign); i >= 0 {
				text = text[i+1:] // not again
			}
			kept = copy(buf, text[max(0, len(text)-len(sign)+1):])
		}
	})
}

// gather opens n subscribers of each kind and one WebSocket that never reads.
func gather(t testing.TB, s *server, n int, context id.ID) *crowd {
	t.Helper()
	c := &crowd{t: t, arrivals: make(chan struct{}, 1<<16)}
	for range n {
		c.webSocket(s, context, false)
		c.sse(s, context)
	}
	c.webSocket(s, context, true)
	return c
}

// await waits until count events have arrived.
func (c *crowd) await(count int) {
	c.t.Helper()
	late := time.NewTimer(5 * time.Minute)
	defer late.Stop()
	for n := range count {
		select {
		case <-c.arrivals:
		case <-late.C:
			c.t.Fatalf("%d of %d events arrived", n, count)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// patient keeps every stream, however long the machine takes: no client here answers a ping, and some read nothing.
func patient(c *stream.Config) { c.PingInterval, c.WriteTimeout = time.Hour, time.Hour }

// node check F63: publishing waits for nobody, and what is not read costs no memory.
func TestManySubscribers_OneSlow(t *testing.T) {
	s := start(t, options{config: patient})
	c := gather(t, s, subscribers, ctxA)
	defer c.close()
	const events = 20
	began := time.Now()
	for n := range byte(events) {
		s.publish(mutation(ctxA, n))
	}
	published := time.Since(began)
	c.await(2 * subscribers * events)
	t.Logf("%d events to %d subscribers: published after %s, delivered after %s", events, 2*subscribers, published, time.Since(began))

	// The slow one, and readers that are all slow, keep positions and no events: 40 MiB of events that nobody of a
	// second context reads leave the heap as it is.
	for range 8 {
		c.webSocket(s, ctxB, true)
	}
	before := heap()
	big := event.StateMutation{Context: ctxB, Emitted: []event.Emitted{{Kind: "Big", Data: make([]byte, 256<<10)}}}
	for range 40 {
		s.publish(big)
	}
	s.publish(mutation(ctxA, 1)) // the others still hear at once
	c.await(2 * subscribers)
	grown := int64(heap()) - int64(before)
	if grown > 48<<20 {
		t.Errorf("readers that do not read hold %d MiB", grown>>20)
	}
}

// applications are contexts of the sample application on the node of a server.
type applications struct {
	*contexts.Manager
	t   testing.TB
	ctx context.Context
}

var sample = id.ID{0xa1}

func (s *server) applications() *applications {
	s.t.Helper()
	try := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	ctx := caller.With(context.WithoutCancel(s.t.Context()), caller.Caller{Key: "k", Permissions: permission.NewSet([]string{"admin"})})
	blobs, err := blob.Open(ctx, s.t.TempDir(), s.db, 0, log)
	try(err)
	info, err := blobs.Put(ctx, bytes.NewReader(testapp.KVStore), nil, nil)
	try(err)
	try(s.db.Update(ctx, func(tx *store.Tx) error {
		return tx.PutApplication(store.Application{ID: sample, Blob: info.ID, Size: info.Size, Wasm: info.ID, Version: "1"}, nil)
	}))
	engine, err := wasm.New(ctx, wasm.Options{Rand: rand.Reader, Now: time.Now})
	try(err)
	m, err := contexts.New(ctx, contexts.Options{
		Store: s.db, Engine: engine, Applications: &application.Service{Store: s.db, Blobs: blobs, Now: time.Now, Log: log}, Blobs: blobs, Events: s.bus,
		Rand: rand.Reader, Now: time.Now, Log: log,
	})
	try(err)
	s.t.Cleanup(func() { // before the database
		m.Close()
		if err := engine.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return &applications{m, s.t, ctx}
}

// context makes a context.
func (a *applications) context() id.ID {
	a.t.Helper()
	made, err := a.Create(a.ctx, contexts.Creation{Application: sample})
	if err != nil {
		a.t.Fatal(err)
	}
	return made.Context
}

// set executes a call that tells of an insertion.
func (a *applications) set(c id.ID, key, value string) error {
	input, err := json.Marshal(map[string]string{"key": key, "value": value})
	if err != nil {
		return err
	}
	_, err = a.Execute(a.ctx, contexts.Call{Context: c, Method: "set", Input: input})
	return err
}

// node check F63: a context executes while its events go to a crowd, and to one client that never reads, which is told
// much more than its connection holds. All executions end, the crowd hears of each, and memory stays where it was. Nothing is
// lost to the one: it gets all when it reads at last.
func TestManySubscribers_ExecutionGoesOnBesideOneThatDoesNotRead(t *testing.T) {
	executeBesideCrowd(t, 5)
}

func executeBesideCrowd(t *testing.T, rounds int) {
	t.Helper()
	const callers = 4
	s := start(t, options{config: patient})
	apps := s.applications()
	told, heavy := apps.context(), apps.context()
	c := gather(t, s, subscribers, told)
	defer c.close()
	slow := c.webSocket(s, heavy, true)
	before := heap()
	big := strings.Repeat("x", 15<<10) // the event is little less than the 16 KiB that it may have
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := range rounds {
				if err := apps.set(told, fmt.Sprintf("%d-%d", i, n), "1"); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for n := range 10 * rounds { // 12 MiB, as clients get them
				if err := apps.set(heavy, fmt.Sprintf("%d-%d", i, n), big); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait() // nobody has read what the slow one was told
	c.await(2 * subscribers * callers * rounds)
	if grown := int64(heap()) - int64(before); grown > 48<<20 {
		t.Errorf("%d subscribers and one that does not read hold %d MiB", 2*subscribers, grown>>20)
	}
	c.count(slow)
	c.await(callers * 10 * rounds)
}

// How long an event takes from its commit to the last of 1 000 subscribers, half of them WebSockets, half SSE.
func BenchmarkFanOut1000(b *testing.B) {
	s := start(b, options{})
	c := gather(b, s, 500, ctxA)
	defer c.close()
	var took []time.Duration
	for b.Loop() {
		s.publish(mutation(ctxA, 1))
		began := time.Now()
		c.await(1000)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
