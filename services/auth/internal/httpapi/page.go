package httpapi

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
)

// maxPage is the longest page that may be asked for; without a limit a list is complete, as clients expect.
const maxPage = 1000

// page reads ?limit and ?cursor.
func page(c echo.Context) (p keys.Page, err error) {
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return p, fault.Wrap(err, fault.Invalid, "the query is malformed")
	}
	for _, name := range []string{"limit", "cursor"} {
		if len(query[name]) > 1 {
			return p, fault.New(fault.Invalid, name+" occurs more than once")
		}
	}
	p.Cursor = query.Get("cursor")
	if !query.Has("limit") {
		return p, nil
	}
	p.Limit, err = strconv.Atoi(query.Get("limit"))
	if err != nil || p.Limit < 1 || p.Limit > maxPage {
		return p, fault.New(fault.Invalid, "limit must be a number from 1 to "+strconv.Itoa(maxPage))
	}
	return p, nil
}

// okPage answers a part of a list. next_cursor is there only if more follows.
func okPage(c echo.Context, data any, next string) error {
	return c.JSON(http.StatusOK, struct {
		envelope
		NextCursor string `json:"next_cursor,omitempty"`
	}{envelope{Data: data}, next})
}
