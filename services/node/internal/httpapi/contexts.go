package httpapi

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/group"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// The permissions of the rows, for what the node asks again about a context once it has read it.
var (
	readContext   = permission.MustParse("context:read")
	listContext   = permission.MustParse("context:list")
	deleteContext = permission.MustParse("context:delete")
	syncContext   = permission.MustParse("context:sync")
	joinContext   = permission.MustParse("context:join")
)

// The limits of what a context is made from, in bytes.
const (
	maxInit       = 1 << 20
	maxCreateBody = 8 << 20 // a byte is up to four characters of JSON, and white space
	maxLabel      = 256
	maxProtocol   = 64
)

// contextEntry has exactly the keys that clients declare for a context; group only in lists.
type contextEntry struct {
	ID          id.ID          `json:"id"`
	Application id.ID          `json:"applicationId"`
	StateHash   *id.ID         `json:"contextStateHash,omitempty"` // or RootHash: one of the two, as the wire profile says
	RootHash    *id.ID         `json:"rootHash,omitempty"`
	Service     string         `json:"serviceName,omitempty"`
	DAGHeads    [][id.Size]int `json:"dagHeads,omitempty"`
	Version     string         `json:"applicationVersion,omitempty"`
	Group       string         `json:"groupId,omitempty"`
}

