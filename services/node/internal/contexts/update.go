package contexts

import (
	"context"
	"errors"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/merkle"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// Update is a change of a context's application.
type Update struct {
	Context     id.ID
	Application id.ID
	Executor    id.ID  // the identity to act as; zero for the first that may
	Migrate     string // the method of the new application that takes the state over; "" if it runs on it as it is
}

// Update makes a context run another application, or the installed version of its own. The method that migrates runs
// upon the state as it is. Either it returns the bytes of the application's new root, which the node then puts in
// place, or it commits a new state itself. When it fails, application and state stay.
func (m *Manager) Update(ctx context.Context, u Update) error {
	if !caller.From(ctx).MayUse(u.Application) {
		return caller.Denied()
	}
	s, err := m.take(ctx, u.Context)
	if err != nil {
		return err
	}
	defer s.leave()
	if err := s.drain(ctx); err != nil {
		return err
	}
	if !s.exists {
		return notFound()
	}
	actor, err := s.actor(ctx, u.Executor, ManageApplication)
	if err != nil {
		return err
	}
	base := s.head
	next, err := s.updated(ctx, u)
	if err != nil {
		return err
	}
	var mig *migrated
	if u.Migrate != "" {
		if mig, err = s.migrate(ctx, u, next, actor); err != nil {
			return err
		}
		next = mig.next
	}
	change := m.Store.Enqueue(func(tx *store.Tx) error {
		cur, err := s.base(tx, base)
		if err != nil {
			return err
		}
		return s.putUpdate(tx, cur, next, mig)
	})
	if err := change.Wait(); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return notInstalled(u.Application)
		}
		return commitFailed(err)
	}
	s.forget()
	if mig != nil {
		place := m.place(ctx, u.Context, mig.out)
		defer place.skip()
		s.pass()
		m.follow(ctx, u.Context, actor, mig.out, place)
	}
	return nil
}

// updated returns the context with the new application.
func (s *seat) updated(ctx context.Context, u Update) (store.Context, error) {
	app, err := s.m.Applications.Get(ctx, u.Application)
	if errors.Is(err, application.ErrNotFound) {
		return store.Context{}, notInstalled(u.Application)
	}
	if err != nil {
		return store.Context{}, err
	}
	next := s.head
	module, ok := app.Module(s.head.Service)
	if !ok {
		return store.Context{}, fault.New(fault.Invalid, "the application has no service of the name that the context runs")
	}
	next.Application, next.Bundle, next.Module, next.ApplicationVersion = app.ID, app.Blob, module, app.Version
	return next, nil
}

// migrated is a state that was taken over.
type migrated struct {
	next    store.Context
	delta   store.Delta
	out     *runtime.Outcome
	members membership
}

// migrate runs the method that takes the state over.
func (s *seat) migrate(ctx context.Context, u Update, next store.Context, actor id.ID) (*migrated, error) {
	if s.head.StateHash == (id.ID{}) {
		return nil, fault.Wrap(ErrUninitialized, fault.Conflict, ErrUninitialized.Error())
	}
	r, err := s.run(ctx, next.Module, Call{Context: s.id, Method: u.Migrate}, actor)
	if err != nil {
		return nil, err
	}
	defer r.blobs.close()
	out := &r.outcome
	switch {
	case out.Failed:
		return nil, guestError(out.Returned)
	case out.Committed:
		err = s.check(actor, out)
	case len(out.Returned) == 0:
		err = callFailed("the method that migrates neither returned a new root nor committed a state", nil)
	default:
		err = s.replaceRoot(ctx, out)
	}
	if err == nil {
		err = r.blobs.keep(ctx)
	}
	if err != nil {
		return nil, err
	}
	members, err := s.membership(ctx, out.Changes)
	if err != nil {
		return nil, err
	}
	s.head.Application = next.Application // it is the new application's delta
	after, delta := s.successor(store.MigrationDelta, actor, out.Root, out.Artifact)
	next.StateHash, next.DAGHeads, next.Deltas = after.StateHash, after.DAGHeads, after.Deltas
	s.forget() // the head in memory is neither the old nor the new one
	return &migrated{next, delta, out, members}, nil
}

// replaceRoot makes the writes of a commit from the returned bytes of the new root. They are the artifact too, because
// the application made none.
func (s *seat) replaceRoot(ctx context.Context, out *runtime.Outcome) error {
	get := func(key []byte) ([]byte, bool, error) { return reader{s, store.Shared}.Get(ctx, key) }
	writes, root, err := merkle.ReplaceRoot(get, s.head.StateHash, out.Returned)
	if errors.Is(err, merkle.ErrLayout) {
		return fault.Wrap(err, fault.Unprocessable, "the state cannot be migrated: "+err.Error())
	}
	if err != nil {
		return err
	}
	out.Writes = nil // of a call that did not commit there are none
	for _, w := range writes {
		out.Writes = append(out.Writes, runtime.Write{Key: w.Key, Value: w.Value})
	}
	out.Root, out.Artifact = root, out.Returned
	return nil
}

// putUpdate writes the context with its new application, and what a migration did.
func (s *seat) putUpdate(tx *store.Tx, cur, next store.Context, mig *migrated) error {
	if cur.Application != next.Application || cur.Bundle != next.Bundle {
		if err := tx.UseApplication(next.Application, next.Bundle, 1); err != nil {
			return err
		}
		if err := tx.UseApplication(cur.Application, cur.Bundle, -1); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if mig == nil {
		next.StateBytes, next.PrivateBytes, next.DeltaBytes = cur.StateBytes, cur.PrivateBytes, cur.DeltaBytes
		if err := tx.PutContext(next); err != nil {
			return err
		}
	} else if err := s.write(tx, cur, next, mig.delta, mig.out, mig.members); err != nil {
		return err
	}
	err := s.m.Events.Publish(tx, event.AppVersionChanged{Context: s.id, From: cur.ApplicationVersion, To: next.ApplicationVersion})
	if err != nil || mig == nil {
		return err
	}
	return s.m.Events.Publish(tx, event.StateMutation{Context: s.id, NewRoot: next.StateHash, Emitted: emitted(mig.out.Events)})
}
