package bench_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
	"github.com/calimero-network/mero-go/services/node/testapp"
)

// manager is what runs applications, without a transport.
type manager struct {
	*contexts.Manager
	db  *store.Store
	ctx context.Context
}

var app = id.ID{0xa1}

func startManager(t testing.TB, dir string, code []byte) *manager {
	t.Helper()
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	log, ctx := slog.New(slog.DiscardHandler), context.Background()
	db, err := store.Open(filepath.Join(dir, "data"))
	try(err)
	blobs, err := blob.Open(ctx, filepath.Join(dir, "blobs"), db, 0, log)
	try(err)
	bus, err := event.Open(ctx, db, store.EventLimits{Count: 100_000, Bytes: 64 << 20}, log)
	try(err)
	engine, err := runtime.New(ctx, runtime.Options{Rand: rand.Reader, Now: time.Now})
	try(err)
	apps := &application.Service{Store: db, Blobs: blobs, Now: time.Now, Log: log}
	m, err := contexts.New(ctx, contexts.Options{
		Store: db, Engine: engine, Applications: apps, Blobs: blobs, Events: bus, Rand: rand.Reader, Now: time.Now, Log: log,
	})
	try(err)
	t.Cleanup(func() {
		m.Close()
		bus.Close()
		if err := errors.Join(engine.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	info, err := blobs.Put(ctx, bytes.NewReader(code), nil)
	try(err)
	try(db.Update(ctx, func(tx *store.Tx) error {
		return tx.PutApplication(store.Application{ID: app, Blob: info.ID, Size: info.Size, Wasm: info.ID, Version: "1"}, nil)
	}))
	everybody := caller.Caller{Key: "k", Permissions: permission.NewSet([]string{"admin"})}
	return &manager{Manager: m, db: db, ctx: caller.With(ctx, everybody)}
}

// perSecond returns how often fn runs in a second, with a number of callers at once.
func perSecond(t testing.TB, callers int, fn func(caller int) error) float64 {
	t.Helper()
	span := 50 * time.Millisecond
	if *ratios {
		span = time.Second
	}
	var done atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for c := range callers {
		wg.Go(func() {
			for time.Since(began) < span {
				if err := fn(c); err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

// processorTime returns how much CPU time this process has used.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// executions compares calls of methods that read and that write with a bare loop over the same module.
func executions(t *testing.T) []row {
	code := testapp.KVStore
	n := startManager(t, t.TempDir(), code)
	set := contexts.Call{Method: "set", Input: []byte(`{"key":"key","value":"value"}`)}
	get := contexts.Call{Method: "get", Input: []byte(`{"key":"key"}`)}
	loops := make([]*loop, goruntime.GOMAXPROCS(0))
	for i := range loops {
		loops[i] = newLoop(t, code)
		loops[i].call(t, set.Method, set.Input)
	}
	const callers = 100
	made := make([]id.ID, callers)
	for i := range made {
		c, err := n.Create(n.ctx, contexts.Creation{Application: app})
		if err != nil {
			t.Fatal(err)
		}
		made[i] = c.Context
		set.Context = c.Context
		if _, err := n.Execute(n.ctx, set); err != nil {
			t.Fatal(err)
		}
	}
	turns := 1
	if *ratios {
		turns = 4
	}
	var table []row
	for _, m := range []struct {
		contexts.Call
		target string
	}{{get, ">= 0.50"}, {set, ">= 0.25"}} {
		for _, count := range []int{1, len(made)} {
			threads := min(count, len(loops))
			var base, got, busy float64 // the best of several turns each
			for range turns {
				base = max(base, perSecond(t, threads, func(i int) error { loops[i].call(t, m.Method, m.Input); return nil }))
				began, used := time.Now(), processorTime(t)
				got = max(got, perSecond(t, callers, func(i int) error {
					c := m.Call
					c.Context = made[i%count]
					_, err := n.Execute(n.ctx, c)
					return err
				}))
				busy = max(busy, float64(processorTime(t)-used)/float64(time.Since(began)))
			}
			table = append(table, row{
				fmt.Sprintf("execute %s, contexts: %d, callers: %d", m.Method, count, callers), fmt.Sprintf("%.2f (%.0f/s)", got/base, got), m.target,
				fmt.Sprintf("the module in a bare wazero loop, threads: %d (%.0f/s)", threads, base),
			}, row{
				fmt.Sprintf("execute %s, contexts: %d, callers: %d: processors in use", m.Method, count, callers), fmt.Sprintf("%.2f", busy), "-",
				fmt.Sprintf("of %d (CPU time / wall time)", goruntime.GOMAXPROCS(0)),
			})
		}
	}
	return table
}

// starting measures how long a node with many contexts takes until it is ready.
func starting(t *testing.T) []row {
	const count = 10_000
	home := t.TempDir()
	db, err := store.Open(filepath.Join(home, "bench", "data"))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		var errs []error
		for i := range count {
			c := store.Context{ID: id.ID{1, byte(i), byte(i >> 8)}, StateHash: id.ID{1}, Deltas: 1, DAGHeads: []id.ID{{2}}}
			_, entry := tx.PutEntry(store.Shared, c.ID, store.Entry{Key: []byte("key"), Value: make([]byte, 100)})
			_, delta := tx.AddDelta(store.Delta{Context: c.ID, ID: id.ID{2}, Artifact: make([]byte, 100)})
			errs = append(errs, tx.PutContext(c), tx.PutIdentity(store.Identity{Context: c.ID, PublicKey: c.ID}), entry, delta)
		}
		return errors.Join(errs...)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	binary := buildNode(t)
	began := time.Now()
	startNodeIn(t, binary, home)
	return []row{{fmt.Sprintf("start with %d contexts", count), fmt.Sprintf("%.2f s", time.Since(began).Seconds()), "<= 1 s", "-"}}
}
