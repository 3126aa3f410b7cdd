package bench_test

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"sync/atomic"
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
)

var ratios = flag.Bool("ratios", false, "measure for minutes instead of trying the measurement for a moment")

// node is what runs applications, without a transport.
type node struct {
	*contexts.Manager
	db  *store.Store
	ctx context.Context
}

var app = id.ID{0xa1}

func start(t testing.TB, dir string, code io.Reader) *node {
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
	info, err := blobs.Put(ctx, code, nil)
	try(err)
	try(db.Update(ctx, func(tx *store.Tx) error {
		return tx.PutApplication(store.Application{ID: app, Blob: info.ID, Size: info.Size, Wasm: info.ID, Version: "1"}, nil)
	}))
	everybody := caller.Caller{Key: "k", Permissions: permission.NewSet([]string{"admin"})}
	return &node{Manager: m, db: db, ctx: caller.With(ctx, everybody)}
}

// perSecond returns how often fn runs in a second, with a number of callers at once.
func perSecond(t testing.TB, callers int, fn func(caller int) error) float64 {
	t.Helper()
	span := 50 * time.Millisecond
	if *ratios {
		span = 3 * time.Second
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

const format = "%-44s %10.0f/s  %5.2f of the bare loop (%.0f/s), target %.2f\n"

// TestRatios compares the node with a bare loop over the same module. Without -ratios it only sees that the
// measurement works.
func TestRatios(t *testing.T) {
	path := "../contexts/testdata/probe.wasm"
	code, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer code.Close()
	n := start(t, t.TempDir(), code)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const get, set = "n", "add"
	cores := goruntime.GOMAXPROCS(0)
	bares := make([]*bare, cores)
	for i := range bares {
		bares[i] = newBare(t, text)
	}
	contexts100 := make([]id.ID, 100)
	for i := range contexts100 {
		made, err := n.Create(n.ctx, contexts.Creation{Application: app})
		if err != nil {
			t.Fatal(err)
		}
		contexts100[i] = made.Context
	}
	for _, m := range []struct {
		method string
		target float64
	}{{get, 0.5}, {set, 0.25}} {
		for _, count := range []int{1, len(contexts100)} {
			loops := min(count, cores)
			base := perSecond(t, loops, func(i int) error { bares[i].call(t, m.method, nil); return nil })
			got := perSecond(t, 100, func(i int) error {
				_, err := n.Execute(n.ctx, contexts.Call{Context: contexts100[i%count], Method: m.method})
				return err
			})
			fmt.Printf(format, fmt.Sprintf("execute %s, %d contexts, 100 callers", m.method, count), got, got/base, base, m.target)
		}
	}
}
