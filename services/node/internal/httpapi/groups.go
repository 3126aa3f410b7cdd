package httpapi

import (
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/group"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

var (
	listGroup     = permission.MustParse("group:list")
	listNamespace = permission.MustParse("namespace:list")
)

// createGroup is the union of what the generations of clients send for a namespace or a group.
type createGroup struct {
	Application   string  `json:"applicationId"`
	ID            *string `json:"groupId"`
	AppKey        *string `json:"appKey"`
	UpgradePolicy any     `json:"upgradePolicy"` // a word, or an object of one word; older clients must send it
	Name          *string `json:"name"`
	Alias         *string `json:"alias"`
	GroupName     *string `json:"groupName"`
	GroupAlias    *string `json:"groupAlias"`
	Parent        *string `json:"parentGroupId"`
}

func (r *createGroup) group() (store.Group, error) {
	var g store.Group
	if r.Parent != nil && *r.Parent != "" {
		return g, fault.New(fault.NotImplemented, "subgroups are not part of this build")
	}
	var err error
	if g.Application, err = parseID(r.Application, "application id"); err != nil {
		return g, err
	}
	// Zero would be taken for none.
	if r.ID != nil && *r.ID != "" {
		if g.ID, err = group.Parse(*r.ID); err != nil {
			return g, err
		}
		if (g.ID == id.ID{}) {
			return g, fault.New(fault.Invalid, "Invalid group_id: no group has the zero id")
		}
	}
	if r.AppKey != nil && *r.AppKey != "" {
		if g.AppKey, err = store.ParseGroupID(*r.AppKey); err != nil || g.AppKey == (id.ID{}) {
			return g, fault.Wrap(err, fault.Invalid, "Invalid appKey: expected hex-encoded 32 bytes that are not all zero")
		}
	}
	for _, name := range []*string{r.Name, r.Alias, r.GroupName, r.GroupAlias} {
		if g.Name == "" {
			g.Name = deref(name)
		}
	}
	if g.UpgradePolicy, err = upgradePolicy(r.UpgradePolicy); err != nil {
		return g, err
	}
	return g, checkLengths(map[string]int{"name": len(g.Name) - maxLabel})
}

func upgradePolicy(v any) (string, error) {
	if object, ok := v.(map[string]any); ok && len(object) == 1 {
		for word := range object {
			v = word
		}
	}
	switch v {
	case nil:
		return "", nil
	case "Automatic", "LazyOnAccess", "Coordinated":
		word, _ := v.(string)
		return word, nil
	}
	return "", fault.New(fault.Invalid, "upgradePolicy is Automatic, LazyOnAccess or Coordinated")
}

// made makes a group from the body and answers with its id under a name.
func (a *API) made(c *call) (id.ID, error) {
	var r createGroup
	if err := readJSON(c, maxBody, &r); err != nil {
		return id.ID{}, err
	}
	g, err := r.group()
	if err != nil {
		return id.ID{}, err
	}
	if !caller.From(c.ctx()).MayUse(g.Application) {
		return id.ID{}, caller.Denied()
	}
	return a.Groups.Create(c.ctx(), g)
}

func (a *API) createNamespace(c *call) error {
	g, err := a.made(c)
	if err != nil {
		return err
	}
	return data(c, struct {
		ID string `json:"namespaceId"`
	}{group.Format(g)})
}

func (a *API) createGroup(c *call) error {
	g, err := a.made(c)
	if err != nil {
		return err
	}
	return data(c, struct {
		ID string `json:"groupId"`
	}{group.Format(g)})
}

// namespaceEntry has exactly the keys that clients declare.
type namespaceEntry struct {
	ID            string `json:"namespaceId"`
	AppKey        string `json:"appKey"`
	Application   id.ID  `json:"targetApplicationId"`
	Created       int64  `json:"createdAt"`
	Members       int    `json:"memberCount"`
	Contexts      int    `json:"contextCount"`
	Subgroups     int    `json:"subgroupCount"`
	Name          string `json:"name,omitempty"`
	AppVersion    string `json:"appVersion,omitempty"`
	UpgradePolicy string `json:"upgradePolicy,omitempty"`
}

func namespaceOf(s group.Summary) namespaceEntry {
	return namespaceEntry{
		ID: group.Format(s.ID), AppKey: hex.EncodeToString(s.AppKey[:]), Application: s.Application, Created: s.Created, Members: s.Members,
		Contexts: s.Contexts, Name: s.Name, AppVersion: s.AppVersion, UpgradePolicy: s.UpgradePolicy,
	}
}

func (a *API) listNamespaces(c *call) error {
	return a.namespaces(c, func(store.Group) bool { return true })
}

func (a *API) listNamespacesOf(c *call) error {
	application, err := parseID(c.param("application_id"), "application id")
	if err != nil {
		return err
	}
	return a.namespaces(c, func(g store.Group) bool { return g.Application == application })
}

func (a *API) namespaces(c *call, keep func(store.Group) bool) error {
	list, err := a.Groups.List(c.ctx(), func(g store.Group) bool {
		return keep(g) && visibleTo(c, listNamespace, group.Format(g.ID), g.Application)
	})
	if err != nil {
		return err
	}
	entries := make([]namespaceEntry, len(list))
	for i, s := range list {
		entries[i] = namespaceOf(s)
	}
	return data(c, entries)
}

// group reads the group that a parameter of the path names, if the caller's bindings leave its application in reach.
func (a *API) group(c *call, param string) (group.Summary, error) {
	g, err := group.Parse(c.param(param))
	if err != nil {
		return group.Summary{}, err
	}
	s, err := a.Groups.Get(c.ctx(), g)
	if err == nil && !caller.From(c.ctx()).MayUse(s.Application) {
		return group.Summary{}, caller.Denied()
	}
	return s, err
}

func (a *API) getNamespace(c *call) error {
	s, err := a.group(c, "namespace_id")
	if err != nil {
		return err
	}
	return data(c, namespaceOf(s))
}

func (a *API) namespaceIdentity(c *call) error {
	s, err := a.group(c, "namespace_id")
	if err != nil {
		return err
	}
	key, err := a.Groups.Account(c.ctx())
	if err != nil {
		return err
	}
	return data(c, struct {
		ID  string `json:"namespaceId"`
		Key id.ID  `json:"publicKey"`
	}{group.Format(s.ID), key})
}

// deleteGroup removes a group without contexts. Clients of some generations send a body with a requester.
func (a *API) deleteGroup(param string) handler {
	return func(c *call) error {
		if err := emptyBody(c); err != nil {
			return err
		}
		s, err := a.group(c, param)
		if err != nil {
			return err
		}
		if err := a.Groups.Delete(c.ctx(), s.ID); err != nil {
			return err
		}
		return data(c, deleted{true})
	}
}

type groupEntry struct {
	ID            string `json:"groupId"`
	AppKey        string `json:"appKey"`
	Application   id.ID  `json:"targetApplicationId"`
	UpgradePolicy string `json:"upgradePolicy"`
	Created       int64  `json:"createdAt"`
	Alias         string `json:"alias,omitempty"`
	Name          string `json:"name,omitempty"`
}

// policyOf returns the policy of a group, with that of the reference where none was chosen: older clients need one.
func policyOf(g store.Group) string {
	if g.UpgradePolicy == "" {
		return "LazyOnAccess"
	}
	return g.UpgradePolicy
}

func (a *API) listGroups(c *call) error {
	from, count, err := page(c)
	if err != nil {
		return err
	}
	list, err := a.Groups.List(c.ctx(), func(g store.Group) bool {
		return visibleTo(c, listGroup, group.Format(g.ID), g.Application)
	})
	if err != nil {
		return err
	}
	list = list[min(from, len(list)):]
	entries := []groupEntry{}
	for _, s := range list[:min(count, len(list))] {
		entries = append(entries, groupEntry{
			group.Format(s.ID), hex.EncodeToString(s.AppKey[:]), s.Application, policyOf(s.Group), s.Created, s.Name, s.Name,
		})
	}
	return data(c, entries)
}

// maxPage is how many elements a list has at most, where it has pages.
const maxPage = 1000

// page reads offset and limit of the query.
func page(c *call) (offset, limit int, err error) {
	limit = maxPage
	query := c.Request().URL.Query()
	for name, v := range map[string]*int{"offset": &offset, "limit": &limit} {
		if text := query.Get(name); text != "" {
			if *v, err = strconv.Atoi(text); err != nil || *v < 0 {
				return 0, 0, fault.New(fault.Invalid, name+" is not a number that can be")
			}
		}
	}
	return offset, min(limit, maxPage), nil
}

// groupInfo is the union of the keys of two generations.
type groupInfo struct {
	ID                  string    `json:"groupId"`
	AppKey              string    `json:"appKey"`
	Application         id.ID     `json:"targetApplicationId"`
	Members             int       `json:"memberCount"`
	Contexts            int       `json:"contextCount"`
	DefaultCapabilities uint32    `json:"defaultCapabilities"`
	UpgradePolicy       string    `json:"upgradePolicy"`
	DefaultVisibility   string    `json:"defaultVisibility"`
	SubgroupVisibility  string    `json:"subgroupVisibility"`
	Alias               string    `json:"alias,omitempty"`
	StateHash           string    `json:"groupStateHash"`
	ActiveUpgrade       *struct{} `json:"activeUpgrade"`
}

func (a *API) getGroup(c *call) error {
	s, err := a.group(c, "group_id")
	if err != nil {
		return err
	}
	members, _, err := a.Groups.Members(c.ctx(), s.ID)
	if err != nil {
		return err
	}
	return data(c, groupInfo{
		ID: group.Format(s.ID), AppKey: hex.EncodeToString(s.AppKey[:]), Application: s.Application, Members: s.Members, Contexts: s.Contexts,
		DefaultCapabilities: group.DefaultCapabilities, UpgradePolicy: policyOf(s.Group), DefaultVisibility: "restricted",
		SubgroupVisibility: "restricted", Alias: s.Name, StateHash: group.StateHash(s, members),
	})
}

type memberEntry struct {
	Identity string `json:"identity"`
	Role     string `json:"role"`
	Name     string `json:"name,omitempty"`
}

// listMembers answers in the forms of two generations: "members" names accounts, "data" keys.
func (a *API) listMembers(c *call) error {
	from, count, err := page(c)
	if err != nil {
		return err
	}
	s, err := a.group(c, "group_id")
	if err != nil {
		return err
	}
	members, self, err := a.Groups.Members(c.ctx(), s.ID)
	if err != nil {
		return err
	}
	members = members[min(from, len(members)):]
	answer := struct {
		Members []memberEntry `json:"members"`
		Data    []memberEntry `json:"data"`
		Self    id.ID         `json:"selfIdentity"`
	}{[]memberEntry{}, []memberEntry{}, self}
	for _, m := range members[:min(count, len(members))] {
		answer.Members = append(answer.Members, memberEntry{group.AccountID(m.Key), m.Role, m.Name})
		answer.Data = append(answer.Data, memberEntry{m.Key.String(), m.Role, m.Name})
	}
	return c.ok(answer)
}

// nodeIdentity is the account with which this node is a member of groups.
func (a *API) nodeIdentity(c *call) error {
	key, err := a.Groups.Account(c.ctx())
	if errors.Is(err, store.ErrNotFound) {
		return fault.Wrap(err, fault.NotFound, "the node has no identity before its first namespace")
	}
	if err != nil {
		return err
	}
	return data(c, struct {
		Account string  `json:"accountId"`
		Device  *string `json:"deviceId"`
		Key     id.ID   `json:"publicKey"`
		Root    string  `json:"accountRootPublicKey"`
	}{group.AccountID(key), nil, key, hex.EncodeToString(key[:])})
}
