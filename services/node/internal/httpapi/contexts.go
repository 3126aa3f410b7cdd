package httpapi

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// contextEntry has exactly the keys that clients declare for a context; group only in lists.
type contextEntry struct {
	ID          id.ID          `json:"id"`
	Application id.ID          `json:"applicationId"`
	StateHash   id.ID          `json:"contextStateHash"`
	Service     string         `json:"serviceName,omitempty"`
	DAGHeads    [][id.Size]int `json:"dagHeads,omitempty"`
	Version     string         `json:"applicationVersion,omitempty"`
	Group       string         `json:"groupId,omitempty"`
}

func entryOf(c store.Context) contextEntry {
	e := contextEntry{
		ID: c.ID, Application: c.Application, StateHash: c.StateHash, Service: c.Service, Version: c.ApplicationVersion, Group: c.Group,
	}
	for _, head := range c.DAGHeads {
		var numbers [id.Size]int
		for i, b := range head {
			numbers[i] = int(b)
		}
		e.DAGHeads = append(e.DAGHeads, numbers)
	}
	return e
}

func (a *API) listContexts(c *call) error {
	return a.contexts(c, func(store.Context) bool { return true })
}

func (a *API) listContextsOf(c *call) error {
	application, err := id.Parse(c.param("application_id"))
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "Invalid application id")
	}
	return a.contexts(c, func(x store.Context) bool { return x.Application == application })
}

var readContext = permission.MustParse("context:read")

// contexts answers with the contexts that satisfy keep and that the caller may see. A binding thus shortens the
// list, as it keeps everything else about other contexts from the caller.
func (a *API) contexts(c *call, keep func(store.Context) bool) error {
	set := caller.From(c.ctx()).Permissions
	entries := []contextEntry{}
	err := a.Store.View(c.ctx(), func(tx *store.Tx) error {
		for x, err := range tx.Contexts() {
			if err != nil {
				return err
			}
			visible := set.Allows(readContext.On(x.ID.String())) && set.AllowsApplication(x.Application.String())
			if visible && keep(x) {
				entries = append(entries, entryOf(x))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return data(c, struct {
		Contexts []contextEntry `json:"contexts"`
	}{entries})
}

func (a *API) getContext(c *call) error {
	contextID, err := id.Parse(c.param("context_id"))
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "Invalid context id")
	}
	var x store.Context
	err = a.Store.View(c.ctx(), func(tx *store.Tx) (err error) {
		x, err = tx.Context(contextID)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fault.Wrap(err, fault.NotFound, "Context not found")
	case err != nil:
		return err
	case !caller.From(c.ctx()).Permissions.AllowsApplication(x.Application.String()):
		return fault.New(fault.Forbidden, "permission denied").Because(identity.PermissionDenied)
	}
	entry := entryOf(x)
	entry.Group = ""
	return data(c, entry)
}

// newIdentity makes a key pair that belongs to no context yet. Clients send no body, {} or null.
func (a *API) newIdentity(c *call) error {
	if err := emptyBody(c); err != nil {
		return err
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("generate an identity: %w", err)
	}
	i := store.Identity{PublicKey: id.ID(public), Private: private}
	if err := a.Store.Update(c.ctx(), func(tx *store.Tx) error { return tx.PutIdentity(i) }); err != nil {
		return err
	}
	return data(c, struct {
		PublicKey id.ID `json:"publicKey"`
	}{i.PublicKey})
}

// emptyBody accepts a body without content: nothing, null or an object, whose members are ignored as those of
// newer clients.
func emptyBody(c *call) error {
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, maxBody))
	if err != nil {
		return err
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return fault.Wrap(err, fault.Invalid, "Invalid JSON data: want an object, null or nothing")
	}
	return nil
}