func (a *API) entryOf(c store.Context) contextEntry {
	e := contextEntry{ID: c.ID, Application: c.Application, Service: c.Service, Version: c.ApplicationVersion, Group: c.Group}
	if a.Server.WireProfile == config.Wire010 {
		e.RootHash = &c.StateHash
	} else {
		e.StateHash = &c.StateHash
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
	application, err := parseID(c.param("application_id"), "application id")
	if err != nil {
		return err
	}
	return a.contexts(c, func(x store.Context) bool { return x.Application == application })
}

// contexts answers with the contexts that satisfy keep and that the caller may see.
func (a *API) contexts(c *call, keep func(store.Context) bool) error {
	list, err := a.Contexts.List(c.ctx(), keep)
	if err != nil {
		return err
	}
	entries := make([]contextEntry, len(list))
	for i, x := range list {
		entries[i] = a.entryOf(x)
	}
	return data(c, struct {
		Contexts []contextEntry `json:"contexts"`
	}{entries})
}

// executorsEntry is in the mixed spelling of the reference, with the names of both generations.
type executorsEntry struct {
	ID          id.ID   `json:"id"`
	ContextID   id.ID   `json:"contextId"`
	Application id.ID   `json:"application_id"`
	RootHash    id.ID   `json:"root_hash"`
	StateHash   id.ID   `json:"contextStateHash"`
	Executors   []id.ID `json:"executors"`
}

func (a *API) listExecutors(c *call) error {
	application, err := parseID(c.param("application_id"), "application id")
	if err != nil {
		return err
	}
	list, err := a.Contexts.ListExecutors(c.ctx(), func(x store.Context) bool { return x.Application == application })
	if err != nil {
		return err
	}
	entries := make([]executorsEntry, len(list))
	for i, x := range list {
		entries[i] = executorsEntry{x.ID, x.ID, x.Application, x.StateHash, x.StateHash, x.Identities}
	}
	return c.ok(struct {
		Contexts []executorsEntry `json:"contexts"`
	}{entries})
}

// context reads the context that the path names, if the caller may do what action stands for there.
func (a *API) context(c *call, action permission.Permission) (store.Context, error) {
	contextID, err := parseID(c.param("context_id"), "context id")
	if err != nil {
		return store.Context{}, err
	}
	return a.Contexts.Get(c.ctx(), action, contextID)
}

func (a *API) getContext(c *call) error {
	x, err := a.context(c, readContext)
	if err != nil {
		return err
	}
	entry := a.entryOf(x)
	entry.Group = ""
	return data(c, entry)
}

// createRequest is the union of what the generations of clients send. What is not needed any more is ignored.
type createRequest struct {
	Protocol       *string `json:"protocol"` // of a blockchain, in older generations
	Application    string  `json:"applicationId"`
	Group          *string `json:"groupId"`
	Service        *string `json:"serviceName"`
	Seed           *string `json:"contextSeed"`
	Params         numbers `json:"initializationParams"`
	IdentitySecret *string `json:"identitySecret"`
	Name           *string `json:"name"`
	Alias          *string `json:"alias"`
}

type createdContext struct {
	Context      id.ID  `json:"contextId"`
	Member       id.ID  `json:"memberPublicKey"`
	Group        string `json:"groupId"`
	GroupCreated bool   `json:"groupCreated"`
}

func (a *API) createContext(c *call) error {
	var r createRequest
	if err := readJSON(c, maxCreateBody, &r); err != nil {
		return err
	}
	creation, err := r.creation()
	if err != nil {
		return err
	}
	made, err := a.Contexts.Create(c.ctx(), creation)
	if err != nil {
		return err
	}
	return data(c, createdContext{made.Context, made.Member, group.Format(made.Group), made.GroupCreated})
}

func (r *createRequest) creation() (contexts.Creation, error) {
	made := contexts.Creation{Init: r.Params, Service: deref(r.Service), Name: deref(r.Name)}
	if made.Name == "" {
		made.Name = deref(r.Alias)
	}
	var err error
	if made.Application, err = parseID(r.Application, "application id"); err != nil {
		return made, err
	}
	if r.Group != nil && *r.Group != "" {
		g, err := group.Parse(*r.Group)
		if err != nil {
			return made, err
		}
		made.Group = &g
	}
	if r.Seed != nil {
		seed, err := parseID(*r.Seed, "contextSeed")
		if err != nil {
			return made, err
		}
		made.Seed = seed[:]
	}
	if r.IdentitySecret != nil {
		made.Identity, err = hex.DecodeString(*r.IdentitySecret)
		if err != nil || len(made.Identity) != id.Size {
			return made, fault.New(fault.Invalid, "Invalid identitySecret: expected hex-encoded 32 bytes")
		}
	}
	return made, checkLengths(map[string]int{
		"initializationParams": len(r.Params) - maxInit, "name": len(made.Name) - maxLabel, "serviceName": len(made.Service) - maxLabel,
		"protocol": len(deref(r.Protocol)) - maxProtocol,
	})
}

// checkLengths refuses what is longer than its limit: the values are by how much.
func checkLengths(excess map[string]int) error {
	for name, n := range excess {
		if n > 0 {
			return fault.New(fault.Invalid, fmt.Sprintf("%s is %d bytes longer than its limit", name, n))
		}
	}
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

type deleted struct {
	IsDeleted bool `json:"isDeleted"`
}

func (a *API) deleteContext(c *call) error {
	contextID, err := parseID(c.param("context_id"), "context id")
	if err != nil {
		return err
	}
	var r struct {
		Requester *string `json:"requester"`
	}
	if err := readOptional(c, &r); err != nil {
		return err
	}
	requester, err := parseActor(r.Requester, "requester")
	if err != nil {
		return err
	}
	if _, err := a.Contexts.Get(c.ctx(), deleteContext, contextID); err != nil {
		return err
	}
	if err := a.Contexts.Delete(c.ctx(), contextID, requester); err != nil {
		return err
	}
	return data(c, deleted{true})
}

func (a *API) identities(owned bool) handler {
	return func(c *call) error {
		contextID, err := parseID(c.param("context_id"), "context id")
		if err != nil {
			return err
		}
		list, err := a.Contexts.Identities(c.ctx(), listContext, contextID, owned)
		if err != nil {
			return err
		}
		return data(c, struct {
			Identities []id.ID `json:"identities"`
		}{list})
	}
}

// storageAnswer has what the context occupies. Entries are in it only if the caller asks for them and is an
// administrator; their bytes are base64, because that is what tools read.
type storageAnswer struct {
	Size    int64          `json:"sizeInBytes"`
	Entries []storageEntry `json:"entries,omitempty"`
	Next    string         `json:"next,omitempty"` // the from of the next page, base64url
}

type storageEntry struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// contextStorage serves ?entries=true[&space=state|private][&from=base64url][&limit=n] to administrators.
func (a *API) contextStorage(c *call) error {
	x, err := a.context(c, listContext)
	if err != nil {
		return err
	}
	answer := storageAnswer{Size: x.StateBytes + x.PrivateBytes}
	query := c.Request().URL.Query()
	switch query.Get("entries") {
	case "", "false":
		return data(c, answer)
	case "true":
	default:
		return fault.New(fault.Invalid, "entries is true or false")
	}
	space, known := map[string]store.Space{"": store.Shared, "state": store.Shared, "private": store.Private}[query.Get("space")]
	if !known {
		return fault.New(fault.Invalid, "space is state or private")
	}
	from, err := base64.RawURLEncoding.DecodeString(query.Get("from"))
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "from is not base64url without padding")
	}
	limit := contexts.MaxEntries
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > contexts.MaxEntries {
			return fault.New(fault.Invalid, fmt.Sprintf("limit is a number from 1 to %d", contexts.MaxEntries))
		}
	}
	entries, next, err := a.Contexts.Entries(c.ctx(), x.ID, space, from, limit)
	if err != nil {
		return err
	}
	for _, e := range entries {
		answer.Entries = append(answer.Entries, storageEntry(e))
	}
	answer.Next = base64.RawURLEncoding.EncodeToString(next)
	return data(c, answer)
}

