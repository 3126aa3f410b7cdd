package httpapi

import (
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
)

// usualEvents is the page of the audit for whoever names no limit.
const usualEvents = 100

type auditBody struct {
	Events     []audit.Event `json:"events" doc:"oldest first"`
	NextCursor string        `json:"next_cursor" doc:"for ?cursor: what comes after these"`
	More       bool          `json:"more" doc:"there are more already"`
}

// auditPage answers GET /admin/audit?since&limit&cursor: events from a time on, or after a cursor, oldest first;
// without either the newest. The cursor of an answer continues it, also later, when there is more.
func (s *server) auditPage(c echo.Context) error {
	query, err := auditQuery(c)
	if err != nil {
		return err
	}
	page, err := s.Audit.List(c.Request().Context(), query)
	if err != nil {
		return err
	}
	return ok(c, auditBody{page.Events, strconv.FormatUint(page.Next, 10), page.More})
}

func auditQuery(c echo.Context) (audit.Query, error) {
	q := audit.Query{Limit: usualEvents}
	query, err := parameters(c, "since", "limit", "cursor")
	if err != nil {
		return q, err
	}
	for name := range query {
		text := query.Get(name)
		switch name {
		case "since":
			q.Since, err = instant(text)
		case "limit":
			q.Limit, err = strconv.Atoi(text)
			if err == nil && (q.Limit < 1 || q.Limit > audit.MaxLimit) {
				err = strconv.ErrRange
			}
		case "cursor":
			q.After, err = strconv.ParseUint(text, 10, 63)
		}
		if err != nil {
			return q, fault.Wrap(err, fault.Invalid, "since must be Unix seconds or a time like 2026-01-31T12:00:00Z, limit a number from 1 to "+
				strconv.Itoa(audit.MaxLimit)+", cursor that of an earlier answer")
		}
	}
	return q, nil
}

// instant reads Unix seconds or RFC 3339.
func instant(text string) (time.Time, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		if seconds < 0 || seconds > maxUnix {
			return time.Time{}, strconv.ErrRange
		}
		return time.Unix(seconds, 0), nil
	}
	return time.Parse(time.RFC3339, text)
}

// maxUnix is the last second of the year 9999, in which RFC 3339 ends.
const maxUnix = 253402300799

// totals answers GET /admin/metrics in the shape of the reference service.
func (s *server) totals(c echo.Context) error { return ok(c, s.Metrics.Totals()) }
