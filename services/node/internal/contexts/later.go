package contexts

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// What waits to be done after calls were answered.
const (
	maxLater     = 16 << 20  // bytes; beyond them, answers wait too
	mostLater    = 256 << 20 // bytes; what comes beyond them is given up: clients that do not wait for answers must not fill the memory
	laterWorkers = 16        // contexts whose turn it is at a time
)

// later does what follows from calls after they were answered: it runs the handlers of their events. What belongs to one
// context is done in the order of its calls, contexts beside each other. It is in memory: a crash loses it.
type later struct {
	log  *slog.Logger
	ctx  context.Context // ends what runs, and gives the rest up
	stop context.CancelFunc

	mu      sync.Mutex
	lines   map[id.ID][]*task // in the order of the calls; a worker may be at the first
	ready   []id.ID           // contexts with a first task that can begin
	workers int
	waiting int             // bytes of the tasks that can begin and have not
	held    []chan struct{} // answers that wait for these to become less
	idle    []chan struct{} // whoever waits for everything to be done
	given   int             // tasks that were given up
	running sync.WaitGroup
}

// task is the place of one call in the line of its context.
type task struct {
	line   *later
	of     id.ID
	ready  bool // it can begin
	queued bool // a worker has it, or will
	bytes  int
	run    func(stop context.Context) // nil if there is nothing to do
}

func newLater(log *slog.Logger) *later {
	l := &later{log: log, lines: map[id.ID][]*task{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// reserve takes the next place in the line of a context. The caller must call start or skip.
func (l *later) reserve(c id.ID) *task {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &task{line: l, of: c}
	l.lines[c] = append(l.lines[c], t)
	return t
}

// start lets a task begin when it is its turn, and returns when the caller may be answered. It reports false if there is
// no room for the task. Once l has stopped, the task is given up.
func (t *task) start(ctx context.Context, bytes int, run func(stop context.Context)) bool {
	l := t.line
	l.mu.Lock()
	if l.waiting+bytes > mostLater {
		l.mu.Unlock()
		t.skip()
		return false
	}
	t.ready, t.bytes, t.run = true, bytes, run
	l.waiting += bytes
	l.advance(t.of)
	var held chan struct{}
	if l.waiting > maxLater {
		held = make(chan struct{})
		l.held = append(l.held, held)
	}
	l.mu.Unlock()
	if held == nil {
		return true
	}
	select {
	case <-held:
	case <-ctx.Done():
	case <-l.ctx.Done():
	}
	return true
}

// skip gives up a place that start was not called for. A nil task has none.
func (t *task) skip() {
	if t == nil {
		return
	}
	t.line.mu.Lock()
	defer t.line.mu.Unlock()
	if !t.ready {
		t.ready = true
		t.line.advance(t.of)
	}
}

// advance sees that a worker gets the first task of a context, if it can begin. The caller holds mu.
func (l *later) advance(c id.ID) {
	line := l.lines[c]
	for len(line) > 0 && line[0].ready && line[0].run == nil {
		line = line[1:]
	}
	if len(line) > 0 {
		l.lines[c] = line
		if first := line[0]; first.ready && !first.queued {
			first.queued = true
			l.ready = append(l.ready, c)
			if l.workers < laterWorkers {
				l.workers++
				l.running.Go(l.work)
			}
		}
		return
	}
	delete(l.lines, c)
	if len(l.lines) == 0 {
		release(&l.idle)
	}
}

// release lets go all who wait.
func release(waiters *[]chan struct{}) {
	for _, w := range *waiters {
		close(w)
	}
	*waiters = nil
}

// work does what is ready until nothing is.
func (l *later) work() {
	for t := l.next(); t != nil; t = l.next() {
		l.do(t)
		l.mu.Lock()
		l.lines[t.of] = l.lines[t.of][1:]
		l.advance(t.of)
		l.mu.Unlock()
	}
}

// next returns a task to do. Without one, the worker is at its end.
func (l *later) next() *task {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ready) == 0 {
		l.workers--
		return nil
	}
	t := l.lines[l.ready[0]][0]
	l.ready = l.ready[1:]
	if l.waiting -= t.bytes; l.waiting <= maxLater {
		release(&l.held)
	}
	if l.ctx.Err() != nil {
		l.given++
		t.run = func(context.Context) {}
	}
	return t
}

// do makes a panic a line in the log: it must not take the node with it.
func (l *later) do(t *task) {
	defer func() {
		if v := recover(); v != nil {
			l.log.Error("panic in what follows from a call", "context", t.of, "error", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	t.run(l.ctx)
}

// wait waits until everything is done, or for the end of ctx.
func (l *later) wait(ctx context.Context) {
	l.mu.Lock()
	done := make(chan struct{})
	l.idle = append(l.idle, done)
	if len(l.lines) == 0 {
		release(&l.idle)
	}
	l.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// close ends what runs and gives the rest up.
func (l *later) close() {
	l.stop()
	l.running.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.given > 0 {
		l.log.Warn("the node stopped before the handlers of events were called", "calls", l.given)
		l.given = 0
	}
}
