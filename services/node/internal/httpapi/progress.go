package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Each part of a body must come, and each part of an answer be taken, within these times. A body as a whole must come
// within bodyTime, or else whoever lets it drip in would act long after the rights were looked at. The content of a blob
// may take as long as it needs (see [call.unhurried]): a slow upload of any size passes, and a silent peer holds nothing.
const (
	readProgress  = 30 * time.Second
	bodyTime      = 60 * time.Second
	writeProgress = 60 * time.Second
)

// maxBody limits bodies that are no blobs, in bytes.
const maxBody = 1 << 20

// progress puts the deadlines on body and answer.
func (a *API) progress(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		w, req := c.Response().Writer, c.Request()
		rc := http.NewResponseController(w)
		if req.ContentLength != 0 {
			// From the start, because the server itself reads what a handler leaves of a body.
			_ = rc.SetReadDeadline(a.Now().Add(readProgress)) // a writer without deadlines is a test's
			req.Body = &progressBody{ReadCloser: req.Body, rc: rc, now: a.Now, end: a.Now().Add(bodyTime)}
		}
		c.Response().Writer = &progressWriter{ResponseWriter: w, rc: rc, now: a.Now}
		return next(c)
	}
}

type progressBody struct {
	io.ReadCloser
	rc  *http.ResponseController
	now func() time.Time
	end time.Time // of the whole body; zero if it has none
}

// unhurried lets the body of a blob take its time as a whole.
func (c *call) unhurried() {
	if b, ok := c.Request().Body.(*progressBody); ok {
		b.end = time.Time{}
	}
}

// Read gives the peer until the deadline for the next part.
func (b *progressBody) Read(p []byte) (int, error) {
	deadline := b.now().Add(readProgress)
	if !b.end.IsZero() && b.end.Before(deadline) {
		deadline = b.end
	}
	_ = b.rc.SetReadDeadline(deadline)
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		// From here on the connection is only watched for the client's leaving, and silence is no fault.
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

type progressWriter struct {
	http.ResponseWriter
	rc  *http.ResponseController
	now func() time.Time
}

// Write gives the peer until the deadline to take the part.
func (w *progressWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(w.now().Add(writeProgress))
	return w.ResponseWriter.Write(p)
}

// WriteHeader begins an answer.
func (w *progressWriter) WriteHeader(status int) {
	_ = w.rc.SetWriteDeadline(w.now().Add(writeProgress))
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController.
func (w *progressWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
