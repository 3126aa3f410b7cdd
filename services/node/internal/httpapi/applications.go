package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/bundle"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/fetch"
	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// The longest texts of an installation in bytes.
const (
	maxMetadata = 64 << 10
	maxPackage  = 128
	maxVersion  = 64
	maxPath     = 4096
)

// applicationEntry has exactly the keys that clients declare for an application.
type applicationEntry struct {
	ID       id.ID           `json:"id"`
	Blob     applicationBlob `json:"blob"`
	Size     int64           `json:"size"`
	Source   string          `json:"source"`
	Metadata []int           `json:"metadata"`
	SignerID string          `json:"signer_id,omitempty"`
	Package  string          `json:"package,omitempty"`
	Version  string          `json:"version,omitempty"`
	Services []string        `json:"services,omitempty"`
}

// applicationBlob names what was installed. Compiled modules are no blobs here, so their id is zero.
type applicationBlob struct {
	Bytecode id.ID `json:"bytecode"`
	Compiled id.ID `json:"compiled"`
}

func applicationOf(a application.Application) applicationEntry {
	e := applicationEntry{
		ID: a.ID, Blob: applicationBlob{Bytecode: a.Blob}, Size: a.Size, Source: a.Source, Metadata: make([]int, len(a.Metadata)),
		SignerID: a.SignerID, Package: a.Package, Version: a.Version,
	}
	for i, b := range a.Metadata {
		e.Metadata[i] = int(b)
	}
	for _, s := range a.Services {
		e.Services = append(e.Services, s.Name)
	}
	return e
}

type applicationID struct {
	ID id.ID `json:"applicationId"`
}

// installRequest is what clients of all generations send. Package and version are the bundle's own to say.
type installRequest struct {
	URL      string  `json:"url"`
	Path     string  `json:"path"`
	Hash     *string `json:"hash"`
	Metadata numbers `json:"metadata"`
	Package  *string `json:"package"`
	Version  *string `json:"version"`
}

// readInstall reads and checks the body of an installation. required is the member that must be there.
func readInstall(c *call, required string) (installRequest, application.Options, error) {
	var r installRequest
	if err := readJSON(c, maxBody, &r); err != nil {
		return r, application.Options{}, err
	}
	var problems []string
	check := func(bad bool, problem string) {
		if bad {
			problems = append(problems, problem)
		}
	}
	check(required == "url" && r.URL == "", "url is required")
	check(required == "path" && r.Path == "", "path is required")
	check(len(r.URL) > fetch.MaxURL, "url must not be longer than 2048 bytes")
	check(len(r.Path) > maxPath, "path must not be longer than 4096 bytes")
	check(len(r.Metadata) > maxMetadata, "metadata must not be longer than 65536 bytes")
	check(r.Package != nil && len(*r.Package) > maxPackage, "package must not be longer than 128 bytes")
	check(r.Version != nil && len(*r.Version) > maxVersion, "version must not be longer than 64 bytes")
	switch len(problems) {
	case 0:
	case 1:
		return r, application.Options{}, fault.New(fault.Invalid, problems[0])
	default:
		return r, application.Options{}, fault.New(fault.Invalid, "Validation errors: "+strings.Join(problems, "; "))
	}
	who := caller.From(c.ctx())
	o := application.Options{Metadata: r.Metadata, Permit: func(app id.ID) error {
		if !who.MayUse(app) {
			return caller.Denied()
		}
		return nil
	}}
	if r.Hash != nil && *r.Hash != "" {
		hash, err := parseID(*r.Hash, "hash")
		if err != nil {
			return r, application.Options{}, err
		}
		o.Hash = &hash
	}
	return r, o, nil
}

func (a *API) installURL(c *call) error {
	r, options, err := readInstall(c, "url")
	if err != nil {
		return err
	}
	app, err := a.Apps.InstallURL(c.ctx(), r.URL, options)
	if err != nil {
		return applicationFault(err)
	}
	return data(c, applicationID{app.ID})
}

func (a *API) installPath(c *call) error {
	r, options, err := readInstall(c, "path")
	if err != nil {
		return err
	}
	app, err := a.Apps.InstallPath(c.ctx(), r.Path, options)
	if err != nil {
		return applicationFault(err)
	}
	return data(c, applicationID{app.ID})
}

// listApplications answers with the applications that the caller's bindings leave in reach.
func (a *API) listApplications(c *call) error {
	all, err := a.Apps.List(c.ctx())
	if err != nil {
		return err
	}
	who := caller.From(c.ctx())
	entries := []applicationEntry{}
	for _, app := range all {
		if who.MayUse(app.ID) {
			entries = append(entries, applicationOf(app))
		}
	}
	return data(c, struct {
		Apps []applicationEntry `json:"apps"`
	}{entries})
}

