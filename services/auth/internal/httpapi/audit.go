package httpapi

import (
	"net/url"
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
	query, err := auditQuery(c.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	page, err := s.Audit.List(c.Request().Context(), query)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return ok(c, auditBody{page.Events, strconv.FormatUint(page.Next, 10), page.More})
}

func auditQuery(raw string) (audit.Query, error) {
	q := audit.Query{Limit: usualEvents}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fault.New(fault.Invalid, "the query is malformed")
	}
	for name, texts := range values {
		if len(texts) > 1 {
			return q, fault.New(fault.Invalid, "a parameter is there twice")
		}
		switch name {
		case "since":
			q.Since, err = instant(texts[0])
		case "limit":
			q.Limit, err = strconv.Atoi(texts[0])
			if err == nil && (q.Limit < 1 || q.Limit > audit.MaxLimit) {
				err = strconv.ErrRange
			}
		case "cursor":
			q.After, err = strconv.ParseUint(texts[0], 10, 63)
		default:
			return q, fault.New(fault.Invalid, "the parameters are since, limit and cursor")
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
