package contexts_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// node check D42: each writer sees the ones before it, and each is there after a restart.
func TestExecute_ParallelWritersOfOneContext(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	c := f.make().Context
	const writers, calls = 100, 5
	var seen sync.Map
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range calls {
				out, err := f.call(c, "add", "")
				if err != nil {
					t.Error(err)
					return
				}
				if _, twice := seen.LoadOrStore(out, true); twice {
					t.Errorf("two calls returned %s: they were not one after the other", out)
				}
				if out, err := f.call(c, "n", ""); err != nil {
					t.Errorf("n = %s, %v", out, err)
				}
			}
		})
	}
	wg.Wait()
	want := strconv.Itoa(1 + writers*calls)
	if got := f.must(c, "n", ""); got != want {
		t.Errorf("n = %s, want %s", got, want)
	}
	f.verify(c)
	f.close()
	f = open(t, dir)
	if got := f.must(c, "n", ""); got != want {
		t.Errorf("n = %s after a restart, want %s", got, want)
	}
	f.verify(c)
}

// The next call does not wait for the disk, so many calls of one context share a flush.
func TestExecute_OneFlushServesManyCallsOfAContext(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	hold, entered := make(chan struct{}), make(chan struct{})
	first := f.db.Enqueue(func(*store.Tx) error { close(entered); <-hold; return nil })
	<-entered
	const calls = 20
	results := make(chan error, calls)
	for range calls {
		go func() { _, err := f.call(c, "add", ""); results <- err }()
	}
	// Every call runs, upon the ones before it, while nothing reaches the disk.
	for i := 1; i < calls; i++ {
		waitFor(t, func() bool { return f.Staged(c) >= i })
	}
	select {
	case err := <-results:
		t.Fatalf("a call was answered before it was on disk: %v", err)
	default:
	}
	if x := f.record(c); x.Deltas != 1 {
		t.Errorf("%d deltas on disk, want those of before", x.Deltas)
	}
	close(hold)
	for range calls {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	if got := f.must(c, "n", ""); got != strconv.Itoa(calls+1) {
		t.Errorf("n = %s", got)
	}
	f.verify(c)
}

// When a change cannot be stored, the calls that ran upon it fail with it, and the context goes on from the disk.
func TestExecute_AFailedChangeTakesThoseUponItWithIt(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	hold, entered := make(chan struct{}), make(chan struct{})
	first := f.db.Enqueue(func(*store.Tx) error { close(entered); <-hold; return nil })
	<-entered
	// Behind the calls' back, the state moves on: what they were made upon is gone when their turn comes.
	meddled := f.db.Enqueue(func(tx *store.Tx) error {
		x, err := tx.Context(c)
		x.Deltas += 1000
		return errors.Join(err, tx.PutContext(x))
	})
	const calls = 10
	results := make(chan error, 2*calls)
	for range calls {
		go func() { _, err := f.call(c, "add", ""); results <- err }()
	}
	waitFor(t, func() bool { return f.Staged(c) == calls })
	for range calls { // these only read, but what they read will not have happened
		go func() { _, err := f.call(c, "n", ""); results <- err }()
	}
	waitFor(t, func() bool { return f.Users(c) == 2*calls })
	restore := f.db.Enqueue(func(tx *store.Tx) error {
		x, err := tx.Context(c)
		x.Deltas = 1
		return errors.Join(err, tx.PutContext(x))
	})
	close(hold)
	failed := 0
	for range 2 * calls {
		if err := <-results; err != nil {
			failed++
		}
	}
	if err := errors.Join(first.Wait(), meddled.Wait(), restore.Wait()); err != nil {
		t.Fatal(err)
	}
	if failed < calls {
		t.Errorf("%d calls failed, want at least those that changed something", failed)
	}
	if got := f.must(c, "add", ""); got != "2" {
		t.Errorf("n = %s: the context does not go on from what is on disk", got)
	}
	f.verify(c)
}

// An endless loop in one context holds up no other.
func TestExecute_OtherContextsAnswerDuringAnEndlessLoop(t *testing.T) { // node check D39
	f := openWith(t, t.TempDir(), setup{limit: 2 * time.Minute}) // the end of the loop if the others wait for it
	spinning, free := f.make().Context, f.make().Context
	ctx, endLoop := context.WithCancel(f.ctx)
	defer endLoop()
	ended := make(chan error, 1)
	go func() {
		_, err := f.Execute(ctx, contexts.Call{Context: spinning, Method: "add_and_spin"})
		ended <- err
	}()
	waitFor(t, func() bool { return f.Busy(spinning) })
	for range 20 {
		f.must(free, "add", "")
	}
	select {
	case err := <-ended:
		t.Fatalf("the loop ended before the calls of the other context: %v", err)
	default:
	}
	endLoop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the loop ended with %v", err)
	}
	if got := f.must(spinning, "n", ""); got != "1" {
		t.Errorf("n = %s in the context of the loop", got)
	}
}

