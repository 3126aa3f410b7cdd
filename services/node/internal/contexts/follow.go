package contexts

import (
	"context"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
)

// What one call of a client can set off.
const (
	maxFollowDepth = 5                // calls that lead to calls
	maxFollows     = 100              // calls in all
	maxFollowTime  = 30 * time.Second // for all handlers together, and for all the rest
)

// chain counts what a call of a client has set off.
type chain struct{ depth, left int }

type chainKey struct{}

// place takes a place among what is done later for a call that was made and still has its turn, if it emitted events
// with handlers: so the handlers of a context are called in the order of its calls. It is nil if there is nothing to do
// later, also below a call of a client: what belongs together is done together.
func (m *Manager) place(ctx context.Context, c id.ID, out *runtime.Outcome) *task {
	if _, nested := ctx.Value(chainKey{}).(*chain); nested || handlersOf(out) == 0 {
		return nil
	}
	return m.later.reserve(c)
}

func handlersOf(out *runtime.Outcome) (n int) {
	for _, e := range out.Events {
		if e.Handler != "" {
			n++
		}
	}
	return n
}

// follow makes the calls that a call asked for, after its change is on disk: those of other contexts, and the contexts
// that it wants to have made or deleted, and then, after it has returned, the handlers of its events, in their place. They
// run under the rights of the caller. The client's call has succeeded, so what fails here goes to the log.
func (m *Manager) follow(ctx context.Context, from, executor id.ID, out *runtime.Outcome, place *task) {
	if len(out.XCalls)+handlersOf(out)+len(out.Changes) == 0 {
		return
	}
	client := ctx
	above, nested := ctx.Value(chainKey{}).(*chain)
	if !nested {
		above = &chain{left: maxFollows}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), m.followTime)
		defer cancel()
	}
	if above.depth == maxFollowDepth {
		m.Log.WarnContext(ctx, "calls lead to calls too deeply, the rest is not made", "context", from, "depth", above.depth)
		return
	}
	f := follower{m: m, from: from, chain: &chain{above.depth + 1, above.left}}
	ctx = context.WithValue(ctx, chainKey{}, f.chain)
	for _, x := range out.XCalls {
		f.call(ctx, Call{Context: x.Context, Method: x.Function, Input: x.Params})
	}
	for _, c := range out.Changes {
		f.change(ctx, c)
	}
	if nested {
		f.handle(ctx, executor, out.Events)
		above.left = f.chain.left
		return
	}
	if place != nil {
		f.handleLater(ctx, client, executor, out.Events, place)
	}
}

// handleLater has the handlers called in their place.
func (f *follower) handleLater(ctx, client context.Context, executor id.ID, events []runtime.Event, place *task) {
	const overhead = 256
	size := 0
	for _, e := range events {
		size += len(e.Data) + overhead
	}
	queued := place.start(client, size, func(stop context.Context) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.m.followTime)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		f.handle(ctx, executor, events)
	})
	if !queued {
		f.m.Log.WarnContext(ctx, "too many events wait for their handlers: those of a call are not called", "context", f.from)
	}
}

func (f *follower) handle(ctx context.Context, executor id.ID, events []runtime.Event) {
	for _, e := range events {
		if e.Handler != "" {
			f.call(ctx, Call{Context: f.from, Executor: executor, Method: e.Handler, Input: e.Data})
		}
	}
}

// follower makes the calls that one call asked for.
type follower struct {
	m     *Manager
	from  id.ID
	chain *chain
}

// spend takes one call from the budget.
func (f *follower) spend(ctx context.Context) bool {
	if f.chain.left == 0 || ctx.Err() != nil {
		f.m.Log.WarnContext(ctx, "a call leads to too many calls, or they take too long: the rest is not made", "context", f.from)
		return false
	}
	f.chain.left--
	return true
}

func (f *follower) call(ctx context.Context, c Call) {
	if !f.spend(ctx) {
		return
	}
	if _, err := f.m.Execute(ctx, c); err != nil {
		f.m.Log.WarnContext(ctx, "a call that another call asked for failed", "context", f.from, "to", c.Context, "method", c.Method, "error", err)
	}
}

var (
	create = permission.MustParse("context:create")
	remove = permission.MustParse("context:delete")
)

// change makes or deletes a context for an application. Changes of members are part of the call itself.
func (f *follower) change(ctx context.Context, c runtime.ContextChange) {
	var err error
	switch c.Kind {
	case runtime.CreateContext:
		if !f.spend(ctx) {
			return
		}
		if !caller.From(ctx).May(create) {
			err = caller.Denied()
			break
		}
		_, err = f.m.Create(ctx, Creation{Application: c.Application, Init: c.Input, Name: c.Alias})
	case runtime.DeleteContext:
		if !f.spend(ctx) {
			return
		}
		if !caller.From(ctx).MayOn(remove, c.Context.String()) {
			err = caller.Denied()
			break
		}
		err = f.m.Delete(ctx, c.Context, id.ID{})
	default:
		return
	}
	if err != nil {
		f.m.Log.WarnContext(ctx, "an application's change of contexts failed", "context", f.from, "error", err)
	}
}
