// Package alias gives names to contexts, applications and, within a context, to identities. The names are known to this
// node only.
package alias

import (
	"context"
	"errors"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// MaxName is the length of the longest name in bytes.
const MaxName = 50

// Kind is what a name stands for.
type Kind = store.AliasKind

// The kinds.
const (
	Context     = store.ContextAlias
	Application = store.ApplicationAlias
	Identity    = store.IdentityAlias
)

var createContext = permission.MustParse("context:alias:create:context")

// Service is the use cases around aliases. Its fields are set before its first use and not changed.
type Service struct{ Store *store.Store }

// Check refuses a name that cannot be created: it has 1 to [MaxName] bytes of A-Z a-z 0-9 . _ ~ - and does not look like
// an id, which it would hide.
func Check(name string) error {
	if !wellFormed(name) {
		return fault.New(fault.Invalid, "an alias has 1 to 50 characters of A-Z a-z 0-9 . _ ~ -")
	}
	if _, err := id.Parse(name); err == nil {
		return fault.New(fault.Invalid, "an alias must not look like an id")
	}
	return nil
}

func wellFormed(name string) bool {
	if name == "" || len(name) > MaxName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '~' && c != '-' {
			return false
		}
	}
	return true
}

// Create gives a name. scope is the context of an identity. What the path of the request does not name, the target, is
// checked against the caller's rights here.
func (s *Service) Create(ctx context.Context, kind Kind, scope id.ID, name string, target id.ID) error {
	if err := Check(name); err != nil {
		return err
	}
	who := caller.From(ctx)
	if kind == Context && !who.MayOn(createContext, target.String()) || kind == Application && !who.MayUse(target) {
		return caller.Denied()
	}
	err := s.Store.Enqueue(func(tx *store.Tx) error {
		if err := reachable(ctx, tx, kind, scope, target); err != nil {
			return err
		}
		if err := known(tx, kind, scope, target); err != nil {
			return err
		}
		return tx.AddAlias(store.Alias{Kind: kind, Scope: scope, Name: name, Target: target})
	}).Wait()
	if errors.Is(err, store.ErrExists) {
		return fault.Wrap(err, fault.Conflict, "alias already exists")
	}
	return err
}

// known refuses a context or an application that is not here. An identity may be one of another node, or a member to be.
func known(tx *store.Tx, kind Kind, scope, target id.ID) error {
	var err error
	what := "Context not found"
	switch {
	case kind == Context:
		_, err = tx.Context(target)
	case kind == Application:
		_, err = tx.Application(target)
		what = "application " + target.String() + " is not installed"
	case target == id.ID{}:
		return fault.New(fault.Invalid, "Invalid identity")
	default:
		_, err = tx.Context(scope)
	}
	if errors.Is(err, store.ErrNotFound) {
		return fault.Wrap(err, fault.NotFound, what)
	}
	return err
}

// reachable refuses what is in a context of an application that the caller's bindings exclude.
func reachable(ctx context.Context, tx *store.Tx, kind Kind, scope, target id.ID) error {
	var c id.ID
	switch kind {
	case Context:
		c = target
	case Identity:
		c = scope
	default:
		if !caller.From(ctx).MayUse(target) {
			return caller.Denied()
		}
		return nil
	}
	if !caller.From(ctx).MayReach(c) {
		return caller.Denied()
	}
	x, err := tx.Context(c)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && !caller.From(ctx).MayUse(x.Application) {
		return caller.Denied()
	}
	return err
}

// Lookup returns what a name stands for, nil if it stands for nothing that the caller may know.
func (s *Service) Lookup(ctx context.Context, kind Kind, scope id.ID, name string) (*id.ID, error) {
	var target *id.ID
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		found, err := tx.Alias(kind, scope, name)
		if err == nil {
			err = reachable(ctx, tx, kind, scope, found)
		}
		if err == nil {
			target = &found
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) || fault.CodeOf(err) == fault.Forbidden {
		return nil, nil // "stands for nothing" is an answer, and the same for what is hidden
	}
	return target, err
}

// Resolve returns what a text stands for that may be an id or a name. A name of what the caller's bindings exclude is as
// unknown as one that nobody gave: the error of both wraps [store.ErrNotFound].
func (s *Service) Resolve(ctx context.Context, kind Kind, scope id.ID, text string) (id.ID, error) {
	if !wellFormed(text) {
		return id.ID{}, store.ErrNotFound
	}
	if target, err := id.Parse(text); err == nil {
		return target, nil
	}
	target, err := s.Lookup(ctx, kind, scope, text)
	if err != nil {
		return id.ID{}, err
	}
	if target == nil {
		return id.ID{}, store.ErrNotFound
	}
	return *target, nil
}

// Delete removes a name, if it is there. One of what the caller's bindings exclude stays, and the answer is that for a
// name that is not there: who may not know a name cannot guess it here.
func (s *Service) Delete(ctx context.Context, kind Kind, scope id.ID, name string) error {
	return s.Store.Enqueue(func(tx *store.Tx) error {
		target, err := tx.Alias(kind, scope, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		switch err := reachable(ctx, tx, kind, scope, target); {
		case fault.CodeOf(err) == fault.Forbidden:
			return nil
		case err != nil:
			return err
		}
		return tx.RemoveAlias(kind, scope, name)
	}).Wait()
}

// List returns the names of a kind and scope, those of what the caller's bindings exclude aside.
func (s *Service) List(ctx context.Context, kind Kind, scope id.ID) (map[string]id.ID, error) {
	names := map[string]id.ID{}
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		for a, err := range tx.Aliases(kind, scope) {
			if err != nil {
				return err
			}
			switch err := reachable(ctx, tx, kind, scope, a.Target); {
			case err == nil:
				names[a.Name] = a.Target
			case fault.CodeOf(err) != fault.Forbidden:
				return err
			}
		}
		return nil
	})
	return names, err
}
