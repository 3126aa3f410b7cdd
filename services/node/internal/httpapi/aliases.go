package httpapi

import (
	"github.com/calimero-network/mero-go/services/node/internal/alias"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// scopeOf returns the context that the path of an identity's alias names; the zero id for the other kinds.
func scopeOf(c *call, kind alias.Kind) (id.ID, error) {
	if kind != alias.Identity {
		return id.ID{}, nil
	}
	return parseID(c.param("context_id"), "context id")
}

func (a *API) createAlias(kind alias.Kind) handler {
	return func(c *call) error {
		scope, err := scopeOf(c, kind)
		if err != nil {
			return err
		}
		var r struct {
			Alias       string `json:"alias"`
			Context     string `json:"contextId"`
			Application string `json:"applicationId"`
			Identity    string `json:"identity"`
		}
		if err := readJSON(c, maxBody, &r); err != nil {
			return err
		}
		text, what := r.Context, "context id"
		switch kind {
		case alias.Application:
			text, what = r.Application, "application id"
		case alias.Identity:
			text, what = r.Identity, "identity"
		}
		target, err := parseID(text, what)
		if err != nil {
			return err
		}
		if err := a.Aliases.Create(c.ctx(), kind, scope, r.Alias, target); err != nil {
			return err
		}
		return data[*string](c, nil)
	}
}

func (a *API) lookupAlias(kind alias.Kind) handler {
	return func(c *call) error {
		scope, err := scopeOf(c, kind)
		if err != nil {
			return err
		}
		if err := emptyBody(c); err != nil {
			return err
		}
		target, err := a.Aliases.Lookup(c.ctx(), kind, scope, c.param("name"))
		if err != nil {
			return err
		}
		return data(c, struct {
			Value *id.ID `json:"value"`
		}{target})
	}
}

func (a *API) deleteAlias(kind alias.Kind) handler {
	return func(c *call) error {
		scope, err := scopeOf(c, kind)
		if err != nil {
			return err
		}
		if err := emptyBody(c); err != nil {
			return err
		}
		if err := a.Aliases.Delete(c.ctx(), kind, scope, c.param("name")); err != nil {
			return err
		}
		return data[*string](c, nil)
	}
}

func (a *API) listAliases(kind alias.Kind) handler {
	return func(c *call) error {
		scope, err := scopeOf(c, kind)
		if err != nil {
			return err
		}
		names, err := a.Aliases.List(c.ctx(), kind, scope)
		if err != nil {
			return err
		}
		return data(c, names)
	}
}
