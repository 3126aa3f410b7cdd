package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/pkg/reqctx"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/metrics"
)

// record is what the access log says about a request.
type record struct {
	match  route.Match
	key    string
	status int    // if not that of the answer: 499 for a client that left
	err    error  // what went wrong
	stack  string // of a panic
}

const recordKey = "record"

func recordOf(c echo.Context) *record {
	r, _ := c.Get(recordKey).(*record)
	return r
}

// statusClientGone is logged, never sent, when the client left before the answer.
const statusClientGone = 499

// observe gives the request its id, writes the error that comes back, and then one log line and the metrics.
func (a *API) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start, end := a.Now(), a.Metrics.Begin()
		req := c.Request()
		id := reqctx.NewRequestID(req.Header.Get(reqctx.HeaderRequestID))
		ctx := reqctx.WithRequestID(req.Context(), id)
		c.SetRequest(req.WithContext(ctx))
		c.Response().Header().Set(reqctx.HeaderRequestID, id)
		rec := &record{}
		c.Set(recordKey, rec)
		defer func() {
			// Deferred, because an aborted answer passes as a panic.
			status := c.Response().Status
			if rec.status != 0 {
				status = rec.status
			}
			took, pattern := a.Now().Sub(start), ""
			if rec.match.Row != nil {
				pattern = rec.match.Row.Pattern
			}
			if rec.match.Row != nil && streaming[rec.match.Row.Op] && status < http.StatusMultipleChoices {
				end(req.Method, pattern, status, metrics.Streamed)
			} else {
				end(req.Method, pattern, status, took)
			}
			attrs := []slog.Attr{
				slog.String("method", method(req.Method)), slog.String("route", pattern), slog.Int("status", status),
				slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.Int64("bytes", c.Response().Size), slog.String("key", rec.key),
			}
			if rec.err != nil {
				attrs = append(attrs, slog.String("error", rec.err.Error()))
			}
			if rec.stack != "" {
				attrs = append(attrs, slog.String("stack", rec.stack))
			}
			a.Log.LogAttrs(ctx, level(status, rec.match.Row), "request", attrs...)
		}()
		if err := next(c); err != nil {
			a.fail(c, err)
		}
		return nil
	}
}

// streaming are the operations whose answers last as long as the client likes.
var streaming = map[string]bool{"stream.websocket": true, "stream.events": true}

// level makes broken answers and refusals stand out, and probes disappear.
func level(status int, row *route.Row) slog.Level {
	switch {
	case status >= http.StatusInternalServerError && status != http.StatusNotImplemented:
		return slog.LevelError
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return slog.LevelWarn
	case status == statusClientGone, status < http.StatusBadRequest && row != nil && (row.Op == "node.health" || row.Op == "node.ready"):
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// method bounds what a client can write into the log.
func method(m string) string {
	if len(m) > 16 {
		return m[:16]
	}
	return m
}

// recover turns a panic into an error with its stack.
func (a *API) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				recordOf(c).stack = string(debug.Stack())
				err = fmt.Errorf("panic: %v", v)
			}
		}()
		return next(c)
	}
}

// guard lets the request through to its handler, answers a preflight, or refuses.
func (a *API) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		req, h := c.Request(), c.Response().Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set(echo.HeaderCacheControl, "no-store")
		d, err := a.Guard.Decide(req)
		rec := recordOf(c)
		rec.match, rec.key = d.Match, d.Caller.Key
		if d.Preflight && err == nil {
			a.CORS.Preflight(c.Response(), req)
			return nil
		}
		a.CORS.Apply(h, req)
		if err != nil {
			if reason := fault.ReasonOf(err); reason != "" { // else nobody was refused: there is no such route
				a.Metrics.Denied(reason)
			}
			return err
		}
		if d.Match.Row == nil || !a.enabled(d.Match.Row.Pattern) {
			return a.noRoute(c)
		}
		c.SetRequest(req.WithContext(caller.With(req.Context(), d.Caller)))
		return next(c)
	}
}

// noRoute tells a wrong method from a wrong path.
func (a *API) noRoute(c echo.Context) error {
	path, _, err := route.Canonical(c.Request().RequestURI)
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "no such route")
	}
	allowed := a.Table.Methods(path)
	if len(allowed) == 0 || !a.enabled(path) {
		return fault.New(fault.NotFound, "no such route")
	}
	c.Response().Header().Set(echo.HeaderAllow, strings.Join(append(allowed, http.MethodOptions), ", "))
	if c.Request().Method == http.MethodOptions {
		return c.NoContent(http.StatusNoContent)
	}
	return fault.New(fault.MethodNotAllowed, "method not allowed")
}

// fail is the one place that answers with an error. What the class hides from the client goes to the log line.
func (a *API) fail(c echo.Context, err error) {
	rec, h := recordOf(c), c.Response().Header()
	rec.err = err
	status, message := answer(err)
	if c.Request().Context().Err() != nil && status == http.StatusInternalServerError {
		rec.status = statusClientGone
		return
	}
	if c.Response().Committed {
		return
	}
	h.Del("ETag")
	h.Del(echo.HeaderContentType) // of what the handler was about to send
	h.Set(echo.HeaderCacheControl, "no-store")
	if reason := fault.ReasonOf(err); reason != "" {
		h.Set(identity.HeaderError, reason)
	}
	if wait := fault.RetryAfterOf(err); wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	if status == http.StatusUnauthorized {
		h.Set(echo.HeaderWWWAuthenticate, "Bearer")
	}
	if status == http.StatusRequestTimeout || status == http.StatusRequestEntityTooLarge {
		h.Set(echo.HeaderConnection, "close") // the rest of the body is not read
	}
	if writeErr := c.JSON(status, struct {
		Error string `json:"error"`
	}{message}); writeErr != nil {
		rec.err = errors.Join(err, writeErr)
	}
}
