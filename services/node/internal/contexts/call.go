package contexts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// Call is a call of a method of a context's application.
type Call struct {
	Context  id.ID
	Executor id.ID // the identity to act as; zero for the first one of the context that the caller may act as
	Method   string
	Input    []byte
}

// Result is what a call returned.
type Result struct {
	Output json.RawMessage // nil if the method returned nothing
	Logs   []string        // what the application logged, also in a call that failed
}

// Execute runs a call as the caller of ctx. When it returns without an error, what the call changed is on disk. An
// error of the application is a [*CallError], an output that is no JSON an [*OutputError]; neither changes anything.
// The other errors are [ErrNotFound], [ErrUninitialized], [*UnauthorizedError] and [*NotInstalledError]; all are
// wrapped in a [*fault.Error].
func (m *Manager) Execute(ctx context.Context, c Call) (Result, error) {
	s, err := m.take(ctx, c.Context)
	if err != nil {
		return Result{}, err
	}
	defer s.leave()
	executor, err := s.admit(ctx, c)
	if err != nil {
		return Result{}, err
	}
	started := m.Now()
	d := s.execute(ctx, c, executor)
	var place *task
	if d.err == nil {
		place = m.place(ctx, c.Context, &d.outcome)
	}
	defer place.skip()
	s.pass()
	if m.Observe != nil {
		m.Observe(m.Now().Sub(started), d.err == nil)
	}
	if d.awaited != nil {
		if err := d.awaited.Wait(); err != nil {
			return Result{}, commitFailed(err)
		}
	}
	if d.err == nil {
		m.follow(ctx, c.Context, executor, &d.outcome, place)
	}
	return d.result, d.err
}

// reserved reports whether a method is for the node alone: the one that makes the first state, and those with which
// the SDK applies what comes from other nodes, which would let a client write past the application.
func reserved(method string) bool {
	return method == initMethod || strings.HasPrefix(method, "__calimero_")
}

// done is a call that was made.
type done struct {
	outcome runtime.Outcome
	result  Result
	err     error
	// awaited must be on disk before anybody learns the rest, also of a call that failed: what it says may come from
	// what it read. nil if nothing must.
	awaited *store.Pending
}

// execute runs a call and hands over what it did.
func (s *seat) execute(ctx context.Context, c Call, executor id.ID) done {
	d := done{awaited: s.awaited()}
	r, err := s.run(ctx, s.head.Module, c, executor)
	if r != nil {
		defer r.blobs.close()
		d.outcome = r.outcome
		d.result.Logs = r.outcome.Logs
	}
	if err != nil {
		d.err = err
		return d
	}
	if d.outcome.Failed {
		d.err = guestError(d.outcome.Returned)
		return d
	}
	if d.result.Output, d.err = output(d.outcome.Returned); d.err != nil {
		return d
	}
	change, err := s.accept(ctx, executor, r)
	if d.err = err; change != nil {
		d.awaited = change
	}
	return d
}

