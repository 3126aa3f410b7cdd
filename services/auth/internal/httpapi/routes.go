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

// handlers names the handler of each operation of the route table. Validate is not here: see validate.go.
func (s *server) handlers() map[string]echo.HandlerFunc {
	return map[string]echo.HandlerFunc{
		"login.page":      s.loginPage,
		"login.callback":  s.callback,
		"login.challenge": s.challenge,
		"login.providers": s.providers,
		"token.issue":     s.token,
		"token.refresh":   s.refresh,
		"token.mock":      noMocks,
		"token.revoke":    s.revoke,

		"service.health":   s.health,
		"service.identity": s.identity,
		"admin.identity":   s.identity,
		"admin.redirect":   s.dashboard,

		"keys.list":      s.listRoots,
		"keys.create":    s.createRoot,
		"keys.delete":    s.deleteRoot,
		"clients.list":   s.listClients,
		"clients.create": s.createClient,
		"clients.delete": s.deleteClient,
	}
}

// gateOp is the operation that never reaches the router.
const gateOp = "gate.validate"

func errNoRow(op string) error {
	return fmt.Errorf("httpapi: operation %q has no row in the route table", op)
}

// echoPattern writes a pattern of the route table as the router wants it.
func echoPattern(pattern string) string {
	segments := strings.Split(pattern, "/")
	for i, segment := range segments {
		if name, isParam := strings.CutPrefix(segment, "{"); isParam {
			name = strings.TrimSuffix(name, "}")
			if strings.HasSuffix(name, "...") {
				segments[i] = "*"
			} else {
				segments[i] = ":" + name
			}
		}
	}
	return strings.Join(segments, "/")
}

// dashboard sends people who type the node's address with /admin to the node's dashboard.
func (s *server) dashboard(c echo.Context) error {
	return c.Redirect(http.StatusFound, "/admin-dashboard/")
}

// callback stands for the reference's demonstration page; the login page is what its callers want.
func (s *server) callback(c echo.Context) error {
	target := "/auth/login"
	if query := c.QueryString(); query != "" {
		target += "?" + query
	}
	return c.Redirect(http.StatusFound, target)
}

// noMocks answers as the reference does where mock tokens are disabled.
func noMocks(echo.Context) error { return fault.New(fault.NotFound, "Endpoint not found") }

// guard lets a request through to h when its row of the route table allows it.
func (s *server) guard(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		match, found := route.Auth.Lookup(r.Method, r.URL.Path)
		switch {
		case !found:
			return fault.New(fault.NotFound, "no such route")
		case match.Public():
			return h(c)
		}
		session, err := s.admit(r)
		if err != nil {
			return err
		}
		c.Set(callerKey, session)
		if !match.Allowed(session.Set, true) {
			return fault.New(fault.Forbidden, "permission denied").Because(identity.PermissionDenied)
		}
		session.WriteAdmin(c.Response().Header())
		return h(c)
	}
}

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
