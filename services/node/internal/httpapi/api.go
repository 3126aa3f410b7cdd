// Package httpapi is the node's HTTP surface: it decodes requests, calls the packages that do the work, and encodes
// what they return. It is the only importer of echo.
//
// Routes come from the shared table: New registers a handler for every row, by the row's operation, so that a route
// without a row cannot exist and a row without a handler answers 501. Every request passes, in this order: request
// id, access log and metrics; the panic guard; the progress deadlines; the guard, which decides whether a handler is
// reached and as whom (package guard).
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/alias"
	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/certificate"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/event"
	"github.com/calimero-network/mero-go/services/node/internal/group"
	"github.com/calimero-network/mero-go/services/node/internal/guard"
	"github.com/calimero-network/mero-go/services/node/internal/health"
	"github.com/calimero-network/mero-go/services/node/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/node/internal/metrics"
	"github.com/calimero-network/mero-go/services/node/internal/store"
	"github.com/calimero-network/mero-go/services/node/internal/stream"
)

// MaxHeader is the limit of a request's head in bytes: large enough that tokens and targets that are too long (8 KiB)
// are refused with a reason, as mero-auth does.
const MaxHeader = 128 << 10

// BlobHeaders are the headers of blob downloads, which scripts of other origins may read.
var BlobHeaders = []string{
	"X-Blob-ID", "X-Blob-Hash", "X-Blob-MIME-Type", "ETag", "Content-Length", "Content-Range", "Accept-Ranges",
}

// API holds what the handlers use. Its fields are set before New is called.
type API struct {
	Table  *route.Table
	Server config.Server // which surfaces are on
	Guard  *guard.Guard
	Auth   http.Handler // serves /auth and /admin in auth mode embedded; else nil
	CORS   *cors.Rules
	Store  *store.Store
	Blobs  *blob.Store

	Contexts *contexts.Manager
	Groups   *group.Service
	Aliases  *alias.Service
	RPC      *jsonrpc.Handler

	Apps    *application.Service
	Events  *event.Bus
	Streams *stream.Hub
	// Certificate is nil if the listener does not speak TLS.
	Certificate *certificate.Files
	Node        Node
	Health      *health.Node
	Metrics     *metrics.Metrics
	Now         func() time.Time
	Log         *slog.Logger
}

// handler serves one operation. What it returns is written by [API.fail].
type handler func(c *call) error

// call is a request that the guard let through.
type call struct {
	echo.Context
	match route.Match
}

// param returns a parameter of the route's pattern.
func (c *call) param(name string) string { return c.match.Param(name) }

// ctx returns the request's context, which carries the caller.
func (c *call) ctx() context.Context { return c.Request().Context() }

// ok answers 200 with a value.
func (c *call) ok(v any) error { return c.JSON(http.StatusOK, v) }

// envelope is the form of most answers.
type envelope[T any] struct {
	Data T `json:"data"`
}

// data answers 200 with a value in the envelope.
func data[T any](c *call, v T) error { return c.ok(envelope[T]{v}) }

// New returns the handler of the node's main listener. It refuses operations that no row has.
func (a *API) New() (http.Handler, error) {
	e := echo.New()
	e.Logger.SetOutput(io.Discard) // nothing logs through echo
	e.HTTPErrorHandler = func(err error, c echo.Context) { a.fail(c, err) }
	e.Use(a.observe, a.recover, a.progress, a.guard)
	if err := a.register(e); err != nil {
		return nil, err
	}
	handler := a.beside(e)
	if prefix := a.Server.PathPrefix; prefix != "" {
		handler = a.below(prefix, handler)
	}
	return closeAfterChunks(handler), nil
}

// beside serves mero-auth's paths beside those of the node.
func (a *API) beside(node http.Handler) http.Handler {
	if a.Auth == nil {
		return node
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !toAuth(r.RequestURI) {
			node.ServeHTTP(w, r)
			return
		}
		guard.DropIdentity(r.Header)
		if a.Server.PathPrefix != "" {
			w = prefixed{w, a.Server.PathPrefix}
		}
		a.Auth.ServeHTTP(w, r)
	})
}

// toAuth reports whether a raw target is for mero-auth. It goes by the bytes that arrived: what only looks like
// such a path when it is decoded goes to the guard, which refuses it.
func toAuth(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	for _, own := range []string{"/auth", "/admin"} {
		if rest, ok := strings.CutPrefix(path, own); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// closeAfterChunks ends the connection after a request whose body came in chunks. With a Content-Length beside them the
// next request on the connection may be smuggled (RFC 9112 section 6.1), and net/http hides whether there was one.
func closeAfterChunks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 {
			w.Header().Set(echo.HeaderConnection, "close")
		}
		next.ServeHTTP(w, r)
	})
}

// MetricsOnly returns the handler of the metrics listener.
func (a *API) MetricsOnly() http.Handler {
	scrape := a.Metrics.Handler(a.Log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
			http.NotFound(w, r)
			return
		}
		scrape.ServeHTTP(w, r)
	})
}

// register gives every row of an enabled surface its handler.
func (a *API) register(e *echo.Echo) error {
	handlers := a.handlers()
	used := map[string]bool{}
	for row := range a.Table.All() {
		h, ok := handlers[row.Op]
		used[row.Op] = true
		if !ok {
			h = notImplemented
		}
		if !a.enabled(row.Pattern) {
			continue
		}
		e.Add(row.Method, echoPattern(row.Pattern), a.serve(row, h))
		if row.Method == http.MethodGet {
			e.Add(http.MethodHead, echoPattern(row.Pattern), a.serve(row, h))
		}
	}
	var errs []error
	for op := range handlers {
		if !used[op] {
			errs = append(errs, fmt.Errorf("operation %q has a handler and no route", op))
		}
	}
	return errors.Join(errs...)
}

