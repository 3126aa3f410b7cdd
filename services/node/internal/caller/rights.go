package caller

import (
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

var (
	execute       = permission.MustParse("context:execute")
	subscribe     = permission.MustParse("context:subscribe")
	listGroup     = permission.MustParse("group:list")
	listNamespace = permission.MustParse("namespace:list")
)

// Denied is the refusal of a known caller: 403 with X-Auth-Error permission_denied. It says nothing about the object.
func Denied() error {
	return fault.New(fault.Forbidden, "permission denied").Because(identity.PermissionDenied)
}

// May reports whether the caller holds an action that names no object, for all objects: application:install,
// blob:list.
func (c Caller) May(action permission.Permission) bool { return c.Permissions.Allows(action) }

// MayOn is May for one object, as it is written in permissions: a context or blob in base58, a group in hex.
func (c Caller) MayOn(action permission.Permission, object string) bool {
	return c.Permissions.Allows(action.On(object))
}

// MayUse reports whether the application bindings leave the contexts of an application in reach.
func (c Caller) MayUse(application id.ID) bool {
	return c.Permissions.AllowsApplication(application.String())
}

// MayIn reports whether the caller may do what action stands for in a context of an application. action has no
// fields yet (context:read); bindings to contexts, identities and applications narrow it.
func (c Caller) MayIn(action permission.Permission, context, application id.ID) bool {
	return c.MayUse(application) && c.MayOn(action, context.String())
}

// MayInAs is MayIn for an action that is done as an identity (context:leave, context:execute for all methods).
func (c Caller) MayInAs(action permission.Permission, context, application, identity id.ID) bool {
	return c.MayUse(application) && c.Permissions.Allows(action.On(context.String()).As(identity.String()))
}

// MaySubscribe reports whether the caller may receive the events of a context.
func (c Caller) MaySubscribe(context, application id.ID) bool {
	return c.MayIn(subscribe, context, application)
}

// MaySubscribeGroup reports whether the caller may receive the events of a group or namespace, named in hex.
func (c Caller) MaySubscribeGroup(group string) bool {
	return c.MayOn(listGroup, group) || c.MayOn(listNamespace, group)
}

// MayExecute reports whether the caller may call one method of a context as an identity.
func (c Caller) MayExecute(context, application, identity id.ID, method string) bool {
	return c.MayUse(application) && c.Permissions.Allows(calling(context, method).As(identity.String()))
}

// Executors returns as whom the caller may call a method of a context: as anybody, or as the listed identities,
// which are in a fixed order. Neither means that the caller may not call it.
func (c Caller) Executors(context, application id.ID, method string) (identities []id.ID, anybody bool) {
	if !c.MayUse(application) {
		return nil, false
	}
	names, anybody := c.Permissions.Identities(calling(context, method))
	for _, name := range names {
		if i, err := id.Parse(name); err == nil { // permissions may name what is no key of a node
			identities = append(identities, i)
		}
	}
	return identities, anybody
}

// calling is the requirement for a method. A name that no permission can hold, because it is longer than an id or
// has other bytes, is left to those who may call every method.
func calling(context id.ID, method string) permission.Permission {
	all := execute.On(context.String())
	if one := all.Calling(method); one != (permission.Permission{}) {
		return one
	}
	return all
}

// MayBe reports whether the context bindings leave it to the caller to act as an identity in a context. It grants
// nothing.
func (c Caller) MayBe(context, identity id.ID) bool {
	return c.Permissions.Reaches(context.String(), identity.String())
}

// MayReach reports whether the context bindings leave a context in reach. It grants nothing.
func (c Caller) MayReach(context id.ID) bool { return c.Permissions.Reaches(context.String(), "") }