func (a *API) contextGroup(c *call) error {
	x, err := a.context(c, listContext)
	if err != nil {
		return err
	}
	if x.Group == "" {
		return data[*string](c, nil)
	}
	return data(c, x.Group)
}

// clientKeys are the keys of the oldest clients; nothing makes them any more.
func (a *API) clientKeys(c *call) error {
	if _, err := a.context(c, listContext); err != nil {
		return err
	}
	return data(c, struct {
		Keys []struct{} `json:"clientKeys"`
	}{[]struct{}{}})
}

func (a *API) updateContext(c *call) error {
	contextID, err := parseID(c.param("context_id"), "context id")
	if err != nil {
		return err
	}
	var r struct {
		Application string  `json:"applicationId"`
		Executor    *string `json:"executorPublicKey"`
		Migrate     *string `json:"migrateMethod"`
	}
	if err := readJSON(c, maxBody, &r); err != nil {
		return err
	}
	u := contexts.Update{Context: contextID, Migrate: deref(r.Migrate)}
	if u.Application, err = parseID(r.Application, "application id"); err != nil {
		return err
	}
	if u.Executor, err = parseActor(r.Executor, "executorPublicKey"); err != nil {
		return err
	}
	if err := a.Contexts.Update(c.ctx(), u); err != nil {
		return err
	}
	return data[*string](c, nil)
}

// changeCapabilities answers a bare null, as the reference does.
func (a *API) changeCapabilities(revoke bool) handler {
	return func(c *call) error {
		contextID, err := parseID(c.param("context_id"), "context id")
		if err != nil {
			return err
		}
		var r struct {
			Capabilities [][]string `json:"capabilities"`
			Signer       *string    `json:"signer_id"`
		}
		if err := readJSON(c, maxBody, &r); err != nil {
			return err
		}
		g := contexts.Grant{Context: contextID, Revoke: revoke, Members: map[id.ID]contexts.Capability{}}
		if g.Signer, err = parseActor(r.Signer, "signer_id"); err != nil {
			return err
		}
		if len(r.Capabilities) == 0 || len(r.Capabilities) > 100 {
			return fault.New(fault.Invalid, "capabilities holds 1 to 100 pairs")
		}
		for _, pair := range r.Capabilities {
			if len(pair) != 2 {
				return fault.New(fault.Invalid, "capabilities holds pairs of a public key and a capability")
			}
			member, err := parseID(pair[0], "public key")
			if err != nil {
				return err
			}
			capability, err := contexts.ParseCapability(pair[1])
			if err != nil {
				return err
			}
			g.Members[member] |= capability
		}
		if err := a.Contexts.Grant(c.ctx(), g); err != nil {
			return err
		}
		return c.ok(nil)
	}
}

// syncAll serves all contexts that the caller may sync. Without other nodes each of them is up to date.
func (a *API) syncAll(c *call) error {
	if err := emptyBody(c); err != nil {
		return err
	}
	return data[*string](c, nil)
}

func (a *API) syncContext(c *call) error {
	if err := emptyBody(c); err != nil {
		return err
	}
	if _, err := a.context(c, syncContext); err != nil {
		return err
	}
	return data[*string](c, nil)
}

// resyncContext starts nothing, because there is no other node to fetch the state from, and says so.
func (a *API) resyncContext(c *call) error {
	var r struct {
		Force *bool `json:"force"`
	}
	if err := readOptional(c, &r); err != nil {
		return err
	}
	x, err := a.context(c, syncContext)
	if err != nil {
		return err
	}
	return c.ok(struct {
		Context id.ID `json:"contextId"`
		Started bool  `json:"resyncStarted"`
	}{x.ID, false})
}

// newIdentity makes a key pair that belongs to no context yet. Clients send no body, {} or null. The route is content with
// any context:execute; one that is limited to a method, which never covers context:join, is for that method alone.
func (a *API) newIdentity(c *call) error {
	if !caller.From(c.ctx()).Permissions.AllowsAnyScope(joinContext) {
		return caller.Denied()
	}
	if err := emptyBody(c); err != nil {
		return err
	}
	key, err := a.Contexts.NewIdentity(c.ctx())
	if err != nil {
		return err
	}
	return data(c, struct {
		PublicKey id.ID `json:"publicKey"`
	}{key})
}

// emptyBody accepts a body without content: nothing, null or an object, whose members are ignored as those of
// newer clients.
func emptyBody(c *call) error {
	var nothing struct{}
	return readOptional(c, &nothing)
}

// visibleTo reports whether a list may show the caller what belongs to one application.
func visibleTo(c *call, action permission.Permission, object string, application id.ID) bool {
	who := caller.From(c.ctx())
	return who.MayOn(action, object) && who.MayUse(application)
}

// mediaType returns the type of a body without its parameters.
func mediaType(c *call) string {
	t, _, _ := strings.Cut(c.Request().Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}
