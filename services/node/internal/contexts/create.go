package contexts

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/group"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// Creation is what a new context is made from. Only Application is required.
type Creation struct {
	Application id.ID
	Service     string // of an application with several
	Group       *id.ID // nil for a namespace of its own
	Seed        []byte // nil for a random context id; the same seed gives the same id
	Identity    []byte // the seed of the key of the first identity, 32 bytes; nil for a new one
	Init        []byte // the input of the method init
	Name        string
}

// Created is a new context.
type Created struct {
	Context      id.ID
	Member       id.ID // the first identity, which this node holds
	Group        id.ID
	GroupCreated bool // the group is a namespace that was made for the context
}

// initMethod makes the first state of a context.
const initMethod = "init"

// keyTries is how often a random context id is drawn until one is free.
const keyTries = 5

// Create makes a context: its application's init runs as a new identity, and what it commits is the first state. When
// it fails, nothing is stored. The route has checked that the caller may create contexts.
func (m *Manager) Create(ctx context.Context, c Creation) (Created, error) {
	if !caller.From(ctx).MayUse(c.Application) {
		return Created{}, caller.Denied()
	}
	app, err := m.Applications.Get(ctx, c.Application)
	if errors.Is(err, application.ErrNotFound) {
		return Created{}, notInstalled(c.Application)
	}
	if err != nil {
		return Created{}, err
	}
	module, ok := app.Module(c.Service)
	if !ok {
		return Created{}, fault.New(fault.Invalid, "the application has no such service, or several and serviceName is missing")
	}
	s, err := m.free(ctx, c.Seed)
	if err != nil {
		return Created{}, err
	}
	defer s.leave()
	first, err := m.newIdentity(s.id, c.Identity)
	if err != nil {
		return Created{}, err
	}
	g, err := m.groupFor(ctx, c)
	if err != nil {
		return Created{}, err
	}
	s.members = []store.Identity{first}
	s.head = store.Context{
		ID: s.id, Application: app.ID, Bundle: app.Blob, Module: module, Service: c.Service, ApplicationVersion: app.Version,
		Group: group.Format(g.ID), Name: c.Name, Creator: first.PublicKey, Created: m.Now().Unix(),
	}
	change, err := s.initialize(ctx, c.Init, first, g)
	if err == nil {
		err = change.Wait()
	}
	if err != nil {
		s.forget()
		return Created{}, createFailed(err, app.ID)
	}
	return Created{Context: s.id, Member: first.PublicKey, Group: g.ID, GroupCreated: g.isNew}, nil
}

// initialize runs init and hands over the first state.
func (s *seat) initialize(ctx context.Context, input []byte, first store.Identity, g chosenGroup) (*store.Pending, error) {
	r, err := s.run(ctx, s.head.Module, Call{Context: s.id, Method: initMethod, Input: input}, first.PublicKey)
	if err != nil {
		return nil, err
	}
	defer r.blobs.close()
	out := &r.outcome
	switch {
	case out.Failed:
		return nil, guestError(out.Returned)
	case len(out.Returned) > 0:
		return nil, callFailed("init returned a value", nil)
	case !out.Committed:
		return nil, callFailed("init committed no state", nil)
	}
	if err := s.check(first.PublicKey, out); err != nil {
		return nil, err
	}
	if err := r.blobs.keep(ctx); err != nil {
		return nil, err
	}
	members, err := s.membership(ctx, out.Changes)
	if err != nil {
		return nil, err
	}
	made := s.head
	next, delta := s.successor(store.GenesisDelta, first.PublicKey, out.Root, out.Artifact)
	events := emitted(out.Events)
	s.members = members.members
	return s.stage(next, out, func(tx *store.Tx) error {
		if err := s.unused(tx); err != nil {
			return err
		}
		if err := g.write(tx); err != nil {
			return err
		}
		// A key that the node made beforehand is in use from now on.
		if err := errors.Join(tx.UseApplication(made.Application, made.Bundle, 1), tx.RemoveIdentity(id.ID{}, first.PublicKey), tx.PutIdentity(first)); err != nil {
			return err
		}
		if err := s.write(tx, made, next, delta, out, members); err != nil {
			return err
		}
		if len(events) == 0 {
			return nil // nobody can have subscribed yet
		}
		return s.m.Events.Publish(tx, event.StateMutation{Context: s.id, NewRoot: next.StateHash, Emitted: events})
	}), nil
}

func createFailed(err error, app id.ID) error {
	switch {
	case errors.Is(err, store.ErrExists):
		return fault.Wrap(err, fault.Conflict, "the context exists already")
	case errors.Is(err, store.ErrNotFound): // uninstalled, or the group deleted, while init ran
		return fault.Wrap(err, fault.NotFound, fmt.Sprintf("application %s or the group is gone", app))
	}
	return commitFailed(err)
}