// Nor do endless loops in as many contexts as calls can run, if they are one caller's.
func TestExecute_OneCallersLoopsDoNotStarveOthers(t *testing.T) {
	f := openWith(t, t.TempDir(), setup{parallel: 4})
	free := f.make().Context
	ctx, cancel := context.WithCancel(caller.With(t.Context(), caller.Caller{Key: "greedy", Permissions: permission.NewSet([]string{"admin"})}))
	ended := make(chan error, 8)
	for range 8 {
		c := f.make().Context
		go func() {
			_, err := f.Execute(ctx, contexts.Call{Context: c, Method: "add_and_spin"})
			ended <- err
		}()
		waitFor(t, func() bool { return f.Users(c) == 1 })
	}
	for range 20 {
		f.must(free, "add", "") // as another caller
	}
	cancel()
	for range 8 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a loop ended with %v", err)
		}
	}
}

func TestExecute_ManyContextsInParallel(t *testing.T) {
	f := open(t, t.TempDir())
	const count = 100
	var ids []id.ID
	for range count {
		ids = append(ids, f.make().Context)
	}
	var wg sync.WaitGroup
	for _, c := range ids {
		wg.Go(func() {
			for range 5 {
				if _, err := f.call(c, "add", ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, c := range ids {
		if got := f.must(c, "n", ""); got != "6" {
			t.Errorf("n = %s, want 6", got)
		}
		f.verify(c)
	}
}

// A client that leaves while it waits for its turn gives it up.
func TestExecute_CancelledWhileWaiting(t *testing.T) {
	f := open(t, t.TempDir())
	c := f.make().Context
	ended := make(chan error, 1)
	looping, endLoop := context.WithCancel(f.ctx)
	defer endLoop()
	go func() {
		_, err := f.Execute(looping, contexts.Call{Context: c, Method: "add_and_spin"})
		ended <- err
	}()
	waitFor(t, func() bool { return f.Users(c) == 1 })
	ctx, cancel := context.WithCancel(f.ctx)
	waiting := make(chan error, 1)
	go func() {
		_, err := f.Execute(ctx, contexts.Call{Context: c, Method: "add"})
		waiting <- err
	}()
	waitFor(t, func() bool { return f.Users(c) == 2 })
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("the waiting call: %v", err)
	}
	endLoop()
	if err := <-ended; err == nil {
		t.Error("the loop ended without an error")
	}
	if f.Users(c) != 0 {
		t.Errorf("%d users are left", f.Users(c))
	}
}

func TestCreate_ManyWithOneSeed(t *testing.T) {
	f := open(t, t.TempDir())
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			_, err := f.Create(f.ctx, contexts.Creation{Application: app, Seed: []byte(strings.Repeat("s", 32))})
			if err == nil {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("%d contexts of one seed", made.Load())
	}
	if got := f.everything(); !strings.HasPrefix(got, "1 1 1 1 ") {
		t.Errorf("records: %s", got)
	}
}
