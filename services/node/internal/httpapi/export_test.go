package httpapi

import (
	"net/http"

	"github.com/calimero-network/mero-go/pkg/fault"
)

// StatusOf returns the status of a class of failure.
func StatusOf(code fault.Code) (int, bool) { s, ok := statuses[code]; return s, ok }

// Answer returns status and message for an error.
func Answer(err error) (int, string) { return answer(err) }

// OneRange returns the request that the library answers instead of r.
func OneRange(r *http.Request, size int64) *http.Request { return oneRange(r, size) }
