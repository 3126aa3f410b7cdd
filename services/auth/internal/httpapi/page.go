package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/keys"
)

// maxPage is the longest page that may be asked for; without a limit a list is complete, as clients expect.
const maxPage = 1000

// parameters reads the query of a list, which may have those that are named, each once. Another one is refused: what it was
// meant to leave out would be in the list all the same.
func parameters(c echo.Context, names ...string) (url.Values, error) {
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the query is malformed")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(names, name) {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("unknown parameter %q; there are %s", shortened(plain(name)), strings.Join(names, ", ")))
		}
		if len(query[name]) > 1 {
			return nil, fault.New(fault.Invalid, name+" occurs more than once")
		}
	}
	return query, nil
}

// shortened bounds what is repeated of a client's text.
func shortened(text string) string {
	const most = 64
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// page reads ?limit and ?cursor.
func page(c echo.Context) (p keys.Page, err error) {
	query, err := parameters(c, "limit", "cursor")
	if err != nil {
		return p, err
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
