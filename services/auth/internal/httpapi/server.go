// Package httpapi is the HTTP surface of mero-auth: it decodes, calls a use case and encodes. It is the only
// importer of echo.
package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/cors"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/gate"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/metrics"
)

// MaxHeader is the header limit of the data plane in bytes: large enough that the gate itself, and not the HTTP
// library with a 431, refuses tokens and targets that are too long.
const MaxHeader = 128 << 10

// Deps is what the surface serves. All fields are required unless noted.
type Deps struct {
	Gate       *gate.Gate
	Login      *login.Service
	Keys       *keys.Service
	Challenges challenge.Service
	JWKS       func() []byte // the published assertion keys
	Metrics    *metrics.Metrics
	Limits     *limit.Limiter
	Audit      *audit.Log
	Refusals   *audit.Refusals             // collects refused logins
	Readable   func(context.Context) error // nil when the store can be read

	CORS      *cors.Rules
	Headers   SecurityHeaders
	MaxBody   int64              // bytes
	PublicURL string             // "" when unknown
	Trusted   []netip.Prefix     // proxies whose word on the client's address and the request id is taken
	Mock      config.Development // read in a build with the tag mock only
	Version   string
	Started   time.Time
	Now       func() time.Time
	Log       *slog.Logger
}

type server struct {
	Deps
	securityHeaders map[string][]string
	echo            *echo.Echo
	ops             map[string]echo.HandlerFunc // by operation of the route table
	document        []byte                      // OpenAPI, as it is served
}

// DataPlane returns the handler of the public listener.
func DataPlane(d Deps) (http.Handler, error) {
	document, err := Document(d.Version)
	if err != nil {
		return nil, err
	}
	s := &server{Deps: d, securityHeaders: d.Headers.render(d.PublicURL)}
	if s.document, err = document.JSON(); err != nil {
		return nil, err
	}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.fail
	e.Renderer = pages{}
	e.Use(s.observe, s.recoverPanic, s.decorate)
	e.RouteNotFound("/*", s.dispatch)
	s.echo = e
	return s, s.bindOps()
}

// ServeHTTP answers the gate's questions itself and routes everything else.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.survive(w, r)
	if len(r.TransferEncoding) > 0 {
		// With a Content-Length beside it the connection must not be used again (RFC 9112 section 6.1), and net/http
		// hides whether there was one. Clients and proxies with bodies as small as ours send lengths.
		w.Header().Set("Connection", "close")
	}
	if isValidate(r) {
		s.validate(w, r)
		return
	}
	s.echo.ServeHTTP(w, r)
}

// observe gives the request an id and writes one line and one count for it.
func (s *server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		started := s.Now()
		r := c.Request()
		id := s.requestID(r)
		ctx := reqctx.WithPeer(reqctx.WithRequestID(r.Context(), id), s.clientPrefix(r))
		c.SetRequest(r.WithContext(ctx))
		c.Response().Header().Set(reqctx.HeaderRequestID, id)
		if err := next(c); err != nil {
			s.fail(err, c)
		}
		status, elapsed := c.Response().Status, s.Now().Sub(started)
		s.Metrics.Served(r.Method, pattern(c), status, elapsed)
		attrs := []slog.Attr{
			slog.String("method", r.Method), slog.String("route", pattern(c)), slog.Int("status", status),
			slog.Duration("duration", elapsed),
		}
		refused, _ := c.Get(refusalKey).(error)
		attrs = append(attrs, slog.String("reason", reason(refused)))
		if text := cause(refused); text != "" {
			attrs = append(attrs, slog.String("cause", text))
		}
		if session := caller(c); session != nil {
			attrs = append(attrs, slog.String("key_id", session.KeyID))
		}
		s.Log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
		if c.Get(cutKey) != nil {
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		return nil
	}
}

// decorate sets the headers of every answer and answers preflights.
func (s *server) decorate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		s.secure(h)
		if s.CORS.Preflight(c.Response(), c.Request()) {
			return nil
		}
		s.CORS.Apply(h, c.Request())
		// Tokens must not be kept on their way (RFC 6749 section 5.1), and what else is told here is of the moment. The few
		// documents that may be kept say so.
		h["Cache-Control"] = noStore
		return next(c)
	}
}

func errorBody(message string) []byte {
	body, err := json.Marshal(envelope{Error: &message})
	if err != nil {
		panic("httpapi: a string does not encode: " + err.Error())
	}
	return append(body, '\n')
}