// serve runs a row's handler if the guard judged the request by the same row. The two matchers never differ on a
// canonical path (a test compares them); if they did, the requirement of one route would open another.
func (a *API) serve(row *route.Row, h handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		match := recordOf(c).match
		if match.Row != row {
			return fmt.Errorf("the router chose %s, the guard %v", row, match.Row)
		}
		return h(&call{Context: c, match: match})
	}
}

// enabled reports whether the configuration switches the surface of a route on.
func (a *API) enabled(pattern string) bool {
	switch first, _, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/"); first {
	case "jsonrpc":
		return a.Server.JSONRPC.Enabled
	case "ws":
		return a.Server.WebSocket.Enabled
	case "sse":
		return a.Server.SSE.Enabled
	case "metrics":
		return true
	default:
		return a.Server.Admin.Enabled
	}
}

// echoPattern turns {name} into :name and {name...} into *.
func echoPattern(pattern string) string {
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		name, ok := strings.CutPrefix(s, "{")
		switch {
		case !ok:
		case strings.HasSuffix(name, "...}"):
			segments[i] = "*"
		default:
			segments[i] = ":" + strings.TrimSuffix(name, "}")
		}
	}
	return strings.Join(segments, "/")
}

func notImplemented(c *call) error {
	return fault.New(fault.NotImplemented, c.match.Row.String()+" is not part of this build")
}

// handlers maps operations of the table to what serves them. A new operation adds one line.
func (a *API) handlers() map[string]handler {
	return map[string]handler{
		"dashboard.root":     redirect(http.StatusFound, a.Server.PathPrefix+"/admin-dashboard/"),
		"dashboard.redirect": redirect(http.StatusMovedPermanently, a.Server.PathPrefix+"/admin-dashboard/"),

		"node.health":      a.alive,
		"node.ready":       a.ready,
		"node.is-authed":   a.isAuthed,
		"node.certificate": a.certificate,
		"node.info":        a.nodeInfo,
		"node.peers":       a.peers,
		"node.network":     a.networkStatus,
		"node.usage":       a.usage,
		"node.metrics":     a.scrape,

		"stream.websocket":    a.webSocket,
		"stream.events":       a.serverEvents,
		"stream.subscription": a.subscription,
		"stream.session":      a.session,

		"applications.list":              a.listApplications,
		"applications.get":               a.getApplication,
		"applications.versions":          a.applicationVersions,
		"applications.abi":               a.applicationABI,
		"applications.install":           a.installURL,
		"applications.install-dev":       a.installPath,
		"applications.install-dev-url":   a.installURL,
		"applications.uninstall":         a.uninstall,
		"applications.uninstall-by-body": a.uninstallByBody,
		"packages.list":                  a.listPackages,
		"packages.versions":              a.packageVersions,
		"packages.latest":                a.latestVersion,

		"blobs.put":      a.putBlob,
		"blobs.add-file": a.addBlobFile,
		"blobs.add-url":  a.addBlobURL,
		"blobs.list":     a.listBlobs,
		"blobs.get":      a.getBlob,
		"blobs.info":     a.blobInfo,
		"blobs.delete":   a.deleteBlob,

		"contexts.list":                a.listContexts,
		"contexts.create":              a.createContext,
		"contexts.for-application":     a.listContextsOf,
		"contexts.executors":           a.listExecutors,
		"contexts.get":                 a.getContext,
		"contexts.delete":              a.deleteContext,
		"contexts.identities":          a.identities(false),
		"contexts.identities-owned":    a.identities(true),
		"contexts.storage":             a.contextStorage,
		"contexts.group":               a.contextGroup,
		"contexts.client-keys":         a.clientKeys,
		"contexts.update":              a.updateContext,
		"contexts.capabilities.grant":  a.changeCapabilities(false),
		"contexts.capabilities.revoke": a.changeCapabilities(true),
		"contexts.sync-all":            a.syncAll,
		"contexts.sync":                a.syncContext,
		"contexts.resync":              a.resyncContext,
		"contexts.new-identity":        a.newIdentity,

		"aliases.create-context":     a.createAlias(alias.Context),
		"aliases.create-application": a.createAlias(alias.Application),
		"aliases.create-identity":    a.createAlias(alias.Identity),
		"aliases.lookup-context":     a.lookupAlias(alias.Context),
		"aliases.lookup-application": a.lookupAlias(alias.Application),
		"aliases.lookup-identity":    a.lookupAlias(alias.Identity),
		"aliases.delete-context":     a.deleteAlias(alias.Context),
		"aliases.delete-application": a.deleteAlias(alias.Application),
		"aliases.delete-identity":    a.deleteAlias(alias.Identity),
		"aliases.list-contexts":      a.listAliases(alias.Context),
		"aliases.list-applications":  a.listAliases(alias.Application),
		"aliases.list-identities":    a.listAliases(alias.Identity),

		"namespaces.list":            a.listNamespaces,
		"namespaces.create":          a.createNamespace,
		"namespaces.for-application": a.listNamespacesOf,
		"namespaces.get":             a.getNamespace,
		"namespaces.delete":          a.deleteGroup("namespace_id"),
		"namespaces.identity":        a.namespaceIdentity,
		"groups.list":                a.listGroups,
		"groups.create":              a.createGroup,
		"groups.get":                 a.getGroup,
		"groups.delete":              a.deleteGroup("group_id"),
		"groups.members.list":        a.listMembers,
		"node.identity":              a.nodeIdentity,

		"rpc.execute": a.rpc,
	}
}
