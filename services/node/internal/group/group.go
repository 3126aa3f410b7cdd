// Package group is local governance: namespaces, in which contexts live, and their members. There is no blockchain
// behind it. The node is a member of every namespace that it makes, by one key, its account.
//
// Subgroups, roles and invitations are yet to come; a group is a namespace.
package group

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// Format returns the form in which clients write the ids of groups: hexadecimal.
func Format(group id.ID) string { return hex.EncodeToString(group[:]) }

// Parse reads the form of [Format]. The error is for clients.
func Parse(s string) (id.ID, error) {
	g, err := store.ParseGroupID(s)
	if err != nil {
		return id.ID{}, fault.Wrap(err, fault.Invalid, "Invalid group_id: expected hex-encoded 32 bytes")
	}
	return g, nil
}

// AccountID returns the id of the account with a public key: the SHA-256 of "mero-account-v1" and the key.
func AccountID(key id.ID) string {
	h := sha256.Sum256(append([]byte("mero-account-v1"), key[:]...))
	return hex.EncodeToString(h[:])
}

// The roles of members.
const roleAdmin = "Admin"

// DefaultCapabilities are those of a new member: joining open subgroups. Administrators have all.
const DefaultCapabilities = 4

// Service is the use cases around groups. Its fields are set before its first use and not changed.
type Service struct {
	Store *store.Store
	Rand  io.Reader
	Now   func() time.Time
}

// Founding is a namespace that is yet to be stored.
type Founding struct {
	Group   store.Group
	account ed25519.PrivateKey // for a node that has none
}

// Found prepares a namespace with a random id, if g has none. The zero AppKey becomes the installed application's blob.
func Found(g store.Group, random io.Reader) (*Founding, error) {
	if (g.ID == id.ID{}) {
		if _, err := io.ReadFull(random, g.ID[:]); err != nil {
			return nil, fmt.Errorf("draw a group id: %w", err)
		}
	}
	_, account, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("generate an account: %w", err)
	}
	return &Founding{Group: g, account: account}, nil
}

// Write enters the namespace with the node's account, which is made with the first one, as its administrator. It has
// no other effects than those on the database. The error wraps [store.ErrExists] if the id is taken, [store.ErrNotFound]
// if the application is not installed.
func (f *Founding) Write(tx *store.Tx) error {
	account, err := tx.Account()
	if errors.Is(err, store.ErrNotFound) {
		account = f.account
		err = tx.PutAccount(account)
	}
	if err != nil {
		return err
	}
	g := f.Group
	app, err := tx.Application(g.Application)
	if err != nil {
		return err
	}
	if (g.AppKey == id.ID{}) {
		g.AppKey = app.Blob
	}
	if err := tx.AddGroup(g); err != nil {
		return err
	}
	return tx.PutMember(store.Member{Group: g.ID, Key: publicOf(account), Role: roleAdmin})
}

func publicOf(key ed25519.PrivateKey) id.ID { return id.ID(key[ed25519.SeedSize:]) }

// Create makes a namespace and returns its id. The zero id and AppKey of g are chosen.
func (s *Service) Create(ctx context.Context, g store.Group) (id.ID, error) {
	if err := ctx.Err(); err != nil {
		return id.ID{}, err
	}
	g.Created = s.Now().Unix()
	f, err := Found(g, s.Rand)
	if err != nil {
		return id.ID{}, err
	}
	err = s.Store.Enqueue(f.Write).Wait()
	switch {
	case errors.Is(err, store.ErrExists):
		return id.ID{}, fault.Wrap(err, fault.Conflict, "the group exists already")
	case errors.Is(err, store.ErrNotFound):
		return id.ID{}, fault.Wrap(err, fault.NotFound, "application "+g.Application.String()+" is not installed")
	}
	return f.Group.ID, err
}

// Delete removes a group that has no contexts.
func (s *Service) Delete(ctx context.Context, g id.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.Store.Enqueue(func(tx *store.Tx) error { return tx.RemoveGroup(g) }).Wait()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return notFound(err)
	case errors.Is(err, store.ErrInUse):
		return fault.Wrap(err, fault.Conflict, "the group still has contexts")
	}
	return err
}

func notFound(err error) error { return fault.Wrap(err, fault.NotFound, "Group not found") }

// Summary is a group with what there is in it.
type Summary struct {
	store.Group
	Members    int
	Contexts   int
	AppVersion string // of the blob that AppKey names, "" if that is no installed version
}

// Get returns a group.
func (s *Service) Get(ctx context.Context, g id.ID) (Summary, error) {
	var sum Summary
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		one, err := tx.Group(g)
		if err != nil {
			return err
		}
		sum, err = summarize(tx, one)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = notFound(err)
	}
	return sum, err
}

// List returns the groups for which keep is true, in the order of their ids.
func (s *Service) List(ctx context.Context, keep func(store.Group) bool) ([]Summary, error) {
	all := []Summary{}
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		for g, err := range tx.Groups() {
			if err != nil {
				return err
			}
			if !keep(g) {
				continue
			}
			sum, err := summarize(tx, g)
			if err != nil {
				return err
			}
			all = append(all, sum)
		}
		return nil
	})
	return all, err
}

func summarize(tx *store.Tx, g store.Group) (Summary, error) {
	members, err := tx.Members(g.ID)
	if err != nil {
		return Summary{}, err
	}
	sum := Summary{Group: g, Members: len(members), Contexts: tx.CountGrouped(g.ID)}
	app, err := tx.ApplicationVersion(g.Application, g.AppKey)
	switch {
	case err == nil:
		sum.AppVersion = app.Version
	case !errors.Is(err, store.ErrNotFound):
		return Summary{}, err
	}
	return sum, nil
}

// Members returns the members of a group in the order of their keys.
func (s *Service) Members(ctx context.Context, g id.ID) (members []store.Member, self id.ID, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := tx.Group(g); err != nil {
			return err
		}
		account, err := tx.Account()
		if err != nil {
			return err
		}
		self = publicOf(account)
		members, err = tx.Members(g)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = notFound(err)
	}
	return members, self, err
}

// Account returns the public key with which this node is a member of groups, and [store.ErrNotFound] before the first.
func (s *Service) Account(ctx context.Context) (key id.ID, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) error {
		account, err := tx.Account()
		if err == nil {
			key = publicOf(account)
		}
		return err
	})
	return key, err
}

// StateHash returns a digest of a group's records, which changes with them: the SHA-256 of their texts.
func StateHash(s Summary, members []store.Member) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%x %x %x %q %q %d", s.ID, s.AppKey, s.Application, s.Name, s.UpgradePolicy, s.Created)
	for _, m := range members {
		_, _ = fmt.Fprintf(h, "\n%x %s %d %q", m.Key, m.Role, m.Capabilities, m.Name)
	}
	return hex.EncodeToString(h.Sum(nil))
}
