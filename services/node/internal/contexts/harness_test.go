package contexts_test

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/contextstest"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

//go:embed testdata/probe.wasm
var probe []byte

// fixture is a node without a transport, with the probe installed as two applications.
type fixture struct {
	*contexts.Manager
	t     testing.TB
	db    *store.Store
	blobs *blob.Store
	bus   *event.Bus
	log   lines
	ctx   context.Context // of a caller who may do everything
	close func()
}

// lines is what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns everything so far.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// app and other are two applications with the same code.
var app, other = id.ID{0xa1}, id.ID{0xa2}

func open(t testing.TB, dir string) *fixture {
	t.Helper()
	return openWith(t, dir, setup{limit: runtime.DefaultLimits().Time})
}

// setup is what differs from node to node. The zero value is one with a long time limit.
type setup struct {
	limit    time.Duration // of a call
	now      func() time.Time
	random   io.Reader // for applications
	parallel int       // calls
}

func openWith(t testing.TB, dir string, with setup) *fixture {
	t.Helper()
	limits := runtime.DefaultLimits()
	if limits.Time = with.limit; limits.Time == 0 {
		limits.Time = time.Hour
	}
	if with.now == nil {
		with.now = time.Now
	}
	if with.random == nil {
		with.random = rand.Reader
	}
	f := &fixture{t: t}
	log := slog.New(reqctx.LogHandler{Handler: slog.NewJSONHandler(&f.log, nil)})
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	var err error
	f.db, err = store.Open(filepath.Join(dir, "data"))
	try(err)
	f.blobs, err = blob.Open(ctx, filepath.Join(dir, "blobs"), f.db, 0, log)
	try(err)
	f.bus, err = event.Open(ctx, f.db, store.EventLimits{Count: 10_000, Bytes: 16 << 20}, log)
	try(err)
	engine, err := runtime.New(ctx, runtime.Options{Rand: with.random, Now: with.now, Limits: limits, Parallel: with.parallel})
	try(err)
	apps := &application.Service{Store: f.db, Blobs: f.blobs, Now: time.Now, Log: log}
	f.Manager, err = contexts.New(ctx, contexts.Options{
		Store: f.db, Engine: engine, Applications: apps, Blobs: f.blobs, Events: f.bus, Rand: rand.Reader, Now: with.now, Log: log,
	})
	try(err)
	f.close = func() {
		f.Close()
		f.bus.Close()
		if err := errors.Join(engine.Close(), f.db.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { f.close() })
	f.ctx = f.as("admin")
	f.install(app, probe, "1.0.0")
	f.install(other, probe, "2.0.0")
	return f
}

// install enters a module as an application.
func (f *fixture) install(app id.ID, module []byte, version string) {
	f.t.Helper()
	info, err := f.blobs.Put(f.ctx, bytes.NewReader(module), nil, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.db.Update(f.ctx, func(tx *store.Tx) error {
		return tx.PutApplication(store.Application{ID: app, Blob: info.ID, Size: info.Size, Wasm: info.ID, Version: version, Installed: time.Now()}, nil)
	}); err != nil {
		f.t.Fatal(err)
	}
}

// as returns a context of a caller with permissions.
func (f *fixture) as(list string) context.Context {
	return caller.With(context.Background(), caller.Caller{Key: "k", Permissions: permission.NewSet(permission.Split(list))})
}

// make makes a context of the probe.
func (f *fixture) make() contexts.Created {
	f.t.Helper()
	return f.makeOf(app)
}

func (f *fixture) makeOf(app id.ID) contexts.Created {
	f.t.Helper()
	made, err := f.Create(f.ctx, contexts.Creation{Application: app})
	if err != nil {
		f.t.Fatal(err)
	}
	return made
}

// call calls a method as an administrator and returns its output.
func (f *fixture) call(c id.ID, method, input string) (string, error) {
	r, err := f.Execute(f.ctx, contexts.Call{Context: c, Method: method, Input: []byte(input)})
	return string(r.Output), err
}

// must is call for what succeeds.
func (f *fixture) must(c id.ID, method, input string) string {
	f.t.Helper()
	out, err := f.call(c, method, input)
	if err != nil {
		f.t.Fatalf("%s(%.40s): %v", method, input, err)
	}
	return out
}

// record returns a context as it is on disk.
func (f *fixture) record(c id.ID) store.Context {
	f.t.Helper()
	var x store.Context
	if err := f.db.View(f.ctx, func(tx *store.Tx) (err error) { x, err = tx.Context(c); return err }); err != nil {
		f.t.Fatal(err)
	}
	return x
}

// dump returns everything that is stored for a context, for comparisons.
func (f *fixture) dump(c id.ID) map[string]string {
	f.t.Helper()
	all := map[string]string{}
	if err := f.db.View(f.ctx, func(tx *store.Tx) error {
		for _, space := range []store.Space{store.Shared, store.Private} {
			for e := range tx.Entries(space, c, nil) {
				all[string(rune('0'+space))+hex.EncodeToString(e.Key)] = hex.EncodeToString(e.Value)
			}
		}
		for d, err := range tx.Deltas(c) {
			if err != nil {
				return err
			}
			all["delta "+d.ID.String()] = d.Root.String()
		}
		members, err := tx.Identities(c)
		for _, m := range members {
			all["member "+m.PublicKey.String()] = ""
		}
		log, logErr := tx.EventLog()
		all["events"] = string(rune('0' + log.Count%64))
		return errors.Join(err, logErr)
	}); err != nil {
		f.t.Fatal(err)
	}
	x := f.record(c)
	all["head"] = x.StateHash.String() + x.Application.String() + x.Bundle.String()
	return all
}

// verify checks that state, delta log, heads and hash of a context agree.
func (f *fixture) verify(c id.ID) {
	f.t.Helper()
	if problem := contextstest.Problem(f.db, c); problem != "" {
		f.t.Errorf("context %s: %s", c, problem)
	}
}

var listContext = permission.MustParse("context:list")

// waitFor waits until something is so.
func waitFor(t *testing.T, so func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !so() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be")
		}
		time.Sleep(time.Millisecond)
	}
}
