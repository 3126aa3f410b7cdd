package httpapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
)

// handlers names the handler of each operation of the route table. gate.validate is answered before the table is asked,
// see validate.go.
func (s *server) handlers() map[string]echo.HandlerFunc {
	return map[string]echo.HandlerFunc{
		"login.page":      s.loginPage,
		"login.callback":  s.callback,
		"login.asset":     noFile,
		"login.favicon":   noFile,
		"login.challenge": s.challenge,
		"login.providers": s.providers,
		"token.issue":     s.token,
		"token.refresh":   s.refresh,
		"token.mock":      s.mock,
		"token.revoke":    s.revoke,

		"gate.validate":    s.validateRow,
		"service.health":   s.health,
		"service.openapi":  s.openapi,
		"service.identity": s.identity,
		"service.jwks":     s.jwks,
		"admin.identity":   s.identity,
		"admin.redirect":   s.dashboard,
		"admin.metrics":    s.totals,
		"admin.audit":      s.auditPage,

		"keys.list":      s.listRoots,
		"keys.create":    s.createRoot,
		"keys.delete":    s.deleteRoot,
		"keys.change":    s.updateKey,
		"clients.list":   s.listClients,
		"clients.create": s.createClient,
		"clients.delete": s.deleteClient,

		"keys.permissions.get":    s.getPermissions,
		"keys.permissions.change": s.changePermissions,

		"sessions.list":   s.listSessions,
		"sessions.delete": s.endSession,
	}
}

// bindOps pairs every operation of the table with its handler. One without the other is a programming error that stops
// the start.
func (s *server) bindOps() error {
	unused := s.handlers()
	s.ops = make(map[string]echo.HandlerFunc)
	for row := range route.Auth.All() {
		h, found := s.ops[row.Op]
		if !found {
			if h = unused[row.Op]; h == nil {
				return fmt.Errorf("httpapi: operation %q has no handler", row.Op)
			}
			delete(unused, row.Op)
		}
		s.ops[row.Op] = h
	}
	for op := range unused {
		return fmt.Errorf("httpapi: operation %q has no row in the route table", op)
	}
	return nil
}

// dispatch looks the request up in the route table, lets it through when its row allows it, and calls the
// handler of its operation. The router knows one route: the table decides.
func (s *server) dispatch(c echo.Context) error {
	r := c.Request()
	path, _, err := route.Canonical(r.RequestURI)
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "no such route")
	}
	match, found := route.Auth.Lookup(r.Method, path)
	if !found {
		if methods := route.Auth.Methods(path); len(methods) > 0 {
			c.Response().Header().Set("Allow", strings.Join(methods, ", "))
			return fault.New(fault.MethodNotAllowed, "method not allowed")
		}
		return fault.New(fault.NotFound, "no such route")
	}
	c.Set(matchKey, &match)
	if match.Public() {
		return s.ops[match.Row.Op](c)
	}
	session, err := s.admit(r)
	if err != nil {
		return err
	}
	c.Set(callerKey, session)
	if !session.Rights.Meets(&match, true) {
		return fault.New(fault.Forbidden, "permission denied").Because(identity.PermissionDenied)
	}
	session.WriteAdmin(c.Response().Header())
	return s.ops[match.Row.Op](c)
}

// What dispatch leaves in the context for handlers and for the log.
const (
	matchKey  = "match"
	callerKey = "session"
)

// caller returns the session of a request to a route that is not public.
func caller(c echo.Context) *gate.Session {
	session, _ := c.Get(callerKey).(*gate.Session)
	return session
}

// param returns the value of a parameter of the row's pattern.
func param(c echo.Context, name string) string {
	match, _ := c.Get(matchKey).(*route.Match)
	return match.Param(name)
}

// pattern returns the row's pattern for logs and metrics, never the path itself.
func pattern(c echo.Context) string {
	if match, is := c.Get(matchKey).(*route.Match); is {
		return match.Row.Pattern
	}
	return "none"
}

// dashboard sends people who type the node's address with /admin to the node's dashboard.
func (s *server) dashboard(c echo.Context) error {
	return c.Redirect(http.StatusFound, "/admin-dashboard/")
}

// callback stands for the reference's demonstration page; the login page is what its callers want.
func (s *server) callback(c echo.Context) error {
	s.noReferrer(c)
	target := "/auth/login"
	if query := c.QueryString(); query != "" {
		target += "?" + query
	}
	return c.Redirect(http.StatusFound, target)
}

// validateRow is the gate's row of the table.
func (s *server) validateRow(c echo.Context) error {
	s.validate(c.Response(), c.Request())
	return nil
}

// noFile stands for the files of the login application, which is not in this version.
func noFile(echo.Context) error { return fault.New(fault.NotFound, "no such file") }

// admit verifies the token of a request to mero-auth itself. Clients tell a revoked token here by 403.
func (s *server) admit(r *http.Request) (*gate.Session, error) {
	raw, err := s.Gate.Bearer(r.Header)
	if err != nil {
		return nil, err
	}
	session, err := s.Gate.Admit(r.Context(), raw, s.Gate.RequestHost(r))
	if fault.ReasonOf(err) == identity.TokenRevoked {
		return nil, fault.Wrap(err, fault.Forbidden, fault.MessageOf(err)).Because(identity.TokenRevoked)
	}
	return session, err
}
