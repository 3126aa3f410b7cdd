package httpapi

import (
	"maps"
	"slices"

	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/bundle"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
)

// flat answers with members at the top level, where the reference has them, and once more in the envelope, where some
// clients look for them.
func flat[T any](c *call, members map[string]T) error {
	out := map[string]any{"data": members}
	for name, v := range members {
		out[name] = v
	}
	return c.ok(out)
}

// installed returns the versions of applications with a package that the caller's bindings leave in reach.
func (a *API) installed(c *call) ([]application.Application, error) {
	all, err := a.Apps.Inventory(c.ctx())
	if err != nil {
		return nil, err
	}
	who := caller.From(c.ctx())
	return slices.DeleteFunc(all, func(app application.Application) bool { return app.Package == "" || !who.MayUse(app.ID) }), nil
}

func (a *API) listPackages(c *call) error {
	all, err := a.installed(c)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, app := range all {
		names[app.Package] = true
	}
	return flat(c, map[string][]string{"packages": slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(names))))})
}

// packageVersions lists the versions of a package in rising order, those of all its signers.
func (a *API) packageVersions(c *call) error {
	all, err := a.installed(c)
	if err != nil {
		return err
	}
	versions := []string{}
	for _, app := range all {
		if app.Package == c.param("package") && !slices.Contains(versions, app.Version) {
			versions = append(versions, app.Version)
		}
	}
	slices.SortFunc(versions, bundle.CompareVersions)
	return flat(c, map[string][]string{"versions": versions})
}

// latestVersion answers with the highest version of a package, and nulls if there is none. Of two signers with the same
// version the one that was installed first counts, so that nobody takes the place by repeating a version.
func (a *API) latestVersion(c *call) error {
	all, err := a.installed(c)
	if err != nil {
		return err
	}
	var best *application.Application
	for i := range all {
		app := &all[i]
		if app.Package != c.param("package") {
			continue
		}
		if best == nil || higher(app, best) {
			best = app
		}
	}
	answer := map[string]any{"applicationId": nil, "version": nil}
	if best != nil {
		answer["applicationId"], answer["version"] = best.ID, best.Version
	}
	return flat(c, answer)
}

func higher(a, b *application.Application) bool {
	if order := bundle.CompareVersions(a.Version, b.Version); order != 0 {
		return order > 0
	}
	return a.Installed.Before(b.Installed)
}
