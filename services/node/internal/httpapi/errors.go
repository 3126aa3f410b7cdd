package httpapi

import (
	"errors"
	"net/http"
	"os"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/blob"
)

// statuses is the one table from class of failure to HTTP status.
var statuses = map[fault.Code]int{
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

// answer returns the status and the message for the client.
func answer(err error) (int, string) {
	if e, ok := errors.AsType[*echo.HTTPError](err); ok && e.Code < http.StatusInternalServerError {
		return e.Code, http.StatusText(e.Code)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, "the body is too large"
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout, "the body came too slowly"
	case errors.Is(err, blob.ErrNoSpace):
		return http.StatusInsufficientStorage, "no space left on the node"
	}
	status, ok := statuses[fault.CodeOf(err)]
	if !ok {
		return http.StatusInternalServerError, fault.MessageOf(fault.New(fault.Internal, ""))
	}
	return status, fault.MessageOf(err)
}
