// Package contexts runs applications: it makes contexts, calls the methods of their applications, and keeps their
// state, their delta log and what belongs to them together.
//
// # Order and durability
//
// Calls of one context run one after the other, calls of different contexts in parallel. A call that changed the state
// is answered when its change is on disk, but the next call of the context does not wait for that: it runs upon what
// is on its way (live.go), so that one flush to disk serves many calls of one context too. Each change names the state
// that it was made upon and is refused by the database if that is not the state there; if one fails, those made upon
// it fail with it. A call that only read is answered when everything that it can have read is on disk.
//
// The handlers of a call's events are called after it was answered, those of one context in the order of its calls. They
// are not on disk: what a stop or a crash finds undone is lost.
//
// # Rights
//
// Every use case takes the caller from the context ([caller.From]) and judges by resolved values: the context's id, its
// application, and the identity that acts.
package contexts

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// Options are what a [Manager] works with. All are required.
type Options struct {
	Store        *store.Store
	Engine       *runtime.Engine
	Applications *application.Service
	Blobs        *blob.Store
	Events       *event.Bus
	Rand         io.Reader // for keys
	Now          func() time.Time
	Log          *slog.Logger
	Observe      func(took time.Duration, ok bool) // told of every call that was made; nil: nobody
}

// Manager is the use cases around contexts. It is safe for concurrent use.
type Manager struct {
	Options
	mu   sync.Mutex
	live map[id.ID]*live // contexts that are in use right now

	followTime time.Duration // maxFollowTime, but in tests
	later      *later
	sweeping   sync.WaitGroup
	stop       context.CancelFunc
}

// New returns a manager, which removes in the background what an earlier process left of deleted contexts. It must be
// closed before what it works with.
func New(ctx context.Context, o Options) (*Manager, error) {
	var dead []id.ID
	if err := o.Store.View(ctx, func(tx *store.Tx) error {
		dead = tx.DeadContexts()
		told, err := tx.Told()
		o.Engine.TellAfter(told)
		return err
	}); err != nil {
		return nil, err
	}
	m := &Manager{Options: o, live: map[id.ID]*live{}, followTime: maxFollowTime, later: newLater(o.Log)}
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.sweeping.Go(func() {
		for _, c := range dead {
			m.sweep(ctx, c)
		}
	})
	return m, nil
}

// Drain waits until the handlers of all events have been called, or for the end of ctx.
func (m *Manager) Drain(ctx context.Context) { m.later.wait(ctx) }

// Close ends the work in the background and waits for it. Handlers of events that were not called by then are given up.
// Calls must have ended.
func (m *Manager) Close() {
	m.stop()
	m.later.close()
	m.sweeping.Wait()
}

// sweep removes the entries of a deleted context. What fails is done at the next start.
func (m *Manager) sweep(ctx context.Context, dead id.ID) {
	err := m.Store.SweepContext(ctx, dead)
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, store.ErrClosed) {
		m.Log.WarnContext(ctx, "entries of a deleted context stay until the next start", "context", dead, "error", err)
	}
}
