package store

import (
	"errors"
	"iter"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// AliasKind says what an alias stands for.
type AliasKind byte

// The kinds of aliases.
const (
	ContextAlias     AliasKind = 'c'
	ApplicationAlias AliasKind = 'a'
	IdentityAlias    AliasKind = 'i' // within the context that is its scope
)

// Alias is a name for an id. Names are local to the node.
type Alias struct {
	Kind   AliasKind
	Scope  id.ID // of an IdentityAlias: its context
	Name   string
	Target id.ID
}

type aliasRecord struct {
	V      int   `json:"v"`
	Target id.ID `json:"target"`
}

func aliasKey(kind AliasKind, scope id.ID, name string) []byte {
	key := make([]byte, 0, 1+id.Size+len(name))
	return append(append(append(key, byte(kind)), scope[:]...), name...)
}

// AddAlias writes an alias. The error is [ErrExists] if the name is taken.
func (t *Tx) AddAlias(a Alias) error {
	key := aliasKey(a.Kind, a.Scope, a.Name)
	if t.tx.Bucket(bucketAliases).Get(key) != nil {
		return ErrExists
	}
	return t.put(bucketAliases, key, aliasRecord{1, a.Target})
}

// Alias returns what a name stands for. The error is [ErrNotFound] if it stands for nothing.
func (t *Tx) Alias(kind AliasKind, scope id.ID, name string) (id.ID, error) {
	var r aliasRecord
	err := t.get(bucketAliases, aliasKey(kind, scope, name), &r)
	return r.Target, err
}

// RemoveAlias removes an alias, if it is there.
func (t *Tx) RemoveAlias(kind AliasKind, scope id.ID, name string) error {
	return t.tx.Bucket(bucketAliases).Delete(aliasKey(kind, scope, name))
}

// Aliases yields the aliases of a kind and scope in the order of their names, until an error.
func (t *Tx) Aliases(kind AliasKind, scope id.ID) iter.Seq2[Alias, error] {
	return func(yield func(Alias, error) bool) {
		prefix := aliasKey(kind, scope, "")
		for key, text := range t.prefixed(bucketAliases, prefix) {
			var r aliasRecord
			err := decode(bucketAliases, key, text, &r)
			if !yield(Alias{kind, scope, string(key[len(prefix):]), r.Target}, err) || err != nil {
				return
			}
		}
	}
}

// removeAliasesOf removes the names of a context and those of its identities.
func (t *Tx) removeAliasesOf(context id.ID) error {
	err := t.removeAliasesTo(ContextAlias, context)
	_, scopeErr := t.removePrefix(bucketAliases, aliasKey(IdentityAlias, context, ""), -1)
	return errors.Join(err, scopeErr)
}

// removeAliasesTo removes the names of a context or an application.
func (t *Tx) removeAliasesTo(kind AliasKind, target id.ID) error {
	var names []string
	for a, err := range t.Aliases(kind, id.ID{}) {
		if err != nil {
			return err
		}
		if a.Target == target {
			names = append(names, a.Name)
		}
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, t.RemoveAlias(kind, id.ID{}, name))
	}
	return errors.Join(errs...)
}
