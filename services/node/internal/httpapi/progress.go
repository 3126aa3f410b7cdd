package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// A body may take as long as it needs, but each part of it must come, or be taken, within these times. That lets a
// slow upload of any size through and still bounds what a silent peer can hold.
const (
	readProgress  = 30 * time.Second
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
			req.Body = &progressBody{ReadCloser: req.Body, rc: rc, now: a.Now}
		}
		c.Response().Writer = &progressWriter{ResponseWriter: w, rc: rc, now: a.Now}
		return next(c)
	}
}

type progressBody struct {
	io.ReadCloser
	rc  *http.ResponseController
	now func() time.Time
}

// Read gives the peer until the deadline for the next part.
func (b *progressBody) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(b.now().Add(readProgress))
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