// free takes the turn in a context that does not exist.
func (m *Manager) free(ctx context.Context, seed []byte) (*seat, error) {
	for try := 1; ; try++ {
		key, err := m.contextKey(seed)
		if err != nil {
			return nil, err
		}
		s, err := m.take(ctx, id.ID(key))
		if err != nil {
			return nil, err
		}
		if !s.exists {
			if err = m.Store.View(ctx, s.unused); err == nil {
				return s, nil
			}
		} else {
			err = store.ErrExists
		}
		s.leave()
		if !errors.Is(err, store.ErrExists) {
			return nil, err
		}
		if seed != nil || try == keyTries {
			return nil, createFailed(err, id.ID{})
		}
	}
}

// unused reports whether a context id is free.
func (s *seat) unused(tx *store.Tx) error {
	if _, err := tx.Context(s.id); !errors.Is(err, store.ErrNotFound) {
		return errors.Join(err, store.ErrExists)
	}
	if tx.IsDeadContext(s.id) {
		return fmt.Errorf("%w: it is still being deleted", store.ErrExists)
	}
	return nil
}

// contextKey returns the public key that names a new context. A seed gives the Ed25519 key of the SHA-256 of
// "mero-context-seed-v1" and the seed.
func (m *Manager) contextKey(seed []byte) (ed25519.PublicKey, error) {
	if seed == nil {
		public, _, err := ed25519.GenerateKey(m.Rand)
		return public, err
	}
	h := sha256.Sum256(append([]byte("mero-context-seed-v1"), seed...))
	return publicOf(ed25519.NewKeyFromSeed(h[:])), nil
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

// newIdentity makes an identity of a context that this node holds.
func (m *Manager) newIdentity(c id.ID, seed []byte) (store.Identity, error) {
	if seed == nil {
		seed = make([]byte, ed25519.SeedSize)
		if _, err := io.ReadFull(m.Rand, seed); err != nil {
			return store.Identity{}, fmt.Errorf("generate an identity: %w", err)
		}
	}
	key := ed25519.NewKeyFromSeed(seed)
	sender := make([]byte, 32)
	if _, err := io.ReadFull(m.Rand, sender); err != nil {
		return store.Identity{}, fmt.Errorf("generate a sender key: %w", err)
	}
	return store.Identity{Context: c, PublicKey: id.ID(publicOf(key)), Private: key, SenderKey: sender}, nil
}

// chosenGroup is the group of a new context.
type chosenGroup struct {
	store.Group
	isNew bool
	owner *group.Founding
}

// write enters a new namespace, or sees that the group is still there.
func (g *chosenGroup) write(tx *store.Tx) error {
	if !g.isNew {
		_, err := tx.Group(g.ID)
		return err
	}
	return g.owner.Write(tx)
}

func (m *Manager) groupFor(ctx context.Context, c Creation) (chosenGroup, error) {
	if c.Group == nil {
		f, err := group.Found(store.Group{Application: c.Application, Name: c.Name, Created: m.Now().Unix()}, m.Rand)
		return chosenGroup{Group: f.Group, isNew: true, owner: f}, err
	}
	g := chosenGroup{}
	err := m.Store.View(ctx, func(tx *store.Tx) (err error) {
		g.Group, err = tx.Group(*c.Group)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return g, fault.Wrap(err, fault.NotFound, "Group not found")
	}
	return g, err
}

// Delete removes a context with all its records. requester, if not zero, must be an identity of it that this node
// holds. The caller's right to delete it was checked by the route, but for the bindings.
func (m *Manager) Delete(ctx context.Context, c, requester id.ID) error {
	s, err := m.take(ctx, c)
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
	if err := s.mayActAs(ctx, requester); err != nil {
		return err
	}
	gone := s.head
	change := m.Store.Enqueue(func(tx *store.Tx) error {
		if _, err := s.base(tx, gone); err != nil {
			return err
		}
		err := tx.UseApplication(gone.Application, gone.Bundle, -1)
		if errors.Is(err, store.ErrNotFound) {
			err = nil // a record from before versions were counted
		}
		return errors.Join(err, tx.RemoveContext(c), m.Events.Forget(tx, event.OfContext(c)))
	})
	if err := change.Wait(); err != nil {
		return commitFailed(err)
	}
	s.forget()
	m.sweep(context.WithoutCancel(ctx), c)
	return nil
}

// mayActAs refuses an application, or an identity, if given, that the caller's bindings exclude, or that this node
// does not hold.
func (s *seat) mayActAs(ctx context.Context, identity id.ID) error {
	who := caller.From(ctx)
	if !who.MayUse(s.head.Application) {
		return caller.Denied()
	}
	if identity == (id.ID{}) {
		return nil
	}
	if m, ok := s.member(identity); !ok || !m.Owned() || !who.MayBe(s.id, identity) {
		return unauthorized(s.id, identity)
	}
	return nil
}

// actor returns the identity that acts when a request changes a context: the named one, or the first that the bindings
// leave to the caller. It must have a capability.
func (s *seat) actor(ctx context.Context, named id.ID, c Capability) (id.ID, error) {
	if err := s.mayActAs(ctx, named); err != nil {
		return id.ID{}, err
	}
	who := caller.From(ctx)
	for _, i := range s.owned() {
		if (named == id.ID{} || named == i) && who.MayBe(s.id, i) && s.holds(i, c) {
			return i, nil
		}
	}
	return id.ID{}, unauthorized(s.id, named)
}