// applicationParam reads the id in the path and refuses what a binding puts out of the caller's reach.
func applicationParam(c *call) (id.ID, error) {
	app, err := parseID(c.param("application_id"), "application id")
	if err == nil && !caller.From(c.ctx()).MayUse(app) {
		err = caller.Denied()
	}
	return app, err
}

// getApplication answers null, not 404, for an application that is not there.
func (a *API) getApplication(c *call) error {
	appID, err := applicationParam(c)
	if err != nil {
		return err
	}
	var answer struct {
		Application *applicationEntry `json:"application"`
	}
	switch app, err := a.Apps.Get(c.ctx(), appID); {
	case err == nil:
		entry := applicationOf(app)
		answer.Application = &entry
	case !errors.Is(err, application.ErrNotFound):
		return err
	}
	return data(c, answer)
}

type versionEntry struct {
	Version string `json:"version"`
	Blob    id.ID  `json:"blobId"`
	Size    int64  `json:"size"`
	Package string `json:"package"`
}

func (a *API) applicationVersions(c *call) error {
	appID, err := applicationParam(c)
	if err != nil {
		return err
	}
	all, err := a.Apps.Versions(c.ctx(), appID)
	if err != nil {
		return applicationFault(err)
	}
	entries := make([]versionEntry, len(all))
	for i, v := range all {
		entries[i] = versionEntry{v.Version, v.Blob, v.Size, v.Package}
	}
	return data(c, entries)
}

func (a *API) applicationABI(c *call) error {
	appID, err := applicationParam(c)
	if err != nil {
		return err
	}
	query, err := queryValues(c)
	if err != nil {
		return err
	}
	text, err := a.Apps.ABI(c.ctx(), appID, query.Get("service_name"))
	if err != nil {
		return applicationFault(err)
	}
	return data(c, json.RawMessage(text))
}

func (a *API) uninstall(c *call) error {
	appID, err := applicationParam(c)
	if err != nil {
		return err
	}
	if err := readOptional(c, &struct{}{}); err != nil { // some clients send an empty object
		return err
	}
	return a.remove(c, appID)
}

var uninstallApplication = permission.MustParse("application:uninstall")

func (a *API) uninstallByBody(c *call) error {
	var r struct {
		ID string `json:"applicationId"`
	}
	if err := readJSON(c, maxBody, &r); err != nil {
		return err
	}
	appID, err := parseID(r.ID, "application id")
	if err != nil {
		return err
	}
	if who := caller.From(c.ctx()); !who.MayUse(appID) || !who.MayOn(uninstallApplication, appID.String()) {
		return caller.Denied()
	}
	return a.remove(c, appID)
}

func (a *API) remove(c *call, appID id.ID) error {
	if err := a.Apps.Uninstall(c.ctx(), appID); err != nil {
		return applicationFault(err)
	}
	return data(c, applicationID{appID})
}

// applicationErrors is the one table from what an operation on applications can return to the class of failure. The
// texts of these errors are made for those who ask.
var applicationErrors = map[fault.Code][]error{
	fault.NotFound:    {application.ErrNotFound},
	fault.Conflict:    {application.ErrInUse},
	fault.Unavailable: {fetch.ErrDownload},
	fault.Invalid: {
		application.ErrNoService, application.ErrNoABI, application.ErrFormat, application.ErrTooLarge, application.ErrPath, application.ErrNoFile,
		fetch.ErrURL, fetch.ErrRefused, fetch.ErrTooLarge,
		bundle.ErrArchive, bundle.ErrTooLarge, bundle.ErrManifest, bundle.ErrSignature, bundle.ErrArtifact, bundle.ErrRuntime, bundle.ErrModule,
	},
}

func applicationFault(err error) error {
	if errors.Is(err, context.Canceled) {
		return err // nobody waits for the answer
	}
	if status, ok := errors.AsType[fetch.StatusError](err); ok {
		return fault.Wrap(err, fault.Unavailable, status.Error())
	}
	for code, targets := range applicationErrors {
		for _, target := range targets {
			if !errors.Is(err, target) {
				continue
			}
			// What went wrong with a network or a connection is for the log.
			if code != fault.Invalid || errors.Is(err, blob.ErrContent) {
				return fault.Wrap(err, code, target.Error())
			}
			return fault.Wrap(err, code, err.Error())
		}
	}
	if errors.Is(err, blob.ErrContent) {
		return err
	}
	return blobFault(err)
}