// Admits returns the error of [Manager.Execute] for a caller who may not make a call as the executor that it names, or as
// anybody if it names none, whatever else is true of it, and for a context that is not there.
func (m *Manager) Admits(ctx context.Context, c Call) error {
	var x store.Context
	err := m.Store.View(ctx, func(tx *store.Tx) (err error) {
		x, err = tx.Context(c.Context)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	identities, anybody, err := admitted(ctx, c, x, err == nil)
	if errors.Is(err, ErrUninitialized) {
		err = nil
	}
	if err == nil && c.Executor != (id.ID{}) && !anybody && !slices.Contains(identities, c.Executor) {
		return unauthorized(c.Context, c.Executor)
	}
	return err
}

// admitted returns as whom a caller may make a call in a context, if it exists.
func admitted(ctx context.Context, c Call, x store.Context, exists bool) (identities []id.ID, anybody bool, err error) {
	identities, anybody = caller.From(ctx).Executors(c.Context, x.Application, c.Method)
	switch {
	case !anybody && len(identities) == 0:
		// The same for a context that does not exist: who may not call it does not learn whether it does.
		err = unauthorized(c.Context, c.Executor)
	case reserved(c.Method):
		err = callFailed(fmt.Sprintf("method %q not found", c.Method), runtime.ErrMethodNotFound)
	case !exists:
		err = notFound()
	case x.StateHash == id.ID{}:
		err = fault.Wrap(ErrUninitialized, fault.Conflict, ErrUninitialized.Error())
	}
	return identities, anybody, err
}

// admit decides as whom the caller acts.
func (s *seat) admit(ctx context.Context, c Call) (id.ID, error) {
	identities, anybody, err := admitted(ctx, c, s.head, s.exists)
	if err != nil {
		return id.ID{}, err
	}
	for _, i := range s.owned() {
		if (c.Executor == id.ID{} || c.Executor == i) && (anybody || slices.Contains(identities, i)) {
			return i, nil
		}
	}
	return id.ID{}, unauthorized(c.Context, c.Executor)
}

// owned returns the identities that this node can act as, the creator of the context first.
func (s *seat) owned() []id.ID {
	var list []id.ID
	for _, i := range s.members {
		switch {
		case !i.Owned():
		case i.PublicKey == s.head.Creator:
			list = slices.Insert(list, 0, i.PublicKey)
		default:
			list = append(list, i.PublicKey)
		}
	}
	return list
}

// ran is a call that was run, with the blobs that it made.
type ran struct {
	outcome runtime.Outcome
	blobs   *window
}

// run runs a method of a module upon the state of the context, without effect on it. The caller closes the window. With
// an error the outcome, if there is one, has only what the application logged.
func (s *seat) run(ctx context.Context, module id.ID, c Call, executor id.ID) (*ran, error) {
	code, err := s.m.Engine.Load(ctx, module, func(ctx context.Context) ([]byte, error) {
		return s.m.Applications.Module(ctx, module)
	})
	switch {
	case errors.Is(err, application.ErrNotFound):
		return nil, notInstalled(s.head.Application)
	case err != nil:
		return nil, runFailed(ctx, err)
	}
	r := &ran{blobs: &window{blobs: s.m.Blobs}}
	r.outcome, err = s.m.Engine.Run(ctx, code, runtime.Call{
		Method: c.Method, Input: c.Input, Context: s.id, Executor: executor, Account: caller.From(ctx).Key,
		State: reader{s, store.Shared}, Private: reader{s, store.Private}, Blobs: r.blobs, Directory: directory{s},
	})
	s.m.log(ctx, c, r.outcome.Logs)
	if err != nil {
		r.blobs.close()
		return r, runFailed(ctx, err)
	}
	if !r.outcome.Committed || r.outcome.Failed {
		r.blobs.close()
	}
	return r, nil
}

// output checks what a method returned: one JSON text, or nothing.
func output(returned []byte) (json.RawMessage, error) {
	if len(returned) == 0 {
		return nil, nil
	}
	if !utf8.Valid(returned) || !json.Valid(returned) {
		e := &OutputError{"the method returned what is not JSON"}
		return nil, fault.Wrap(e, fault.Invalid, e.Problem)
	}
	return returned, nil
}

// accept hands over what a call did, and returns its change, nil if there is none.
func (s *seat) accept(ctx context.Context, author id.ID, r *ran) (*store.Pending, error) {
	out := &r.outcome
	if !out.Committed {
		return s.announce(out.Events), nil
	}
	if err := s.check(author, out); err != nil {
		return nil, err
	}
	members, err := s.membership(ctx, out.Changes)
	if err != nil {
		return nil, err
	}
	if out.Root == s.head.StateHash && len(out.Artifact) == 0 && len(out.Writes) == 0 && len(out.PrivateWrites) == 0 && len(members.changed) == 0 {
		return s.announce(out.Events), nil
	}
	if err := r.blobs.keep(ctx); err != nil {
		return nil, err
	}
	next, delta := s.successor(store.CallDelta, author, out.Root, out.Artifact)
	base, events := s.head, emitted(out.Events)
	change := s.stage(next, out, func(tx *store.Tx) error {
		cur, err := s.base(tx, base)
		if err != nil {
			return err
		}
		if err := s.write(tx, cur, next, delta, out, members); err != nil {
			return err
		}
		return s.m.Events.Publish(tx, event.StateMutation{Context: s.id, NewRoot: next.StateHash, Emitted: events})
	})
	s.members = members.members
	return change, nil
}

// check refuses what a call may not leave behind.
func (s *seat) check(author id.ID, out *runtime.Outcome) error {
	switch {
	case len(out.Proposals) > 0 || len(out.Approvals) > 0:
		return callFailed("proposals need a blockchain, which this node does not have", nil)
	case out.Root == id.ID{}:
		return callFailed("the method committed no root hash", nil)
	case len(out.Artifact) == 0 && (out.Root != s.head.StateHash || len(out.Writes) > 0):
		return callFailed("the method changed the state without a delta for the other nodes", nil)
	}
	for _, c := range out.Changes {
		if c.Kind != runtime.AddMember && c.Kind != runtime.RemoveMember {
			continue
		}
		if !s.holds(author, ManageMembers) {
			return callFailed("the executor may not manage the members of the context", nil)
		}
		if c.Kind == runtime.RemoveMember && c.Member == s.head.Creator {
			return callFailed("the creator of a context cannot be removed from it", nil)
		}
	}
	return nil
}

// successor returns the head after a change, and its delta.
func (s *seat) successor(kind store.DeltaKind, author, root id.ID, artifact []byte) (store.Context, store.Delta) {
	parents := s.head.DAGHeads
	if len(parents) == 0 {
		parents = []id.ID{{}}
	}
	d := store.Delta{
		Context: s.id, ID: DeltaID(parents, artifact), Parents: parents, Seq: s.head.Deltas + 1, Kind: kind, Root: root, Author: author,
		Application: s.head.Application, Time: s.m.Now().UnixNano(), Artifact: artifact,
	}
	next := s.head
	next.StateHash, next.DAGHeads, next.Deltas = root, []id.ID{d.ID}, d.Seq
	return next, d
}

// DeltaID returns the id of a delta: the SHA-256 of the ids of its parents and of its artifact, which this node does
// not look into.
func DeltaID(parents []id.ID, artifact []byte) id.ID {
	h := sha256.New()
	for _, p := range parents {
		h.Write(p[:])
	}
	h.Write(artifact)
	return id.ID(h.Sum(nil))
}

// base returns the context as the database holds it, and [errStale] if that is not what a change was made upon.
func (s *seat) base(tx *store.Tx, want store.Context) (store.Context, error) {
	cur, err := tx.Context(s.id)
	if err != nil || cur.Deltas != want.Deltas || cur.StateHash != want.StateHash || cur.Bundle != want.Bundle {
		return cur, fmt.Errorf("context %s: %w", s.id, errors.Join(errStale, err))
	}
	return cur, nil
}

// write puts a change of the state into the database. cur is what is there, for the counts.
func (s *seat) write(tx *store.Tx, cur, next store.Context, delta store.Delta, out *runtime.Outcome, members membership) error {
	var err error
	next.PrivateBytes, next.DeltaBytes = cur.PrivateBytes, cur.DeltaBytes
	if next.StateBytes, err = s.put(tx, store.Shared, cur.StateBytes, out.Writes); err != nil {
		return err
	}
	if next.PrivateBytes, err = s.put(tx, store.Private, cur.PrivateBytes, out.PrivateWrites); err != nil {
		return err
	}
	size, err := tx.AddDelta(delta)
	if err != nil {
		return err
	}
	next.DeltaBytes = cur.DeltaBytes + size
	return errors.Join(members.write(tx, s.id), tx.PutTold(out.Told), tx.PutContext(next))
}

// put writes entries into a space of size bytes and returns its new size.
func (s *seat) put(tx *store.Tx, space store.Space, size int64, writes []runtime.Write) (int64, error) {
	for _, w := range writes {
		var grown int64
		var err error
		if w.Remove {
			grown, err = tx.RemoveEntry(space, s.id, w.Key)
		} else {
			grown, err = tx.PutEntry(space, s.id, store.Entry{Key: w.Key, Value: w.Value})
		}
		if err != nil {
			return 0, err
		}
		size += grown
	}
	return size, nil
}

// announce publishes events of a call that changed nothing. Without events it returns nil.
func (s *seat) announce(events []runtime.Event) *store.Pending {
	if len(events) == 0 {
		return nil
	}
	base, list := s.head, emitted(events)
	return s.m.Store.Enqueue(func(tx *store.Tx) error {
		if _, err := s.base(tx, base); err != nil {
			return err
		}
		return s.m.Events.Publish(tx, event.StateMutation{Context: s.id, NewRoot: base.StateHash, Emitted: list})
	})
}

func emitted(events []runtime.Event) []event.Emitted {
	list := make([]event.Emitted, len(events))
	for i, e := range events {
		list[i] = event.Emitted{Kind: e.Kind, Data: bytes.Clone(e.Data), Handler: e.Handler}
	}
	return list
}
