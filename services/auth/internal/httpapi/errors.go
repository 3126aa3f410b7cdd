package httpapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// statusOf is the one table from class of failure to HTTP status.
var statusOf = map[fault.Code]int{
	fault.Invalid:          http.StatusBadRequest,
	fault.Unprocessable:    http.StatusUnprocessableEntity,
	fault.Unauthenticated:  http.StatusUnauthorized,
	fault.Forbidden:        http.StatusForbidden,
	fault.NotFound:         http.StatusNotFound,
	fault.Gone:             http.StatusGone,
	fault.Conflict:         http.StatusConflict,
	fault.MethodNotAllowed: http.StatusMethodNotAllowed,
	fault.UnsupportedMedia: http.StatusUnsupportedMediaType,
	fault.TooLarge:         http.StatusRequestEntityTooLarge,
	fault.RateLimited:      http.StatusTooManyRequests,
	fault.Unavailable:      http.StatusServiceUnavailable,
	fault.NotImplemented:   http.StatusNotImplemented,
	fault.Internal:         http.StatusInternalServerError,
}

// envelope is the body of every answer: data or an error text, which clients expect to be a plain string.
type envelope struct {
	Data  any     `json:"data"`
	Error *string `json:"error"`
}

func ok(c echo.Context, data any) error {
	return c.JSON(http.StatusOK, envelope{Data: data})
}

// statusClientGone is what the log shows when the client left before the answer, as nginx does.
const statusClientGone = 499

// storeRetry is when a client may try again after the store failed.
const storeRetry = 30 * time.Second

// usualRetry is when to try again where nothing better is known.
const usualRetry = 5 * time.Second

// fail writes err; it is the only place that turns an error into an answer and the only one that logs it.
func (s *server) fail(err error, c echo.Context) {
	ctx := c.Request().Context()
	if c.Response().Committed {
		s.cut(ctx, err, c)
		return
	}
	if routing, is := errors.AsType[*echo.HTTPError](err); is {
		err = routingFault(routing)
	}
	if errors.Is(err, store.ErrUnavailable) {
		err = &fault.Error{Code: fault.Unavailable, Message: "the store is unavailable at present", RetryAfter: storeRetry, Err: err}
	}
	status := statusOf[fault.CodeOf(err)]
	if errors.Is(err, errSlowBody) {
		status = http.StatusRequestTimeout
	}
	c.Set(refusalKey, err)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		c.Response().Status = statusClientGone
		return
	}
	message := fault.MessageOf(err)
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError && status != http.StatusNotImplemented {
		level = slog.LevelError
	}
	s.Log.Log(ctx, level, "request refused", "status", status, "reason", reason(err), "error", err.Error())
	h := c.Response().Header()
	writeReason(h, status, err)
	body := envelope{Error: &message}
	if refused, is := errors.AsType[*detailed](err); is {
		body.Data = refused.data
	}
	if err := c.JSON(status, body); err != nil {
		s.Log.DebugContext(ctx, "the answer could not be written", "error", err)
	}
}

// refusalKey is where fail leaves the error for the request's line in the log.
const refusalKey = "refusal"

// reason is why a request was refused, in one stable word: what the client is told, else the class. "" for nil.
func reason(err error) string {
	return cmp.Or(fault.ReasonOf(err), string(fault.CodeOf(err)))
}

// cause is the text of a refusal that was decided by what we know, for the log; "" for others. Those that tell what is
// wrong with the request itself may quote it.
func cause(err error) string {
	switch fault.CodeOf(err) {
	case fault.Unauthenticated, fault.Forbidden, fault.Conflict, fault.Gone, fault.RateLimited, fault.Unavailable:
		return fault.MessageOf(err)
	}
	return ""
}

// detailed is a refusal with data beside the error text, for clients that read a status there.
type detailed struct {
	error
	data any
}

func (d *detailed) Unwrap() error { return d.error }

func routingFault(e *echo.HTTPError) error {
	switch e.Code {
	case http.StatusNotFound:
		return fault.New(fault.NotFound, "no such route")
	case http.StatusMethodNotAllowed:
		return fault.New(fault.MethodNotAllowed, "method not allowed")
	case http.StatusRequestEntityTooLarge:
		return fault.New(fault.TooLarge, "the body is too large")
	}
	return e
}

// writeReason sets the headers that tell a machine why: X-Auth-Error, WWW-Authenticate (RFC 6750 section 3) on
// 401, Retry-After where known and always on 429 and 503.
func writeReason(h http.Header, status int, err error) {
	word := fault.ReasonOf(err)
	if word != "" {
		h.Set(identity.HeaderError, word)
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", bearerChallenge(word))
	}
	after := fault.RetryAfterOf(err)
	if after <= 0 && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		after = usualRetry
	}
	if after > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
	}
	h.Set("Cache-Control", "no-store")
}

// bearerChallenge returns the WWW-Authenticate value of a refusal: no error code when no token was presented.
func bearerChallenge(reason string) string {
	if reason == "" || reason == identity.MissingToken {
		return `Bearer realm="mero"`
	}
	return `Bearer realm="mero", error="invalid_token", error_description="` + reason + `"`
}
