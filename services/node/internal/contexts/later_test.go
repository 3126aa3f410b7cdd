package contexts_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// record collects what was done.
type record struct {
	mu   sync.Mutex
	list []string
}

func (r *record) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, what)
}

func (r *record) want(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.list, want) {
		t.Errorf("%s: done %q, want %q", when, r.list, want)
	}
}

func TestLater_OrderOfAContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := contexts.NewLater(slog.New(slog.DiscardHandler))
		defer l.Close()
		var done record
		step := func(what string) func(context.Context) { return func(context.Context) { done.add(what) } }
		a, b := id.ID{1}, id.ID{2}
		first, second, third, elsewhere := l.Reserve(a), l.Reserve(a), l.Reserve(a), l.Reserve(b)
		third.Start(t.Context(), 1, step("third"))
		elsewhere.Start(t.Context(), 1, step("elsewhere"))
		done.want(t, "while those before it may still begin", "elsewhere")
		second.Skip()
		done.want(t, "when the second was given up", "elsewhere")
		first.Start(t.Context(), 1, step("first"))
		first.Skip() // too late
		done.want(t, "at the end", "elsewhere", "first", "third")
		l.Wait(t.Context())
	})
}

// Answers wait when too much waits behind them, so that the queue cannot grow without end.
func TestLater_AnswersWaitWhenTooMuchDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := contexts.NewLater(slog.New(slog.DiscardHandler))
		defer l.Close()
		hold := make(chan struct{})
		var answered record
		call := func(ctx context.Context, name string, bytes int) {
			task := l.Reserve(id.ID{1})
			go func() {
				task.Start(ctx, bytes, func(context.Context) { <-hold })
				answered.add(name)
			}()
			synctest.Wait()
		}
		call(t.Context(), "runs", contexts.MaxLater)
		call(t.Context(), "fits", contexts.MaxLater)
		call(t.Context(), "too much", 1)
		gone, cancel := context.WithCancel(t.Context())
		call(gone, "left", 1)
		answered.want(t, "while the first runs", "runs", "fits")
		cancel()
		answered.want(t, "when a client has left", "runs", "fits", "left")
		hold <- struct{}{}
		answered.want(t, "when the first is over", "runs", "fits", "left", "too much")
		close(hold)
		l.Wait(t.Context())
	})
}

// Clients that leave without waiting for their answers cannot fill the memory.
func TestLater_HasNoRoomWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := contexts.NewLater(slog.New(slog.DiscardHandler))
		defer l.Close()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		var done record
		hold := make(chan struct{})
		l.Reserve(id.ID{1}).Start(gone, 1, func(context.Context) { <-hold })
		synctest.Wait()
		half := contexts.MostLater / 2
		for i, want := range []bool{true, true, false, false} {
			if got := l.Reserve(id.ID{1}).Start(gone, half, func(context.Context) { done.add(string(rune('a' + i))) }); got != want {
				t.Errorf("task %d: %v, want %v", i, got, want)
			}
		}
		close(hold)
		l.Wait(t.Context())
		done.want(t, "at the end", "a", "b")
	})
}

func TestLater_StopGivesUpWhatHasNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		l := contexts.NewLater(slog.New(slog.NewJSONHandler(&log, nil)))
		var done record
		for _, name := range []string{"first", "second", "third"} {
			l.Reserve(id.ID{1}).Start(t.Context(), 1, func(stop context.Context) {
				done.add(name)
				<-stop.Done()
			})
		}
		unused := l.Reserve(id.ID{2})
		done.want(t, "before", "first")
		over, cancel := context.WithCancel(t.Context())
		cancel()
		l.Wait(over)
		l.Close()
		done.want(t, "after", "first")
		unused.Skip()
		l.Wait(t.Context())
		if !strings.Contains(log.String(), `"calls":2`) {
			t.Errorf("the log: %s", &log)
		}
	})
}

func TestLater_APanicEndsOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		l := contexts.NewLater(slog.New(slog.NewJSONHandler(&log, nil)))
		defer l.Close()
		var done record
		l.Reserve(id.ID{1}).Start(t.Context(), 1, func(context.Context) { panic("one of many") })
		l.Reserve(id.ID{1}).Start(t.Context(), 1, func(context.Context) { done.add("next") })
		l.Wait(t.Context())
		done.want(t, "after a panic", "next")
		if !strings.Contains(log.String(), "one of many") {
			t.Errorf("the log: %s", &log)
		}
	})
}

// Many contexts share few workers, in turns.
func TestLater_WorkersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := contexts.NewLater(slog.New(slog.DiscardHandler))
		defer l.Close()
		hold := make(chan struct{})
		var begun record
		for c := range contexts.LaterWorkers + 1 {
			for range 2 {
				l.Reserve(id.ID{byte(c + 1)}).Start(t.Context(), 1, func(context.Context) { begun.add("x"); <-hold })
			}
		}
		begun.want(t, "at first", slices.Repeat([]string{"x"}, contexts.LaterWorkers)...)
		close(hold)
		l.Wait(t.Context())
		begun.want(t, "at the end", slices.Repeat([]string{"x"}, 2*(contexts.LaterWorkers+1))...)
	})
}
